"""One process of a job: ``python ignite_ranks.py RANK STORE FOLDER``. What each case finds goes to FOLDER."""

import json
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics import Loss
from torch import distributed
from torch.nn.functional import cross_entropy

import streamce as ce
from streamce.integrations.ignite import ExactLoss

WORLD = 2


def batches(rank):
    """Return the batches of a rank, of unequal sizes and lengths. Many tokens are ignored."""
    random = np.random.default_rng(rank)
    found = []
    for size in [5, 1, 3, 8][: 4 - 2 * rank]:
        target = random.integers(0, 7, (size, 6))
        target[random.random((size, 6)) < 0.2 * (1 + rank)] = -100
        found.append((torch.from_numpy(random.normal(size=(size, 6, 7))), torch.from_numpy(target)))
    return found


def metric():
    return ce.SequenceCrossEntropy(kind="logits")


def token_mean(logits, target):
    return cross_entropy(logits.flatten(0, 1), target.flatten())


def evaluator(exact):
    engine = Engine(lambda engine, batch: batch)
    exact.attach(engine, "exact_loss")
    Loss(token_mean).attach(engine, "loss")
    return engine


def alike(rank):
    """Evaluate an epoch on both ranks, and save and load the sum."""
    exact = ExactLoss(metric())
    found = dict(evaluator(exact).run(batches(rank)).metrics)
    loaded = ExactLoss(metric())
    loaded.load_state_dict(exact.state_dict())
    return exact, found | {"loaded": loaded.compute()}


def one_saw_nothing(rank):
    exact = ExactLoss(metric())
    for batch in batches(0) if rank == 0 else []:
        exact.update(batch)
    return exact, {"exact_loss": exact.compute()}


def other_options(rank):
    exact = ExactLoss(ce.SequenceCrossEntropy(kind="log_probs" if rank else "logits"))
    return exact, {"exact_loss": exact.compute()}


CASES = (alike, one_saw_nothing, other_options)


def main(rank, store, folder):
    there = distributed.FileStore(store, WORLD)
    distributed.init_process_group("gloo", store=there, rank=rank, world_size=WORLD, timeout=timedelta(seconds=30))
    for case in CASES:
        path = Path(folder, f"{case.__name__} {rank}")
        try:
            exact, found = case(rank)
        except ce.InputError as error:
            found = {"error": str(error)}
        else:
            path.with_suffix(".state").write_bytes(exact.metric.to_bytes())
            if rank == 0:
                assert exact.summary().value == found["exact_loss"]  # without the other rank, which does not call it
        path.with_suffix(".json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
