"""``streamce eval --task sequence`` and ``--task ctc``: list columns of any kind, the same bits as in process."""

import json
import math
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from corpus import Corpus
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv, ipc, parquet
from utterances import Batch

import streamce as ce
from streamce.cli.arguments import parse
from streamce.cli.column_resolver import ColumnResolver
from streamce.cli.main import main
from streamce.reading import ragged, reader
from streamce.reading.files import sources
from streamce.reading.formats.parquet import FIRST_ROWS
from streamce.reading.open_table import open_table

SEQUENCE = ("--task", "sequence", "--preds", "p", "--target", "t", "--kind", "logits")
CHOSEN = ("--task", "sequence", "--token-log-probs", "lp")
CTC = ("--task", "ctc", "--preds", "p", "--target", "t", "--kind", "logits")
CUTS = [[], ["--chunk-rows", "1"], ["--chunk-rows", "7", "--threads", "3"]]


def as_lists(values, lengths):
    """Return concatenated entries as lists of these lengths."""
    ends = np.cumsum(lengths)
    return [values[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]


def write_jsonl(table, path):
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


def write_ipc(table, path, new=ipc.new_file):
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=11)


WRITERS = {
    "a.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=13),
    "a.arrow": write_ipc,
    "a.arrows": lambda table, path: write_ipc(table, path, ipc.new_stream),
    "a.jsonl": write_jsonl,
}
LISTS = {
    "lists": lambda leaf, width: pa.list_(pa.list_(leaf)),
    "large lists": lambda leaf, width: pa.large_list(pa.large_list(leaf)),
    "lists of fixed size": lambda leaf, width: pa.list_(pa.list_(leaf, width)),
    "a mixture": lambda leaf, width: pa.large_list(pa.list_(leaf)),
}


def corpus_table(corpus, type_=None, **more):
    """Return a corpus as a table with a row per sequence."""
    found = {
        "p": pa.array(as_lists(corpus.preds, corpus.lengths), type_ or pa.list_(pa.list_(pa.float64()))),
        "t": pa.array(as_lists(corpus.target, corpus.lengths), pa.list_(pa.int64())),
        "w": corpus.weight, "words": corpus.words, "bytes": corpus.bytes, "doc": corpus.document,
    }  # fmt: skip
    return pa.table(found | more)


def batch_table(batch, type_=None, **more):
    """Return a batch of utterances as a table."""
    frames = [batch.preds[:frames, i].tolist() for i, frames in enumerate(batch.frames)]
    labels = [batch.target[i, :labels].tolist() for i, labels in enumerate(batch.labels)]
    found = {
        "p": pa.array(frames, type_ or pa.list_(pa.list_(pa.float64()))),
        "t": pa.array(labels, pa.list_(pa.int64())),
        "w": batch.weight, "who": np.arange(len(batch)) % 5,
    }  # fmt: skip
    return pa.table(found | more)


def state_of(tmp_path, *arguments, status=0):
    """Run ``eval`` and return the bytes of the state that it writes."""
    assert main(["eval", *map(str, arguments), "--state", str(tmp_path / "state")]) == status
    return (tmp_path / "state").read_bytes()


