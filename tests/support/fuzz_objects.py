"""Fuzz updates and functions with hostile objects: each is read as the numbers it stands for, or refused.

    python tests/support/fuzz_objects.py [--seconds S] [--seed N] [--cases M]

A case is a public class or function and its plain arguments, one or two of which are replaced by hostile objects. The
call has to raise InputError (or MemoryError, for huge arrays) and keep the bytes of the state, or give the state of the
numbers that the object stands for. The state can be read in any case. Any other exception fails.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import fuzzing
import numpy as np
from hostile_objects import Hostile, Surroundings, any_of

import streamce as ce

ALONE = ("losses", "log_probs", "real", "fake")  # no other argument must have the same length
REFUSED = (ce.InputError, MemoryError)


@dataclass
class Target:
    """The target of a call: a metric's method, or a function if there is no metric."""

    words: str
    make: Callable[[], Any]
    method: str
    arguments: dict[str, Any]

    def call(self, metric: Any, arguments: dict[str, Any]) -> Any:
        return (getattr(metric, self.method) if self.method else metric)(**arguments)


# ---- plain arguments ----


def probabilities(rng: Any, rows: int, classes: int) -> Any:
    x = rng.integers(1, 9, (rows, classes)).astype(float)
    x = x / x.sum(1, keepdims=True)
    return x.astype(rng.choice(["f4", "f8"]))


def keys(rng: Any, n: int) -> Any:
    return [rng.integers(-3, 3, n), rng.integers(0, 3, n).astype("U2"), rng.integers(0, 9, n).astype("M8[s]"),
            rng.integers(0, 2, n).astype(bool), rng.integers(0, 3, n).astype("S2")][rng.integers(5)]  # fmt: skip


def options(rng: Any) -> dict[str, Any]:
    return {"invalid": str(rng.choice(["raise", "skip"]))}


def binary(rng: Any, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    preds = rng.integers(1, 64, n) / rng.choice(np.array([64, 64.0], rng.choice(["f4", "f8"])))
    return options(rng), {"preds": preds, "target": rng.integers(0, 2, n), "weight": rng.integers(0, 3, n) / 2}


def multiclass(rng: Any, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {"preds": probabilities(rng, n, 4), "target": rng.integers(0, 4, n), "weight": rng.integers(0, 3, n) / 2}
    if rng.integers(3) == 0:
        given["target"] = probabilities(rng, n, 4)
    return options(rng), given


def multilabel(rng: Any, n: int) -> tuple[dict[str, Any], dict[str, Any]]:
    given = {"preds": rng.integers(1, 8, (n, 3)) / 8, "target": rng.integers(0, 2, (n, 3)), "weight": np.ones(n)}
    return options(rng), given


def ragged(rng: Any, n: int) -> dict[str, Any]:
    lengths = rng.integers(1, 4, n)
    tokens = int(lengths.sum())
    return {
        "preds": rng.integers(-8, 8, (tokens, 5)) / 4, "target": rng.integers(0, 5, tokens),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]), "weight": np.ones(n), "n_words": rng.integers(0, 4, n),
        "n_bytes": rng.integers(1, 9, n), "mask": rng.integers(0, 2, tokens) == 0,
    }  # fmt: skip


def padded(rng: Any, n: int) -> dict[str, Any]:
    return {
        "preds": rng.integers(-8, 8, (n, 3, 5)) / 4, "target": rng.integers(0, 5, (n, 3)),
        "lengths": rng.integers(1, 4, n), "weight": np.ones(n),
    }  # fmt: skip


def utterances(rng: Any, n: int) -> dict[str, Any]:
    return {
        "preds": rng.integers(-8, 8, (7, n, 4)) / 4, "target": rng.integers(1, 4, (n, 3)), "weight": np.ones(n),
        "input_lengths": rng.integers(5, 8, n), "target_lengths": rng.integers(1, 4, n),
    }  # fmt: skip


# ---- targets ----


def target(number: random.Random, rng: Any) -> Target:
    n = int(rng.choice([1, 2, 5, 3000]))
    name = number.choice(list(TARGETS))
    make, method, arguments = TARGETS[name](rng, n)
    for optional in ("weight", "n_words", "n_bytes", "mask", "weight_", "real_weight", "fake_weight", "cluster"):
        if optional in arguments and rng.integers(2):
            del arguments[optional]
    return Target(f"{name}, {n} rows", make, method, arguments)


