"""Evaluate a binary classifier that learns from a stream: score it on each chunk before it learns from the chunk.

    python examples/binary.py

The data are 569 tumours (breast cancer, scikit-learn). The model is a logistic regression that is trained by stochastic
gradient descent ("progressive validation"). The second part compares ways to weight classes of unequal size.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

import streamce as ce

CHUNK = 40


def progressive(features, target):
    """Yield logits, probabilities and targets of each chunk, from a model that was trained on the earlier chunks."""
    model, scaler = SGDClassifier(loss="log_loss", alpha=0.01, random_state=0), StandardScaler()
    for start in range(0, len(target), CHUNK):
        rows = slice(start, start + CHUNK)
        scaler.partial_fit(features[rows])
        scaled = scaler.transform(features[rows])
        if start:
            yield model.decision_function(scaled), model.predict_proba(scaled)[:, 1], target[rows]
        model.partial_fit(scaled, target[rows], classes=[0, 1])


def main():
    features, target = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(target))
    chunks = list(progressive(features[order], target[order]))

    print("A model that learns chunk by chunk (log loss in nats, on rows that it has not seen yet):\n")
    by_logits, by_probs = ce.BinaryCrossEntropy(kind="logits"), ce.BinaryCrossEntropy()
    for i, (logits, probs, y) in enumerate(chunks):
        chunk_loss = by_logits(logits, y)
        by_probs.update(probs, y)
        if i % 3 == 0:
            low, high = by_logits.summary(anytime=True).interval
            so_far = f"so far {by_logits.compute():.4f}   ({low:.2f} to {high:.2f})"
            print(f"  rows {i * CHUNK:4} on: {chunk_loss:.4f}   {so_far}")
    print(f"\n{by_logits.summary()}\n")
    print(f"from logits {by_logits.compute():.15f}, from probabilities {by_probs.compute():.15f}")
    print("(a probability near 1 has lost digits that its logit still has)")
    assert abs(by_logits.compute() - by_probs.compute()) < 1e-8

    share = 1 - target.mean()
    logits, probs, y = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    malignant, p_malignant = 1 - y, 1 - probs
    base = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    print(f"\n{share:.0%} of the tumours are malignant. Always predicting this share costs {base:.4f} nats.")

    # Make the positive class rare, as in spam: one row in a hundred.
    rare = np.flatnonzero(malignant)[:4]
    selected = np.sort(np.concatenate([rare, np.flatnonzero(malignant == 0)]))
    print(f"If only {len(rare)} of {len(selected)} rows are malignant, they contribute little to the plain mean:")
    for name, metric, weights in (
        ("plain", ce.BinaryCrossEntropy(), {}),
        ("pos_weight=100", ce.BinaryCrossEntropy(pos_weight=100.0), {}),
        ("class_weight", ce.BinaryCrossEntropy(class_weight=[0.5 / 0.99, 0.5 / 0.01]), {}),
        ("weight per row", ce.BinaryCrossEntropy(), {"weight": np.where(malignant[selected], 100.0, 1.0)}),
    ):
        metric.update(p_malignant[selected], malignant[selected], **weights)
        summary = metric.summary()
        print(f"  {name:15} {summary.mean:8.4f} +- {summary.stderr:.4f}   weight {summary.weight:,.1f}")
    print("pos_weight multiplies only the loss of positives. Class and row weights are also part of the denominator.")


if __name__ == "__main__":
    main()
