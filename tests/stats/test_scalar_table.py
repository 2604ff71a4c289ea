"""``summary.scalars()``: the numbers of the summary by documented names, finite or absent."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from streams import make

import streamce as ce
from streamce.stats.scalar_table import SCALARS

PROBS, TARGET = [0.9, 0.2, 0.6, 0.7] * 3, [1, 0, 0, 1] * 3
LN2 = math.log(2)
COUNTERS = (
    "ignored", "floored", "infinite", "unnormalised", "infeasible", "skipped", "invalid_nan", "invalid_range",
    "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null",
)  # fmt: skip


def expected(summary):
    """Return what the names stand for, from the fields of a summary."""
    found = {
        "loss": summary.mean,
        "loss_stderr": summary.stderr,
        "bits": summary.bits,
        "perplexity": summary.perplexity,
        "perplexity_low": summary.perplexity_interval[0],
        "perplexity_high": summary.perplexity_interval[1],
        "count": summary.count,
        "samples": summary.samples,
    }
    found |= {name: getattr(summary, name) for name in COUNTERS if getattr(summary, name)}
    if summary.value != summary.mean:
        found |= {"value": summary.value, "value_low": summary.interval[0], "value_high": summary.interval[1]}
    else:
        found |= {"loss_low": summary.interval[0], "loss_high": summary.interval[1]}
    if summary.divergence is not None:
        low, high = summary.divergence_interval
        found |= {
            "entropy": summary.entropy,
            "divergence": summary.divergence,
            "divergence_low": low,
            "divergence_high": high,
        }
    return {name: float(number) for name, number in found.items() if math.isfinite(number)}


def without_interval_of_mean(scalars):
    return {name: number for name, number in scalars.items() if name not in ("loss_low", "loss_high")}


@given(st.sampled_from(["binary", "multiclass", "multilabel"]), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_they_are_the_numbers_of_the_summary(task, n, seed):
    summary = make(task, n, odd=True, ignore_index=-1, weighted=True, seed=seed).fed().summary()
    assert summary.scalars() == expected(summary)


def test_divergence_is_there_where_it_is_kept():
    metric = ce.MulticlassCrossEntropy(divergence=True).update([[0.2, 0.8], [0.5, 0.5]] * 4, [[0.3, 0.7], [1, 0]] * 4)
    scalars = metric.summary().scalars()
    assert scalars == expected(metric.summary())
    assert scalars["entropy"] + scalars["divergence"] == pytest.approx(scalars["loss"])


VALUED = [
    ce.NormalizedEntropy().update(PROBS, TARGET),
    ce.MulticlassNormalizedEntropy().update([[0.2, 0.8], [0.5, 0.5], [0.6, 0.4]] * 3, [1, 0, 0] * 3),
    ce.Perplexity().update_token_log_probs([[-1.0, -2.0], [-0.5, -3.0], [-0.1, -0.2]] * 40),
]


@pytest.mark.parametrize("metric", VALUED, ids=lambda metric: type(metric).__name__)
@pytest.mark.parametrize("anytime", [False, True])
def test_a_value_other_than_the_mean_has_its_own_names(metric, anytime):
    summary = metric.summary(0.9, anytime)
    scalars = summary.scalars()
    assert without_interval_of_mean(scalars) == expected(summary)
    assert scalars["loss_low"] == pytest.approx(summary.bits_interval[0] * LN2, rel=1e-15)
    assert scalars["loss_high"] == pytest.approx(summary.bits_interval[1] * LN2, rel=1e-15)
    assert math.exp(scalars["loss_low"]) == pytest.approx(summary.perplexity_interval[0])


def test_words_and_bytes_have_the_prefix_of_their_summary():
    metric = ce.SequenceCrossEntropy().update_token_log_probs([[-1.0, -2.0], [-1.0, -3.0]], n_bytes=[7, 9])
    scalars = metric.summary().scalars() | metric.per_byte().scalars("byte_")
    assert (scalars["loss"], scalars["byte_loss"], scalars["byte_bits"]) == (1.75, 7 / 16, metric.per_byte().bits)


@pytest.mark.parametrize(
    ("metric", "present"),
    [
        (ce.MeanLoss(), {"count", "samples"}),
        (ce.MeanLoss().update([0.5]), {"loss", "bits", "perplexity", "count", "samples"}),
        (ce.BinaryCrossEntropy(eps=0.0).update([0.0, 0.5], [1, 1]), {"count", "samples", "infinite"}),
        (ce.MeanLoss().update([800.0]), {"loss", "bits", "count", "samples"}),
        (ce.Perplexity().update_token_log_probs([[-800.0]]), {"loss", "bits", "count", "samples", "floored"}),
        (ce.BinaryCrossEntropy(invalid="skip").update([2.0], [1]), {"count", "samples", "skipped", "invalid_range"}),
    ],
    ids=["empty", "one", "infinite", "overflow", "perplexity", "skipped"],
)
def test_what_is_not_finite_or_not_known_is_absent(metric, present):
    scalars = metric.summary().scalars()
    if "floored" in present:  # the floored loss is finite: log of the smallest probability that counts
        present |= {"perplexity", "value"}
    assert scalars.keys() == present
    assert all(type(number) is float and math.isfinite(number) for number in scalars.values())


def test_a_gan_has_the_names_of_each_part():
    summary = ce.GANCrossEntropy().update(real=[0.9, 0.8], fake=[0.3, 0.4, 0.1]).summary()
    own = {
        "value": summary.value,
        "value_low": summary.interval[0],
        "value_high": summary.interval[1],
        "value_stderr": summary.stderr,
        "minimax": summary.minimax,
        "distance": summary.distance,
        "jensen_shannon": summary.jensen_shannon,
    }
    for part in ("real", "fake", "generator"):
        own |= getattr(summary, part).scalars(f"{part}_")
    assert summary.scalars() == own
    assert own["real_loss"] == summary.real.mean
    assert ce.GANCrossEntropy().update(real=[0.5]).summary().scalars().keys() >= {"real_loss", "fake_count"}


def test_two_models_have_their_names_and_those_of_the_difference():
    paired = ce.Paired(ce.BinaryCrossEntropy(invalid="skip"))
    paired.update([0.9, 0.2, 0.0, math.nan, 0.4], [0.8, 0.3, 0.5, 0.5, 0.5], [1, 0, 1, 1, 0])
    summary = paired.summary()
    scalars = summary.scalars("x_")
    difference = summary.difference
    own = {
        "difference": difference.mean,
        "difference_low": difference.interval[0],
        "difference_high": difference.interval[1],
        "difference_stderr": difference.stderr,
        "p_value": summary.p_value,
        "a_better": summary.a_better,
        "a_better_low": summary.a_better_interval[0],
        "a_better_high": summary.a_better_interval[1],
        "b_better": summary.b_better,
        "b_better_low": summary.b_better_interval[0],
        "b_better_high": summary.b_better_interval[1],
        "ties": summary.ties,
        "count": 4.0,
        "samples": 4.0,
        "skipped": 1.0,
        "invalid_nan": 1.0,
    }
    of_pairs = {"count", "samples", "skipped", "invalid_nan"}
    for part, model in (("a", summary.a), ("b", summary.b)):
        own |= {f"{part}_{name}": number for name, number in model.scalars().items() if name not in of_pairs}
    assert scalars == {f"x_{name}": number for name, number in own.items()}
    assert "x_a_floored" in scalars
    assert "x_b_floored" not in scalars


def test_a_mean_over_groups_has_a_value():
    macro = ce.Grouped(ce.MeanLoss()).update([0.2, 0.4, 0.9], by=["ann", "ann", "bob"]).macro()
    assert macro.scalars("users_") == {
        "users_value": macro.value,
        "users_value_low": macro.interval[0],
        "users_value_high": macro.interval[1],
        "users_value_stderr": macro.stderr,
        "users_groups": 2.0,
    }
    assert ce.Grouped(ce.MeanLoss()).update([0.2], by=[1]).macro().scalars() == {"value": 0.2, "groups": 1.0}


@pytest.mark.parametrize(
    "summary",
    [
        ce.MeanLoss().summary(),
        ce.GANCrossEntropy().summary(),
        ce.Paired(ce.MeanLoss()).summary(),
        ce.Grouped(ce.MeanLoss()).macro(),
    ],
    ids=lambda summary: type(summary).__name__,
)
@pytest.mark.parametrize("prefix", [None, 3, b"val_"])
def test_a_prefix_that_is_no_text_is_an_error(summary, prefix):
    with pytest.raises(ce.InputError, match=re.escape(f"prefix is {prefix!r}: expected text, such as 'val_'")):
        summary.scalars(prefix)


def test_names_are_ones_that_every_tracker_takes():
    metrics = [*VALUED, ce.GANCrossEntropy().update(real=PROBS, fake=PROBS)]
    metrics.append(ce.Paired(ce.BinaryCrossEntropy()).update(PROBS, np.array(PROBS) / 2, TARGET))
    for metric in metrics:
        assert all(re.fullmatch(r"[a-z][a-z_]*", name) for name in metric.summary().scalars())


def test_the_names_are_those_that_are_documented():
    text = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    section = text.partition("### Scalars for trackers\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    assert rows == [(name, scalar.help) for name, scalar in SCALARS.items()]