def failure(capsys, status, *arguments):
    """Run a command that fails with this status, and return its one line on standard error."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("streamce: error: ").rstrip("\n")


def told(capsys, *arguments):
    """Return the result of ``eval --json``."""
    capsys.readouterr()
    assert main(["eval", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# ---- the same bits ----


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("task", ["sequence", "chosen", "ctc"])
def test_every_format_and_cut_has_the_bits_of_the_library(tmp_path, name, cut, task):
    corpus, batch = Corpus(1, 60), Batch(1, 60)
    if task == "ctc":
        table, words, expected = batch_table(batch), CTC, batch.add_to(batch.metric(), weighted=False)
    elif task == "sequence":
        table, words = corpus_table(corpus), SEQUENCE
        expected = corpus.add_to(corpus.metric())
    else:
        log_probs = -np.abs(corpus.preds[:, 0])
        table, words = pa.table({"lp": as_lists(log_probs, corpus.lengths)}), CHOSEN
        expected = ce.SequenceCrossEntropy(kind="log_probs").update_token_log_probs(log_probs, offsets=corpus.offsets)
    WRITERS[name](table, tmp_path / name)
    assert state_of(tmp_path, tmp_path / name, *words, *cut) == expected.to_bytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
@pytest.mark.parametrize("lists", LISTS)
def test_every_kind_of_list_is_read(tmp_path, lists, name, dtype):
    corpus, batch = Corpus(2, 40, dtype=dtype), Batch(2, 40, dtype=dtype)
    type_ = LISTS[lists](pa.from_numpy_dtype(corpus.preds.dtype), 7)
    table = corpus_table(corpus, type_, t=pa.array(as_lists(corpus.target, corpus.lengths), pa.large_list(pa.int16())))
    WRITERS[name](table, tmp_path / name)
    for cut in CUTS:
        assert state_of(tmp_path, tmp_path / name, *SEQUENCE, *cut) == corpus.add_to(corpus.metric()).to_bytes()
    WRITERS[name](batch_table(batch, type_), tmp_path / name)
    expected = batch.add_to(batch.metric(), weighted=False).to_bytes()
    for cut in CUTS:
        assert state_of(tmp_path, tmp_path / name, *CTC, *cut) == expected


@pytest.mark.parametrize("inner", [pa.list_(pa.float32()), pa.list_(pa.float32(), 3)], ids=str)
def test_sequences_of_one_length_may_be_lists_of_fixed_size(tmp_path, inner):
    rng = np.random.default_rng(3)
    preds, target = rng.normal(size=(30, 4, 3)).astype("f4"), rng.integers(0, 3, (30, 4))
    table = pa.table({
        "p": pa.array(preds.tolist(), pa.list_(inner, 4)), "t": pa.array(target.tolist(), pa.list_(pa.uint8(), 4)),
    })  # fmt: skip
    expected = ce.SequenceCrossEntropy(kind="logits").update(preds, target).to_bytes()
    for name in ("a.parquet", "a.arrow"):
        WRITERS[name](table, tmp_path / name)
        for cut in CUTS:
            assert state_of(tmp_path, tmp_path / name, *SEQUENCE, *cut) == expected


def test_chunked_tables_of_several_files_are_one_stream(tmp_path):
    corpus = Corpus(4, 60)
    table = corpus_table(corpus)
    WRITERS["a.parquet"](table.slice(0, 17), tmp_path / "1.parquet")
    WRITERS["a.jsonl"](table.slice(17, 1), tmp_path / "2.jsonl")
    WRITERS["a.arrow"](pa.concat_tables([table.slice(18, 5), table.slice(23)]), tmp_path / "3.arrow")
    paths = sorted(tmp_path.glob("[123]*"))
    assert state_of(tmp_path, *paths, *SEQUENCE) == corpus.add_to(corpus.metric()).to_bytes()
    for i, path in enumerate(paths):
        state_of(tmp_path, path, *SEQUENCE)
        (tmp_path / "state").rename(tmp_path / f"{i}.state")
    merged = tmp_path / "merged.state"
    assert main(["merge", *(str(tmp_path / f"{i}.state") for i in (2, 0, 1)), "-o", str(merged)]) == 0
    assert merged.read_bytes() == corpus.add_to(corpus.metric()).to_bytes()


OPTIONS = {
    "per sequence": (["--per", "sequence"], {"per": "sequence"}, {}),
    "weight": (["--weight", "w"], {}, {"weighted": "sequence"}),
    "words and bytes": (["--n-words", "words", "--n-bytes", "bytes"], {}, {"counted": True}),
    "all weighted": (
        ["--n-words", "words", "--n-bytes", "bytes", "--weight", "w", "--cluster", "doc"],
        {}, {"counted": True, "weighted": "sequence", "cluster": "doc"},
    ),
    "smoothing": (["--label-smoothing", "0.1"], {"label_smoothing": 0.1}, {}),
    "ignored": (["--ignore-index", "3", "--invalid", "skip"], {"ignore_index": 3}, {}),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_options_mean_what_they_mean_in_the_library(tmp_path, case):
    words, options, how = OPTIONS[case]
    corpus = Corpus(5, 50)
    WRITERS["a.parquet"](corpus_table(corpus), tmp_path / "a.parquet")
    if "cluster" in how:
        how = how | {"cluster": corpus.document}
    expected = corpus.add_to(corpus.metric(**options), **how).to_bytes()
    for cut in CUTS:
        assert state_of(tmp_path, tmp_path / "a.parquet", *SEQUENCE, *words, *cut) == expected


@pytest.mark.parametrize("kind", ["probs", "log_probs", "logits"])
def test_utterances_have_their_options_too(tmp_path, kind):
    batch = Batch(6, 60, kind=kind, blank=2, odd=True)
    batch.weight = np.abs(batch.weight)
    batch.weight[~np.isfinite(batch.weight)] = 1.0
    WRITERS["a.parquet"](batch_table(batch), tmp_path / "a.parquet")
    words = ["--blank", "2", "--per", "frame", "--weight", "w", "--cluster", "who", "--invalid", "skip"]
    expected = batch.add_to(batch.metric(per="frame"), cluster=np.arange(60) % 5).to_bytes()
    for cut in CUTS:
        found = state_of(tmp_path, tmp_path / "a.parquet", *CTC[:-1], kind, *words, *cut)
        assert found == expected


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("cut", CUTS)
def test_empty_sequences_and_targets_have_the_bits_of_the_library(tmp_path, name, cut):
    corpus, batch = Corpus(5, n=40, empty=True), Batch(5, n=40, empty=True)
    WRITERS[name](corpus_table(corpus), tmp_path / name)
    metric = corpus.add_to(corpus.metric(), weighted="sequence", counted=True)
    words = ("--weight", "w", "--n-words", "words", "--n-bytes", "bytes", "--kind", "logits", "--invalid", "skip")
    assert state_of(tmp_path, tmp_path / name, *SEQUENCE[:-2], *words, *cut) == metric.to_bytes()
    WRITERS[name](batch_table(batch), tmp_path / name)
    options = ("--weight", "w", "--kind", "logits", "--invalid", "skip")
    assert state_of(tmp_path, tmp_path / name, *CTC[:-2], *options, *cut) == batch.fed().to_bytes()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("base", ["2", "10", "e"])
def test_log_probabilities_have_a_base(tmp_path, capsys, name, base):
    lists = [[-1.0, -2.5], [], [-0.125]]
    WRITERS[name](pa.table({"lp": pa.array(lists, pa.list_(pa.float64()))}), tmp_path / name)
    number = math.e if base == "e" else float(base)
    expected = ce.SequenceCrossEntropy(kind="log_probs")
    expected.update_token_log_probs([-1.0, -2.5, -0.125], offsets=[0, 2, 2, 3], base=number)
    state = tmp_path / "state"
    run = (tmp_path / name, *CHOSEN, "--log-base", base)
    for cut in CUTS:
        assert state_of(tmp_path, *run, *cut) == expected.to_bytes()
    table = pa.table({"lp": pa.array(lists, pa.list_(pa.float64()))})
    found = ce.SequenceCrossEntropy(kind="log_probs").update_from(table, preds="lp", base=number)
    assert found.to_bytes() == expected.to_bytes()
    state.unlink()
    assert state_of(tmp_path, *run, "--resume") == expected.to_bytes()
    other = "10" if base == "2" else "2"
    line = failure(capsys, 1, "eval", tmp_path / name, *CHOSEN, "--log-base", other, "--state", state, "--resume")
    assert "--log-base has changed from " in line


def test_a_base_needs_log_probabilities_of_tokens(tmp_path, capsys):
    WRITERS["a.parquet"](pa.table({"lp": [[0.25], [-1.0]]}), tmp_path / "a.parquet")
    line = failure(capsys, 1, "eval", tmp_path / "a.parquet", *CHOSEN, "--log-base", "10")
    assert line.endswith("row 0: column 'lp[0]' is 0.25: expected a log-probability, 0 or less")
    line = failure(capsys, 2, "eval", tmp_path / "a.parquet", *SEQUENCE, "--log-base", "10")
    assert line == "--log-base needs --token-log-probs, whose base it is"
    line = failure(capsys, 2, "eval", "a.csv", "--task", "binary", "--preds", "p", "--target", "y", "--log-base", "2")
    assert line == "--log-base is not an option of --task binary"
    for metric, columns in (
        (ce.SequenceCrossEntropy(), {"preds": "p", "target": "t"}),
        (ce.BinaryCrossEntropy(), {"preds": "p", "target": "t"}),
    ):
        with pytest.raises(ce.InputError, match="base is given: expected none"):
            metric.update_from(pa.table({"p": [0.5], "t": [1]}), base=2, **columns)
    with pytest.raises(ce.InputError, match="base is 3: expected 2, 10"):
        ce.SequenceCrossEntropy().update_from(pa.table({"p": [[-0.5]]}), preds="p", base=3)


@pytest.mark.parametrize("name", WRITERS)
def test_a_null_log_probability_names_the_way_on(tmp_path, capsys, name):
    table = pa.table({"lp": pa.array([[-1.0], [None, -0.5]], pa.list_(pa.float64()))})
    WRITERS[name](table, tmp_path / name)
    line = failure(capsys, 1, "eval", tmp_path / name, *CHOSEN)
    hint = "tokens without one, such as the first of a text, are left out by"
    assert line.endswith(f"row 1: column 'lp[0]' holds a null; {hint} --invalid skip")
    found = ce.from_bytes(state_of(tmp_path, tmp_path / name, *CHOSEN, "--invalid", "skip"))
    assert (found.compute(), found.summary().invalid_null) == (0.75, 1)
    with pytest.raises(ce.InputError, match=f'row 1: column .* holds a null; {hint} invalid="skip"$'):
        ce.SequenceCrossEntropy().update_from(table, preds="lp")


def test_columns_of_empty_lists_alone_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"lp": [], "p": [], "t": [], "n": 3}\n' * 2)
    state = state_of(tmp_path, tmp_path / "a.jsonl", *CHOSEN, "--n-bytes", "n")
    expected = ce.SequenceCrossEntropy(kind="log_probs").update_token_log_probs([], offsets=[0, 0, 0], n_bytes=[3, 3])
    assert state == expected.to_bytes()
    expected = ce.SequenceCrossEntropy().update(np.zeros((0, 2)), [], offsets=[0, 0, 0], n_bytes=[3, 3])
    assert state_of(tmp_path, tmp_path / "a.jsonl", *SEQUENCE[:-2], "--n-bytes", "n") == expected.to_bytes()


def test_a_null_beside_an_empty_list_is_a_null(tmp_path):
    table = pa.table({"lp": pa.array([[], [-1.0]], pa.list_(pa.float64())), "n": pa.array([None, 2])})
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    state = ce.from_bytes(state_of(tmp_path, tmp_path / "a.parquet", *CHOSEN, "--n-bytes", "n", "--invalid", "skip"))
    assert (state.summary().invalid_null, state.summary().count, state.per_byte().weight) == (1, 1, 2.0)


def test_weights_of_rows_are_never_those_of_tokens(tmp_path):
    table = pa.table({"lp": pa.array([[-1.0, -2.0], []], pa.list_(pa.float64())), "w": [3.0, 5.0]})
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    state = ce.from_bytes(state_of(tmp_path, tmp_path / "a.parquet", *CHOSEN, "--weight", "w"))
    assert (state.summary().weight, state.compute()) == (6.0, 1.5)


@pytest.mark.parametrize("name", WRITERS)
def test_utterances_without_frames_are_infeasible_wherever_they_come(tmp_path, name):
    preds = [None, [], [[0.0] * 9] * 3, [], [[0.0] * 9]]
    table = pa.table({"p": pa.array(preds, pa.list_(pa.list_(pa.float64()))), "t": [[1], [8], [1], [9], [1, 2]]})
    WRITERS[name](table, tmp_path / name)
    for cut in CUTS:
        found = ce.from_bytes(state_of(tmp_path, tmp_path / name, *CTC, "--invalid", "skip", *cut)).summary()
        assert (found.count, found.infeasible, found.invalid_label, found.invalid_null) == (1, 2, 1, 1)


def test_groups_of_sequences_and_utterances(tmp_path, capsys):
    corpus, batch = Corpus(7, 60), Batch(7, 60)
    WRITERS["a.parquet"](corpus_table(corpus), tmp_path / "a.parquet")
    WRITERS["a.parquet"](batch_table(batch), tmp_path / "b.parquet")
    for cut in CUTS:
        found = state_of(tmp_path, tmp_path / "a.parquet", *SEQUENCE, "--by", "doc", "--weight", "w", *cut)
        expected = corpus.add_to(ce.Grouped(corpus.metric()), by=corpus.document, weighted="sequence")
        assert found == expected.to_bytes()
        found = state_of(tmp_path, tmp_path / "b.parquet", *CTC, "--by", "who", *cut)
        by = np.arange(60) % 5
        assert found == batch.add_to(ce.Grouped(batch.metric()), weighted=False, by=by).to_bytes()
    groups = told(capsys, tmp_path / "a.parquet", *SEQUENCE, "--by", "doc")["groups"]
    expected = corpus.add_to(ce.Grouped(corpus.metric()), by=corpus.document)
    assert {group["key"]: group["value"] for group in groups} == expected.compute()


def test_groups_of_chosen_tokens(tmp_path):
    corpus = Corpus(8, 40, kind="log_probs", ignored=False)
    chosen = corpus.preds[np.arange(len(corpus.target)), corpus.target]
    table = corpus_table(corpus, lp=pa.array(as_lists(chosen, corpus.lengths)))
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    of_all = (*SEQUENCE[:-1], "log_probs", "--by", "doc")
    expected = state_of(tmp_path, tmp_path / "a.parquet", *of_all)
    found = state_of(tmp_path, tmp_path / "a.parquet", *CHOSEN, "--by", "doc")
    assert ce.from_bytes(found).compute() == ce.from_bytes(expected).compute()
    assert found == expected


# ---- nulls ----


@st.composite
def with_nulls(draw):
    """Draw rows in which any part may be null, and the same rows without nulls, with the tokens that are lost."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, flat = [], []
    for _ in range(draw(st.integers(1, 12))):
        length = int(rng.integers(1, 5))
        preds, target = rng.normal(size=(length, 3)), rng.integers(0, 3, length)
        row = {"p": preds.tolist(), "t": target.tolist(), "w": float(rng.random())}
        lost = np.zeros(length, bool)
        what = draw(st.sampled_from(["none", "none", "p", "t", "both", "entries", "w"]))
        if what == "both":
            row["p"] = row["t"] = None
            preds, target, lost = preds[:1], target[:1], np.ones(1, bool)
        elif what == "entries":
            for i in range(length):
                where = draw(st.sampled_from(["nowhere", "token", "number", "label"]))
                if where == "token":
                    row["p"][i] = None
                elif where == "number":
                    row["p"][i][int(rng.integers(3))] = None
                elif where == "label":
                    row["t"][i] = None
                lost[i] = where != "nowhere"
        elif what != "none":
            row[what] = None
            lost[:] = True
        rows.append(row)
        flat.append((preds, target, lost, 0.0 if row["w"] is None else row["w"]))
    return rows, flat


