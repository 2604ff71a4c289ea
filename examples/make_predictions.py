"""Write the predictions in this folder: those of simple models for rows that they were not fitted to.

    python examples/make_predictions.py

It needs scikit-learn and pyarrow, and writes

    digits.parquet       1797 handwritten digits: p_0 ... p_9 (float32) and the true label
    breast_cancer.csv    569 tumours: the logit of being benign, and the true target (1: benign)
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = Path(__file__).parent


def held_out(dataset, method):
    """Return ten-fold predictions, each from a model that was not fitted to the row, and the targets."""
    features, target = dataset
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    return cross_val_predict(model, features, target, cv=folds, method=method), target


def digits():
    probs, label = held_out(load_digits(return_X_y=True), "predict_proba")
    columns = {f"p_{c}": probs[:, c].astype(np.float32) for c in range(10)}
    table = pa.table({**columns, "label": label.astype(np.int8)})
    parquet.write_table(table, HERE / "digits.parquet", compression="zstd")


def breast_cancer():
    logit, target = held_out(load_breast_cancer(return_X_y=True), "decision_function")
    csv.write_csv(pa.table({"logit": logit, "target": target}), HERE / "breast_cancer.csv")


if __name__ == "__main__":
    digits()
    breast_cancer()
