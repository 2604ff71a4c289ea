"""Every format of files gives the same arrays, in chunks of any size."""

import gzip
import json
import os
import threading
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
from imports import modules_after
from pyarrow import csv, feather, fs, ipc, parquet

from streamce.errors import DataError, Location
from streamce.inputs import arrow
from streamce.reading import reader
from streamce.reading.files import sources
from streamce.reading.formats import text
from streamce.reading.selection import Selection

pytestmark = pytest.mark.core

ROWS = 1000


def write_ipc(table, path, new=ipc.new_file):
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=300)


def write_tsv(table, path):
    csv.write_csv(table, path, csv.WriteOptions(delimiter="\t", quoting_style="none"))


def write_gzip(table, path):
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink)
    path.write_bytes(gzip.compress(sink.getvalue().to_pybytes()))


def write_jsonl(table, path):
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))


def write_npz(table, path, save=np.savez):
    save(path, **{name: table[name].to_numpy() for name in table.column_names})


WRITERS = {
    "a.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=400),
    "a.arrow": write_ipc,
    "a.arrows": lambda table, path: write_ipc(table, path, ipc.new_stream),
    "a.feather": lambda table, path: feather.write_feather(table, path, chunksize=300),
    "a.csv": lambda table, path: csv.write_csv(table, path),
    "a.tsv": write_tsv,
    "a.csv.gz": write_gzip,
    "a.jsonl": write_jsonl,
    "a.npz": write_npz,
    "packed.npz": lambda table, path: write_npz(table, path, np.savez_compressed),
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(5)
    probs = rng.dirichlet(np.ones(3), ROWS)
    columns = {f"p_{c}": probs[:, c].copy() for c in range(3)}
    return pa.table({**columns, "target": rng.integers(0, 3, ROWS), "weight": rng.random(ROWS)})


def source(path):
    return sources.make_source(str(path), fs.LocalFileSystem(), str(path), path.stat().st_size)


def reading(*paths, preds, target=("target",), weight=None, axes=(2, 1), rows=None, **selection):
    chosen = Selection(preds, target, weight, **selection)
    return reader.Reading([source(path) for path in paths], lambda *_: chosen, *axes, rows)


def arrays(found):
    """Return the concatenated arrays of chunks. They are copied, because they are valid until the next chunk."""
    parts = [
        [c.preds.copy(), c.target.copy(), None if c.weight is None else c.weight.copy(), c.null] for c in found.chunks()
    ]
    preds, target, weight, null = zip(*parts, strict=True)
    shapes = [p.shape[: max(t.ndim, 1)] for p, t in zip(preds, target, strict=True)]
    null = [np.zeros(s, bool) if n is None else n for n, s in zip(null, shapes, strict=True)]
    weight = None if weight[0] is None else np.concatenate(weight)
    return np.concatenate(preds), np.concatenate(target), weight, np.concatenate(null)


# ---- formats ----


@pytest.mark.parametrize("rows", [None, 7, 256])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, table, name, rows):
    WRITERS[name](table, tmp_path / name)
    found = reading(tmp_path / name, preds=("p_0", "p_1", "p_2"), weight="weight", rows=rows)
    preds, target, weight, null = arrays(found)
    np.testing.assert_array_equal(preds, np.stack([table[f"p_{c}"] for c in range(3)], axis=1))
    np.testing.assert_array_equal(target, table["target"])
    np.testing.assert_array_equal(weight, table["weight"])
    assert not null.any()


@pytest.mark.parametrize("name", WRITERS)
def test_chunks_have_the_rows_asked_for_and_know_where_they_are(tmp_path, table, name):
    WRITERS[name](table, tmp_path / name)
    found = reading(tmp_path / name, preds=("p_0", "p_1", "p_2"), rows=64)
    parts = [(c.first_row, len(c.preds), c.fraction) for c in found.chunks()]
    sizes = [size for _, size, _ in parts]
    assert max(sizes) <= 64
    assert [first for first, _, _ in parts] == np.cumsum([0, *sizes])[:-1].tolist()
    fractions = [fraction for _, _, fraction in parts]
    if name == "a.csv.gz":  # the size of the rest is unknown
        assert set(fractions) == {None}
    else:
        assert fractions == sorted(fractions)
        assert fractions[-1] == pytest.approx(1.0, abs=1e-3)


