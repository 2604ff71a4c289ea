"""A file counts once: two names of one file are an error that shows both, whatever the spelling."""

import os

import pytest

import streamce as ce
from streamce.cli.main import main

BINARY = ["--task", "binary", "--preds", "p", "--target", "y"]
# Arguments, and the two names that the error has to show.
EVAL = {
    "a dot": (["A.csv", "./A.csv"], "./A.csv", "A.csv"),
    "a folder and back": (["A.csv", "d/../A.csv"], "d/../A.csv", "A.csv"),
    "an absolute path": (["A.csv", "{here}/A.csv"], "{here}/A.csv", "A.csv"),
    "a URI": (["A.csv", "file://{here}/A.csv"], "file://{here}/A.csv", "A.csv"),
    "a folder twice": (["d", "./d"], "./d/B.csv", "d/B.csv"),
    "a folder and its file": (["d", "d/B.csv"], "d/B.csv", "d/B.csv"),
    "a symbolic link": (["A.csv", "link.csv"], "link.csv", "A.csv"),
    "a hard link": (["A.csv", "hard.csv"], "hard.csv", "A.csv"),
    "a link inside a folder": (["linked"], "linked/b.csv", "linked/a.csv"),
    "a glob": (["A.csv", "*.csv"], "A.csv", "A.csv"),
}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("A.csv", "d/B.csv", "linked/a.csv"):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "w") as file:
            file.write("p,y\n0.9,1\n")
    os.symlink("A.csv", "link.csv")
    os.link("A.csv", "hard.csv")
    os.symlink("a.csv", "linked/b.csv")
    return tmp_path


@pytest.mark.parametrize("case", EVAL)
def test_eval_refuses_two_names_of_a_file(files, capsys, case):
    names, *shown = EVAL[case]
    assert main(["eval", *(name.format(here=files) for name in names), *BINARY]) == 2
    error = capsys.readouterr().err
    assert all(name.format(here=files) in error for name in shown), error
    assert "its rows would count twice" in error
    assert error.count("\n") == 1


def test_standard_input_that_is_a_named_file_is_refused(files, capfd, monkeypatch):
    with open("A.csv") as file:
        before = os.dup(0)
        os.dup2(file.fileno(), 0)
        try:
            status = main(["eval", "A.csv", "-", *BINARY])
        finally:
            os.dup2(before, 0)
            os.close(before)
    assert status == 2
    assert "standard input: this is the same file as A.csv" in capfd.readouterr().err


def test_equal_files_count_each(files, capsys):
    os.remove("link.csv")
    with open("copy.csv", "w") as file:
        file.write("p,y\n0.9,1\n")
    assert main(["eval", "A.csv", "copy.csv", *BINARY, "--json"]) == 0
    assert '"count": 2' in capsys.readouterr().out


@pytest.mark.parametrize("second", ["s.state", "./s.state", "link.state"])
def test_merge_refuses_two_names_of_a_state(files, capsys, second):
    ce.MeanLoss().update([1.0]).save("s.state")
    os.symlink("s.state", "link.state")
    assert main(["merge", "s.state", second, "-o", "sum.state"]) == 2
    error = capsys.readouterr().err
    assert "s.state" in error
    assert second in error
    assert not os.path.exists("sum.state")
