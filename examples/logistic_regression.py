"""Train a logistic regression with the gradients of streamce, and compare its coefficients with scikit-learn's.

    python examples/logistic_regression.py

It needs scikit-learn (and SciPy, which comes with it). The data are 569 tumours, each malignant or benign. A quarter of
them is held out. L-BFGS minimises scikit-learn's objective,

    Σ loss + |coefficients|² / 2C

One pass computes the loss and its gradient with respect to the logits. The chain rule gives the gradient with respect
to the coefficients.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import streamce as ce

C = 0.1


def data() -> tuple[Any, Any, Any, Any]:
    """Return features and outcomes for training, and those held out. A column of ones belongs to the intercept."""
    features, target = load_breast_cancer(return_X_y=True)
    train, test, train_target, test_target = train_test_split(features, target, random_state=0, stratify=target)
    scaler = StandardScaler().fit(train)
    train, test = (np.column_stack([scaler.transform(x), np.ones(len(x))]) for x in (train, test))
    return train, test, train_target, test_target


def objective(coefficients: Any, features: Any, target: Any) -> tuple[float, Any]:
    """Return the total loss plus the penalty, and the gradient with respect to the coefficients."""
    logits = features @ coefficients
    loss, slope = ce.binary_cross_entropy(logits, target, kind="logits", reduction="sum", grad=True)
    penalised = np.append(coefficients[:-1], 0.0)
    return loss + penalised @ penalised / (2 * C), features.T @ slope + penalised / C


def train(features: Any, target: Any, report: Any) -> Any:
    """Return the coefficients, with the intercept last."""
    start = np.zeros(features.shape[1])
    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 500}
    arguments = (features, target)
    return minimize(objective, start, arguments, "L-BFGS-B", jac=True, callback=report, options=options).x


def main() -> tuple[Any, LogisticRegression]:
    features, held_out, target, held_out_target = data()
    iteration = 0
    print("iteration   loss of the held-out rows, and its 95 % interval")

    def report(coefficients: Any) -> None:
        nonlocal iteration
        if iteration % 5 == 0:
            metric = ce.BinaryCrossEntropy(kind="logits").update(held_out @ coefficients, held_out_target)
            summary = metric.summary()
            print(f"{iteration + 1:9}   {summary.mean:.4f}   {summary.interval[0]:.4f} to {summary.interval[1]:.4f}")
        iteration += 1

    ours = train(features, target, report)
    theirs = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(features[:, :-1], target)
    difference = np.abs(ours - np.append(theirs.coef_, theirs.intercept_)).max()
    right = ((held_out @ ours > 0) == held_out_target).mean()
    print(f"\n{iteration} iterations; {right:.1%} of the held-out rows are classified correctly")
    print(f"largest difference from a coefficient of scikit-learn: {difference:.1e}")
    return ours, theirs


if __name__ == "__main__":
    main()
