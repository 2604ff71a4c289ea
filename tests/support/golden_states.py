"""Golden states and checkpoints: files of every format version, and the numbers that they hold.

    python tests/support/golden_states.py --write   writes the missing files of CASES and CHECKPOINTS

A file of a release is never written again, so tests read the bytes that an older release wrote.
"""

import json
import sys
from pathlib import Path

import numpy as np
import state_reader

import streamce as ce
from streamce._support import state_format
from streamce.persistence import checkpoint

FOLDER = Path(__file__).with_name("golden_states")
CHECKPOINT_FOLDER = Path(__file__).with_name("golden_checkpoints")
P, Y = [0.25, 0.5, 0.875], [0, 1, 1]
ROWS, LABELS = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]], [0, 1, 1]


def mean(*losses, **more):
    return ce.MeanLoss(invalid="skip").update(np.array(losses, dtype=float), **more)


def multilabel(**options):
    targets = [[1, 0, -1], [0, 1, 1], [1, 1, 7]]
    return ce.MultilabelCrossEntropy(ignore_index=-1, invalid="skip", **options).update(ROWS, targets)


def outlier():
    """Return a metric with integers of many words: the largest and the smallest terms."""
    return mean(1.7976931348623157e308, 5e-324, -1e-300, weight=[0.5, 1.0, 2.0])


def odd():
    """Return a metric with every kind of excluded loss, and a null."""
    metric = ce.BinaryCrossEntropy(invalid="skip", ignore_index=-1)
    metric.update([0.5, 1.5, np.nan, 0.5, 0.5, 0.0], [1, 1, 1, 7, -1, 1], weight=[1.0, 1.0, 1.0, 1.0, 1.0, 2.0])
    metric.update([0.5, 0.25], [1, 0], weight=[-1.0, 2.0])
    metric._update(np.array([0.5, 0.25]), np.array([1, 0]), null=np.array([True, False]))
    return metric


