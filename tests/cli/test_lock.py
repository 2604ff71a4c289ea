"""If two runs would write one state, one is refused with one line, and the other loses nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import streamce as ce
from streamce.cli.state_lock import lock_path

COMMAND = [sys.executable, "-m", "streamce"]
BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
ROWS = 20_000
LOCK = Path(lock_path("S")).name
WRITERS = {
    "resume": ["eval", "a.csv", *BINARY, "--state", "S", "--resume"],
    "eval": ["eval", "a.csv", *BINARY, "--state", "S"],
    "compare": ["compare", "a.csv", "a.csv", *BINARY, "--state", "S"],
    "watch": ["watch", "-", *BINARY, "--state", "S"],
    "merge": ["merge", "source", "-o", "S"],
}
SLOW = {  # each runs until its input ends, or slowly, because it writes a checkpoint for each row
    "resume": [*WRITERS["resume"], "--chunk-rows", "1", "--checkpoint-every", "0"],
    "eval": ["eval", "-", *BINARY, "--state", "S"],
    "watch": WRITERS["watch"],
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("p,y\n" + "0.25,1\n" * ROWS)
    ce.BinaryCrossEntropy().update([0.5], [1]).save("source")
    return tmp_path


def is_locked(path):
    """Return whether a process has the lock, according to the kernel, without trying to lock."""
    return os.path.exists(path) and f":{os.stat(path).st_ino} " in Path("/proc/locks").read_text()


@contextlib.contextmanager
def holding(arguments):
    """Start a run, and yield it while it holds its lock."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([*COMMAND, *arguments], **pipes) as child:
        try:
            end = time.monotonic() + 60
            while not is_locked(LOCK):
                assert child.poll() is None
                assert time.monotonic() < end
                time.sleep(0.01)
            yield child
        finally:
            child.kill()


def run(arguments, **more):
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False, **more)


@pytest.mark.parametrize("second", WRITERS)
@pytest.mark.parametrize("first", SLOW)
def test_a_second_writer_of_a_state_is_refused_in_one_line(folder, first, second):
    with holding(SLOW[first]) as child:
        child.send_signal(signal.SIGSTOP)  # a file that is half written stays so
        before = {name: Path(name).read_bytes() for name in os.listdir()}
        done = run(WRITERS[second], stdin=subprocess.DEVNULL)
        option = "--output" if second == "merge" else "--state"
        assert (done.returncode, done.stdout) == (2, "")
        reason = "this state is in use by another run of streamce: wait for its end"
        assert done.stderr == f"streamce: error: {option} S: {reason}\n"
        assert {name: Path(name).read_bytes() for name in os.listdir()} == before


def test_two_runs_that_resume_one_state_count_each_row_once(folder):
    words = WRITERS["resume"]
    with holding([*words, "--chunk-rows", "100", "--checkpoint-every", "0"]) as first:
        first.send_signal(signal.SIGSTOP)
        assert run(words).returncode == 2
        first.send_signal(signal.SIGCONT)
        _, err = first.communicate(timeout=120)
        assert (first.returncode, err) == (0, b"")
    assert ce.load("S") == ce.BinaryCrossEntropy().update([0.25] * ROWS, [1] * ROWS)
    assert sorted(os.listdir()) == ["S", "S.checkpoint", "S.checkpoint.previous", "a.csv", "source"]


def test_a_lock_that_a_killed_run_has_left_keeps_nobody_out(folder):
    with holding(SLOW["resume"]) as child:
        child.kill()
    assert os.path.exists(LOCK)
    assert run(WRITERS["resume"]).returncode == 0
    assert ce.load("S").summary().count == ROWS
    assert not os.path.exists(LOCK)


def test_another_name_of_a_state_is_the_same_state(folder):
    os.symlink("S", "L")
    with holding(SLOW["eval"]):
        done = run(["merge", "source", "-o", "L"])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--output L: this state is in use by another run of streamce" in done.stderr


def test_states_that_are_not_written_are_not_locked(folder):
    with holding(SLOW["eval"]):
        assert run(["merge", "source", "-o", "T"]).returncode == 0
        assert run(["show", "source"]).returncode == 0
    assert not os.path.exists(lock_path("T"))


def test_a_lock_is_no_data_and_a_long_name_has_one_too(folder):
    state = "S" * 255
    with holding(SLOW["eval"]):
        done = run(["eval", "*.*", *BINARY, "--state", state, "--json"])
    assert (done.returncode, done.stderr) == (0, "")
    assert ce.load(state).summary().count == ROWS
