"""``to_sql_rows`` and ``from_sql_rows``: any SUM of rows is the merged state, in real databases."""

import sqlite3
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import summands
from engine_sums import check, table

import streamce as ce

NAMES = [*summands.FIXED, *summands.CELLS]
each = pytest.mark.parametrize("name", NAMES)
TERMS = "spec, cell, term, limb"


def by_hand(rows, keys):
    """Add amounts in plain Python."""
    sums = {}
    columns = [*keys, "spec", "cell", "term", "limb"]
    for row in rows.to_pylist():
        key = tuple(row[name] for name in columns)
        sums[key] = sums.get(key, 0) + row["amount"]
    found = {name: list(column) for name, column in zip(columns, zip(*sums, strict=True), strict=True)}
    return found | {"amount": list(sums.values())}


def by_duckdb(rows, keys):
    names = ", ".join([*keys, TERMS])
    relation = duckdb.connect().from_arrow(rows)
    return relation.query(
        "states", f"SELECT {names}, SUM(amount) AS amount FROM states GROUP BY {names}"
    ).to_arrow_table()


def by_sqlite(rows, keys):
    names = [*keys, "spec", "cell", "term", "limb"]
    database = sqlite3.connect(":memory:")
    database.execute(f"CREATE TABLE states ({', '.join(names)}, amount BIGINT)")
    values = zip(*(rows[name].to_pylist() for name in [*names, "amount"]), strict=True)
    database.executemany(f"INSERT INTO states VALUES ({', '.join('?' * (len(names) + 1))})", values)
    listed = ", ".join(names)
    cursor = database.execute(f"SELECT {listed}, SUM(amount) AS amount FROM states GROUP BY {listed}")
    columns = zip(*cursor.fetchall(), strict=True)
    database.close()
    return dict(zip([*names, "amount"], columns, strict=True))


def by_polars(rows, keys):
    names = [*keys, "spec", "cell", "term", "limb"]
    return pl.from_arrow(rows).group_by(names).agg(pl.col("amount").sum())


def by_pandas(rows, keys):
    names = [*keys, "spec", "cell", "term", "limb"]
    return rows.to_pandas().groupby(names, dropna=False, as_index=False)["amount"].sum()


ENGINES = [by_hand, by_duckdb, by_sqlite, by_polars, by_pandas]
engines = pytest.mark.parametrize("engine", ENGINES)


@each
@engines
def test_sums_of_rows_are_merged_states(name, engine):
    check(name, engine)


@each
def test_rows_of_groups_give_the_groups_back(name):
    for groups in summands.groups(name):
        found = ce.from_sql_rows(groups.to_sql_rows(), like=groups)
        assert found.to_bytes() == groups.to_bytes()
        assert found.options == groups.options


