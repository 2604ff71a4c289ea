"""Losses, gradients and states are those of golden.json with every instruction set, as on every machine."""

import golden
import pytest


@pytest.mark.core
def test_losses_gradients_and_states_are_the_golden_bits(simd):
    assert golden.compare(golden.digests()) == []


def test_one_other_bit_is_noticed():
    found = golden.digests()
    name, given = next(iter(golden.cases().items()))
    losses = bytearray(given[0].losses())
    losses[-8] ^= 1
    found[name] = found[name] | {"losses": golden.sha([losses, *(one.losses() for one in given[1:])])}
    assert golden.compare(found) == [f"{name}: losses"]
    del found[name]
    assert golden.compare(found) == [f"{name}: not among the cases"]
