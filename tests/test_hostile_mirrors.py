"""Mirrors that serve something else: each is left for the next one, and nothing of it stays in the cache.

The mirrors are real servers on this machine's loopback; nothing leaves it.
"""

import hashlib
import io
import socketserver
import threading
import zipfile
from pathlib import Path

import pytest

from awdlib import downloads
from awdlib.corpora import SPLITS, CorpusError, load_corpus
from awdlib.downloads import Mirror, cache_folder, download

TEXTS = {split: f"the {split} text\n".encode() * 9 for split in SPLITS}
NAMES = {split: f"{split}.txt" for split in SPLITS}
HASHES = {split: "sha256:" + hashlib.sha256(text).hexdigest() for split, text in TEXTS.items()}


def page(body, *headers, status="200 OK"):
    return "\r\n".join((f"HTTP/1.1 {status}", "Connection: close", *headers, "", "")).encode() + body


def zipped(compression=zipfile.ZIP_DEFLATED, **members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "../"), content)
    return buffer.getvalue()


def spoilt(archive):
    """The archive with the bytes of its first member changed, its directory whole."""
    changed = bytearray(archive)
    changed[35:45] = b"\xff" * 10
    return bytes(changed)


def encrypted(archive):
    """The archive with its members marked as encrypted."""
    changed = bytearray(archive)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := changed.find(mark, place + 1)) >= 0:
            changed[place + flags] |= 1
    return bytes(changed)


def overstated(archive):
    """The archive with its last member said to be larger than the whole."""
    changed, place = bytearray(archive), archive.rfind(b"PK\x01\x02")
    changed[place + 20 : place + 28] = (10**6).to_bytes(4, "little") * 2  # its size, packed and unpacked
    return bytes(changed)


GOOD = zipped(**TEXTS)
BOMB = zipped(train=bytes(3 << 20), valid=b"", test=b"")
#: what a mirror does -> (its raw answer to every request, whether that is an archive, what is said of it)
MIRRORS = {
    "an error": (page(b"", status="500 Broken"), False, "Broken"),
    "not there": (page(b"gone", status="404 Not Found"), False, "Not Found"),
    "another page": (page(b"<html>moved</html>", "Content-Length: 18"), False, "not have the published hash"),
    "an empty page": (page(b""), False, "not have the published hash"),
    "no answer": (b"", False, "[Cc]losed connection|Connection reset"),
    "no protocol": (b"\x16\x03\x01garbage\n" * 9, False, "garbage"),
    "a length in words": (page(b"text", "Content-Length: many"), False, "hash|invalid literal"),
    "a length that is too long": (page(TEXTS["train"], "Content-Length: 99999"), False, "hash|IncompleteRead"),
    "a negative length": (page(TEXTS["train"], "Content-Length: -5"), False, "hash"),
    "broken chunks": (page(b"zz\r\nbroken", "Transfer-Encoding: chunked"), False, "IncompleteRead|invalid literal"),
    "headers without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500, False, "headers"),
    "a circle": (page(b"", "Location: /", status="302 Found"), False, "infinite loop|Found"),
    "a way to a local file": (page(b"", "Location: file:///etc/hosts", status="302 Found"), False, "not allowed|Found"),
    "more than any corpus": (page(bytes(1 << 21)), False, "more than the 1,048,576 bytes"),
    "an archive that is none": (page(b"PK\x03\x04 and no more"), True, "not a zip file"),
    "half an archive": (page(GOOD[: len(GOOD) // 2]), True, "not a zip file"),
    "a spoilt archive": (page(spoilt(GOOD)), True, "invalid block type"),
    "an overstated archive": (
        page(overstated(zipped(compression=zipfile.ZIP_STORED, **TEXTS))), True, "EOFError|archive|zip"),
    "an encrypted archive": (page(encrypted(GOOD)), True, "encrypted"),
    "an archive of other members": (page(zipped(other=b"text")), True, "no item named 'train'"),
    "an archive whose members leave the folder": (
        page(zipped(__train=TEXTS["train"], __valid=b"", __test=b"")), True, "no item"),
    "an archive of other texts": (page(zipped(train=b"a", valid=b"b", test=b"c")), True, "published hash"),
    "an archive that swells": (page(BOMB), True, "more than the 1,048,576 bytes"),
}  # fmt: skip


@pytest.fixture
def serve(monkeypatch):
    """Serve a raw answer at an address of this machine."""
    servers = []

    def begin(answer):
        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                split = self.rfile.readline().decode(errors="replace").split()[1].strip("/")
                self.wfile.write(answer[split] if isinstance(answer, dict) else answer)

            def finish(self):
                try:
                    super().finish()
                except OSError:  # it has hung up before the end, as it may
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that hangs up in the middle is what some of these tests are about."""

        server = Server(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    monkeypatch.setattr(downloads, "TIMEOUT", 20)
    monkeypatch.setattr(downloads, "LIMIT", 1 << 20)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def mirror(address, archive):
    if archive:
        return Mirror(archive=address, files={split: split for split in SPLITS})
    return Mirror(files={split: f"{address}/{split}" for split in SPLITS})


def fetch(folder, *mirrors):
    download("Tiny", mirrors, NAMES, HASHES, folder, progress=False)


def held(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", MIRRORS)
def test_a_mirror_that_serves_something_else_is_left_for_the_next(case, serve, tmp_path):
    answer, archive, reason = MIRRORS[case]
    bad = mirror(serve(answer), archive)
    good = mirror(serve({split: page(text) for split, text in TEXTS.items()}), False)
    with pytest.raises(CorpusError, match=f"no mirror gave it: .*({reason})") as caught:
        fetch(tmp_path / "cache" / "tiny", bad)
    assert "\n" not in str(caught.value) and bad.address in str(caught.value)
    assert held(tmp_path) == {}
    fetch(tmp_path / "cache" / "tiny", bad, good)
    assert held(tmp_path) == {f"cache/tiny/{NAMES[split]}": text for split, text in TEXTS.items()}


def test_an_archive_with_more_than_it_should_gives_only_what_is_asked_for(serve, tmp_path):
    laden = zipped(**TEXTS, __escaped=b"outside", more=b"else")
    fetch(tmp_path / "cache" / "tiny", mirror(serve(page(laden)), True))
    assert sorted(held(tmp_path)) == [f"cache/tiny/{name}" for name in sorted(NAMES.values())]


def test_two_processes_that_fetch_at_once_both_succeed(serve, tmp_path, monkeypatch):
    """The other's folder appears between the removal of the old one and the renaming of ours."""
    address, folder = serve({split: page(text) for split, text in TEXTS.items()}), tmp_path / "tiny"
    real = downloads.shutil.rmtree

    def late(path, **how):
        real(path, **how)
        if path == folder:
            monkeypatch.undo()
            monkeypatch.setattr(downloads, "LIMIT", 1 << 20)
            fetch(folder, mirror(address, False))

    monkeypatch.setattr(downloads.shutil, "rmtree", late)
    fetch(folder, mirror(address, False))
    assert held(tmp_path) == {f"tiny/{NAMES[split]}": text for split, text in TEXTS.items()}


def test_without_a_home_folder_the_variable_to_set_is_named(monkeypatch):
    for name in ("AWDLIB_CACHE", "XDG_CACHE_HOME", "AWDLIB_DATA"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for call in (cache_folder, lambda: load_corpus("ptb")):
        with pytest.raises(CorpusError, match="no home folder .* AWDLIB_CACHE"):
            call()
