"""Two ranks of torch.distributed read the state of one process."""

import exact_ranks
import pytest
import summands

import streamce as ce


@pytest.fixture(scope="module")
def job(start):
    return start(exact_ranks, ["0"], ["1"])


@pytest.mark.parametrize("name", summands.FIXED)
def test_ranks_have_the_state_of_one_process(job, name):
    expected = summands.FIXED[name].copy()
    for number in range(summands.N):
        summands.add(expected, name, number)
    assert job[f"{name} 0"] == job[f"{name} 1"] == expected.to_bytes()


LOSSES = {
    "idle_rank": [1.0, 2.0],
    "no_batch": [],
    "on_step": [1.0, 2.0, 3.0, 4.0],
    "alone": [1.0, 2.0],
    "collection": [1.0, 2.0],
}


@pytest.mark.parametrize("case", LOSSES)
def test_each_rank_reads_the_samples_of_all(job, case):
    expected = ce.MeanLoss().update(LOSSES[case]).to_bytes()
    assert job[f"{case} 0"] == job[f"{case} 1"] == expected


def test_invalid_batch_of_one_rank_adds_nothing(job):
    expected = ce.BinaryCrossEntropy().update([0.5] * 3, [1, 1, 0]).to_bytes()
    assert job["invalid_batch 0"] == job["invalid_batch 1"] == expected


@pytest.mark.parametrize("case", ["other_options", "other_length"])
def test_ranks_that_disagree_raise_on_each_rank(job, case):
    for rank in (0, 1):
        error = job[f"{case} {rank}"].decode()
        assert error.startswith(f"rank {1 - rank}: metric has another class or other options than that of this rank")
