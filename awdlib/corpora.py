"""The corpora: a toy language that ships with the project, Penn Treebank, a slice of it, and WikiText-2.

`load_corpus` finds a corpus in a folder that the user names, in the cache, or on the network; checks it; and encodes
it as one stream of token ids a split, with one ``<eos>`` at the end of every line, blank lines included.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from awdlib import _require as require
from awdlib.bundled import bundled
from awdlib.downloads import CorpusError, cache_folder, download, matches
from awdlib.published import PUBLISHED, SLICES, SPLITS, Published, Slice

EOS = "<eos>"  #: the word that stands for the end of a line
UNKNOWN = "<unk>"  #: the word that stands for all rare ones in the published corpora


class Vocabulary:
    """Word types and their ids, in order of first appearance.

    Args:
        words: the word types; repetitions are ignored.

    Raises:
        ValueError: they are one string, or not strings.

    Example:
        >>> from awdlib.corpora import Vocabulary
        >>> vocabulary = Vocabulary("the cat saw the dog".split())
        >>> vocabulary.encode(["the", "dog"])
        tensor([0, 3])
        >>> vocabulary.decode([2, 0, 1])
        ['saw', 'the', 'cat']
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = require.texts("words", words if isinstance(words, str) else dict.fromkeys(words))
        self.ids = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, words: Iterable[str]) -> Tensor:
        """Token ids of words.

        Args:
            words: words of the vocabulary.

        Returns:
            (num_tokens,), int64.

        Raises:
            ValueError: a word is not in the vocabulary, or all are one string.
        """
        if isinstance(words, str):
            require.texts("words", words)
        try:
            return torch.tensor([self.ids[word] for word in words], dtype=torch.long)
        except KeyError as missing:
            raise ValueError(f"{missing} is not among the vocabulary's {len(self):,} words") from None

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The words of token ids.

        Args:
            ids: numbers below the vocabulary's size, or a tensor (num_tokens,) of them.

        Raises:
            ValueError: an id is not a whole number below the size of the vocabulary.
        """
        numbers = ids.tolist() if isinstance(ids, Tensor) else ids
        return [self.words[require.whole_number("a token id", number, 0, len(self) - 1)] for number in numbers]

    def fingerprint(self) -> str:
        """A hash of the words in order: two vocabularies with the same one give every word the same id."""
        return hashlib.sha256("\n".join(self.words).encode()).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """Three token streams over one vocabulary. `load_corpus` returns one.

    Raises:
        ValueError: a split has fewer than 2 tokens, or is not a stream of the vocabulary's ids.
    """

    name: str  #: as `load_corpus` calls it
    vocabulary: Vocabulary  #: every word type of the three streams
    train: Tensor  #: (num_tokens,) token ids
    valid: Tensor  #: the same, for choosing among models
    test: Tensor  #: the same, for the last word on the one chosen
    checked: str  #: how the files were verified
    floor: dict[str, float] = field(default_factory=dict)  #: lowest reachable perplexity of each split, where known

    def __post_init__(self) -> None:
        for name in SPLITS:
            tokens = getattr(self, name)
            require.token_ids(f"split {name!r}", tokens, "(num_tokens,)")
            if len(tokens) < 2:
                raise ValueError(
                    f"split {name!r} has {len(tokens)} tokens; it needs at least 2: put text into its file"
                )
            require.known(f"split {name!r}", tokens, len(self.vocabulary))

    def split(self, name: str) -> Tensor:
        """The token stream of a split.

        Args:
            name: "train", "valid" or "test".

        Returns:
            (num_tokens,) token ids.

        Raises:
            ValueError: there is no such split.
        """
        if name not in SPLITS:
            raise ValueError(f"split is {name!r}; it must be one of {', '.join(SPLITS)}")
        return getattr(self, name)


CORPORA = ("toy", *PUBLISHED, *SLICES)  #: every name that `load_corpus` knows


def load_corpus(name: str, data: str | Path | None = None, progress: bool = True) -> Corpus:
    """Find, check and encode a corpus.

    The toy language ships with the project. Others are looked for in ``data`` if given, else in the folder named by
    the environment variable AWDLIB_DATA if set, else in the cache, else they are downloaded into the cache.

    Args:
        name: "toy", "ptb", "wikitext-2" or "ptb-100k".
        data: a folder that holds the corpus's files, or a folder of that folder.
        progress: whether a download shows a progress bar.

    Returns:
        the corpus; ``checked`` says by what its files were recognised.

    Raises:
        CorpusError: an unknown name; or files missing, truncated, not text, or not to be had.

    Example:
        >>> from awdlib.corpora import load_corpus
        >>> corpus = load_corpus("toy")
        >>> " ".join(corpus.vocabulary.decode(corpus.train[:6]))
        'many leaves seldom track ida <eos>'
        >>> round(corpus.floor["test"], 2)  # no model can be expected to have a lower perplexity
        15.8
        >>> load_corpus("toys")
        Traceback (most recent call last):
            ...
        awdlib.downloads.CorpusError: there is no corpus 'toys'; choose one of toy, ptb, wikitext-2, ptb-100k
    """
    require.text("the corpus's name", name)
    if name == "toy":
        return _toy()
    if name in SLICES:
        return _cut(SLICES[name], *_published(SLICES[name].of, data, progress))
    if name not in PUBLISHED:
        raise CorpusError(f"there is no corpus {name!r}; choose one of {', '.join(CORPORA)}")
    words, checked = _published(PUBLISHED[name], data, progress)
    return _encode(name, words, checked)


def _published(corpus: Published, data: str | Path | None, progress: bool) -> tuple[dict[str, list[str]], str]:
    """The words of each split of a published corpus, wherever it is, and how its files were recognised."""
    data = data or os.environ.get("AWDLIB_DATA")
    if data:
        return _read(corpus, _find(corpus, Path(data)))
    folder = cache_folder() / corpus.name
    if not all((folder / file).exists() for file in corpus.files.values()):
        download(corpus.title, corpus.mirrors, corpus.files, corpus.hashes, folder, progress=progress)
    return _read(corpus, folder)


def _find(corpus: Published, data: Path) -> Path:
    """The folder that holds all files, ``data`` itself or the one in it that bears the corpus's name."""
    for folder in (data / corpus.name, data):
        if all((folder / file).is_file() for file in corpus.files.values()):
            return folder
    raise CorpusError(
        f"{corpus.title}: looked for {', '.join(corpus.files.values())} in {data / corpus.name} and in {data}, and "
        "not all are there: put them into one of these, or leave out --data and AWDLIB_DATA to download them"
    )