TYPES = [pa.list_(pa.list_(pa.float64())), pa.large_list(pa.list_(pa.float64(), 3))]


@given(case=with_nulls(), type_=st.sampled_from(TYPES), size=st.sampled_from([None, 1, 3]))
def test_nulls_are_tokens_that_are_skipped_and_counted(tmp_path_factory, case, type_, size):
    rows, flat = case
    folder = tmp_path_factory.mktemp("nulls")
    table = pa.table({
        "p": pa.array([row["p"] for row in rows], type_),
        "t": pa.array([row["t"] for row in rows], pa.list_(pa.int8())),
        "w": pa.array([row["w"] for row in rows], pa.float64()),
    })  # fmt: skip
    write_ipc(table, folder / "a.arrow")
    cut = ["--chunk-rows", size] if size else []
    words = [folder / "a.arrow", *SEQUENCE, "--weight", "w", "--invalid", "skip", *cut]
    preds, target, lost = (np.concatenate(parts) for parts in list(zip(*flat, strict=True))[:3])
    found = ce.from_bytes(state_of(folder, *words, status=bool(lost.size and lost.all()))).summary()
    offsets = np.cumsum([0] + [len(part[1]) for part in flat])
    expected = ce.SequenceCrossEntropy(kind="logits").update(
        preds, target, offsets=offsets, mask=~lost, weight=[part[3] for part in flat]
    ).summary()  # fmt: skip
    assert found.invalid_null == found.skipped == lost.sum()
    for name in ("count", "samples", "total", "weight"):
        assert getattr(found, name) == getattr(expected, name)
    assert repr(found.stderr) == repr(expected.stderr)
    assert main(["eval", *map(str, words), "--invalid", "raise"]) == lost.any()


