"""Evaluate a recommender: normalized entropy of its predictions, and users whose ratings it predicts badly.

    python examples/recommender.py

The data are MovieLens-100k: 943 users and 1682 films. The wheel of recbole contains the file; install it with
pip install --no-deps recbole. The model predicts whether a user gives a film 4 stars or more. It is a logistic
factorisation, fitted to the first 80 % of the ratings in the order of time, and evaluated on the rest.
"""

import importlib.util
from pathlib import Path

import numpy as np

import streamce as ce

FACTORS, EPOCHS, BATCH, RATE, PENALTY = 8, 12, 2000, 0.5, 0.02


def ratings():
    """Return users, films, whether the user liked the film, and the time of the rating, in the order of time."""
    folder = Path(importlib.util.find_spec("recbole").submodule_search_locations[0])
    file = folder / "dataset_example" / "ml-100k" / "ml-100k.inter"
    user, item, stars, when = np.loadtxt(file, skiprows=1, unpack=True)
    order = np.argsort(when, kind="stable")
    columns = user.astype(int) - 1, item.astype(int) - 1, (stars >= 4).astype(int), when
    return [column[order] for column in columns]


class Factorisation:
    """A model with logit = bias + bias of the user + bias of the film + p_user · q_film, fitted by gradient descent."""

    def __init__(self, users, items, rng):
        self.bias, self.user, self.item = 0.0, np.zeros(users), np.zeros(items)
        self.p, self.q = rng.normal(0, 0.1, (users, FACTORS)), rng.normal(0, 0.1, (items, FACTORS))

    def logits(self, u, i):
        return self.bias + self.user[u] + self.item[i] + np.einsum("nf,nf->n", self.p[u], self.q[i])

    def step(self, u, i, y):
        error = y - 1 / (1 + np.exp(-self.logits(u, i)))
        self.bias += RATE * error.mean()
        for own, at in ((self.user, u), (self.item, i)):
            np.add.at(own, at, RATE * (0.1 * error - PENALTY * own[at]))
        p, q = self.p[u], self.q[i]
        of_p, of_q = error[:, None] * q - PENALTY * p, error[:, None] * p - PENALTY * q
        np.add.at(self.p, u, RATE * 0.1 * of_p)
        np.add.at(self.q, i, RATE * 0.1 * of_q)


def main():
    user, item, liked, when = ratings()
    rng, cut = np.random.default_rng(0), int(0.8 * len(user))
    model = Factorisation(user.max() + 1, item.max() + 1, rng)
    train, test = np.arange(cut), np.arange(cut, len(user))
    print("epoch   normalized entropy: training, and later ratings with interval")
    for epoch in range(EPOCHS):
        for rows in np.array_split(rng.permutation(train), len(train) // BATCH):
            model.step(user[rows], item[rows], liked[rows])
        if epoch % 3 == 2:
            seen, new = (
                ce.NormalizedEntropy(kind="logits").update(model.logits(user[rows], item[rows]), liked[rows]).summary()
                for rows in (train, test)
            )
            print(
                f"{epoch + 1:5}   {seen.value:.4f}   {new.value:.4f} ({new.interval[0]:.4f} to {new.interval[1]:.4f})"
            )

    logits, y, who = model.logits(user[test], item[test]), liked[test], user[test]
    clustered = ce.NormalizedEntropy(kind="logits").update(logits, y, cluster=who).summary()
    print("interval with users as clusters, because ratings of one user are correlated:", end=" ")
    print(f"{clustered.interval[0]:.4f} to {clustered.interval[1]:.4f}")
    print("1 is the loss of always predicting the share of likes. The later users and films are different.\n")

    users = ce.Grouped(ce.BinaryCrossEntropy(kind="logits")).update(logits, y, by=who)
    macro, micro = users.macro(), users.micro()
    print(f"per rating (micro) {micro.mean:.4f} +- {micro.stderr:.4f}", end="; ")
    print(f"per user (macro) {macro.value:.4f} +- {macro.stderr:.4f}")
    often = {key: summary for key, summary in users.summary().items() if summary.count >= 30}
    print(f"{len(users)} users, {len(often)} with 30 ratings or more. Of these, the largest and smallest losses:")
    ranked = sorted(often, key=lambda key: often[key].mean)
    for key in [*ranked[:-4:-1], *ranked[:3]]:
        low, high = often[key].interval
        print(f"  user {key + 1:3}   {often[key].mean:.4f} ({low:.2f} to {high:.2f})   {often[key].count} ratings")

    # Give old ratings less weight: it halves every week.
    weight = 0.5 ** ((when[test].max() - when[test]) / (7 * 86400))
    recent = ce.NormalizedEntropy(kind="logits").update(logits, y, weight=weight).summary()
    low, high = recent.interval
    print(f"\nwith weights that halve every week: {recent.value:.4f} ({low:.4f} to {high:.4f})")


if __name__ == "__main__":
    main()
