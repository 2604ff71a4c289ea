"""Sequences of tokens for the tests: a corpus of any kind, which can be split and laid out in many ways."""

import numpy as np
from streams import DTYPES
from utterances import from_logits

import streamce as ce


class Corpus:
    """Random sequences. With ``odd`` some tokens are invalid, with ``ignored`` ignored. ``empty`` adds empty ones."""

    def __init__(
        self, seed=0, n=12, *, kind="logits", dtype="float64", vocabulary=7, longest=9, odd=False, ignored=True,
        empty=False,
    ):  # fmt: skip
        rng = np.random.default_rng(seed)
        self.kind = kind
        self.lengths = rng.integers(1, longest + 1, n)
        if empty:
            self.lengths[np.random.default_rng(seed).random(n) < 0.4] = 0
        tokens = int(self.lengths.sum())
        x = rng.normal(size=(tokens, vocabulary)) * 10.0 ** rng.uniform(-1, 1, (tokens, 1))
        with np.errstate(all="ignore"):
            self.preds = from_logits(kind, x).astype(DTYPES[dtype]) if tokens else x.astype(DTYPES[dtype])
        self.target = rng.integers(0, vocabulary, tokens)
        if odd:
            self.preds[3::11, 0] = np.nan
            self.target[5::13] = rng.choice([-1, vocabulary, 10**6], len(self.target[5::13]))
        if ignored:
            self.target[rng.random(tokens) < 0.2] = -100
        self.mask = rng.random(tokens) < 0.8
        self.weight = rng.gamma(1.0, 1.0, n)
        self.token_weight = rng.gamma(1.0, 1.0, tokens)
        self.words = rng.integers(0, 5, n)
        self.bytes = rng.integers(1, 30, n)
        self.document = rng.integers(0, 4, n)

    def __len__(self):
        return len(self.lengths)

    @property
    def offsets(self):
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def metric(self, cls=ce.SequenceCrossEntropy, **more):
        return cls(**{"kind": self.kind, "invalid": "skip"} | more)

    def rows(self, some):
        """Return the indices of the tokens of some sequences."""
        return np.concatenate([np.arange(self.offsets[i], self.offsets[i + 1]) for i in some] or [np.zeros(0, int)])

    def padded(self, tokens, some, room, fill):
        """Return an array with an entry per token as an array with a row per sequence."""
        found = np.full((len(some), room, *tokens.shape[1:]), fill, dtype=tokens.dtype)
        for row, i in enumerate(some):
            found[row, : self.lengths[i]] = tokens[self.offsets[i] : self.offsets[i + 1]]
        return found

    def add_to(self, metric, some=None, *, flat=True, room=0, masked=False, weighted=None, counted=False, **more):
        """Add some sequences, flat or padded to at least ``room``. ``weighted`` is "sequence" or "token"."""
        some = np.arange(len(self)) if some is None else np.asarray(some)
        lengths, rows = self.lengths[some], self.rows(some)
        if len(rows) == len(some) and 0 in lengths:  # flat weights could be those of sequences or of tokens
            flat = False
        if weighted == "sequence":
            more["weight"] = self.weight[some]
        if counted:
            more |= {"n_words": self.words[some], "n_bytes": self.bytes[some]}
        if flat:
            more["offsets"] = np.concatenate([[0], np.cumsum(lengths)])
            if masked:
                more["mask"] = self.mask[rows]
            if weighted == "token":
                more["weight"] = self.token_weight[rows]
            return metric.update(self.preds[rows], self.target[rows], **more)
        room = max(room, lengths.max(initial=0))
        if masked:
            more["mask"] = self.padded(self.mask, some, room, True)
        if weighted == "token":
            more["weight"] = self.padded(self.token_weight, some, room, np.nan)
        preds = self.padded(self.preds, some, room, np.nan)
        target = self.padded(self.target, some, room, 10**9)
        return metric.update(preds, target, lengths=lengths, **more)

    def losses(self):
        """Return the loss of each token, nan if it is invalid or ignored."""
        with np.errstate(invalid="ignore"):
            valid = (self.target >= 0) & (self.target < self.preds.shape[1]) & ~np.isnan(self.preds).any(-1)
        found = np.full(len(self.target), np.nan)
        found[valid] = ce.cross_entropy(self.preds[valid], self.target[valid], kind=self.kind, reduction="none")
        return found
