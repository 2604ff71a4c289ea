"""The recipe for DataFusion: the bytes are those of one thread, for any partitions, batches and groups."""

import pages
import pyarrow as pa
import pyarrow.compute
import pytest
from datafusion import SessionConfig, SessionContext, col, udaf
from engine_cases import P, binary, expected, table
from paths import ROOT

import streamce as ce
from streamce.integrations import engines

PAGE = ROOT / "docs/integrations" / "datafusion.md"


def test_the_page_runs(tmp_path):
    pages.run(PAGE, tmp_path)


@pytest.fixture(scope="module")
def recipe():
    """Return the names that the page defines, for metrics of one thread."""
    names = {}
    exec(pages.fences(PAGE, "python")[0], names)
    names["template"] = binary()
    return names


def context(recipe, partitions, whole=None):
    """Return a context with the rows in some partitions, of batches of 32 rows."""
    whole = table() if whole is None else whole
    context = SessionContext(SessionConfig().with_target_partitions(4).with_batch_size(32))
    size = len(whole) // partitions
    parts = [whole.select(["p", "y", "label"]).slice(start, size) for start in range(0, len(whole), size)]
    context.register_record_batches("log", [part.to_batches(32) for part in parts])
    context.register_udaf(function(recipe))
    return context


def function(recipe):
    kinds = [pa.float64(), pa.int64()]
    return udaf(recipe["LossState"], kinds, pa.binary(), [pa.binary()], "immutable", name="loss_state")


@pytest.mark.parametrize("partitions", [1, 4, 12])
def test_any_partitions_make_the_bytes_of_one_thread(recipe, partitions):
    rows = context(recipe, partitions).sql("SELECT loss_state(p, y) AS state FROM log").to_pydict()
    assert rows == {"state": [expected("binary")]}


@pytest.mark.parametrize("partitions", [1, 4])
def test_the_state_of_each_group(recipe, partitions):
    rows = (
        context(recipe, partitions).sql("SELECT label, loss_state(p, y) AS state FROM log GROUP BY label").to_pylist()
    )
    whole = ce.Grouped(binary()).update_from(table(), **P, by="label")
    assert {row["label"]: row["state"] for row in rows} == {key: each.to_bytes() for key, each in whole.items()}
    assert engines.merge(*(row["state"] for row in rows)) == expected("binary")


def test_data_frames_filters_and_no_rows(recipe):
    some = context(recipe, 4)
    state = function(recipe)(col("p"), col("y")).alias("state")
    assert some.table("log").aggregate([], [state]).to_pydict() == {"state": [expected("binary")]}
    inside = table().filter(pa.compute.equal(table()["label"], 1))
    found = some.sql("SELECT loss_state(p, y) FILTER (WHERE label = 1) AS state FROM log").to_pydict()
    assert found == {"state": [binary().update_from(inside, **P).to_bytes()]}
    found = some.sql("SELECT loss_state(p, y) AS state FROM log WHERE label = 8").to_pydict()
    assert found == {"state": [binary().to_bytes()]}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT loss_state(p, y) FROM log", "InputError: row 10: column 'p' is 1.5: expected a probability in [0, 1]"),
        ("SELECT loss_state(DISTINCT p, y) FROM log", "DISTINCT is not supported"),
        (
            "SELECT loss_state(p, y) OVER (ORDER BY p ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM log",
            "not implemented",
        ),
    ],
)
def test_invalid_rows_and_queries_are_errors(recipe, query, text):
    p = table()["p"].to_numpy().copy()
    p[460] = 1.5
    whole = table().set_column(0, "p", [p])
    with pytest.raises(Exception, match="DataFusion error") as error:
        context(recipe, 4, whole).sql(query).collect()
    assert text in str(error.value)