def test_the_fraction_is_of_all_files(tmp_path, table):
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for path in paths:
        WRITERS["a.parquet"](table, path)
    found = reading(*paths, preds=("p_0", "p_1", "p_2"), rows=500)
    assert [c.fraction for c in found.chunks()] == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_files_of_any_byte_order_and_layout(tmp_path, dtype, order):
    probs = np.asarray(np.random.default_rng(1).random((100, 4)), dtype, order=order)
    np.save(tmp_path / "p.npy", probs)
    np.save(tmp_path / "t.npy", np.arange(100, dtype=">i2"))
    path, target = str(tmp_path / "p.npy"), str(tmp_path / "t.npy")
    chosen = Selection((path,), (target,))
    found = reader.Reading([source(tmp_path / "p.npy")], lambda *_: chosen, 2, 1, 33, [target])
    preds, target, _, _ = arrays(found)
    np.testing.assert_array_equal(preds, probs)
    np.testing.assert_array_equal(target, np.arange(100))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_columns_keep_their_dtype(tmp_path, dtype):
    column = pa.array(np.arange(8, dtype=dtype) / dtype(8))
    found = pa.table({"a": column, "b": column, "target": pa.array([1] * 8, pa.uint8())})
    WRITERS["a.parquet"](found, tmp_path / "a.parquet")
    preds, target, _, _ = arrays(reading(tmp_path / "a.parquet", preds=("a", "b")))
    assert preds.dtype == dtype
    assert target.dtype == np.uint8


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_text_formats_widen_columns_that_only_begin_as_whole_numbers(tmp_path, name):
    rows = ["1,0,0", *["0.5,0.5,1"] * 10, "0,1,0"]
    (tmp_path / "a.csv").write_text("a,b,target\n" + "\n".join(rows))
    lines = [f'{{"a": {a}, "b": {b}, "target": {t}}}' for a, b, t in (r.split(",") for r in rows)]
    (tmp_path / "a.json").write_text("\n".join(lines))
    preds, target, _, _ = arrays(reading(tmp_path / name, preds=("a", "b")))
    assert (preds.dtype, target.dtype) == (np.float64, np.float64)
    assert preds[[0, 1, -1]].tolist() == [[1, 0], [0.5, 0.5], [0, 1]]


def test_csv_fields_may_hold_commas_and_line_ends(tmp_path):
    (tmp_path / "a.csv").write_text('text,p,target\n"a, b\nc",0.25,1\n"""",0.5,0\n')
    preds, target, _, _ = arrays(reading(tmp_path / "a.csv", preds=("p",), axes=(1, 1)))
    assert (preds.tolist(), target.tolist()) == ([0.25, 0.5], [1, 0])


@pytest.mark.parametrize("size", [8, 16, 61, 300, 5000])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_text_is_cut_between_rows_wherever_blocks_end(tmp_path, monkeypatch, size, ending, name):
    rng = np.random.default_rng(size)
    probs, labels = rng.random(60), rng.integers(0, 2, 60)
    notes = ["".join(rng.choice(list('ab,\n"{}'), rng.integers(0, 12))) for _ in range(60)]
    csv_rows = [
        '"{}",{!r},{}'.format(note.replace('"', '""'), float(p), t)
        for note, p, t in zip(notes, probs, labels, strict=True)
    ]
    json_rows = [
        json.dumps({"note": note, "p": float(p), "target": int(t)})
        for note, p, t in zip(notes, probs, labels, strict=True)
    ]
    monkeypatch.setattr(text, "TEXT_BLOCK", size)
    rows, bad = {
        "a.csv": (["note,p,target", *csv_rows], '"",x,1'),
        "a.jsonl": (json_rows, '{"note": "", "p": "x", "target": 1}'),
    }[name]
    for last in ("", ending):
        (tmp_path / name).write_bytes((ending.join(rows) + last).encode())
        found = reading(tmp_path / name, preds=("p",), axes=(1, 1), rows=7)
        preds, target, _, _ = arrays(found)
        assert preds.tolist() == probs.tolist()
        assert target.tolist() == labels.tolist()
    (tmp_path / name).write_bytes(ending.join([*rows, bad]).encode())
    with pytest.raises(DataError, match=f"{name}: .*row 60"):
        arrays(reading(tmp_path / name, preds=("p",), axes=(1, 1)))


