"""Checkpoints: metric and positions always match, even if the writer is killed."""

import math
import os
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import state_writer
from hypothesis import given
from hypothesis import strategies as st
from paths import SUPPORT
from streams import streams

import streamce as ce

KILLING = SUPPORT / "killing.py"
ONE, TWO, THREE = (ce.BinaryCrossEntropy().update([0.25] * n, [1] * n) for n in (1, 2, 3))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "job.checkpoint"


def saved(path, *metrics):
    """Save a checkpoint for each metric, with the number of its rows as the position, and return it."""
    checkpoint = ce.Checkpoint(path)
    for metric in metrics:
        checkpoint.save(metric, {"row": metric.summary().count})
    return checkpoint


# ---- save and load ----


@given(streams(), JSON)
def test_a_metric_and_its_positions_come_back_equal(stream, positions):
    metric = stream.fed()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = ce.Checkpoint(folder + "/a")
        assert checkpoint.save(metric, positions)
        for found, where in (checkpoint.load(), ce.Checkpoint(folder + "/a").load(stream.metric(), [])):
            assert type(found) is type(metric)
            assert found.to_bytes() == metric.to_bytes()
            assert where == positions


def test_where_nothing_was_saved_the_arguments_come_back(path):
    metric, positions = ce.BinaryCrossEntropy(), {"row": 0}
    found = ce.Checkpoint(path).load(metric, positions)
    assert found[0] is metric
    assert found[1] is positions
    assert ce.Checkpoint(path).load() == (None, None)
    assert not path.exists()


def test_the_file_is_what_the_page_says(path):
    saved(path, ONE)
    assert path.read_bytes() == state_writer.sealed(state_writer.checkpoint({"row": 1}, ONE.to_bytes()))


def test_options_that_change_no_loss_are_those_of_the_metric_given(path):
    saved(path, ONE)
    found, _ = ce.Checkpoint(path).load(ce.BinaryCrossEntropy(invalid="skip", threads=3))
    assert (found.options["invalid"], found.options["threads"]) == ("skip", 3)
    assert found == ONE


def test_the_metric_given_is_left_as_it_is(path):
    saved(path, ONE)
    given = ce.BinaryCrossEntropy()
    found, _ = ce.Checkpoint(path).load(given)
    found.update(0.5, 1)
    assert given == ce.BinaryCrossEntropy()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (ce.BinaryCrossEntropy(eps=0), "eps"),
        (ce.BinaryCrossEntropy(kind="logits"), "kind"),
        (ce.MulticlassCrossEntropy(), "BinaryCrossEntropy"),
    ],
)
def test_a_metric_of_other_losses_is_an_error_that_says_so(path, other, named):
    saved(path, ONE)
    with pytest.raises(ce.InputError, match=f"job.checkpoint: .*{named}"):
        ce.Checkpoint(path).load(other)


@pytest.mark.parametrize(
    "positions",
    [math.nan, [math.inf], {"x": {1, 2}}, b"x", (1, 2), {"x": (1,)}, {1: 2}, {None: 1}, {"1": 0, 1: 0},
     pytest.param(object(), id="object"), np.int64(3), np.arange(3), pytest.param([10**5000], id="huge")],
    ids=str,
)  # fmt: skip
def test_positions_that_would_not_come_back_equal_are_an_error(path, positions):
    with pytest.raises(ce.InputError, match=r"^positions") as caught:
        ce.Checkpoint(path).save(ONE, positions)
    assert caught.value.argument == "positions"
    assert not path.exists()


def test_positions_without_an_end_are_an_error(path):
    endless = []
    endless.append(endless)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for positions in (endless, deep):
        with pytest.raises(ce.InputError, match=r"^positions"):
            ce.Checkpoint(path).save(ONE, positions)


def test_every_keeps_saves_apart(path):
    checkpoint = ce.Checkpoint(path)
    assert checkpoint.save(ONE, 1, every=3600)  # the first save is always due
    assert not checkpoint.save(TWO, 2, every=3600)
    assert checkpoint.load() == (ONE, 1)
    assert checkpoint.save(TWO, 2, every=0)
    assert checkpoint.load() == (TWO, 2)
    assert ce.Checkpoint(path).save(THREE, 3, every=3600)  # the first save of another object


