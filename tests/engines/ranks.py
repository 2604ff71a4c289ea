"""One process of a torch.distributed job: ``python ranks.py CASE RANK STORE FOLDER``. Results go to FOLDER."""

import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import numpy as np
from torch import distributed

import streamce as ce

WORLD = 2


def data(rank):
    """Return the chunk of a rank."""
    random = np.random.default_rng(rank)
    return random.random(1000), random.integers(0, 2, 1000), random.integers(0, 50, 1000)


def alike(rank):
    preds, target, _ = data(rank)
    return ce.BinaryCrossEntropy(tail=True).update(preds, target)


def grouped(rank):
    preds, target, key = data(rank)
    return ce.Grouped(ce.BinaryCrossEntropy()).update(preds, target, by=key)


def one_saw_nothing(rank):
    return ce.BinaryCrossEntropy(tail=True) if rank else alike(0)


def own_threads(rank):
    preds, target, _ = data(rank)
    return ce.BinaryCrossEntropy(invalid="skip", threads=1 + rank).update(preds, target)


def other_options(rank):
    return ce.BinaryCrossEntropy(kind="logits" if rank else "probs")


def no_sum_on_one(rank):
    return ce.Sliding(ce.BinaryCrossEntropy(), samples=10) if rank else ce.BinaryCrossEntropy()


def no_metric_on_one(rank):
    return {"loss": 0.3} if rank else ce.BinaryCrossEntropy()


def dies(rank):
    if rank:
        sys.exit(3)
    return ce.BinaryCrossEntropy()


CASES = [alike, grouped, one_saw_nothing, own_threads, other_options, no_sum_on_one, no_metric_on_one, dies]


def main(case, rank, store, folder):
    there = distributed.FileStore(store, WORLD)
    distributed.init_process_group("gloo", store=there, rank=rank, world_size=WORLD, timeout=timedelta(seconds=20))
    metric = globals()[case](rank)
    before = metric.to_bytes() if hasattr(metric, "to_bytes") else b""
    try:
        found = ce.all_reduce(metric)
    except ce.InputError as error:
        Path(folder, f"{rank}.error").write_text(str(error))
    except RuntimeError:
        Path(folder, f"{rank}.died").write_text(traceback.format_exc())
        os._exit(0)  # without the end of torch, whose threads may abort the process when the other rank is gone
    else:
        assert found is not metric
        assert metric.to_bytes() == before
        Path(folder, f"{rank}.state").write_bytes(found.to_bytes())
        Path(folder, f"{rank}.options").write_text(repr(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
