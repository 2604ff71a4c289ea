"""Ratios beside the mean loss: losses by words or bytes, and divergence, which is loss minus entropy."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport COUNT, Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.samples cimport N_COUNTERS, Samples, count_losses

# The number of the ratio of divergence. The caller numbers the other ratios.
cdef int DIVERGENCE = 1


cdef int add_ratios(State to, Samples samples, tuple ratios, const uint8_t[::1] bucket) except -1:
    """Add samples to ratios, each given as its number and its denominators.

    A sample that is empty adds its denominator. One whose losses do not count adds nothing.
    """
    cdef const double[::1] d
    for ratio, d in ratios:
        if d.shape[0] != samples.samples:
            raise ValueError(f"{d.shape[0]} counts of {samples.samples} samples")
        if samples.samples:
            add_ratio(to, ratio, samples, samples.n, &d[0], bucket, True)
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
    return add_ratio(to, DIVERGENCE, excess, excess.n, excess.d, bucket, False)


cdef int add_ratio(
    State to, int ratio, Samples samples, const double* n, const double* d, const uint8_t[::1] bucket, bint takes_empty
) except -1:
    """Add samples with other n and d to a ratio. If d is NULL, every d is 1. ``takes_empty`` includes empty samples."""
    cdef double each, loss
    cdef int64_t[N_COUNTERS] counts
    cdef Py_ssize_t i, losses
    cdef Ledger total = to.total
    cdef Ledger buckets = to.buckets
    total.grow(max(total.size, ratio + 1))
    if buckets is not None:
        buckets.grow(max(buckets.size, BUCKETS * (ratio + 1)))
    for i in range(samples.samples):
        losses = count_losses(samples, i, counts)
        each = d[i] if d is not NULL else 1.0
        if losses or (takes_empty and each != 0 and (not samples.odd or is_zero(counts))):
            loss = n[i] if losses else 0.0
            total.increment(COUNT, ratio, losses)
            total.add_sample(ratio, loss, each, 1)
            if buckets is not None:
                buckets.add_pair(BUCKETS * ratio + bucket[i], loss, each)
    to.bound = max(to.bound, <int64_t>samples.samples)
    return 0


cdef bint is_zero(const int64_t* counts) noexcept:
    """Return whether a sample is empty, by its counters."""
    cdef int column
    for column in range(N_COUNTERS):
        if counts[column]:
            return False
    return True
