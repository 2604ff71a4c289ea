"""A GAN's cross-entropy: the value of the discriminator, its parts, and the losses of the generator."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamce as ce


def outputs(seed, n):
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, n), rng.normal(-1, 1, n)


def test_it_is_the_mean_real_loss_plus_the_mean_fake_loss():
    real, fake = outputs(1, 500)
    gan = ce.GANCrossEntropy(kind="logits").update(real=real, fake=fake[:300])
    of_real = ce.BinaryCrossEntropy(kind="logits").update(real, np.ones(500, int))
    of_fake = ce.BinaryCrossEntropy(kind="logits").update(fake[:300], np.zeros(300, int))
    generator = ce.BinaryCrossEntropy(kind="logits").update(fake[:300], np.ones(300, int))
    assert gan.compute() == of_real.compute() + of_fake.compute()
    found = gan.summary()
    assert repr(found.real) == repr(of_real.summary())
    assert repr(found.fake) == repr(of_fake.summary())
    assert repr(found.generator) == repr(generator.summary())
    assert found.minimax == -of_fake.compute()
    assert found.stderr == math.hypot(found.real.stderr, found.fake.stderr)


def test_real_and_fake_may_come_apart():
    real, fake = outputs(2, 100)
    both = ce.GANCrossEntropy(kind="logits").update(real=real, fake=fake)
    apart = ce.GANCrossEntropy(kind="logits").update(fake=fake[:40]).update(real=real).update(fake=fake[40:])
    assert apart.to_bytes() == both.to_bytes()
    assert math.isnan(ce.GANCrossEntropy().update(real=[0.5]).compute())


def test_a_discriminator_that_cannot_tell_is_at_the_equilibrium():
    found = ce.GANCrossEntropy().update(real=[0.5] * 10, fake=[0.5] * 10).summary()
    assert found.value == 2 * math.log(2)
    assert found.distance == found.jensen_shannon == 0


def test_the_optimal_discriminator_gives_the_jensen_shannon_divergence():
    """The distributions are normal, and the divergence is computed by quadrature."""
    x = np.linspace(-12, 12, 200_001)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (1, -1))
    half = (p + q) / 2
    y = p * np.log(p / half) + q * np.log(q / half)
    divergence = np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / 2  # np.trapezoid has another name in NumPy 1
    real, fake = outputs(3, 400_000)
    gan = ce.GANCrossEntropy(kind="logits").update(real=2 * real, fake=2 * fake)  # log p/q = 2 x
    found = gan.summary()
    assert found.jensen_shannon == pytest.approx(divergence, abs=4 * found.stderr)
    worse = ce.GANCrossEntropy(kind="logits").update(real=real, fake=fake).summary()
    assert worse.jensen_shannon < found.jensen_shannon


@given(st.integers(0, 50), st.integers(0, 50))
def test_any_chunking_is_the_same_bytes(a, b):
    real, fake = outputs(4, 50)

    def fed(real, fake):
        return ce.GANCrossEntropy(kind="logits").update(real=real, fake=fake)

    whole, first, second = fed(real, fake), fed(real[:a], fake[:b]), fed(real[a:], fake[b:])
    assert (first + second).to_bytes() == whole.to_bytes()
    assert (whole - first).to_bytes() == second.to_bytes()


def test_intervals_cover_as_often_as_they_say():
    real, fake = outputs(5, 2_000_000)
    true = ce.GANCrossEntropy(kind="logits").update(real=real, fake=fake).compute()
    covered = {0.9: 0, 0.95: 0}
    for seed in range(2000):
        real, fake = outputs(100 + seed, 400)
        gan = ce.GANCrossEntropy(kind="logits").update(real=real, fake=fake[:150])
        for level in covered:
            low, high = gan.summary(level).interval
            covered[level] += low <= true <= high
    for level, times in covered.items():
        assert abs(100 * times / 2000 - 100 * level) <= 1.5


@pytest.mark.parametrize(
    ("given", "argument", "message"),
    [
        ({}, "real", "real and fake are missing"),
        ({"real": [0.5, 1.5]}, "real", r"real\[1\] is 1.5"),
        ({"real": [0.5], "fake": [0.5, math.nan]}, "fake", r"fake\[1\] is nan"),
        ({"fake": [1, 0]}, "fake", "fake has dtype int64"),
        ({"fake": ["a"]}, "fake", "fake has strings"),
        ({"real": [0.5], "real_weight": [-1.0]}, "real_weight", r"real_weight\[0\] is -1.0"),
        ({"fake": [0.5], "fake_weight": [1.0, 2.0]}, "fake_weight", "fake_weight has shape"),
    ],
)
def test_bad_input_is_named_and_nothing_is_added(given, argument, message):
    gan = ce.GANCrossEntropy().update(real=[0.75], fake=[0.25])
    before = gan.to_bytes()
    with pytest.raises(ce.InputError, match=message) as caught:
        gan.update(**given)
    assert caught.value.argument == argument
    assert gan.to_bytes() == before


def test_the_dict_is_what_json_takes_and_the_table_is_read():
    import json

    found = ce.GANCrossEntropy().update(real=[0.75, 0.5], fake=[0.25, 0.5]).summary()
    again = json.loads(json.dumps(found.to_dict()))
    assert again["value"] == found.value
    assert again["fake"]["count"] == 2
    assert "discriminator" in str(found)
    assert max(map(len, str(found).splitlines())) <= 80
