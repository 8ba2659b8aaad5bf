"""NT-ASGD in a run: saved and resumed at every stage, copied, and the average put in place and taken out again."""

import copy
import pickle

import pytest
from helpers import advance, problem, vector

from awdlib.ntasgd import NTASGD

#: a run as it happens: five batches, then a validation loss; with patience 1 the third loss is the trigger
EVENTS = [event for loss in (3.0, 2.0, 4.0, 1.0) for event in [*range(5), loss]]


def go_on(model, optimizer, data, events):
    """What `observe` answers, and all iterates."""
    answers, iterates = [], []
    for number, event in events:
        if isinstance(event, float):
            answers.append((number, optimizer.observe(event)))
        else:
            iterates += advance(model, optimizer, data[number : number + 1])
    return answers, iterates


@pytest.mark.parametrize("stop", range(len(EVENTS)))
def test_a_run_stopped_anywhere_and_resumed_equals_an_uninterrupted_one(stop):
    """Before the trigger, at it (the state just after the third loss), and after it; bit for bit."""
    model, data = problem()
    events = list(enumerate(EVENTS))
    optimizer = NTASGD(model.parameters(), lr=0.3, weight_decay=0.01, patience=1)
    go_on(model, optimizer, data, events[:stop])
    assert optimizer.averaging is (stop > 17)
    twin = copy.deepcopy(model)
    saved = pickle.dumps(optimizer.state_dict())
    expected = go_on(model, optimizer, data, events[stop:])
    restored = NTASGD(twin.parameters(), lr=9.0, patience=1)
    restored.load_state_dict(pickle.loads(saved))
    found = go_on(twin, restored, data, events[stop:])
    assert found[0] == expected[0] and all(one.equal(other) for one, other in zip(found[1], expected[1], strict=True))
    assert restored.history == optimizer.history == [3.0, 2.0, 4.0, 1.0]
    assert restored.iterates_averaged == optimizer.iterates_averaged == 6
    with restored.averaged(), optimizer.averaged():
        assert vector(twin).equal(vector(model))


def test_a_state_stays_as_it_is_and_can_be_restored_again():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    optimizer.observe(1.0)
    optimizer.start_averaging()
    advance(model, optimizer, data[:5])
    saved, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    averages = []
    for _ in range(2):
        model.load_state_dict(weights)
        restored = NTASGD(model.parameters(), lr=0.3)
        restored.load_state_dict(saved)
        advance(model, restored, data[5:10])
        restored.observe(2.0)
        with restored.averaged():
            averages.append(vector(model))
        assert restored.history == [1.0, 2.0] and saved["history"] == [1.0]
    assert averages[0].equal(averages[1])
    saved = optimizer.state_dict()
    optimizer.observe(3.0)
    assert saved["history"] == [1.0]


def test_deep_copies_and_pickles_keep_the_counters():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3, patience=3)
    optimizer.observe(1.5)
    optimizer.start_averaging()
    advance(model, optimizer, data[:4])
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert (twin.history, twin.iterates_averaged, twin.patience) == ([1.5], 5, 3)
        twin.step()
    with optimizer.averaged():
        twin = copy.deepcopy(optimizer)
    with pytest.raises(RuntimeError, match="inside"):  # its weights are the average: it knows, and refuses
        twin.step()


def test_any_exception_inside_averaged_restores_the_iterate():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    optimizer.start_averaging()
    iterate = advance(model, optimizer, data[:9])[-1]
    for error in (ZeroDivisionError, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(error), optimizer.averaged():
            assert not vector(model).equal(iterate)
            raise error
        assert vector(model).equal(iterate)
    advance(model, optimizer, data[9:12])  # goes on


def test_averaged_inside_averaged_changes_nothing():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    optimizer.start_averaging()
    iterate = advance(model, optimizer, data[:9])[-1]
    with optimizer.averaged():
        average = vector(model)
        with optimizer.averaged():
            assert vector(model).equal(average)
        assert vector(model).equal(average)
        with pytest.raises(RuntimeError, match="inside"):
            optimizer.step()
    assert vector(model).equal(iterate) and not average.equal(iterate)


def test_steps_and_state_are_refused_inside_averaged():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    optimizer.start_averaging()
    iterate = advance(model, optimizer, data[:9])[-1]
    with pytest.raises(RuntimeError, match="inside"), optimizer.averaged():
        assert not vector(model).equal(iterate)
        optimizer.step()
    assert vector(model).equal(iterate)
    with pytest.raises(RuntimeError, match="inside"), optimizer.averaged():
        optimizer.state_dict()
    advance(model, optimizer, data[9:12])  # goes on


def test_before_the_trigger_averaged_changes_nothing():
    model, data = problem()
    optimizer = NTASGD(model.parameters(), lr=0.3)
    iterate = advance(model, optimizer, data[:3])[-1]
    with optimizer.averaged():
        assert vector(model).equal(iterate)
