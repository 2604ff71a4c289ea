"""Evaluate a multiclass model: the loss by class, workers that lack classes, and labels that are strings.

    python examples/multiclass.py

The data are handwritten digits (1797 images, scikit-learn). A logistic regression was fitted to half of them.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import streamce as ce

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def main():
    features, target = load_digits(return_X_y=True)
    train, test, y_train, y = train_test_split(features / 16, target, test_size=0.5, random_state=0)
    model = LogisticRegression(C=0.5, max_iter=1000).fit(train, y_train)
    logits, probs = model.decision_function(test), model.predict_proba(test)

    total = ce.MulticlassCrossEntropy(kind="logits", per_class=True).update(logits, y)
    print(f"{total.summary()}\n")
    print("class   mean loss   95 % interval        images")
    for name, summary in zip(NAMES, total.per_class(), strict=True):
        low, high = summary.interval
        bar = "#" * round(100 * summary.mean)
        print(f"{name:7} {summary.mean:9.4f}   {low:.4f} to {high:.4f}   {summary.count:5}   {bar}")

    # Each worker lacks classes: the labels of one are below 5, and those of the other are 5 or more.
    low = ce.MulticlassCrossEntropy(kind="logits", per_class=True).update(logits[y < 5], y[y < 5])
    high = ce.MulticlassCrossEntropy(kind="logits", per_class=True).update(logits[y >= 5], y[y >= 5])
    assert (low + high).to_bytes() == total.to_bytes()
    print("\nthe states of two workers that lack classes add up to the same bytes")

    from_probs = ce.MulticlassCrossEntropy().update(probs, y).compute()
    print(f"from logits {total.compute():.12f}, from softmax outputs {from_probs:.12f}")
    assert abs(from_probs - total.compute()) < 1e-12

    # Labels may be strings for log_loss, as in scikit-learn, and for groups. Metrics need the numbers of classes.
    by_name = ce.log_loss(NAMES[y], probs[:, np.argsort(NAMES)], labels=np.sort(NAMES))
    print(f"with labels such as {str(NAMES[y[0]])!r}: {by_name:.12f}")
    groups = ce.Grouped(ce.MulticlassCrossEntropy()).update(probs, y, by=NAMES[y])
    print("worst:", ", ".join(f"{name} {summary.mean:.3f}" for name, summary in groups.worst(3)))
    assert abs(by_name - from_probs) < 1e-12


if __name__ == "__main__":
    main()
