"""The losses of elements, each the cost of an outcome, for binary and multilabel metrics."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from streamce.core.kernels.kernels cimport BLOCK, NOT_FINITE, table
from streamce.core.losses.array_view cimport F64, I64, I8, U8, integers_to_labels, view_prefetch
from streamce.core.losses.batch cimport Batch, below_floor, product
from streamce.core.losses.load_block cimport check_weights, doubles_of, elements_of, floats_of
from streamce.core.losses.loss_spec cimport LOGITS, LOG_PROBS, PROBS
from streamce.core.losses.workspace cimport ElementTile, Workspace, flag
from streamce.core.samples.status cimport (
    IGNORED, INVALID_LABEL, IS_FLOORED, IS_UNNORMALISED, PREDS_NAN, PREDS_RANGE, TARGET_NAN, TARGET_RANGE,
)

for _i in range(BLOCK):
    ZEROS[_i] = 0.0
    ONES[_i] = 1.0


cdef void elements(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    cdef ElementTile* e = &w.elements
    if b.has_integer_targets:
        outcomes(b, w, at, k)
    else:
        shares(b, w, at, k)
    view_prefetch(&b.target.v, at + k, k)
    check_weights(b, w, k)
    cdef const void* x = elements_of(w, &b.preds.v, at, k)
    if b.preds.v.dtype != F64:
        x = floats_of(b.preds.v.dtype, x, k, w.floats)
        if not b.is_float32:
            table().float32_to_float64(<const float*>x, k, e.x)
            x = e.x
    w.x = x
    view_prefetch(&b.preds.v, at + k, k)
    costs_of(b, w, k)
    check_elements(b, w, k)


cdef void costs_of(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Compute n and d of elements whose predictions are at ``w.x``, without weights."""
    cdef ElementTile* e = &w.elements
    cdef Py_ssize_t i
    cdef const void* x = w.x
    cdef const double* factor = w.factor
    cdef Py_ssize_t capacity = w.capacity
    # If float targets are all 0 or 1, each loss is the cost of one outcome, as with integer targets.
    w.targets_are_binary = b.spec.smoothing == 0 and (b.has_integer_targets or table().are_outcomes(e.outcome, k))
    if not w.targets_are_binary:
        outcome_costs(b, w, x, ONES, k, e.cost_1)
        outcome_costs(b, w, x, ZEROS, k, e.cost_0)
        table().mix_outcomes(
            e.cost_1, e.cost_0, e.outcome, k, b.spec.smoothing, factor, factor + capacity, factor + 2 * capacity,
            factor + 3 * capacity, w.n, w.d,
        )
    elif b.has_class_factors:
        outcome_costs(b, w, x, e.outcome, k, w.cost)
        for i in range(k):
            w.n[i] = product(w.cost[i], factor[i] if e.outcome[i] != 0 else factor[i + capacity])
            w.d[i] = factor[i + 2 * capacity] if e.outcome[i] != 0 else factor[i + 3 * capacity]
    else:
        w.cost = w.n
        outcome_costs(b, w, x, e.outcome, k, w.n)
        if not b.unit_weight:
            memcpy(w.d, ONES, k * sizeof(double))


