"""Fuzz updates while another thread writes hostile values into their arrays.

    python tests/support/fuzz_races.py [--seconds S] [--seed N] [--cases M]

`racing` has the cases and the checks. The number of a case determines its arrays and the values written, but not the
timing of the threads: repeating a failure may need several tries.
"""

import random
import sys
import warnings

import fuzzing
import numpy as np
import racing

SECONDS = 0.2  # per case


def case(seed: int) -> fuzzing.Case:
    name = random.Random(seed).choice(list(racing.CASES))
    made = racing.CASES[name](np.random.default_rng(seed))
    return fuzzing.Case(name, lambda: racing.race(made, SECONDS, seed))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(fuzzing.main(case))