def of_metric(cls: Any, given: Any, **more: Any) -> Callable[[Any, int], Any]:
    def target(rng: Any, n: int) -> Any:
        chosen, arguments = given(rng, n)
        chosen |= more
        if rng.integers(4) == 0 and "calibration" not in chosen:
            arguments["cluster"] = keys(rng, n)
        return lambda: cls(**chosen), "update", arguments

    return target


def of_losses(rng: Any, n: int) -> Any:
    given = {"losses": rng.integers(-9, 9, n) / 4, "weight": rng.integers(0, 3, n) / 2, "cluster": keys(rng, n)}
    return lambda: ce.MeanLoss(), "update", given


def of_sequences(cls: Any, layout: Any) -> Callable[[Any, int], Any]:
    return lambda rng, n: (lambda: cls(kind="logits"), "update", layout(rng, n))


def of_log_probs(rng: Any, n: int) -> Any:
    given = ragged(rng, n)
    del given["preds"]
    given["log_probs"] = -rng.integers(0, 9, len(given.pop("target"))) / 4
    return lambda: ce.SequenceCrossEntropy(), "update_token_log_probs", given


def of_ctc(rng: Any, n: int) -> Any:
    return lambda: ce.CTCCrossEntropy(kind="logits"), "update", utterances(rng, min(n, 50))


def of_gan(rng: Any, n: int) -> Any:
    given = {"real": rng.integers(1, 8, n) / 8, "fake": rng.integers(1, 8, n) / 8}
    given |= {"real_weight": np.ones(n), "fake_weight": np.ones(n)}
    return lambda: ce.GANCrossEntropy(), "update", given


def of_groups(rng: Any, n: int) -> Any:
    given = multiclass(rng, n)[1] | {"by": keys(rng, n)}
    if rng.integers(2):
        return lambda: ce.Grouped(ce.MulticlassCrossEntropy()), "update", given
    given["by_time"] = rng.integers(0, 10**6, n)
    return lambda: ce.Grouped(ce.MulticlassCrossEntropy(), period="1h"), "update", given


def of_time(wrap: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    def target(rng: Any, n: int) -> Any:
        times = rng.integers(0, 10**6, n)
        times = [times, times.astype("M8[s]"), times / 2][rng.integers(3)]
        return lambda: wrap(ce.BinaryCrossEntropy()), "update", binary(rng, n)[1] | {"by_time": times}

    return target


def of_last(rng: Any, n: int) -> Any:
    return lambda: ce.Sliding(ce.BinaryCrossEntropy(), samples=100), "update", binary(rng, n)[1]


def of_pairs(rng: Any, n: int) -> Any:
    given = multiclass(rng, n)[1]
    given["preds_a"] = given.pop("preds")
    given |= {"preds_b": probabilities(rng, n, 4), "cluster": keys(rng, n)}
    return lambda: ce.Paired(ce.MulticlassCrossEntropy()), "update", given


def of_several(rng: Any, n: int) -> Any:
    given = binary(rng, n)[1] | {"by": keys(rng, n)}
    made = lambda: ce.Collection({"a": ce.BinaryCrossEntropy(), "b": ce.Grouped(ce.BinaryCrossEntropy())})  # noqa: E731
    return made, "update", given


def of_function(function: Any, given: Any, names: dict[str, str] | None = None) -> Callable[[Any, int], Any]:
    def target(rng: Any, n: int) -> Any:
        arguments = given(rng, n)[1]
        return lambda: function, "", {(names or {}).get(name, name): value for name, value in arguments.items()}

    return target


def with_gradient(rng: Any, n: int) -> Any:
    given = multiclass(rng, n)[1]
    given["out"] = np.zeros_like(given["preds"])

    def called(**named: Any) -> Any:
        loss, gradient = ce.cross_entropy(**named, grad=True)
        return loss, np.array(gradient)

    return lambda: called, "", given


def of_options(rng: Any, n: int) -> Any:
    """Give each option a hostile object. If the constructor accepts it, the metric must work."""
    name = str(rng.choice(["class_weight", "pos_weight", "label_smoothing", "ignore_index", "eps", "threads"]))
    plain = {"class_weight": np.ones(3), "pos_weight": np.ones(3), "label_smoothing": np.array(0.25),
             "ignore_index": np.array(1), "eps": np.array(0.1), "threads": np.array(2)}  # fmt: skip
    return lambda: lambda **given: ce.MultilabelCrossEntropy(**given).to_bytes(), "", {name: plain[name]}


TARGETS: dict[str, Callable[[Any, int], Any]] = {
    "binary": of_metric(ce.BinaryCrossEntropy, binary),
    "binary, calibration and tail": of_metric(ce.BinaryCrossEntropy, binary, calibration=True, tail=True),
    "multiclass": of_metric(ce.MulticlassCrossEntropy, multiclass),
    "multiclass, smoothing": of_metric(ce.MulticlassCrossEntropy, multiclass, label_smoothing=0.25),
    "multiclass, divergence": of_metric(ce.MulticlassCrossEntropy, multiclass, divergence=True),
    "multilabel": of_metric(ce.MultilabelCrossEntropy, multilabel),
    "normalized entropy": of_metric(ce.NormalizedEntropy, binary),
    "mean": of_losses,
    "ragged sequences": of_sequences(ce.SequenceCrossEntropy, ragged),
    "padded sequences": of_sequences(ce.SequenceCrossEntropy, padded),
    "perplexity": of_sequences(ce.Perplexity, padded),
    "log-probabilities of tokens": of_log_probs,
    "ctc": of_ctc,
    "gan": of_gan,
    "groups": of_groups,
    "sliding by time": of_time(lambda metric: ce.Sliding(metric, period="1h", step="1min")),
    "sliding": of_last,
    "decayed": of_time(lambda metric: ce.Decayed(metric, half_life="1h")),
    "pairs": of_pairs,
    "several": of_several,
    "binary_cross_entropy": of_function(ce.binary_cross_entropy, binary),
    "cross_entropy": of_function(ce.cross_entropy, multiclass),
    "cross_entropy, gradient": with_gradient,
    "multilabel_cross_entropy": of_function(ce.multilabel_cross_entropy, multilabel),
    "log_loss": of_function(ce.log_loss, binary, {"preds": "y_proba", "target": "y_true", "weight": "sample_weight"}),
    "options": of_options,
}


# ---- the law ----


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, tuple):
        return all(map(equal, one, other))
    if isinstance(one, bytes):
        return bool(one == other)
    if hasattr(one, "to_bytes") and not isinstance(one, int):
        return bool(one.to_bytes() == other.to_bytes())
    return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=True)


