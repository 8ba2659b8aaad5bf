"""The parts of a page that are made: what stands between `<!-- made: NAME -->` and `<!-- end: NAME -->`."""

from collections.abc import Callable, Mapping


def remade(text: str, makers: Mapping[str, Callable[[], str]]) -> str:
    """The text with each part that it has as its maker makes it today."""
    for name, make in makers.items():
        begin, end = f"<!-- made: {name} -->", f"<!-- end: {name} -->"
        if begin in text:
            before, rest = text.split(begin)
            text = f"{before}{begin}\n\n{make()}\n\n{end}{rest.split(end)[1]}"
    return text
