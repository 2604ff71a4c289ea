"""Lengths of time: timedeltas, seconds as numbers, and text with a unit."""

import datetime as dt
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce
from streamce.keys import periods

TIMES = [0.0, 1000.0, 4000.0, 9000.0]
WRAPPERS = {
    "half_life": lambda length: ce.Decayed(ce.MeanLoss(), half_life=length),
    "period": lambda length: ce.Grouped(ce.MeanLoss(), period=length),
    "window": lambda length: ce.Sliding(ce.MeanLoss(), period=length, step=length),
}


@pytest.mark.parametrize("length", [3600, 3600.0, np.int64(3600), np.float32(3600), Fraction(3600), "60min",
                                    dt.timedelta(hours=1), np.timedelta64(1, "h")], ids=repr)  # fmt: skip
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_number_is_in_seconds(wrapper, length):
    make = WRAPPERS[wrapper]
    expected = make("1h").update([1.0, 2.0, 3.0, 5.0], by_time=TIMES)
    found = make(length).update([1.0, 2.0, 3.0, 5.0], by_time=TIMES)
    assert found.to_bytes() == expected.to_bytes()
    assert repr(found) == repr(expected)


@given(st.integers(1, 10**12))
def test_seconds_are_read_as_their_decimal_text(length):
    assert periods.microseconds(float(f"{length // 10**6}.{length % 10**6:06}")) == length


@pytest.mark.parametrize(
    "length", [0, -1.0, 1e-7, 0.1234567, float("nan"), float("inf"), 1e300, True, "60", None], ids=repr
)
def test_what_is_no_length_is_an_error(length):
    with pytest.raises(ce.InputError) as raised:
        ce.Decayed(ce.MeanLoss(), half_life=length)
    assert raised.value.argument == "half_life"
    assert "a number of seconds" in str(raised.value)


def test_nanoseconds_are_not_cut():
    for length in (pd.Timedelta(1500, "ns"), np.timedelta64(1500, "ns")):
        with pytest.raises(ce.InputError):
            ce.Decayed(ce.MeanLoss(), half_life=length)
    assert periods.microseconds(pd.Timedelta(2000, "ns")) == 2
