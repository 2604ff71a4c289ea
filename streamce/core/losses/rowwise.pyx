"""The losses of rows, whose predictions are spread over classes, for multiclass metrics."""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from streamce.core.kernels.kernels cimport MIN_FLOOR_F32, NOT_FINITE, kernel_table, table
from streamce.core.losses.array_view cimport I64, integers_to_labels
from streamce.core.losses.batch cimport Batch, below_floor, product
from streamce.core.losses.load_block cimport check_weights, elements_of, rows_of
from streamce.core.losses.loss_spec cimport LOGITS, LOG_PROBS, PROBS
from streamce.core.losses.workspace cimport RowTile, Workspace, flag
from streamce.core.samples.status cimport (
    IGNORED, INVALID_LABEL, IS_FLOORED, IS_UNNORMALISED, PREDS_NAN, PREDS_RANGE, PREDS_SUM, TARGET_NAN, TARGET_RANGE,
    TARGET_SUM,
)


cdef void rows(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i, stride
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef const kernel_table* K = table()
    if b.has_integer_targets:
        labels_of(b, w, at, k)
    check_weights(b, w, k)
    cdef const void* x = rows_of(b, w, &b.preds.v, at, k, &w.preds, &stride)
    if not b.has_integer_targets:
        w.q = rows_of(b, w, &b.target.v, at, k, &w.targets, &w.q_stride)
    w.x, w.x_stride = x, stride
    if b.spec.kind != PROBS:
        softmax(b, w, x, stride, k)
        if b.gradient is not None:
            memcpy(r.plain_rest, r.rest, k * sizeof(double))
    elif b.is_float32:
        K.sum_rows_f32(<const float*>x, stride, k, classes, r.total)
    else:
        K.sum_rows_f64(<const double*>x, stride, k, classes, r.total)
    if not b.has_integer_targets:
        soft_rows(b, w, k)
    elif b.is_float32:
        K.pick_f32(<const float*>x, stride, w.label, k, r.label_x)
    else:
        K.pick_f64(<const double*>x, stride, w.label, k, r.label_x)
    if b.spec.kind == PROBS:
        if b.has_integer_targets and b.is_float32 and b.spec.floor >= MIN_FLOOR_F32:
            K.neg_log_f32(r.label_x, k, b.spec.floor, b.spec.ceiling, w.cost)
        elif b.has_integer_targets:
            K.neg_log_f64(r.label_x, k, b.spec.floor, b.spec.ceiling, w.cost)
    elif b.spec.kind == LOGITS:
        if b.is_float32:
            K.softmax_costs_f32(r.largest, r.rest, r.label_x if b.has_integer_targets else r.largest, k, w.cost)
        else:
            K.softmax_costs_f64(r.largest, r.rest, r.label_x if b.has_integer_targets else r.largest, k, w.cost)
    else:  # log-probabilities: also the sum of the row's probabilities
        K.exp(r.largest, k, w.cost)
        for i in range(k):
            r.total[i] = w.cost[i] * (1 + r.rest[i])
            w.cost[i] = min(0.0 - r.label_x[i], b.spec.cap)
    if b.uniform_class_weight:
        recompute_sums(b, w, x, stride, k)
    check_rows(b, w, x, stride, k)
    if b.uniform_class_weight:
        mix_rows(b, w, k)
    elif not b.has_integer_targets:
        softened(b, w, x, stride, k)
    elif b.spec.smoothing > 0:
        smoothed(b, w, x, stride, k)
    elif not b.cost_only:
        for i in range(k):
            w.d[i] = b.class_weight.at[w.label[i]] if b.class_weight is not None else 1.0
            w.n[i] = product(w.cost[i], w.d[i])


cdef void labels_of(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Load integer targets of rows, one class each."""
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef const void* source = elements_of(w, &b.target.v, at, k)
    cdef bint left_out
    if b.target.v.dtype != I64:
        integers_to_labels(b.target.v.dtype, source, k, <int64_t*>w.offset)  # free after the block has been gathered
        source = w.offset
    if table().labels_i64(<const int64_t*>source, k, classes, w.label) == 0 and not (
        b.spec.ignores and 0 <= b.spec.ignore_index < classes
    ):
        return
    for i in range(k):
        left_out = b.spec.ignores and w.label[i] == b.spec.ignore_index
        if 0 <= w.label[i] < classes and not left_out:
            continue
        if not w.status[i]:
            w.status[i] = IGNORED if left_out else INVALID_LABEL
            w.odd = True
        w.label[i] = 0


cdef void softmax(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Compute m and u of rows, and the sums that smoothing and soft targets need."""
    cdef RowTile* r = &w.rows
    cdef const kernel_table* K = table()
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef const float* f = <const float*>x
    cdef const double* d = <const double*>x
    cdef double* gap = r.gaps if b.uniform_class_weight and b.spec.smoothing > 0 else NULL
    cdef double limit = b.spec.cap if b.spec.kind == LOG_PROBS else INFINITY
    if b.breakdowns.calibration:  # labels without smoothing
        if b.is_float32:
            K.softmax_moments_f32(
                f, stride, k, classes, limit, r.largest, r.rest, w.top, w.others, w.expected, w.variance
            )
        else:
            K.softmax_moments_f64(
                d, stride, k, classes, limit, r.largest, r.rest, w.top, w.others, w.expected, w.variance
            )
    elif not b.has_integer_targets and b.uniform_class_weight:
        if b.is_float32:
            K.softmax_soft_f32(
                f, stride, <const float*>w.q, w.q_stride, k, classes, r.largest, r.rest, gap,
                r.target_gaps, r.target_total,
            )
        else:
            K.softmax_soft_f64(
                d, stride, <const double*>w.q, w.q_stride, k, classes, r.largest, r.rest, gap,
                r.target_gaps, r.target_total,
            )
    elif b.is_float32:
        K.softmax_rows_f32(f, stride, k, classes, r.largest, r.rest, gap)
    else:
        K.softmax_rows_f64(d, stride, k, classes, r.largest, r.rest, gap)


cdef void soft_rows(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Check soft targets of rows, which must be in [0, 1] and sum to 1."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.target.v.classes
    if not b.uniform_class_weight:
        if b.is_float32:
            table().sum_rows_f32(<const float*>w.q, w.q_stride, k, classes, r.target_total)
        else:
            table().sum_rows_f64(<const double*>w.q, w.q_stride, k, classes, r.target_total)
    if all_near_1(r.target_total, k, b.target_tolerance):
        return
    for i in range(k):
        if not off_by(r.target_total[i]) <= b.target_tolerance and not w.status[i]:
            check_soft_row(b, w, i)


cdef void check_soft_row(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Find the status or flag of row i, whose soft targets do not sum to 1."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t c
    cdef double y
    cdef double total = 0
    cdef double share = 0
    for c in range(b.target.v.classes):
        y = at_row(w.q, b.is_float32, w.q_stride, i, c)  # once, because another thread may write to it
        total += y
        share += min(y, 1.0)
        if y != y or (not 0 <= y <= 1 + b.target_tolerance and not w.status[i]):
            w.status[i] = TARGET_NAN if y != y else TARGET_RANGE
    if r.target_total[i] != r.target_total[i] and not w.status[i]:  # a share is above 1 by rounding
        r.target_total[i] = share
        if b.uniform_class_weight:
            r.target_gaps[i] = target_gap(b, w, i)
    else:
        total = r.target_total[i]
    if not w.status[i] and not off_by(total) <= max(0.01, b.target_tolerance):
        w.status[i] = TARGET_SUM
    if w.status[i]:
        w.odd = True
    else:
        flag(w, i, IS_UNNORMALISED)


cdef double total_share(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Return the sum of the soft targets of row i, where a share above 1 is 1."""
    cdef Py_ssize_t c
    cdef double total = 0
    for c in range(b.target.v.classes):
        total += min(at_row(w.q, b.is_float32, w.q_stride, i, c), 1.0)
    return total


cdef double target_gap(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Return the sum of share * (m - x) of row i of logits, where a share above 1 is 1."""
    cdef Py_ssize_t c
    cdef double gap = 0
    for c in range(b.target.v.classes):
        gap += product(
            w.rows.largest[i] - at_row(w.x, b.is_float32, w.x_stride, i, c),
            min(at_row(w.q, b.is_float32, w.q_stride, i, c), 1.0),
        )
    return gap


cdef void check_rows(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Slow path for rows with anomalies: NaN, infinite logits, sums that are not 1, floored probabilities."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i
    cdef bint floors = b.has_integer_targets and b.spec.floor > 0
    cdef double min_pred = b.spec.floor if b.spec.kind == PROBS else 0.0 - b.spec.cap
    if b.spec.kind == LOGITS:
        if table().largest_exponent(r.rest, k) < NOT_FINITE:
            return
    elif (
        all_near_1(r.total, k, b.tolerance) and (not floors or table().all_within(r.label_x, k, min_pred, INFINITY))
        and (b.spec.kind == PROBS or table().all_within(r.largest, k, -INFINITY, 0.0))
    ):
        return
    for i in range(k):
        if w.status[i]:
            continue
        if b.spec.kind == LOGITS:
            if r.rest[i] != r.rest[i]:
                check_row(b, w, x, stride, i)
            continue
        if not off_by(r.total[i]) <= max(0.01, b.tolerance) or (b.spec.kind == LOG_PROBS and not r.largest[i] <= 0):
            check_row(b, w, x, stride, i)
            if w.status[i]:
                continue
        if off_by(r.total[i]) > b.tolerance:
            flag(w, i, IS_UNNORMALISED)
        if floors and below_floor(b, r.label_x[i]):
            flag(w, i, IS_FLOORED)


cdef void recompute_sums(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Recompute sums of m - x in doubles if they are too large for floats."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i, c
    cdef double away
    cdef bint gaps = b.spec.smoothing > 0
    if (not gaps or table().all_within(r.gaps, k, 0.0, DBL_MAX)) and (
        b.has_integer_targets or table().all_within(r.target_gaps, k, 0.0, DBL_MAX)
    ):
        return
    for i in range(k):
        if (not gaps or r.gaps[i] < INFINITY) and (b.has_integer_targets or r.target_gaps[i] < INFINITY):
            continue
        r.gaps[i] = r.target_gaps[i] = 0
        for c in range(b.preds.v.classes):
            away = r.largest[i] - at_row(x, b.is_float32, stride, i, c)
            r.gaps[i] += away
            if not b.has_integer_targets:
                r.target_gaps[i] += product(away, at_row(w.q, b.is_float32, w.q_stride, i, c))


cdef void check_row(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t i) noexcept nogil:
    """Find the status of row i, or its cost if exactly one logit is +inf.

    If probabilities are above 1 only by rounding, flag the row, and compute its sum, which the kernel did not.
    """
    cdef RowTile* r = &w.rows
    cdef double total = 0
    cdef bint exceeds = False
    cdef Py_ssize_t c
    cdef Py_ssize_t infinite = 0
    cdef Py_ssize_t finite = 0
    cdef double p
    cdef bint nan = False
    cdef bint outside = False
    for c in range(b.preds.v.classes):
        p = at_row(x, b.is_float32, stride, i, c)
        nan |= p != p
        infinite += p == INFINITY
        finite += p > -INFINITY
        if b.spec.kind == PROBS:
            outside |= not 0 <= p <= 1 + b.tolerance
            exceeds |= p > 1
            total += p
        elif b.spec.kind == LOG_PROBS:
            outside |= p > 0
    if b.spec.kind == LOGITS:
        outside = infinite > 1 or finite == 0
        if not nan and not outside:  # the class with the logit +inf has probability 1
            r.rest[i] = 0
            if b.has_integer_targets:
                w.cost[i] = 0 if r.label_x[i] == INFINITY else INFINITY
            r.gaps[i] = INFINITY
            r.target_gaps[i] = 0
            for c in range(0 if b.has_integer_targets else b.preds.v.classes):
                p = at_row(w.q, b.is_float32, w.q_stride, i, c)
                if p > 0 and at_row(x, b.is_float32, stride, i, c) < INFINITY:
                    r.target_gaps[i] = INFINITY
            return
    if exceeds and not nan and not outside and off_by(total) <= max(0.01, b.tolerance):
        r.total[i] = total
        r.label_x[i] = min(r.label_x[i], 1.0)
        flag(w, i, IS_UNNORMALISED)
        return
    w.status[i] = PREDS_NAN if nan else PREDS_RANGE if outside else PREDS_SUM
    w.odd = True
    r.rest[i] = w.cost[i] = NAN


cdef void mix_rows(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Compute n and d for smoothing and soft targets from the sums of the kernels."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i
    cdef double classes = <double>b.preds.v.classes
    cdef double all_share = b.spec.smoothing / classes
    cdef double cost
    for i in range(k):
        w.d[i] = 1 if b.has_integer_targets else r.target_total[i]
        cost = w.cost[i] if b.has_integer_targets else r.target_gaps[i] + w.d[i] * r.rest[i]
        w.n[i] = product(cost, 1 - b.spec.smoothing)
        if all_share > 0:
            w.n[i] += all_share * (r.gaps[i] + classes * r.rest[i])


cdef void smoothed(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Compute n and d for smoothed labels: the share of the true class, and the same share of each class."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    spread_costs(b, w, x, stride, k)
    table().dot_rows(r.class_cost, classes, b.base.at, 0, k, classes, w.n)
    for i in range(k):
        if b.spec.kind == LOGITS:
            w.n[i] += b.base_sum * r.rest[i]
        w.d[i] = b.class_weight.at[w.label[i]]
        w.n[i] += product(w.cost[i], w.d[i] * (1 - b.spec.smoothing))
    flag_floored(b, w, x, stride, k)


cdef void softened(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Compute n and d for soft targets: n = sum of weight * share * cost over all classes of a row."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i, c
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef const kernel_table* K = table()
    cdef const double* weight = b.class_weight.at
    cdef double* share
    own_shares(b, w, k)
    spread_costs(b, w, x, stride, k)
    flag_floored(b, w, x, stride, k)
    for i in range(k):
        share = r.class_share + i * classes
        for c in range(classes):
            share[c] = weight[c] * share[c] * (1 - b.spec.smoothing) + b.base.at[c]
    K.dot_rows(r.class_cost, classes, r.class_share, classes, k, classes, w.n)
    if b.spec.kind == LOGITS:
        K.dot_rows(r.class_share, classes, b.ones.at, 0, k, classes, r.share_total)
        for i in range(k):
            w.n[i] += r.share_total[i] * r.rest[i]


cdef void own_shares(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Convert soft targets to doubles, and compute d."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i, c
    cdef Py_ssize_t classes = b.target.v.classes
    cdef double* share
    cdef double y
    for i in range(k):
        share = r.class_share + i * classes
        for c in range(classes):
            y = at_row(w.q, b.is_float32, w.q_stride, i, c)
            share[c] = min(y, 1.0) if 0 <= y <= 1 + b.target_tolerance else 0.0
    table().dot_rows(r.class_share, classes, b.class_weight.at, 0, k, classes, w.d)


cdef void spread_costs(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Compute the cost of each class of each row. For logits, leave out log1p(u), which all classes of a row share."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i, c
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef double* cost
    cdef double p
    for i in range(k):
        cost = r.class_cost + i * classes
        for c in range(classes):
            p = at_row(x, b.is_float32, stride, i, c)
            if b.spec.kind == LOG_PROBS:
                p = min(0.0 - p, b.spec.cap)
            elif b.spec.kind == LOGITS:
                p = r.largest[i] - p if r.largest[i] < INFINITY else 0.0 if p == INFINITY else INFINITY
            cost[c] = p
    if b.spec.kind == PROBS:
        table().neg_log_f64(r.class_cost, k * classes, b.spec.floor, b.spec.ceiling, r.class_cost)


cdef void flag_floored(Batch b, Workspace* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
    """Flag rows in which a class with a share was floored."""
    cdef RowTile* r = &w.rows
    cdef Py_ssize_t i, c
    cdef Py_ssize_t classes = b.preds.v.classes
    if b.spec.kind == LOGITS or b.spec.floor == 0:
        return
    for i in range(k):
        if w.status[i]:
            continue
        for c in range(classes):
            if below_floor(b, at_row(x, b.is_float32, stride, i, c)) and (
                b.base.at[c] > 0 or (not b.has_integer_targets and r.class_share[i * classes + c] > 0)
            ):
                flag(w, i, IS_FLOORED)
                break


cdef inline double off_by(double sum) noexcept nogil:
    """Return how far a sum of probabilities is from 1."""
    return sum - 1 if sum > 1 else 1 - sum


cdef inline bint all_near_1(const double* sum, Py_ssize_t k, double tolerance) noexcept nogil:
    """Return whether all sums are within the tolerance. Sums near its edge count as outside, and need ``off_by``."""
    return table().all_within(sum, k, 1 - 0.999 * tolerance, 1 + 0.999 * tolerance)
