"""Decimals are read as the nearest float64, from arrays, streams and files."""

from decimal import Decimal, localcontext

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce
from streamce.cli.main import main
from streamce.inputs import arrow

DIGITS = {"decimal128": 38, "decimal256": 76} | ({"decimal32": 9, "decimal64": 18} if hasattr(pa, "decimal32") else {})
CLOSE_TO_ONE = pa.array([Decimal("0.999999999999999")], pa.decimal128(16, 15))


@given(st.sampled_from(sorted(DIGITS)), st.data())
def test_each_decimal_is_the_nearest_double(kind, data):
    precision = data.draw(st.integers(1, DIGITS[kind]))
    scale = data.draw(st.integers(-3, precision))
    largest = 10**precision - 1
    unscaled = data.draw(st.lists(st.none() | st.integers(-largest, largest), max_size=20))
    start = data.draw(st.integers(0, 3))
    with localcontext(prec=100):
        decimals = [None if n is None else Decimal(n).scaleb(-scale) for n in unscaled]
    values, null = arrow.flat(pa.array(decimals, getattr(pa, kind)(precision, scale))[start:])
    found = [None if null is not None and null[i] else value for i, value in enumerate(values.tolist())]
    assert found == [None if each is None else float(each) for each in decimals[start:]]


def test_a_loss_of_decimals_is_that_of_their_doubles(tmp_path, capsys):
    expected = ce.BinaryCrossEntropy().update([0.999999999999999], [0])
    assert expected.compute() == pytest.approx(34.539576, abs=5e-7)
    table = pa.table({"p": CLOSE_TO_ONE, "y": [0]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert main(["eval", str(tmp_path / "a.parquet"), "--task", "binary", "--preds", "p", "--target", "y",
                 "--state", str(tmp_path / "S")]) == 0  # fmt: skip
    for found in (
        ce.BinaryCrossEntropy().update(CLOSE_TO_ONE, [0]),
        ce.BinaryCrossEntropy().update_from(table, preds="p", target="y"),
        ce.load(tmp_path / "S"),
    ):
        assert found.to_bytes() == expected.to_bytes()