@each
def test_no_name_of_a_column_is_a_reserved_word(name):
    reserved = {
        word
        for word, *_ in duckdb.sql("SELECT * FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    }
    sql_92 = {
        "key",
        "value",
        "date",
        "time",
        "sum",
        "group",
        "table",
        "index",
        "order",
        "column",
        "position",
        "size",
        "values",
    }
    assert not set(summands.groups(name)[0].to_sql_rows()) & (reserved | sql_92)


def test_options_that_change_no_loss_are_those_of_like():
    metric = ce.BinaryCrossEntropy(threads=1).update([0.5], [1])
    found = ce.from_sql_rows(metric.to_sql_rows(), like=ce.BinaryCrossEntropy(threads=2, invalid="skip"))
    assert found.options["threads"] == 2
    assert found == metric


def test_a_table_without_rows_is_an_empty_metric():
    none = {name: column[:0] for name, column in ce.MeanLoss().to_sql_rows().items()}
    assert np.isnan(ce.from_sql_rows(none, like=ce.MeanLoss()).compute())
    assert len(ce.from_sql_rows(none | {"day": []}, like=ce.Grouped(ce.MeanLoss()))) == 0
    groups = ce.Grouped(ce.MeanLoss())
    assert len(ce.from_sql_rows(groups.to_sql_rows(), like=groups)) == 0


def test_groups_that_were_subtracted_are_gone():
    a, b = summands.groups("binary")[:2]
    rows = table([a, b, ce.Grouped(a.metric) - a])
    found = ce.from_sql_rows(by_duckdb(rows, ["key_0", "key_1"]), like=a)
    assert found.to_bytes() == b.to_bytes()


def test_many_groups_with_a_mean_are_compact():
    random = np.random.default_rng(0)
    key = random.integers(-50_000, 50_000, 200_000)
    groups = ce.Grouped(ce.BinaryCrossEntropy()).update(random.random(200_000), random.integers(0, 2, 200_000), by=key)
    found = ce.from_sql_rows(groups.to_sql_rows(), like=groups)
    assert found.to_bytes() == groups.to_bytes()
    assert found._state.is_compact


@pytest.mark.parametrize("convert", [Decimal, float, int, np.int32, lambda x: np.float64(x)])
def test_amounts_of_any_type(convert):
    metric = summands.metrics("binary")[0]
    found = metric.to_sql_rows()
    found["amount"] = [convert(int(amount)) for amount in found["amount"]]
    assert ce.from_sql_rows(found, like=metric) == metric


def test_clustered_and_unclustered_states_do_not_add_up():
    clustered = ce.BinaryCrossEntropy().update([0.5, 0.2], [1, 0], cluster=[1, 2])
    other = ce.BinaryCrossEntropy().update([0.9], [1])
    for pair in ((clustered, other), (other, clustered)):
        with pytest.raises(ce.InputError, match="come in clusters and those of the other do not"):
            ce.from_sql_rows(table(pair), like=other)


def test_states_of_different_numbers_of_classes_do_not_add_up():
    three = ce.MulticlassCrossEntropy(per_class=True).update([[0.2, 0.3, 0.5]], [0])
    two = ce.MulticlassCrossEntropy(per_class=True).update([[0.2, 0.8]], [0])
    with pytest.raises(ce.InputError, match="adds states whose part 'cells' has different sizes"):
        ce.from_sql_rows(table([three, two]), like=two)


GOOD = ce.BinaryCrossEntropy().update([0.5, 0.25], [1, 0])


def changed(**columns):
    return {**{name: list(column) for name, column in GOOD.to_sql_rows().items()}, **columns}


def with_entry(column, row, value):
    found = changed()
    found[column][row] = value
    return found


def without_row(row):
    return {name: np.delete(column, row) for name, column in GOOD.to_sql_rows().items()}


class Number:
    def __le__(self, other):
        raise RuntimeError("a number of a third party")

    __ge__ = __le__


@pytest.mark.parametrize("row", range(1, 9))
def test_a_table_without_a_row_is_refused(row):
    with pytest.raises(ce.InputError, match="table lacks rows of the group of row 0, or has some twice"):
        ce.from_sql_rows(without_row(row), like=GOOD)


@pytest.mark.parametrize("row", range(1, 9))
def test_a_table_with_a_row_twice_is_refused(row):
    twice = {name: np.append(column, column[row]) for name, column in GOOD.to_sql_rows().items()}
    with pytest.raises(ce.InputError, match="table lacks rows of the group of row 0, or has some twice"):
        ce.from_sql_rows(twice, like=GOOD)


def test_a_group_without_a_row_is_refused():
    groups = ce.Grouped(ce.MeanLoss()).update([0.25, 0.3, 0.75], by=["a", "b", "b"])
    rows = groups.to_sql_rows()
    last = np.flatnonzero(rows["key_0"] == "b")[-1]
    with pytest.raises(ce.InputError, match=rf"group of row {np.flatnonzero(rows['key_0'] == 'b')[0]}, or has some"):
        ce.from_sql_rows({name: np.delete(column, last) for name, column in rows.items()}, like=groups)


def test_repeated_rows_do_not_wrap_at_64_bits():
    rows = {name: list(column) for name, column in GOOD.to_sql_rows().items()}
    rows["amount"][0] = 2**32 - 1  # so that each amount may be as large as 2^62
    for _ in range(4):
        for name in rows:
            rows[name].append(rows[name][2] if name != "amount" else 2**62)
    with pytest.raises(ce.InputError, match="whose sum is beyond the number of added states"):
        ce.from_sql_rows(rows, like=GOOD)


def test_amounts_in_float32_are_refused():
    """They would have been rounded."""
    with pytest.raises(ce.InputError, match=r"amount\[1\] is .*below 2\^24 in magnitude.* not exact as float32"):
        ce.from_sql_rows(changed(amount=GOOD.to_sql_rows()["amount"].astype(np.float32)), like=GOOD)
    with pytest.raises(ce.InputError, match=r"amount\[1\] is inf.* float16"), np.errstate(all="ignore"):
        ce.from_sql_rows(changed(amount=GOOD.to_sql_rows()["amount"].astype(np.float16)), like=GOOD)


def test_keys_have_an_entry_for_each_row():
    with pytest.raises(ce.InputError, match="day has length 20: expected 9, as amount has"):
        ce.from_sql_rows(changed(day=list(range(20))), like=ce.Grouped(ce.BinaryCrossEntropy()))


def test_a_relation_and_a_stream_are_tables():
    relation = duckdb.connect().from_arrow(pa.table(GOOD.to_sql_rows()))
    assert ce.from_sql_rows(relation, like=GOOD) == GOOD
    assert ce.from_sql_rows(relation.to_arrow_reader(4), like=GOOD) == GOOD


def test_categories_without_rows_are_no_groups():
    groups = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=["a", "b"])
    frame = pd.DataFrame(groups.to_sql_rows()).astype({"key_0": "category"})
    assert ce.from_sql_rows(frame[frame["key_0"] == "b"], like=groups).compute() == {"b": 2.0}


def test_a_column_of_nulls_is_the_group_none():
    groups = ce.Grouped(ce.MeanLoss()).update([1.0, 2.0], by=[None, None])
    rows = pa.table(groups.to_sql_rows())
    assert rows.schema.field("key_0").type == pa.null()
    assert ce.from_sql_rows(rows, like=groups) == groups


@pytest.mark.parametrize("convert", [list, lambda starts: [f"{start}" for start in starts.tolist()]])
def test_keys_of_periods_are_timestamps(convert):
    """SQLite returns them as text."""
    hours = ce.Grouped(ce.MeanLoss(), period="1h").update([1.0, 2.0, 6.0], by_time=[0, 3600, 86400])
    rows = hours.to_sql_rows(["start"])
    assert ce.from_sql_rows(rows | {"start": convert(rows["start"])}, like=hours) == hours
    days = ce.Grouped(ce.MeanLoss(), period="1d").update([1.0, 2.0, 6.0], by_time=[0, 3600, 86400])
    assert ce.from_sql_rows(rows, like=days) == days
    with pytest.raises(ce.InputError, match=r"start\[0\] is 'monday': expected a moment"):
        ce.from_sql_rows(rows | {"start": ["monday"] * len(rows["start"])}, like=hours)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (3, r"table is 3: expected a DataFrame, an Arrow table or a mapping, with the columns spec, cell"),
        ({"spec": []}, "table has no column 'cell', 'term', 'limb' and 'amount'|table has no column"),
        (changed(day=list(range(9))), "table has the columns 'day': expected no keys, or like=Grouped"),
        (changed(amount=[1]), "spec has length 9: expected 1, as amount has"),
        (
            ce.MeanLoss().update([1.0]).to_sql_rows(),
            r"spec\[0\] is '[0-9a-f]{32}': expected '[0-9a-f]{32}', the class and",
        ),
        (with_entry("spec", 2, "x"), r"spec\[2\] is 'x'"),
        (with_entry("cell", 2, "total.9999999999"), r"cell\[2\] is 'total.9999999999': expected one that to_sql_rows"),
        (with_entry("cell", 2, "total.5"), "table holds sums that are not understood"),
        (with_entry("cell", 2, "other.0"), r"cell\[2\] is 'other.0'"),
        (with_entry("cell", 2, None), r"cell\[2\] is None"),
        (with_entry("term", 2, "what"), r"term\[2\] is 'what': expected one that to_sql_rows"),
        (with_entry("limb", 2, 68), r"limb\[2\] is 68, and n has no such digit"),
        (with_entry("limb", 2, -1), r"limb\[2\] is -1"),
        (with_entry("limb", 2, 0.5), r"limb\[2\] is 0.5: expected a whole number"),
        (with_entry("amount", 2, 0.5), r"amount\[2\] is 0.5: expected a whole number"),
        (with_entry("amount", 2, 2.0**60), r"amount\[2\] is .* larger ones are not exact as float64"),
        (with_entry("amount", 2, 2**70), r"amount\[2\] is .*: expected a whole number of int64"),
        (with_entry("amount", 2, 2**32), r"amount\[2\] is 4294967296: expected at most 1 \* 2\^31"),
        (with_entry("amount", 2, None), r"amount\[2\] is None: expected a whole number"),
        (with_entry("amount", 2, "7"), "amount"),
        (
            without_row(0),
            "table has 0 states in the group of row 0: expected 1 to 4294967295, the sum of the rows with",
        ),
        (
            with_entry("cell", 2, ""),
            r"term\[2\] is 'n', which the cell '' does not have: expected one that to_sql_rows",
        ),
        (with_entry("cell", 2, "total"), r"term\[2\] is 'n', which the cell 'total' does not have"),
        (with_entry("term", 2, "size"), r"limb\[2\] is 32, and size has no such digit"),
        (with_entry("cell", 0, "total.0"), r"term\[0\] is 'states', which the cell 'total.0' does not have"),
        (with_entry("cell", 2, "total.00"), r"cell\[2\] is 'total.00'"),
        (with_entry("limb", 0, 1), r"limb\[0\] is 1, and states has no such digit"),
        (with_entry("amount", 2, 2.0**53), r"amount\[2\] is 9007199254740992.0: expected a whole number below 2\^53"),
        (with_entry("amount", 2, Number()), r"amount\[2\] is .*: expected a whole number of int64"),
        (with_entry("amount", 2, Decimal("1e999999999")), r"amount\[2\] is .*: expected a whole number of int64"),
        (changed(amount=np.ma.masked_array(np.ones(9, int), [0, 0, 1] + [0] * 6)), r"amount\[2\] is masked"),
        (pd.concat([pd.DataFrame(GOOD.to_sql_rows())] * 2, axis=1), "table has the column 'spec' twice"),
        (pl.LazyFrame(GOOD.to_sql_rows()), "table is <LazyFrame at .*: expected a DataFrame, an Arrow table"),
    ],
)
def test_other_tables_are_refused(table, expected):
    with pytest.raises(ce.InputError, match=expected):
        ce.from_sql_rows(table, like=GOOD)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (ce.Sliding(ce.MeanLoss(), period="1h", step="1min"), "the state of a Sliding has no rows for a database"),
        (ce.Decayed(ce.MeanLoss(), half_life="1h"), "the state of a Decayed has no rows"),
        (ce.Collection({"a": ce.MeanLoss()}), "the state of a Collection has no rows"),
        (ce.Grouped(ce.Collection({"a": ce.MeanLoss()})), "the state of a Collection has no rows"),
    ],
)
def test_states_without_rows(metric, expected):
    with pytest.raises(ce.InputError, match=expected):
        metric.to_sql_rows()
    with pytest.raises(ce.InputError, match=expected):
        ce.from_sql_rows(GOOD.to_sql_rows(), like=metric)


