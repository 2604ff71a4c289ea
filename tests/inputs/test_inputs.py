"""Every dtype, layout and kind of array gives the same bits, without a copy."""

import array
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

import streamce as ce

pytestmark = pytest.mark.core

rng = np.random.default_rng(8)
REAL = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]
WHOLE = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]

SHAPE = (37, 5)
LOGITS = rng.normal(size=SHAPE) * 2
LABELS = rng.integers(0, 5, 37)
OUTCOMES = rng.integers(0, 2, SHAPE)
SHARES = rng.multinomial(8, np.ones(5) / 5, 37) / 8
WEIGHT = rng.integers(0, 9, 37) / 4

METRICS = {
    "binary": (ce.BinaryCrossEntropy, OUTCOMES),
    "binary, soft": (ce.BinaryCrossEntropy, SHARES),
    "multiclass": (ce.MulticlassCrossEntropy, LABELS),
    "multiclass, soft": (ce.MulticlassCrossEntropy, SHARES),
    "multilabel": (ce.MultilabelCrossEntropy, OUTCOMES),
    "multilabel, soft": (ce.MultilabelCrossEntropy, SHARES),
}


@pytest.fixture(params=METRICS)
def task(request):
    return METRICS[request.param]


def state(metric, preds, target, weight=None, **options):
    return metric(kind="logits", **options).update(preds, target, weight=weight).to_bytes()


# ---- dtypes ----


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_halves_are_widened_exactly(task, dtype):
    metric, target = task
    preds = LOGITS.astype(dtype)
    assert state(metric, preds, target) == state(metric, preds.astype(np.float32), target)


@pytest.mark.parametrize("dtype", REAL)
def test_every_real_dtype_is_taken(task, dtype):
    metric, target = task
    expected = metric(kind="logits").update(LOGITS.astype(dtype).astype(np.float64), target).compute()
    found = metric(kind="logits").update(LOGITS.astype(dtype), target).compute()
    assert found == pytest.approx(expected, rel=5e-7)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", ["binary, soft", "multiclass, soft", "multilabel, soft"])
def test_soft_targets_of_every_real_dtype_are_widened_exactly(name, dtype):
    metric, target = METRICS[name]
    assert state(metric, LOGITS, target.astype(dtype)) == state(metric, LOGITS, target)


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize("name", ["binary", "multiclass", "multilabel"])
def test_integer_targets_of_every_width(name, dtype):
    metric, target = METRICS[name]
    assert state(metric, LOGITS, target.astype(dtype)) == state(metric, LOGITS, target)


def test_bool_targets():
    for name in ("binary", "multilabel"):
        metric, target = METRICS[name]
        assert state(metric, LOGITS, target.astype(bool)) == state(metric, LOGITS, target)
    two = LABELS % 2
    assert state(ce.MulticlassCrossEntropy, LOGITS, two.astype(bool)) == state(ce.MulticlassCrossEntropy, LOGITS, two)


@pytest.mark.parametrize("dtype", WHOLE)
def test_one_hot_targets_of_every_width(dtype):
    hot = np.eye(5, dtype=dtype)[LABELS]
    expected = ce.cross_entropy(LOGITS, LABELS, kind="logits", reduction="none")
    found = ce.cross_entropy(LOGITS, hot, kind="logits", reduction="none")
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [*REAL, *WHOLE, np.bool_])
def test_weights_of_every_dtype(task, dtype):
    metric, target = task
    weight = (WEIGHT > 1).astype(dtype) if dtype is np.bool_ else WEIGHT.astype(dtype)
    assert state(metric, LOGITS, target, weight) == state(metric, LOGITS, target, weight.astype(np.float64))


@pytest.mark.parametrize("dtype", REAL)
def test_losses_of_every_real_dtype_are_widened_exactly(dtype):
    given = LOGITS.astype(dtype)
    assert ce.MeanLoss().update(given) == ce.MeanLoss().update(given.astype(np.float64))


def test_labels_beyond_the_target_dtype_need_no_room():
    metric = ce.MulticlassCrossEntropy(kind="logits").update(np.zeros((300, 300)), np.arange(300, dtype=np.uint16))
    assert metric.summary().count == 300


# ---- kinds of array ----


class Wrapped:
    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


