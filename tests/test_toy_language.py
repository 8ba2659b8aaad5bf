"""The toy language: its exact predictor against an enumeration of all hidden paths, its files, its grammar."""

import itertools
import json
import math
from collections import Counter

import numpy as np
import pytest

from awdlib import toy_language as module
from awdlib.bundled import bundled
from awdlib.toy_floor import EOS
from awdlib.toy_language import ToyLanguage, from_text, to_text, toy_language

# A small instance with every feature of the large one: two topics that share words, a noun whose number is hidden,
# "that" in two roles, numbers remembered across a relative clause, and the urn.
SMALL_RULES = {
    "document": [(0.2, "opening", "clause"), (0.8, None, "clause")],
    "sentence": [(0.3, EOS, "document"), (0.7, None, "document")],
    "clause": [(0.4, "name", "after.one"), (0.3, "the", "noun.one"), (0.3, "the", "noun.many")],
    "noun.one": [(1.0, "being.one", "after.one")],
    "noun.many": [(1.0, "being.many", "after.many")],
    "after.one": [(0.3, "that", "relative.one"), (0.7, None, "predicate.one")],
    "after.many": [(0.3, "that", "relative.many"), (0.7, None, "predicate.many")],
    "relative.one": [(0.5, "name", "inner.one"), (0.5, "verb.one", "predicate.one")],
    "relative.many": [(0.5, "name", "inner.many"), (0.5, "verb.many", "predicate.many")],
    "inner.one": [(1.0, "verb.one", "predicate.one")],
    "inner.many": [(1.0, "verb.one", "predicate.many")],
    "predicate.one": [(0.25, "tell.one", "told"), (0.75, "verb.one", "close")],
    "predicate.many": [(0.25, "tell.many", "told"), (0.75, "verb.many", "close")],
    "told": [(0.6, "that", "clause"), (0.4, "that", "close")],
    "close": [(1.0, EOS, "sentence")],
}
SMALL_LEXICON = {
    "topics": {
        "sea": {"being": ["sheep", "gull"], "verb": ["sail", "see"]},
        "farm": {"being": ["cow", "sheep"], "verb": ["sail", "dig"]},
    },
    "general": {"being": ["child", "gull"], "verb": ["see"]},
    "closed": {"opening": ["now", "today"], "tell": ["tell"]},
    "names": ["anna", "tom", "ida"],
    "irregular_plurals": {"sheep": "sheep", "child": "children"},
}
SHARE, LEAK, ALPHA = 0.5, 0.2, 1.5


def small_language() -> ToyLanguage:
    lines = [
        f"{state}  " + " | ".join(f"{p} {word or ''} {end}" for p, word, end in rules)
        for state, rules in SMALL_RULES.items()
    ]
    return ToyLanguage(SMALL_LEXICON, "\n".join(lines), topic_share=SHARE, leak=LEAK, name_alpha=ALPHA)


def harmonic(words: list[str], word: str) -> float:
    total = sum(1 / rank for rank in range(1, len(words) + 1))
    return sum(1 / (rank * total) for rank, other in enumerate(words, 1) if other == word)


def emits(topic: str, word_class: str, word: str) -> float:
    """p(word | topic, class) in the small language, spelled out by hand."""
    forms = {"being.one": str, "being.many": lambda w: {"sheep": "sheep", "child": "children"}.get(w, w + "s")}
    forms |= {"verb.one": lambda w: w + "s", "verb.many": str}
    if word_class in forms:
        kind, form = word_class.split(".")[0], forms[word_class]
        own = {z: harmonic([form(w) for w in lists[kind]], word) for z, lists in SMALL_LEXICON["topics"].items()}
        general = harmonic([form(w) for w in SMALL_LEXICON["general"][kind]], word)
        return SHARE * own[topic] + LEAK * (own["sea"] + own["farm"]) / 2 + (1 - SHARE - LEAK) * general
    if word_class == "opening":
        return harmonic(["now", "today"], word)
    return float(word == {"tell.one": "tells", "tell.many": "tell"}.get(word_class, word_class))


