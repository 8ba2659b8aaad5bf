"""Generation against loops through the plain model, closed forms, and frequencies; then the command."""

import math
import re
from dataclasses import FrozenInstanceError
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_cli import TINY
from torch.utils._pytree import tree_leaves

from awdlib.cache import CacheConfig, target_probabilities
from awdlib.cli import main
from awdlib.corpora import Vocabulary, load_corpus
from awdlib.evaluation import evaluate
from awdlib.generation import Reader, generate, inspect_tokens, next_word_distribution
from awdlib.model import LanguageModel, ModelConfig

VOCABULARY = Vocabulary("<eos> the cat dog sees hears a bird <unk>".split())
SIZE = len(VOCABULARY)
PROMPT = "the cat sees a bird <eos> the".split()
TEXT = "the cat sees the dog <eos> a bird hears the cat <eos> the cat hears a dog".split()
CACHE = CacheConfig(window=6, flatness=0.8, weight=0.4)


def make_model(dtype=torch.float64, **changes):
    """Weights large enough that states and probabilities differ from word to word; dropouts on, in training mode."""
    config = ModelConfig(vocab_size=SIZE, embedding_size=5, hidden_size=7, num_layers=2, **changes)
    model = LanguageModel(config, generator=torch.Generator().manual_seed(4)).to(dtype)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)
    return model


@pytest.fixture
def model():
    return make_model()


def seeded(seed=5):
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def read_whole(model, words):
    """Logits and raw outputs (T, ...) of a text, read from the start in one window."""
    output = model.eval()(VOCABULARY.encode(words)[:, None])
    return output.logits[:, 0], output.raw_output[:, 0]


def loop_cache(raw, ids, window, flatness):
    """p_cache at the last of the positions, a pair at a time: the equation of Grave et al."""
    last, row = len(ids) - 1, [0.0] * SIZE
    for i in range(max(0, last - window), last):
        row[ids[i + 1]] += math.exp(flatness * sum(a * b for a, b in zip(raw[last].tolist(), raw[i].tolist())))  # noqa: B905
    return torch.tensor(row, dtype=torch.float64) / sum(row) if last > 0 else None


# The distribution ----------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=12), st.floats(0.05, 20))
def test_temperature_is_the_softmax_of_scaled_logits(logits, temperature):
    weights = [math.exp((x - max(logits)) / temperature) for x in logits]
    found = next_word_distribution(torch.tensor(logits), temperature)
    expected = torch.tensor([weight / sum(weights) for weight in weights], dtype=torch.float64)
    torch.testing.assert_close(
        found, expected, rtol=2e-5 / temperature + 1e-9, atol=1e-12
    )  # logits in single precision


@given(st.integers(1, 11), st.floats(0.3, 3), st.integers(0, 50))
def test_top_k_keeps_exactly_k_likeliest_words_and_scales_them_up(k, temperature, seed):
    logits = torch.randn(11, generator=seeded(seed), dtype=torch.float64)
    logits[3] = logits[7]  # a tie is cut through
    whole, found = next_word_distribution(logits, temperature), next_word_distribution(logits, temperature, top_k=k)
    kept = found > 0
    assert kept.sum() == k and (k == 11 or whole[kept].min() >= whole[~kept].max())
    torch.testing.assert_close(found[kept], whole[kept] / whole[kept].sum())


@given(st.floats(0.01, 1.0), st.floats(0.3, 3), st.integers(0, 50))
def test_top_p_keeps_the_smallest_set_with_that_probability(p, temperature, seed):
    logits = torch.randn(11, generator=seeded(seed), dtype=torch.float64)
    whole, found = next_word_distribution(logits, temperature), next_word_distribution(logits, temperature, top_p=p)
    kept = found > 0
    mass = whole[kept].sum().item()
    assert mass >= p - 1e-12 and mass - whole[kept].min().item() < p  # without its least likely word it falls short
    assert kept.all() or whole[kept].min() >= whole[~kept].max()
    torch.testing.assert_close(found[kept], whole[kept] / mass)


