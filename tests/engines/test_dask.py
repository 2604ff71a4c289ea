"""Dask with any partitions, also if a worker is killed: the bytes are those of one thread."""

import doctest
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array
import dask.bag
import dask.dataframe
import numpy as np
import pandas as pd
import pytest
from engine_cases import CASES, ROWS, P, binary, expected, table

import streamce as ce
import streamce.integrations.dask


def frame(**columns):
    """Return the rows as a pandas frame with Arrow's types, because pandas has no lists and no null integers."""
    return table().to_pandas(types_mapper=pd.ArrowDtype).assign(**columns)


def collection(partitions, **columns):
    return dask.dataframe.from_pandas(frame(**columns), npartitions=partitions)


# ---- the same bytes ----


@pytest.mark.parametrize("partitions", [1, 7, 40])
@pytest.mark.parametrize("name", CASES)
def test_worker_processes_make_the_bytes_of_one_thread(client, name, partitions):
    metric, columns = CASES[name]
    found = ce.integrations.dask.evaluate(collection(partitions), metric, **columns)
    assert found.to_bytes() == expected(name)
    assert repr(found) == repr(metric)
    assert metric == metric._new()


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_without_a_client_it_is_the_scheduler_that_dask_is_set_to(scheduler):
    metric, columns = CASES["groups by text"]
    with dask.config.set(scheduler=scheduler):
        found = ce.integrations.dask.evaluate(collection(5), metric, **columns)
    assert found.to_bytes() == expected("groups by text")


def test_the_current_client_is_the_one_that_is_asked(client):
    def where(part):
        return part.assign(p=0.25 if os.getpid() == here else 0.5)

    here = os.getpid()
    found = ce.integrations.dask.evaluate(collection(4).map_partitions(where), binary(), **P)
    assert found == binary().update(np.full(ROWS, 0.5), table()["y"].to_numpy())


@pytest.mark.parametrize("partitions", [1, 9])
@pytest.mark.parametrize("name", ["nulls", "groups by text", "lists of classes", "sequences"])
def test_bags_of_records(client, name, partitions):
    metric, columns = CASES[name]
    bag = dask.bag.from_sequence(table().to_pylist(), npartitions=partitions)
    assert ce.integrations.dask.evaluate(bag, metric, **columns).to_bytes() == expected(name)


def test_bags_of_tables_and_lists_of_delayed_tables(client):
    parts = [table().slice(start, 70) for start in range(0, ROWS, 70)]
    metric, columns = CASES["nulls"]
    for some in (dask.bag.from_sequence(parts, npartitions=3), [dask.delayed(part) for part in parts]):
        assert ce.integrations.dask.evaluate(some, metric, **columns).to_bytes() == expected("nulls")


def test_records_whose_numbers_happen_to_be_whole(client):
    records = [{"p": 1, "w": 2, "y": 1}, {"p": 0.5, "w": 0.5, "y": 0}, {"p": 0, "w": None, "y": 1}]
    whole = binary(invalid="skip").update_from(
        table().from_pydict({"p": [1.0, 0.5, 0.0], "w": [2.0, 0.5, None], "y": [1, 0, 1]}), **P, weight="w"
    )
    bag = dask.bag.from_sequence(records, npartitions=3)
    assert ce.integrations.dask.evaluate(bag, binary(invalid="skip"), **P, weight="w") == whole


@pytest.mark.parametrize("partitions", [1, 3])
def test_records_of_lists_whose_numbers_happen_to_be_whole(partitions):
    lists = [[1, 0], [0.5, 0.5], [0, 1]]
    whole = ce.MulticlassCrossEntropy().update(np.array(lists), [0, 1, 1])
    records = [{"p": each, "y": label} for each, label in zip(lists, [0, 1, 1], strict=True)]
    bag = dask.bag.from_sequence(records, npartitions=partitions)
    assert ce.integrations.dask.evaluate(bag, ce.MulticlassCrossEntropy(), **P) == whole


def test_an_index_is_no_column():
    """A glob would match the index. In one frame the partitions have it, and in the other they number their rows."""
    whole = ce.MulticlassCrossEntropy(kind="logits").update(frame()[["q_0", "q_1"]].to_numpy(float), frame()["y"])
    for index in (pd.Index(np.arange(ROWS) / 7, name="q_2"), pd.RangeIndex(ROWS, name="q_2")):
        some = dask.dataframe.from_pandas(frame()[["q_0", "q_1", "y"]].set_index(index), npartitions=3)
        found = ce.integrations.dask.evaluate(some, ce.MulticlassCrossEntropy(kind="logits"), preds="q_*", target="y")
        assert found == whole


def test_columns_whose_names_are_numbers():
    some = dask.dataframe.from_pandas(frame()[["p", "y"]].set_axis([0, 1], axis=1), npartitions=3)
    assert ce.integrations.dask.evaluate(some, binary(), preds="0", target="1").to_bytes() == expected("binary")


def test_partitions_that_are_empty(client):
    some = collection(6)
    some = some[some["label"] > 8]
    assert ce.integrations.dask.evaluate(some, binary(), **P) == binary()
    assert ce.integrations.dask.evaluate([], binary(), **P) == binary()


