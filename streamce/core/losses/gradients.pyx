"""The gradient of the losses of a block with respect to its predictions, and its divisor.

A loss is n = sum of s_c * cost_c over the outcomes or classes, where s_c = weight * factor * share. With p the
predicted probability, the derivatives are

    logits       dn/dx_c = p_c * sum of s - s_c          binary: s_0 p - s_1 (1 - p)
    probs        dn/dp_c = -s_c / p_c                    binary: s_0 / (1 - p) - s_1 / p
    log_probs    dn/dx_c = -s_c                          binary: s_0 p / (1 - p) - s_1

A term whose probability is floored is 0, because the floor is a constant. The gradient of the mean is divided by the
sum of d. This sum depends only on targets and weights, so it is computed first (``add_divisors``). Each entry is
therefore written once, and rounded once to the dtype of the gradient.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN
from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport kernel_table, table
from streamce.core.ledger.ledger cimport N, Ledger
from streamce.core.losses.array_view cimport BF16, F16, F32, F64, view_scatter, view_step
from streamce.core.losses.batch cimport Batch, below_floor, product
from streamce.core.losses.elementwise cimport fill_factors, outcomes, shares
from streamce.core.losses.load_block cimport check_weights, rows_of, status_of, weights_of
from streamce.core.losses.loss_spec cimport LOGITS, LOG_PROBS, MULTICLASS, PROBS
from streamce.core.losses.rowwise cimport at_row, labels_of, own_shares, total_share
from streamce.core.losses.workspace cimport ElementTile, RowTile, Workspace, tile_of
from streamce.core.samples.status cimport COUNTED, IGNORED, IS_UNNORMALISED

# For a row factor between these, its product with any number between 1e-7 and 1 is a normal float.
cdef double MIN_ROW_FACTOR_F32 = 2.0**-100
cdef double MAX_ROW_FACTOR_F32 = 2.0**100


cdef void gradients(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Write the gradients of losses at ... at + k - 1, which were just evaluated. Write none if one is invalid."""
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef Py_ssize_t size = 4 if b.is_float32 else 8
    cdef Py_ssize_t stride = classes
    cdef bint in_place = b.gradient.v.direct and b.gradient.v.dtype == (F32 if b.is_float32 else F64)
    cdef char* out = w.slopes
    if w.odd and not b.skips:
        for i in range(k):
            if w.status[i] > IGNORED:
                return
    if in_place:
        stride = view_step(&b.gradient.v) // size
        out = <char*>b.gradient.v.data + at * view_step(&b.gradient.v)
    if b.spec.task != MULTICLASS:
        of_elements(b, w, k, out)
    elif b.spec.kind == LOGITS:
        of_logits(b, w, k, out, stride)
    else:
        of_probabilities(b, w, k, out, stride)
    if w.odd:
        for i in range(k):
            if w.status[i]:
                memset(out + i * stride * size, 0, classes * size)
    if not in_place:
        store(b, w, at, k, out)


# ---- elements ----


cdef void of_elements(Batch b, Workspace* w, Py_ssize_t k, void* out) noexcept nogil:
    cdef ElementTile* e = &w.elements
    cdef const kernel_table* K = table()
    cdef double* one = e.share_1
    cdef double* zero = e.share_0
    K.outcome_shares(
        e.outcome, k, b.spec.smoothing, NULL if b.cost_only else w.factor,
        NULL if b.cost_only else w.factor + w.capacity, w.weights if b.has_weight else NULL, b.divisor, one, zero,
    )
    if b.spec.kind == PROBS:
        if b.is_float32:
            K.binary_probs_gradient_f32(<const float*>w.x, one, zero, k, b.spec.floor, <float*>out)
        else:
            K.binary_probs_gradient_f64(<const double*>w.x, one, zero, k, b.spec.floor, <double*>out)
    elif b.spec.kind == LOG_PROBS:
        K.binary_log_probs_gradient(<const double*>w.x, one, zero, k, b.spec.floor, b.spec.cap, e.kernel, <double*>out)
    elif b.is_float32:
        K.binary_logits_gradient_f32(<const float*>w.x, e.kernel, one, zero, k, <float*>out)
    else:
        K.binary_logits_gradient_f64(<const double*>w.x, e.kernel, one, zero, k, <double*>out)


