"""Files that are damaged, or truncated while they are read, give one line with the file and place, never a signal."""

import gzip
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, feather, fs, ipc, parquet

from streamce.cli.main import main
from streamce.errors import DataError
from streamce.reading import reader
from streamce.reading.files import sources
from streamce.reading.formats import arrow_blocks, arrow_ipc, records, text
from streamce.reading.open_table import open_table
from streamce.reading.selection import Selection

ROWS = 5000
BINARY = ("--task", "binary", "--preds", "p", "--target", "y")


@pytest.fixture(scope="module")
def table():
    random = np.random.default_rng(7)
    return pa.table({"p": random.random(ROWS), "y": random.integers(0, 2, ROWS)})


def write_ipc(table, path, new=ipc.new_file, rows=None, **options):
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema, **options) as writer:
        writer.write_table(table, max_chunksize=rows)


def write_npz(table, path, save=np.savez):
    save(path, **{name: table[name].to_numpy() for name in table.column_names})


def write_jsonl(table, path):
    path.write_text("".join(f'{{"p": {p}, "y": {y}}}\n' for p, y in zip(*table.to_pydict().values(), strict=True)))


WRITERS = {
    "a.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=1000),
    "a.arrow": lambda table, path: write_ipc(table, path, rows=1000),
    "one.arrow": write_ipc,
    "a.arrows": lambda table, path: write_ipc(table, path, ipc.new_stream, 1000),
    "one.arrows": lambda table, path: write_ipc(table, path, ipc.new_stream),
    "a.feather": lambda table, path: feather.write_feather(table, path, chunksize=1000),
    "a.csv": lambda table, path: csv.write_csv(table, path),
    "a.jsonl": write_jsonl,
    "a.npz": write_npz,
    "packed.npz": lambda table, path: write_npz(table, path, np.savez_compressed),
}


def reading(path, rows=100, beside=(), axes=(1, 1), preds="p", target="y"):
    found = sources.make_source(str(path), fs.LocalFileSystem(), str(path), path.stat().st_size)
    chosen = Selection((preds,), (target,))
    return reader.Reading([found], lambda *_: chosen, *axes, rows, beside)


