"""Files are written atomically: their permissions, symbolic links, and the removal of temporary files."""

import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import streamce as ce
from streamce._support import atomic_file
from streamce.cli.main import main

METRIC = ce.BinaryCrossEntropy().update([0.25, 0.5], [1, 0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    METRIC.save("source.state")
    Path("a.csv").write_text("p,y\n0.25,1\n0.5,0\n")
    return tmp_path


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


BINARY = ("--task", "binary", "--preds", "p", "--target", "y")
WRITERS = {
    "save": lambda path: METRIC.save(path),
    "checkpoint": lambda path: ce.Checkpoint(path).save(METRIC, 1),
    "report": lambda path: METRIC.report(path),
    "eval": lambda path: main(["eval", "a.csv", *BINARY, "--state", path]),
    "resume": lambda path: main(["eval", "a.csv", *BINARY, "--state", path, "--resume"]),
    "merge": lambda path: main(["merge", "source.state", "-o", path]),
    "draw": lambda path: main(["report", "source.state", "-o", path]),
}
AGAIN = [name for name in WRITERS if name != "resume"]  # without resume, which does nothing the second time


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_new_file_has_the_mode_that_the_umask_leaves(folder, umask, writer):
    WRITERS[writer]("S")
    assert mode_of("S") == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o666], ids=oct)
@pytest.mark.parametrize("writer", AGAIN)
def test_a_file_that_is_replaced_keeps_its_mode(folder, writer, mode):
    WRITERS[writer]("S")
    before = os.stat("S").st_ino
    os.chmod("S", mode)
    WRITERS[writer]("S")
    assert mode_of("S") == mode
    assert os.stat("S").st_ino != before  # the file was replaced, not overwritten


def test_the_generation_before_has_the_mode_of_the_checkpoint(folder):
    checkpoint = ce.Checkpoint("S")
    checkpoint.save(METRIC, 1)
    for mode in (0o600, 0o640):
        os.chmod("S", mode)
        checkpoint.save(METRIC, 2)
        assert (mode_of("S"), mode_of("S.previous")) == (mode, mode)


@pytest.mark.parametrize("path", ["a.csv/S", "no/S", ".", "S" * 300])
def test_an_error_names_the_path_that_was_given(folder, path):
    with pytest.raises(OSError, match=re.escape(repr(path))):
        METRIC.save(path)


def test_an_empty_file_says_what_mode_a_state_is_to_have(folder):
    Path("S").touch(0o600)
    WRITERS["resume"]("S")
    assert mode_of("S") == 0o600


def test_owner_and_group_stay_where_one_may_keep_them(folder):
    METRIC.save("S")
    owner = (12345, 12346) if os.geteuid() == 0 else (os.geteuid(), os.getgroups()[-1])
    os.chown("S", *owner)
    os.chmod("S", 0o660)
    METRIC.save("S")
    found = os.stat("S")
    assert (found.st_uid, found.st_gid, mode_of("S")) == (*owner, 0o660)


def test_a_group_that_cannot_be_kept_gives_its_rights_to_no_other():
    alone = os.geteuid() == 0  # only root may become another user, and only other users may not change the group
    with tempfile.TemporaryDirectory() as folder:  # other users cannot enter the folders of pytest
        path = folder + "/S"
        METRIC.save(path)
        os.chmod(path, 0o664)
        os.chmod(folder, 0o777)
        child = os.fork()
        if child == 0:
            try:
                if alone:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                METRIC.save(path)
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert mode_of(path) == (0o644 if alone else 0o664)


def test_extended_attributes_stay_where_there_are_any(folder):
    METRIC.save("S")
    try:
        os.setxattr("S", "user.origin", b"night")
        there = [("user.origin", b"night")]
    except OSError:  # the file system has no access control lists, and the state is saved without them
        there = []
    METRIC.save("S")
    assert [(name, os.getxattr("S", name)) for name in os.listxattr("S") if name.startswith("user.")] == there


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to none"])
def test_a_link_stays_and_what_it_points_to_is_replaced(folder, there, relative):
    Path("of").mkdir()
    Path("links").mkdir()
    if there:
        ce.BinaryCrossEntropy().save("of/S")
        os.chmod("of/S", 0o640)
    os.symlink("../of/S" if relative else folder / "of" / "S", "links/L")
    METRIC.save("links/L")
    assert main(["merge", "links/L", "source.state", "-o", "links/L"]) == 0
    assert os.path.islink("links/L")
    assert ce.load("of/S") == METRIC + METRIC
    assert mode_of("of/S") == (0o640 if there else 0o666 & ~current_umask())
    assert (os.listdir("of"), os.listdir("links")) == (["S"], ["L"])


def current_umask():
    os.umask(before := os.umask(0))
    return before


# ---- several writers ----

HALF = """
import os, sys
from streamce._support import atomic_file
folder, prefix = atomic_file.folder_and_prefix(os.path.realpath("S"))
atomic_file._create(os.path.join(folder, prefix + "0.tmp"), 0o666)
print(flush=True)
sys.stdin.read()
"""


def test_a_sweep_removes_what_the_dead_left_and_nothing_of_the_living(folder):
    with subprocess.Popen([sys.executable, "-c", HALF], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout.readline() == b"\n"
            [half] = [name for name in os.listdir() if name.endswith(".tmp")]
            atomic_file.remove_stale_temporaries("S")
            ce.Checkpoint("S").save(METRIC, 1)
            assert os.path.exists(half)
        finally:
            writer.kill()
    atomic_file.remove_stale_temporaries("S")
    assert not os.path.exists(half)


SAVING = """
import streamce as ce
metric = ce.BinaryCrossEntropy().update([0.25] * {0}, [1] * {0})
for number in range(150):
    ce.Checkpoint("S").save(metric, {0})  # a new one each time, which sweeps first
"""


def test_two_processes_that_save_one_checkpoint_get_no_error_and_tear_nothing(folder):
    writers = [subprocess.Popen([sys.executable, "-W", "error", "-c", SAVING.format(n)]) for n in (1, 2)]
    try:
        while any(writer.poll() is None for writer in writers):
            metric, number = ce.Checkpoint("S").load(ce.BinaryCrossEntropy(), 0)
            assert metric.summary().count == number
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert not [name for name in os.listdir() if name.endswith(".tmp")]