def test_a_checkpoint_stays_where_it_was_when_the_process_moves(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint = ce.Checkpoint("job.checkpoint")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    checkpoint.save(ONE, None)
    assert path.exists()


# ---- the previous checkpoint ----


def test_the_generation_before_is_kept(path):
    saved(path, ONE, TWO, THREE)
    assert ce.Checkpoint(path).load() == (THREE, {"row": 3})
    assert ce.Checkpoint(f"{path}.previous").load() == (TWO, {"row": 2})
    assert len(os.listdir(path.parent)) == 2


def test_a_file_torn_anywhere_is_replaced_by_the_generation_before(path):
    saved(path, ONE, TWO)
    whole = path.read_bytes()
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.warns(RuntimeWarning, match="the previous checkpoint is used"):
            assert ce.Checkpoint(path).load() == (ONE, {"row": 1})


def test_every_flipped_bit_is_found(path):
    saved(path, ONE, TWO)
    whole = path.read_bytes()
    for i in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << bit]) + whole[i + 1 :])
            with pytest.warns(RuntimeWarning, match="the previous checkpoint is used"):
                assert ce.Checkpoint(path).load() == (ONE, {"row": 1})


@pytest.mark.parametrize("torn", [b"", b"streamck", bytes(500), b"no checkpoint at all", ONE.to_bytes()], ids=repr)
def test_a_torn_file_without_a_generation_before_is_an_error_that_names_it(path, torn):
    path.write_bytes(torn)
    with pytest.raises(ce.InputError, match=r"job\.checkpoint: the checkpoint is damaged") as caught:
        ce.Checkpoint(path).load()
    assert caught.value.argument == "path"


def test_two_torn_generations_are_an_error(path):
    saved(path, ONE, TWO)
    for file in path.parent.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ce.InputError, match="damaged"):
        ce.Checkpoint(path).load(ce.BinaryCrossEntropy(), {"row": 0})


def test_a_torn_file_never_replaces_the_generation_before(path):
    saved(path, ONE, TWO)
    path.write_bytes(path.read_bytes()[:-1])
    saved(path, THREE)
    path.write_bytes(b"")
    with pytest.warns(RuntimeWarning):
        assert ce.Checkpoint(path).load() == (ONE, {"row": 1})


def test_removing_the_file_begins_anew(path):
    saved(path, ONE, TWO)
    path.unlink()
    fresh = ce.BinaryCrossEntropy()
    assert ce.Checkpoint(path).load(fresh, {"row": 0}) == (fresh, {"row": 0})


def test_a_run_that_was_begun_anew_never_falls_back_to_the_one_before(path):
    saved(path, ONE, TWO)
    path.unlink()
    saved(path, THREE)
    path.write_bytes(b"")
    with pytest.raises(ce.InputError, match="damaged"):
        ce.Checkpoint(path).load()


# ---- bytes that no writer writes ----


STATE = ONE.to_bytes()


@pytest.mark.parametrize(
    "body",
    {
        "version": state_writer.checkpoint({}, STATE, version=2),
        "version 0": state_writer.checkpoint({}, STATE, version=0),
        "positions with spaces": state_writer.checkpoint(b'{"row": 1}', STATE),
        "positions in another order": state_writer.checkpoint(b'{"b":1,"a":1}', STATE),
        "positions with a key twice": state_writer.checkpoint(b'{"a":1,"a":1}', STATE),
        "positions that are no JSON": state_writer.checkpoint(b"{", STATE),
        "positions with NaN": state_writer.checkpoint(b"NaN", STATE),
        "positions beyond ASCII": state_writer.checkpoint('"é"'.encode(), STATE),
        "positions nested without end": state_writer.checkpoint(b"[" * 100_000, STATE),
        "a number written otherwise": state_writer.checkpoint(b"1.50", STATE),
        "a number of a million digits": state_writer.checkpoint(b"1" * 1_000_000, STATE),
        "no positions": state_writer.checkpoint(b"", STATE),
        "no state": state_writer.checkpoint({}, b""),
        "a damaged state": state_writer.checkpoint({}, STATE[:-1]),
        "another state": state_writer.checkpoint({}, b"x" * 100),
        "more behind": state_writer.checkpoint({}, STATE) + b"\0",
        "less behind": state_writer.checkpoint({}, STATE)[:-1],
        "lengths that are not there": b"streamck" + struct.pack("<HI", 1, 2**32 - 1),
        "a state that is not there": state_writer.checkpoint({}, b"")[:-8] + b"\xff" * 8,
        "nothing": b"streamck",
    }.items(),
    ids=lambda item: item[0],
)
def test_intact_bytes_that_nobody_writes_are_an_error_and_not_the_generation_before(path, body):
    saved(path, ONE, TWO)
    path.write_bytes(state_writer.sealed(body[1]))
    with pytest.raises(ce.InputError, match=r"^.*job\.checkpoint: "):
        ce.Checkpoint(path).load()


# ---- a disk that cannot be written ----


def child(script, *arguments):
    subprocess.run([sys.executable, "-c", "import os, signal, resource, sys\nimport streamce as ce\n" + script,
                    *map(str, arguments)], check=True)  # fmt: skip