def _read(corpus: Published, folder: Path) -> tuple[dict[str, list[str]], str]:
    paths = {split: folder / file for split, file in corpus.files.items()}
    words = {split: read_words(path) for split, path in paths.items()}
    for split, path in paths.items():
        if len(words[split]) != corpus.tokens[split]:
            raise CorpusError(
                f"{path} holds {len(words[split]):,} tokens and {corpus.title}'s {split} split has "
                f"{corpus.tokens[split]:,}: it is truncated or another file; replace it, or delete it to download it"
            )
    types = len({word for split in SPLITS for word in words[split]})
    if types != corpus.vocab_size:
        raise CorpusError(
            f"the files in {folder} hold {types:,} word types and {corpus.title} has "
            f"{corpus.vocab_size:,}: they are not the canonical files; replace them"
        )
    differing = [split for split, path in paths.items() if not matches(path, corpus.hashes[split])]
    checked = "published hashes" if not differing else (
        f"counts of tokens and word types (the published hash does not match: {', '.join(differing)})"
    )  # fmt: skip
    return words, checked


def _cut(part: Slice, words: dict[str, list[str]], checked: str) -> Corpus:
    """A slice of a published corpus, whose rare words become one."""
    words = words | {"train": words["train"][: part.tokens["train"]]}
    kept = {word for word, count in Counter(words["train"]).items() if count >= part.least}
    words = {split: [word if word in kept else UNKNOWN for word in words[split]] for split in SPLITS}
    return _encode(part.name, words, f"{checked} of {part.of.name}")


def read_words(path: Path) -> list[str]:
    """The words of a text file, with one ``<eos>`` for the end of every line, blank lines included.

    Args:
        path: the file, in UTF-8.

    Raises:
        CorpusError: the file is missing, empty, or not UTF-8.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.corpora import read_words
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "text")
        ...     _ = path.write_text("two words\\n\\nand two")
        ...     read_words(path)
        ['two', 'words', '<eos>', '<eos>', 'and', 'two', '<eos>']
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise CorpusError(f"cannot read {path} ({error.strerror}): check that the file is there and readable") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text (byte {error.start:,}): replace it with the original") from None
    if not text.strip():
        raise CorpusError(f"{path} is empty: replace it, or delete it to download it")
    if not text.endswith("\n"):
        text += "\n"
    return text.replace("\n", f" {EOS} ").split()


def _toy() -> Corpus:
    words = {split: read_words(bundled(f"toy/{split}.txt")) for split in SPLITS}
    floor = json.loads(bundled("toy/floor.json").read_text(encoding="utf-8"))["floor"]
    return _encode("toy", words, "ships with the project", floor)


def _encode(
    name: str, words: dict[str, list[str]], checked: str, floor: dict[str, float] | None = None
) -> Corpus:  # fmt: skip
    vocabulary = Vocabulary(word for split in SPLITS for word in words[split])
    streams = {split: vocabulary.encode(words[split]) for split in SPLITS}
    return Corpus(name=name, vocabulary=vocabulary, checked=checked, floor=floor or {}, **streams)