def ctc(blank=0, kind="probs", per="label", weight=None):
    """Return a metric of utterances of 3 frames: a feasible, an infeasible, an invalid and another one."""
    preds = np.array([[ROWS[0], ROWS[0], ROWS[1], ROWS[2]], [ROWS[1], ROWS[1], [np.nan] * 3, ROWS[1]], [ROWS[2]] * 4])
    return ce.CTCCrossEntropy(blank=blank, kind=kind, per=per, invalid="skip").update(
        preds, [1, 1, 1, 1, 1 - blank // 2], input_lengths=[3, 2, 3, 3], target_lengths=[1, 2, 1, 1], weight=weight
    )


def sequences(cls=ce.SequenceCrossEntropy, **options):
    """Return a metric of sequences of three, one and two tokens. One is ignored, one masked, one invalid."""
    preds = np.array([ROWS, [ROWS[0]] * 3, [ROWS[1], [0.5, 0.5, np.nan], ROWS[2]]])
    return cls(invalid="skip", **options), preds, [[0, -100, 1], [2, 2, 2], [1, 1, 0]]


def fed(parts, **more):
    metric, preds, target = parts
    return metric.update(preds, target, **more)


def rows():
    """Return a window that has evicted rows, and has rows with every anomaly."""
    metric = ce.Sliding(ce.BinaryCrossEntropy(invalid="skip", ignore_index=-1, eps=1e-9), samples=7)
    metric.update([0.5, 0.25, 0.125], [1, 0, 1])
    metric.update([0.5, 1.5, np.nan, 0.5, 0.5, 0.0], [1, 1, 1, 7, -1, 1], weight=[1.0, 1.0, 1.0, 1.0, 1.0, 2.0])
    return metric


# A metric by name: add a line, and run `make golden`.
CASES = {
    "binary": lambda: ce.BinaryCrossEntropy().update(P, Y),
    "binary-empty": lambda: ce.BinaryCrossEntropy(),
    "binary-logits": lambda: ce.BinaryCrossEntropy(kind="logits", pos_weight=2.5).update([-1.0, 0.5, 40.0], Y),
    "binary-options": lambda: ce.BinaryCrossEntropy(
        kind="log_probs", label_smoothing=0.1, ignore_index=-100, class_weight=[0.3, 1e-9], pos_weight=1e16, eps=0.0
    ).update([-1.5, -0.25, -0.5], [0, 1, -100], weight=[1.0, 0.1, 3.0]),
    "binary-odd": odd,
    "mean": lambda: mean(0.5, -3.0, 0.1),
    "mean-weighted": lambda: mean(1.5, -0.25, 0.1, weight=[1.0, 2.0, 0.7]),
    "mean-infinite": lambda: mean(np.inf, 1.0, -np.inf, np.inf, weight=[2.0, 0.5, 1.0, 0.0]),
    "mean-nan": lambda: ce.MeanLoss(invalid="skip").update([[np.inf, -np.inf], [1.0, np.nan]]),
    "mean-huge-weights": lambda: ce.MeanLoss().update(
        [[1.0, -1.0], [-1e150, 0.0], [1e149, 0.0]], weight=[[1.7e308, 1.7e308], [1e158, 0.0], [1e158, 0.0]]
    ),
    "mean-outlier": outlier,
    "mean-negative": lambda: mean(0.5) - mean(1.0, 2.5, np.inf, np.nan, weight=[1.0, 3.0, 1.0, 1.0]),
    "multiclass": lambda: ce.MulticlassCrossEntropy().update(ROWS, LABELS),
    "multiclass-classes": lambda: ce.MulticlassCrossEntropy(
        per_class=True, class_weight=[1.0, 0.3, 2.0], ignore_index=7, invalid="skip"
    ).update(
        [*ROWS, [0.5, 0.2, 0.2], [0.5, 0.2, 0.2], [1.0, 0.0, 0.0], [0.5, 0.5, np.nan], [0.5, 0.25, 0.250001]],
        [*LABELS, 7, 0, 1, 0, 2],
    ),
    "multiclass-names": lambda: ce.MulticlassCrossEntropy(per_class=True, classes=["cat", "d\u00f6g", ""]).update(
        ROWS, [["cat", "d\u00f6g", ""][label] for label in LABELS]
    ),
    "binary-calibration": lambda: ce.BinaryCrossEntropy(calibration=True, invalid="skip").update(
        [0.0, 0.25, 0.5, 0.75, 1.0, 0.3, 7.0], [0, 1, 0.5, 1, 1, 1, 1], weight=[1.0, 0.3, 2.0, 1.0, 1.0, 0.0, 1.0]
    ),
    "binary-tail": lambda: ce.BinaryCrossEntropy(tail=True, eps=0.0, invalid="skip").update(
        [0.5, 0.5, 0.0, 1.0, 1e-300, 1 - 2**-53, 7.0], [1, 0, 1, 1, 0, 1, 1], weight=[1.0, 0.3, 2.0, 1.0, 1.0, 1.0, 1.0]
    ),
    "multiclass-calibration": lambda: ce.MulticlassCrossEntropy(calibration=True, kind="logits").update(
        [[0.5, -1.0, 2.0], [3.0, 0.0, -50.0], [1.0, 1.0, 1.0]], LABELS, weight=[1.0, 0.3, 2.0]
    ),
    "multiclass-divergence": lambda: ce.MulticlassCrossEntropy(divergence=True).update(
        ROWS, [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]], weight=[1.0, 0.3, 2.0], cluster=["a", "b", "a"]
    ),
    "multiclass-sparse": lambda: ce.MulticlassCrossEntropy(per_class=True).update([[1 / 512] * 512] * 3, [511, 0, 200]),
    "mean-clusters": lambda: ce.MeanLoss().update([0.5, 1.5, 0.25, 3.0], cluster=["a", "b", "a", "c"]),
    "binary-clusters": lambda: ce.BinaryCrossEntropy().update(P, Y, weight=[1.0, 0.3, 2.0], cluster=[7, -7, 7]),
    "grouped-int": lambda: ce.Grouped(ce.BinaryCrossEntropy()).update(P, Y, by=[-(2**63), 2**63 - 1, 0]),
    "grouped-str": lambda: ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0, 4.0], by=["b", None, "", "Zürich"]),
    "grouped-bool": lambda: ce.Grouped(ce.MeanLoss()).update([1.0, 2.0, 3.0], by=[True, False, None]),
    "grouped-parts": lambda: ce.Grouped(ce.MeanLoss(), period="1w").update(
        [0.5, 0.25, 8.0], by=([b"x", b"", None], [1, 2, 3]), by_time=[0.0, 1.8e9, -1e9], weight=[1.0, 2.0, 0.1]
    ),
    "grouped-null": lambda: ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=([None, None], [1, 1])),
    "grouped-empty": lambda: ce.Grouped(ce.MulticlassCrossEntropy(kind="logits"), period="15min"),
    "grouped-ctc": lambda: ce.Grouped(ce.CTCCrossEntropy()).update(
        [ROWS, ROWS], [1, 2, 1], input_lengths=[2, 2, 1], target_lengths=[1, 1, 1], by=[3, 1, 3]
    ),
    "grouped-perplexity": lambda: ce.Grouped(ce.Perplexity()).update(ROWS, LABELS, offsets=[0, 2, 3], by=["b", "a"]),
    "grouped-classes": lambda: ce.Grouped(ce.MulticlassCrossEntropy(per_class=True, tail=True)).update(
        ROWS, LABELS, weight=[1.0, 0.3, 2.0], by=["b", None, "b"]
    ),
    "grouped-text": lambda: (
        ce.Grouped(ce.Perplexity())
        .update_token_log_probs([[-0.5, -0.25], [-1.5, -0.125]], n_bytes=[7, 3], by=["b", "a"])
        .update_token_log_probs([[-2.0]], by=["c"])
    ),
    "grouped-clusters": lambda: ce.Grouped(ce.BinaryCrossEntropy()).update(P, Y, by=[1, 2, 1], cluster=["a", "b", "c"]),
    "grouped-normalized": lambda: ce.Grouped(ce.NormalizedEntropy()).update(P, Y, by=[True, False, True]),
    "grouped-paired": lambda: ce.Grouped(ce.Paired(ce.BinaryCrossEntropy())).update(
        P, [0.5, 0.5, 0.75], Y, by=([1, 2, 1], ["a", None, "a"])
    ),
    "grouped-windows": lambda: ce.Grouped(ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="20min")).update(
        P, Y, by=["b", "a", "b"], by_time=[0.0, 1.8e9, 1.8e9]
    ),
    "grouped-collection": lambda: ce.Grouped(
        ce.Collection({"loss": ce.BinaryCrossEntropy(), "normalized": ce.NormalizedEntropy()})
    ).update(P, Y, by=[1, 2, 1]),
    "sliding-normalized": lambda: ce.Sliding(ce.NormalizedEntropy(), period="1h", step="20min").update(
        P, Y, by_time=[0.0, 1.8e9, 1.8e9 - 1800.0]
    ),
    "sliding-samples-classes": lambda: ce.Sliding(
        ce.MulticlassCrossEntropy(per_class=True, ignore_index=0), samples=2
    ).update(ROWS, [1, 0, 2]),
    "decayed-classes": lambda: ce.Decayed(ce.MulticlassCrossEntropy(per_class=True), half_life="1d").update(
        ROWS, LABELS, by_time=[1.8e9, 1.8e9 - 5000.0, -1e9]
    ),
    "decayed-paired": lambda: ce.Decayed(ce.Paired(ce.MeanLoss()), half_life="1h").update(
        [1.0, 2.0], [0.5, 2.5], by_time=[0.0, 3600.0]
    ),
    "sliding-samples": lambda: rows(),
    "sliding-samples-nan": lambda: ce.Sliding(ce.MeanLoss(), samples=2**40).update([[np.inf, -np.inf], [1.0, -1.0]]),
    "sliding-samples-empty": lambda: ce.Sliding(ce.CTCCrossEntropy(per="frame"), samples=10),
    "sliding-period": lambda: ce.Sliding(ce.BinaryCrossEntropy(), period="1h", step="20min").update(
        [*P, 0.5], [*Y, 0], by_time=[0.0, 1.8e9, 1.8e9 - 2400.0, 1.8e9 - 2401.0], weight=[1.0, 0.3, 2.0, 1.0]
    ),
    "sliding-period-weeks": lambda: ce.Sliding(ce.MeanLoss(), period="4w", step="2w").update([1.0], by_time=[-1e9]),
    "sliding-period-empty": lambda: ce.Sliding(ce.MeanLoss(), period="1d", step="1d"),
    "decayed": lambda: ce.Decayed(ce.BinaryCrossEntropy(), half_life="1d").update(
        P, Y, by_time=[1.8e9, 1.8e9 - 5000.0, -1e9], weight=[1.0, 0.3, 2.0]
    ),
    "decayed-odd": lambda: ce.Decayed(ce.MeanLoss(invalid="skip"), half_life="100ms").update(
        [1.0, np.nan, np.inf, 1.7e308], by_time=[1e9, 1e9, 1e9 - 401.0, 1e9 + 0.05]
    ),
    "collection": lambda: ce.Collection(
        {
            "loss": ce.BinaryCrossEntropy(tail=True),
            "by é": ce.Grouped(ce.BinaryCrossEntropy()),
            "": ce.Sliding(ce.BinaryCrossEntropy(), samples=2),
            "Z": ce.NormalizedEntropy(),
        }
    ).update(P, Y, weight=[1.0, 0.3, 2.0], by=["b", "a", "b"]),
    "collection-empty": lambda: ce.Collection({"a": ce.MeanLoss(), "b": ce.Perplexity()}),
    "decayed-empty": lambda: ce.Decayed(ce.MulticlassCrossEntropy(kind="logits"), half_life="1w"),
    "ctc": lambda: ctc(),
    "ctc-odd": lambda: ctc(blank=2, kind="logits", per="frame", weight=[0.5, 2.0, 1.0, -1.0]),
    "gan": lambda: ce.GANCrossEntropy(kind="logits").update(real=[2.0, 1.0], fake=[-1.0, 0.5, 0.0]),
    "normalized": lambda: ce.NormalizedEntropy().update(P, Y, weight=[1.0, 0.3, 2.0], cluster=["a", "b", "a"]),
    "sequence": lambda: fed(sequences(per="sequence"), lengths=[3, 1, 2], weight=[1.0, 0.3, 2.0]),
    "sequence-positions": lambda: fed(
        sequences(per_position=True), lengths=[3, 1, 3], mask=[[1, 1, 0], [1, 1, 1], [1, 1, 1]], n_bytes=[7, 0, 3]
    ),
    "perplexity": lambda: fed(sequences(ce.Perplexity), n_words=[2, 1, 1], n_bytes=[7, 4, 3], cluster=["a", "b", "a"]),
    "perplexity-skipped": lambda: fed(
        sequences(ce.Perplexity), weight=[1.0, 0.3, 2.0], n_words=[2, 1, 1], n_bytes=[7, 4, 3], cluster=["a", "b", "a"]
    ),
    "perplexity-options": lambda: ce.Perplexity(
        kind="logits", ignore_index=None, label_smoothing=0.1, class_weight=[1.0, 0.3]
    ).update([[0.5, -1.0], [2.0, 0.0]], [0, 1], offsets=[0, 2]),
    "normalized-classes": lambda: ce.MulticlassNormalizedEntropy(ignore_index=-1, invalid="skip").update(
        [*ROWS, ROWS[0], ROWS[1], [0.5, 0.5, np.nan]], [*LABELS, -1, 2, 0], weight=[1.0, 0.3, 2.0, 1.0, 0.7, 1.0]
    ),
    "paired": lambda: ce.Paired(ce.BinaryCrossEntropy()).update(P, [0.5, 0.5, 0.75], Y),
    "paired-clusters": lambda: ce.Paired(ce.MulticlassCrossEntropy(kind="logits")).update(
        ROWS, ROWS[::-1], LABELS, weight=[1.0, 0.3, 2.0], cluster=["a", "b", "a"]
    ),
    "paired-odd": lambda: ce.Paired(ce.MultilabelCrossEntropy(ignore_index=-1, invalid="skip", per_label=False)).update(
        ROWS, [[0.0, 0.5, np.nan], [1.5, 0.5, 0.5], [np.nan] * 3], [[1, 0, -1], [0, 1, 1], [1, 1, 7]]
    ),
    "paired-infinite": lambda: ce.Paired(ce.MeanLoss()).update([np.inf, 1.0, -np.inf, 2.0], [np.inf, np.inf, 0.5, 2.0]),
    "paired-empty": lambda: ce.Paired(ce.CTCCrossEntropy(blank=2)),
    "paired-classes": lambda: ce.Paired(
        ce.MulticlassCrossEntropy(per_class=True, tail=True, calibration=True, ignore_index=7, invalid="skip")
    ).update(
        [*ROWS, ROWS[0], [np.nan, 0.5, 0.5]],
        [*ROWS[::-1], [1.0, 0.0, 0.0], ROWS[1]],
        [*LABELS, 7, 2],
        weight=[1.0, 0.3, 2.0, 1.0, 1.0],
        cluster=["a", "b", "a", "c", "c"],
    ),
    "paired-labels": lambda: ce.Paired(ce.MultilabelCrossEntropy(divergence=True, ignore_index=-1)).update(
        ROWS, ROWS[::-1], [[1, 0, -1], [0, 1, 1], [1, 1, 0]], weight=[1.0, 0.3, 2.0]
    ),
    "paired-text": lambda: ce.Paired(ce.Perplexity(per_position=True, invalid="skip")).update(
        [ROWS, [ROWS[0]] * 3, [ROWS[1], [0.5, 0.5, np.nan], ROWS[2]]],
        [[ROWS[1]] * 3, ROWS, ROWS],
        [[0, -100, 1], [2, 2, 2], [1, 1, 0]],
        lengths=[3, 1, 2],
        n_words=[2, 1, 1],
        n_bytes=[7, 4, 3],
        cluster=["a", "b", "a"],
    ),
    "paired-normalized": lambda: ce.Paired(ce.NormalizedEntropy(invalid="skip")).update(
        [*P, np.nan], [0.5, 0.5, 0.75, 0.5], [*Y, 1], weight=[1.0, 0.3, 2.0, 1.0], cluster=["a", "b", "a", "c"]
    ),
    "paired-normalized-classes": lambda: ce.Paired(ce.MulticlassNormalizedEntropy()).update(
        ROWS, ROWS[::-1], LABELS, weight=[1.0, 0.3, 2.0]
    ),
    "grouped-gan": lambda: ce.Grouped(ce.GANCrossEntropy()).update(real=P, fake=[0.5, 0.25, 0.125], by=["b", "a", "b"]),
    "grouped-labels": lambda: ce.Grouped(ce.MultilabelCrossEntropy()).update(
        ROWS, [[1, 0, 0], [0, 1, 1], [1, 1, 0]], by=[3, 1, 3]
    ),
    "grouped-paired-normalized": lambda: ce.Grouped(ce.Paired(ce.NormalizedEntropy())).update(
        P, [0.5, 0.5, 0.75], Y, by=["b", "a", "b"]
    ),
    "sliding-gan": lambda: ce.Sliding(ce.GANCrossEntropy(), samples=2).update(real=P, fake=[0.5, 0.25, 0.125]),
    "sliding-paired": lambda: ce.Sliding(ce.Paired(ce.BinaryCrossEntropy()), period="1h", step="20min").update(
        P, [0.5, 0.5, 0.75], Y, by_time=[0.0, 1.8e9, 1.8e9 - 1800.0]
    ),
    "sliding-samples-paired": lambda: ce.Sliding(ce.Paired(ce.BinaryCrossEntropy()), samples=2).update(
        P, [0.5, 0.5, 0.75], Y
    ),
    "sliding-tail": lambda: ce.Sliding(ce.BinaryCrossEntropy(tail=True), period="1h", step="20min").update(
        P, Y, by_time=[0.0, 1.8e9, 1.8e9 - 1800.0]
    ),
    "sliding-clusters": lambda: ce.Sliding(ce.MeanLoss(), period="1h", step="20min").update(
        [0.5, 1.5, 0.25], cluster=["a", "b", "a"], by_time=[0.0, 1.8e9, 1.8e9 - 1800.0]
    ),
    "sliding-samples-clusters": lambda: ce.Sliding(ce.MeanLoss(), samples=2).update(
        [0.5, 1.5, 0.25], cluster=["a", "b", "a"]
    ),
    "decayed-clusters": lambda: ce.Decayed(ce.MeanLoss(), half_life="1d").update(
        [0.5, 1.5, 0.25], cluster=["a", "b", "a"], by_time=[1.8e9, 1.8e9 - 5000.0, -1e9]
    ),
    "decayed-divergence": lambda: ce.Decayed(ce.MulticlassCrossEntropy(divergence=True), half_life="1d").update(
        ROWS, [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]], by_time=[1.8e9, 1.8e9 - 5000.0, -1e9]
    ),
    "multilabel": lambda: multilabel(per_label=False),
    "multilabel-labels": lambda: multilabel(),
    "multilabel-weights": lambda: multilabel(class_weight=[1.0, 0.0, 0.7], pos_weight=[0.1, 1.0, 2.0]),
}
# Positions, and the case that is the metric, by name.
CHECKPOINTS = {
    "null": (None, "binary-empty"),
    "row": ({"row": 3}, "binary"),
    "partitions": (
        {"offsets": [["clicks", 0, 2**63], ["clicks", 1, -1]], "": {}, "done": [True, False]},
        "grouped-parts",
    ),
    "odd": (
        {
            "é": 'Zürich \U0001f600 \ud800 \x00\x7f"/\\',
            "Z": [0.1, -0.0, 1e16, 1e-7, 5e-324, 1.0, 10**300],
            "a": [[], {}],
        },
        "mean-outlier",
    ),
}