def test_a_stray_quote_does_not_swallow_the_file(tmp_path, monkeypatch):
    rows = [f"{note},{i / 1000},1" for i, note in enumerate(["a"] * 20 + ['5" pipe'] + ["b"] * 500)]
    (tmp_path / "a.csv").write_text("\n".join(["note,p,target", *rows]))
    monkeypatch.setattr(text, "TEXT_BLOCK", 64)
    preds, _, _, _ = arrays(reading(tmp_path / "a.csv", preds=("p",), axes=(1, 1)))
    assert preds.tolist() == [i / 1000 for i in range(521)]


def test_nan_in_text_is_a_number_and_not_a_null(tmp_path):
    (tmp_path / "a.csv").write_text("p,target\nnan,1\n,0\nNA,1\ninf,0\n")
    preds, _, _, null = arrays(reading(tmp_path / "a.csv", preds=("p",), axes=(1, 1)))
    assert np.isnan(preds[0])
    assert np.isinf(preds[3])
    assert null.tolist() == [False, True, True, False]


def test_files_without_a_known_ending_are_told_by_their_first_bytes(tmp_path, table):
    for name in ("a.parquet", "a.arrow", "a.arrows", "a.npz"):
        WRITERS[name](table, tmp_path / name)
        (tmp_path / "data").write_bytes((tmp_path / name).read_bytes())
        expected = {"a.arrows": "arrow"}.get(name, name.split(".")[1])
        assert source(tmp_path / "data").format == expected


# ---- columns ----


LISTS = {
    "fixed": pa.list_(pa.float32(), 3),
    "list": pa.list_(pa.float32()),
    "large": pa.large_list(pa.float32()),
}


