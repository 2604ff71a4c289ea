"""Kernels give the same bits at every instruction set, length and state of the control word."""

import os
import subprocess
import sys

import numpy as np
import pytest
from control_word import MODES, control, in_mode
from streams import DTYPES, KINDS, make

import streamce as ce
from streamce.core.kernels import kernels

CLASSES = [*range(2, 71), 127, 128, 129, 130, 511, 512, 513, 1000]


def losses(stream):
    """Return the loss of each sample, from a metric with this sample only."""
    return [stream[i : i + 1].fed().summary().total for i in range(len(stream))]


@pytest.fixture(scope="module", autouse=True)
def leave_as_found():
    before = kernels.current()
    yield
    kernels.use(before)


def at_each(function):
    """Return the result of a function with each instruction set."""
    found = []
    for name in kernels.supported():
        kernels.use(name)
        found.append(function())
    return found


def all_equal(found):
    return all(one == found[0] for one in found)


# ---- instruction sets ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("soft", [False, True])
def test_elements_at_every_length(kind, dtype, soft):
    stream = make("binary", 140, kind=kind, dtype=dtype, soft=soft, odd=True, infinite=True, eps=0.0, seed=1)
    assert all_equal(at_each(lambda: [stream[:n].bytes() for n in range(1, 141)]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_number_of_classes_at_lengths_around_the_lanes(kind, dtype):
    for classes in CLASSES:
        lengths = (1, 3, 63, 64, 65, 130) if classes < 200 else (1, 5)
        odd = classes % 2 == 1
        stream = make("multiclass", max(lengths), kind=kind, dtype=dtype, classes=classes, odd=odd, seed=classes)
        assert all_equal(at_each(lambda s=stream, lengths=lengths: [s[:n].bytes() for n in lengths])), classes


@pytest.mark.parametrize("classes", [2, 10, 64, 65])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_at_every_length(classes, dtype):
    stream = make("multiclass", 140, kind="logits", dtype=dtype, classes=classes, infinite=True, seed=2)
    assert all_equal(at_each(lambda: [stream[:n].bytes() for n in range(1, 141)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_rows(kind, smoothing):
    for classes in (2, 3, 16, 17, 31, 32, 33, 64, 65, 300):
        stream = make("multiclass", 70, kind=kind, classes=classes, soft=True, label_smoothing=smoothing, seed=3)
        assert all_equal(at_each(stream.bytes)), classes


def test_exact_sums_at_every_length():
    stream = make("mean", 300, infinite=True, weighted=True, seed=4)
    tiny = make("mean", 300, seed=5)
    tiny.preds *= 1e-300
    assert all_equal(at_each(lambda: [s[:n].bytes() for s in (stream, tiny) for n in range(1, 301, 3)]))


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_single_loss(task, dtype):
    for kind in KINDS:
        stream = make(task, 40, kind=kind, dtype=dtype, odd=True, seed=6)
        assert all_equal([np.array(found).tobytes() for found in at_each(lambda s=stream: losses(s))])


def test_exponentials():
    points = np.r_[np.linspace(-750, 720, 4001), np.inf, -np.inf, 0.0, 5e-324]
    assert all_equal(at_each(lambda: [kernels.exp(x) for x in points]))


# ---- the floating-point control word ----


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_really_set_and_is_left_as_it_was(mode):
    stream = make("multiclass", 5, kind="logits", seed=7)
    with control(mode):
        before = in_mode(mode)
        stream.bytes()
        after = in_mode(mode)
    assert (before, after) == (True, True)
    assert not in_mode(mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel", "mean"])
def test_results_do_not_depend_on_the_control_word(simd, task, mode):
    for dtype in DTYPES:
        for kind in KINDS[: 1 if task == "mean" else 3]:
            for soft in (False, True):
                options = {} if task == "mean" else {"label_smoothing": 0.1, "eps": 3e-17}
                if task in ("multiclass", "multilabel"):
                    options["class_weight"] = [0.3, 1.7, 1.1]
                options |= {"kind": kind, "dtype": dtype, "soft": soft}
                stream = make(task, 90, classes=3, weighted=True, infinite=True, seed=8, **options)
                stream.preds[:20] *= stream.preds.dtype.type(1e-30 if dtype != "float16" else 1e-5)
                if task == "mean" and dtype == "float64":
                    stream.preds[20:40] = stream.preds[20:40] * 1e-290
                expected = stream.fed()
                with control(mode):
                    found = stream.fed()
                    data, value = found.to_bytes(), found.compute()
                assert data == expected.to_bytes()
                assert np.array_equal(value, expected.compute(), equal_nan=True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weighted", [False, True])
def test_groups_do_not_depend_on_the_control_word(mode, weighted):
    losses = np.random.default_rng(4).exponential(size=300) * 10.0 ** np.repeat([0, -160, -300], 100)
    weight = np.random.default_rng(5).gamma(1.0, 1.0, 300) * 1e-160 if weighted else None
    expected = ce.Grouped(ce.MeanLoss()).update(losses, by=np.arange(300) % 7, weight=weight).to_bytes()
    with control(mode):
        found = ce.Grouped(ce.MeanLoss()).update(losses, by=np.arange(300) % 7, weight=weight).to_bytes()
    assert found == expected


def of_words(losses, weight, target):
    counts = {"n_words": np.arange(300) % 7, "n_bytes": np.arange(300), "cluster": np.arange(300) % 9}
    metric = ce.SequenceCrossEntropy(eps=0)
    return metric.update_token_log_probs(-losses[:, None], weight=weight, **counts)


def of_divergence(losses, weight, target):
    return ce.BinaryCrossEntropy(kind="log_probs", eps=0, divergence=True).update(-losses, target, weight=weight)


def of_normalized_entropy(losses, weight, target):
    return ce.NormalizedEntropy(kind="log_probs", eps=0).update(-losses, target, weight=weight)


def of_pairs(losses, weight, target):
    return ce.Paired(ce.MeanLoss()).update(losses, losses[::-1], weight=weight, cluster=np.arange(300) % 9)


def of_a_window(losses, weight, target):
    return ce.Sliding(ce.MeanLoss(), samples=77).update(losses, weight=weight)


def of_decay(losses, weight, target):
    return ce.Decayed(ce.MeanLoss(), half_life="1d").update(losses, weight=weight, by_time=np.arange(300) * 1e4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fed", [of_words, of_divergence, of_normalized_entropy, of_pairs, of_a_window, of_decay])
def test_what_is_made_of_losses_does_not_depend_on_the_control_word(mode, fed):
    rng = np.random.default_rng(6)
    losses = rng.exponential(size=300) * 10.0 ** np.repeat([0, -160, -309], 100)
    weight, target = rng.gamma(1.0, 1.0, 300), rng.random(300)
    expected = fed(losses, weight, target).to_bytes()
    with control(mode):
        found = fed(losses, weight, target).to_bytes()
    assert found == expected


@pytest.mark.parametrize("mode", MODES)
def test_threads_of_the_pool_do_not_depend_on_the_control_word(mode):
    stream = make("binary", 1 << 20, kind="logits", dtype="float32", threads=4, seed=9)
    with control(mode):
        found = stream.bytes()
    assert found == stream.bytes()


# ---- the choice of an instruction set ----


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


CURRENT = "from streamce.core.kernels import kernels; print(kernels.current())"


def test_the_environment_chooses(simd):
    assert run(CURRENT, STREAMCE_SIMD=simd).stdout.strip() == simd


def test_the_best_is_the_default():
    environment = {name: value for name, value in os.environ.items() if name != "STREAMCE_SIMD"}
    found = subprocess.run([sys.executable, "-c", CURRENT], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == kernels.supported()[-1]


@pytest.mark.parametrize("name", ["avx3", "AVX2", "neon" if "sse2" in kernels.supported() else "sse2", "sse2,avx2"])
def test_an_unknown_or_unsupported_one_is_an_error(name):
    found = run(CURRENT, STREAMCE_SIMD=name)
    assert found.returncode == 1
    assert f"STREAMCE_SIMD={name!r}: expected one of {', '.join(kernels.supported())}" in found.stderr


def test_an_unknown_one_leaves_the_one_in_use(simd):
    with pytest.raises(ValueError, match="expected one of"):
        kernels.use("abacus")
    assert kernels.current() == simd
