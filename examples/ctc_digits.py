"""Evaluate a small recogniser with CTC: a network reads strips of handwritten digits column by column.

    python examples/ctc_digits.py

A strip is a row of one to five digits (1797 images, scikit-learn). Its columns are the frames of an utterance, and its
digits are the target.
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import streamce as ce

FRAMES, LONGEST, BLANK = 48, 5, 10
EPOCHS, STEPS, BATCH = 6, 40, 32


def strips(images, classes, n, rng):
    """Return n strips: columns of 8 pixels (B, T, 8), labels (B, S), and the numbers of frames and of labels."""
    columns, target = np.zeros((n, FRAMES, 8), dtype=np.float32), rng.integers(0, 10, (n, LONGEST))
    labels, frames = rng.integers(1, LONGEST + 1, n), np.zeros(n, dtype=np.int64)
    for i in range(n):
        for j, one in enumerate(rng.integers(0, len(images), labels[i])):
            columns[i, frames[i] : frames[i] + 8], target[i, j] = images[one].T, classes[one]
            frames[i] += 8 + rng.integers(0, 2)  # add a gap after some digits
    return columns, target, frames, labels


class Reader(nn.Module):
    """A network whose output for a column depends on this column and on the twelve around it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(13 * 8, 96), nn.ReLU(), nn.Linear(96, BLANK + 1))

    def forward(self, columns):
        around = nn.functional.pad(torch.from_numpy(columns), (0, 0, 6, 6)).unfold(1, 13, 1)
        return self.layers(around.flatten(2))  # (B, T, C)


def ctc(per="label"):
    return ce.CTCCrossEntropy(kind="logits", blank=BLANK, layout="BTC", per=per)


def read(logits, frames):
    """Return the most likely class of each frame, with repeats merged and blanks removed."""
    best = logits[:frames].argmax(-1).tolist()
    return "".join(str(c) for c, before in zip(best, [BLANK, *best], strict=False) if c not in (before, BLANK))


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    data = load_digits()
    images = data.images.astype(np.float32) / 16
    net = Reader()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    columns, target, frames, labels = strips(images[1200:], data.target[1200:], 500, rng)
    held_out = {"input_lengths": frames, "target_lengths": labels}

    print("strips   train, per label   test     95 % interval")
    for epoch in range(EPOCHS):
        train = ctc()
        for _ in range(STEPS):
            x, y, t, s = strips(images[:1200], data.target[:1200], BATCH, rng)
            logits = net(x)
            logs = logits.log_softmax(-1).transpose(0, 1)
            lengths = torch.from_numpy(t), torch.from_numpy(s)
            loss = nn.functional.ctc_loss(logs, torch.from_numpy(y), *lengths, blank=BLANK, reduction="sum")
            optimizer.zero_grad()
            (loss / s.sum()).backward()
            optimizer.step()
            train.update(logits, y, input_lengths=t, target_lengths=s)
        with torch.no_grad():
            logits = net(columns)
        test = ctc().update(logits, target, **held_out).summary()
        low, high = test.interval
        seen = (epoch + 1) * STEPS * BATCH
        print(f"{seen:6,}   {train.compute():.4f}             {test.value:.4f}   {low:.4f} to {high:.4f}")

    print("\ndigits of some strips, and the digits that the network reads:")
    for i in range(4):
        print(f"  {''.join(map(str, target[i, : labels[i]])):5}   {read(logits[i], frames[i])}")

    # Three frames cannot hold five digits, so torch's mean would be infinite.
    cut = np.where(np.arange(len(frames)) % 50 == 0, 3, frames)
    summary = ctc("utterance").update(logits, target, input_lengths=cut, target_lengths=labels).summary()
    print(f"\nevery 50th strip cut to 3 frames: {summary.infeasible} of {summary.seen} strips are infeasible, and")
    print(f"the mean of the other {summary.count} is {summary.value:.4f} nats per strip")

    total, workers = ctc().update(logits, target, **held_out), [ctc(), ctc()]
    for i in range(len(frames)):
        one = slice(i, i + 1)
        lengths = {name: value[one] for name, value in held_out.items()}
        workers[i % 2].update(logits[one], target[one], **lengths)
    print(f"the states of two workers add up to the same bytes: {workers[0] + workers[1] == total}")


if __name__ == "__main__":
    main()
