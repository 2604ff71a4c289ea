"""The losses of a block: costs of elements or rows, and weights."""

from libc.math cimport INFINITY
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport NOT_FINITE, table
from streamce.core.losses.array_view cimport view_prefetch
from streamce.core.losses.batch cimport Batch, product
from streamce.core.losses.calibration_terms cimport compute_calibration_terms
from streamce.core.losses.elementwise cimport elements, fill_factors
from streamce.core.losses.gradients cimport gradients
from streamce.core.losses.load_block cimport check_weights, doubles_of, status_of, weights_of
from streamce.core.losses.loss_spec cimport BINARY, MEAN, MULTICLASS, MULTILABEL
from streamce.core.losses.precomputed cimport apply_precomputed
from streamce.core.losses.rowwise cimport rows
from streamce.core.losses.workspace cimport Workspace, flag, tile_of
from streamce.core.samples.status cimport COUNTED, IS_INFINITE, PREDS_NAN

# The exponent is not known yet. It is larger than all others.
cdef int UNKNOWN = NOT_FINITE + 1


cdef void evaluate_block(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Compute n, d, status and flags of losses at ... at + k - 1."""
    cdef Py_ssize_t i
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t n
    cdef Workspace tile
    w.odd = False
    memset(w.status, COUNTED, k)
    memset(w.flags, 0, k)
    w.flagged = False
    w.exponent = 0
    if b.has_status:
        status_of(b, w, at, k)
    weights_of(b, w, at, k)
    if b.spec.task == BINARY or b.spec.task == MULTILABEL:
        fill_factors(b, w, at)
    if k <= w.step:
        evaluate_tile(b, w, at, k)
    else:
        while first < k:  # by tiles, which stay in the cache
            n = min(w.step, k - first)
            tile = tile_of(w, first)
            evaluate_tile(b, &tile, at + first, n)
            w.odd |= tile.odd
            w.flagged |= tile.flagged
            w.exponent = max(w.exponent, tile.exponent)
            first += n
    apply_weights(b, w, k)
    if w.exponent == UNKNOWN or b.has_weight:
        w.exponent = table().largest_exponent(w.n, k)
    if w.exponent == NOT_FINITE:
        for i in range(k):
            if w.n[i] == INFINITY or w.n[i] == -INFINITY:
                flag(w, i, IS_INFINITE)
    if b.minus is not NULL:
        subtract(b, w, at, k)


cdef void subtract(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Turn losses into their differences from those of another model."""
    cdef Py_ssize_t i
    for i in range(k):
        if not w.status[i]:
            w.n[i] -= b.minus[at + i]
            if b.minus_samples.packed_status[at + i]:
                flag(w, i, b.minus_samples.packed_status[at + i] >> 4)
    w.exponent = table().largest_exponent(w.n, k)


cdef void evaluate_tile(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    w.exponent = UNKNOWN
    if b.precomputed is not None:
        apply_precomputed(b, w, at, k)
    elif b.spec.task == MEAN:
        copy_losses(b, w, at, k)
    elif b.spec.task == MULTICLASS:
        rows(b, w, at, k)
    else:
        elements(b, w, at, k)
    if b.gradient is not None:
        gradients(b, w, at, k)
    if b.breakdowns.calibration:
        compute_calibration_terms(b, w, k)


cdef void copy_losses(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Copy losses that are given as predictions."""
    cdef Py_ssize_t i
    check_weights(b, w, k)
    view_prefetch(&b.preds.v, at + k, k)
    cdef const double* losses = doubles_of(w, &b.preds.v, at, k, w.n)
    if losses != w.n:  # a copy: another thread may write to the caller's memory
        memcpy(w.n, losses, k * sizeof(double))
    w.exponent = table().largest_exponent(w.n, k)
    if b.cost_only and w.exponent < NOT_FINITE:
        return
    for i in range(k):
        w.d[i] = 1
        if w.status[i]:
            continue
        if w.n[i] != w.n[i]:
            w.status[i] = PREDS_NAN
            w.odd = True


cdef void apply_weights(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    cdef Py_ssize_t i
    if b.has_weight:
        for i in range(k):
            w.n[i] = product(w.n[i], w.weights[i])
            w.d[i] = w.d[i] * w.weights[i]
