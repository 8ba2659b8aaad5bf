"""Fetching a corpus from the first mirror that serves the right bytes; nothing half-done is ever left in place."""

import errno
import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

CHUNK = 1 << 16  #: bytes read at a time
TIMEOUT = 30  #: seconds without an answer
LIMIT = 1 << 28  #: bytes; no file of a corpus is a tenth of it, and a mirror that never ends must not fill the disk
DISK_TROUBLES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  #: no other mirror would mend these
#: what a mirror can make of a download: no or a garbled answer, a header that is no number, an archive that is none
FAILURES = (
    OSError, http.client.HTTPException, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError
)  # fmt: skip


class CorpusError(ValueError):
    """A corpus is missing, damaged, or not to be had; the message says what was looked for and what to do.

    Raised by `load_corpus`.
    """


@dataclass(frozen=True)
class Mirror:
    """One place that serves a corpus: an address a split, or an archive with a member a split.

    Example:
        >>> from awdlib.downloads import Mirror
        >>> Mirror(files={"train": "https://example.org/train.txt"}).address
        'https://example.org/train.txt'
        >>> Mirror(files={"train": "folder/train.txt"}, archive="https://example.org/all.zip").address
        'https://example.org/all.zip'
    """

    files: dict[str, str]  #: split -> address, or member of the archive
    archive: str | None = None  #: address of a zip archive
    archive_hash: str | None = None  #: its "algorithm:hex"

    @property
    def address(self) -> str:
        """What to call the mirror in a message: where its archive is, else its training split."""
        return self.archive or self.files["train"]


def cache_folder() -> Path:
    """Where downloads are kept: ``AWDLIB_CACHE``, else ``awdlib`` in the user's cache folder.

    Raises:
        CorpusError: the user has no home folder.

    Example:
        >>> from unittest.mock import patch
        >>> from awdlib.downloads import cache_folder
        >>> with patch.dict("os.environ", AWDLIB_CACHE="big/disk"):
        ...     cache_folder().as_posix()
        'big/disk'
    """
    if os.environ.get("AWDLIB_CACHE"):
        return Path(os.environ["AWDLIB_CACHE"])
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "awdlib"
    except RuntimeError:
        raise CorpusError("this user has no home folder to keep downloads in: name a folder in AWDLIB_CACHE") from None


def matches(path: Path, published: str) -> bool:
    """Whether a file has its published hash.

    Args:
        path: the file.
        published: "algorithm:hex", the algorithm by its name in Python's hashlib.

    Example:
        >>> from hashlib import sha256
        >>> from awdlib.bundled import bundled
        >>> from awdlib.downloads import matches
        >>> path = bundled("toy/test.txt")
        >>> right, wrong = sha256(path.read_bytes()).hexdigest(), sha256(b"").hexdigest()
        >>> matches(path, f"sha256:{right}"), matches(path, f"sha256:{wrong}")
        (True, False)
    """
    algorithm, _, expected = published.partition(":")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == expected


def download(
    title: str,
    mirrors: tuple[Mirror, ...],
    names: dict[str, str],
    hashes: dict[str, str],
    folder: Path,
    progress: bool = True,
) -> None:
    """Fetch a corpus into ``folder``, which appears only when every file is there with its published hash.

    Args:
        title: what to call the corpus.
        mirrors: tried in turn.
        names: split -> file name to write.
        hashes: split -> published hash.
        folder: made by renaming a finished temporary folder beside it.
        progress: whether to show a progress bar.

    Raises:
        CorpusError: no mirror served it, or the cache cannot be written.

    Example:
        The first mirror has nothing; the second serves a file of this disk:

        >>> import tempfile
        >>> from hashlib import sha256
        >>> from pathlib import Path
        >>> from awdlib.bundled import bundled
        >>> from awdlib.downloads import Mirror, download
        >>> there = bundled("toy/test.txt")
        >>> hashes = {"train": f"sha256:{sha256(there.read_bytes()).hexdigest()}"}
        >>> mirrors = tuple(Mirror({"train": place}) for place in ("file:///nowhere", there.as_uri()))
        >>> with tempfile.TemporaryDirectory() as cache:
        ...     download("A text", mirrors, {"train": "text"}, hashes, Path(cache, "corpus"), progress=False)
        ...     Path(cache, "corpus", "text").read_bytes() == there.read_bytes()
        True
    """
    failures = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            for number, mirror in enumerate(mirrors):
                place = Path(temporary) / str(number)
                place.mkdir()
                try:
                    _fetch(title, mirror, names, hashes, place, progress)
                except FAILURES as error:
                    if getattr(error, "errno", None) in DISK_TROUBLES:
                        raise  # no other mirror would help
                    reason = " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
                    failures.append(f"{mirror.address} ({reason[:200]})")
                    continue
                _put_in_place(place, folder)
                return
    except OSError as error:
        raise CorpusError(
            f"{title} cannot be written to {folder} ({error.strerror}): free some space, or name another folder in "
            "AWDLIB_CACHE"
        ) from None
    raise CorpusError(
        f"{title} is not in {folder} and no mirror gave it: {'; '.join(failures)}. Check the network, or put "
        f"{', '.join(names.values())} into a folder and name it with --data or AWDLIB_DATA"
    )


def _put_in_place(place: Path, folder: Path) -> None:
    """Rename the finished folder; another process may just have done the same, with files of the same hashes."""
    shutil.rmtree(folder, ignore_errors=True)  # what an older, partial folder held
    try:
        os.replace(place, folder)
    except OSError:
        if not folder.is_dir() or {path.name for path in folder.iterdir()} != {path.name for path in place.iterdir()}:
            raise


def _fetch(
    title: str, mirror: Mirror, names: dict[str, str], hashes: dict[str, str], place: Path, progress: bool
) -> None:
    """Everything from one mirror, verified."""
    if mirror.archive:
        archive = place / "archive.zip"
        _fetch_file(title, mirror.archive, archive, progress)
        if mirror.archive_hash and not matches(archive, mirror.archive_hash):
            raise CorpusError("the archive does not have its published hash")
        with zipfile.ZipFile(archive) as members:
            for split, name in names.items():  # only these are opened, whatever else the archive holds
                with members.open(mirror.files[split]) as member, (place / name).open("wb") as file:
                    for chunk in _chunks(member):
                        file.write(chunk)
        archive.unlink()
    else:
        for split, name in names.items():
            _fetch_file(f"{title}, {split}", mirror.files[split], place / name, progress)
    for split, name in names.items():
        if not matches(place / name, hashes[split]):
            raise CorpusError(f"its {split} file does not have the published hash")


def _fetch_file(title: str, address: str, path: Path, progress: bool) -> None:
    # some hosts refuse urllib's own name
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (awdlib)"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer, path.open("wb") as file:
        total = int(answer.headers.get("Content-Length") or 0) or None
        with tqdm(total=total, unit="B", unit_scale=True, desc=title, disable=not progress, leave=False) as bar:
            for chunk in _chunks(answer):
                file.write(chunk)
                bar.update(len(chunk))


def _chunks(source: Any) -> Iterator[bytes]:
    """What can be read, in pieces, up to the limit."""
    read = 0
    while chunk := source.read(CHUNK):
        read += len(chunk)
        if read > LIMIT:
            raise CorpusError(f"it serves more than the {LIMIT:,} bytes that any corpus here has")
        yield chunk
