"""Moments: datetimes, text and numbers, in the Python API and in files."""

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamce as ce
from streamce.cli.main import main
from streamce.keys import moments, periods

NAN = float("nan")
HOUR = dt.datetime(2024, 3, 31, 1)
BINARY = ["--task", "binary", "--preds", "p", "--target", "y", "--period", "1h", "--by-time", "t"]
SECONDS = 1_711_848_600  # 01:30 in this hour
# Texts of moments in this hour.
TEXTS = [
    "2024-03-31T01:30:00.123456789Z", "2024-03-31T01:59:59.999999999Z", "2024-03-31T01:30:00Z", "2024-03-31T01:30Z",
    "2024-03-31T01Z", "2024-03-31 01:30:00", "2024-03-31T03:30:00+02:00", "2024-03-31T03:30:00+0200",
    "2024-03-31T03:30:00+02", "2024-03-30T23:30:00-02:00", "2024-03-31 01:30:00 UTC", "2024-03-31T01:00:00.0",
    "2024-03-31T01:59:59.99999999999999999999", "1711848600", "1711848600.5", "1.7118486e9",
]  # fmt: skip
NUMBERS = {
    "s": [SECONDS, SECONDS - 30 * 60, SECONDS + 30 * 60 - 1],
    "ms": [SECONDS * 1000, SECONDS * 1000 + 30 * 60_000 - 1],
    "us": [SECONDS * 10**6, SECONDS * 10**6 + 30 * 60 * 10**6 - 1],
    "ns": [SECONDS * 10**9 + 1, (SECONDS + 30 * 60) * 10**9 - 1],
}


def micro(source, unit="s"):
    """Return the microseconds of moments, None for missing ones."""
    column = moments.convert_moments(moments.Moments(source, unit), "by_time")
    return column.integers.tolist() if column.codes is None else [column.distinct[i] for i in column.codes.tolist()]


def hours_of(source):
    metric = ce.Grouped(ce.MeanLoss(), period="1h")
    return metric.update(np.zeros(len(source)), by_time=source).keys()


@pytest.mark.parametrize("text", TEXTS)
def test_text(text):
    for source in ([text], np.array([text]), np.array([text], object), pd.Series([text]),
                   pd.Series([text], dtype="string"), pl.Series([text]), pa.array([text]),
                   pa.array([text], pa.large_string()), pa.array([text], pa.string_view()),
                   pa.array([text]).dictionary_encode(),
                   pa.chunked_array([[text], []]), pd.Series([text], dtype="category")):  # fmt: skip
        assert hours_of(source) == [HOUR]


def test_texts_of_all_forms_together():
    assert hours_of(TEXTS) == [HOUR]
    assert hours_of(pa.array(TEXTS)) == [HOUR]
    assert micro(pa.array([*TEXTS, None, "", "NA"])) == micro([*TEXTS, None, "", None])


def moment_text(draw):
    moment = draw(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)))
    text = moment.strftime("%m-%d")
    text = f"{moment.year:04}-{text}{draw(st.sampled_from('T '))}{moment:%H:%M:%S}"
    fraction = draw(st.text("0123456789", max_size=9))
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    zone = draw(st.sampled_from(["", "Z", "+02:00", "-0930", "+05"]))
    offset = {"+02:00": 120, "-0930": -570, "+05": 300}.get(zone, 0)
    ticks = (moment.replace(microsecond=0) - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)
    return f"{text}{'.' * bool(fraction)}{fraction}{zone}", ticks + micros - offset * 60_000_000


@settings(deadline=None, max_examples=200)
@given(st.lists(st.composite(moment_text)(), min_size=1, max_size=5))
def test_text_is_read_alike_by_all(pairs):
    texts, expected = [text for text, _ in pairs], [ticks for _, ticks in pairs]
    assert micro(texts) == expected
    assert micro(pa.array(texts)) == expected
    assert [micro(pa.array([text]))[0] for text in texts] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2016-12-31T23:59:60Z", "expected seconds from 00 to 59, because UTC is counted without leap seconds"),
        ("noon", "expected a moment such as 2024-03-31T01:30:00Z, or seconds since 1970"),
        ("2024-02-30", r"expected a moment such as .* \(day is out of range for month\)"),
        ("2024-03-31T24:00:00", r"expected a moment .*\(hour must be in 0..23\)"),
        ("2024-03-31T01:30:00+25:00", r"expected a moment .*\(hour must be in 0..23\)"),
        ("31.03.2024", "expected a moment such as"),
        ("0000-01-01", "expected a moment such as"),
        ("9999-12-31T23:59:59-05:00", "expected years from 1 to 9999 in UTC"),
        ("1e20", "expected seconds since 1970, in the years 1 to 9999"),
        ("nan!", "expected a moment"),
    ],
)
def test_what_is_no_moment_is_named(text, words):
    for source in (["2024-03-31", text], pa.array(["2024-03-31", text]), pa.array([text, "x"])[:1]):
        metric = ce.Grouped(ce.MeanLoss(), period="1h")
        index = len(source) - 1
        with pytest.raises(ce.InputError, match=rf"^by_time\[{index}\] is .*: {words}") as caught:
            metric.update(np.zeros(len(source)), by_time=source)
        assert caught.value.index == (index,)
        assert metric == ce.Grouped(ce.MeanLoss(), period="1h")


