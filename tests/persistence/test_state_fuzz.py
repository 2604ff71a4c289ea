"""No bytes crash or hang a reader, and only intact ones are accepted. hypothesis changes bytes and repairs checksums.

`make test-fuzz` does the same with atheris, which searches for code that was not reached yet.
"""

import faulthandler

import pytest
import state_fuzzing
import state_writer
from hypothesis import given, settings
from hypothesis import strategies as st

RANDOM = st.randoms(use_true_random=False)


@pytest.fixture(autouse=True)
def no_hang():
    """End all tests with a traceback if one hangs in compiled code."""
    faulthandler.dump_traceback_later(300, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@settings(max_examples=1500)
@given(st.sampled_from(state_fuzzing.SEEDS), RANDOM)
def test_changed_states(seed, random):
    state_fuzzing.check(state_writer.sealed(state_fuzzing.mutated(seed, random.randrange)))


@settings(max_examples=1000)
@given(RANDOM)
def test_states_from_a_grammar(random):
    state_fuzzing.check(state_writer.sealed(state_fuzzing.some_body(random.randrange)))


@settings(max_examples=1000)
@given(st.sampled_from(state_fuzzing.CHECKPOINTS), RANDOM)
def test_changed_checkpoints(seed, random):
    state_fuzzing.check_checkpoint(state_writer.sealed(state_fuzzing.mutated_checkpoint(seed, random.randrange)))


@settings(max_examples=1000)
@given(RANDOM)
def test_checkpoints_from_a_grammar(random):
    state_fuzzing.check_checkpoint(state_writer.sealed(state_fuzzing.some_checkpoint(random.randrange)))


@settings(max_examples=300)
@given(st.sampled_from(state_fuzzing.SEEDS), RANDOM)
def test_changed_states_whose_checksum_is_not_repaired(seed, random):
    changed = state_fuzzing.mutated(seed, random.randrange)
    assert not state_fuzzing.check(changed + state_writer.sealed(seed)[-16:]) or changed == seed


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_behind_a_right_header(some):
    state_fuzzing.check(state_writer.sealed(state_fuzzing.SEEDS[0][:14] + some))
    state_fuzzing.check(some)
    state_fuzzing.check_checkpoint(state_writer.sealed(b"streamck\x01\0" + some))
    state_fuzzing.check_checkpoint(some)


def test_some_of_these_bytes_are_accepted_and_most_are_not():
    """This shows that the tests above see both kinds."""
    from random import Random

    random = Random(1)
    made = [state_fuzzing.some_body(random.randrange) for _ in range(2000)]
    made += [state_fuzzing.mutated(seed, random.randrange) for seed in state_fuzzing.SEEDS for _ in range(100)]
    accepted = sum(state_fuzzing.check(state_writer.sealed(one)) for one in made)
    assert 0.05 < accepted / len(made) < 0.5
    of_groups = [one for one in made if (state_fuzzing.split(one) or [0, b""])[1].startswith(b'{"metric":"Grouped"')]
    accepted = sum(state_fuzzing.check(state_writer.sealed(one)) for one in of_groups)
    assert 0.05 < accepted / len(of_groups) < 0.5
    made = [state_fuzzing.some_checkpoint(random.randrange) for _ in range(500)]
    made += [state_fuzzing.mutated_checkpoint(one, random.randrange) for one in state_fuzzing.CHECKPOINTS * 100]
    accepted = sum(state_fuzzing.check_checkpoint(state_writer.sealed(one)) for one in made)
    assert 0.1 < accepted / len(made) < 0.7
