"""Arguments whose conversion changes other arguments, misaligned memory, and racing writers.

All arguments are converted before any memory is read, so a conversion cannot free memory that is in use.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import racing

import streamce as ce

ROWS = 4000


class Freeing:
    """An argument that frees the memory of another one when it is read, and then gives a valid array."""

    def __init__(self, value, *others):
        self.value, self.others = np.asarray(value), others

    def __array__(self, dtype=None, copy=None):
        for other in self.others:
            other.resize(0, refcheck=False)
        return self.value


def arrays():
    """Return arrays with separate memory, large enough that it returns to the system when it is freed."""
    return np.full(ROWS, 0.5), np.ones(ROWS, int), np.ones(ROWS)


def rows():
    return np.full((ROWS, 4), 0.25), np.ones(ROWS, int), np.ones(ROWS)


def labelled():
    return np.full(ROWS, 0.5), np.ones(ROWS, int), np.array([0, 1])


def updates(metric):
    return lambda p, y, weight: metric.update(p, y, weight=weight)


@pytest.mark.parametrize(("make", "function"), [
    (arrays, updates(ce.BinaryCrossEntropy())),
    (arrays, updates(ce.BinaryCrossEntropy(calibration=True))),
    (arrays, updates(ce.NormalizedEntropy())),
    (arrays, updates(ce.Sliding(ce.BinaryCrossEntropy(), samples=9))),
    (arrays, updates(ce.Collection({"a": ce.BinaryCrossEntropy(), "b": ce.NormalizedEntropy()}))),
    (arrays, lambda p, y, weight: ce.Paired(ce.BinaryCrossEntropy()).update(p, p, y, weight=weight)),
    (arrays, lambda p, y, weight: ce.GANCrossEntropy().update(
        real=p, real_weight=y if isinstance(y, Freeing) else weight, fake=np.full(ROWS, 0.5)
    )),
    (arrays, lambda p, y, weight: ce.binary_cross_entropy(p, y, weight=weight)),
    (arrays, lambda p, y, weight: ce.binary_cross_entropy(p, y, weight=weight, grad=True)),
    (arrays, lambda p, y, weight: ce.binary_cross_entropy(p, y, weight=weight, reduction="none")),
    (arrays, lambda p, y, weight: ce.log_loss(y, p, sample_weight=weight)),
    (labelled, lambda p, y, labels: ce.log_loss(y, p, labels=labels)),
    (rows, updates(ce.MulticlassCrossEntropy(per_class=True))),
    (rows, lambda p, y, weight: ce.cross_entropy(p, y, weight=weight, grad=True)),
])  # fmt: skip
@pytest.mark.parametrize(("first", "second"), [(0, 2), (1, 0), (2, 0)])
def test_an_argument_that_frees_another(make, function, first, second):
    given = list(make())
    given[first] = Freeing(given[first], given[second])
    with pytest.raises(ce.InputError):
        function(*given)


@pytest.mark.parametrize("argument", ["by", "by_time", "cluster"])
def test_keys_that_free_other_arguments(argument):
    p, y, _ = arrays()
    keys = Freeing(np.arange(ROWS), p, y)
    metric = ce.BinaryCrossEntropy() if argument == "cluster" else ce.Grouped(ce.BinaryCrossEntropy(), period="1h")
    with pytest.raises(ce.InputError, match="has length 4000 and preds 0 samples"):
        metric.update(p, y, **{argument: keys})


@pytest.mark.parametrize("argument", ["input_lengths", "target_lengths", "weight", "cluster", "target"])
def test_utterances(argument):
    preds = np.full((ROWS // 8, 8, 4), 0.25)
    given = {"target": np.ones((ROWS // 8, 2), int), "input_lengths": np.full(ROWS // 8, 8)}
    given |= {"target_lengths": np.full(ROWS // 8, 2), "weight": np.ones(ROWS // 8), "cluster": np.arange(ROWS // 8)}
    given[argument] = Freeing(given[argument], preds)
    with pytest.raises(ce.InputError):
        ce.CTCCrossEntropy(layout="BTC").update(preds, **given)


@pytest.mark.parametrize("argument", ["lengths", "mask", "n_words", "weight", "target"])
def test_sequences(argument):
    preds, many = np.full((ROWS // 8, 8, 4), 0.25), ROWS // 8
    given = {"target": np.ones((many, 8), int), "lengths": np.full(many, 8), "mask": np.ones((many, 8), int)}
    given |= {"n_words": np.ones(many, int), "weight": np.ones(many)}
    given[argument] = Freeing(given[argument], preds)
    with pytest.raises(ce.InputError):
        ce.SequenceCrossEntropy().update(preds, **given)


def test_a_gradient_whose_place_is_freed():
    p, y, _ = arrays()
    out = np.empty(ROWS)
    with pytest.raises(ce.InputError, match="out"):
        ce.binary_cross_entropy(p, Freeing(y, out), grad=True, out=out)


def test_lengths_that_differ_each_time_they_are_read():
    class Growing:
        times = 0

        def __array__(self, dtype=None, copy=None):
            self.times += 1
            return np.full(self.times, 2)

    preds, target = np.full((4, 3), 1 / 3), np.ones(2, int)
    paired = ce.Paired(ce.CTCCrossEntropy())
    with pytest.raises(ce.InputError):
        paired.update(preds, preds, target, input_lengths=Growing(), target_lengths=Growing())
    lengths = Growing()
    with pytest.raises(ce.InputError):
        paired.update(preds, preds, target, input_lengths=lengths, target_lengths=[1])
    assert lengths.times == 1


def test_a_shape_that_changes():
    """``n_words`` must have one entry for each sequence that was read at the first reading."""
    preds, target = np.full((2, 6, 2), 0.5), np.ones((2, 6), int)

    class Reshaping:
        def __array__(self, dtype=None, copy=None):
            preds.resize((6, 2, 2), refcheck=False)
            return target

    with pytest.raises(ce.InputError):
        ce.SequenceCrossEntropy().update(preds, Reshaping(), n_words=[1, 1])


def test_statuses_that_nobody_knows():
    """The internal argument ``null`` accepts only the mask of missing inputs."""
    grouped = ce.Grouped(ce.MeanLoss(invalid="skip"))
    grouped._update([0.5, 0.25, 1.0], None, by=[1, 1, 1], null=[0, 100, 172])
    assert grouped.micro().invalid_null == 2
    assert grouped.compute() == {1: 0.5}


def misaligned(array):
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype)[: array.size].reshape(array.shape)
    memory[...] = array
    assert not memory.flags.aligned
    return memory


def test_misaligned_memory():
    """The results are those of aligned memory, and UBSan reports misaligned reads."""
    p, y, weight = np.linspace(0.1, 0.9, 99), np.arange(99) % 2, np.linspace(0, 2, 99)
    for dtype in (np.float64, np.float32, np.float16):
        one, other = (
            ce.BinaryCrossEntropy(calibration=True).update(of(p.astype(dtype)), of(y), weight=of(weight))
            for of in (np.asarray, misaligned)
        )
        assert one == other
    keys, times = np.arange(99) % 7, np.arange(99) * 1000
    for argument, values in (("by", keys), ("by_time", times), ("by_time", times.astype("datetime64[s]")),
                             ("by", times.astype("datetime64[us]")), ("by", keys.astype("U3"))):  # fmt: skip
        one, other = (
            ce.Grouped(ce.MeanLoss(), period="1h").update(p, **{argument: of(values)})
            for of in (np.asarray, misaligned if values.dtype.itemsize > 1 else np.asarray)
        )
        assert one == other
    one, other = (ce.MeanLoss().update(p, cluster=of(keys)) for of in (np.asarray, misaligned))
    assert one == other
    tokens, preds = np.ones(9, int), np.full((9, 4), 0.25)
    one, other = (
        ce.SequenceCrossEntropy().update(of(preds), of(tokens), offsets=of(np.array([0, 4, 9])), n_words=of(tokens[:2]))
        for of in (np.asarray, misaligned)
    )
    assert one == other
    lengths = {"input_lengths": np.array([9]), "target_lengths": np.array([2])}
    one, other = (
        ce.CTCCrossEntropy().update(of(preds), of(tokens[:2]), **{name: of(each) for name, each in lengths.items()})
        for of in (np.asarray, misaligned)
    )
    assert one == other
    out = misaligned(np.zeros((9, 4)))
    _, expected = ce.cross_entropy(preds, tokens, grad=True)
    assert (ce.cross_entropy(preds, tokens, grad=True, out=out)[1] == expected).all()


@pytest.mark.parametrize("name", racing.CASES)
def test_racing_writers(name):
    """The test runs in its own process, because a fault would end it."""
    command = [sys.executable, "-X", "faulthandler", str(Path(racing.__file__)), "0.5", "1", name]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(name)