# ---- rows ----


cdef void of_logits(Batch b, Workspace* w, Py_ssize_t k, void* out, Py_ssize_t stride) noexcept nogil:
    cdef RowTile* r = &w.rows
    cdef const kernel_table* K = table()
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef double a = b.spec.smoothing
    cdef double* row_factor = r.row_factor
    cdef double* share = r.share_factor
    cdef double* base = r.base_factor
    cdef double* own = row_factor
    cdef bint mixed = a > 0 or not b.has_integer_targets
    cdef bint odd
    cdef const void* q = NULL
    cdef Py_ssize_t q_stride = 0
    if b.cost_only:
        odd = not (within(b, 1 / b.divisor) and table().all_within(r.plain_rest, k, 0.0, DBL_MAX))
        for i in range(k):
            row_factor[i] = 1 / b.divisor
            share[i] = base[i] = 0
    else:
        odd = factors_of(b, w, k, row_factor, share, base)
    if b.uniform_class_weight and not b.has_integer_targets:
        q, q_stride = w.q, w.q_stride
    elif b.base is not None:
        q = b.base.at if b.has_integer_targets else r.class_share
        q_stride = 0 if b.has_integer_targets else classes
        if b.is_float32:
            K.float64_to_float32(<const double*>q, classes if b.has_integer_targets else k * classes, <float*>w.shares)
            q = w.shares
    if b.is_float32:
        K.softmax_gradient_f32(
            <const float*>w.x, w.x_stride, <const float*>q, q_stride, k, classes, r.largest, r.plain_rest,
            row_factor, share, base, mixed, <float*>out, stride,
        )
    else:
        K.softmax_gradient_f64(
            <const double*>w.x, w.x_stride, <const double*>q, q_stride, k, classes, r.largest, r.plain_rest,
            row_factor, share, base, mixed, <double*>out, stride,
        )
    if b.has_integer_targets:
        if not b.cost_only:
            own = r.label_factor
            for i in range(k):
                own[i] = b.class_weight.at[w.label[i]] if b.class_weight is not None else 1.0
                own[i] = product(own[i] * (1 - a), part_of(b, w, i))
                if b.base is not None:
                    base[i] = b.base.at[w.label[i]] * share[i]
                base[i] = (row_factor[i] - own[i]) - base[i]
        if b.is_float32:
            K.label_gradient_f32(
                w.label, k, r.label_x, r.largest, r.plain_rest, row_factor, own, base, <float*>out, stride
            )
        else:
            K.label_gradient_f64(
                w.label, k, r.label_x, r.largest, r.plain_rest, row_factor, own, base, <double*>out, stride
            )
    if odd:
        for i in range(k):
            if w.status[i] == COUNTED and not (r.plain_rest[i] < INFINITY and within(b, row_factor[i])):
                recompute_row(b, w, i, row_factor[i], out, stride)


cdef bint factors_of(
    Batch b, Workspace* w, Py_ssize_t k, double* row_factor, double* share, double* base
) noexcept nogil:
    """Compute the factors of softmax, soft targets and smoothing. Return whether a row needs ``recompute_row``."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i
    cdef double a = b.spec.smoothing
    cdef double part, total
    cdef bint odd = False
    for i in range(k):
        part = part_of(b, w, i)
        share[i] = base[i] = 0
        if b.has_integer_targets:
            total = b.class_weight.at[w.label[i]] if b.class_weight is not None else 1.0
            total = total * (1 - a) + (b.base_sum if b.base is not None else a)
        elif b.uniform_class_weight:
            total = r.target_total[i] * (1 - a) + a
        else:
            total = r.share_total[i]
        if b.uniform_class_weight:
            share[i] = part * (1 - a)
            base[i] = part * (a / b.preds.v.classes)
        else:
            share[i] = part
        row_factor[i] = product(total, part)
        odd |= not (r.plain_rest[i] < INFINITY and within(b, row_factor[i]))
    return odd


cdef void recompute_row(
    Batch b, Workspace* w, Py_ssize_t i, double row_factor, void* out, Py_ssize_t stride
) noexcept nogil:
    """Compute a row in doubles, because it has an infinite logit or factors that do not fit floats."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t c
    cdef double x, p, g, others
    cdef double part = part_of(b, w, i)
    others = r.plain_rest[i] if r.largest[i] < INFINITY else 0.0
    for c in range(b.preds.v.classes):
        x = at_row(w.x, b.is_float32, w.x_stride, i, c)
        p = (0.0 if x == r.largest[i] else -INFINITY) if r.largest[i] == INFINITY else x - r.largest[i]
        table().exp(&p, 1, &p)
        p /= 1 + others
        if x == r.largest[i] and others < 1:
            g = (row_factor - product(share_of(b, w, i, c), part)) - product(row_factor, others / (1 + others))
        else:
            g = product(row_factor, p) - product(share_of(b, w, i, c), part)
        write(out, b.is_float32, i * stride + c, g + 0.0 if g == g else NAN)


