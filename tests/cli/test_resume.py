"""``streamce eval --resume``: a run that was stopped anywhere ends with the same bytes as one that was not."""

import contextlib
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from paths import SUPPORT
from pyarrow import csv, ipc, parquet

import streamce as ce
from streamce.cli.main import main
from streamce.reading import reader

KILLING = SUPPORT / "killing.py"
COMMAND = [sys.executable, "-m", "streamce"]
ROWS = 120_000  # several blocks of text
BINARY = ("--task", "binary", "--preds", "prob", "--target", "outcome")
SMALL = 900


def write_ipc(table, path, new=ipc.new_file):
    with pa.OSFile(str(path), "wb") as file, new(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=len(table) // 7)


def write_jsonl(table, path):
    rows = zip(table["prob"].to_pylist(), table["outcome"].to_pylist(), strict=True)
    path.write_text("".join(f'{{"prob":{p!r},"pad":"{"x" * 40}","outcome":{y}}}\n' for p, y in rows))


def write_gzip(table, path):
    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink)
    path.write_bytes(gzip.compress(sink.getvalue(), 1))


def write_npz(table, path, save=np.savez):
    save(path, prob=table["prob"].to_numpy(), outcome=table["outcome"].to_numpy())


WRITERS = {
    "a.parquet": lambda table, path: parquet.write_table(table, path, row_group_size=len(table) // 5),
    "a.arrow": write_ipc,
    "a.arrows": lambda table, path: write_ipc(table, path, ipc.new_stream),
    "a.csv": lambda table, path: csv.write_csv(table, path),
    "a.csv.gz": write_gzip,
    "a.jsonl": write_jsonl,
    "a.npz": write_npz,
    "packed.npz": lambda table, path: write_npz(table, path, np.savez_compressed),
}


def table_of(rows):
    rng = np.random.default_rng(13)
    return pa.table({
        "prob": rng.random(rows), "outcome": rng.integers(0, 2, rows), "more": pa.array(["y" * 40] * rows),
    })  # fmt: skip


@pytest.fixture(scope="module")
def large():
    return table_of(ROWS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Change to an empty folder with two small files."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.parquet", "b.parquet"):
        WRITERS["a.parquet"](table_of(SMALL), tmp_path / name)
    return tmp_path


WHOLE = ("eval", "a.parquet", "b.parquet", *BINARY)
RESUMED = (*WHOLE, "--state", "S", "--resume", "--checkpoint-every", "0", "--chunk-rows", "50")


def evaluated(capsys, *arguments):
    """Return the result of ``--json``."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def failure(capsys, status, *arguments):
    """Run a command that fails with this status, and return its one line on standard error."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("streamce: error: ")


@contextlib.contextmanager
def stopped(monkeypatch, after, inside=False):
    """Interrupt a run in this context once this many chunks are read.

    The interrupt comes while the run waits for the next chunk or, with ``inside``, near the end of an update.
    """
    read, update, seen = reader.Reading.chunks, ce.BinaryCrossEntropy._update, []

    def reading(self, start=None):
        for number, chunk in enumerate(read(self, start)):
            if number == after:
                raise KeyboardInterrupt
            yield chunk

    def updating(self, *arguments, **named):
        update(self, *arguments, **named)
        seen.append(1)
        if len(seen) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if inside:
            patch.setattr(ce.BinaryCrossEntropy, "_update", updating)
        else:
            patch.setattr(reader.Reading, "chunks", reading)
        patch.setattr(signal, "signal", lambda *_: None)  # because this process continues
        yield


def stop(monkeypatch, after, *arguments):
    with stopped(monkeypatch, after):
        assert main([*map(str, arguments or RESUMED)]) == 130


def plain(*arguments):
    """Return the bytes of the state that an uninterrupted run writes."""
    assert main([*map(str, arguments or WHOLE), "--state", "plain"]) == 0
    return Path("plain").read_bytes()


# ---- killed ----


def killed(folder, by, kills, *arguments):
    command = [sys.executable, KILLING, "evaluating", by, folder, kills, 5, *arguments]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", WRITERS)
def test_a_run_that_was_killed_dozens_of_times_writes_the_same_bytes(tmp_path, large, name):
    WRITERS[name](large, tmp_path / name)
    done = killed(tmp_path / "run", "SIGKILL", 40, tmp_path / name, *BINARY, "--chunk-rows", "3001")
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


def test_a_run_over_npy_files_that_was_killed_writes_the_same_bytes(tmp_path, large):
    for name in ("prob", "outcome"):
        np.save(tmp_path / f"{name}.npy", large[name].to_numpy())
    arguments = ("--task", "binary", "--target", tmp_path / "outcome.npy", "--chunk-rows", "3001")
    done = killed(tmp_path / "run", "SIGKILL", 40, tmp_path / "prob.npy", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


def test_a_run_over_many_files_of_many_kinds_that_was_killed_writes_the_same_bytes(tmp_path, large):
    (tmp_path / "data").mkdir()
    for i, name in enumerate(WRITERS):
        WRITERS[name](large.slice(i * 5000, 7 + 4000 * (i % 3)), tmp_path / "data" / f"{i}{name}")
    done = killed(tmp_path / "run", "SIGKILL", 40, tmp_path / "data", *BINARY, "--chunk-rows", "1001")
    assert (done.returncode, done.stdout, done.stderr) == (0, "40\n", "")


def test_a_run_that_was_interrupted_dozens_of_times_writes_the_same_bytes(tmp_path, large):
    WRITERS["a.csv"](large, tmp_path / "a.csv")
    words = ("--chunk-rows", "3001", "--checkpoint-every", "3600")
    done = killed(tmp_path / "run", "SIGINT", 40, tmp_path / "a.csv", *BINARY, *words)
    assert (done.returncode, done.stdout) == (0, "40\n"), done.stderr


def test_a_program_that_is_killed_goes_on_further_each_time(folder, large, capsys):
    WRITERS["a.csv"](large, folder / "a.csv")
    arguments = ["eval", "a.csv", *BINARY, "--state", "S", "--resume", "--checkpoint-every", "0", "--chunk-rows", "500"]
    path, reached = Path("S.checkpoint"), [0]
    for _ in range(6):
        child = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
        while child.poll() is None:  # until it has saved more than the previous run
            rows = ce.Checkpoint(path).load(None, {"rows": 0})[1]["rows"]
            if rows > reached[-1]:
                break
        child.kill()
        child.wait()
        reached.append(ce.Checkpoint(path).load()[1]["rows"])
    assert reached == sorted(set(reached))
    found = evaluated(capsys, *arguments)
    assert found["rows_resumed"] == reached[-1]
    assert Path("S").read_bytes() == plain("eval", "a.csv", *BINARY)


# ---- the output of a run ----


def test_a_run_with_resume_writes_the_state_of_one_without(folder):
    assert main([*RESUMED]) == 0
    assert Path("S").read_bytes() == plain()
    assert sorted(os.listdir()) == ["S", "S.checkpoint", "S.checkpoint.previous", "a.parquet", "b.parquet", "plain"]


def test_json_says_where_a_run_was_resumed(folder, capsys, monkeypatch):
    assert evaluated(capsys, *WHOLE)["rows_resumed"] == 0
    stop(monkeypatch, 20)
    found = evaluated(capsys, *RESUMED)
    whole = evaluated(capsys, *WHOLE)
    assert (found.pop("rows_resumed"), whole.pop("rows_resumed")) == (20 * 50, 0)
    assert {**found, "options": None} == {**whole, "options": None}
    os.unlink("S")
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 0


def test_the_table_says_where_a_run_was_resumed(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    assert main([*RESUMED]) == 0
    assert re.match(r"2 files: 1,800 rows, resumed at row 1,000, binary, ", capsys.readouterr().out)


def test_a_run_without_resume_has_no_checkpoint_and_touches_none(folder, monkeypatch):
    plain()
    assert not list(folder.glob("*.checkpoint*"))
    stop(monkeypatch, 3)
    before = Path("S.checkpoint").read_bytes()
    assert main([*WHOLE, "--state", "S"]) == 0
    assert Path("S.checkpoint").read_bytes() == before
    assert main([*RESUMED]) == 0
    assert Path("S").read_bytes() == plain()


def test_how_it_is_computed_may_change(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    found = evaluated(capsys, *RESUMED, "--threads", "2", "--chunk-rows", "7", "--checkpoint-every", "9")
    assert found["rows_resumed"] == 1000
    assert Path("S").read_bytes() == plain()


def test_an_interrupt_loses_nothing_while_a_run_waits_for_data(folder, capsys, monkeypatch):
    stop(monkeypatch, 20, *RESUMED, "--checkpoint-every", "3600")
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 1000


def test_an_interrupt_within_an_update_goes_on_from_the_checkpoint_before(folder, capsys, monkeypatch):
    with stopped(monkeypatch, 20, inside=True):
        assert main([*RESUMED]) == 130
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 19 * 50
    assert Path("S").read_bytes() == plain()


def test_an_error_after_a_resume_names_the_row_in_the_file(folder, capsys):
    for name, write in WRITERS.items():
        probs = np.full(SMALL, 0.5)
        probs[777] = 1.5
        write(pa.table({"prob": probs, "outcome": np.zeros(SMALL, int)}), folder / name)
        arguments = ("eval", name, *BINARY, "--state", f"{name}.S", "--chunk-rows", "50")
        whole = failure(capsys, 1, *arguments)
        assert "row 777: column 'prob' is 1.5" in whole
        for _ in range(2):  # the second run resumes from the checkpoint of the first
            assert failure(capsys, 1, *arguments, "--resume", "--checkpoint-every", "0") == whole
        assert ce.Checkpoint(f"{name}.S.checkpoint").load()[1]["rows"] in range(700, 777)


# ---- finished ----


def test_a_finished_run_prints_its_result_again_and_reads_and_writes_nothing(folder, capsys):
    first = evaluated(capsys, *RESUMED)
    for name in ("a.parquet", "b.parquet"):
        info, content = os.stat(name), bytearray(Path(name).read_bytes())
        content[4:200] = bytes(196)  # overwrite data, but keep size and time
        Path(name).write_bytes(content)
        os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns))
    before = {name: (os.stat(name).st_mtime_ns, Path(name).read_bytes()) for name in os.listdir()}
    again = evaluated(capsys, *RESUMED)
    assert (first.pop("rows_resumed"), again.pop("rows_resumed")) == (0, 2 * SMALL)
    assert again == first
    assert {name: (os.stat(name).st_mtime_ns, Path(name).read_bytes()) for name in os.listdir()} == before


def test_removing_the_state_of_a_finished_run_starts_at_row_0(folder, capsys):
    assert main([*RESUMED]) == 0
    for gone in (lambda: os.unlink("S"), lambda: Path("S").write_bytes(b"")):
        gone()
        found = evaluated(capsys, *RESUMED, "--eps", "0.5")  # a new run with other options
        assert found["rows_resumed"] == 0
        assert Path("S").read_bytes() == plain(*WHOLE, "--eps", "0.5")


def test_removing_the_checkpoint_of_a_run_starts_at_row_0(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    os.unlink("S.checkpoint")
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 0
    assert Path("S").read_bytes() == plain()


def test_a_state_without_a_checkpoint_is_kept(folder, capsys):
    whole = plain(*WHOLE)
    Path("S").write_bytes(whole)
    line = failure(capsys, 1, *RESUMED)
    assert line.startswith("S: ")
    assert "no S.checkpoint: remove this state to start at row 0" in line
    assert Path("S").read_bytes() == whole


def test_a_state_that_a_finished_run_did_not_write_is_kept(folder, capsys):
    assert main([*RESUMED]) == 0
    other = plain(*WHOLE, "--eps", "0.5")
    Path("S").write_bytes(other)
    assert failure(capsys, 1, *RESUMED).startswith("S: this is not the state that the run of S.checkpoint wrote")
    assert Path("S").read_bytes() == other


def test_a_run_that_stopped_between_state_and_checkpoint_is_finished(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    whole = plain()
    Path("S").write_bytes(whole)
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 1000
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 2 * SMALL
    assert Path("S").read_bytes() == whole


# ---- two runs are never mixed ----


CHANGES = {
    "--task": ("--task", "multiclass", "--preds", "p"),
    "--kind": ("--kind", "logits"),
    "--preds": ("--preds", "other"),
    "--target": ("--target", "again"),
    "--weight": ("--weight", "other"),
    "--classes": ("--classes", "0,1"),
    "--ignore-index": ("--ignore-index", "7"),
    "--eps": ("--eps", "0"),
    "--label-smoothing": ("--label-smoothing", "0.1"),
    "--invalid": ("--invalid", "skip"),
}


@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
@pytest.mark.parametrize("option", CHANGES)
def test_a_changed_option_is_an_error_that_names_it(folder, capsys, monkeypatch, option, finished):
    small = table_of(SMALL)
    probs = pa.FixedSizeListArray.from_arrays(np.full(2 * SMALL, 0.5), 2)
    columns = {"prob": small["prob"], "other": small["prob"], "outcome": small["outcome"], "again": small["outcome"]}
    parquet.write_table(pa.table({**columns, "p": probs}), "a.parquet")
    arguments = ["eval", "a.parquet", "--task", "binary", "--target", "outcome", "--state", "S", "--resume",
                 "--chunk-rows", "50"]  # fmt: skip
    if finished:
        assert main([*arguments, "--preds", "prob"]) == 0
    else:
        stop(monkeypatch, 5, *arguments, "--preds", "prob")
    before = Path("S.checkpoint").read_bytes()
    changed = [*CHANGES[option]]
    if "--preds" not in changed:
        changed += ["--preds", "prob"]
    if option == "--target":
        arguments[arguments.index("outcome")] = "again"
        changed = ["--preds", "prob"]
    line = failure(capsys, 1, *arguments, *changed)
    assert line.startswith(f"{option} has changed from ")
    assert line.endswith(f"remove {'S' if finished else 'S.checkpoint'} to start at row 0\n")
    assert Path("S.checkpoint").read_bytes() == before


def grow():
    WRITERS["a.parquet"](table_of(SMALL + 1), Path("b.parquet"))


def touch():
    info = os.stat("b.parquet")
    os.utime("b.parquet", ns=(info.st_atime_ns, info.st_mtime_ns + 1))


@pytest.mark.parametrize(
    ("change", "names", "expected"),
    [
        (grow, "ab", "b.parquet: this file has changed since"),
        (touch, "ab", "b.parquet: this file has changed since"),
        (lambda: None, "a", "b.parquet: this file is gone since"),
        (lambda: shutil.copy("a.parquet", "c.parquet"), "abc", "c.parquet: this file is new since"),
        (lambda: None, "ba", "the files have another order since"),
    ],
    ids=["grown", "touched", "gone", "new", "order"],
)
def test_changed_files_are_an_error_that_names_one(folder, capsys, monkeypatch, change, names, expected):
    stop(monkeypatch, 20)
    change()
    arguments = [word for word in RESUMED if not word.endswith(".parquet")]
    line = failure(capsys, 1, *arguments, *(f"{name}.parquet" for name in names))
    assert line.startswith(expected)
    assert line.endswith("S.checkpoint was begun: remove S.checkpoint to start at row 0\n")


def test_a_changed_file_beside_a_npy_file_is_an_error_that_names_it(folder, capsys, monkeypatch):
    for name in ("prob", "outcome"):
        np.save(f"{name}.npy", table_of(SMALL)[name].to_numpy())
    arguments = ("eval", "prob.npy", "--task", "binary", "--target", "outcome.npy", "--state", "S", "--resume")
    stop(monkeypatch, 3, *arguments, "--chunk-rows", "50")
    np.save("outcome.npy", 1 - table_of(SMALL)["outcome"].to_numpy())
    assert failure(capsys, 1, *arguments).startswith("outcome.npy: this file has changed since")


def test_names_of_classes_that_labels_decided_hold_for_the_rest(folder, capsys, monkeypatch):
    """The first labels decide that a_a_a is a complete name. The last labels fit both readings."""
    columns = {"a_a": [0.25] * 200, "a_a_a": [0.75] * 200, "label": ["a_a_a"] * 100 + ["a_a"] * 100}
    parquet.write_table(pa.table(columns), "a.parquet")
    arguments = ("eval", "a.parquet", "--task", "multiclass", "--preds", "a_*", "--target", "label",
                 "--chunk-rows", "50")  # fmt: skip
    stop(monkeypatch, 2, *arguments, "--state", "S", "--resume")
    assert evaluated(capsys, *arguments, "--state", "S", "--resume")["rows_resumed"] == 100
    assert Path("S").read_bytes() == plain(*arguments)


# ---- damage ----


def test_a_torn_checkpoint_goes_on_from_the_generation_before(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    Path("S.checkpoint").write_bytes(Path("S.checkpoint").read_bytes()[:-1])
    capsys.readouterr()
    assert main([*RESUMED, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("streamce: warning: ")
    assert err.endswith("S.checkpoint: the checkpoint is damaged, so the previous checkpoint is used\n")
    assert json.loads(out)["rows_resumed"] in (950, 1000)
    assert Path("S").read_bytes() == plain()


def test_a_checkpoint_torn_for_good_is_one_line(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    for name in ("S.checkpoint", "S.checkpoint.previous"):
        Path(name).write_bytes(b"streamck")
    line = failure(capsys, 1, *RESUMED)
    assert "S.checkpoint: the checkpoint is damaged" in line
    assert not Path("S").exists()


def test_a_checkpoint_of_something_else_is_one_line(folder, capsys):
    strange = {"rows": 1, "at": None, "classes": None, "finished": False, "options": {}, "files": ["a.parquet"]}
    for positions in (None, {"row": 1}, {"at": 3, "rows": 1}, [1], strange):
        ce.Checkpoint("S.checkpoint").save(ce.BinaryCrossEntropy(), positions)
        assert "S.checkpoint: " in failure(capsys, 1, *RESUMED)
    assert not Path("S").exists()


def test_a_full_disk_is_one_line_and_the_checkpoint_stays(folder, capsys, monkeypatch):
    stop(monkeypatch, 20)
    before = Path("S.checkpoint").read_bytes()
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "-"]  # no file can grow, as on a full disk
    done = subprocess.run([*limited, *COMMAND, *RESUMED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"streamce: error: .*S\.checkpoint(\.previous)?: File too large\n", done.stderr)
    assert Path("S.checkpoint").read_bytes() == before
    assert evaluated(capsys, *RESUMED)["rows_resumed"] == 1000
    assert Path("S").read_bytes() == plain()


def test_a_checkpoint_where_a_folder_is_is_one_line(folder, capsys):
    os.mkdir("S.checkpoint")
    assert failure(capsys, 1, *RESUMED).endswith("S.checkpoint: Is a directory\n")


# ---- usage ----


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("a.parquet", "--resume"), "--resume needs --state"),
        (("-", "--resume", "--state", "S"), "standard input: --resume needs files"),
        (("a.parquet", "pipe", "--resume", "--state", "S"), "pipe: --resume needs files"),
        (("a.parquet", "--resume", "--state", "S", "--checkpoint-every", "-1"), "'-1' is not a number of seconds"),
        (("a.parquet", "--resume", "--state", "S", "--checkpoint-every", "nan"), "'nan' is not a number of seconds"),
        (("a.parquet", "--resume", "--state", "S", "--checkpoint-every", "x"), "'x' is not a number of seconds"),
        (("a.parquet", "--resume", "--state", "/no/folder/S"), "--state /no/folder/S: no file can be written"),
        (("a.parquet", "--resume", "--state", "a.parquet/S"), "--state a.parquet/S: no file can be written"),
    ],
    ids=str,
)
def test_usage_errors_are_one_line(folder, capsys, words, expected):
    os.mkfifo("pipe")
    assert expected in failure(capsys, 2, "eval", *BINARY, *words)
    assert not Path("S.checkpoint").exists()
