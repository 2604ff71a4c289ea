"""Measure how well calibrated probabilities are, and improve them with one number.

    python examples/calibration.py

The data are digits and breast cancer (scikit-learn). Logistic regressions with too little regularisation are
overconfident: their expected loss is far below the observed loss. Temperature scaling divides their logits by the T
that minimises the cross-entropy (Guo et al. 2017).
"""

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import streamce as ce


def logits_of(load, penalty):
    """Return the logits and labels of one half of the rows, to fit T, and of the other half, to evaluate it."""
    features, target = load(return_X_y=True)
    features = StandardScaler().fit_transform(features)
    train, rest, y_train, y_rest = train_test_split(features, target, train_size=0.25, random_state=0)
    model = LogisticRegression(C=penalty, max_iter=5000).fit(train, y_train)
    half = len(rest) // 2
    logits = model.decision_function(rest)
    return (logits[:half], y_rest[:half]), (logits[half:], y_rest[half:])


def best_temperature(loss, logits, labels):
    """Return the T that minimises the cross-entropy of the logits divided by T."""
    result = minimize_scalar(
        lambda log_t: loss(logits / np.exp(log_t), labels, kind="logits"), bounds=(-3, 5), method="bounded"
    )
    return np.exp(result.x)


def main():
    for name, load, metric, relative, loss in (
        ("digits", load_digits, ce.MulticlassCrossEntropy, ce.MulticlassNormalizedEntropy, ce.cross_entropy),
        ("breast cancer", load_breast_cancer, ce.BinaryCrossEntropy, ce.NormalizedEntropy, ce.binary_cross_entropy),
    ):
        (fitted, y_fitted), (held, y) = logits_of(load, 1000.0)
        temperature = best_temperature(loss, fitted, y_fitted)
        for description, t in (("unscaled", 1.0), (f"T = {temperature:.2f}", temperature)):
            normalized = relative(kind="logits").update(held / t, y)
            summary = normalized.summary()
            if t == 1.0:
                base = summary.mean / summary.value
                print(f"{name}: always predicting the class frequencies costs {base:.4f} nats")
            low, high = (1 - bound for bound in reversed(summary.interval))
            calibration = metric(kind="logits", calibration=True).update(held / t, y).calibration()
            print(
                f"  {description:9}  {summary.mean:.4f} nats   "
                f"skill (D²) {normalized.skill():.1%} ({low:.1%} to {high:.1%})"
            )
            print(f"  {'':9}  expected {calibration.expected:.4f}: z {calibration.z:.1f}   ECE {calibration.ece:.4f}")
        print(f"\n{calibration}\n")

    # With soft targets, cross-entropy is the entropy of the targets plus the divergence from them.
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(4), 5000)
    guess = 0.7 * truth + 0.3 / 4
    print("soft targets:")
    summary = ce.MulticlassCrossEntropy(divergence=True).update(guess, truth).summary()
    print(summary)
    assert abs(summary.divergence - np.mean(np.sum(truth * np.log(truth / guess), axis=1))) < 1e-12


if __name__ == "__main__":
    main()