@pytest.mark.parametrize("type_", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("nulls", ["none", "rows", "entries", "both"])
def test_list_columns_at_every_offset(type_, nulls):
    rng = np.random.default_rng(2)
    rows = [[float(x) for x in row] for row in rng.random((40, 3)).astype("f4")]
    if nulls in ("entries", "both"):
        for i in range(0, 40, 3):
            rows[i][i % 2] = None
    if nulls in ("rows", "both"):
        rows[::5] = [None] * 8
    whole = pa.array(rows, type_)
    for start in (0, 1, 7, 8, 9, 39):
        for size in (1, 8, 40):
            values, null = arrow.matrix(whole.slice(start, size), 3, 0)
            expected = rows[start : start + size]
            mask = [[x is None for x in row or [None] * 3] for row in expected]
            assert (np.zeros(values.shape, bool) if null is None else null).tolist() == mask
            known = [x for row in expected for x in row or [] if x is not None]
            assert values[~np.array(mask)].tolist() == known


def test_fixed_size_lists_without_nulls_are_not_copied():
    values = pa.array(np.arange(12, dtype="f4"))
    lists = pa.FixedSizeListArray.from_arrays(values, 3).slice(1, 2)
    preds, _ = arrow.matrix(lists, None, 0)
    assert preds.tolist() == [[3, 4, 5], [6, 7, 8]]
    assert preds.__array_interface__["data"][0] == values.buffers()[1].address + 12


def test_ragged_lists_are_named_by_their_row():
    lists = pa.array([[1.0, 2.0], None, [1.0]])
    with pytest.raises(DataError, match="row 102: a list of 1 where others have 2"):
        arrow.matrix(lists, None, 100)


def test_lists_that_begin_with_nulls_or_are_empty(tmp_path):
    rows = [None] * 5 + [[0.25, 0.5, 0.25]]
    WRITERS["a.parquet"](pa.table({"p": rows, "target": [0] * 6}), tmp_path / "a.parquet")
    for size in (None, 1, 2):
        found = reading(tmp_path / "a.parquet", preds=("p",), rows=size).chunks()
        null = [np.zeros(len(c.preds), bool) if c.null is None else c.null for c in found]
        assert np.concatenate(null).tolist() == [True] * 5 + [False]
    found = reading(tmp_path / "a.parquet", preds=("p",), rows=2, axes=(2, 2))
    with pytest.raises(DataError, match="row 0: there are nulls before any list"):
        next(found.chunks())
    empty = pa.table({"p": pa.array([[]], pa.list_(pa.float64())), "target": [0]})
    WRITERS["a.parquet"](empty, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 0: column 'p' is a list of 0"):
        next(reading(tmp_path / "a.parquet", preds=("p",)).chunks())


def test_list_columns_must_agree_from_chunk_to_chunk(tmp_path):
    found = pa.table({"p": [[0.5, 0.5]] * 4 + [[0.2, 0.3, 0.5]] * 4, "target": [0] * 8})
    WRITERS["a.parquet"](found, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: row 4: column 'p' is a list of 3 where others"):
        arrays(reading(tmp_path / "a.parquet", preds=("p",), rows=2))


@pytest.mark.parametrize("type_", [pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_()])
def test_flat_columns_at_every_offset(type_):
    rows = [None if i % 3 == 0 else i % 2 for i in range(40)]
    plain = [0 if row is None else row for row in rows]
    for data, nulls in ((rows, True), (plain, False)):
        if type_ == pa.float16():  # old versions of Arrow cannot cast to it
            whole = pa.array([row if row is None else np.float16(row) for row in data], type_)
        else:
            whole = pa.array(data, pa.int64()).cast(type_)
        for start in (0, 1, 8, 13):
            values, null = arrow.flat(whole.slice(start, 20))
            if nulls:
                known = [row for row in data[start : start + 20] if row is not None]
                assert null.tolist() == [row is None for row in data[start : start + 20]]
                assert values[~null].tolist() == known
            else:
                assert null is None
                assert values.tolist() == data[start : start + 20]


def test_dictionary_decimal_and_null_columns_are_numbers():
    decimals = pa.array(["0.25", "0.50"]).cast(pa.decimal128(10, 4))
    assert arrow.flat(decimals)[0].tolist() == [0.25, 0.5]
    encoded = pa.array([0.5, 0.25, 0.5]).dictionary_encode()
    assert arrow.flat(encoded)[0].tolist() == [0.5, 0.25, 0.5]
    assert arrow.flat(pa.nulls(2))[1].tolist() == [True, True]


def test_a_null_in_any_part_makes_its_loss_null(tmp_path):
    found = pa.table({
        "a": [0.5, None, 0.5, 0.5, 0.5],
        "b": [0.5, 0.5, 0.5, 0.5, None],
        "x": [1, 1, None, 1, 1],
        "y": [0, 0, 0, 0, 0],
        "w": [1.0, 1.0, 1.0, None, 1.0],
    })  # fmt: skip
    WRITERS["a.parquet"](found, tmp_path / "a.parquet")
    names = {"preds": ("a", "b"), "weight": "w"}
    *_, null = arrays(reading(tmp_path / "a.parquet", **names, target=("x",)))
    assert null.tolist() == [False, True, True, True, True]
    *_, null = arrays(reading(tmp_path / "a.parquet", **names, target=("x", "y"), axes=(2, 2)))
    assert null.astype(int).tolist() == [[0, 0], [1, 0], [1, 0], [1, 1], [0, 1]]


def test_cells_are_told_by_row_and_column(tmp_path):
    found = pa.table({"a": [0.1] * 9, "b": [0.2] * 9, "list": [[0.3, 0.4]] * 9, "target": [7] * 9})
    WRITERS["a.parquet"](found, tmp_path / "a.parquet")
    with closing(reading(tmp_path / "a.parquet", preds=("a", "b"), rows=4).chunks()) as parts:
        next(parts)
        chunk = next(parts)
        assert chunk.cell("preds", (1, 1)) == (Location(5, "b"), 0.2)
        assert chunk.cell("preds", (1,)) == (Location(5), None)
        assert chunk.cell("target", (3,)) == (Location(7, "target"), 7)
    with closing(reading(tmp_path / "a.parquet", preds=("list",), rows=4).chunks()) as parts:
        assert next(parts).cell("preds", (2, 1)) == (Location(2, "list", (1,)), 0.4)


# ---- the reader's thread ----


def test_leaving_early_ends_the_thread(tmp_path, table):
    WRITERS["a.parquet"](table, tmp_path / "a.parquet")
    found = reading(tmp_path / "a.parquet", preds=("p_0",), rows=1, axes=(1, 1))
    with closing(found.chunks()) as parts:
        next(parts)
    assert not [t for t in threading.enumerate() if t.name == "streamce-reader"]


def test_leaving_ends_the_thread_though_a_pipe_says_nothing(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    holder = os.open(path, os.O_RDWR)  # so that neither side waits, and the pipe never ends
    block = b"0.5,1\n" * (2 * text.TEXT_BLOCK // 6 + 1)
    writer = threading.Thread(target=lambda: os.write(holder, b"p,target\n" + block))
    writer.start()
    chosen = Selection(("p",), ("target",))
    pipe = sources.Source("pipe", "pipe", str(path))
    with closing(reader.Reading([pipe], lambda *_: chosen, 1, 1).chunks()) as parts:
        assert next(parts).preds[0] == 0.5
    assert not [t for t in threading.enumerate() if t.name == "streamce-reader"]
    os.set_blocking(holder, False)
    while writer.is_alive():  # discard the rest
        try:
            os.read(holder, 1 << 20)
        except BlockingIOError:
            writer.join(0.01)
    os.close(holder)


def test_what_goes_wrong_on_the_thread_is_raised_in_the_loop(tmp_path, table):
    path = tmp_path / "a.parquet"
    WRITERS["a.parquet"](table, path)
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36  # the header of the first page
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: "):
        arrays(reading(path, preds=("p_0",), axes=(1, 1)))


# ---- resuming ----


def rows_of(found, start=None):
    """Return row numbers, predictions, targets and weights of the chunks from a position on."""
    with closing(found.chunks(start)) as parts:
        columns = [(c.first_row + np.arange(len(c.preds)), c.preds.copy(), c.target.copy(), c.weight) for c in parts]
    return [np.concatenate(parts) for parts in zip(*columns, strict=True)] if columns else None


def check_every_end(make):
    """Check that reading from the end of any chunk on, in chunks of any size, gives the remaining rows."""
    whole, done = rows_of(make(64)), 0
    with closing(make(64).chunks()) as parts:
        ends = [(len(chunk.preds), chunk.end) for chunk in parts]
    for size, end in ends:
        done += size
        for rows in (None, 7):
            rest = rows_of(make(rows), end)
            assert (rest is None) == (done == len(whole[0]))
            for left, column in zip(rest or [], whole, strict=rest is not None):
                np.testing.assert_array_equal(left, column[done:])


@pytest.mark.parametrize("block", [text.TEXT_BLOCK, 3000])
@pytest.mark.parametrize("name", WRITERS)
def test_a_reading_goes_on_from_the_end_of_any_chunk(tmp_path, table, name, block, monkeypatch):
    monkeypatch.setattr(text, "TEXT_BLOCK", block)
    paths = [tmp_path / part / name for part in "ab"]
    for path, part in zip(paths, (table.slice(0, 700), table.slice(700)), strict=True):
        path.parent.mkdir()
        WRITERS[name](part, path)
    preds = ("p_0", "p_1", "p_2")
    check_every_end(lambda rows: reading(*paths, preds=preds, weight="weight", rows=rows))


def test_a_npy_file_goes_on_with_those_beside_it(tmp_path, table):
    for name in ("p_0", "target", "weight"):
        np.save(tmp_path / f"{name}.npy", table[name].to_numpy())
    preds, *beside = (str(tmp_path / f"{name}.npy") for name in ("p_0", "target", "weight"))
    chosen = Selection((preds,), (beside[0],), beside[1])
    found = source(tmp_path / "p_0.npy")
    check_every_end(lambda rows: reader.Reading([found], lambda *_: chosen, 1, 1, rows, beside))


def test_the_length_of_lists_is_known_when_a_reading_goes_on(tmp_path):
    lists = pa.array([None, [0.5, 0.5], None, [0.2, 0.3, 0.5]])
    parquet.write_table(pa.table({"p": lists, "target": [0, 1, 0, 1]}), tmp_path / "a.parquet")
    with closing(reading(tmp_path / "a.parquet", preds=("p",), rows=1).chunks()) as parts:
        ends = [next(parts).end for _ in range(3)]
    for end in ends[1:]:
        with pytest.raises(DataError, match="row 3: column 'p' is a list of 3 where others have 2"):
            rows_of(reading(tmp_path / "a.parquet", preds=("p",), rows=1), end)


SMALL = {
    "a.csv": b"p,y\n0.5,1\n",
    "a.jsonl": b'{"p":0.5,"y":1}\n',
    "lists.jsonl": b'{"p":[0.5,0.5],"y":1}\n',
}


@pytest.mark.parametrize("name", SMALL)
def test_reading_numbers_imports_no_slow_modules(tmp_path, name):
    """Because they take longer to import than a small file takes to read."""
    (tmp_path / name).write_bytes(SMALL[name])
    task = "multiclass" if name.startswith("lists") else "binary"
    words = ["eval", str(tmp_path / name), "--task", task, "--preds", "p", "--target", "y"]
    statement = f"""if True:
        import contextlib, io
        from streamce.cli.main import main
        with contextlib.redirect_stdout(io.StringIO()):
            assert main({words}) == 0"""
    slow = {"pandas"} if task == "multiclass" else {"pandas", "pyarrow.compute"}  # Arrow needs its functions for lists
    assert not slow & modules_after(statement)
