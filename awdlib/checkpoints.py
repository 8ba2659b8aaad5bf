"""Files that are whole or absent: written under a temporary name, flushed to the disk, then renamed.

A checkpoint holds tensors and plain values only. It is preceded by the hash of its own bytes, so that a truncated or
damaged one is recognised before anything is believed of it.
"""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

KIND = b"awdlib checkpoint "
HEADER = KIND + b"1\n"  #: how every checkpoint begins


class CheckpointError(ValueError):
    """A checkpoint cannot be written or read; the message says which one, why, and what to do.

    Raised by `save`, by `load`, whose example shows one, and by all that stands on them.
    """


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, its old or its new content is there, never a part.

    Args:
        path: the file; its folder is made if need be.
        content: all of it.

    Raises:
        CheckpointError: the disk is full, or the folder cannot be written; the old file is untouched.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.checkpoints import write_atomically
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "new" / "notes.txt", b"whole")
        ...     [path.name for path in Path(folder, "new").iterdir()]  # and no temporary file beside it
        ['notes.txt']
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException as error:  # Ctrl-C too: nothing half-written is to stay
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise CheckpointError(
            f"cannot write {path} ({error.strerror}): free some space or name another folder; what was there before "
            "is untouched"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write plain values as readable JSON, atomically.

    Args:
        path: the file; its folder is made if need be.
        value: what JSON can hold.

    Raises:
        CheckpointError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.checkpoints import write_json
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "record.json", {"epochs": 40})
        ...     print(Path(folder, "record.json").read_text())
        {
         "epochs": 40
        }
        <BLANKLINE>
    """
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def save(path: Path, value: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values, atomically; `load` reads it back.

    Args:
        path: the file; its folder is made if need be.
        value: tensors, numbers, strings, and lists and dictionaries of them.

    Raises:
        CheckpointError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import torch
        >>> from awdlib.checkpoints import load, save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(Path(folder) / "checkpoint.pt", {"epoch": 3, "weight": torch.ones(2)})
        ...     load(Path(folder) / "checkpoint.pt")
        {'epoch': 3, 'weight': tensor([1., 1.])}
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    payload = buffer.getvalue()
    write_atomically(path, HEADER + hashlib.sha256(payload).digest() + payload)


def load(path: Path, device: torch.device | str = "cpu", holding: Collection[str] = ()) -> dict[str, Any]:
    """Read a checkpoint; no code in it is ever run.

    Args:
        path: what `save` has written.
        device: where the tensors go.
        holding: names that it must have.

    Raises:
        CheckpointError: it is missing, truncated, damaged, of another kind or version, or not a checkpoint of this
            library.

    Example:
        A file that has lost its last byte is not believed:

        >>> import tempfile
        >>> from pathlib import Path
        >>> from awdlib.checkpoints import CheckpointError, load, save
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "checkpoint.pt"
        ...     save(path, {"epoch": 3})
        ...     _ = path.write_bytes(path.read_bytes()[:-1])
        ...     try:
        ...         load(path)
        ...     except CheckpointError as problem:
        ...         print(str(problem).removeprefix(f"{path} "))
        is truncated or damaged: delete it, or bring back a copy, and start again
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error.strerror})") from None
    start = len(HEADER) + 32
    if content.startswith(KIND) and not content.startswith(HEADER):
        raise CheckpointError(f"{path} was written by another version of awdlib, or is damaged: read it with that one")
    if not content.startswith(HEADER):
        raise CheckpointError(f"{path} is not a checkpoint of awdlib: name the folder of a run")
    if hashlib.sha256(content[start:]).digest() != content[len(HEADER) : start]:
        raise CheckpointError(f"{path} is truncated or damaged: delete it, or bring back a copy, and start again")
    try:
        saved = torch.load(io.BytesIO(content[start:]), map_location=device, weights_only=True)
    except Exception as error:  # whole, and still unreadable: whatever another version of torch may complain of
        reason = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{path} cannot be read by this version of torch ({reason}): use the one it was written by"
        ) from None
    if not isinstance(saved, dict) or any(name not in saved for name in holding):
        raise CheckpointError(f"{path} is a checkpoint of another kind or version: it must hold {', '.join(holding)}")
    return saved
