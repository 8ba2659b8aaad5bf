"""What the continuous cache gains, and on which words: by kind of word, by age, by window, and at which price.

Grave et al. 2016, section 3, for the cache. A word's gain is ``ln p - ln p_model``, in nats; gains add up.
"""

from collections.abc import Sequence
from functools import cache

from awdlib.toy_language import toy_language

KINDS = ("names", "topic words", "other words", "line ends")  #: of the toy language's words


@cache
def _language_kinds() -> dict[str, int]:
    """Kind of every word of the toy language, as its number in `KINDS`."""
    language = toy_language()
    tilt = language.emission.max(0) - language.emission.min(0)  # [classes, words]: what the topic can change
    topical = dict(zip(language.vocabulary, (tilt > 1e-9).any(0).tolist(), strict=True))
    special = dict.fromkeys(language.names.base, 0) | {"<eos>": 3}
    return {word: special.get(word, 1 if topical[word] else 2) for word in language.vocabulary}


def kinds(words: Sequence[str]) -> list[int]:
    """Kind of each word of the toy language, as its number in `KINDS`.

    A topic word is one whose probability hangs on the topic of the document; names have an urn instead.

    Args:
        words: of the toy language's vocabulary.

    Returns:
        a number for each word.

    Raises:
        ValueError: a word is not the toy language's.

    Example:
        >>> from awdlib.figures.cache_gain import KINDS, kinds
        >>> [KINDS[kind] for kind in kinds("conrad repairs the sail <eos>".split())]
        ['names', 'topic words', 'other words', 'topic words', 'line ends']
    """
    known = _language_kinds()
    if strange := [word for word in words if word not in known]:
        raise ValueError(f"{strange[0]!r} is no word of the toy language: name only words of its vocabulary")
    return [known[word] for word in words]
