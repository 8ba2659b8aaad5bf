"""Corpora: counts, hashes, mirrors, and one clear line for each thing that can be wrong with a file."""

import hashlib
import io
import os
import urllib.error
import zipfile
from pathlib import Path

import pytest

from awdlib import downloads
from awdlib.corpora import EOS, Vocabulary, load_corpus, read_words
from awdlib.downloads import CorpusError, Mirror, download, matches
from awdlib.published import PTB, PUBLISHED, SLICES, SPLITS, Published, Slice

FILES = {split: f"{split}.txt" for split in SPLITS}
TEXTS = {split: f"the {split} text\n\nends\n".encode() for split in SPLITS}


def sha256(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


HASHES = {split: sha256(content) for split, content in TEXTS.items()}


@pytest.fixture
def served(monkeypatch):
    """A pretended network: {address: bytes}; every other address fails. Records what was asked."""
    pages, asked = {}, []

    def urlopen(request, timeout):
        asked.append(request)
        if request.full_url not in pages:
            raise urllib.error.URLError("no such host")
        answer = io.BytesIO(pages[request.full_url])
        answer.headers = {"Content-Length": str(len(pages[request.full_url]))}
        return answer

    monkeypatch.setattr(downloads.urllib.request, "urlopen", urlopen)
    pages["asked"] = asked
    return pages


def mirror(host):
    return Mirror(files={split: f"https://{host}/{split}" for split in SPLITS})


def fetch(folder, *mirrors):
    download("Tiny", mirrors, FILES, HASHES, folder, progress=False)


def test_one_eos_a_line_blank_lines_included(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b" a b \n\n = c =\nd")  # the last line without its end
    assert read_words(path) == ["a", "b", "<eos>", "<eos>", "=", "c", "=", "<eos>", "d", "<eos>"]


def test_ids_in_order_of_first_appearance_and_back():
    vocabulary = Vocabulary("b a b c".split())
    assert vocabulary.encode(["a", "c", "b"]).tolist() == [1, 2, 0]
    assert vocabulary.decode([1, 2, 0]) == ["a", "c", "b"]
    with pytest.raises(ValueError, match="'z' is not among the vocabulary's 3 words"):
        vocabulary.encode(["z"])
    assert vocabulary.fingerprint() != Vocabulary("a b c".split()).fingerprint()


@pytest.mark.skipif("AWDLIB_DATA" not in os.environ, reason="AWDLIB_DATA names no folder with the real corpora")
@pytest.mark.parametrize("name", PUBLISHED)
def test_real_corpora_have_their_published_counts(name):
    corpus = load_corpus(name)
    assert {split: len(corpus.split(split)) for split in SPLITS} == PUBLISHED[name].tokens
    assert len(corpus.vocabulary) == PUBLISHED[name].vocab_size
    assert "<unk>" in corpus.vocabulary.ids and "<eos>" in corpus.vocabulary.ids


@pytest.mark.skipif("AWDLIB_DATA" not in os.environ, reason="AWDLIB_DATA names no folder with the real corpora")
@pytest.mark.parametrize("part", SLICES.values(), ids=SLICES)
def test_a_real_slice_has_its_counts_and_ends_with_a_sentence(part):
    corpus, whole = load_corpus(part.name), load_corpus(part.of.name)
    assert {split: len(corpus.split(split)) for split in SPLITS} == part.tokens
    assert len(corpus.vocabulary) == part.vocab_size
    assert corpus.vocabulary.decode(corpus.train[-1:]) == [EOS]
    assert len(corpus.test) == len(whole.test) and corpus.train.bincount().min() >= part.least


def test_a_slice_knows_only_the_words_that_its_training_text_repeats(tiny, monkeypatch):
    train, valid = b"a b\na c <unk> <unk>\nd d\n", b"c a d\ne <unk>\n"
    folder = tiny(tokens={"train": 11, "valid": 7, "test": 7}, vocab_size=11, hashes=HASHES)
    (folder / FILES["train"]).write_bytes(train)
    (folder / FILES["valid"]).write_bytes(valid)
    monkeypatch.setitem(SLICES, "tiny-8", Slice("tiny-8", PUBLISHED["tiny"], {"train": 8}, least=2, vocab_size=3))
    corpus = load_corpus("tiny-8", folder)
    assert " ".join(corpus.vocabulary.decode(corpus.train)) == "a <unk> <eos> a <unk> <unk> <unk> <eos>"
    assert " ".join(corpus.vocabulary.decode(corpus.valid)) == "<unk> a <unk> <eos> <unk> <unk> <eos>"
    assert corpus.name == "tiny-8" and corpus.checked.endswith(" of tiny")


def test_the_toy_language_ships_with_its_floor():
    corpus = load_corpus("toy")
    assert {*corpus.floor} == {*SPLITS} and all(10 < floor < 40 for floor in corpus.floor.values())
    assert len(corpus.vocabulary) > 900 and len(corpus.train) > 50_000


def test_the_second_mirror_helps_when_the_first_fails_or_lies(served, tmp_path):
    for number, wrong in enumerate((None, b"<html>moved</html>")):
        served.update({f"https://good/{split}": content for split, content in TEXTS.items()})
        if wrong:
            served.update({f"https://bad/{split}": wrong for split in SPLITS})
        folder = tmp_path / str(number)
        fetch(folder, mirror("bad"), mirror("good"))
        assert {split: (folder / FILES[split]).read_bytes() for split in SPLITS} == TEXTS
        assert [path.name for path in tmp_path.iterdir()] == [str(n) for n in range(number + 1)], "nothing temporary"
    assert all(request.get_header("User-agent").startswith("Mozilla") for request in served["asked"])


def test_an_archive_is_verified_and_only_its_known_members_are_read(served, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split, content in TEXTS.items():
            archive.writestr(f"tiny/{split}", content)
        archive.writestr("../escaped", b"outside")
    served["https://zip"] = buffer.getvalue()
    members = {split: f"tiny/{split}" for split in SPLITS}
    good = Mirror(files=members, archive="https://zip", archive_hash=sha256(buffer.getvalue()))
    fetch(tmp_path / "cache" / "tiny", good)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(FILES.values())
    for spoilt in (Mirror(files=members, archive="https://zip", archive_hash=sha256(b"")),
                   Mirror(files=dict.fromkeys(SPLITS, "tiny/none"), archive="https://zip")):  # fmt: skip
        with pytest.raises(CorpusError, match="no mirror gave it: https://zip"):
            fetch(tmp_path / "other", spoilt)
    assert not (tmp_path / "other").exists()


def test_without_a_network_one_line_names_every_mirror_and_the_remedy(served, tmp_path):
    with pytest.raises(CorpusError) as caught:
        fetch(tmp_path / "tiny", mirror("one"), mirror("two"))
    line = str(caught.value)
    assert "\n" not in line
    for part in ("Tiny", str(tmp_path / "tiny"), "https://one", "https://two", "no such host", "train.txt", "--data"):
        assert part in line
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_the_mirrors_fault(served, tmp_path, monkeypatch):
    served.update({f"https://good/{split}": content for split, content in TEXTS.items()})
    real = Path.open

    def open_full(path, mode="r", *rest, **named):
        if "w" in mode:
            raise OSError(28, "No space left on device", str(path))
        return real(path, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(CorpusError, match=r"cannot be written.*No space left on device.*AWDLIB_CACHE"):
        fetch(tmp_path / "tiny", mirror("good"), mirror("good"))
    assert list(tmp_path.iterdir()) == []


def tiny_corpus(folder, **changes):
    """A published corpus of a few words, its files in ``folder``."""
    folder.mkdir(exist_ok=True)
    for split, content in TEXTS.items():
        (folder / FILES[split]).write_bytes(content)
    values = {"files": FILES, "hashes": HASHES, "tokens": dict.fromkeys(SPLITS, 7), "vocab_size": 7, "mirrors": ()}
    return Published(name="tiny", title="Tiny", **values | changes)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    def make(**changes):
        corpus = tiny_corpus(tmp_path / "tiny", **changes)
        monkeypatch.setitem(PUBLISHED, "tiny", corpus)
        return tmp_path / "tiny"

    return make


def test_a_named_folder_may_hold_the_files_or_a_folder_of_them(tiny, monkeypatch, tmp_path):
    folder = tiny()
    for named in (folder, folder.parent):
        assert load_corpus("tiny", named).checked == "published hashes"
    monkeypatch.setenv("AWDLIB_DATA", str(folder))
    assert len(load_corpus("tiny").train) == 7


def test_files_with_right_counts_and_a_foreign_hash_are_accepted_and_it_is_said(tiny):
    folder = tiny(hashes=HASHES | {"train": sha256(b"")})
    assert load_corpus("tiny", folder).checked == (
        "counts of tokens and word types (the published hash does not match: train)"
    )


@pytest.mark.parametrize(("content", "complaint"), [
    (None, "not all are there: put them into"),
    (b"", "valid.txt is empty"),
    (b"\n \n", "valid.txt is empty"),
    (b"the valid\n", r"valid.txt holds 3 tokens and Tiny's valid split has 7: it is truncated"),
    (b"caf\xe9 and more words\n", r"valid.txt is not UTF-8 text \(byte 3\)"),
])  # fmt: skip
def test_a_bad_file_gets_one_clear_line(tiny, content, complaint):
    folder = tiny()
    (folder / "valid.txt").unlink() if content is None else (folder / "valid.txt").write_bytes(content)
    with pytest.raises(CorpusError, match=complaint) as caught:
        load_corpus("tiny", folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_wrong_vocabulary_and_an_unknown_name_are_refused(tiny):
    folder = tiny(vocab_size=9)
    with pytest.raises(CorpusError, match="7 word types and Tiny has 9"):
        load_corpus("tiny", folder)
    with pytest.raises(CorpusError, match="there is no corpus 'brown'; choose one of toy, ptb, wikitext-2, ptb-100k"):
        load_corpus("brown")


def test_every_published_corpus_has_two_mirrors_and_a_hash_a_file():
    for corpus in PUBLISHED.values():
        assert len({mirror.address.split("/")[2:4].__str__() for mirror in corpus.mirrors}) >= 2
        assert {*corpus.hashes} == {*corpus.files} == {*SPLITS}
        assert all(mirror.files.keys() == corpus.files.keys() for mirror in corpus.mirrors)


def test_hashes_are_of_the_whole_file(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(bytes(range(256)) * 1000)
    assert matches(path, sha256(path.read_bytes()))
    assert not matches(path, PTB.hashes["train"])