def attempt(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except REFUSED as error:
        return None, error


def check(found: Target, hostile: dict[str, Hostile], around: Surroundings) -> None:
    metric = around.metric
    before = metric.to_bytes() if found.method else None
    arguments = {name: around.arrays[i] for i, name in enumerate(found.arguments)}
    result, error = attempt(lambda: found.call(metric, arguments | {name: one.value for name, one in hostile.items()}))
    if error is not None:
        str(error)
        if before is not None and not around.meddled:
            assert metric.to_bytes() == before, f"the state was changed by what was refused: {error}"
    if found.method:
        assert ce.from_bytes(metric.to_bytes()).to_bytes() == metric.to_bytes(), "the state cannot be read"
    if error is not None or around.meddled or any(one.plain is None for one in hostile.values()):
        return
    choices = [dict[str, Any]()]
    for name, one in hostile.items():
        choices = [chosen | {name: plain} for chosen in choices for plain in one.plain or ()]
    expected = []
    for chosen in choices:
        fresh = found.make()
        plain, refused = attempt(lambda fresh=fresh, chosen=chosen: found.call(fresh, found.arguments | chosen))
        if refused is None:
            expected.append(plain)
    assert any(equal(result, one) for one in expected), "it was taken for other numbers than it stands for"


def case(seed: int) -> fuzzing.Case:
    number, rng = random.Random(seed), np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        found = target(number, rng)
        around = Surroundings([np.array(a) for a in found.arguments.values()], found.make())
        names = list(found.arguments)
        many = 1 + (number.random() < 0.2 and len(names) > 1)
        hostile = {
            name: any_of(np.array(found.arguments[name]), number, around, name in ALONE)
            for name in number.sample(names, many)
        }
    words = "; ".join(f"{name} is {described(one.value)}" for name, one in hostile.items())
    return fuzzing.Case(f"{found.words}: {words}", lambda: check(found, hostile, around))


def described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"a {type(value).__name__} {value.dtype} {value.shape} with strides {value.strides}"
    inner = getattr(value, "__dict__", {})
    return f"a {type(value).__name__}" + (f" of {', '.join(map(str, inner))}" if inner else "")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(fuzzing.main(case))
