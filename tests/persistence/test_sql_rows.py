"""``to_sql_rows`` and ``from_sql_rows``: any SUM of rows is the merged state, in real databases."""

import sqlite3
from decimal import Decimal

import duckdb
import numpy as np
import polars as pl
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


def without_first_row():
    return {name: column[1:] for name, column in GOOD.to_sql_rows().items()}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (3, r"table is 3: expected a DataFrame, an Arrow table or a mapping, with the columns spec, cell"),
        ({"spec": []}, "table has no column 'cell', 'term', 'limb' and 'amount'|table has no column"),
        (changed(day=list(range(8))), "table has the columns 'day': expected no keys, or like=Grouped"),
        (changed(day=list(range(20))), "day has length 20: expected 8, as amount has"),
        (changed(amount=[1]), "spec has length 8: expected 1, as amount has"),
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
        (with_entry("amount", 2, 2.0**60), r"amount\[2\] is .* larger ones are not exact as floats"),
        (with_entry("amount", 2, 2**70), r"amount\[2\] is .*: expected a whole number of int64"),
        (with_entry("amount", 2, 2**32), r"amount\[2\] is 4294967296: expected at most 1 \* 2\^31"),
        (with_entry("amount", 2, None), r"amount\[2\] is None: expected a whole number"),
        (with_entry("amount", 2, "7"), "amount"),
        (without_first_row(), "table has 0 states in a group: expected 1 to 4294967295"),
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
        (("a", 3), r"keys\[1\] is 3"),
    ],
)
def test_names_of_keys_are_checked(keys, expected):
    with pytest.raises(ce.InputError, match=expected):
        summands.groups("binary")[0].to_sql_rows(keys)