cdef void outcomes(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Load integer targets of elements, which must be 0 or 1."""
    cdef ElementTile* e = &w.elements
    cdef const void* source = elements_of(w, &b.target.v, at, k)
    cdef Py_ssize_t i
    cdef int dtype = b.target.v.dtype
    if not b.spec.ignores and not b.has_status:
        if dtype == I64 and table().outcomes_i64(<const int64_t*>source, k, e.outcome) == 0:
            return
        if (dtype == U8 or dtype == I8) and table().outcomes_u8(<const uint8_t*>source, k, e.outcome) == 0:
            return
    integers_to_labels(dtype, source, k, w.label)
    for i in range(k):
        e.outcome[i] = <double>(w.label[i] & 1)
        if w.status[i]:
            continue
        if b.spec.ignores and w.label[i] == b.spec.ignore_index:
            w.status[i] = IGNORED
            w.odd = True
        elif w.label[i] != 0 and w.label[i] != 1:
            w.status[i] = INVALID_LABEL
            w.odd = True


cdef void shares(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Load soft targets of elements, which must be in [0, 1]."""
    cdef ElementTile* e = &w.elements
    cdef const double* y = doubles_of(w, &b.target.v, at, k, e.outcome)
    cdef Py_ssize_t i
    cdef bint left_out
    if y != e.outcome:
        memcpy(e.outcome, y, k * sizeof(double))
    if not b.spec.ignores and table().all_within(e.outcome, k, 0.0, 1.0):
        return
    for i in range(k):
        left_out = b.spec.ignores and e.outcome[i] == b.spec.ignore_index
        if 0 <= e.outcome[i] <= 1 and not left_out:
            continue
        if not w.status[i]:
            w.status[i] = IGNORED if left_out else TARGET_NAN if e.outcome[i] != e.outcome[i] else TARGET_RANGE
            w.odd = True
        e.outcome[i] = 0


cdef void fill_factors(Batch b, Workspace* w, Py_ssize_t at) noexcept nogil:
    """Write the factors of each loss of a block. Blocks that begin with the same label share them."""
    cdef Py_ssize_t i
    cdef Py_ssize_t label = at % b.labels
    if b.cost_only or label == w.phase:
        return
    w.phase = label
    for i in range(w.capacity):
        w.factor[i] = b.positive.at[label]
        w.factor[i + w.capacity] = b.negative.at[label]
        w.factor[i + 2 * w.capacity] = b.positive_d.at[label]
        w.factor[i + 3 * w.capacity] = b.negative_d.at[label]
        label += 1
        if label == b.labels:
            label = 0


cdef void outcome_costs(
    Batch b, Workspace* w, const void* x, const double* y, Py_ssize_t k, double* out
) noexcept nogil:
    cdef ElementTile* e = &w.elements
    if b.spec.kind == PROBS:
        if b.is_float32:
            table().binary_probs_f32(<const float*>x, y, k, b.spec.floor, b.spec.ceiling, e.kernel, out)
        else:
            table().binary_probs_f64(<const double*>x, y, k, b.spec.floor, b.spec.ceiling, e.kernel, out)
    elif b.spec.kind == LOG_PROBS:
        table().binary_log_probs(<const double*>x, y, k, b.spec.cap, e.kernel, out)
    elif b.is_float32:
        table().binary_logits_f32(<const float*>x, y, k, e.kernel, out)
    else:
        table().binary_logits_f64(<const double*>x, y, k, e.kernel, out)


cdef bint clamp_probs(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Turn probabilities above 1 by rounding into 1, in a copy, and flag them. Return whether there are any."""
    cdef Py_ssize_t i
    cdef double p
    cdef bint found = False
    cdef float* floats = <float*>w.floats
    cdef double* doubles = w.elements.x
    for i in range(k):
        p = (<const float*>w.x)[i] if b.is_float32 else (<const double*>w.x)[i]
        if 1 < p <= 1 + b.tolerance and not w.status[i]:
            found = True
            flag(w, i, IS_UNNORMALISED)
    if not found:
        return False
    for i in range(k):
        if b.is_float32:
            floats[i] = (<const float*>w.x)[i]
            if 1 < floats[i] <= 1 + b.tolerance:
                floats[i] = 1
        else:
            doubles[i] = (<const double*>w.x)[i]
            if 1 < doubles[i] <= 1 + b.tolerance:
                doubles[i] = 1
    w.x = floats if b.is_float32 else <const void*>doubles
    return True


cdef void check_elements(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Slow path for blocks with anomalies: mark NaN as invalid, and flag floored probabilities."""
    cdef ElementTile* e = &w.elements
    cdef Py_ssize_t i
    cdef double p, y
    cdef bint floors = b.spec.floor > 0 and b.spec.kind != LOGITS
    cdef bint binary = w.targets_are_binary
    cdef int exponent = table().largest_exponent(w.cost if binary else w.n, k)
    # No probability was floored if all costs are smaller than the cost of the floor.
    if exponent < NOT_FINITE and not (floors and (not binary or exponent >= exponent_of(b.spec.cap))):
        if not binary or w.cost == w.n:
            w.exponent = exponent
        return
    if exponent == NOT_FINITE and b.spec.kind == PROBS and clamp_probs(b, w, k):
        costs_of(b, w, k)
    cdef const void* x = w.x
    for i in range(k):
        if w.status[i]:
            continue
        if b.is_float32:
            p = (<const float*>x)[i]
        else:
            p = (<const double*>x)[i]
        if w.n[i] != w.n[i] or (binary and w.cost[i] != w.cost[i]):
            w.status[i] = PREDS_NAN if p != p else PREDS_RANGE
            w.odd = True
            continue
        if floors:
            y = 0.5 if b.spec.smoothing > 0 else e.outcome[i]
            if y > 0 and below_floor(b, p):
                flag(w, i, IS_FLOORED)
            elif y < 1 and (
                1 - p < b.spec.floor if b.spec.kind == PROBS else (w.cost if binary else e.cost_0)[i] >= b.spec.cap
            ):
                flag(w, i, IS_FLOORED)


cdef int exponent_of(double x) noexcept nogil:
    return table().largest_exponent(&x, 1)