def name_probability(seen: list[str], name: str) -> float:
    base = harmonic(SMALL_LEXICON["names"], name)
    new = ALPHA / (ALPHA + len(seen))
    return new * base + (1 - new) * (seen.count(name) / len(seen) if seen else 0.0)


def paths(words: tuple[str, ...], state: str, topic: str, seen: tuple[str, ...]):
    """Yield the probability of every hidden path that writes ``words``: one number a path, silent moves included."""
    if not words:
        yield 1.0
        return
    for p, word_class, end in SMALL_RULES[state]:
        if word_class is None:
            yield from (p * rest for rest in paths(words, end, topic, seen))
            continue
        word, names = words[0], seen
        if word_class == "name":
            if word not in SMALL_LEXICON["names"]:
                continue
            here, names = p * name_probability(list(seen), word), (*seen, word)
        else:
            here = p * emits(topic, word_class, word)
        if here == 0.0:
            continue
        topics, names = (["sea", "farm"], ()) if end == "document" else ([topic], names)
        for z in topics:
            yield from (here / len(topics) * rest for rest in paths(words[1:], end, z, names))


def brute_force(words: list[str]) -> float:
    """p(words) from the start of a document, summed over topics and all state sequences."""
    return sum(0.5 * p for z in ("sea", "farm") for p in paths(tuple(words), "document", z, ()))


SENTENCES = [
    "the sheep that anna sees tell that anna sails",
    "now the sheep that sail tell that the gulls see",
    "anna tells that <eos> tom sees <eos> anna sails <eos> <eos> anna sails <eos> anna tells that tom sails <eos>",
    "the children sail <eos> <eos> today the cows dig <eos> <eos> the sheep",
]


def sampled_texts() -> list[list[str]]:
    rng = np.random.default_rng(7)
    return [line.split() for line in SENTENCES] + [small_language().sample(rng, 12)[:18] for _ in range(6)]


@pytest.mark.parametrize("words", sampled_texts(), ids=lambda words: " ".join(words)[:30])
def test_filter_equals_the_sum_over_all_hidden_paths(words):
    joint = [brute_force(words[:length]) for length in range(len(words) + 1)]
    expected = np.diff(np.log(joint))
    np.testing.assert_allclose(small_language().log_probabilities(words), expected, rtol=0, atol=1e-10)


def test_enumeration_covers_boundaries_repeated_names_and_several_paths():
    texts = sampled_texts()
    assert any((EOS, EOS) in itertools.pairwise(words) for words in texts)
    assert any(Counter(words)["anna"] > 1 for words in texts)
    assert len(list(paths(("the", "sheep", "that", "anna", "sees"), "document", "sea", ()))) == 2  # one or many


@pytest.mark.parametrize("make", [small_language, toy_language])
def test_predictions_sum_to_one_and_chain_to_the_log_probabilities(make):
    language = make()
    words = language.sample(np.random.default_rng(3), 150)[:150]
    chained = []
    for position, word in enumerate(words):
        probabilities = language.next_word_probabilities(words[:position])
        assert probabilities.min() >= 0 and abs(probabilities.sum() - 1) < 1e-12
        chained.append(math.log(probabilities[language.index[word]]))
    np.testing.assert_allclose(language.log_probabilities(words), chained, rtol=0, atol=1e-10)
    assert language.floor(words) == pytest.approx(math.exp(-np.mean(chained[1:])), abs=1e-9)


@pytest.fixture(scope="module")
def small_documents() -> list[list[str]]:
    language, rng = small_language(), np.random.default_rng(11)
    return [language.sample(rng, 1) for _ in range(10_000)]


