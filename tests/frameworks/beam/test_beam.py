"""Beam with its in-process runner: the bytes are those of one thread, for rows and tables, bundles and windows."""

import doctest
import pickle
from typing import NamedTuple

import apache_beam as beam
import pages
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from engine_cases import CASES, P, binary, expected, table
from imports import error_without
from paths import ROOT
from pyarrow import parquet

import streamce as ce
import streamce.integrations.beam
from streamce.integrations.beam import ROWS_PER_UPDATE, Evaluate, MetricCombineFn

TEXT = "column 'p' is 1.5: expected a probability in [0, 1]; for logits use kind=\"logits\""


class Row(NamedTuple):
    p: float
    y: int


def pipeline(runner=None, **options):
    """Return a pipeline on a named runner, because Beam's default would look for another one on the network."""
    return beam.Pipeline(runner=runner or FnApiRunner(), options=PipelineOptions(**options))


def results(path, build, **options):
    """Return what a pipeline gives: the states, or keys with states, that it writes to a folder."""

    def write(item):
        key, metric = item if isinstance(item, tuple) else ("all", item)
        with open(path / f"{key}.state", "xb") as file:
            file.write(metric.to_bytes())

    path.mkdir()
    with pipeline(**options) as started:
        _ = build(started) | beam.Map(write)
    return {file.stem: file.read_bytes() for file in path.iterdir()}


# ---- the same bytes ----


@pytest.mark.parametrize("name", CASES)
def test_rows_make_the_bytes_of_one_thread(tmp_path, name):
    metric, columns = CASES[name]
    rows = table().to_pylist()
    found = results(tmp_path / "rows", lambda start: start | beam.Create(rows) | Evaluate(metric, **columns))
    assert found == {"all": expected(name)}
    assert metric == metric._new()


@pytest.mark.parametrize("name", ["groups by text", "lists of classes", "sequences"])
def test_tables_make_the_same_bytes(tmp_path, name):
    metric, columns = CASES[name]
    tables = [*table().slice(0, 300).to_batches(70), *(table().slice(i, 100) for i in (300, 400)), table().slice(500)]
    found = results(tmp_path / "tables", lambda start: start | beam.Create(tables) | Evaluate(metric, **columns))
    assert found == {"all": expected(name)}


def test_rows_of_every_type_and_files(tmp_path):
    whole = table().select(["p", "y"])
    file = str(tmp_path / "a.parquet")
    parquet.write_table(whole, file, row_group_size=70)
    sources = [beam.Create([row(**each) for each in whole.to_pylist()]) for row in (dict, beam.Row, Row)]
    sources += [beam.io.ReadFromParquet(file), beam.io.ReadFromParquetBatched(file)]
    for number, source in enumerate(sources):
        found = results(tmp_path / str(number), lambda start, source=source: start | source | Evaluate(binary(), **P))
        assert found == {"all": expected("binary")}


def test_more_rows_than_one_update_adds(tmp_path):
    rows = table().select(["p", "y"]).to_pylist() * 20
    assert len(rows) > 2 * ROWS_PER_UPDATE
    whole = binary().update_from(pa.Table.from_pylist(rows), **P)
    found = results(tmp_path / "rows", lambda start: start | beam.Create(rows) | Evaluate(binary(), **P))
    assert found == {"all": whole.to_bytes()}


@pytest.mark.parametrize("mode", ["multi_threading", "multi_processing"])
def test_several_workers(tmp_path, mode):
    metric, columns = CASES["groups by text"]
    rows = table().to_pylist()
    options = {"direct_num_workers": 2, "direct_running_mode": mode}
    found = results(
        tmp_path / "rows",
        lambda start: start | beam.Create(rows) | beam.Reshuffle() | Evaluate(metric, **columns),
        **options,
    )
    assert found == {"all": expected("groups by text")}


def test_the_other_runner_of_this_machine(tmp_path):
    metric, columns = CASES["groups by text"]
    rows = table().to_pylist()
    found = results(
        tmp_path / "rows",
        lambda start: start | beam.Create(rows) | Evaluate(metric, **columns),
        runner=BundleBasedDirectRunner(),
    )
    assert found == {"all": expected("groups by text")}


