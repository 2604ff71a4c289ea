"""Trains for one epoch: ``python training_run.py FOLDER STOP ...``.

The checkpoint of a run in one process is whole.pt. That of processes which die, each after its STOP, is resumed.pt.
Processes are forks of this one, because an import of torch and of its optimizers takes seconds.
"""

import os
import sys
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional

import streamce as ce

STEPS = 32


def data():
    random = torch.Generator().manual_seed(7)
    tokens = torch.randint(0, 30, (256, 12), generator=random)
    tokens[::3, 8:] = -100
    return torch.utils.data.TensorDataset(tokens)


def metrics():
    return ce.Collection(
        {
            "tokens": ce.SequenceCrossEntropy(kind="logits"),
            "last": ce.Sliding(ce.SequenceCrossEntropy(kind="logits"), samples=100),
        }
    )


def main(path, stop):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(30, 8), torch.nn.Linear(8, 30))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    metric, start = metrics(), 0
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        metric.load_state_dict(saved["metric"])
        start = saved["step"]
    order = torch.Generator().manual_seed(1)
    loader = torch.utils.data.DataLoader(data(), batch_size=8, shuffle=True, generator=order)
    for step, (tokens,) in enumerate(islice(loader, start, None), start + 1):
        logits, labels = model(tokens.clamp(min=0))[:, :-1], tokens[:, 1:]
        metric.update(logits, labels)
        optimizer.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        optimizer.step()
        if step % 5 == 0 or step == STEPS:
            states = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(states | {"metric": metric.state_dict()}, path)
        if step == stop:
            os._exit(9)


def fork(path, stop):
    """Run :func:`main` in a process of its own, and return the step of its last checkpoint."""
    if (child := os.fork()) == 0:
        main(path, stop)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (9 if stop else 0)
    return torch.load(path, weights_only=True)["step"]


if __name__ == "__main__":
    import torch._dynamo  # which optimizers import

    torch.set_num_threads(1)
    folder, stops = Path(sys.argv[1]), map(int, sys.argv[2:])
    fork(folder / "whole.pt", 0)
    print(*(fork(folder / "resumed.pt", stop) for stop in [*stops, 0]))