@pytest.mark.parametrize("prefix", [[], ["anna"], ["the", "sheep"], ["anna", "sees", EOS]])
def test_sampler_follows_the_predictions(prefix, small_documents):
    language = small_language()
    follows = Counter(words[len(prefix)] for words in small_documents if words[: len(prefix)] == prefix)
    draws = follows.total()
    assert draws > 250
    for word, p in zip(language.vocabulary, language.next_word_probabilities(prefix), strict=True):
        tolerance = 5 * math.sqrt(p * (1 - p) / draws) + 1e-12  # five standard deviations of a binomial share
        assert abs(follows[word] / draws - p) <= tolerance, word


@pytest.mark.parametrize("which", ["first", "last"])
def test_sampler_returns_to_a_name_as_the_urn_says(which):
    language, rng = small_language(), np.random.default_rng(13)
    expected = variance = hits = 0.0
    for _ in range(2_000):
        seen: list[str] = []
        for step in language.derive(rng, 1):
            if step.word_class == "name":
                if seen:
                    watched = seen[0 if which == "first" else -1]
                    p = name_probability(seen, watched)
                    expected, variance, hits = expected + p, variance + p * (1 - p), hits + (step.word == watched)
                seen.append(step.word)
    assert abs(hits - expected) < 5 * math.sqrt(variance)


def subjects_and_main_verbs(steps):
    """(subject step, main verb step, words between) for every clause whose verb shows its number."""
    subject = None
    for position, step in enumerate(steps):
        is_noun = step.state.startswith("subject_noun.") and step.word_class != "adjective"
        if is_noun or step.state in ("document", "sentence", "clause") and step.word_class == "name":
            subject, since = step, position
        inner = step.state.startswith(("relative.", "after_inner.", "inner_", "told"))
        if step.word_class.startswith(("verb.", "move.", "say.", "tell.", "be.")) and not inner:
            yield subject, step, position - since


def test_every_main_verb_agrees_with_its_subject():
    lexicon = json.loads((bundled("toy") / "lexicon.json").read_text(encoding="utf-8"))
    pairs = list(subjects_and_main_verbs(toy_language().derive(np.random.default_rng(5), 8_000)))
    lists = (*lexicon["topics"].values(), lexicon["general"], lexicon["closed"])
    nouns = {word for words in lists for word in words.get("being", [])}
    plain = {word for words in lists for kind in module.VERBS for word in words.get(kind, [])} | {"are", "seem", "look"}
    for subject, verb, _ in pairs:
        one = subject.word_class == "name" or subject.word_class.endswith(".one")
        assert verb.word_class.endswith(".one" if one else ".many"), (subject, verb)
        assert (verb.word in plain) != one, (subject, verb)
        if one and subject.word_class == "being.one":
            assert subject.word in nouns
    far = sum(distance > 5 for *_, distance in pairs)
    assert len(pairs) > 800 and far > 0.04 * len(pairs)  # many lie beyond a 5-gram's reach


def test_knowing_the_hidden_state_helps():
    language = toy_language()
    steps = language.derive(np.random.default_rng(17), 4_000)
    arcs, urn, informed = language.arcs, language.names.empty(), []
    for before, step in zip([None, *steps], steps, strict=False):
        if before and before.word == EOS and step.state == "document":
            urn = language.names.empty()
        topic = language.topics.index(step.topic)
        leaving = arcs.source == arcs.states.index(step.state)
        emitted = language.emission[topic, arcs.word_class[leaving], language.index[step.word]]
        if step.word_class == "name":
            emitted = urn.probability(step.word) * (arcs.word_class[leaving] == arcs.classes.index("name"))
            urn.add(step.word)
        informed.append(math.log(emitted @ arcs.probability[leaving]))
    given_hidden_state = math.exp(-np.mean(informed[1:]))
    assert given_hidden_state < 0.99 * language.floor([step.word for step in steps])


def test_files_regenerate_byte_for_byte(tmp_path, capsys):
    module.main(["--write", str(tmp_path)])
    assert json.loads(capsys.readouterr().out) == json.loads((bundled("toy") / "floor.json").read_text("utf-8"))
    for name in ("train.txt", "valid.txt", "test.txt", "floor.json"):
        assert (tmp_path / name).read_bytes() == (bundled("toy") / name).read_bytes(), name
    assert len(list(tmp_path.iterdir())) == 4  # no temporary file stays behind


