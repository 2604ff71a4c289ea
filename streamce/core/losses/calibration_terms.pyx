"""The loss that each prediction would have on average if it were calibrated, and its variance.

With cost_c the cost of class c in this metric (with floor), y the true class, and p the probabilities, which are scaled
if they do not sum to 1,

    expected = sum of p_c cost_c,    excess = cost_y - expected,    variance = sum of p_c (cost_c - expected)^2

A binary prediction has two outcomes instead of classes. The terms are computed from differences of costs, which logits
give exactly. Excess and variance are therefore exact even if all outcomes cost nearly the same, and both are 0 if the
costs are equal. All computations use doubles, and each term depends only on its own row. Confidence is the probability
of outcome 1, or of the likeliest class, which is the first one if there are several.
"""

from libc.math cimport INFINITY
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport kernel_table, table
from streamce.core.ledger.ledger cimport D, N, SAMPLES, Ledger
from streamce.core.ledger.state cimport CONFIDENCE_BINS, EXCESS, EXPECTED, HITS, SPLIT, VARIANCE
from streamce.core.losses.batch cimport Batch, product
from streamce.core.losses.elementwise cimport ONES, ZEROS
from streamce.core.losses.loss_spec cimport LOGITS, LOG_PROBS, MULTICLASS, PROBS
from streamce.core.losses.workspace cimport ElementTile, RowTile, Workspace
from streamce.core.samples.status cimport COUNTED, IS_UNNORMALISED


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
    cdef double p, q, gap
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
    elif b.spec.kind == LOG_PROBS:
        K.binary_log_probs(x, ONES, k, INFINITY, e.kernel, one)
        K.binary_log_probs(x, ZEROS, k, INFINITY, e.kernel, zero)
        for i in range(k):  # 1 - p would lose the digits of a small probability
            rest[i] = 0.0 - zero[i]
        K.exp(rest, k, rest)
        K.exp(x, k, w.confidence)
    else:
        K.binary_logits_f64(x, ONES, k, e.kernel, one)
        K.binary_logits_f64(x, ZEROS, k, e.kernel, zero)
        for i in range(k):
            rest[i] = x[i] if x[i] < 0 else 0.0 - x[i]
        K.exp(rest, k, rest)
    for i in range(k):
        if b.spec.kind == PROBS:
            p, q = x[i], 1 - x[i]
        elif b.spec.kind == LOG_PROBS:
            p, q = w.confidence[i], rest[i]
            one[i], zero[i] = min(one[i], b.spec.cap), min(zero[i], b.spec.cap)
        else:
            p, q = 1 / (1 + rest[i]), rest[i] / (1 + rest[i])
            if x[i] < 0:
                p, q = q, p
        gap = one[i] - zero[i] if b.spec.kind != LOGITS else 0.0 - x[i]
        w.confidence[i], w.rest[i] = p, q
        w.expected[i] = product(one[i], p) + product(zero[i], q)
        w.excess[i] = product(gap, q if w.outcome[i] == 1 else w.outcome[i] - p)
        w.variance[i] = product(gap * gap, p * q)


# ---- rows ----


