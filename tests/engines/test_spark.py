"""Spark with any partitions, also if a task fails and is repeated: the bytes are those of one thread."""

import doctest
import os
import signal

import pytest
from engine_cases import CASES, ROWS, P, binary, expected, table
from pyarrow import parquet

import streamce as ce
import streamce.integrations.spark


@pytest.fixture(scope="module")
def rows(spark):
    return spark.createDataFrame(table())


# ---- the same bytes ----


@pytest.mark.parametrize("name", CASES)
def test_tasks_make_the_bytes_of_one_thread(rows, name):
    metric, columns = CASES[name]
    found = ce.integrations.spark.evaluate(rows, metric, **columns)
    assert found.to_bytes() == expected(name)
    assert repr(found) == repr(metric)
    assert metric == metric._new()


@pytest.mark.parametrize("partitions", [1, 3, 20])
@pytest.mark.parametrize("name", ["groups by text", "nulls"])
def test_any_partitions_make_the_same_bytes(rows, name, partitions):
    metric, columns = CASES[name]
    assert ce.integrations.spark.evaluate(rows.repartition(partitions), metric, **columns).to_bytes() == expected(name)


@pytest.mark.parametrize("how", ["raises", "dies"])
def test_a_task_that_is_tried_again_counts_once(spark, rows, tmp_path, how):
    def flaky(batches):
        """Fail half-way in the first attempt of a task."""
        for batch in batches:
            yield batch.slice(0, batch.num_rows // 2)
            try:
                os.close(os.open(tmp_path / "failed", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                yield batch.slice(batch.num_rows // 2)
            else:
                if how == "dies":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError("the disk is gone")

    metric, columns = CASES["groups by text"]
    some = rows.select("p", "y", "user").repartition(4)
    found = ce.integrations.spark.evaluate(some.mapInArrow(flaky, some.schema), metric, **columns)
    assert found.to_bytes() == expected("groups by text")
    assert (tmp_path / "failed").exists()


def test_partitions_that_are_empty(rows):
    assert ce.integrations.spark.evaluate(rows.where("label > 8"), binary(), **P) == binary()


# ---- errors ----


def failure(*given, **columns):
    with pytest.raises(ce.InputError) as error:
        ce.integrations.spark.evaluate(*given, **columns)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_invalid_row_is_named_with_its_partition(spark):
    p = table()["p"].to_numpy().copy()
    p[450] = 1.5
    bad = spark.createDataFrame(table().set_column(0, "p", [p])).coalesce(1)
    assert (
        failure(bad, binary(), **P)
        == "partition 0: row 450: column 'p' is 1.5: expected a probability in [0, 1]; for logits use kind=\"logits\""
    )


def test_a_column_that_is_not_there_is_said_before_anything_is_computed(spark, rows):
    jobs = spark.sparkContext.statusTracker().getJobIdsForGroup()
    assert failure(rows, binary(), preds="q", target="y").startswith("preds: no column 'q'")
    assert failure(rows, binary(), preds="p").startswith("target is missing")
    assert failure(rows, binary(), **P, by="user").startswith("by is given: expected none")
    assert spark.sparkContext.statusTracker().getJobIdsForGroup() == jobs


def test_a_file_that_is_damaged_is_named(spark, tmp_path):
    parquet.write_table(table().select(["p", "y"]), tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    some = spark.read.parquet(str(tmp_path))
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    assert "a.parquet" in failure(some, binary(), **P)


def test_what_other_code_raises_is_said_in_one_line(rows):
    def broken(batches):
        raise ZeroDivisionError("of the user")
        yield from batches

    some = rows.select("p", "y")
    assert failure(some.mapInArrow(broken, some.schema), binary(), **P) == "ZeroDivisionError: of the user"


def test_keys_of_other_kinds_and_what_is_no_data_frame_and_no_template(rows):
    assert failure(table(), binary(), **P).startswith("dataframe is ")
    assert failure(rows, binary().update([0.5], [1]), **P).startswith("metric has samples already")
    assert failure(rows, ce.Sliding(binary(), samples=5), **P).startswith("the last samples of two streams do not")


def test_the_example(spark):
    assert (
        doctest.testmod(streamce.integrations.spark, extraglobs={"spark": spark}, optionflags=doctest.ELLIPSIS).failed
        == 0
    )


def test_the_rows_are_many_enough_for_several_partitions(rows):
    assert rows.count() == ROWS
