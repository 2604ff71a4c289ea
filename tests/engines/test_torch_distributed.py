"""``ce.all_reduce`` in two processes of gloo: equal bytes on all ranks, and no rank waits for one that failed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import ranks

import streamce as ce

ALONE = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}


def job(case, folder):
    """Run two ranks, and return what each of them wrote, by rank and kind."""
    started = [
        subprocess.Popen(
            [sys.executable, ranks.__file__, case, str(rank), str(folder / "store"), str(folder)],
            env={**os.environ, **ALONE}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(ranks.WORLD)
    ]  # fmt: skip
    try:
        errors = [process.communicate(timeout=90)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 3 if case == "dies" else 0], errors
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != "store"}


@pytest.mark.parametrize("case", ["alike", "grouped", "one_saw_nothing", "own_threads"])
def test_all_ranks_get_the_bytes_of_one_process(tmp_path, case):
    found = job(case, tmp_path)
    of_rank = getattr(ranks, case)
    expected = (of_rank(0) + of_rank(1)).to_bytes()
    assert [found[f"{rank}.state"] for rank in range(ranks.WORLD)] == [expected] * ranks.WORLD


def test_options_that_change_no_loss_are_those_of_the_rank(tmp_path):
    found = job("own_threads", tmp_path)
    assert [found[f"{rank}.options"].decode() for rank in range(2)] == [
        f"BinaryCrossEntropy(invalid='skip', threads={1 + rank})" for rank in range(2)
    ]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "other_options",
            "rank 1: kind is 'probs' in one metric and 'logits' in the other: their losses cannot be added",
        ),
        ("no_sum_on_one", "rank 1: the last samples of two streams do not add up: those of a period do"),
        ("no_metric_on_one", "rank 1: metric is {'loss': 0.3}: expected a metric such as BinaryCrossEntropy()"),
    ],
)
def test_what_is_wrong_on_one_rank_is_said_on_all(tmp_path, case, expected):
    found = job(case, tmp_path)
    assert {name: text.decode() for name, text in found.items()} == {"0.error": expected, "1.error": expected}


def test_a_rank_that_dies_lets_no_other_wait(tmp_path):
    assert set(job("dies", tmp_path)) == {"0.died"}


def test_without_a_job():
    with pytest.raises(
        ce.InputError, match=r"group does not belong to a torch.distributed job: expected .*init_process_group"
    ):
        ce.all_reduce(ce.BinaryCrossEntropy())
