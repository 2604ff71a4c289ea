"""Sums of samples by the bucket that their cluster is hashed to, which are all that a jackknife needs."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.samples cimport N_COUNTERS, Samples, count_losses

from streamce.inputs import arrays


cdef int check_clusters(State state, Py_ssize_t samples, Py_ssize_t losses, bucket) except -1:
    """Raises unless each sample has a bucket, or none has, as in what the state holds."""
    cdef bint clusters = bucket is not None
    if clusters and len(bucket) != samples:
        raise arrays.key_length("cluster", len(bucket), samples)
    if losses and state.mixes_clustering(clusters):
        raise arrays.other_clusters(clusters)
    return 0


cdef int add_clusters(State to, Samples samples, const uint8_t[::1] bucket) except -1:
    """Adds Σn and Σd of each sample to its cluster's bucket, if samples come in clusters."""
    cdef int64_t[N_COUNTERS] found
    cdef Py_ssize_t i
    if bucket is None:
        return 0
    to.buckets = Ledger(BUCKETS)
    for i in range(samples.samples):
        if count_losses(samples, i, found):
            to.buckets.add_pair(bucket[i], samples.n[i], samples.d[i] if samples.d is not NULL else 1.0)
    return 0
