"""Ray with any blocks, also if a worker is killed: the bytes are those of one thread."""

import doctest
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pages
import pyarrow as pa
import pytest
import ray
from engine_cases import CASES, ROWS, P, binary, expected, table
from imports import error_without
from paths import ROOT
from pyarrow import parquet

import streamce as ce
import streamce.integrations.ray
from streamce.integrations import engines
from streamce.integrations.ray import MetricState, evaluate

pytestmark = pytest.mark.usefixtures("cluster")


def blocks(number, whole=None):
    """Return a dataset of this many blocks of the same size."""
    whole = table() if whole is None else whole
    size = -(-len(whole) // number)
    return ray.data.from_arrow([whole.slice(start, size) for start in range(0, len(whole), size)])


# ---- the same bytes ----


@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize("name", CASES)
def test_tasks_make_the_bytes_of_one_thread(name, number):
    metric, columns = CASES[name]
    found = evaluate(blocks(number), metric, **columns)
    assert found.to_bytes() == expected(name)
    assert repr(found) == repr(metric)
    assert metric == metric._new()


def test_files_of_many_row_groups(tmp_path):
    for number in range(3):
        parquet.write_table(table().slice(number * 200, 200), tmp_path / f"{number}.parquet", row_group_size=30)
    metric, columns = CASES["lists of classes"]
    found = evaluate(ray.data.read_parquet(str(tmp_path)), metric, **columns)
    assert found.to_bytes() == expected("lists of classes")


def test_only_the_columns_that_are_needed_are_read(tmp_path):
    """The other column cannot be read, because its page has no meaning."""
    whole = table().select(["p", "y"])
    other = pa.array([os.urandom(16).hex() for _ in range(ROWS)])
    parquet.write_table(
        whole.append_column("other", other), tmp_path / "a.parquet", compression="NONE", use_dictionary=False
    )
    place = parquet.read_metadata(tmp_path / "a.parquet").row_group(0).column(2).data_page_offset
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[place : place + 20] = b"\xff" * 20
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(OSError, match="header"):
        parquet.read_table(tmp_path / "a.parquet")
    assert evaluate(ray.data.read_parquet(str(tmp_path)), binary(), **P).to_bytes() == expected("binary")


def test_frames_and_arrays_of_a_model():
    """A model's predictions are often arrays of two dimensions, which Ray keeps as tensors."""

    def predict(batch):
        return {"probs": np.stack([batch[f"q_{i}"] for i in range(4)], axis=1), "label": batch["label"]}

    metric, columns = CASES["lists of classes"]
    dataset = ray.data.from_pandas(table().drop_columns(["logprobs", "probs"]).to_pandas())
    found = evaluate(dataset.map_batches(predict, batch_size=70), metric, **columns)
    assert found.to_bytes() == expected("lists of classes")


def test_datasets_without_rows():
    assert evaluate(ray.data.from_items([]), binary(), **P) == binary()
    assert (
        evaluate(blocks(3).map_batches(lambda batch: batch.slice(0, 0), batch_format="pyarrow"), binary(), **P)
        == binary()
    )


def test_a_worker_killed_half_way_changes_no_bit(tmp_path):
    def slow(batch):
        """Write the number of the process to a file. The block of row 450 waits in the process that is to be killed."""
        here = batch["time"][0] == waiting
        (tmp_path / f"{'waiting' if here else 'done'}.{os.getpid()}").touch()
        while here and not (tmp_path / "go").exists():
            time.sleep(0.02)
        return batch

    metric, columns = CASES["groups by text"]
    waiting = table()["time"][450]
    dataset = blocks(12).map_batches(slow, batch_size=None, batch_format="pyarrow")
    dataset.schema()  # so that the columns are known, for which Ray evaluates the first block
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(evaluate, dataset, metric, **columns)
        for _ in range(3000):
            if victims := [*tmp_path.glob("waiting.*")]:
                break
            time.sleep(0.02)
        [victim] = victims
        os.kill(int(victim.suffix[1:]), signal.SIGKILL)
        (tmp_path / "go").touch()
        assert found.result(timeout=60).to_bytes() == expected("groups by text")
    assert len([*tmp_path.glob("waiting.*")]) == 2


# ---- aggregations of Ray ----


def test_the_state_of_all_rows_is_an_aggregation():
    metric, columns = CASES["groups by text"]
    found = blocks(7).aggregate(MetricState(metric, alias_name="loss", **columns))
    assert found == {"loss": expected("groups by text")}


def test_the_state_of_each_group_is_an_aggregation_beside_others():
    dataset = blocks(7)
    rows = dataset.groupby("label").aggregate(MetricState(binary(), **P), ray.data.aggregate.Count()).take_all()
    assert {row["label"]: row["count()"] for row in rows} == dict(
        zip(*np.unique(table()["label"], return_counts=True), strict=True)
    )
    whole = ce.Grouped(binary()).update_from(table(), **P, by="label")
    assert {row["label"]: row["state"] for row in rows} == {key: each.to_bytes() for key, each in whole.items()}
    assert engines.merge(*(row["state"] for row in rows)) == expected("binary")


def test_an_invalid_row_of_an_aggregation_is_an_input_error():
    with pytest.raises(ce.InputError) as error:
        blocks(3, invalid(450)).aggregate(MetricState(binary(), **P))
    assert "preds[50] is 1.5" in str(error.value) or "column 'p' is 1.5" in str(error.value)
    with pytest.raises(ce.InputError, match="target is missing"):
        MetricState(binary(), preds="p")


# ---- errors ----


def invalid(row, value=1.5):
    p = table()["p"].to_numpy().copy()
    p[row] = value
    return table().set_column(0, "p", [p])


def failure(*given, **columns):
    with pytest.raises(ce.InputError) as error:
        evaluate(*given, **columns)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_invalid_row_is_named_with_its_partition():
    found = failure(blocks(6, invalid(450)), binary(), **P)
    text = "row 50: column 'p' is 1.5: expected a probability in [0, 1]; for logits use kind=\"logits\""
    assert found == f"partition 4: {text}"


def test_a_later_block_of_a_partition_is_named_by_its_first_row(tmp_path, monkeypatch):
    """One task reads the file, and makes several blocks of it."""
    monkeypatch.setattr(ray.data.DataContext.get_current(), "target_max_block_size", 1000)
    parquet.write_table(invalid(450).select(["p", "y"]), tmp_path / "a.parquet", row_group_size=100)
    found = failure(ray.data.read_parquet(str(tmp_path), override_num_blocks=1), binary(), **P)
    block, row = found.split(": ")[1:3]
    first, row = (int(each.rpartition(" ")[2]) for each in (block, row))
    assert found.startswith(f"partition 0: block from row {first}: row {row}: column 'p' is 1.5")
    assert first > 0
    assert first + row == 450


def test_an_error_on_a_worker_has_all_that_it_has_here():
    with pytest.raises(ce.InputError) as error:
        evaluate(blocks(6, invalid(450, np.inf)), binary(), **P)
    assert (error.value.argument, error.value.index, error.value.value) == ("preds", (50,), np.inf)


def test_a_column_that_is_not_there_is_said_before_anything_is_computed():
    for columns, text in [
        ({"preds": "q", "target": "y"}, "preds: no column 'q'"),
        ({"preds": "p"}, "target is missing"),
        ({**P, "by": "user"}, "by is given: expected none"),
    ]:
        assert failure(blocks(3), binary(), **columns).startswith(text)


def test_what_other_code_raises_is_said_in_one_line(tmp_path):
    def broken(batch):
        if "q" in batch:
            return batch
        raise ZeroDivisionError("of the user\nand a second line")

    dataset = blocks(2).select_columns(["p", "y"]).map_batches(broken)
    assert failure(dataset, binary(), **P) == "ZeroDivisionError: of the user"
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises((ValueError, OSError)):
        ray.data.read_parquet(str(tmp_path / "a.parquet")).schema()


def test_keys_of_other_kinds_are_an_error():
    tables = [table().set_column(6, "user", [[user] * ROWS]) for user in ("ann", 7)]
    assert "user" in failure(ray.data.from_arrow(tables), ce.Grouped(binary()), **P, by="user")


def test_what_is_no_dataset_and_no_template():
    assert failure(table(), binary(), **P).endswith(": expected a Ray dataset")
    assert failure(blocks(1), binary().update([0.5], [1]), **P).startswith("metric has samples already")
    assert failure(blocks(1), ce.Sliding(binary(), samples=5), **P).startswith("the last samples of two streams do not")


def test_a_ray_that_is_not_installed_is_named():
    assert error_without("streamce.integrations.ray", "ray") == (
        "ModuleNotFoundError: streamce.integrations.ray needs Ray Data: pip install 'streamce[ray]'"
    )


# ---- examples ----


def test_the_examples_of_the_module():
    assert doctest.testmod(streamce.integrations.ray, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)  # so that it starts no other Ray
    pages.run(ROOT / "docs/integrations" / "ray.md", tmp_path)