# Summaries of metrics that have several.
STATES = {ce.GANCrossEntropy: ("real", "fake", "generator"), ce.Paired: ("a", "b", "difference")}


def numbers(data):
    """Return the numbers of a state, from streamce and from the reader, or the error of its metric."""
    metric, held = ce.from_bytes(data), state_reader.read(data)
    if isinstance(metric, ce.Collection):
        each = {name: numbers(metric[name].to_bytes()) for name in sorted(metric)}
        return {"metric": repr(metric), "metrics": each, "parts": sorted(held.parts)}
    found = {"metric": repr(metric), "integers": {name: integers(part) for name, part in held.parts.items()}}
    if held.newest is not None:
        found["newest"] = held.newest
    try:
        if isinstance(metric, ce.Grouped):
            found["summary"] = shown(metric.micro())
            found["groups"] = {repr(key): shown(one) for key, one in metric.summary().items()}
            return found
        for kind, names in STATES.items():
            if isinstance(metric, kind):
                of_cells = metric.options.get("metric")
                for name in ("per_class", "per_label", "per_position"):
                    if of_cells is not None and of_cells.options.get(name):
                        found[name] = [plain(one) for one in getattr(metric, name)()]
                return found | {name: plain(getattr(metric.summary(), name)) for name in names}
        found["summary"] = shown(metric.summary())
        for name in ("per_class", "per_label"):
            if metric.options.get(name):
                found[name] = {str(i): plain(one) for i, one in enumerate(getattr(metric, name)()) if one.seen}
        if metric.options.get("calibration"):
            read = metric.calibration().to_dict()
            found["calibration"] = {name: read[name] for name in read if name in EXACT or name.startswith("bin_")}
    except ce.InputError as error:
        found["error"] = error.argument
    return found


