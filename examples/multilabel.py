"""Evaluate a multilabel model: the loss by label and in total, missing labels, and weights of labels.

    python examples/multilabel.py

The data are 2417 genes of yeast with 103 measurements and 14 functional classes, which come with river. The model is a
logistic regression per label.
"""

import numpy as np
from river import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.preprocessing import StandardScaler

import streamce as ce

MISSING = -1


def main():
    rows = list(datasets.Yeast())
    names = list(rows[0][1])
    features = StandardScaler().fit_transform(np.array([list(x.values()) for x, _ in rows]))
    target = np.array([[y[name] for name in names] for _, y in rows], dtype=np.int64)
    train = np.arange(len(rows)) % 3 > 0
    model = MultiOutputClassifier(LogisticRegression(C=0.05, max_iter=500)).fit(features[train], target[train])
    probs = np.stack([p[:, 1] for p in model.predict_proba(features[~train])], axis=1)
    y = target[~train]

    metric = ce.MultilabelCrossEntropy()
    for start in range(0, len(y), 100):
        metric.update(probs[start : start + 100], y[start : start + 100])
    print(f"{metric.summary()}\n")
    print("label      share   mean loss   loss of always predicting the share")
    for i, (name, summary) in enumerate(zip(names, metric.per_label(), strict=True)):
        share = y[:, i].mean()
        base = -(share * np.log(share) + (1 - share) * np.log1p(-share))
        verdict = "better" if summary.mean < base else "WORSE"
        print(f"{name:9} {share:6.1%}   {summary.mean:9.4f}   {base:9.4f}   {verdict}")

    # Ignore a third of the labels, as if they were unknown. Each is ignored separately and counted.
    known = np.random.default_rng(0).random(y.shape) < 2 / 3
    partly = ce.MultilabelCrossEntropy(ignore_index=MISSING).update(probs, np.where(known, y, MISSING))
    summary = partly.summary()
    print(
        f"\nwith a third of the labels missing: {summary.mean:.4f} +- {summary.stderr:.4f}, {summary.ignored} ignored"
    )

    # Give rare labels the same influence as common ones.
    weights = 1 / y.mean(axis=0)
    weighted = ce.MultilabelCrossEntropy(class_weight=weights / weights.mean()).update(probs, y)
    print(f"with labels weighted by their rarity: {weighted.compute():.4f}")


if __name__ == "__main__":
    main()
