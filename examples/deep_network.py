"""Use a metric in the training loop of a deep network, with tensors of every floating-point dtype.

    python examples/deep_network.py

A small network in torch learns handwritten digits (1797 images, scikit-learn).
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import streamce as ce

EPOCHS, BATCH, SMOOTHING = 20, 64, 0.1


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = load_digits()
    split = train_test_split(data.data.astype(np.float32) / 16, data.target, test_size=0.3, random_state=0)
    x, x_test, y, y_test = (torch.from_numpy(part) for part in split)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    print("epoch   train, smoothed   test     test, confidence sequence")
    for epoch in range(EPOCHS):
        smoothed = ce.MulticlassCrossEntropy(kind="logits", label_smoothing=SMOOTHING)
        of_torch = []
        for rows in torch.randperm(len(x)).split(BATCH):
            logits = net(x[rows])
            loss = nn.functional.cross_entropy(logits, y[rows], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            smoothed.update(logits, y[rows])  # takes the values, not the graph
            of_torch.append(loss.item() * len(rows))
        assert abs(smoothed.compute() - sum(of_torch) / len(x)) < 1e-6
        if epoch % 4 == 3:
            with torch.no_grad():
                test = ce.MulticlassCrossEntropy(kind="logits").update(net(x_test), y_test)
            low, high = test.summary(anytime=True).interval
            print(f"{epoch + 1:5}   {smoothed.compute():.4f}            {test.compute():.4f}   {low:.4f} to {high:.4f}")

    print("\nthe same logits as tensors of each dtype, without copies:")
    with torch.no_grad():
        logits = net(x_test)
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        value = ce.cross_entropy(logits.to(dtype), y_test, kind="logits")
        print(f"  {str(dtype).removeprefix('torch.'):9} {value:.9f}")

    weight = torch.linspace(0.5, 2, 10)
    ours = ce.cross_entropy(logits, y_test, kind="logits", class_weight=weight, label_smoothing=SMOOTHING)
    theirs = nn.functional.cross_entropy(logits.double(), y_test, weight=weight.double(), label_smoothing=SMOOTHING)
    print(f"\nclass weights and smoothing: {ours:.9f}, torch in float64 {theirs.item():.9f}")
    assert abs(ours - theirs.item()) < 1e-6


if __name__ == "__main__":
    main()
