"""The recipes for Polars: the bytes are those of one thread, for any groups, chunks and engines."""

import pages
import polars as pl
import pytest
from engine_cases import CASES, P, binary, expected, table
from paths import ROOT

import streamce as ce
from streamce.integrations import engines

PAGE = ROOT / "docs/integrations" / "polars.md"
BINARY = {"return_dtype": pl.Binary, "returns_scalar": True}
TOTAL = pl.col("state").map_batches(lambda states: engines.merge(*states), **BINARY)


def test_the_page_runs(tmp_path):
    pages.run(PAGE, tmp_path)


def frame(chunks=1):
    size = -(-len(table()) // chunks)
    parts = [pl.DataFrame(table().slice(start, size)) for start in range(0, len(table()), size)]
    return pl.concat(parts, rechunk=False)


def loss(metric, columns):
    """Return the recipe's expression for all columns."""
    rows = pl.struct(pl.all())
    return rows.map_batches(lambda rows: engines.partial(metric, [rows.struct.unnest()], **columns), **BINARY)


@pytest.mark.parametrize("chunks", [1, 7])
@pytest.mark.parametrize("name", CASES)
def test_a_frame_makes_the_bytes_of_one_thread(name, chunks):
    metric, columns = CASES[name]
    some = frame(chunks)
    assert some.n_chunks() == chunks
    assert metric.copy().update_from(some, **columns).to_bytes() == expected(name)
    assert some.select(loss(metric, columns).alias("state")).item() == expected(name)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("key", ["label", "user"])
def test_states_of_groups_add_up_to_those_of_one_thread(name, key):
    metric, columns = CASES[name]
    groups = frame().with_columns(key=key).group_by("key").agg(loss(metric, columns).alias("state"))
    assert groups.schema["state"] == pl.Binary
    assert groups.select(TOTAL).item() == expected(name)


def test_the_state_of_each_group():
    whole = ce.Grouped(binary()).update_from(table(), **P, by="label")
    wanted = {key: metric.to_bytes() for key, metric in whole.items()}
    struct = pl.struct("p", "y").map_batches(
        lambda rows: engines.partial(binary(), [rows.struct.unnest()], **P), **BINARY
    )
    assert dict(frame().group_by("label").agg(struct.alias("state")).iter_rows()) == wanted

    def group(rows):
        state = engines.partial(binary(), [rows], **P)
        return pl.DataFrame({"label": rows["label"][:1], "state": [state]})

    assert dict(frame().group_by("label").map_groups(group).iter_rows()) == wanted


@pytest.mark.parametrize("engine", ["in-memory", "streaming"])
def test_a_lazy_frame_of_files(tmp_path, engine):
    for number in range(3):
        frame()[number * 200 : number * 200 + 200].write_parquet(tmp_path / f"{number}.parquet", row_group_size=30)
    lazy = pl.scan_parquet(tmp_path)
    metric, columns = CASES["groups by text"]
    groups = lazy.with_columns(key="label").group_by("key").agg(loss(metric, columns).alias("state"))
    assert groups.select(TOTAL).collect(engine=engine).item() == expected("groups by text")
    assert metric.copy().update_from(lazy.collect_batches(), **columns).to_bytes() == expected("groups by text")


def test_an_invalid_row_is_an_input_error():
    bad = frame().with_columns(p=pl.when(pl.int_range(pl.len()) == 450).then(1.5).otherwise("p"))
    text = "row 450: column 'p' is 1.5: expected a probability in [0, 1]"
    for call in (
        lambda: bad.select(loss(binary(), P)),
        lambda: bad.with_columns(key=1).group_by("key").agg(loss(binary(), P)),
        lambda: binary().update_from(bad, **P),
    ):
        with pytest.raises(ce.InputError) as error:
            call()
        assert str(error.value).startswith(text)
        assert "\n" not in str(error.value)
