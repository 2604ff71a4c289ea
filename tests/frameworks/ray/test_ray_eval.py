"""``streamce eval --engine ray``: the same bytes, output and errors as with threads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from engine_eval import BINARY, TASKS, run, split_small_files, write_files, write_invalid_file

from streamce.cli.main import main

RAY = ("--engine", "ray")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def _small_partitions(cluster, monkeypatch):
    """Use the Ray that runs already, on which files of some kilobytes count as large."""
    split_small_files(monkeypatch)


@pytest.mark.usefixtures("_small_partitions")
@pytest.mark.parametrize("task", TASKS)
def test_ray_gives_what_threads_give(folder, tmp_path, capsys, task):
    _, state, found = run(capsys, tmp_path, folder, *TASKS[task], "--threads", "1")
    status, its_state, its_found = run(capsys, tmp_path, folder, *TASKS[task], *RAY, "--threads", "1")
    assert status == 0
    assert its_state == state
    assert its_found["options"].pop("engine") == "ray"
    assert its_found == found


@pytest.mark.usefixtures("_small_partitions")
def test_the_first_invalid_row_is_named_as_threads_name_it(tmp_path, capsys):
    row = write_invalid_file(tmp_path / "bad.parquet")
    assert main(["eval", str(tmp_path), *BINARY]) == 1
    expected = capsys.readouterr().err
    assert f"bad.parquet: row {row}: column 'p' is 1.5" in expected
    assert main(["eval", str(tmp_path), *BINARY, *RAY, "--state", str(tmp_path / "state")]) == 1
    assert capsys.readouterr() == ("", expected)
    assert not (tmp_path / "state").exists()


@pytest.mark.usefixtures("_small_partitions")
def test_a_column_that_is_not_there_and_text_that_needs_classes(folder, capsys):
    for command in (
        (*BINARY, "--weight", "wieght"),
        ("--task", "binary", "--preds", "p", "--target", "name"),
    ):
        assert main(["eval", str(folder), *command]) == 2
        expected = capsys.readouterr().err
        assert main(["eval", str(folder), *command, *RAY]) == 2
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("address", "status", "expected"),
    [
        ("127.0.0.1:9", 1, "--engine ray: no server answers at 127.0.0.1:9: "),
        ("ray://127.0.0.1:9", 1, "--engine ray: no server answers at 127.0.0.1:9: "),
        ("nonsense", 2, "--address nonsense: expected HOST:PORT, ray://HOST:PORT or auto"),
        ("spark://127.0.0.1:9", 2, "--address spark://127.0.0.1:9: expected HOST:PORT"),
    ],
)
def test_a_cluster_that_is_not_there(folder, capsys, address, status, expected):
    assert main(["eval", str(folder), *BINARY, *RAY, "--address", address]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"streamce: error: {expected}")
    assert err.count("\n") == 1


def heads():
    """Return the processes that are the head of a Ray on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            name = path.read_text()
        except OSError:  # it has just ended
            continue
        if name == "gcs_server\n":
            found.add(path.parent.name)
    return found


def test_without_an_address_it_is_a_ray_for_the_run(folder, tmp_path, capsys):
    before = heads()
    _, state, _ = run(capsys, tmp_path, folder, *TASKS["groups"])
    (tmp_path / "state").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "streamce", "eval", folder, *TASKS["groups"], *RAY, "--state", "state"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "600 rows, binary" in done.stdout
    assert (tmp_path / "state").read_bytes() == state
    assert heads() <= before


def test_an_interrupt_is_one_line_as_it_is_with_threads(folder):
    """Ctrl-C at a terminal reaches all processes of a run, here once Ray has started."""
    before = heads()
    interrupted = "partitions.split = lambda *_: (os.killpg(0, signal.SIGINT), time.sleep(60))"
    imports = "import os, signal, sys, time; from streamce.cli import partitions; from streamce.cli.main import main"
    code = f"{imports}; {interrupted}; sys.exit(main())"
    command = [sys.executable, "-c", code, "eval", folder, *BINARY, *RAY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "streamce: error: interrupted\n")
    assert heads() <= before


def test_a_ray_that_is_not_installed_is_named(folder):
    code = "import sys; sys.modules['ray'] = None; from streamce.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "eval", folder, *BINARY, *RAY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(r"streamce: error: --engine ray: .*pip install 'streamce\[ray\]'\n", done.stderr)