cdef inline bint within(Batch b, double row_factor) noexcept nogil:
    """Return whether the kernels can compute rows with this factor."""
    if b.is_float32:
        return row_factor == 0 or MIN_ROW_FACTOR_F32 < row_factor < MAX_ROW_FACTOR_F32
    return row_factor < INFINITY


cdef double share_of(Batch b, Workspace* w, Py_ssize_t i, Py_ssize_t c) noexcept nogil:
    """Return the share of class c in row i, without the weight of the row."""
    cdef RowTile* r = &w.rows
    cdef double share = 0
    cdef double a = b.spec.smoothing
    if b.has_integer_targets:
        if c == w.label[i]:
            share = (b.class_weight.at[c] if b.class_weight is not None else 1.0) * (1 - a)
        if b.base is not None:
            return share + b.base.at[c]
    elif b.uniform_class_weight:
        share = at_row(w.q, b.is_float32, w.q_stride, i, c) * (1 - a)
    else:
        return r.class_share[i * b.preds.v.classes + c]
    return share + a / b.preds.v.classes


cdef void of_probabilities(Batch b, Workspace* w, Py_ssize_t k, void* out, Py_ssize_t stride) noexcept nogil:
    """Compute the gradients of probabilities or log-probabilities. Only classes with a share have any."""
    cdef RowTile* r = &w.rows
    cdef const kernel_table* K = table()
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef Py_ssize_t size = 4 if b.is_float32 else 8
    cdef bint logs = b.spec.kind == LOG_PROBS
    cdef double bound = b.spec.cap if logs else b.spec.floor
    cdef double* part = r.share_factor
    cdef const double* each_share = r.class_share
    cdef Py_ssize_t share_stride = classes
    cdef double own
    for i in range(k):
        part[i] = part_of(b, w, i)
    if b.base is not None and b.has_integer_targets:
        each_share, share_stride = b.base.at, 0
    if b.base is None:
        for i in range(k):
            memset(<char*>out + i * stride * size, 0, classes * size)
    elif b.is_float32:
        K.share_gradient_f32(
            <const float*>w.x, w.x_stride, each_share, share_stride, part, k, classes, bound, logs, <float*>out,
            stride,
        )
    else:
        K.share_gradient_f64(
            <const double*>w.x, w.x_stride, each_share, share_stride, part, k, classes, bound, logs, <double*>out,
            stride,
        )
    if b.base is not None and not logs and w.flagged:
        for i in range(k):
            if w.flags[i] & IS_UNNORMALISED:
                slopes_at_1(b, w, i, part[i], out, stride)
    if b.has_integer_targets:
        for i in range(k):
            own = product(share_of(b, w, i, w.label[i]), part[i])
            if own != 0 and below_floor(b, r.label_x[i]):
                own = 0
            if own != 0 and not logs:
                own /= r.label_x[i]
            write(out, b.is_float32, i * stride + w.label[i], 0.0 - own)


cdef void slopes_at_1(
    Batch b, Workspace* w, Py_ssize_t i, double part, void* out, Py_ssize_t stride
) noexcept nogil:
    """Write the slopes of the probabilities of row i that are above 1 and taken as 1."""
    cdef Py_ssize_t c
    for c in range(b.preds.v.classes):
        if at_row(w.x, b.is_float32, w.x_stride, i, c) > 1:
            write(out, b.is_float32, i * stride + c, 0.0 - product(share_of(b, w, i, c), part))


