"""Sums of samples by the bucket that their cluster is hashed to."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.samples cimport TALLIES, Samples, tally


cdef int add_to_buckets(Samples samples, const uint8_t[::1] bucket, Ledger buckets) except -1:
    """Adds Σn and Σd of each sample to its cluster's bucket, which is all that a jackknife needs."""
    cdef int64_t[TALLIES] found
    cdef Py_ssize_t i
    for i in range(samples.samples):
        if tally(samples, i, found):
            buckets.add_pair(bucket[i], samples.n[i], samples.d[i] if samples.d is not NULL else 1.0)
    return 0
