"""Chooses the backend before Keras is imported. test_keras_jax.py runs the same tests with the other one."""

import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

# Keras causes a warning when it gives a tensor of torch to NumPy.
FOREIGN = ["ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"]


def pytest_collection_modifyitems(items):
    for item in items:
        for warning in FOREIGN:
            item.add_marker(pytest.mark.filterwarnings(warning))
