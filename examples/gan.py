"""Follow a GAN epoch by epoch: the discriminator's loss bounds the distance of generated from real images.

    python examples/gan.py

A small GAN in torch learns handwritten digits (1797 images of 8 x 8 pixels, scikit-learn).
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import streamce as ce

EPOCHS, BATCH, NOISE = 24, 100, 16


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = torch.tensor(load_digits().data / 8 - 1, dtype=torch.float32)
    generator = nn.Sequential(nn.Linear(NOISE, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    optimizers = [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.99)) for net in (generator, discriminator)]
    loss = nn.functional.binary_cross_entropy_with_logits

    total = ce.GANCrossEntropy(kind="logits")
    print("epoch   discriminator   real     fake     generator   Jensen-Shannon, at least")
    for epoch in range(EPOCHS):
        epoch_metric = ce.GANCrossEntropy(kind="logits")
        for batch in images[torch.randperm(len(images))].split(BATCH):
            generated = generator(torch.randn(len(batch), NOISE))
            real, fake = discriminator(batch)[:, 0], discriminator(generated.detach())[:, 0]
            epoch_metric.update(real=real, fake=fake)  # takes tensors directly
            optimizers[1].zero_grad()
            (loss(real, torch.ones_like(real)) + loss(fake, torch.zeros_like(fake))).backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            fooled = discriminator(generated)[:, 0]
            loss(fooled, torch.ones_like(fooled)).backward()  # the non-saturating loss
            optimizers[0].step()
        total += epoch_metric
        if epoch % 3 == 2:
            summary = epoch_metric.summary()
            bar = "#" * round(60 * max(0.0, summary.jensen_shannon) / np.log(2))
            print(
                f"{epoch + 1:5}   {summary.value:9.4f}       {summary.real.mean:.4f}   {summary.fake.mean:.4f}   "
                f"{summary.generator.mean:7.4f}     {summary.jensen_shannon:7.4f} {bar}"
            )
    print(f"\nall epochs:\n{total.summary()}")
    print(f"\nat equilibrium, the discriminator's loss is 2 log 2 = {2 * np.log(2):.4f}")


if __name__ == "__main__":
    main()