@pytest.mark.parametrize("room", [0, 10, 200])
def test_a_full_disk_is_the_systems_error_and_the_checkpoint_stays(path, room):
    saved(path, ONE, TWO)
    before = path.read_bytes()
    assert len(before) > room
    child(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)\n"  # files grow no further
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try:\n"
        "    ce.Checkpoint(sys.argv[1]).save(ce.BinaryCrossEntropy().update(0.5, 1), {})\n"
        "    raise SystemExit('saved')\n"
        "except OSError as error:\n"
        "    assert error.filename.startswith(sys.argv[1]) and error.strerror, error\n",
        path,
        room,
    )
    assert path.read_bytes() == before
    assert ce.Checkpoint(path).load() == (TWO, {"row": 2})
    assert len(os.listdir(path.parent)) == 2


def test_a_read_only_folder_is_the_systems_error_and_the_checkpoint_can_be_read():
    with tempfile.TemporaryDirectory() as folder:  # other users can enter it, but not tmp_path
        path = Path(folder) / "job.checkpoint"
        saved(path, ONE)
        os.chmod(folder, 0o555)
        child(
            "checkpoint = ce.Checkpoint(sys.argv[1])\n"
            "metric = ce.BinaryCrossEntropy().update(0.5, 1)\n"
            "metric.to_bytes()\n"
            "if os.getuid() == 0:\n"
            "    os.setuid(65534)\n"  # root may write anywhere
            "try:\n"
            "    checkpoint.save(metric, {})\n"
            "    raise SystemExit('saved')\n"
            "except PermissionError as error:\n"
            "    assert error.filename.startswith(sys.argv[1]), error\n"
            "assert checkpoint.load()[1] == {'row': 1}\n",
            path,
        )
        os.chmod(folder, 0o755)
        assert os.listdir(folder) == ["job.checkpoint"]


def test_a_place_where_no_file_can_be_is_the_systems_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    for place in ("file/inside", "missing/inside", "folder"):
        with pytest.raises(OSError, match=place):
            ce.Checkpoint(tmp_path / place).save(ONE, None)
    with pytest.raises(IsADirectoryError):
        ce.Checkpoint(tmp_path / "folder").load()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_name_as_long_as_names_may_be(tmp_path):
    path = tmp_path / ("n" * (255 - len(".previous")))
    assert saved(path, ONE, TWO).load() == (TWO, {"row": 2})


# ---- killed ----


def killed(job, folder, kills):
    command = [sys.executable, KILLING, job, "SIGKILL", folder, kills, 7]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return int(done.stdout)


def test_a_job_that_was_killed_hundreds_of_times_ends_as_one_that_was_not(tmp_path):
    assert killed("counting", tmp_path / "job", 400) == 400


def test_a_kill_in_the_middle_of_a_save_leaves_a_whole_file(tmp_path):
    assert killed("saving", tmp_path / "job", 300) == 300


def test_a_job_that_hangs_fails_the_test_that_runs_it():
    code = "import time, killing\nkilling.LIMIT = 1\nkilling.attempt(lambda: time.sleep(600), None)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=KILLING.parent, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "a child was not done after 1 seconds" in done.stderr


def test_what_killed_writers_left_is_swept_and_nothing_else(path):
    saved(path, ONE)
    child(
        "def stop(_):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "for name in ('', '.previous'):\n"
        "    for _ in range(3):\n"
        "        if os.fork() == 0:\n"
        "            signal.alarm(50)\n"
        "            os.fsync = stop\n"
        "            ce._support.atomic_file.write(sys.argv[1] + name, b'half')\n"
        "        os.wait()\n",
        path,
    )
    (path.parent / ".streamce-other-0123.tmp").touch()
    assert len(os.listdir(path.parent)) == 8
    saved(path, TWO)
    expected = [".streamce-other-0123.tmp", "job.checkpoint", "job.checkpoint.previous"]
    assert sorted(os.listdir(path.parent)) == expected


def test_two_writers_of_one_file_never_tear_it(path):
    script = (
        "checkpoint = ce.Checkpoint(sys.argv[1])\n"
        "metric = ce.BinaryCrossEntropy().update([0.5] * int(sys.argv[2]), [1] * int(sys.argv[2]))\n"
        "for step in range(300):\n"
        "    try:\n"
        "        ce.Checkpoint(sys.argv[1]).save(metric, int(sys.argv[2]))\n"
        "    except OSError:\n"
        "        pass\n"
    )
    saved(path, ONE)
    command = [sys.executable, "-c", "import sys\nimport streamce as ce\n" + script, str(path)]
    writers = [subprocess.Popen([*command, str(rows)]) for rows in (2, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while any(writer.poll() is None for writer in writers):
            metric, rows = ce.Checkpoint(path).load(None, "missing")
            assert metric.summary().count == (rows if isinstance(rows, int) else rows["row"])
    assert [writer.wait() for writer in writers] == [0, 0]