@pytest.mark.parametrize("name", WRITERS)
def test_null_utterances_are_skipped_and_counted(tmp_path, name):
    batch = Batch(9, 30)
    table = batch_table(batch)
    preds, labels, weight = table["p"].to_pylist(), table["t"].to_pylist(), table["w"].to_pylist()
    preds[0] = preds[7] = labels[7] = labels[8] = weight[9] = None
    preds[10][0] = preds[11][-1][3] = labels[12][0] = None
    lost = np.isin(np.arange(30), [0, 7, 8, 9, 10, 11, 12])
    found = {"p": pa.array(preds, table["p"].type), "t": pa.array(labels, table["t"].type), "w": weight}
    WRITERS[name](pa.table(found), tmp_path / name)
    expected = batch.add_to(batch.metric(), ~lost).summary()
    words = [tmp_path / name, *CTC, "--weight", "w", "--invalid", "skip"]
    states = {state_of(tmp_path, *words, *cut) for cut in CUTS}
    assert len(states) == 1
    found = ce.from_bytes(states.pop()).summary()
    assert (found.invalid_null, found.skipped) == (7, 7)
    assert (found.total, found.weight, found.infeasible) == (expected.total, expected.weight, expected.infeasible)


@pytest.mark.parametrize(
    ("words", "counts", "nulls", "kept"),
    [(SEQUENCE, [2, 3], [2, 1], 3), (CTC, [1, 1], [1, 1], 2)],
    ids=["sequence", "ctc"],
)
def test_nulls_are_counted_in_their_groups_and_in_no_cluster(tmp_path, words, counts, nulls, kept):
    table = pa.table({
        "p": [[[0.5, 1.0, 2.0]] * 2, None, [[0.5, 1.0, 2.0], None], [[0.0, 1.0, 0.0]] * 2],
        "t": [[1, 2], [1, 1], [1, 2], [2, 1]], "who": ["a", "a", "b", "b"], "row": [0, 1, 2, 3],
    })  # fmt: skip
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    words = [tmp_path / "a.parquet", *words, "--invalid", "skip"]
    for cut in CUTS:
        by_who = ce.from_bytes(state_of(tmp_path, *words, "--by", "who", *cut)).summary()
        assert [by_who[who].count for who in "ab"] == counts
        assert [by_who[who].invalid_null for who in "ab"] == nulls
        rows = ce.from_bytes(state_of(tmp_path, *words, "--cluster", "row", *cut)).summary()
        assert rows.buckets == rows.samples == kept


