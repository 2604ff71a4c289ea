"""Trains a logistic regression with the gradient of streamce, and compares it with scikit-learn's.

    python examples/logistic_regression.py

needs scikit-learn (and SciPy, which comes with it). The data are 569 tumours, each malignant or benign;
a quarter of them is held out. What is minimised is scikit-learn's objective,

    Σ loss + |coefficients|² / 2C

by L-BFGS. The gradient with respect to the logits comes with the loss, in one pass; the chain rule takes
it to the coefficients.
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
    """Features and outcomes to train on, and those held out; a column of ones is the intercept's."""
    features, target = load_breast_cancer(return_X_y=True)
    train, test, train_target, test_target = train_test_split(features, target, random_state=0, stratify=target)
    scaler = StandardScaler().fit(train)
    train, test = (np.column_stack([scaler.transform(x), np.ones(len(x))]) for x in (train, test))
    return train, test, train_target, test_target


def objective(coefficients: Any, features: Any, target: Any) -> tuple[float, Any]:
    """The loss of all rows with its penalty, and the gradient with respect to the coefficients."""
    logits = features @ coefficients
    loss, slope = ce.binary_cross_entropy(logits, target, kind="logits", reduction="sum", grad=True)
    penalised = np.append(coefficients[:-1], 0.0)
    return loss + penalised @ penalised / (2 * C), features.T @ slope + penalised / C


def train(features: Any, target: Any, report: Any) -> Any:
    """The coefficients, the intercept last."""
    start = np.zeros(features.shape[1])
    options = {"gtol": 1e-9, "ftol": 1e-15, "maxiter": 500}
    arguments = (features, target)
    return minimize(objective, start, arguments, "L-BFGS-B", jac=True, callback=report, options=options).x


def main() -> tuple[Any, LogisticRegression]:
    features, held_out, target, held_out_target = data()
    iteration = 0
    print("iteration   loss on rows held out, and its 95 % interval")

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
    print(f"\n{iteration} iterations; {right:.1%} of the rows held out are right")
    print(f"largest difference of a coefficient from scikit-learn's: {difference:.1e}")
    return ours, theirs


if __name__ == "__main__":
    main()
