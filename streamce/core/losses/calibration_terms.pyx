"""The loss that each prediction would have on average if it were calibrated, and its variance.

With cost_c the cost of class c in this metric (with floor), y the true class, and p the probabilities, which are scaled
if they do not sum to 1,

    expected = sum of p_c cost_c,    excess = cost_y - expected,    variance = sum of p_c (cost_c - expected)^2

A binary prediction has two outcomes instead of classes. The terms are computed from differences of costs, which logits
give exactly. Excess and variance are therefore exact even if all outcomes cost nearly the same, and both are 0 if the
costs are equal. Each term depends only on its own row. Rows of floats have exponentials and logarithms of floats, as
their losses do. All other computations use doubles. Confidence is the probability of outcome 1, or of the likeliest
class, which is the first one if there are several. It decides the bin, so it has a double's accuracy at edges of bins.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int16_t, uint8_t
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport BLOCK, kernel_table, table
from streamce.core.ledger.calibration_cells cimport (
    CONFIDENCE_BINS, EXCESS, EXPECTED, HITS, SPLIT, SPLIT_CLASSES, VARIANCE, ClassShares, cell_of, kept_rows,
)
from streamce.core.ledger.ledger cimport D, N, SAMPLES, Ledger
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.elementwise cimport ONES, ZEROS
from streamce.core.losses.loss_spec cimport LOGITS, LOG_PROBS, MULTICLASS, PROBS
from streamce.core.losses.workspace cimport ElementTile, RowTile, Workspace
from streamce.core.samples.status cimport COUNTED

# A confidence of float logits closer to an edge of a bin than this, relative to it, is computed again in doubles.
cdef double NEAR_EDGE = 2e-6


cdef Py_ssize_t calibration_cells(Batch b) noexcept nogil:
    """Return how many cells a batch needs."""
    cdef Py_ssize_t pairs = 0 if b.spec.task == MULTICLASS else 1
    if b.tracks_class_probs:
        pairs = b.preds.v.classes * b.preds.v.classes
    return SPLIT + CONFIDENCE_BINS * pairs


cdef void compute_calibration_terms(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Compute the terms of k losses, whose predictions are at ``w.x``. Losses that do not count get arbitrary terms."""
    if b.spec.task == MULTICLASS:
        of_rows(b, w, k)
    else:
        of_elements(b, w, k)


# ---- elements ----