cdef void of_rows(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    cdef RowTile* r = &w.rows
    cdef const kernel_table* K = table()
    cdef Py_ssize_t i, c
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef double* others = r.other_probs
    cdef double* total = r.prob_total
    cdef double* cost
    cdef double* p
    cdef double min_cost
    for i in range(k):
        prepare_row(b, w, i)
    if b.spec.kind == PROBS:
        K.neg_log_f64(w.costs, k * classes, b.spec.floor, b.spec.ceiling, w.costs)
    else:
        K.exp(w.chances, k * classes, w.chances)
    for i in range(k):  # without the likeliest class, the sum is small and exact if a prediction is confident
        p = w.chances + i * classes
        w.confidence[i] = p[w.top[i]]
        p[w.top[i]] = 0
    K.sum_rows_f64(w.chances, classes, k, classes, others)
    for i in range(k):
        w.chances[i * classes + w.top[i]] = w.confidence[i]
        total[i] = w.confidence[i] + others[i]
    if b.spec.kind == LOGITS:
        K.softmax_costs_f64(ZEROS, others, ZEROS, k, r.kernel)  # replaces others by log1p(others)
    for i in range(k):
        cost = w.costs + i * classes
        min_cost = cost[w.top[i]]
        if b.spec.kind == LOGITS:
            w.confidence[i] = 1 / total[i]
            min_cost = others[i]
        else:
            for c in range(classes):
                cost[c] -= min_cost
        moments(w, i, classes, total[i], min_cost)


cdef void moments(Workspace* w, Py_ssize_t i, Py_ssize_t classes, double total, double min_cost) noexcept nogil:
    """Compute the terms of row i from the sum of its probabilities and its costs, which are relative to min_cost."""
    cdef Py_ssize_t c
    cdef const double* cost = w.costs + i * classes
    cdef double* p = w.chances + i * classes
    cdef double mean = 0, square = 0, off
    for c in range(classes):
        mean += cost[c] * p[c] if p[c] > 0 else 0.0
    mean /= total
    for c in range(classes):
        off = cost[c] - mean
        square += p[c] * (off * off) if p[c] > 0 else 0.0
    w.expected[i] = min_cost + mean
    w.excess[i] = cost[w.label[i]] - mean
    w.variance[i] = square / total
    for c in range(w.n_kept_classes):
        p[c] /= total


cdef void prepare_row(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil:
    """Find the likeliest class of row i, and prepare its costs and probabilities."""
    cdef Py_ssize_t c, top = 0
    cdef Py_ssize_t classes = b.preds.v.classes
    cdef double* x = w.costs + i * classes
    cdef double* p = w.chances + i * classes
    cdef double largest
    if b.is_float32:
        table().float32_to_float64(<const float*>w.x + i * w.x_stride, classes, x)
    else:
        memcpy(x, <const double*>w.x + i * w.x_stride, classes * sizeof(double))
    if b.spec.kind == PROBS and w.flags[i] & IS_UNNORMALISED:  # an entry can be above 1 by rounding
        for c in range(classes):
            x[c] = min(x[c], 1.0)
    largest = x[0]
    for c in range(1, classes):
        if x[c] > largest:
            top, largest = c, x[c]
    w.top[i] = top
    w.outcome[i] = w.label[i] == top
    if b.spec.kind == LOGITS:
        for c in range(classes):
            x[c] = x[c] - largest if largest < INFINITY else 0.0 if x[c] == INFINITY else -INFINITY
    memcpy(p, x, classes * sizeof(double))
    if b.spec.kind != PROBS:
        for c in range(classes):
            x[c] = 0.0 - x[c] if b.spec.kind == LOGITS else min(0.0 - x[c], b.spec.cap)


# ---- to the ledger ----


cdef int add_calibration(Batch b, Workspace* w, const double* d, Py_ssize_t k, Ledger to) except -1 nogil:
    """Add the terms of k losses of weights d (NULL: 1), and each loss to its bin. Losses of weight 0 do not count."""
    cdef Py_ssize_t i, bin, n
    cdef Py_ssize_t* order = w.offset  # free after the block has been gathered
    cdef Py_ssize_t[CONFIDENCE_BINS + 1] first
    cdef double weight
    memset(first, 0, sizeof(first))
    for i in range(k):
        weight = d[i] if d is not NULL else 1.0
        if w.status[i] != COUNTED or weight == 0:
            w.expected[i] = w.excess[i] = w.variance[i] = 0
            continue
        bin = bin_of(w.confidence[i])
        first[bin + 1] += 1
        w.expected[i] = weight * w.expected[i]
        w.excess[i] = weight * w.excess[i]
        w.variance[i] = weight * w.variance[i] * weight
        if b.tracks_class_probs:
            add_classes(to, bin, w.top[i], w.label[i], w.chances + i * w.n_kept_classes, w.n_kept_classes, weight)
    add_all(to, EXPECTED, w.expected, k)
    add_all(to, EXCESS, w.excess, k)
    add_all(to, VARIANCE, w.variance, k)
    for bin in range(CONFIDENCE_BINS):
        first[bin + 1] += first[bin]
    for i in range(k):
        if w.status[i] == COUNTED and (d is NULL or d[i] != 0):
            bin = bin_of(w.confidence[i])
            order[first[bin]] = i
            first[bin] += 1
    for bin in range(CONFIDENCE_BINS):  # a bin begins where the one before it ends
        n = first[bin] - (first[bin - 1] if bin else 0)
        if n:
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
        order += n
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
    Ledger to, Py_ssize_t bin, Py_ssize_t top, Py_ssize_t label, const double* p, Py_ssize_t classes, double weight
) except -1 nogil:
    """Add the probabilities of all classes, and the true class, to the cells of the likeliest class and the bin."""
    cdef Py_ssize_t c, cell
    for c in range(classes):
        # The numbering does not depend on the number of classes: pairs of the first c classes have the first numbers.
        cell = SPLIT + CONFIDENCE_BINS * (top * top + c if c <= top else c * c + c + 1 + top) + bin
        if c == label:
            to.add_pair(cell, weight * p[c], weight)
        elif p[c] != 0:
            to.add_term(N, cell, weight * p[c], 1)
    return 0
