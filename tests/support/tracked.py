"""What is given to trackers of experiments in tests: scalars of every kind of summary, step by step."""

import numpy as np

import streamce as ce

STEPS = 4


def scalars():
    """Return the scalars of each step, of metrics that grow from step to step."""
    rng = np.random.default_rng(18)
    metrics = ce.Collection(
        {
            "all": ce.BinaryCrossEntropy(invalid="skip", tail=True),
            "last": ce.Sliding(ce.BinaryCrossEntropy(invalid="skip"), samples=50),
            "NE": ce.NormalizedEntropy(invalid="skip"),
        }
    )
    text, gan = ce.Perplexity(), ce.GANCrossEntropy(kind="logits")
    pair, users = ce.Paired(ce.BinaryCrossEntropy()), ce.Grouped(ce.BinaryCrossEntropy())
    found = []
    for step in range(STEPS):
        a, b, target = rng.random(40), rng.random(40), rng.integers(0, 2, 40)
        odd = np.where(np.arange(40) < step, np.nan, a)  # invalid samples from the second step on
        metrics.update(odd, target)
        text.update_token_log_probs(-rng.exponential(2, (3, 5)), n_words=[3, 4, 5], n_bytes=[20, 21, 22])
        gan.update(real=rng.normal(1, 1, 8), fake=rng.normal(-1, 1, 8))
        pair.update(a, b, target)
        users.update(a, target, by=rng.integers(0, 3, 40))
        of_step = {}
        for name, summary in metrics.summary().items():
            of_step |= summary.scalars(f"{name}/")
        of_step |= text.summary().scalars("text_") | text.per_byte().scalars("text_byte_")
        of_step |= gan.summary(anytime=True).scalars("gan_") | pair.summary().scalars("pair_")
        of_step |= users.macro().scalars("users_")
        found.append(of_step)
    assert "all/skipped" not in found[0]  # a series that begins later
    assert found[-1]["all/skipped"] == sum(range(STEPS))
    return found


def by_name(steps):
    """Return the series of scalars: a list of (step, number) by name."""
    series = {}
    for step, numbers in enumerate(steps):
        for name, number in numbers.items():
            series.setdefault(name, []).append((step, number))
    return series