def test_what_lies_under_a_null_does_not_matter(tmp_path):
    valid, words = pa.py_buffer(b"\x01"), pa.py_buffer(np.array([7, -5]))
    weight = pa.py_buffer(np.array([0.5, np.nan]))
    table = pa.table({
        "lp": [[-1.0], [-2.0, -3.0]],
        "words": pa.Array.from_buffers(pa.int64(), 2, [valid, words]),
        "w": pa.Array.from_buffers(pa.float64(), 2, [valid, weight]),
    })  # fmt: skip
    WRITERS["a.arrow"](table, tmp_path / "a.arrow")
    columns = ["--n-words", "words", "--weight", "w", "--invalid", "skip"]
    found = ce.from_bytes(state_of(tmp_path, tmp_path / "a.arrow", *CHOSEN, *columns))
    assert (found.summary().count, found.summary().invalid_null) == (1, 2)
    assert (found.per_word().mean, found.per_word().weight) == (1 / 7, 3.5)


def test_a_null_list_may_have_entries_under_it(tmp_path):
    inner = pa.ListArray.from_arrays(np.arange(0, 13, 3), pa.array(np.arange(12.0)), mask=pa.array([False, True] * 2))
    table = pa.table({
        "p": pa.ListArray.from_arrays([0, 1, 2, 4], inner, mask=pa.array([True, False, False])),
        "t": pa.ListArray.from_arrays([0, 1, 2, 4], pa.array([9, 1, 2, 2]), mask=pa.array([True, False, False])),
    })  # fmt: skip
    WRITERS["a.arrow"](table, tmp_path / "a.arrow")
    for cut in CUTS:
        found = ce.from_bytes(state_of(tmp_path, tmp_path / "a.arrow", *SEQUENCE, "--invalid", "skip", *cut))
        kept = ce.SequenceCrossEntropy(kind="logits").update([[[6.0, 7.0, 8.0]]], [[2]])
        assert found.compute() == kept.compute()
        assert (found.summary().count, found.summary().invalid_null) == (1, 3)


