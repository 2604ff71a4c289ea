from libc.stdint cimport uint8_t

from streamce.core.blocks cimport STATUSES, Blocks, Samples, work
from streamce.core.ledger cimport Ledger, State


# What counts the losses of a status.
cdef int[STATUSES] COUNTER_OF

cdef int collect(
    Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells, Ledger tail, Ledger calibration
) except -1 nogil
cdef Py_ssize_t counted(Samples samples, Py_ssize_t i) noexcept nogil
cdef int count_flags(Ledger ledger, Py_ssize_t cell, uint8_t flags) except -1 nogil
cdef int add_ratio(
    State to, int ratio, Samples samples, const double* n, const double* d, const uint8_t[::1] bucket
) except -1
cdef int add_to_buckets(Samples samples, const uint8_t[::1] bucket, Ledger buckets) except -1
