"""Metrics of many kinds, whose states other systems add: as arrays of limbs, or as rows of a database."""

import numpy as np

import streamce as ce

N = 7  # metrics of each kind
ROWS = 40
COUNTRIES = ("de", "fr", "ü 'quoted'", None)
FIXED = {
    "binary": ce.BinaryCrossEntropy(invalid="skip"),
    "divergence": ce.BinaryCrossEntropy(divergence=True),
    "multiclass": ce.MulticlassCrossEntropy(kind="logits"),
    "per class": ce.MulticlassCrossEntropy(per_class=True, classes=["a", "b", "c", "d"]),
    "multilabel": ce.MultilabelCrossEntropy(per_label=True, class_weight=[1.0, 2.0, 1.0, 0.5]),
    "mean loss": ce.MeanLoss(),
    "sequences": ce.SequenceCrossEntropy(kind="logits"),
    "normalized entropy": ce.NormalizedEntropy(),
    "gan": ce.GANCrossEntropy(),
    "pairs": ce.Paired(ce.BinaryCrossEntropy()),
}
# Metrics with many cells, which only rows hold.
CELLS = {
    "tail": ce.BinaryCrossEntropy(tail=True),
    "calibration": ce.MulticlassCrossEntropy(calibration=True),
    "classes": ce.MulticlassCrossEntropy(per_class=True),
    "class frequencies": ce.MulticlassNormalizedEntropy(),
    "positions": ce.SequenceCrossEntropy(kind="logits", per_position=True),
    "clusters": ce.BinaryCrossEntropy(),
    "cluster ratios": ce.SequenceCrossEntropy(kind="logits"),
}


def add(metric, name, number, **keys):
    """Add a batch to a metric. Batches of different numbers differ, also in the magnitude of their weights."""
    random = np.random.default_rng([number, len(name)])
    weight = random.random(ROWS) * 10.0 ** random.integers(-200, 150)
    probs, outcome = random.random(ROWS), random.integers(0, 2, ROWS)
    rows, label = random.dirichlet(np.ones(4), ROWS), random.integers(0, 4, ROWS)
    words = random.integers(1, 9, ROWS)
    logits, tokens = random.normal(size=(ROWS, 3, 4)) * 9, random.integers(0, 4, (ROWS, 3))
    if name in ("clusters", "cluster ratios"):
        keys["cluster"] = random.integers(0, 9, ROWS)
    if name == "gan":
        return metric.update(real=probs, fake=random.random(ROWS), **keys)
    if name == "pairs":
        return metric.update(probs, random.random(ROWS), outcome, weight=weight, **keys)
    if name == "mean loss":
        return metric.update(np.where(probs < 0.02, np.inf, probs * 1e300), weight=weight, **keys)
    if name in ("sequences", "positions", "cluster ratios"):
        return metric.update(logits, tokens, n_words=words, n_bytes=words * 5, **keys)
    if name == "multilabel":
        return metric.update(rows, random.integers(0, 2, (ROWS, 4)), weight=weight, **keys)
    if name in ("multiclass", "per class", "calibration", "classes", "class frequencies"):
        targets = np.array(list("abcd"))[label] if name == "per class" else label
        return metric.update(logits[:, 0] if name == "multiclass" else rows, targets, weight=weight, **keys)
    if name == "binary":
        probs[3] = np.nan
    return metric.update(probs, outcome, weight=weight, **keys)


def metrics(name):
    """Return metrics of a kind. One of them is empty, and one has more subtracted than added."""
    empty = (FIXED | CELLS)[name]
    found = [add(empty.copy(), name, number) for number in range(N - 2)]
    return [*found, empty.copy(), empty.copy() - found[0]]


def groups(name):
    """Return metrics by country and hour."""
    found = []
    for number in range(N):
        random = np.random.default_rng(number)
        keys = [COUNTRIES[i] for i in random.integers(0, len(COUNTRIES), ROWS)], random.integers(0, 3, ROWS)
        found.append(add(ce.Grouped((FIXED | CELLS)[name].copy()), name, number, by=keys))
    return found


def merged(metrics):
    first, *others = metrics
    return first.copy().merge(*others)


def by_country(name):
    """Return the groups that a roll-up of ``groups(name)`` must give: by country only."""
    whole = ce.Grouped((FIXED | CELLS)[name].copy())
    for number in range(N):
        random = np.random.default_rng(number)
        countries = [COUNTRIES[i] for i in random.integers(0, len(COUNTRIES), ROWS)]
        add(whole, name, number, by=countries)
    return whole
