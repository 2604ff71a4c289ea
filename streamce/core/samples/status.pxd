# What the stages say of a loss, in a byte: a status, and flags above it.

cdef enum:
    # Why a loss does not count. In this order: the first that applies is reported.
    COUNTED = 0
    NOT_THERE  # padding
    LEFT_OUT
    IS_NULL
    BAD_LABEL
    TARGET_NAN
    TARGET_RANGE
    TARGET_SUM
    BAD_WEIGHT
    PREDS_NAN
    PREDS_RANGE
    PREDS_SUM
    NO_PATH  # CTC: no alignment of the target has a probability
    STATUSES
    # What is odd about a loss that counts.
    IS_FLOORED = 1
    IS_INFINITE = 2
    IS_UNNORMALISED = 4
