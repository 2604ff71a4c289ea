"""``streamce eval`` on clusters: the same bytes, output and errors as with threads."""

import re
import socket
import subprocess
import sys

import pytest
from engine_eval import BINARY, TASKS, run, split_small_files, write_files, write_invalid_file

from streamce.cli import partitions
from streamce.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("files"))


@pytest.fixture(params=["dask", "spark"])
def cluster(request, monkeypatch):
    """Return the options for a cluster on which files of some kilobytes count as large."""
    split_small_files(monkeypatch)
    if request.param == "dask":
        return "--engine", "dask", "--address", request.getfixturevalue("dask_cluster").scheduler_address
    request.getfixturevalue("spark")  # use the session that runs already
    return "--engine", "spark", "--address", "local[2,4]"


@pytest.mark.parametrize("task", TASKS)
def test_a_cluster_gives_what_threads_give(folder, tmp_path, capsys, cluster, task):
    _, state, found = run(capsys, tmp_path, folder, *TASKS[task], "--threads", "1")
    status, its_state, its_found = run(capsys, tmp_path, folder, *TASKS[task], *cluster, "--threads", "1")
    assert status == 0
    assert its_state == state
    assert its_found["options"].pop("engine") == cluster[1]
    assert its_found == found


def test_text_is_a_part_of_its_own(folder, tmp_path, capsys, cluster):
    paths = [folder / "_all.csv", folder / "b0.parquet"]
    _, state, _ = run(capsys, tmp_path, *paths, *TASKS["names"])
    assert run(capsys, tmp_path, *paths, *TASKS["names"], *cluster)[1] == state


def test_the_first_invalid_row_is_named_as_threads_name_it(tmp_path, capsys, cluster):
    row = write_invalid_file(tmp_path / "bad.parquet")
    assert main(["eval", str(tmp_path), *BINARY]) == 1
    expected = capsys.readouterr().err
    assert f"bad.parquet: row {row}: column 'p' is 1.5" in expected
    assert main(["eval", str(tmp_path), *BINARY, *cluster, "--state", str(tmp_path / "state")]) == 1
    assert capsys.readouterr() == ("", expected)
    assert not (tmp_path / "state").exists()


def test_a_column_that_is_not_there_and_text_that_needs_classes(folder, capsys, cluster):
    for command in (
        (*BINARY, "--weight", "wieght"),
        ("--task", "binary", "--preds", "p", "--target", "name"),
    ):
        assert main(["eval", str(folder), *command]) == 2
        expected = capsys.readouterr().err
        assert main(["eval", str(folder), *command, *cluster]) == 2
        assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("engine", "address", "status", "expected"),
    [
        ("dask", "tcp://127.0.0.1:9", 1, "--engine dask: OSError: Timed out trying to connect to tcp://127.0.0.1:9"),
        ("dask", "nonsense", 1, "--engine dask: ValueError: missing port number in address 'nonsense'"),
        ("spark", "spark://127.0.0.1:9", 1, "--engine spark: no server answers at 127.0.0.1:9: "),
        ("spark", "sc://127.0.0.1:9", 1, "--engine spark: no server answers at 127.0.0.1:9: "),
        ("spark", "nonsense", 2, "--address nonsense: expected spark://HOST:PORT, "),
    ],
)
def test_a_cluster_that_is_not_there(folder, capsys, monkeypatch, engine, address, status, expected):
    monkeypatch.setattr("streamce.cli.cluster_run.TIMEOUT", 1)
    assert main(["eval", str(folder), *BINARY, "--engine", engine, "--address", address]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"streamce: error: {expected}")
    assert err.count("\n") == 1


def test_who_answers_nothing_is_not_waited_for(folder, capsys, monkeypatch):
    monkeypatch.setattr("streamce.cli.cluster_run.TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        assert main(["eval", str(folder), *BINARY, "--engine", "dask", "--address", address]) == 1
    expected = f"streamce: error: --engine dask: no scheduler answers at {address}\n"
    assert capsys.readouterr() == ("", expected)


def test_parts_are_one_job_of_spark_however_few(folder, tmp_path, capsys, monkeypatch, spark):
    """If each partition were a job, they would run one after another."""
    monkeypatch.setattr(partitions, "MIN_BYTES", 1)
    paths = [folder / f"b{number}.parquet" for number in range(3)]
    status = spark.sparkContext.statusTracker()
    before = {*status.getJobIdsForGroup(None)}
    run(capsys, tmp_path, *paths, *BINARY, "--engine", "spark", "--address", "local[2,4]")
    jobs = map(status.getJobInfo, {*status.getJobIdsForGroup(None)} - before)
    assert 3 in [status.getStageInfo(stage).numTasks for job in jobs for stage in job.stageIds]


def test_an_interrupt_is_one_line_as_it_is_with_threads(folder):
    """Ctrl-C at a terminal reaches all processes of a run, here once the cluster has started."""
    interrupted = "partitions.split = lambda *_: (os.killpg(0, signal.SIGINT), time.sleep(60))"
    imports = "import os, signal, sys, time; from streamce.cli import partitions; from streamce.cli.main import main"
    code = f"{imports}; {interrupted}; sys.exit(main())"
    command = [sys.executable, "-c", code, "eval", folder, *BINARY, "--engine", "dask"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, start_new_session=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "streamce: error: interrupted\n")


@pytest.mark.parametrize("engine", ["dask", "spark"])
def test_without_an_address_it_is_a_cluster_for_the_run(folder, tmp_path, capsys, engine):
    _, state, _ = run(capsys, tmp_path, folder, *TASKS["groups"])
    (tmp_path / "state").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "streamce", "eval", folder, *TASKS["groups"], "--engine", engine, "--state", "state"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "600 rows, binary" in done.stdout
    assert (tmp_path / "state").read_bytes() == state


@pytest.mark.parametrize(("engine", "package"), [("dask", "distributed"), ("spark", "pyspark")])
def test_an_engine_that_is_not_installed_is_named(folder, engine, package):
    code = f"import sys; sys.modules['{package}'] = None; from streamce.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "eval", folder, *BINARY, "--engine", engine]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(rf"streamce: error: --engine {engine}: .*pip install 'streamce\[{engine}\]'\n", done.stderr)


def test_java_that_is_not_there_is_named(folder):
    command = [sys.executable, "-m", "streamce", "eval", folder, *BINARY, "--engine", "spark"]
    done = subprocess.run(command, env={"JAVA_HOME": "/nowhere"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("streamce: error: --engine spark: ")
    assert done.stderr.endswith("Spark needs a Java runtime of version 17 or later\n")
