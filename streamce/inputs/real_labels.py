"""Labels that are whole numbers in an array of reals, as integers.

pandas turns integers next to a missing value into float64, and databases return decimals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamce.inputs.arrays import ArrayData, bfloat16_to_float32, convert

INT64_END = 2.0**63  # the first number beyond int64
NO_LABEL = -(1 << 63)  # an integer for a number that is not whole


def to_integers(target: Any, ignore_index: int | None) -> tuple[ArrayData, ArrayData]:
    """Return real labels as integers, and the labels themselves, for errors. Both have the same mask of nulls.

    NaN becomes a null, because libraries without nulls use it for missing labels. A number that is not whole becomes an
    integer that is no class, and not ``ignore_index`` either.
    """
    data = convert(target, "target")
    values = np.asarray(bfloat16_to_float32(data.values, data.is_bfloat16), np.float64)
    missing = np.isnan(values)
    null_mask = data.null_mask
    if missing.any():
        null_mask = missing if null_mask is None else null_mask | missing
    with np.errstate(invalid="ignore"):  # numbers beyond int64
        labels = values.astype(np.int64)
    wrong = (labels != values) | (np.abs(values) >= INT64_END)
    wrong &= values != -INT64_END
    if wrong.any():
        labels[wrong] = NO_LABEL + (ignore_index == NO_LABEL)
    return ArrayData(labels, False, null_mask), ArrayData(values, False, null_mask)
