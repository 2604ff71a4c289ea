"""One rank of a job of torch.distributed: ``python exact_ranks.py FOLDER RANK``. Results go to FOLDER."""

import os
import sys
from datetime import timedelta
from pathlib import Path

import summands
import torch
from torch import distributed
from torchmetrics import MetricCollection

import streamce as ce
from streamce.integrations.torchmetrics import ExactMetric

SIZE = 2


def adds(name, numbers):
    """Return a metric with these batches."""
    exact = ExactMetric(summands.FIXED[name])
    for number in numbers:
        summands.add(exact, name, number)
    return exact


def sums(rank, name):
    """Read the sum of the ranks, twice, with a batch between them."""
    exact = adds(name, range(rank, summands.N - 1, SIZE))
    before = exact.limbs
    assert exact.compute().item() == exact.metric.compute()
    assert torch.equal(exact.limbs, before)
    if rank == 0:
        summands.add(exact, name, summands.N - 1)
    whole, value = exact.metric, exact.compute().item()
    assert value == whole.compute()
    assert repr(exact.summary()) == repr(whole.summary())
    return whole


def idle_rank(rank):
    """One rank has no batch."""
    exact = ExactMetric(ce.MeanLoss())
    if rank == 0:
        exact.update([1.0, 2.0])
    assert exact.compute() == 1.5
    return exact.metric


def no_batch(rank):
    """No rank has a batch."""
    exact = ExactMetric(ce.MeanLoss())
    assert exact.compute().isnan()
    return exact.metric


def on_step(rank):
    """forward returns the value of the batches of all ranks."""
    exact = ExactMetric(ce.MeanLoss(), dist_sync_on_step=True)
    assert exact(torch.tensor([1.0 + rank])) == 1.5
    assert exact(torch.tensor([3.0 + rank])) == 3.5
    assert exact.compute() == 2.5
    return exact.metric


def alone(rank):
    """sync_on_compute=False reads the samples of this rank, and sync() adds those of others."""
    exact = ExactMetric(ce.MeanLoss(), sync_on_compute=False)
    exact.update([1.0 + rank])
    assert exact.compute() == exact.metric.compute() == 1.0 + rank
    exact.sync()
    assert exact.summary().count == 2  # a metric that is synced is read as it is
    assert exact._is_synced
    whole = exact.metric
    exact.unsync()
    assert exact.summary().count == 1
    return whole


def collection(rank):
    metrics = MetricCollection(
        {"a": ExactMetric(ce.MeanLoss()), "b": ExactMetric(ce.MeanLoss(), sync_on_compute=False)}
    )
    metrics.update([1.0 + rank])
    assert metrics.compute() == {"a": 1.5, "b": 1.0 + rank}
    return metrics["a"].metric


def invalid_batch(rank):
    """An invalid batch of forward on one rank adds nothing, and compute still reads all ranks."""
    exact = ExactMetric(ce.BinaryCrossEntropy())
    exact([0.5], [1])
    if rank == 1:
        try:
            exact([7.0], [1])
        except ce.InputError:
            exact([0.5], [0])
    assert exact.summary().count == 3
    return exact.metric


def refused(metric, other, rank):
    """Read the sum of metrics of other options, which raises on both ranks."""
    exact = ExactMetric(metric if rank == 0 else other)
    exact.update(torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
    before = exact.limbs
    errors = []
    for read in (exact.compute, exact.summary, exact.sync):
        try:
            read()
        except ce.InputError as error:
            errors.append(str(error))
    assert torch.equal(exact.limbs, before)
    assert len(set(errors)) == 1, errors
    assert len(errors) == 3
    return errors[0]


def other_options(rank):
    return refused(ce.MulticlassCrossEntropy(), ce.MulticlassCrossEntropy(label_smoothing=0.1), rank)


def other_length(rank):
    return refused(
        ce.MulticlassCrossEntropy(), ce.MulticlassCrossEntropy(per_class=True, class_weight=[1.0, 1.0]), rank
    )


CASES = [idle_rank, no_batch, on_step, alone, collection, invalid_batch, other_options, other_length]


def main(folder, rank):
    store = distributed.FileStore(os.path.join(folder, "store"), SIZE)
    timeout = timedelta(seconds=60)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=SIZE, timeout=timeout)
    for name in summands.FIXED:
        Path(folder, f"{name} {rank}").write_bytes(sums(rank, name).to_bytes())
    for case in CASES:
        found = case(rank)
        path = Path(folder, f"{case.__name__} {rank}")
        path.write_bytes(found.encode() if isinstance(found, str) else found.to_bytes())
    distributed.barrier()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
    os._exit(0)  # the end of torch may abort
