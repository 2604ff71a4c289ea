from libc.stdint cimport int64_t, uint8_t

from streamce.core.losses.workspace cimport STATUSES, Blocks, Samples, work
from streamce.core.ledger.ledger cimport Ledger, State


cdef enum:
    TALLIES = 12  # counters of losses: COUNT and those behind it

# What counts the losses of a status.
cdef int[STATUSES] COUNTER_OF

cdef int collect(
    Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells, Ledger tail, Ledger calibration
) except -1 nogil
cdef int count_flags(Ledger ledger, Py_ssize_t cell, uint8_t flags) except -1 nogil
cdef int64_t tally(Samples samples, Py_ssize_t i, int64_t* found) noexcept nogil
cdef int add_one(Samples samples, Py_ssize_t i, Ledger ledger, Py_ssize_t cell) except -1
cdef int add_some(Samples samples, Py_ssize_t first, Py_ssize_t k, Ledger ledger, Py_ssize_t cell) except -1
cdef int add_ratio(
    State to, int ratio, Samples samples, const double* n, const double* d, const uint8_t[::1] bucket
) except -1
cdef int add_to_buckets(Samples samples, const uint8_t[::1] bucket, Ledger buckets) except -1