NULLS = {
    "a sequence": ({"p": [[[0.0, 1.0]], None], "t": [[0], [1, 0]]}, "row 1: column 'p' holds a null"),
    "tokens": ({"p": [[[0.0, 1.0]], [[0.5, 1.0]]], "t": [[0], None]}, "row 1: column 't' holds a null"),
    "a token": ({"p": [[[0.0, 1.0], None]], "t": [[0, 1]]}, "row 0: column 'p[1]' holds a null"),
    "a number": ({"p": [[[0.0, 1.0], [2.0, None]]], "t": [[0, 1]]}, "row 0: column 'p[1][1]' holds a null"),
    "a label": ({"p": [[[0.0, 1.0]] * 2], "t": [[0, None]]}, "row 0: column 't[1]' holds a null"),
    "a weight": (
        {"p": [[[0.0, 1.0]]] * 2, "t": [[1], [1]], "w": [0.5, None]}, "row 1: column 'w' holds a null"),
    "words": (
        {"p": [[[0.0, 1.0]]] * 2, "t": [[1], [1]], "words": [5, None]}, "row 1: column 'words' holds a null"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("case", NULLS)
def test_a_null_is_named_by_row_column_and_place(tmp_path, capsys, case, name):
    data, expected = NULLS[case]
    WRITERS[name](pa.table(data), tmp_path / name)
    more = [word for column in ("w", "words") if column in data for word in (FLAGS[column], column)]
    for cut in CUTS:
        line = failure(capsys, 1, "eval", tmp_path / name, *SEQUENCE, *more, *cut)
        assert line == f"{tmp_path / name}: {expected}"
    if case != "words":
        line = failure(capsys, 1, "eval", tmp_path / name, *CTC, "--blank", "1", *more)
        assert "holds a null" in line or "the blank" in line


FLAGS = {"w": "--weight", "words": "--n-words", "bytes": "--n-bytes"}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_may_begin_with_nothing_but_nulls(tmp_path, name):
    type_ = pa.list_(pa.list_(pa.float64()))
    table = pa.table({
        "p": pa.array([None, [None], [None, None], [[0.5, 1.0, 2.0]]], type_),
        "t": pa.array([[2], [2], [1, 0], [2]], pa.list_(pa.int64())),
    })  # fmt: skip
    WRITERS[name](table, tmp_path / name)
    for words in (SEQUENCE, (*CTC, "--blank", "1")):
        for cut in CUTS:
            found = ce.from_bytes(state_of(tmp_path, tmp_path / name, *words, "--invalid", "skip", *cut)).summary()
            assert (found.count, found.invalid_null) == (1, 4 if words is SEQUENCE else 3)


def test_columns_of_nothing_but_nulls_are_counted(tmp_path):
    table = pa.table({"p": pa.nulls(3), "t": pa.array([[], None, []], pa.list_(pa.null()))})
    WRITERS["a.arrow"](table, tmp_path / "a.arrow")
    for words, count in ((SEQUENCE, 3), (CTC, 3)):
        words = [tmp_path / "a.arrow", *words, "--invalid", "skip"]
        found = ce.from_bytes(state_of(tmp_path, *words, status=1)).summary()
        assert (found.invalid_null, found.seen) == (count, count)


# ---- reading ----


def reading(path, words, rows=None):
    config = parse(["eval", str(path), *words])
    resolver, base = ColumnResolver(config), config.base if config.token_log_probs else None
    return ragged.Reading(sources.find_sources([str(path)]), resolver, rows, (), config.task, base, 2)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("words", [SEQUENCE, CHOSEN, CTC], ids=lambda words: " ".join(words[1:3]))
@pytest.mark.parametrize("most", [250, 1000])
def test_chunks_hold_so_many_values_or_one_row(tmp_path, monkeypatch, name, words, most):
    corpus = Corpus(10, 60, longest=40)
    table = corpus_table(corpus, lp=pa.array(as_lists(-(corpus.preds[:, 0] ** 2), corpus.lengths)))
    WRITERS[name](table, tmp_path / name)
    monkeypatch.setattr(reader, "CHUNK_VALUES", most)
    found = [(chunk.preds.size, chunk.rows, chunk.first_row) for chunk in reading(tmp_path / name, words).chunks()]
    assert sum(values for values, _, _ in found) == corpus.preds.size // (7 if words is CHOSEN else 1)
    assert [first for _, _, first in found] == [0, *np.cumsum([rows for _, rows, _ in found])][:-1]
    assert all(values <= most or rows == 1 for values, rows, _ in found)
    assert most == 250 or 60 > len(found) >= sum(values for values, _, _ in found) / most


@pytest.mark.parametrize("name", WRITERS)
def test_a_reading_goes_on_from_the_end_of_any_chunk(tmp_path, monkeypatch, name):
    corpus = Corpus(11, 40)
    WRITERS[name](corpus_table(corpus), tmp_path / name)
    monkeypatch.setattr(reader, "CHUNK_VALUES", 100)
    whole = [
        (chunk.first_row, chunk.target.tolist(), chunk.end) for chunk in reading(tmp_path / name, SEQUENCE).chunks()
    ]
    for i, (_, _, end) in enumerate(whole[:-1]):
        rest = reading(tmp_path / name, SEQUENCE).chunks(end)
        again = [target for chunk in rest for target in chunk.target.tolist()]
        assert again == [target for _, part, _ in whole[i + 1 :] for target in part]


@pytest.mark.parametrize("inner", [pa.list_(pa.float64()), pa.list_(pa.float64(), 3)], ids=str)
def test_lists_without_nulls_are_not_copied(tmp_path, inner):
    table = pa.table({
        "p": pa.array([[[1.0, 2, 3]], [[4, 5, 6], [7, 8, 9]], [[0, 1, 2]]], pa.list_(inner)),
        "t": pa.array([[0], [1, 2], [0]], pa.list_(pa.int32())),
    })  # fmt: skip
    WRITERS["a.arrow"](table, tmp_path / "a.arrow")
    for words in (SEQUENCE, CTC):
        for chunk in reading(tmp_path / "a.arrow", words, rows=2).chunks():
            preds, target = chunk.batch["p"].values.values, chunk.batch["t"].values
            first = chunk.batch["p"].offsets[0].as_py()
            assert chunk.preds.__array_interface__["data"][0] == preds.buffers()[1].address + 24 * first
            assert chunk.target.__array_interface__["data"][0] == target.buffers()[1].address + 4 * first


def test_the_rows_to_read_follow_from_what_they_hold(tmp_path):
    rows = [[[0.5] * 5] * length for length in [1, 1, 9, 3, 40, 40] + [400] * 5000]
    parquet.write_table(pa.table({"p": rows, "t": [1] * 5006}), tmp_path / "a.parquet", row_group_size=6)
    table = open_table(sources.find_sources([str(tmp_path / "a.parquet")])[0], (), None)
    assert table.width("t") == 1
    assert table.width("p") >= 79  # on average in the first row group at least
    # If rows turn out to be long, a batch holds only a few megabytes of them.
    sizes = [part.batch.nbytes for part in table.parts({"p": None}, 1 << 17)]
    assert len(sizes) > 2
    assert max(sizes) < 2 * FIRST_ROWS * 400 * 5 * 8


def test_sequences_come_through_a_pipe(tmp_path):
    corpus = Corpus(12, 30)
    write_ipc(corpus_table(corpus), tmp_path / "a.arrows", ipc.new_stream)
    command = [sys.executable, "-m", "streamce", "eval", "-", *SEQUENCE, "--state", str(tmp_path / "state")]
    with open(tmp_path / "a.arrows", "rb") as stream:
        subprocess.run(command, stdin=stream, check=True, capture_output=True)
    assert (tmp_path / "state").read_bytes() == corpus.add_to(corpus.metric()).to_bytes()


@pytest.mark.parametrize("name", WRITERS)
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch, name, capsys):
    corpus = Corpus(13, 60)
    WRITERS[name](corpus_table(corpus), tmp_path / name)
    monkeypatch.setattr(reader, "CHUNK_VALUES", 150)
    words = [tmp_path / name, *SEQUENCE, "--n-bytes", "bytes", "--resume", "--checkpoint-every", "0"]
    expected = ce.SequenceCrossEntropy(kind="logits").update(
        corpus.preds, corpus.target, offsets=corpus.offsets, n_bytes=corpus.bytes
    )
    update, seen = ce.SequenceCrossEntropy._update, []

    def stopping(self, *arguments, **named):
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(1)
        update(self, *arguments, **named)

    monkeypatch.setattr(ce.SequenceCrossEntropy, "_update", stopping)
    assert main(["eval", *map(str, words), "--state", str(tmp_path / "state")]) == 130
    signal.signal(signal.SIGINT, signal.default_int_handler)  # because main() has left it ignored
    monkeypatch.setattr(ce.SequenceCrossEntropy, "_update", update)
    capsys.readouterr()
    found = told(capsys, *words, "--state", tmp_path / "state")
    assert 0 < found["rows_resumed"] < 60
    assert (tmp_path / "state").read_bytes() == expected.to_bytes()
    line = failure(capsys, 1, "eval", *words, "--per", "sequence", "--state", tmp_path / "state")
    assert "--per has changed from 'token' to 'sequence'" in line


# ---- errors ----

GOOD = {"p": [[[0.5, 0.5]], [[0.5, 0.5], [0.25, 0.75]]], "t": [[0], [1, 0]], "w": [1.0, 2.0], "n": [1, 2]}
BAD = {
    "no number": ({"p": [[[0.5, 0.5]], [[0.5, 0.5], [np.nan, 0.75]]]}, [], "row 1: column 'p[1][0]' is nan: expected"),
    "out of range": ({"p": [[[0.5, 0.5]], [[0.5, 0.5], [1.5, 0.75]]]}, [], "is 1.5: expected a probability in [0, 1]"),
    "a sum": ({"p": [[[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.75]]]}, [], "row 1: column 'p[1]' adds up to 1.25 over the"),
    "a token": ({"t": [[0], [1, 2]]}, [], "row 1: column 't[1]' is 2: expected a class from 0 to 1"),
    "lengths": ({"t": [[0], [1]]}, [], "row 1: columns 'p' and 't' hold 2 and 1 tokens, expected the same number"),
    "a target of an empty sequence": (
        {"p": [[[0.5, 0.5]], []]}, [], "row 1: columns 'p' and 't' hold 0 and 2 tokens, expected the same number"),
    "widths": (
        {"p": [[[0.5, 0.5]], [[0.5, 0.5], [0.2, 0.3, 0.5]]]}, [],
        "row 1: column 'p[1]' is a list of 3 where others have 2"),
    "an empty token": (
        {"p": [[[0.5, 0.5]], [[0.5, 0.5], []]]}, [], "row 1: column 'p[1]' is a list of 0 where others have 2"),
    "one class": ({"p": [[[1.0]], [[1.0], [1.0]]]}, [], "1), one class along axis 1: expected two"),
    "a weight": ({"w": [1.0, -2.0]}, ["--weight", "w"], "row 1: column 'w' is -2.0: expected a finite number"),
    "words": ({"n": [1, -2]}, ["--n-words", "n"], "row 1: column 'n' is -2: expected 0 or more"),
    "bytes": ({"n": [1.5, 2.5]}, ["--n-bytes", "n"], "column 'n' has dtype float64: expected integers"),
    "weights of tokens": ({"w": [[1.0], [1.0, 2.0]]}, ["--weight", "w"], "expected one number per row"),
    "words of tokens": ({"n": [[1], [1, 2]]}, ["--n-words", "n"], "expected one number per row"),
    "words that are text": ({"n": ["1", "2"]}, ["--n-words", "n"], "column 'n' holds string, expected numbers"),
    "a cluster": ({"n": [1.5, 2.5]}, ["--cluster", "n"], "row 0: column 'n' is 1.5"),
    "whole predictions": ({"p": [[[1, 0]], [[1, 0]] * 2]}, [],
                          "expected lists of lists of floating-point numbers"),
    "real tokens": ({"t": [[0.0], [1.0, 0.5]]}, [], "row 1: column 't[1]' is 0.5: expected a class from 0 to 1"),
    "text": ({"t": [["a"], ["b", "c"]]}, [], "column 't' holds list<element: string>, expected lists of integers"),
    "flat predictions": ({"p": [[0.5], [0.5, 0.25]]}, [], "expected lists of lists of floating-point numbers"),
    "numbers": ({"p": [0.5, 0.5]}, [],
                "expected lists of lists of floating-point numbers, which Parquet, Arrow and JSON lines can hold"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_sequence_is_named_by_row_column_and_place(tmp_path, capsys, case):
    changes, words, expected = BAD[case]
    WRITERS["a.parquet"](pa.table(GOOD | changes), tmp_path / "a.parquet")
    arguments = ["eval", tmp_path / "a.parquet", *SEQUENCE[:-2], *words]
    for cut in CUTS:
        line = failure(capsys, 1, *arguments, *cut, "--state", tmp_path / "state")
        assert line.startswith(f"{tmp_path / 'a.parquet'}: ")
        assert expected in line
    assert not (tmp_path / "state").exists()


BAD_UTTERANCES = {
    "the blank": ({"t": [[1], [1, 0]]}, [], "row 1: column 't[1]' is 0, the blank: expected a label from 0 to 1"),
    "no label": ({"t": [[1], [1, 5]]}, [], "row 1: column 't[1]' is 5: expected a label from 0 to 1"),
    "no number": ({"p": [[[0.5, 0.5]], [[0.5, 0.5], [0.5, np.nan]]]}, [], "row 1: column 'p[1][1]' is nan: expected"),
    "a sum": ({"p": [[[0.5, 0.5]], [[0.5, 0.5], [0.5, 0.75]]]}, [], "row 1: column 'p[1]' adds up to 1.25 over"),
    "a weight": ({"w": [1.0, -2.0]}, ["--weight", "w"], "row 1: column 'w' is -2.0: expected a finite number"),
    "a blank that is none": ({}, ["--blank", "7"], "blank is 7 and preds has 2 classes"),
    "no frames to begin with": (
        {"p": [[], []]}, [], "row 0: column 'p' holds no frames, and the number of classes is unknown",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_UTTERANCES)
def test_a_bad_utterance_is_named_by_row_column_and_place(tmp_path, capsys, case):
    changes, words, expected = BAD_UTTERANCES[case]
    data = GOOD | {"t": [[1], [1, 1]]} | changes
    table = pa.table(data | {"p": pa.array(data["p"], pa.list_(pa.list_(pa.float64())))})
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    for cut in CUTS:
        line = failure(capsys, 1, "eval", tmp_path / "a.parquet", *CTC[:-2], *words, *cut)
        assert line.startswith(f"{tmp_path / 'a.parquet'}: ")
        assert expected in line


def test_a_bad_log_probability_is_named(tmp_path, capsys):
    WRITERS["a.parquet"](pa.table({"lp": [[-1.0], [-1.0, 0.5]]}), tmp_path / "a.parquet")
    line = failure(capsys, 1, "eval", tmp_path / "a.parquet", *CHOSEN)
    assert line.endswith("a.parquet: row 1: column 'lp[1]' is 0.5: expected a log-probability, 0 or less")
    WRITERS["a.parquet"](pa.table({"lp": [[-1.0], []], "w": [1.0, -1.0]}), tmp_path / "a.parquet")
    line = failure(capsys, 1, "eval", tmp_path / "a.parquet", *CHOSEN, "--weight", "w")
    assert line.endswith("row 1: column 'w' is -1.0: expected a finite number, 0 or more")


def test_formats_without_lists_of_lists_say_so(tmp_path, capsys):
    csv.write_csv(pa.table({"p": [0.5], "t": [1]}), tmp_path / "a.csv")
    line = failure(capsys, 1, "eval", tmp_path / "a.csv", *SEQUENCE)
    assert "column 'p' holds double, expected lists of lists of floating-point numbers, which Parquet, Arrow" in line
    np.savez(tmp_path / "a.npz", p=np.zeros((2, 3, 4)), t=np.zeros((2, 3), int))
    assert "is not a column" in failure(capsys, 1, "eval", tmp_path / "a.npz", *SEQUENCE)
    np.save(tmp_path / "p.npy", np.zeros((2, 3)))
    np.save(tmp_path / "t.npy", np.zeros((2, 3), int))
    words = ["eval", tmp_path / "p.npy", "--task", "sequence", "--target", tmp_path / "t.npy"]
    assert "expected lists of lists of floating-point numbers" in failure(capsys, 1, *words)


def test_log_probabilities_of_tokens_may_be_a_numpy_array(tmp_path):
    log_probs = -np.random.default_rng(14).random((9, 5))
    np.savez(tmp_path / "a.npz", lp=log_probs)
    expected = ce.SequenceCrossEntropy(kind="log_probs").update_token_log_probs(log_probs)
    assert state_of(tmp_path, tmp_path / "a.npz", *CHOSEN) == expected.to_bytes()


USAGE = {
    "no target": (["--task", "sequence", "--preds", "p"], "required: --target"),
    "no preds": (["--task", "sequence", "--target", "t"], "--preds must say"),
    "two of preds": ([*SEQUENCE, "--preds", "w"], "for sequence predictions are one column of lists, not 'p', 'w'"),
    "preds and log_probs": ([*CHOSEN, "--preds", "p"], "--preds cannot be combined with --token-log-probs"),
    "target and log_probs": ([*CHOSEN, "--target", "t"], "--target cannot be combined with --token-log-probs"),
    "kind and log_probs": ([*CHOSEN, "--kind", "logits"], "--kind logits cannot be combined with --token-log-probs"),
    "smoothing and log_probs": ([*CHOSEN, "--label-smoothing", "0"], "--label-smoothing cannot be combined with"),
    "ignored and log_probs": ([*CHOSEN, "--ignore-index", "0"], "--ignore-index cannot be combined with"),
    "log_probs of classes": (
        ["--task", "binary", "--token-log-probs", "p"], "--token-log-probs is not an option of --task binary"),
    "per of another task": ([*SEQUENCE, "--per", "label"], "--per: per is 'label': expected"),
    "per of classes": (
        ["--task", "binary", "--preds", "w", "--target", "n", "--per", "token"], "--per is not an option",
    ),
    "blank of sequences": ([*SEQUENCE, "--blank", "1"], "--blank is not an option of --task sequence"),
    "a blank below 0": ([*CTC, "--blank", "-1"], "--blank: blank is -1"),
    "eps of utterances": ([*CTC, "--eps", "0"], "--eps is not an option of --task ctc"),
    "ignored labels of utterances": ([*CTC, "--ignore-index", "0"], "--ignore-index is not an option of --task ctc"),
    "words of utterances": ([*CTC, "--n-words", "n"], "--n-words is not an option of --task ctc"),
    "classes of sequences": ([*SEQUENCE, "--classes", "a,b"], "--classes is not an option of --task sequence"),
    "a normalized entropy of tokens": ([*SEQUENCE, "--normalized"], "--normalized is not an option of --task sequence"),
    "no such column": ([*SEQUENCE, "--n-bytes", "size"], "no column 'size'"),
}  # fmt: skip


@pytest.mark.parametrize("case", USAGE)
def test_usage_errors_are_one_line(tmp_path, capsys, case):
    words, expected = USAGE[case]
    WRITERS["a.parquet"](pa.table(GOOD | {"lp": [[-1.0], [-2.0]]}), tmp_path / "a.parquet")
    assert expected in failure(capsys, 2, "eval", tmp_path / "a.parquet", *words)


# ---- output ----


def test_json_is_the_summary_and_the_options(tmp_path, capsys):
    corpus = Corpus(15, 40)
    WRITERS["a.parquet"](corpus_table(corpus), tmp_path / "a.parquet")
    found = told(capsys, tmp_path / "a.parquet", *SEQUENCE, "--n-words", "words", "--n-bytes", "bytes")
    options = found.pop("options")
    metric = corpus.add_to(corpus.metric(), counted=True)
    assert (found.pop("rows_resumed"), found.pop("rows_unreadable")) == (0, 0)
    assert found.pop("per_word") == plain(metric.per_word())
    assert found.pop("per_byte") == plain(metric.per_byte())
    assert found == plain(metric.summary())
    expected = {"task": "sequence", "metric": "SequenceCrossEntropy", "preds": ["p"], "target": ["t"], "per": "token",
                "n_words": "words", "n_bytes": "bytes", "ignore_index": -100, "kind": "logits"}  # fmt: skip
    assert options.items() >= expected.items()
    found = told(capsys, tmp_path / "a.parquet", *SEQUENCE)
    assert not {"per_word", "per_byte"} & {*found}


def plain(summary):
    return json.loads(json.dumps(summary.to_dict()))


def test_words_and_bytes_are_printed_where_they_were_counted(tmp_path, capsys):
    corpus = Corpus(16, 40)
    WRITERS["a.parquet"](corpus_table(corpus), tmp_path / "a.parquet")
    words = ["eval", str(tmp_path / "a.parquet"), *SEQUENCE, "--state", str(tmp_path / "state")]
    assert main([*words, "--n-bytes", "bytes", "--level", "0.9"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = corpus.add_to(corpus.metric(), counted=True).per_byte(0.9)
    low, high = found.bits_interval
    [line] = [line for line in lines if line.startswith("bits per byte")]
    assert line.split()[3:] == [
        f"{found.bits:.6g}", "90", "%", "interval", f"{low:.6g}", "to", f"{high:.6g},", f"{found.samples}", "samples",
    ]  # fmt: skip
    assert not any(line.startswith("word perplexity") for line in lines)
    assert main(["show", str(tmp_path / "state"), "--level", "0.9"]) == 0
    assert line in capsys.readouterr().out.splitlines()
    assert main(["show", str(tmp_path / "state"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["per_byte"]["mean"] == found.mean
    assert main([*words, "--n-words", "words", "--anytime"]) == 0
    assert "word perplexity" in (out := capsys.readouterr().out)
    assert "95 % confidence sequence" in out.split("word perplexity")[1]
