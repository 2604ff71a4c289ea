"""Sums of samples by the bucket of their cluster. A jackknife needs only these."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport N_COUNTERS, Samples, count_losses

from streamce.inputs import messages


cdef int check_clusters(State state, Py_ssize_t samples, Py_ssize_t added, bucket) except -1:
    """Raise unless all samples have a bucket or none has, as in the state, if any are ``added`` to it."""
    cdef bint clusters = bucket is not None
    if clusters and len(bucket) != samples:
        raise messages.key_length("cluster", len(bucket), samples)
    if added and state.mixes_clustering(clusters):
        raise messages.mixed_clusters(clusters)
    return 0


cdef int add_clusters(Routes to, Samples samples, const uint8_t[::1] bucket) except -1:
    """Add n and d of each sample to the bucket of its cluster, if there are clusters."""
    cdef int64_t[N_COUNTERS] counts
    cdef Py_ssize_t i
    cdef State state
    if bucket is None:
        return 0
    for i in range(samples.samples):
        state = to.of(i)
        if state.buckets is None:
            state.buckets = Ledger(BUCKETS, False, BUCKETS)
        if count_losses(samples, i, counts):
            state.buckets.add_pair(bucket[i], samples.n[i], samples.d[i] if samples.d is not NULL else 1.0)
    return 0