# Fields that are exact or rounded once. Fields that are computed from floats may differ between machines.
FIELDS = (
    *("value", "mean", "stderr", "total", "weight", "count", "samples", "seen", "skipped", "buckets"),
    *("ignored", "floored", "infinite", "unnormalised", "invalid_nan", "invalid_range", "invalid_row_sum"),
    *("invalid_label", "invalid_weight", "invalid_null"),
)
# The same for a calibration, and the fields of bins.
EXACT = ("loss", "expected", "z", "count", "ece")


def plain(summary):
    """Return the fields of a summary that are equal on every machine."""
    return {name: getattr(summary, name) for name in FIELDS}


def shown(summary):
    """Return the fields of a summary of any class, or of the summaries in a dict."""
    if isinstance(summary, dict):
        return {name: shown(each) for name, each in summary.items()}
    if isinstance(summary, ce.PairedSummary):
        return {name: plain(getattr(summary, name)) for name in ("a", "b", "difference")}
    if not hasattr(summary, "mean"):  # of a GAN
        return {name: plain(getattr(summary, name)) for name in ("real", "fake", "generator")}
    return plain(summary)


def integers(part):
    """Return the integers of a ledger, of groups or of states, by cell or key."""
    if isinstance(part, state_reader.State):
        return {name: integers(each) for name, each in part.parts.items()}
    if isinstance(part, (list, state_reader.States)):
        states = dict(enumerate(part)) if isinstance(part, list) else part.states
        return {str(one): integers(state) for one, state in states.items()}
    found = {str(one): {name: hex(value) for name, value in columns.items()} for one, columns in part.cells.items()}
    return {"size": part.size, "cells": found} if not isinstance(part, state_reader.Groups) else found


