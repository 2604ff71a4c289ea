"""The losses of a block: costs, by elements or by rows, and weights."""

from libc.math cimport INFINITY
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport NOT_FINITE, table
from streamce.core.losses.array_view cimport view_prefetch
from streamce.core.losses.calibration_terms cimport expect
from streamce.core.losses.elementwise cimport elements, lay_factors
from streamce.core.losses.gradients cimport gradients
from streamce.core.losses.load_block cimport check_weights, doubles_of, settled_of, weights_of
from streamce.core.losses.precomputed cimport computed
from streamce.core.losses.rowwise cimport rows
from streamce.core.losses.workspace cimport BINARY, MEAN, MULTICLASS, MULTILABEL, Blocks, flag, product, work, work_from
from streamce.core.samples.status cimport COUNTED, IS_INFINITE, PREDS_NAN

# An exponent beyond all others.
cdef int UNKNOWN = NOT_FINITE + 1


cdef void fill(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Costs and weights of losses at ... at + k - 1."""
    cdef Py_ssize_t i
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t many
    cdef work few
    w.odd = False
    memset(w.status, COUNTED, k)
    memset(w.flags, 0, k)
    w.flagged = False
    w.exponent = 0
    if b.has_settled:
        settled_of(b, w, at, k)
    weights_of(b, w, at, k)
    if b.r.task == BINARY or b.r.task == MULTILABEL:
        lay_factors(b, w, at)
    if k <= w.step:
        some(b, w, at, k)
    else:
        while first < k:  # a few at a time, so that they stay in the cache
            many = min(w.step, k - first)
            few = work_from(w, first)
            some(b, &few, at + first, many)
            w.odd |= few.odd
            w.flagged |= few.flagged
            w.exponent = max(w.exponent, few.exponent)
            first += many
    weigh(b, w, k)
    if w.exponent == UNKNOWN or b.has_weight:
        w.exponent = table().largest_exponent(w.n, k)
    if w.exponent == NOT_FINITE:
        for i in range(k):
            if w.n[i] == INFINITY or w.n[i] == -INFINITY:
                flag(w, i, IS_INFINITE)


cdef void some(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    w.exponent = UNKNOWN
    if b.computed is not None:
        computed(b, w, at, k)
    elif b.r.task == MEAN:
        given(b, w, at, k)
    elif b.r.task == MULTICLASS:
        rows(b, w, at, k)
    else:
        elements(b, w, at, k)
    if b.gradient is not None:
        gradients(b, w, at, k)
    if b.calibrates:
        expect(b, w, k)


cdef void given(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Losses that need no costs: they are given."""
    cdef Py_ssize_t i
    check_weights(b, w, k)
    view_prefetch(&b.preds.v, at + k, k)
    cdef const double* losses = doubles_of(w, &b.preds.v, at, k, w.n)
    if losses != w.n:  # a copy: another thread may write to the caller's memory
        memcpy(w.n, losses, k * sizeof(double))
    w.exponent = table().largest_exponent(w.n, k)
    if b.plain and w.exponent < NOT_FINITE:
        return
    for i in range(k):
        w.d[i] = 1
        if w.status[i]:
            continue
        if w.n[i] != w.n[i]:
            w.status[i] = PREDS_NAN
            w.odd = True


cdef void weigh(Blocks b, work* w, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    if b.has_weight:
        for i in range(k):
            w.n[i] = product(w.n[i], w.weights[i])
            w.d[i] = w.d[i] * w.weights[i]
