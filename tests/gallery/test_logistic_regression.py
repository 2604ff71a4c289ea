"""Training with the gradients of this library finds the coefficients of scikit-learn."""

import runpy

import numpy as np
import pytest
from paths import EXAMPLES


def test_a_logistic_regression_is_scikit_learns(capsys):
    ours, theirs = runpy.run_path(str(EXAMPLES / "logistic_regression.py"))["main"]()
    np.testing.assert_allclose(ours, np.append(theirs.coef_, theirs.intercept_), atol=1e-5)
    first, *_, last = [line.split() for line in capsys.readouterr().out.splitlines() if " to " in line]
    assert float(last[1]) < float(first[1])
    assert float(last[2]) < float(last[1]) < float(last[4])
    assert float(last[1]) == pytest.approx(0.1139, abs=0.01)