def test_cuts_by_hand():
    logits = torch.tensor([[0.25, 0.5, 0.125, 0.125], [0.125, 0.125, 0.25, 0.5]], dtype=torch.float64).log()
    assert next_word_distribution(logits, top_p=0.5).tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]  # 0.5 is enough
    third = pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert next_word_distribution(logits, top_p=0.51)[0].tolist() == third
    assert next_word_distribution(logits, top_k=2)[0].tolist() == third
    # the two words that top-k leaves have 1/3 and 2/3 of the probability: 0.6 of it is the first alone
    assert next_word_distribution(logits, top_k=2, top_p=0.6)[0].tolist() == [0, 1, 0, 0]
    tail = torch.tensor([0.0, -50.0])  # so small that a running sum of the probabilities rounds to 1 before it
    assert next_word_distribution(tail, top_p=1.0)[1] == pytest.approx(math.exp(-50), rel=1e-9, abs=0)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0}, {"top_k": 4}, {"top_p": 0.7}, {"top_k": 5, "top_p": 0.6}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_are_distributions_of_their_own_in_double_precision(settings, dtype):
    logits = torch.randn(3, 2, 6, generator=seeded(), dtype=dtype)  # more words than rows: a top_k of 5 is possible
    found = next_word_distribution(logits, **settings)
    assert found.dtype == torch.float64 and found.shape == logits.shape
    for row, alone in zip(found.flatten(0, 1), logits.flatten(0, 1), strict=True):
        assert row.equal(next_word_distribution(alone, **settings))
    torch.testing.assert_close(found.sum(-1), torch.ones(3, 2, dtype=torch.float64), rtol=1e-14, atol=0)


@pytest.mark.parametrize("temperature", [0, 1e-310, 1e-3])
def test_no_temperature_is_too_small(temperature):
    found = next_word_distribution(torch.tensor([1.0, 3.0, 2.0, -math.inf]), temperature)
    assert found.tolist() == [0, 1, 0, 0]


def test_a_diverged_model_is_refused():
    for logits in ([0.0, math.nan], [[0.0, 1.0], [math.nan, 0.0]]):
        with pytest.raises(
            ValueError, match="^the logits are not all numbers: the model has diverged; take an earlier"
        ):
            next_word_distribution(torch.tensor(logits))


# Generating ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_greedy_is_the_argmax_loop_and_carrying_the_state_is_reading_from_the_start(cell):
    model = make_model(cell=cell)
    found = list(generate(model, VOCABULARY, PROMPT, 12, temperature=0))
    assert model.training, "left as it was found"
    text = list(PROMPT)
    for _ in range(12):
        text.append(VOCABULARY.words[read_whole(model, text)[0][-1].argmax()])
    assert found == text[len(PROMPT) :] and len(set(found)) > 1


def test_the_carried_state_gives_the_distribution_of_the_whole_text_read_from_the_start(model):
    reader = Reader(model)
    for t, word in enumerate(VOCABULARY.encode(TEXT).tolist()):
        mixed = reader.read(word).mixed
        logits, _ = read_whole(model, TEXT[: t + 1])
        torch.testing.assert_close(mixed, logits[-1].softmax(-1), rtol=1e-9, atol=1e-12)


def test_each_word_is_drawn_from_the_distribution_after_all_words_before_it(model):
    settings = {"temperature": 1.3, "top_k": 6, "top_p": 0.9}
    found = list(generate(model, VOCABULARY, PROMPT, 15, generator=seeded(), cache=CACHE, **settings))
    text, generator = list(PROMPT), seeded()
    for _ in range(15):
        logits, raw = read_whole(model, text)
        cached = loop_cache(raw, VOCABULARY.encode(text).tolist(), CACHE.window, CACHE.flatness)
        mixed = 0.6 * logits[-1].softmax(-1) + 0.4 * cached
        drawn = torch.multinomial(next_word_distribution(mixed.log(), **settings), 1, generator=generator)
        text.append(VOCABULARY.words[drawn])
    assert found == text[len(PROMPT) :]