def failure(capsys, status, *arguments):
    """Run a command that fails with this status, and return its one line on standard error."""
    assert main([*map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


# ---- cut short ----


@pytest.mark.parametrize("keep", [0, 1, 3])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_cut_short_while_it_is_read_is_an_error_that_names_it(tmp_path, monkeypatch, table, name, keep):
    for module in (arrow_blocks, arrow_ipc):
        monkeypatch.setattr(module, "BATCH_BYTES", 4096)
    monkeypatch.setattr(text, "TEXT_BLOCK", 4096)
    path = tmp_path / name
    WRITERS[name](table, path)
    parts = reading(path).lazy_chunks()
    next(parts)
    os.truncate(path, path.stat().st_size * keep // 4)
    with pytest.raises(DataError, match=re.escape(f"{name}: ")):
        list(parts)


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_that_is_cut_short_while_it_is_read_says_which_rows_are_gone(tmp_path, monkeypatch, order):
    monkeypatch.setattr("streamce.reading.formats.numpy_rows.TILE_BYTES", 1000)
    probs = np.full((ROWS, 2), 0.5, order=order)
    np.save(tmp_path / "p.npy", probs)
    np.save(tmp_path / "y.npy", np.zeros(ROWS, int))
    beside = str(tmp_path / "y.npy")
    path = tmp_path / "p.npy"
    parts = reading(path, 100, [beside], (2, 1), str(path), beside).lazy_chunks()
    next(parts)
    os.truncate(path, 10_000)
    with pytest.raises(DataError, match=r"p\.npy: it ends before byte [\d,]+, the end of the part with rows \d+ to"):
        list(parts)


def test_no_file_is_mapped(tmp_path, table):
    """A truncated map would end the process, so the test searches the memory maps of the process."""
    maps = Path("/proc/self/maps")
    for name, write in WRITERS.items():
        write(table, tmp_path / name)
        for chunk in reading(tmp_path / name, 1000).lazy_chunks():
            assert chunk.rows
            assert str(tmp_path) not in maps.read_text()
    uri = f"file://{tmp_path}/a.parquet?use_mmap"
    [found] = sources.find_sources([uri])
    assert found.filesystem.equals(fs.LocalFileSystem(use_mmap=False))


# ---- damaged metadata ----


FLIPPED_BITS = """
import os, resource, sys
from streamce.reading.files import sources
from streamce.reading.open_table import open_table

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
whole, signals, refused = open(sys.argv[1], "rb").read(), [], 0
footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
for place in (footer + byte for start in (16, 44, 57) for byte in range(start, start + 4)):
    for bit in range(8):
        data = bytearray(whole)
        data[place] ^= 1 << bit
        open("damaged.parquet", "wb").write(data)
        child = os.fork()
        if child == 0:
            try:
                table = open_table(sources.find_sources(["damaged.parquet"])[0], (), None)
                table.width("p")
                table.marks()
                list(table.parts({"p": None}, 100))
            except Exception:
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        refused += status == 1
        if status < 0:
            signals.append((place - footer, bit, status))
print(refused > 30, signals)
"""


def test_a_parquet_footer_without_sense_ends_no_process(tmp_path):
    """The metadata of columns is not read, because pyarrow ends the process if certain bits of it are flipped."""
    lists = pa.table({"p": [[0.5, 0.5]] * 50, "y": [0] * 50})
    parquet.write_table(lists, tmp_path / "a.parquet")
    command = [sys.executable, "-c", FLIPPED_BITS, "a.parquet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "True []\n"


@pytest.mark.parametrize("shape", [(-1,), (10**15,), (ROWS + 1,), (ROWS, 2), (2**62, 2**62)])
@pytest.mark.parametrize("name", ["p.npy", "p.npz"])
def test_an_array_of_more_rows_than_its_file_holds_is_refused(tmp_path, capsys, table, name, shape):
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    with open(tmp_path / "p.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(table["p"].to_numpy().tobytes())
    if name == "p.npz":
        import zipfile

        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.write(tmp_path / "p.npy", "p.npy")
            archive.writestr("y.npy", (tmp_path / "p.npy").read_bytes())
        arguments = BINARY
    else:
        np.save(tmp_path / "y.npy", table["y"].to_numpy())
        arguments = ("--task", "binary", "--target", str(tmp_path / "y.npy"))
    line = failure(capsys, 1, "eval", tmp_path / name, *arguments)
    assert f"{name}: an array of float64 of shape" in line


# ---- batches that are too large to read at once ----


def large_table():
    random = np.random.default_rng(3)
    rows = 1000
    missing = random.random(rows) < 0.2
    lengths = random.integers(0, 5, rows)
    return pa.table(
        {
            "text": pa.array([f"row {i}" * (i % 4) for i in range(rows)], mask=missing),
            "view": pa.array(["a long text that is no part of the view"] * rows, pa.string_view()),
            "word": pa.array(["a", "b"] * (rows // 2)).dictionary_encode(),
            "bits": pa.array(random.random(rows) < 0.5, mask=missing),
            "number": pa.array(random.random(rows), mask=missing),
            "half": pa.array(random.random(rows).astype(np.float16)),
            "none": pa.nulls(rows),
            "fixed": pa.FixedSizeListArray.from_arrays(pa.array(random.random(3 * rows)), 3),
            "list": pa.array([[0.5] * int(n) for n in lengths], pa.list_(pa.float32()), mask=missing),
            "large": pa.array([["x" * int(n)] * int(n) for n in lengths], pa.large_list(pa.large_string())),
            "nested": pa.array([[[float(i)] * 2] * int(n) for i, n in enumerate(lengths)]),
            "struct": pa.array([{"a": i, "b": f"{i}"} for i in range(rows)]),
            "map": pa.array([[(str(i), i)] for i in range(rows)], pa.map_(pa.string(), pa.int32())),
            "decimal": pa.array(list(range(rows)), pa.decimal128(9, 2)),
        }
    )


@pytest.mark.parametrize("rows", [1, 7, 64, 5000])
@pytest.mark.parametrize("new", [ipc.new_file, ipc.new_stream])
@pytest.mark.parametrize("compression", [None, "lz4"])
def test_parts_of_a_large_batch_are_its_rows(tmp_path, monkeypatch, rows, new, compression):
    found = large_table()
    if new is ipc.new_stream:
        found = found.drop_columns(["word"])  # Arrow reads its dictionary before
    options = ipc.IpcWriteOptions(compression=compression)
    write_ipc(found, tmp_path / "a.arrow", new, 500, options=options)
    for limit in (1000, 1 << 30):  # largest bytes of a part, and of a batch that is read whole
        monkeypatch.setattr(arrow_blocks, "BATCH_BYTES", limit)
        monkeypatch.setattr(arrow_ipc, "BATCH_BYTES", 1000)
        table = open_table(source_of(tmp_path / "a.arrow"), (), None)
        for name in found.column_names:
            parts = [*table.parts({name: None}, rows)]
            assert all(part.batch.num_rows <= rows for part in parts)
            got = pa.Table.from_batches([part.batch for part in parts])
            assert got[name].to_pylist() == found[name].to_pylist()
            ends = np.cumsum([part.batch.num_rows for part in parts])
            assert [part.end.row for part in parts] == ends.tolist()
            fractions = [part.fraction for part in parts]
            assert fractions == sorted(fractions)
            assert fractions[-1] == pytest.approx(1, abs=0.01)
            if name in ("number", "list", "text") and limit == 1000 and compression is None and rows > 400:
                assert max(part.batch.num_rows for part in parts) < 500


def source_of(path):
    return sources.make_source(str(path), fs.LocalFileSystem(), str(path), path.stat().st_size)


def test_offsets_without_sense_in_a_large_batch_are_an_error(tmp_path, monkeypatch):
    for module in (arrow_blocks, arrow_ipc):
        monkeypatch.setattr(module, "BATCH_BYTES", 100)
    lists = pa.table({"p": [[0.5]] * 1000, "y": [0] * 1000})
    path = tmp_path / "a.arrow"
    write_ipc(lists, path)
    whole = path.read_bytes()
    start = whole.index(struct.pack("<5i", 0, 1, 2, 3, 4))
    for number in (-1, -(2**31), 2**31 - 1, 1001):
        for row in (0, 500, 1000):
            data = bytearray(whole)
            data[start + 4 * row : start + 4 * row + 4] = struct.pack("<i", number)
            path.write_bytes(data)
            table = open_table(source_of(path), (), None)
            with pytest.raises((DataError, pa.ArrowInvalid)):
                list(table.parts({"p": None}, 64))


# ---- records without end ----


class Piece(bytes):
    """Bytes that count how many of them are searched."""

    looked = 0

    def rfind(self, what, *place):
        Piece.looked += len(self)
        return super().rfind(what, *place)

    def count(self, what, *place):
        Piece.looked += len(self) - (place[0] if place else 0)
        return super().count(what, *place)


@pytest.mark.parametrize("make", [records.Records, records.QuotedRecords])
@pytest.mark.parametrize("start", [b"a", b'"a'])
def test_bytes_are_searched_once(make, start):
    cutter, Piece.looked = make(1 << 30), 0
    for number in range(100):
        assert list(cutter.add(Piece((start if number == 0 else b"") + b"b" * 1000))) == []
    assert Piece.looked <= 3 * 100 * 1002
    assert cutter.rest() == start + b"b" * 100_000


def test_blocks_do_not_depend_on_pieces():
    rows = [b'a,"x\ny",1\n', b"b,c,2\n", b'"""",,\n', b"\r\n", b'5" pipe,,\n', b'"ab","\n",\n', b'6" pipe,,\n']
    text = b"".join(rows * 5)
    for size in (1, 2, 3, 7, 20, 1000):
        cutter, blocks = records.QuotedRecords(60), []
        for at in range(0, len(text), size):
            blocks += cutter.add(text[at : at + size])
        assert b"".join([*blocks, cutter.rest()]) == text
        if size > 60:
            continue
        assert max(map(len, blocks)) <= 60 + size


@pytest.mark.parametrize("longest", [10, 11, 12])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_a_record_of_the_limit_is_read_and_one_byte_more_is_an_error(longest, size):
    for make, row in ((records.Records, b'"p":12345'), (records.QuotedRecords, b'"a\n,b",123')):
        for many in (longest, longest + 1):
            line = row.ljust(many, b" ")[:many] if make is records.Records else b'"' + b"\n" * (many - 3) + b'",'
            text = b"x,y\n" * 3 + line + b"\n" + b"z,z\n"
            cutter, blocks, failed = make(longest), [], False
            try:
                for at in range(0, len(text), size):
                    blocks += cutter.add(text[at : at + size])
            except records.RecordError:
                failed = True
            assert failed == (many > longest), (make, many)
            assert failed or b"".join([*blocks, cutter.rest()]) == text


PACKED = {"": lambda data: data, ".gz": gzip.compress}
PACKED |= {f".{name}": lambda data, c=c: pa.compress(data, c, asbytes=True) for name, c in (("zst", "zstd"),)}


@pytest.mark.parametrize("ending", PACKED)
@pytest.mark.parametrize("command", ["eval", "compare"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_a_row_beyond_the_limit_names_file_row_and_option(tmp_path, capsys, name, ending, command):
    comma = "\t" if "tsv" in name else ","
    if name == "a.jsonl":
        rows = ['{"p": 0.5, "y": 1}', '{"p": 0.5, "y": 1, "s": "%s"}' % ("a" * 500)]
    else:
        rows = [f"p{comma}y{comma}s", f"0.5{comma}1{comma}b", f"0.5{comma}1{comma}" + "a" * 500]
    row = len(rows) - (name != "a.jsonl") - 1
    path = tmp_path / (name + ending)
    path.write_bytes(PACKED[ending](("\n".join(rows) + "\n").encode()))
    files = [path] if command == "eval" else [path, path, "--preds-b", "p"]
    line = failure(capsys, 1, command, *files, *BINARY, "--max-record", "400")
    assert f"{path}: row {row}: a record of more than 400 bytes: --max-record allows longer ones" in line
    assert main([command, *map(str, files), *BINARY, "--max-record", "1K"]) == 0


@pytest.mark.parametrize("size", ["0", "2G", "-1", "64X", "", "1.5M"])
def test_a_limit_without_sense_is_a_usage_error(tmp_path, capsys, size):
    line = failure(capsys, 2, "eval", "a.csv", *BINARY, f"--max-record={size}")
    assert "is not a number of bytes from 1 to 1G" in line


@pytest.mark.parametrize("start", [b"", b"p,y,s\n0.5,1,a\n", b'p,y,s\n0.5,1,"a\n'])
@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz", "-"])
def test_text_without_a_line_end_takes_little_memory(tmp_path, name, start):
    """The text has 400 MB after decompression, and 64 MB of it are read."""
    if start and name == "a.jsonl.gz":
        start = b'{"p": 0.5, "y": 1}\n'
    (tmp_path / "a.gz").write_bytes(gzip.compress(start) + gzip.compress(b"a" * (1 << 23)) * 50)
    # VmHWM, because ru_maxrss counts what this process had before it started the other program.
    script = (
        "import sys; from streamce.cli.main import main; status = main(sys.argv[1:]); "
        "print(status, next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    if name != "-":
        os.rename(tmp_path / "a.gz", tmp_path / name)
    command = [sys.executable, "-c", script, "eval", name if name == "-" else str(tmp_path / name), *BINARY]
    unpack = subprocess.Popen(["gzip", "-dc", str(tmp_path / "a.gz")], stdout=subprocess.PIPE) if name == "-" else None
    done = subprocess.run(
        command, stdin=unpack.stdout if unpack else None, capture_output=True, text=True, timeout=120, check=True
    )
    if unpack:
        unpack.stdout.close()
        unpack.wait(60)
    status, kilobytes = map(int, done.stdout.split())
    assert status == 1
    assert "a record of more than 67,108,864 bytes: --max-record" in done.stderr
    assert kilobytes < 400_000


def test_a_name_that_is_not_utf_8_is_one_line(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_bytes(b'{"p": 0.5, "y": 1, "\x8e": 2}\n')
    (tmp_path / "a.csv").write_bytes(b"p,y,\x8e\n0.5,1,2\n")
    assert "a.csv: the name of a column is not UTF-8" in failure(capsys, 1, "eval", tmp_path / "a.csv", *BINARY)
    line = failure(capsys, 1, "eval", tmp_path / "a.jsonl", *BINARY)
    assert "a.jsonl: row 0: cannot be read: byte 20 is not UTF-8: " in line
    (tmp_path / "b.jsonl").write_bytes(b'{"p": 0.5, "y": 1, "\x8e": 2}\n{"p": 0.5, "y": 1}\n')
    state = ["--state", str(tmp_path / "other"), "--once", "--invalid", "skip"]
    assert main(["watch", str(tmp_path / "b.jsonl"), *BINARY, *state]) == 0