def test_the_metric_of_each_key(tmp_path):
    whole = ce.Grouped(binary()).update_from(table(), **P, by="label")
    rows = [(row["label"], row) for row in table().to_pylist()]
    for number, fn in enumerate([MetricCombineFn(binary(), **P)] * 2):
        combine = beam.CombinePerKey(fn)
        combine = combine.with_hot_key_fanout(3) if number else combine
        found = results(tmp_path / str(number), lambda start, combine=combine: start | beam.Create(rows) | combine)
        assert found == {str(key): metric.to_bytes() for key, metric in whole.items()}


def test_the_metric_of_each_window(tmp_path):
    def keyed(metric, window=beam.DoFn.WindowParam):
        return str(int(window.start)), metric

    def build(start):
        stamped = start | beam.Create(rows) | beam.Map(lambda row: TimestampedValue(row, row["time"]))
        return stamped | beam.WindowInto(FixedWindows(20_000)) | Evaluate(binary(), **P) | beam.Map(keyed)

    rows = table().to_pylist()
    found = results(tmp_path / "windows", build)
    expected_states = {}
    for begin in range(0, 100_000, 20_000):
        inside = [row for row in rows if begin <= row["time"] < begin + 20_000]
        expected_states[str(begin)] = binary().update_from(pa.Table.from_pylist(inside), **P).to_bytes()
    assert found == expected_states


def test_a_collection_without_elements(tmp_path):
    found = results(tmp_path / "rows", lambda start: start | beam.Create([]) | Evaluate(binary(), **P))
    assert found == {"all": binary().to_bytes()}


def test_accumulators_are_merged_and_sent_before_their_rows_are_added():
    fn = MetricCombineFn(binary(), **P)
    parts = []
    for start in (0, 200, 400):
        part = fn.create_accumulator()
        for row in table().slice(start, 200).to_pylist():
            part = fn.add_input(part, row)
        parts.append(pickle.loads(pickle.dumps(part)))
    before = [len(part.rows) for part in parts]
    assert fn.extract_output(fn.merge_accumulators(parts)).to_bytes() == expected("binary")
    assert [len(part.rows) for part in parts] == before == [200] * 3


# ---- errors ----


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ({"x": 0, "p": 1.5, "y": 0}, f"element {{'p': 1.5, 'y': 0}}: {TEXT}"),
        (
            {"p": 0.5},
            "element {'p': 0.5}: record 1 has no 'y': expected a value, or None for a null",
        ),
        ({"p": "x", "y": 0}, "column 'p' of the records: "),
        (7, "element is 7: expected a dict, a beam.Row, a named tuple or a table"),
        (pa.table({"p": [0.5, 1.5], "y": [1, 0]}), f"element {{'p': 1.5, 'y': 0}}: row 1: {TEXT}"),
    ],
)
def test_an_invalid_element_is_shown(element, text):
    elements = [{"p": 0.5, "y": 1}, element]
    with pytest.raises((ce.InputError, RuntimeError)) as error, pipeline() as started:
        _ = started | beam.Create(elements) | Evaluate(binary(), **P)
    assert text in str(error.value)


def test_what_cannot_be_evaluated_is_said_before_the_pipeline_runs():
    for metric, columns, text in [
        (binary(), {"preds": "p"}, "target is missing"),
        (binary().update([0.5], [1]), P, "metric has samples already"),
        (ce.Sliding(binary(), samples=5), P, "the last samples of two streams do not"),
    ]:
        for transform in (Evaluate, MetricCombineFn):
            with pytest.raises(ce.InputError, match=f"^{text}"):
                transform(metric, **columns)


def test_a_beam_that_is_not_installed_is_named():
    assert error_without("streamce.integrations.beam", "apache_beam") == (
        "ModuleNotFoundError: streamce.integrations.beam needs Beam: pip install 'streamce[beam]'"
    )


# ---- examples ----


def test_the_examples_of_the_module():
    assert doctest.testmod(streamce.integrations.beam, optionflags=doctest.ELLIPSIS).failed == 0


def test_the_page_runs(tmp_path):
    pages.run(ROOT / "docs/integrations" / "beam.md", tmp_path)