@pytest.mark.parametrize("unit", NUMBERS)
def test_numbers(unit):
    factor = moments.UNITS[unit]
    for number in NUMBERS[unit]:
        expected = number * factor[0] // factor[1]
        for source in (np.array([number]), [number], pa.array([number]), pa.array([number, None])[:1],
                       np.array([number], np.uint64), pa.array([Decimal(number)], pa.decimal128(38, 0)),
                       pa.array([str(number)]), [str(number)], [number, None][:1]):  # fmt: skip
            assert micro(source, unit) == [expected]
        assert periods.floor(np.array([expected]), 3_600_000_000).tolist() == [1_711_846_800_000_000]


def test_missing_numbers():
    expected = [SECONDS * 10**6, None]
    for source in ([SECONDS, None], [float(SECONDS), NAN], np.array([SECONDS, NAN]), pa.array([SECONDS, None]),
                   pa.array([float(SECONDS), NAN]), pd.Series([SECONDS, None], dtype="Int64"),
                   pd.Series([SECONDS, None]), pl.Series([SECONDS, None]), pa.array([str(SECONDS), None])):  # fmt: skip
        assert micro(source) == expected


@pytest.mark.parametrize(("unit", "number", "expected"), [
    ("s", 0.1, 100_000), ("s", 3599.9999999, 3_600_000_000), ("ms", 0.29, 290), ("us", 3_599_999_999.9, 3_599_999_999),
    ("ns", 3_599_999_999_999.0, 3_599_999_999), ("ns", -1.0, -1), ("us", -0.5, -1), ("s", -0.5, -500_000),
])  # fmt: skip
def test_fractions(unit, number, expected):
    assert micro([number], unit) == [expected]


def test_fractions_below_microseconds_never_move_to_the_next_period():
    assert micro([1_711_850_399_999_999_999], "ns") == [1_711_850_399_999_999]
    assert micro(pa.array(["1711850399999999999"]), "ns") == [1_711_850_399_999_999]
    assert micro([-1], "ns") == [-1]


@pytest.mark.parametrize(("unit", "hint"), [("ms", "milliseconds"), ("us", "microseconds"), ("ns", "nanoseconds")])
def test_a_finer_unit_is_advised(unit, hint):
    number = NUMBERS[unit][0]
    with pytest.raises(ce.InputError, match=f"expected seconds since 1970, in the years 1 to 9999; for {hint} use"):
        hours_of([number])


def table(column, rows=1):
    return pa.table({"p": [0.5] * rows, "y": [1] * rows, "t": column})


def write(path, column):
    if path.suffix == ".parquet":
        pq.write_table(table(column, len(column)), path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table(column, len(column)).schema) as file:
            file.write_table(table(column, len(column)))
    elif path.suffix == ".csv":
        path.write_text("p,y,t\n" + "".join(f"0.5,1,{'' if t is None else t}\n" for t in column.to_pylist()))
    else:
        path.write_text("".join(json.dumps({"p": 0.5, "y": 1, "t": t}) + "\n" for t in column.to_pylist()))
    return path


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv", "jsonl"])
@pytest.mark.parametrize("text", TEXTS)
def test_text_in_files(tmp_path, capsys, ending, text):
    path = write(tmp_path / f"a.{ending}", pa.array([text]))
    assert main(["eval", str(path), *BINARY, "--json"]) == 0
    assert [group["key"] for group in json.loads(capsys.readouterr().out)["groups"]] == ["2024-03-31T01:00:00Z"]
    assert main(["eval", str(path), *BINARY]) == 0
    assert "2024-03-31 01:00:00 UTC" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv", "jsonl"])
