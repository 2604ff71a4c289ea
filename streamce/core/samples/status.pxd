cpdef enum:
    # Why a loss does not count. The first one that applies is reported.
    COUNTED = 0
    PADDING
    IGNORED
    NULL_INPUT
    INVALID_LABEL
    TARGET_NAN
    TARGET_RANGE
    TARGET_SUM
    INVALID_WEIGHT
    PREDS_NAN
    PREDS_RANGE
    PREDS_SUM
    INFEASIBLE  # CTC: no alignment of the target has a probability above 0
    STATUSES
    # Flags: anomalies of a loss that counts.
    IS_FLOORED = 1
    IS_INFINITE = 2
    IS_UNNORMALISED = 4
