"""Probabilities: how far a model's are to be believed, and one number that mends them.

    python examples/calibration.py

Digits and breast cancer (scikit-learn): logistic regressions with too little regularisation are sure of
too much, as the loss they expect of themselves says: it is far below the one seen. Temperature scaling divides
their logits by the T of least cross-entropy (Guo et al. 2017).
"""

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import streamce as ce


def logits_of(load, penalty):
    """Logits and labels of one half to fit T on, and of another to judge it by."""
    features, target = load(return_X_y=True)
    features = StandardScaler().fit_transform(features)
    train, rest, y_train, y_rest = train_test_split(features, target, train_size=0.25, random_state=0)
    model = LogisticRegression(C=penalty, max_iter=5000).fit(train, y_train)
    half = len(rest) // 2
    logits = model.decision_function(rest)
    return (logits[:half], y_rest[:half]), (logits[half:], y_rest[half:])


def best_temperature(loss, logits, labels):
    """The T by which logits are to be divided for the least cross-entropy."""
    found = minimize_scalar(
        lambda log_t: loss(logits / np.exp(log_t), labels, kind="logits"), bounds=(-3, 5), method="bounded"
    )
    return np.exp(found.x)


def main():
    for name, load, metric, relative, loss in (
        ("digits", load_digits, ce.MulticlassCrossEntropy, ce.MulticlassNormalizedEntropy, ce.cross_entropy),
        ("breast cancer", load_breast_cancer, ce.BinaryCrossEntropy, ce.NormalizedEntropy, ce.binary_cross_entropy),
    ):
        (fitted, y_fitted), (held, y) = logits_of(load, 1000.0)
        temperature = best_temperature(loss, fitted, y_fitted)
        for what, t in (("as it is", 1.0), (f"T = {temperature:.2f}", temperature)):
            found = relative(kind="logits").update(held / t, y)
            summary = found.summary()
            if t == 1.0:
                base = summary.mean / summary.value
                print(f"{name}: always predicting the shares of the classes costs {base:.4f} nats")
            low, high = (1 - bound for bound in reversed(summary.interval))
            expects = metric(kind="logits", calibration=True).update(held / t, y).calibration()
            print(
                f"  {what:9}  {summary.mean:.4f} nats   "
                f"skill against that (D²) {found.skill():.1%} ({low:.1%} to {high:.1%})"
            )
            print(f"  {'':9}  expected {expects.expected:.4f}: z {expects.z:.1f}   ECE {expects.ece:.4f}")
        print(f"\n{expects}\n")

    # Soft targets: cross-entropy is the targets' own entropy plus the divergence from them.
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.ones(4), 5000)
    guess = 0.7 * truth + 0.3 / 4
    print("soft targets:")
    summary = ce.MulticlassCrossEntropy(divergence=True).update(guess, truth).summary()
    print(summary)
    assert abs(summary.divergence - np.mean(np.sum(truth * np.log(truth / guess), axis=1))) < 1e-12


if __name__ == "__main__":
    main()
