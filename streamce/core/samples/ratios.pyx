"""Ratios beside the mean loss: losses by words or bytes, and divergence, which is loss minus entropy."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport COUNT, Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.samples cimport N_COUNTERS, Samples, count_losses

# The number of the ratio of divergence. The caller numbers the other ratios.
cdef int DIVERGENCE = 1


cdef int add_ratios(State to, Samples samples, tuple ratios, const uint8_t[::1] bucket) except -1:
    """Add samples to ratios, each given as its number and its denominators."""
    cdef const double[::1] d
    for ratio, d in ratios:
        if d.shape[0] != samples.samples:
            raise ValueError(f"{d.shape[0]} counts of {samples.samples} samples")
        add_ratio(to, ratio, samples, samples.n, &d[0], bucket)
    return 0


cdef int add_divergence(State to, Samples samples, Samples entropies, const uint8_t[::1] bucket) except -1:
    """Add the losses minus the entropies of their targets. None means that all entropies are 0, as for labels."""
    cdef Samples excess = samples
    cdef Py_ssize_t i
    if entropies is not None:
        if entropies.samples != samples.samples:
            raise ValueError(f"{entropies.samples} entropies of {samples.samples} samples")
        excess = samples.copy()
        for i in range(samples.samples):
            excess.n[i] -= entropies.n[i]
    return add_ratio(to, DIVERGENCE, excess, excess.n, excess.d, bucket)


cdef int add_ratio(
    State to, int ratio, Samples samples, const double* n, const double* d, const uint8_t[::1] bucket
) except -1:
    """Add samples with other n and d to a ratio. If d is NULL, every d is 1."""
    cdef double each
    cdef int64_t[N_COUNTERS] counts
    cdef Py_ssize_t i, losses
    cdef Ledger total = to.total
    cdef Ledger buckets = to.buckets
    total.grow(max(total.size, ratio + 1))
    if buckets is not None:
        buckets.grow(max(buckets.size, BUCKETS * (ratio + 1)))
    for i in range(samples.samples):
        losses = count_losses(samples, i, counts)
        if losses:
            total.increment(COUNT, ratio, losses)
            each = d[i] if d is not NULL else 1.0
            total.add_sample(ratio, n[i], each, 1)
            if buckets is not None:
                buckets.add_pair(BUCKETS * ratio + bucket[i], n[i], each)
    return 0
