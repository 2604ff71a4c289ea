"""The examples in the documentation do what they show."""

import doctest
import importlib
import pkgutil

import pytest

import streamce

ENGINES = ("streamce.integrations.dask", "streamce.integrations.spark")  # whose examples tests/engines runs
MODULES = ["streamce"] + [
    info.name
    for info in pkgutil.walk_packages(streamce.__path__, "streamce.")
    if not info.name.endswith("__main__") and info.name not in ENGINES
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_docstrings(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_every_public_name_has_an_example():
    for name in streamce.__all__:
        public = getattr(streamce, name)
        assert ">>>" in public.__doc__, name


def test_public_names_are_sorted_and_there():
    assert streamce.__all__ == sorted(streamce.__all__)
    assert set(streamce.__all__) <= set(vars(streamce))
