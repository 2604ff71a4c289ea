"""Loads a block of an array in the form that the kernels need. Where possible, it is used in place."""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy

from streamce.core.kernels.kernels cimport table
from streamce.core.losses.array_view cimport (
    BF16, F16, F64, integers_to_doubles, view, view_gather, view_prefetch, view_step,
)
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace, in_place, rows_scratch
from streamce.core.samples.status cimport COUNTED, INVALID_WEIGHT, STATUSES


cdef const void* elements_of(Workspace* w, view* v, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Return the elements of a block in contiguous memory, in place if possible."""
    if v.direct:
        return v.data + at * v.itemsize
    view_gather(v, at, k, w.offset, w.raw)
    return w.raw


cdef const double* doubles_of(Workspace* w, view* v, Py_ssize_t at, Py_ssize_t k, double* out) noexcept nogil:
    """Return the elements of a block as doubles, in place if possible."""
    cdef const void* source = elements_of(w, v, at, k)
    if v.dtype == F64:
        return <const double*>source
    if v.dtype > F64:
        integers_to_doubles(v.dtype, source, k, out)
    else:
        table().float32_to_float64(floats_of(v.dtype, source, k, w.floats), k, out)
    return out


cdef const void* rows_of(
    Batch b, Workspace* w, view* v, Py_ssize_t at, Py_ssize_t k, rows_scratch* scratch, Py_ssize_t* stride
) noexcept nogil:
    """Return k rows as floats if ``is_float32``, else as doubles, in place if possible."""
    cdef const void* source = scratch.raw
    cdef Py_ssize_t n = k * v.classes
    if v.direct:
        stride[0] = view_step(v) // v.itemsize
        source = v.data + at * view_step(v)
        if in_place(v, b.is_float32):
            return source
        view_prefetch(v, at + k, k)
    if not v.direct or stride[0] != v.classes:
        view_gather(v, at, k, w.offset, scratch.raw)
        source = scratch.raw
    stride[0] = v.classes
    if v.dtype == F64:
        return source
    if v.dtype > F64:
        integers_to_doubles(v.dtype, source, n, scratch.doubles)
    else:
        source = floats_of(v.dtype, source, n, scratch.floats)
        if b.is_float32:
            return source
        table().float32_to_float64(<const float*>source, n, scratch.doubles)
    return scratch.doubles


cdef void status_of(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Load the statuses that losses have before they are evaluated, such as those of padding and nulls."""
    memcpy(w.status, elements_of(w, &b.status.v, at, k), k)
    cdef Py_ssize_t i
    for i in range(k):
        w.status[i] = min(w.status[i], <uint8_t>(STATUSES - 1))  # it may come from memory that another thread writes
        w.odd |= w.status[i] != COUNTED


cdef void weights_of(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Load a weight for each loss of the block. It is a copy, so that no other thread changes it after the check."""
    cdef Py_ssize_t i, first, last
    cdef const double* weights
    if not b.has_weight:
        return
    w.weights = w.weight
    if b.weight_each or b.group == 1:
        weights = doubles_of(w, &b.weights.v, at, k, w.weight)
        if weights != w.weight:
            memcpy(w.weight, weights, k * sizeof(double))
    elif b.offsets is not NULL:
        weights_of_sequences(b, w, at, k)
    else:
        first = at // b.group
        last = (at + k - 1) // b.group
        weights = doubles_of(w, &b.weights.v, first, last - first + 1, w.weight)
        if weights != w.weight:
            memcpy(w.weight, weights, (last - first + 1) * sizeof(double))
        for i in range(k - 1, -1, -1):  # backwards, because a weight must be read before it is overwritten
            w.weight[i] = w.weight[(at + i) // b.group - first]


cdef void weights_of_sequences(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Load the weight of the sequence of each loss, at most k at a time, because there may be many empty sequences."""
    cdef Py_ssize_t i, first, last
    cdef Py_ssize_t sample = w.sample
    cdef Py_ssize_t end = sample
    cdef const double* weights = NULL
    first = last = sample
    while b.offsets[last + 1] < at + k:
        last += 1
    for i in range(k):
        while b.offsets[sample + 1] <= at + i:
            sample += 1
        if sample >= end:
            first, end = sample, min(last + 1, sample + k)
            weights = doubles_of(w, &b.weights.v, first, end - first, w.sample_n)
        w.weight[i] = weights[sample - first]


cdef void check_weights(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Mark negative and non-finite weights as invalid."""
    cdef Py_ssize_t i
    if not b.has_weight or table().all_within(w.weights, k, 0.0, DBL_MAX):
        return
    for i in range(k):
        if not 0 <= w.weights[i] < INFINITY and not w.status[i]:
            w.status[i] = INVALID_WEIGHT
            w.odd = True


cdef const float* floats_of(int dtype, const void* source, Py_ssize_t n, char* out) noexcept nogil:
    """Return n floats. Half precision is converted."""
    if dtype == F16:
        table().float16_to_float32(<const uint16_t*>source, n, <float*>out)
    elif dtype == BF16:
        table().bfloat16_to_float32(<const uint16_t*>source, n, <float*>out)
    else:
        return <const float*>source
    return <const float*>out