def test_floor_json_is_what_the_files_say():
    record = json.loads((bundled("toy") / "floor.json").read_text(encoding="utf-8"))
    language = toy_language()
    splits = {name: from_text((bundled("toy") / f"{name}.txt").read_text("utf-8")) for name in record["floor"]}
    for name, words in splits.items():
        assert record["tokens"][name] == len(words)
        assert record["floor"][name] == pytest.approx(language.floor(words), abs=1e-5)
        assert record["unseen_in_train"][name] < 0.01
    known = set(splits["train"])
    assert 0 < record["unseen_in_train"]["valid"] == np.mean([word not in known for word in splits["valid"]])
    assert record["vocabulary"] == len(language.vocabulary) == len(set(language.vocabulary))
    assert 900 <= record["vocabulary"] <= 1200


def test_text_round_trips_and_its_documents_end_with_a_blank_line():
    words = toy_language().sample(np.random.default_rng(1), 500)
    assert from_text(to_text(words)) == words
    assert to_text(["anna", "sails", EOS, EOS]) == "anna sails\n\n"
    assert from_text("anna sails\n\n") == ["anna", "sails", EOS, EOS]


def test_nouns_and_adjectives_take_a_and_never_an():
    lexicon = json.loads((bundled("toy") / "lexicon.json").read_text(encoding="utf-8"))
    for lists in (*lexicon["topics"].values(), lexicon["general"], lexicon["closed"]):
        for word_class in ("being", "thing", "place", "adjective", "tale"):
            assert not [word for word in lists.get(word_class, []) if word[0] in "aeiou"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("sail", "sails"), ("catch", "catches"), ("carry", "carries"), ("play", "plays"), ("box", "boxes")],
)
def test_third_person(word, expected):
    assert module.third_person(word) == expected
    assert module.plural(word, {}) == expected
    assert module.plural("mouse", {"mouse": "mice"}) == "mice"


def test_bad_input_is_named_with_its_remedy():
    language = small_language()
    with pytest.raises(ValueError, match="'zebra' is not a word .* use only"):
        language.log_probabilities(["anna", "zebra"])
    with pytest.raises(ValueError, match="'zebra' is not a word"):
        language.next_word_probabilities(["zebra"])
    with pytest.raises(ValueError, match="'the' at position 1 cannot follow"):
        language.log_probabilities(["anna", "the"])
    with pytest.raises(ValueError, match="words is empty: give"):
        language.log_probabilities([])
    with pytest.raises(ValueError, match="length 1: a floor needs at least 2"):
        language.floor(["anna"])
    with pytest.raises(ValueError, match="tokens is 0; it must be at least 1"):
        language.sample(np.random.default_rng(0), 0)


def test_bad_languages_are_refused():
    with pytest.raises(ValueError, match=r"names \['cow'\] are also other words"):
        ToyLanguage(SMALL_LEXICON | {"names": ["cow"]}, "document 1.0 being.one document")
    with pytest.raises(ValueError, match="'document' do not sum to one"):
        ToyLanguage(SMALL_LEXICON, "document 0.9 name document")
    with pytest.raises(ValueError, match="'elsewhere' has no line"):
        ToyLanguage(SMALL_LEXICON, "document 1.0 name elsewhere")
    hidden_end = ToyLanguage(SMALL_LEXICON, "document 1.0 the s\ns 0.5 <eos> s | 0.5 <eos> document")
    with pytest.raises(ValueError, match="may end at position 1, or not"):
        hidden_end.log_probabilities(["the", EOS])


def test_the_command_line_refuses_a_missing_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        module.main(["--write", str(tmp_path / "nowhere")])
    assert "is not a folder" in capsys.readouterr().err