@pytest.mark.parametrize("unit", NUMBERS)
@pytest.mark.parametrize("as_float", [False, True])
def test_numbers_in_files(tmp_path, capsys, ending, unit, as_float):
    numbers = [float(SECONDS) * n / SECONDS for n in NUMBERS[unit][:1]] if as_float else NUMBERS[unit]
    path = write(tmp_path / f"a.{ending}", pa.array(numbers))
    assert main(["eval", str(path), *BINARY, "--time-unit", unit, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [group["key"] for group in result["groups"]] == ["2024-03-31T01:00:00Z"]
    assert result["options"]["time_unit"] == unit


def test_csv_cells_of_all_forms(tmp_path, capsys):
    path = write(tmp_path / "a.csv", pa.array([*TEXTS, None, "NA"]))
    assert main(["eval", str(path), *BINARY, "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert {group["key"]: group["count"] for group in groups} == {None: 2, "2024-03-31T01:00:00Z": len(TEXTS)}


def test_an_error_names_the_row_and_the_option(tmp_path, capsys):
    path = write(tmp_path / "a.csv", pa.array(["0", "1711848600000"]))
    assert main(["eval", str(path), *BINARY]) == 1
    line = capsys.readouterr().err
    assert "row 1: column 't' is 1711848600000: expected seconds since 1970" in line
    assert "; for milliseconds use --time-unit ms" in line
    path = write(tmp_path / "b.csv", pa.array(["2016-12-31T23:59:59Z", "2016-12-31T23:59:60Z"]))
    assert main(["eval", str(path), *BINARY]) == 1
    assert "row 1: column 't' is '2016-12-31T23:59:60Z': expected seconds from 00 to 59" in capsys.readouterr().err


def test_a_unit_needs_a_column_of_times(tmp_path, capsys):
    assert main(["eval", "x.csv", *BINARY[:6], "--time-unit", "ms"]) == 2
    assert "--time-unit needs --by-time" in capsys.readouterr().err


@pytest.mark.parametrize("unit", NUMBERS)
def test_streams(unit):
    wrappers = (ce.Grouped(ce.MeanLoss(), period="1h"), ce.Sliding(ce.MeanLoss(), period="2h", step="1h"),
                ce.Decayed(ce.MeanLoss(), half_life="1h"))  # fmt: skip
    numbers = NUMBERS[unit]
    stream = pa.table({"x": np.arange(len(numbers)) * 1.0, "t": numbers})
    for wrapper in wrappers:
        clocks = np.array(numbers).astype(f"datetime64[{unit}]")
        expected = type(wrapper)(wrapper.metric, **lengths(wrapper))
        expected.update(stream["x"], by_time=clocks)
        assert wrapper.update_from(stream, preds="x", by_time="t", time_unit=unit).to_bytes() == expected.to_bytes()


def lengths(wrapper):
    """Return the lengths of time among the options of a wrapper."""
    return {name: value for name, value in wrapper.options.items() if name in ("period", "step", "half_life") and value}


def test_a_wrong_unit_is_named():
    for unit in ("m", None, 3, []):
        with pytest.raises(ce.InputError, match=r"^time_unit is .*: expected one of s, ms, us, ns"):
            ce.Grouped(ce.MeanLoss(), period="1h").update_from(table([1]), preds="p", by_time="t", time_unit=unit)


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("wrong", [[3], [0, 7], [2, 3, 4], list(range(8))])
def test_rows_without_a_moment_are_left_out_if_the_user_allows_it(tmp_path, capsys, ending, wrong):
    texts = ["noon" if i in wrong else "2024-03-31T01:30:00Z" for i in range(8)]
    path = write(tmp_path / f"a.{ending}", pa.array(texts))
    assert main(["eval", str(path), *BINARY, "--invalid", "skip", "--json"]) == (len(wrong) == 8)
    shown = capsys.readouterr()
    result = json.loads(shown.out)
    assert [group["count"] for group in result["groups"]] == [8 - len(wrong)] * (len(wrong) < 8)
    assert result["rows_unreadable"] == len(wrong)
    assert f"first: {path}: row {wrong[0]}: column 't' is 'noon': expected a moment such as" in shown.err
    assert main(["eval", str(path), *BINARY]) == 1
    assert f"row {wrong[0]}: column 't' is 'noon': expected a moment such as" in capsys.readouterr().err
