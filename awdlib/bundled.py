"""Where the small files that ship with the project lie: the toy language and the records of runs."""

from pathlib import Path

_CLONE = Path(__file__).resolve().parent.parent / "data"
_WHEEL = Path(__file__).resolve().parent / "data"


def bundled(name: str = "") -> Path:
    """Path of a bundled file or folder, in a clone (``data/``) or an installed wheel (``awdlib/data/``).

    Args:
        name: path below ``data/``, for example ``"toy"`` or ``"runs/dropout-masks.json"``.

    Returns:
        the path, which exists.

    Raises:
        FileNotFoundError: neither place has it.

    Example:
        >>> from awdlib.bundled import bundled
        >>> sorted(path.name for path in bundled("toy").glob("*.txt"))
        ['grammar.txt', 'test.txt', 'train.txt', 'valid.txt']
    """
    for root in (_CLONE, _WHEEL):
        if (root / name).exists():
            return root / name
    raise FileNotFoundError(f"{name!r} is not among the files bundled with awdlib (looked in {_CLONE} and {_WHEEL})")
