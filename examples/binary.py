"""Binary classification: a model that learns from a stream is scored on each chunk before it sees it.

    python examples/binary.py

Breast cancer (569 tumours, scikit-learn): logistic regression by stochastic gradient descent, scored as
it goes ("progressive validation"). Then what people do about classes of unequal size.
"""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

import streamce as ce

CHUNK = 40


def progressive(features, target):
    """Logits and probabilities of every row, by the model that had seen the rows before it."""
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

    print("A model that learns chunk by chunk (log loss in nats, of rows it has not seen yet):\n")
    by_logits, by_probs = ce.BinaryCrossEntropy(kind="logits"), ce.BinaryCrossEntropy()
    for i, (logits, probs, y) in enumerate(chunks):
        of_chunk = by_logits(logits, y)
        by_probs.update(probs, y)
        if i % 3 == 0:
            low, high = by_logits.summary(anytime=True).interval
            so_far = f"so far {by_logits.compute():.4f}   ({low:.2f} to {high:.2f})"
            print(f"  rows {i * CHUNK:4} on: {of_chunk:.4f}   {so_far}")
    print(f"\n{by_logits.summary()}\n")
    print(f"from logits {by_logits.compute():.15f}, from probabilities {by_probs.compute():.15f}")
    print("(next to 1 a probability has lost digits that its logit still has)")
    assert abs(by_logits.compute() - by_probs.compute()) < 1e-8

    share = 1 - target.mean()
    logits, probs, y = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    malignant, p_malignant = 1 - y, 1 - probs
    base = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    print(f"\nIs it malignant? {share:.0%} are; always saying so costs {base:.4f} nats.")

    # As in spam: what we look for is one row in a hundred.
    rare = np.flatnonzero(malignant)[:4]
    kept = np.sort(np.concatenate([rare, np.flatnonzero(malignant == 0)]))
    print(f"With malignant rows made rare ({len(rare)} of {len(kept)}), the mean of the loss hardly hears of them:")
    for name, metric, more in (
        ("plain", ce.BinaryCrossEntropy(), {}),
        ("pos_weight=100", ce.BinaryCrossEntropy(pos_weight=100.0), {}),
        ("class_weight", ce.BinaryCrossEntropy(class_weight=[0.5 / 0.99, 0.5 / 0.01]), {}),
        ("weight per row", ce.BinaryCrossEntropy(), {"weight": np.where(malignant[kept], 100.0, 1.0)}),
    ):
        metric.update(p_malignant[kept], malignant[kept], **more)
        summary = metric.summary()
        print(f"  {name:15} {summary.mean:8.4f} +- {summary.stderr:.4f}   weight {summary.weight:,.1f}")
    print("pos_weight multiplies the loss of positives alone; class and row weights count in the mean's denominator.")


if __name__ == "__main__":
    main()
