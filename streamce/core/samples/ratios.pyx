"""Samples that divide by something else than their weight: words, bytes; or of a loss less an entropy."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport COUNT, Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.samples cimport TALLIES, Samples, tally


cdef int add_ratio(
    State to, int ratio, Samples samples, const double* n, const double* d, const uint8_t[::1] bucket
) except -1:
    """Adds samples to another ratio, of an n or a d of its own; d NULL: all are 1."""
    cdef double each
    cdef int64_t[TALLIES] found
    cdef Py_ssize_t i, many
    cdef Ledger total = to.total
    cdef Ledger buckets = to.buckets
    total.grow(max(total.size, ratio + 1))
    if buckets is not None:
        buckets.grow(max(buckets.size, BUCKETS * (ratio + 1)))
    for i in range(samples.samples):
        many = tally(samples, i, found)
        if many:
            total.bump(COUNT, ratio, many)
            each = d[i] if d is not NULL else 1.0
            total.add_sample(ratio, n[i], each, 1)
            if buckets is not None:
                buckets.add_pair(BUCKETS * ratio + bucket[i], n[i], each)
    return 0