def recorded(path):
    """Return the numbers that are stored next to a state."""
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def files():
    """Return the existing states of all versions."""
    return sorted(FOLDER.glob("*/*.state"))


def checkpoints():
    """Return the existing checkpoints of all versions."""
    return sorted(CHECKPOINT_FOLDER.glob("*/*.checkpoint"))


def held(data):
    """Return the content of a checkpoint, from the independent reader."""
    positions, found = state_reader.read_checkpoint(data)
    integers_of = {name: integers(part) for name, part in found.parts.items()}
    return {"positions": positions, "metric": found.metric, "options": found.options, "integers": integers_of}


def write():
    folder = FOLDER / str(state_format.VERSION)
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in CASES.items():
        path = folder / f"{name}.state"
        if not path.exists():
            data = made().to_bytes()
            path.write_bytes(data)
            path.with_suffix(".json").write_text(json.dumps(numbers(data), indent=1) + "\n", encoding="utf-8")
            print(f"{path}: written")
    folder = CHECKPOINT_FOLDER / str(checkpoint.VERSION)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (positions, case) in CHECKPOINTS.items():
        path = folder / f"{name}.checkpoint"
        if not path.exists():
            ce.Checkpoint(path).save(CASES[case](), positions)
            path.with_suffix(".json").write_text(json.dumps(held(path.read_bytes()), indent=1) + "\n", encoding="utf-8")
            print(f"{path}: written")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        sys.exit(__doc__)
