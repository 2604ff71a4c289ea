"""GAN: what a discriminator's loss says of the generator, epoch by epoch.

    python examples/gan.py

A small GAN on handwritten digits (1797 images of 8 x 8, scikit-learn), in torch.
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

    whole = ce.GANCrossEntropy(kind="logits")
    print("epoch   discriminator   real     fake     generator   Jensen-Shannon, at least")
    for epoch in range(EPOCHS):
        history = ce.GANCrossEntropy(kind="logits")
        for batch in images[torch.randperm(len(images))].split(BATCH):
            made = generator(torch.randn(len(batch), NOISE))
            real, fake = discriminator(batch)[:, 0], discriminator(made.detach())[:, 0]
            history.update(real=real, fake=fake)  # tensors go in as they are
            optimizers[1].zero_grad()
            (loss(real, torch.ones_like(real)) + loss(fake, torch.zeros_like(fake))).backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            fooled = discriminator(made)[:, 0]
            loss(fooled, torch.ones_like(fooled)).backward()  # non-saturating
            optimizers[0].step()
        whole += history
        if epoch % 3 == 2:
            found = history.summary()
            bar = "#" * round(60 * max(0.0, found.jensen_shannon) / np.log(2))
            print(
                f"{epoch + 1:5}   {found.value:9.4f}       {found.real.mean:.4f}   {found.fake.mean:.4f}   "
                f"{found.generator.mean:7.4f}     {found.jensen_shannon:7.4f} {bar}"
            )
    print(f"\nall epochs:\n{whole.summary()}")
    print(f"\nat the equilibrium the discriminator's loss is 2 log 2 = {2 * np.log(2):.4f}")


if __name__ == "__main__":
    main()