cdef inline double part_of(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Return the weight of a row divided by the divisor."""
    if not b.has_weight:
        return 1 / b.divisor
    return 0.0 if w.weights[i] == 0 else w.weights[i] / b.divisor


cdef inline void write(void* out, bint is_float32, Py_ssize_t at, double g) noexcept nogil:
    if is_float32:
        (<float*>out)[at] = <float>g
    else:
        (<double*>out)[at] = g


# ---- to the caller's memory ----


cdef void store(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, void* slopes) noexcept nogil:
    """Convert slopes to the dtype of the gradient, and copy them to its memory."""
    cdef const kernel_table* K = table()
    cdef Py_ssize_t n = k * b.preds.v.classes
    cdef int dtype = b.gradient.v.dtype
    cdef Py_ssize_t step = view_step(&b.gradient.v)
    cdef bint straight = b.gradient.v.direct and step == b.preds.v.classes * b.gradient.v.itemsize
    cdef void* packed = <char*>b.gradient.v.data + at * step if straight else w.packed
    if dtype == F64 and b.is_float32:
        K.float32_to_float64(<const float*>slopes, n, <double*>packed)
    elif dtype == F32 and not b.is_float32:
        K.float64_to_float32(<const double*>slopes, n, <float*>packed)
    elif dtype == F16 or dtype == BF16:
        if not b.is_float32:
            K.float64_to_float32(<const double*>slopes, n, <float*>w.narrowed)
            slopes = w.narrowed
        if dtype == F16:
            K.float32_to_float16(<const float*>slopes, n, <uint16_t*>packed)
        else:
            K.float32_to_bfloat16(<const float*>slopes, n, <uint16_t*>packed)
    elif straight:
        memcpy(packed, slopes, n * b.gradient.v.itemsize)
    else:
        packed = slopes
    if not straight:
        view_scatter(&b.gradient.v, at, k, w.offset, packed)


# ---- the divisor of a mean ----


cdef int add_divisors(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, Ledger total) except -1 nogil:
    """Add d of losses at ... at + k - 1, as in ``evaluate_block``, to the sum of n. No predictions are read."""
    cdef Py_ssize_t i, n
    cdef Py_ssize_t first = 0
    cdef Workspace tile
    w.odd = False
    memset(w.status, COUNTED, k)
    if b.has_status:
        status_of(b, w, at, k)
    weights_of(b, w, at, k)
    if b.spec.task != MULTICLASS:
        fill_factors(b, w, at)
    while first < k:
        n = min(w.step, k - first)
        tile = tile_of(w, first)
        if b.spec.task == MULTICLASS:
            of_rows(b, &tile, at + first, n)
        else:
            if b.has_integer_targets:
                outcomes(b, &tile, at + first, n)
            else:
                shares(b, &tile, at + first, n)
            check_weights(b, &tile, n)
            for i in range(n):
                tile.d[i] = 1
                if not b.cost_only:
                    tile.d[i] = (
                        tile.factor[i + 2 * w.capacity] * tile.elements.outcome[i]
                        + tile.factor[i + 3 * w.capacity] * (1 - tile.elements.outcome[i])
                    )
        w.odd |= tile.odd
        first += n
    for i in range(k):
        w.d[i] = 0 if w.status[i] else w.d[i] * w.weights[i] if b.has_weight else w.d[i]
    return total.add_terms(N, 0, w.d, k, table().largest_exponent(w.d, k), False, 1)


cdef void of_rows(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    if b.has_integer_targets:
        labels_of(b, w, at, k)
        for i in range(k):
            w.d[i] = b.class_weight.at[w.label[i]] if b.class_weight is not None else 1.0
    else:
        w.q = rows_of(b, w, &b.target.v, at, k, &w.targets, &w.q_stride)
        if not b.uniform_class_weight:
            own_shares(b, w, k)
        elif b.is_float32:
            table().soft_totals_f32(<const float*>w.q, w.q_stride, k, classes, w.d)
        else:
            table().soft_totals_f64(<const double*>w.q, w.q_stride, k, classes, w.d)
        if b.uniform_class_weight:
            for i in range(k):
                if w.d[i] != w.d[i]:  # a share is above 1
                    w.d[i] = total_share(b, w, i)
    check_weights(b, w, k)
