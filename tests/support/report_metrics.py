"""Metrics whose reports are tested: every kind, with few and many samples, and names that HTML has to escape."""

import math

import golden_states
import numpy as np

import streamce as ce

N = 4000
RNG = np.random.default_rng(8)
P = RNG.uniform(0.01, 0.99, N)
Y = (RNG.uniform(size=N) < P**1.3).astype(int)
BY = RNG.integers(0, 40, N)
AT = 1.79e9 + np.sort(RNG.uniform(size=N)) * 86400 * 365


def logits(n=600, classes=5, rng=RNG):
    return rng.normal(0, 1, (n, classes)), rng.integers(0, classes, n)


def positions():
    preds, tokens = RNG.normal(0, 1, (2000, 7)), RNG.integers(0, 7, 2000)
    return ce.Perplexity(kind="logits", per_position=True, tail=True).update(
        preds, tokens, offsets=np.array([0, 900, 1300, 2000]), n_bytes=[90, 40, 70], n_words=[9, 4, 7]
    )


def binary(**options):
    return ce.BinaryCrossEntropy(**options).update(P, Y)


# Metrics with enough samples to draw, in addition to the small ones of golden_states, which have every anomaly.
FULL = {
    "binary": lambda: binary(tail=True, calibration=True),
    "classes": lambda: ce.MulticlassCrossEntropy(kind="logits", per_class=True, calibration=True).update(*logits()),
    "many-classes": lambda: ce.MulticlassCrossEntropy(kind="logits", per_class=True).update(*logits(2000, 90)),
    "labels": lambda: ce.MultilabelCrossEntropy(ignore_index=-1).update(
        RNG.uniform(size=(300, 6)), RNG.integers(-1, 2, (300, 6))
    ),
    "groups": lambda: ce.Grouped(ce.BinaryCrossEntropy()).update(P, Y, by=BY),
    "history": lambda: ce.Grouped(ce.BinaryCrossEntropy(), period="1h").update(P, Y, by_time=AT),
    "groups-history": lambda: ce.Grouped(ce.BinaryCrossEntropy(), period="1d").update(P, Y, by=BY, by_time=AT),
    "window": lambda: ce.Sliding(ce.BinaryCrossEntropy(), period="30d", step="1d").update(P, Y, by_time=AT),
    "decayed": lambda: ce.Decayed(ce.BinaryCrossEntropy(), half_life="30d").update(P, Y, by_time=AT),
    "paired": lambda: ce.Paired(ce.BinaryCrossEntropy()).update(P, P**1.1, Y),
    "gan": lambda: ce.GANCrossEntropy().update(real=P, fake=P),
    "normalized": lambda: ce.NormalizedEntropy().update(P, Y),
    "normalized-classes": lambda: ce.MulticlassNormalizedEntropy(kind="logits").update(*logits()),
    "positions": positions,
    "one": lambda: ce.BinaryCrossEntropy(tail=True, calibration=True).update(0.7, 1),
    "infinite": lambda: ce.BinaryCrossEntropy(eps=0.0, tail=True, calibration=True).update([0.0, 0.5], [1, 1]),
    "infinite-groups": lambda: ce.Grouped(ce.MeanLoss()).update(
        [math.inf, -math.inf, 1.0, 2.0, math.inf] * 9, by=np.arange(45)
    ),
    "infinite-history": lambda: ce.Grouped(ce.MeanLoss(), period="1d").update(
        [math.inf, 1.0, -math.inf, 2.0, 2.0], by_time=[0.0, 1e5, 3e5, 4e5, 9e5]
    ),
    "all-infinite": lambda: ce.Grouped(ce.MeanLoss(), period="1d").update([math.inf] * 3, by_time=[0, 1e5, 2e5]),
    "huge": lambda: ce.MeanLoss().update([1e308, -1e308, 1.7e308]),
    "tiny": lambda: ce.MeanLoss().update([5e-324, 1e-323, 0.0]),
    "collection": lambda: ce.Collection(
        {"b": ce.BinaryCrossEntropy(tail=True), "a": ce.Grouped(ce.BinaryCrossEntropy())}
    ).update(P, Y, by=BY),
}
OTHER_RNG = np.random.default_rng(9)
GROUPS_OF = {
    "classes": (
        ce.MulticlassCrossEntropy(kind="logits", per_class=True, calibration=True, tail=True),
        logits(N, rng=OTHER_RNG),
    ),
    "normalized": (ce.NormalizedEntropy(), (P, Y)),
    "normalized-classes": (ce.MulticlassNormalizedEntropy(kind="logits"), logits(N, rng=OTHER_RNG)),
    "paired": (ce.Paired(ce.BinaryCrossEntropy()), (P, P**1.1, Y)),
    "collection": (ce.Collection({"tail": ce.BinaryCrossEntropy(tail=True), "NE": ce.NormalizedEntropy()}), (P, Y)),
}
# Compositions, which draw the sections of the metrics in them.
COMPOSED = {
    **{f"groups-of-{name}": lambda inner=inner, batch=batch: ce.Grouped(inner).update(*batch, by=BY)
       for name, (inner, batch) in GROUPS_OF.items()},
    **{f"history-of-{name}": lambda inner=inner, batch=batch: ce.Grouped(inner, period="1w").update(
           *batch, by=BY % 3, by_time=AT)
       for name, (inner, batch) in GROUPS_OF.items()},
    **{f"window-of-{name}": lambda inner=inner, batch=batch: ce.Sliding(inner, period="30d", step="1d").update(
           *batch, by_time=AT)
       for name, (inner, batch) in GROUPS_OF.items() if name != "collection"},
    "last-of-paired": lambda: ce.Sliding(GROUPS_OF["paired"][0], samples=100).update(*GROUPS_OF["paired"][1]),
    "decayed-normalized": lambda: ce.Decayed(ce.NormalizedEntropy(), half_life="30d").update(P, Y, by_time=AT),
    "decayed-paired": lambda: ce.Decayed(ce.Paired(ce.BinaryCrossEntropy()), half_life="30d").update(
        P, P**1.1, Y, by_time=AT),
    "groups-of-gans": lambda: ce.Grouped(ce.GANCrossEntropy()).update(real=P, fake=P**2, by=BY % 5),
    "groups-of-windows": lambda: ce.Grouped(
        ce.Sliding(ce.BinaryCrossEntropy(tail=True), period="60d", step="5d")).update(P, Y, by=BY, by_time=AT),
    "groups-of-windows-of-pairs": lambda: ce.Grouped(
        ce.Sliding(ce.Paired(ce.BinaryCrossEntropy()), period="60d", step="5d")).update(
        P, P**1.1, Y, by=BY % 3, by_time=AT),
    "groups-of-bytes": lambda: ce.Grouped(ce.Perplexity()).update_token_log_probs(
        np.log(P).reshape(-1, 10), by=np.arange(N // 10) % 7, n_bytes=np.full(N // 10, 30)),
    "collection-of-windows": lambda: ce.Collection({
        "recent": ce.Sliding(ce.NormalizedEntropy(), period="30d", step="1d"),
        "groups": ce.Grouped(ce.BinaryCrossEntropy(tail=True)),
    }).update(P, Y, by=BY, by_time=AT),
    "no-groups-of-pairs": lambda: ce.Grouped(ce.Paired(ce.BinaryCrossEntropy())),
    "empty-window-of-ne": lambda: ce.Sliding(ce.NormalizedEntropy(), period="1d", step="1h"),
    "less-than-no-groups": lambda: ce.Grouped(ce.NormalizedEntropy()) - ce.Grouped(ce.NormalizedEntropy()).update(
        P, Y, by=BY),
}  # fmt: skip
MADE = {**golden_states.CASES, **{f"full-{name}": made for name, made in {**FULL, **COMPOSED}.items()}}
NASTY = ["<script>alert(1)</script>", "\"'&<>", "שלום", "\u202eevil", "a\nb", "x" * 10_000, "\x00", "", " ", "</bdi>"]