def test_nothing_is_cut_off_or_levelled_unless_asked_for(model):
    plain = {"temperature": 1.0, "top_k": None, "top_p": None, "cache": None}
    texts = [list(generate(model, VOCABULARY, PROMPT, 300, generator=seeded(), **more)) for more in ({}, plain)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reading_builds_no_graph_and_says_what_it_expects_in_double_precision(dtype):
    reader = Reader(make_model(dtype), CACHE)
    for word in VOCABULARY.encode(TEXT).tolist():
        found = reader.read(word)
        tensors = [found.model_log, found.cache, found.mixed, reader.hidden, *tree_leaves(reader.states)]
        assert not any(tensor.requires_grad for tensor in tensors) and torch.is_grad_enabled()
        assert {found.model_log.dtype, found.cache.dtype, found.mixed.dtype} == {torch.float64}
    assert len(reader.history) == CACHE.window


def test_a_text_is_read_where_the_model_is():
    """Device "meta" stands for any other than the CPU: it computes shapes, and refuses to be mixed with another."""
    reader = Reader(make_model().to("meta"), CACHE)
    for word in (1, 2, 3):
        assert reader.read(word).mixed.device.type == "meta"


def test_a_failing_model_is_left_in_the_mode_it_was_found_in(model):
    def fail(*_):
        raise KeyboardInterrupt

    model.register_forward_hook(fail)
    with pytest.raises(KeyboardInterrupt):
        next(generate(model, VOCABULARY, PROMPT, 1))
    assert model.training and torch.is_grad_enabled()


def test_the_same_seed_writes_the_same_text(model):
    texts = [list(generate(model, VOCABULARY, PROMPT, 30, generator=seeded(s))) for s in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2] and len(texts[0]) == 30
    again = generate(model, VOCABULARY, PROMPT, 30, generator=seeded(1))
    torch.manual_seed(99)  # a generator of its own: nothing global matters
    assert list(again) == texts[0]
    torch.manual_seed(4)
    from_global = list(generate(model, VOCABULARY, PROMPT, 30))
    torch.manual_seed(4)
    assert list(generate(model, VOCABULARY, PROMPT, 30)) == from_global


def test_frequencies_of_the_next_word_are_its_probabilities(model):
    draws, generator = 2000, seeded()
    first = [next(generate(model, VOCABULARY, ["the"], 1, generator=generator)) for _ in range(draws)]
    expected = read_whole(model, ["the"])[0][-1].softmax(-1)
    for word, p in zip(VOCABULARY.words, expected.tolist(), strict=True):
        tolerance = 4.5 * math.sqrt(p * (1 - p) / draws) + 1 / draws  # of a binomial's share; 1 in 10,000 in all
        assert abs(first.count(word) / draws - p) <= tolerance, word


def test_no_prompt_begins_after_an_eos(model):
    def first_words(prompt):
        generator = seeded()
        return [next(generate(model, VOCABULARY, prompt, 1, generator=generator)) for _ in range(200)]

    after_nothing = first_words([])
    assert [word for word in VOCABULARY.words if first_words([word]) == after_nothing] == ["<eos>"]


def test_words_come_one_by_one_and_training_may_go_on_in_between(model):
    words = generate(model, VOCABULARY, PROMPT, 10**9, generator=seeded())
    model.train()
    next(words)
    assert model.training and all(module.training for module in model.modules())
    assert len(list(islice(words, 5))) == 5


# The cache -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only_when_full", [False, True])
@pytest.mark.parametrize("window", [1, 6, 100])
def test_model_and_cache_mixed_equal_a_loop_over_the_vocabulary_and_sum_to_one(model, window, only_when_full):
    config = CacheConfig(window=window, flatness=0.8, weight=0.4, only_when_full=only_when_full)
    reader, ids = Reader(model, config), VOCABULARY.encode(TEXT).tolist()
    for t, word in enumerate(ids):
        found = reader.read(word)
        logits, raw = read_whole(model, TEXT[: t + 1])
        cached, p = loop_cache(raw, ids[: t + 1], window, 0.8), logits[-1].softmax(-1)
        mixed = 0.6 * p + 0.4 * cached if t > (window if only_when_full else 0) else p
        torch.testing.assert_close(found.mixed, mixed, rtol=1e-9, atol=1e-12)
        assert found.mixed.sum().item() == pytest.approx(1, abs=1e-12)


def test_lambda_zero_is_no_cache(model):
    nothing = CacheConfig(window=6, weight=0.0)
    texts = [list(generate(model, VOCABULARY, PROMPT, 40, generator=seeded(), cache=c)) for c in (None, nothing, CACHE)]
    assert texts[0] == texts[1] != texts[2]
    reports = inspect_tokens(model, VOCABULARY, TEXT, nothing)
    assert [report.mixed for report in reports] == pytest.approx([report.probability for report in reports], rel=1e-12)
    assert not any(report.cache_share for report in reports)


def test_lambda_one_repeats_only_words_of_the_window(model):
    greedy = CacheConfig(window=3, weight=1.0)
    text = ["cat", "sees", *generate(model, VOCABULARY, ["cat", "sees"], 20, generator=seeded(), cache=greedy)]
    assert all(word in text[t - 3 : t] for t, word in enumerate(text) if t >= 3)
    reports = inspect_tokens(model, VOCABULARY, ["cat", "sees", "cat"], greedy)
    assert [report.cache_share for report in reports] == [0, 0, 1]  # no history; not in it, so 0 of 0; all


# Inspecting ----------------------------------------------------------------------------------------------------------


def test_probabilities_multiply_to_the_evaluation_loss(model):
    reports = inspect_tokens(model, VOCABULARY, TEXT)
    assert model.training
    loss = evaluate(model, VOCABULARY.encode(["<eos>", *TEXT]))
    assert -math.log(math.prod(report.probability for report in reports)) == pytest.approx(loss * len(TEXT), rel=1e-9)
    assert sum(report.surprisal for report in reports) == pytest.approx(loss * len(TEXT), rel=1e-9)
    assert [report.word for report in reports] == TEXT


@pytest.mark.parametrize("cut", [1, 4])
def test_a_context_is_read_and_not_reported_on(model, cut):
    reports = inspect_tokens(model, VOCABULARY, TEXT[cut:], CACHE, context=TEXT[:cut])
    assert [report.word for report in reports] == TEXT[cut:]
    expected = target_probabilities(model, VOCABULARY.encode(TEXT), CACHE)
    for ours, theirs in (("probability", expected.model), ("cache_probability", expected.cache),
                         ("mixed", expected.mixed(0.4))):  # fmt: skip
        found = torch.tensor([getattr(report, ours) for report in reports], dtype=torch.float64)
        torch.testing.assert_close(found, theirs[cut - 1 :, 0], rtol=1e-5, atol=1e-7)


def test_entropy_rank_and_share_by_hand(model):
    whole, reports = ["<eos>", *TEXT], inspect_tokens(model, VOCABULARY, TEXT, CACHE)
    for t, (word, report) in enumerate(zip(TEXT, reports, strict=True)):
        p = read_whole(model, whole[: t + 1])[0][-1].softmax(-1).tolist()
        own = p[VOCABULARY.ids[word]]
        assert report.probability == pytest.approx(own) and report.surprisal == pytest.approx(-math.log(own))
        assert report.entropy == pytest.approx(-sum(x * math.log(x) for x in p))
        assert report.rank == sorted(p, reverse=True).index(own) + 1
        share = 0.4 * report.cache_probability / report.mixed if t > 0 else 0
        assert report.cache_share == pytest.approx(share)
        figures = {name: value for name, value in vars(report).items() if name != "word"}
        assert {name for name, value in figures.items() if type(value) is not float} == {"rank"}
        with pytest.raises(FrozenInstanceError):
            report.rank = 1
    assert {report.rank for report in reports} > {1}
    assert 0 < max(report.cache_share for report in reports) < 1


def test_an_untrained_flat_model_expects_the_logarithm_of_its_vocabulary(model):
    for weight in model.parameters():
        weight.data.zero_()
    for report in inspect_tokens(model, VOCABULARY, TEXT):
        assert report.entropy == pytest.approx(math.log(SIZE)) and report.surprisal == pytest.approx(math.log(SIZE))
        assert report.rank == 1 and report.cache_probability is None and report.cache_share == 0


def test_no_text_no_reports(model):
    assert inspect_tokens(model, VOCABULARY, []) == inspect_tokens(model, VOCABULARY, [], context=PROMPT) == []


def test_half_precision_is_read_in_double():
    model = make_model(torch.bfloat16)
    for report in inspect_tokens(model, VOCABULARY, TEXT, CACHE):
        assert 0 < report.mixed < 1 and report.surprisal == pytest.approx(-math.log(report.probability))


# Refusals ------------------------------------------------------------------------------------------------------------

BAD = {
    "length": ({"length": 0}, r"length is 0; it must be at least 1"),
    "temperature": (
        {"temperature": -0.5},
        r"temperature is -0.5; it must be finite and cannot be negative: 0 always takes",
    ),
    "not a number": ({"temperature": math.nan}, r"temperature is nan"),
    "infinite": ({"temperature": math.inf}, r"temperature is inf"),
    "top_k": ({"top_k": 0}, r"top_k is 0; it must be at least 1"),
    "top_k of too many": ({"top_k": 10}, r"top_k is 10; it must be at most 9"),
    "top_p": ({"top_p": 0.0}, r"top_p is 0.0; it must lie in \(0, 1\], or be left out"),
    "top_p above": ({"top_p": 1.1}, r"top_p is 1.1"),
    "unknown": (
        {"prompt": ["the", "axolotl", "the", "gnu"]},
        r"^not among the vocabulary's 9 words: 'axolotl', 'gnu'; write <unk> instead$",
    ),
    "one string": ({"prompt": "the cat"}, r"one string, 'the cat'; .* use \.split\(\)"),
    "another vocabulary": (
        {"vocabulary": Vocabulary(["a", "b", "c"])},
        "the model knows 9 words and the vocabulary has 3: use the model's own$",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_refused_at_the_call(name, model):
    values, complaint = BAD[name]
    with pytest.raises(ValueError, match=complaint):
        generate(model, **{"vocabulary": VOCABULARY, "prompt": PROMPT, "length": 5, **values})  # no word asked for yet


@pytest.mark.parametrize("name", ["temperature", "not a number", "infinite", "top_k", "top_k of too many", "top_p"])
def test_bad_settings_of_a_distribution_are_refused_too(name):
    settings, complaint = BAD[name]
    with pytest.raises(ValueError, match=complaint):
        next_word_distribution(torch.zeros(SIZE), **settings)


def test_unk_is_offered_only_where_there_is_one():
    vocabulary = Vocabulary(["a", *VOCABULARY.words[1:-1], "b", "c"][:SIZE])
    assert "<unk>" not in vocabulary.ids and "<eos>" not in vocabulary.ids
    model = LanguageModel(ModelConfig(vocab_size=len(vocabulary), embedding_size=5, hidden_size=7))
    with pytest.raises(ValueError, match="'<eos>'; use words of the training text"):
        generate(model, vocabulary, [], 5)
    with pytest.raises(ValueError, match="'gnu'"):
        inspect_tokens(model, vocabulary, ["gnu"], context=["a"])


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main([*TINY, "--epochs", "1", "--out", str(folder)]) == 0
    return folder


def written(folder, capsys, *words):
    capsys.readouterr()
    assert main(["generate", str(folder), "--device", "cpu", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_the_command_prints_prompt_and_text_with_line_breaks(seed, folder, capsys):
    printed = written(folder, capsys, "--prompt", "today the\nanna", "--length", "80", "--seed", seed)
    assert re.match(r"today the\nanna\s", printed) and printed.endswith("\n") and "<eos>" not in printed
    assert not re.search(r"  | \n|\n ", printed)
    words = printed[:-1].replace("\n", " <eos> ").split()  # the last line break ends the output
    assert len(words) == 4 + 80 and words.count("<eos>") > 1
    assert {*words} <= {*load_corpus("toy").vocabulary.words}


def test_a_seed_and_the_settings_decide_the_text(folder, capsys):
    sampled = written(folder, capsys)
    assert written(folder, capsys, "--seed", "1") == sampled != written(folder, capsys, "--seed", "2")
    cached = ["--cache", "--window", "20", "--theta", "0", "--lambda"]
    assert written(folder, capsys, *cached, "0") == sampled != written(folder, capsys, *cached, "0.9")
    greedy = written(folder, capsys, "--temperature", "0")
    assert written(folder, capsys, "--top-k", "1") == written(folder, capsys, "--top-p", "1e-9") == greedy != sampled


BAD_COMMANDS = {
    "unknown word": (["--prompt", "the axolotl"], "'axolotl'"),
    "length": (["--length", "-1"], "length is -1"),
    "temperature": (["--temperature", "-1"], "temperature is -1.0"),
    "seed": (["--seed", "-1"], "--seed is -1; it must lie in"),
    "no cache": (["--theta", "0.5"], "--theta is a setting of the cache, which is off: add --cache"),
    "lambda": (["--cache", "--lambda", "2"], "(lambda) is 2.0"),
}


@pytest.mark.parametrize("name", BAD_COMMANDS)
def test_bad_input_exits_2_with_one_line_and_no_text(name, folder, capsys):
    words, complaint = BAD_COMMANDS[name]
    capsys.readouterr()
    assert main(["generate", str(folder), "--device", "cpu", *words]) == 2
    said = capsys.readouterr()
    assert complaint in said.err and said.err.count("\n") == 1 and not said.out


def test_a_folder_without_a_run_is_refused(tmp_path, capsys):
    assert main(["generate", str(tmp_path)]) == 2
    assert "is not the folder of a run" in capsys.readouterr().err
