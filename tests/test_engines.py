"""What engines are made of: a state per part, their sum, a metric of it; and an engine that is not there is named."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import streamce as ce
from streamce import engines, threads


def chunks(number=4):
    random = np.random.default_rng(5)
    return [(random.random(50), random.integers(0, 2, 50), random.integers(0, 9, 50)) for _ in range(number)]


def states():
    return [ce.Grouped(ce.BinaryCrossEntropy()).update(p, t, by=k).to_bytes() for p, t, k in chunks()]


def test_any_tree_of_sums_has_the_same_bytes():
    a, b, c, d = states()
    whole = ce.Grouped(ce.BinaryCrossEntropy())
    for preds, target, key in chunks():
        whole.update(preds, target, by=key)
    empty = ce.Grouped(ce.BinaryCrossEntropy()).to_bytes()
    assert engines.merge(a, b, c, d) == whole.to_bytes()
    assert engines.merge(engines.merge(d, a), empty, engines.merge(c, b)) == whole.to_bytes()


def test_states_of_other_options_are_named():
    one, other = ce.BinaryCrossEntropy(), ce.BinaryCrossEntropy(kind="logits")
    with pytest.raises(ce.InputError, match=r"^state 1: kind is 'probs' in one metric and 'logits' in the other"):
        engines.merge(one.to_bytes(), other.to_bytes())
    with pytest.raises(ce.InputError, match="kind is "):
        engines.finish(one.to_bytes(), other)


def test_nothing_to_merge_is_an_error():
    with pytest.raises(ce.InputError, match="states are none: expected one or more"):
        engines.merge()


def test_options_that_change_no_loss_are_the_templates():
    template = ce.BinaryCrossEntropy(invalid="skip", threads=3)
    state = ce.BinaryCrossEntropy().update([0.5], [1]).to_bytes()
    found = engines.finish(state, template)
    assert repr(found) == repr(template)
    assert found.to_bytes() == state
    assert template == ce.BinaryCrossEntropy()


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (0.5, "metric is 0.5: expected a metric such as BinaryCrossEntropy()"),
        (ce.MeanLoss().update([1.0]), "metric has samples already: expected an empty one, for its options alone"),
        (ce.Sliding(ce.MeanLoss(), samples=3), "the last samples of two streams do not add up: those of a period do"),
        (
            ce.Collection({"last": ce.Sliding(ce.MeanLoss(), samples=3)}),
            "the last samples of two streams do not add up: those of a period do",
        ),
    ],
)
def test_what_cannot_be_a_template(metric, expected):
    with pytest.raises(ce.InputError) as error:
        engines.template(metric)
    assert str(error.value) == expected


def test_a_task_of_an_engine_takes_one_thread():
    elsewhere = []
    with threads.alone():
        thread = threading.Thread(target=lambda: elsewhere.append(threads.limit(None)))
        thread.start()
        thread.join()
        assert threads.limit(None) == 1
        assert threads.limit(5) == 5
    assert threads.limit(None) == elsewhere[0]


def test_an_engine_that_is_not_installed_is_named():
    code = """
    import sys
    sys.modules["torch"] = None
    import streamce as ce
    ce.all_reduce(ce.BinaryCrossEntropy())
    """
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())], capture_output=True, text=True
    )
    assert run.stderr.splitlines()[-1] == "streamce.errors.InputError: all_reduce needs torch: pip install torch"
