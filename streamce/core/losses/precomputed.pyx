"""Losses that were computed before: by torch on a device, or by another pass over the same batch."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from streamce.core.losses.elementwise cimport outcomes
from streamce.core.losses.load_block cimport check_weights
from streamce.core.losses.rowwise cimport labels_of
from streamce.core.losses.workspace cimport MULTICLASS, Blocks, flag, work
from streamce.core.samples.samples cimport Samples


cdef void computed(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Losses that were worked out elsewhere; integer targets and weights are judged here."""
    cdef Py_ssize_t i
    if b.hard and b.r.task == MULTICLASS:
        labels_of(b, w, at, k)
    elif b.hard:
        outcomes(b, w, at, k)
    check_weights(b, w, k)
    if not b.unit:
        for i in range(k):
            w.d[i] = 1
    recall(w, b.computed, at, k)


cdef void recall(work* w, Samples found, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Losses that are there already, and what is odd about them; of two statuses the first counts."""
    cdef Py_ssize_t i
    cdef int status
    memcpy(w.n, found.n + at, k * sizeof(double))
    if found.d is not NULL:
        memcpy(w.d, found.d + at, k * sizeof(double))
    for i in range(k):
        status = found.what[at + i] & 15
        if status and (not w.status[i] or status < w.status[i]):
            w.status[i] = <uint8_t>status
            w.odd = True
        elif found.what[at + i]:
            flag(w, i, found.what[at + i] >> 4)