def test_a_worker_killed_half_way_changes_no_bit(client, tmp_path):
    def part(number):
        """Write the number of the process to a file. The tenth partition waits in the process that is to be killed."""
        (tmp_path / f"{number}.{os.getpid()}").touch()
        while number == 9 and not (tmp_path / "go").exists():
            time.sleep(0.02)
        return table().slice(number * 50, 50)

    metric, columns = CASES["groups by text"]
    parts = [dask.delayed(part)(number) for number in range(ROWS // 50)]
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(ce.integrations.dask.evaluate, parts, metric, **columns)
        for _ in range(3000):
            waiting = [*tmp_path.glob("9.*")]
            if waiting and len([*tmp_path.iterdir()]) >= len(parts) - 2:  # some may wait for this process
                break
            time.sleep(0.02)
        [victim] = waiting
        os.kill(int(victim.suffix[1:]), signal.SIGKILL)
        (tmp_path / "go").touch()
        assert found.result(timeout=60).to_bytes() == expected("groups by text")
    assert len([*tmp_path.glob("9.*")]) == 2


# ---- errors ----


def failure(*given, **columns):
    with pytest.raises(ce.InputError) as error:
        ce.integrations.dask.evaluate(*given, **columns)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_invalid_row_is_named_with_its_partition(client):
    p = table()["p"].to_numpy().copy()
    p[450] = 1.5
    expected = (
        "partition 4: row 50: column 'p' is 1.5: expected a probability in [0, 1]; for logits use kind=\"logits\""
    )
    assert failure(collection(6, p=p), binary(), **P) == expected
    with dask.config.set(scheduler="threads"):
        assert failure(collection(6, p=p), binary(), **P) == expected


def test_an_error_on_a_worker_has_all_that_it_has_here(client):
    p = table()["p"].to_numpy().copy()
    p[450] = np.inf
    with pytest.raises(ce.InputError) as error:
        ce.integrations.dask.evaluate(collection(6, p=p), binary(), **P)
    assert (error.value.argument, error.value.index, error.value.value) == ("preds", (50,), np.inf)


def test_a_column_that_is_not_there_is_said_before_anything_is_computed(client, tmp_path):
    def part(number):
        (tmp_path / str(number)).touch()
        return frame()

    some = dask.dataframe.from_map(part, range(3), meta=frame().head(0))
    assert failure(some, binary(), preds="q", target="y").startswith("preds: no column 'q'")
    assert failure(some, binary(), preds="p").startswith("target is missing")
    assert failure(some, binary(), **P, by="user").startswith("by is given: expected none")
    assert [*tmp_path.iterdir()] == []


def test_a_partition_that_cannot_be_computed_is_named(client):
    def part(number):
        if number == 2:
            raise OSError("b.parquet: no magic bytes\nand a second line")
        return table()

    parts = [dask.delayed(part)(number) for number in range(9)]
    assert failure(parts, binary(), **P) == "partition 2: OSError: b.parquet: no magic bytes"


def test_a_partition_that_kills_its_workers_is_named(client):
    def part(number):
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return table()

    with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        # Fail in the last partition, because Dask also blames those that the dead worker had not started.
        found = failure([dask.delayed(part)(number) for number in range(2)], binary(), **P)
    assert found.startswith("partition 1: KilledWorker: ")


def test_nothing_stays_on_the_cluster_after_an_error_that_is_kept(client, dask_cluster):
    parts = [dask.delayed(table())] * 20 + [dask.delayed(None)]
    with pytest.raises(ce.InputError) as error:
        ce.integrations.dask.evaluate(parts, binary(), **P)
    for _ in range(500):
        if not dask_cluster.scheduler.tasks:
            break
        time.sleep(0.02)
    assert not dask_cluster.scheduler.tasks
    assert str(error.value).startswith("partition 20: collection holds None")


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([{"p": 0.5, "y": 1}, {"p": 0.5}], "partition 0: record 1 has no 'y': expected a value, or None for a null"),
        ([{"p": 0.5, "y": 1}, {"p": "x", "y": 1}], "partition 0: column 'p' of the records: "),
        ([{"p": 0.5, "y": 1}, {"p": 2**70, "y": 1}], "partition 0: column 'p' of the records: "),
        ([{1: 0.5, "y": 1}], "partition 0: preds: no column 'p'; there are 'y'"),
        ([7], "partition 0: stream contains 7: expected an Arrow stream"),
    ],
)
def test_records_that_are_none(client, records, expected):
    assert failure(dask.bag.from_sequence(records, npartitions=1), binary(), **P).startswith(expected)


def test_keys_of_other_kinds_are_an_error(client):
    users = [dask.delayed(table().set_column(6, "user", [[user] * ROWS])) for user in ("ann", 7)]
    assert "by" in failure(users, ce.Grouped(binary()), **P, by="user")


def test_what_is_no_collection_and_no_template():
    for each in (frame(), dask.delayed(table()), dask.array.ones((4, 2)), dask.bag.from_sequence([7]).sum()):
        found = failure(each, binary(), **P)
        assert found.startswith("collection is ")
        assert found.endswith(": expected a Dask data frame, a bag or a list of Delayed")
    assert failure([], binary().update([0.5], [1]), **P).startswith("metric has samples already")
    assert failure([], ce.Sliding(binary(), samples=5), **P).startswith("the last samples of two streams do not add up")
    assert failure([], ce.Paired(binary()), **P) == "metric is a Paired: expected one with update_from"


def test_the_example(client):
    assert doctest.testmod(streamce.integrations.dask, optionflags=doctest.ELLIPSIS).failed == 0
