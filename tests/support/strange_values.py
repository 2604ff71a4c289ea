"""Values that no argument expects: objects that raise or lie, odd arrays, and hypothesis strategies of them."""

import datetime
import decimal

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import streamce as ce


class Liar(list):
    shape = (2, 2)
    dtype = "float64"


class Failing:
    def __array__(self, dtype=None, copy=None):
        raise KeyError("gone")


class Speechless:
    def __repr__(self):
        raise RuntimeError("no words")


STRANGE = [
    None, "text", b"bytes", {}, {1: 2}, {0.5}, object(), Failing(), int, ..., NotImplemented, 1j, True,
    decimal.Decimal(2), datetime.date(2020, 1, 1), [None], [[0.5], []], [object()], Liar([0.5]),
    np.zeros(2, dtype="U3"),
    np.zeros(2, dtype="f8,i4"), np.zeros((2, 0, 3)), np.array(None), np.array([0.5, None], dtype=object),
    np.zeros(2, dtype="m8[s]"), np.zeros(2, dtype=">f8"), memoryview(b"abcd"), memoryview(np.zeros((2, 2))), range(3),
    iter([0.5]), [10**30], 10**30, -(2**70), np.float16(0.5), np.ma.masked,
    np.ma.array([0.5, 0.5], mask=[0, 1]), np.broadcast_to(0.5, (3, 3)),
    np.zeros((1,) * (64 if np.__version__ >= "2" else 32)),
]  # fmt: skip

numbers = arrays.arrays(
    dtype=arrays.floating_dtypes(sizes=(16, 32, 64)) | arrays.integer_dtypes() | arrays.boolean_dtypes(),
    shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
strange = st.integers(0, len(STRANGE) - 1).map(lambda i: STRANGE[i])
anything = strange | numbers | st.lists(st.floats() | st.integers()) | st.floats()


def refusal(call):
    """Return the InputError that a call raises, or None."""
    try:
        call()
    except ce.InputError as error:
        return error
    return None
