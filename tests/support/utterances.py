"""Utterances for the tests of CTC: chunks of any kind, generated from a few random numbers."""

import numpy as np
from streams import DTYPES

import streamce as ce
from streamce.core.ledger.state import State
from streamce.core.losses.utterances import Utterances
from streamce.core.pipeline.ctc_pipeline import CTC


def losses(preds, target, input_lengths, target_lengths, *, kind="probs", blank=0, layout="TBC", threads=1, skips=True):
    """Return the loss of each utterance: inf if it is infeasible, nan if it is invalid."""
    out = np.empty(len(input_lengths))
    path = CTC(kind, blank, layout, "label", skips, threads)
    path.update(State(), Utterances(preds, target, input_lengths, target_lengths), losses=out)
    return out


def from_logits(kind, x):
    x = np.asarray(x, dtype=np.float64)
    x = x - x.max(-1, keepdims=True)
    logs = x - np.log(np.exp(x).sum(-1, keepdims=True))
    return {"logits": x, "log_probs": logs, "probs": np.exp(logs)}[kind]


class Batch:
    """Random utterances. Some are infeasible, with ``odd`` some are invalid, and with ``empty`` some lack labels."""

    def __init__(
        self, seed=0, n=12, *, kind="logits", dtype="float64", blank=0, classes=7, frames=30, odd=False, empty=False
    ):
        rng = np.random.default_rng(seed)
        self.kind, self.blank = kind, blank
        self.frames = rng.integers(1, frames + 1, n)
        self.labels = rng.integers(1, 7, n)
        if empty:
            self.labels[::3] = 0
        x = rng.normal(size=(frames, n, classes)) * 10.0 ** rng.uniform(-1, 1, (1, n, 1))
        with np.errstate(all="ignore"):
            self.preds = from_logits(kind, x).astype(DTYPES[dtype])
        others = [c for c in range(classes) if c != blank]
        self.target = rng.choice(others, (n, 6))
        self.weight = rng.gamma(1.0, 1.0, n)
        if odd:
            self.preds[0, 1::5] = np.nan
            self.target[2::5, 0] = rng.choice([-1, blank, classes, 77], len(self.target[2::5]))
            self.weight[3::7] = [-1.0, np.inf][seed % 2]

    def __len__(self):
        return len(self.frames)

    def metric(self, **more):
        return ce.CTCCrossEntropy(**{"kind": self.kind, "blank": self.blank, "invalid": "skip"} | more)

    def add_to(self, metric, some=slice(None), weighted=True, **more):
        more |= {"weight": self.weight[some]} if weighted else {}
        return metric.update(
            self.preds[:, some], self.target[some], input_lengths=self.frames[some],
            target_lengths=self.labels[some], **more,
        )  # fmt: skip

    def fed(self, **more):
        return self.add_to(self.metric(**more))

    def losses(self, **more):
        return losses(self.preds, self.target, self.frames, self.labels, kind=self.kind, blank=self.blank, **more)

    def rows(self, i):
        return np.asarray(self.preds[: self.frames[i], i], dtype=np.float64), self.target[i, : self.labels[i]]