cdef void of_elements(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    cdef ElementTile* e = &w.elements
    cdef const kernel_table* K = table()
    cdef Py_ssize_t i
    cdef double* one = e.cost_1
    cdef double* zero = e.cost_0
    cdef double* rest = w.rest
    cdef const double* x = <const double*>w.x
    memcpy(w.outcome, e.outcome, k * sizeof(double))
    if b.is_float32:
        K.float32_to_float64(<const float*>w.x, k, e.x)
        x = e.x
    if b.spec.kind == PROBS:
        K.binary_probs_f64(x, ONES, k, b.spec.floor, b.spec.ceiling, e.kernel, one)
        K.binary_probs_f64(x, ZEROS, k, b.spec.floor, b.spec.ceiling, e.kernel, zero)
        for i in range(k):
            w.confidence[i], rest[i] = x[i], 1 - x[i]
    elif b.spec.kind == LOG_PROBS:
        K.binary_log_probs(x, ONES, k, INFINITY, e.kernel, one)
        K.binary_log_probs(x, ZEROS, k, INFINITY, e.kernel, zero)
        for i in range(k):  # 1 - p would lose the digits of a small probability
            rest[i] = 0.0 - zero[i]
            one[i], zero[i] = min(one[i], b.spec.cap), min(zero[i], b.spec.cap)
        K.exp(rest, k, rest)
        K.exp(x, k, w.confidence)
    else:
        K.binary_logits_f64(x, ONES, k, e.kernel, one)
        K.binary_logits_f64(x, ZEROS, k, e.kernel, zero)
        K.outcome_probs(x, e.kernel, k, w.confidence, rest)
    K.outcome_moments(
        one, zero, w.confidence, rest, w.outcome, x if b.spec.kind == LOGITS else NULL, k, w.expected, w.excess,
        w.variance,
    )


# ---- rows ----


cdef void of_rows(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Compute the terms of rows from the moments of their costs, which are relative to the likeliest class."""
    cdef RowTile* r = &w.rows
    cdef const kernel_table* K = table()
    cdef Py_ssize_t i
    if b.spec.kind == LOGITS:  # the softmax has left its moments
        memcpy(r.least_cost, w.others, k * sizeof(double))
        K.softmax_costs_f64(ZEROS, r.least_cost, ZEROS, k, r.label_cost)  # replaces others by log1p(others)
        for i in range(k):
            r.label_cost[i] = r.largest[i] - r.label_x[i]
            w.confidence[i] = 1 / (1 + w.others[i])
    elif b.spec.kind == LOG_PROBS:
        K.exp(r.largest, k, w.confidence)
        for i in range(k):
            r.least_cost[i] = min(0.0 - r.largest[i], b.spec.cap)
            r.label_cost[i] = min(0.0 - r.label_x[i], b.spec.cap) - r.least_cost[i]
    else:
        prob_moments(b, w, k)
    for i in range(k):
        w.outcome[i] = w.label[i] == w.top[i]
        w.excess[i] = r.label_cost[i] - w.expected[i]
        w.expected[i] += r.least_cost[i]
        w.others[i] = 1 / ((w.confidence[i] if b.spec.kind == PROBS else 1.0) + w.others[i])
    if b.spec.kind != PROBS:
        memcpy(w.rest, r.largest, k * sizeof(double))
    if b.tracks_class_probs:
        keep_rows(b, w, k)
    if b.spec.kind == LOGITS:
        for i in range(k):
            if r.largest[i] == INFINITY:
                be_certain(b, w, i)
            elif b.is_float32 and is_near_edge(w.confidence[i]):
                w.confidence[i] = confidence_of(b, w, i)


cdef void prob_moments(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Compute the moments of rows of probabilities, and the costs of the true and of the likeliest class."""
    cdef RowTile* r = &w.rows
    cdef const kernel_table* K = table()
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef double floor = b.spec.floor, ceiling = b.spec.ceiling
    cdef const float* f = <const float*>w.x
    cdef const double* x = <const double*>w.x
    cdef Py_ssize_t stride = w.x_stride
    if b.is_float32 and not b.widens_probs:
        K.prob_moments_f32(f, stride, k, classes, floor, ceiling, w.top, w.others, w.expected, w.variance)
        K.pick_f32(f, stride, w.top, k, w.confidence)
        K.neg_log_f32(r.label_x, k, floor, ceiling, r.label_cost)
    else:
        if b.is_float32:
            for i in range(k):
                K.float32_to_float64(f + i * stride, classes, w.costs + i * classes)
            x, stride = w.costs, classes
        K.prob_moments_f64(x, stride, k, classes, floor, ceiling, w.top, w.others, w.expected, w.variance)
        K.pick_f64(x, stride, w.top, k, w.confidence)
        K.neg_log_f64(r.label_x, k, floor, ceiling, r.label_cost)
    for i in range(k):  # an entry can be above 1 by rounding
        w.confidence[i] = min(w.confidence[i], 1.0)
    if b.is_float32 and not b.widens_probs:
        K.neg_log_f32(w.confidence, k, floor, ceiling, r.least_cost)
    else:
        K.neg_log_f64(w.confidence, k, floor, ceiling, r.least_cost)
    for i in range(k):
        r.label_cost[i] -= r.least_cost[i]


cdef void be_certain(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Set the terms of row i, in which one class has the logit inf and therefore probability 1."""
    cdef Py_ssize_t c
    cdef double x
    w.expected[i] = w.variance[i] = 0
    w.excess[i] = 0 if w.outcome[i] == 1 else INFINITY
    w.confidence[i] = w.others[i] = 1
    if not b.tracks_class_probs:
        return
    w.rest[i] = 0
    for c in range(b.preds.v.classes):
        x = 0.0 if c == w.top[i] else -INFINITY
        if b.is_float32:
            (<float*>(w.chances + i * w.row_bytes))[c] = <float>x
        else:
            (<double*>(w.chances + i * w.row_bytes))[c] = x


cdef inline bint is_near_edge(double confidence) noexcept nogil:
    """Return whether rounding of floats could move a confidence to another bin."""
    cdef double scaled = confidence * CONFIDENCE_BINS
    cdef double edge = <double><Py_ssize_t>(scaled + 0.5) if scaled == scaled else 0.0
    return 0 < edge < CONFIDENCE_BINS and edge * (1 - NEAR_EDGE) < scaled < edge * (1 + NEAR_EDGE)


cdef double confidence_of(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Return the confidence of row i of logits, computed in doubles."""
    cdef const kernel_table* K = table()
    cdef Py_ssize_t c
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef double others = 0
    K.float32_to_float64(<const float*>w.x + i * w.x_stride, classes, w.costs)
    for c in range(classes):
        w.costs[c] -= w.rest[i]
    K.exp(w.costs, classes, w.costs)
    w.costs[w.top[i]] = 0
    K.sum_rows_f64(w.costs, classes, 1, classes, &others)
    return 1 / (1 + others)


cdef void keep_rows(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Copy the predictions of rows for the sums by class."""
    cdef Py_ssize_t i
    cdef Py_ssize_t source = w.x_stride * <Py_ssize_t>(sizeof(float) if b.is_float32 else sizeof(double))
    if source == w.row_bytes:
        memcpy(w.chances, w.x, k * w.row_bytes)
    else:
        for i in range(k):
            memcpy(w.chances + i * w.row_bytes, <const char*>w.x + i * source, w.row_bytes)


# ---- to the ledger ----


cdef int add_calibration(
    Batch b, Workspace* w, const double* d, Py_ssize_t k, Ledger to, ClassShares shares
) except -1 nogil:
    """Add the terms of k losses of weights d (NULL: 1), and each loss to its bin. Losses of weight 0 do not count."""
    cdef Py_ssize_t i, bin, group, n
    cdef Py_ssize_t* order = w.offset  # free after the block has been gathered
    cdef Py_ssize_t tops = b.preds.v.classes if b.tracks_class_probs else 1
    cdef Py_ssize_t[CONFIDENCE_BINS * SPLIT_CLASSES + 1] first  # of each group: a bin, and its likeliest classes
    cdef int16_t[BLOCK] group_of
    cdef double weight
    memset(first, 0, (CONFIDENCE_BINS * tops + 1) * sizeof(Py_ssize_t))
    for i in range(k):
        weight = d[i] if d is not NULL else 1.0
        group_of[i] = -1
        if w.status[i] != COUNTED or weight == 0:
            w.expected[i] = w.excess[i] = w.variance[i] = 0
            continue
        group_of[i] = bin_of(w.confidence[i]) * tops + (w.top[i] if tops > 1 else 0)
        first[group_of[i] + 1] += 1
        if d is not NULL:
            w.expected[i] = weight * w.expected[i]
            w.excess[i] = weight * w.excess[i]
            w.variance[i] = weight * w.variance[i] * weight
            w.others[i] = weight * w.others[i]
    add_all(to, EXPECTED, w.expected, k)
    add_all(to, EXCESS, w.excess, k)
    add_all(to, VARIANCE, w.variance, k)
    for group in range(CONFIDENCE_BINS * tops):
        first[group + 1] += first[group]
    for i in range(k):
        group = group_of[i]
        if group >= 0:
            order[first[group]] = i
            first[group] += 1
    for bin in range(CONFIDENCE_BINS):  # a group begins where the one before it ends
        i = first[bin * tops - 1] if bin else 0
        n = first[(bin + 1) * tops - 1] - i
        if n:
            add_bin(b, w, d, order + i, n, bin, to)
    if b.tracks_class_probs:
        add_classes(b, w, d, first, to, shares)
    return 0


cdef int add_bin(
    Batch b, Workspace* w, const double* d, const Py_ssize_t* order, Py_ssize_t n, Py_ssize_t bin, Ledger to
) except -1 nogil:
    """Add the n losses of a bin to its cells."""
    cdef Py_ssize_t i
    to.increment(SAMPLES, bin, n)
    add_selected(to, bin, w.confidence, d, order, n, w.sample_n)
    add_selected(to, HITS + bin, w.outcome, d, order, n, w.sample_n)
    if b.spec.task != MULTICLASS:
        add_selected(to, SPLIT + bin, w.rest, d, order, n, w.sample_n)
    if d is not NULL:
        for i in range(n):
            w.sample_n[i] = d[order[i]]
        to.add_terms(D, bin, w.sample_n, n, table().largest_exponent(w.sample_n, n), False, 1)
        to.add_term(D, bin, <double>n, -1)
    return 0


cdef inline Py_ssize_t bin_of(double confidence) noexcept nogil:
    """Return the bin of any double: the first for NaN and for 0 or less, the last for 1 or more."""
    if not confidence > 0:
        return 0
    if confidence >= 1:
        return CONFIDENCE_BINS - 1
    return min(<Py_ssize_t>(confidence * CONFIDENCE_BINS), <Py_ssize_t>CONFIDENCE_BINS - 1)


cdef int add_all(Ledger to, Py_ssize_t cell, const double* v, Py_ssize_t k) except -1 nogil:
    return to.add_terms(N, cell, v, k, table().largest_exponent(v, k), False, 1)


cdef int add_selected(
    Ledger to, Py_ssize_t cell, const double* v, const double* d, const Py_ssize_t* order, Py_ssize_t k, double* term
) except -1 nogil:
    """Add d v of the k losses in ``order``."""
    cdef Py_ssize_t i
    for i in range(k):
        term[i] = v[order[i]] if d is NULL else d[order[i]] * v[order[i]]
    return add_all(to, cell, term, k)


cdef int add_classes(
    Batch b, Workspace* w, const double* d, const Py_ssize_t* end, Ledger to, ClassShares shares
) except -1 nogil:
    """Add the probabilities of all classes, and the true classes, of the rows of each group. ``end`` is its end."""
    cdef Py_ssize_t bin, top, i, group
    cdef Py_ssize_t start = 0
    cdef const Py_ssize_t* order = w.offset
    cdef kept_rows rows
    cdef bint has_left_out
    rows.x, rows.classes, rows.is_float32 = w.chances, b.preds.v.classes, b.is_float32
    rows.logs = b.spec.kind != PROBS
    rows.largest, rows.factor, rows.label = w.rest, w.others, w.label
    for bin in range(CONFIDENCE_BINS):
        for top in range(b.preds.v.classes):
            if end[top] == start:
                continue
            group = top * CONFIDENCE_BINS + bin
            has_left_out = shares.add_rows(group, &rows, order + start, end[top] - start, to)
            for i in range(start, end[top] if has_left_out or d is not NULL else start):
                if has_left_out:
                    add_left_out(b, &rows, order[i], group, to)
                if d is not NULL and d[order[i]] != 1:
                    to.add_term(D, cell_of(group, w.label[order[i]]), d[order[i]], 1)
                    to.add_term(D, cell_of(group, w.label[order[i]]), 1, -1)
            start = end[top]
        end += b.preds.v.classes
    return 0


cdef int add_left_out(
    Batch b, const kept_rows* rows, Py_ssize_t i, Py_ssize_t group, Ledger to
) except -1 nogil:
    """Add the terms of row i that the sums of the group leave out, because they are too small or too large."""
    cdef uint8_t[SPLIT_CLASSES] left
    cdef bint any_left
    cdef Py_ssize_t c
    cdef Py_ssize_t classes = rows.classes
    cdef double p
    cdef const float* f = <const float*>rows.x + i * classes
    cdef const double* x = <const double*>rows.x + i * classes
    if b.is_float32:
        any_left = table().left_shares_f32(f, classes, rows.largest[i], rows.factor[i], rows.logs, left)
    else:
        any_left = table().left_shares_f64(x, classes, rows.largest[i], rows.factor[i], rows.logs, left)
    if not any_left:
        return 0
    for c in range(classes):
        if left[c] == 0:
            continue
        p = f[c] if b.is_float32 else x[c]
        if rows.logs:
            p -= rows.largest[i]
            table().exp(&p, 1, &p)
        if p != 0:
            to.add_term(N, cell_of(group, c), p * rows.factor[i], 1)
    return 0