KINDS = {
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())) if a.ndim > 1 else tuple(a.tolist()),
    "a list of arrays": list,
    "read-only": lambda a: np.frombuffer(a.tobytes(), dtype=a.dtype).reshape(a.shape),
    "memoryview": memoryview,
    "an object with __array__": Wrapped,
    "a subclass": lambda a: a.view(np.recarray),
    "an unmasked masked array": np.ma.array,
    "the other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "Fortran order": np.asfortranarray,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "every other": lambda a: np.repeat(a, 2, axis=0)[::2],
    "every other column": lambda a: np.repeat(a, 3, axis=-1)[..., ::3],
    "a column of a wider one": lambda a: np.stack([a, a * 0 + 1], axis=-1)[..., 0],
    "a field of records": lambda a: np.rec.fromarrays([a, a]).f0,
    "off alignment": lambda a: np.frombuffer(b"x" + a.tobytes(), dtype=a.dtype, offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_kind_and_layout_of_arrays_change_no_bit(task, kind, weighted):
    metric, target = task
    convert = KINDS[kind]
    weight = WEIGHT if weighted else None
    expected = state(metric, LOGITS, target, weight)
    assert state(metric, convert(LOGITS), target, weight) == expected
    assert state(metric, LOGITS, convert(target), weight) == expected
    assert state(metric, convert(LOGITS), convert(target), convert(WEIGHT) if weighted else None) == expected


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("kind", ["Fortran order", "reversed", "every other column", "a column of a wider one"])
def test_layouts_of_every_dtype_change_no_bit(task, kind, dtype):
    metric, target = task
    preds = LOGITS.astype(dtype)
    assert state(metric, KINDS[kind](preds), target) == state(metric, preds, target)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("name", METRICS)
def test_the_class_axis_may_be_anywhere(name, axis):
    metric, target = METRICS[name]
    preds, target = LOGITS.reshape(37, 1, 5), target.reshape(37, 1, *target.shape[1:])
    if "binary" in name:
        assert state(metric, preds, target) == state(metric, LOGITS, target.reshape(SHAPE))
        return
    moved = np.moveaxis(preds, -1, axis)
    target_moved = np.moveaxis(target, -1, axis) if target.ndim == 3 else target
    assert state(metric, moved, target_moved, axis=axis) == state(metric, preds, target)


@pytest.mark.parametrize("shape", [(37,), (37, 1), (1, 37), (37, 1, 1)])
def test_per_class_sums_do_not_depend_on_the_axes_of_the_losses(shape):
    expected = state(ce.MulticlassCrossEntropy, LOGITS, LABELS, per_class=True)
    found = ce.MulticlassCrossEntropy(kind="logits", per_class=True)
    found.update(LOGITS.reshape(*shape, 5), LABELS.reshape(shape))
    counts = [summary.count for summary in found.per_class()]
    assert counts == np.bincount(LABELS, minlength=5).tolist()
    assert shape[0] == 1 or found.to_bytes() == expected


@pytest.mark.parametrize("labels", [1, 2, 3])
def test_per_label_sums_of_few_labels(labels):
    found = ce.MultilabelCrossEntropy(kind="logits").update(LOGITS[:, :labels], OUTCOMES[:, :labels])
    for label, summary in enumerate(found.per_label()):
        alone = ce.BinaryCrossEntropy(kind="logits").update(LOGITS[:, label], OUTCOMES[:, label])
        assert summary == alone.summary()


def test_buffers_of_the_standard_library():
    found = ce.BinaryCrossEntropy().update(array.array("f", [0.25, 0.5]), bytearray(b"\1\0"))
    assert found == ce.BinaryCrossEntropy().update(np.float32([0.25, 0.5]), [1, 0])


@pytest.mark.parametrize(
    ("preds", "target"),
    [(0.25, 1), (0.25, True), (np.float64(0.25), np.int8(1)), (np.array(0.25), np.array(1)), ([0.25], [1])],
    ids=["numbers", "bool", "NumPy's numbers", "arrays without axes", "lists"],
)
def test_one_sample_may_be_a_number(preds, target):
    assert ce.BinaryCrossEntropy().update(preds, target) == ce.BinaryCrossEntropy().update([0.25], [1])


def test_one_row_may_be_a_list():
    one = ce.MulticlassCrossEntropy().update([0.25, 0.75], 1)
    assert one == ce.MulticlassCrossEntropy().update([[0.25, 0.75]], [1])


@pytest.mark.parametrize("axes", [1, 2, 3, 64 if np.__version__ >= "2" else 32])
def test_arrays_of_many_axes(axes):
    preds = np.full((3,) + (1,) * (axes - 1), 0.25)
    found = ce.BinaryCrossEntropy().update(preds, np.ones_like(preds, dtype=int))
    assert found == ce.BinaryCrossEntropy().update(preds.ravel(), np.ones(3, dtype=int))


def test_arrays_are_left_as_they_are():
    given = [LOGITS.copy(), LABELS.copy(), WEIGHT.copy()]
    kept = [found.tobytes() for found in given]
    state(ce.MulticlassCrossEntropy, given[0], given[1], given[2], label_smoothing=0.1, class_weight=[1, 2, 3, 4, 5])
    assert [found.tobytes() for found in given] == kept


def test_a_masked_entry_is_no_value():
    with pytest.raises(ce.InputError, match=r"^preds\[1\] is masked: expected a value$"):
        ce.BinaryCrossEntropy().update(np.ma.array([0.25, 0.5], mask=[False, True]), [1, 1])


# ---- memory ----

# The peak of the process, which includes memory from malloc, before and after updates of about 400 MB.
MEMORY = """
import sys
import ml_dtypes, numpy as np, streamce as ce

def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) // 1024

rows = 25_000_000
wide = np.zeros((rows, 8), dtype=np.uint16)
bits = np.array([0.25], dtype=ml_dtypes.bfloat16).view(np.uint16)[0]
wide[:, ::2] = bits
preds = wide.view(ml_dtypes.bfloat16)[:, ::2]
target = np.broadcast_to(np.int8(1), rows)
outcomes = np.broadcast_to(np.int8(1), preds.shape)
ce.MulticlassCrossEntropy().update(preds[:100], target[:100])
before = peak()
ce.MulticlassCrossEntropy(threads=2).update(preds, target)
ce.MulticlassCrossEntropy(label_smoothing=0.1).update(preds, target)
ce.MultilabelCrossEntropy().update(preds, outcomes)
ce.BinaryCrossEntropy().update(preds, outcomes)
print(peak() - before)
"""


def test_update_of_400_megabytes_takes_blocks_of_memory_at_most():
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 20


# ---- imports ----


def test_import_takes_numpy_and_the_standard_library_alone():
    code = "import sys, numpy; before = set(sys.modules); import streamce; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in run.stdout.split()} - {"streamce", "cython_runtime"}
    assert {name for name in tops if not name.startswith("_cython")} <= sys.stdlib_module_names