def test_like_must_be_a_metric():
    with pytest.raises(ce.InputError, match="like is 3: expected a metric"):
        ce.from_sql_rows(GOOD.to_sql_rows(), like=3)


def test_groups_need_keys():
    with pytest.raises(ce.InputError, match="table has no columns of keys"):
        ce.from_sql_rows(GOOD.to_sql_rows(), like=ce.Grouped(ce.BinaryCrossEntropy()))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("a",), "keys has 1 names: expected 2, one for each part of a key"),
        (("a", "a"), r"keys\[1\] is 'a': expected different texts"),
        (("a", "spec"), r"keys\[1\] is 'spec': expected different texts, none of which is spec, cell"),
        (("a", "Amount"), r"keys\[1\] is 'Amount': expected different texts"),
        (("a", "A"), r"keys\[1\] is 'A': expected different texts"),
        (("a", 3), r"keys\[1\] is 3"),
        (3, "keys has 1 names: expected 2"),
        ((), "keys has 0 names: expected 2"),
    ],
)
def test_names_of_keys_are_checked(keys, expected):
    with pytest.raises(ce.InputError, match=expected):
        summands.groups("binary")[0].to_sql_rows(keys)


def test_names_of_keys_of_no_groups():
    """A day without samples has the columns of other days."""
    rows = ce.Grouped(ce.MeanLoss()).to_sql_rows(["country", "hour"])
    assert list(rows) == ["country", "hour", "spec", "cell", "term", "limb", "amount"]
    assert {len(column) for column in rows.values()} == {0}
    with pytest.raises(ce.InputError, match="keys has 0 names: expected 1"):
        ce.Grouped(ce.MeanLoss()).to_sql_rows([])
