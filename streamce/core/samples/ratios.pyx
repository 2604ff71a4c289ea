"""Ratios beside the mean loss: losses by words or bytes, and divergence, which is loss minus entropy."""

from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport COUNT, INVALID_NAN, INVALID_NULL, Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport COUNTER_OF, N_COUNTERS, Samples, count_losses
from streamce.core.samples.status cimport COUNTED, IGNORED

# The number of the ratio of divergence. The caller numbers the other ratios.
cdef int DIVERGENCE = 1


cdef int add_ratios(Routes to, Samples samples, tuple ratios, const uint8_t[::1] bucket) except -1:
    """Add samples to ratios of their text, each given as its number, its denominators and statuses of samples or None.

    A denominator is that of all losses of a sample. So a sample with an invalid loss, or with a status other than
    COUNTED, adds nothing but one to the counter of its cause. An empty sample adds its denominator. A sample whose
    losses are all ignored adds nothing.
    """
    cdef const double[::1] d
    cdef const uint8_t[::1] status
    for ratio, d, status in ratios:
        if d.shape[0] != samples.samples or (status is not None and status.shape[0] != samples.samples):
            raise ValueError(f"{d.shape[0]} counts of {samples.samples} samples")
        if samples.samples:
            add_ratio(to, ratio, samples, &d[0], &status[0] if status is not None else NULL, bucket, True)
    return 0


cdef int add_divergence(Routes to, Samples samples, Samples entropies, const uint8_t[::1] bucket) except -1:
    """Add the losses minus the entropies of their targets. None means that all entropies are 0, as for labels."""
    cdef Samples excess = samples
    cdef Py_ssize_t i
    if entropies is not None:
        if entropies.samples != samples.samples:
            raise ValueError(f"{entropies.samples} entropies of {samples.samples} samples")
        excess = samples.copy()
        for i in range(samples.samples):
            excess.n[i] -= entropies.n[i] * to.factor[i] if to.factor is not None else entropies.n[i]
    return add_ratio(to, DIVERGENCE, excess, excess.d, NULL, bucket, False)


cdef int grow(State state, int ratio) except -1:
    """Make room for a ratio."""
    if state.total.size <= ratio:
        state.total.grow(ratio + 1)
    if state.buckets is not None and state.buckets.size < BUCKETS * (ratio + 1):
        state.buckets.grow(BUCKETS * (ratio + 1))
    return 0


cdef int add_ratio(
    Routes to, int ratio, Samples samples, const double* d, const uint8_t* status, const uint8_t[::1] bucket,
    bint of_text,
) except -1:
    """Add samples with other d to a ratio. If d is NULL, every d is 1.

    With ``of_text``, samples are added as in ``add_ratios``. Otherwise the losses that count are added.
    """
    cdef double each, loss
    cdef int64_t[N_COUNTERS] counts
    cdef Py_ssize_t i, losses
    cdef uint8_t cause
    cdef State state
    cdef Ledger total, buckets
    for i in range(samples.samples):
        losses = count_losses(samples, i, counts)
        if of_text and (samples.odd or status is not NULL):
            cause = status[i] if status is not NULL else COUNTED
            if samples.odd and cause == COUNTED and has_invalid(counts):
                cause = first_invalid(samples, i)
            if cause != COUNTED:
                state = to.of(i)
                grow(state, ratio)
                state.total.increment(COUNTER_OF[cause], ratio, 1)
                state.bound = max(state.bound, <int64_t>samples.samples)
                continue
        each = d[i] if d is not NULL else 1.0
        if of_text and to.factor is not None:  # the samples are multiplied already
            each *= to.factor[i]
        if losses or (of_text and each != 0 and (not samples.odd or is_zero(counts))):
            loss = samples.n[i] if losses else 0.0
            state = to.of(i)
            grow(state, ratio)
            total, buckets = state.total, state.buckets
            total.increment(COUNT, ratio, losses)
            total.add_sample(ratio, loss, each, 1)
            if buckets is not None:
                buckets.add_pair(BUCKETS * ratio + bucket[i], loss, each)
            state.bound = max(state.bound, <int64_t>samples.samples)
    return 0


cdef bint is_zero(const int64_t* counts) noexcept:
    """Return whether a sample is empty, by its counters."""
    cdef int column
    for column in range(N_COUNTERS):
        if counts[column]:
            return False
    return True


cdef bint has_invalid(const int64_t* counts) noexcept:
    """Return whether a sample has an invalid loss, by its counters."""
    cdef int column
    for column in range(INVALID_NAN - COUNT, INVALID_NULL - COUNT + 1):
        if counts[column]:
            return True
    return False


cdef uint8_t first_invalid(Samples samples, Py_ssize_t i) noexcept:
    """Return the status of the first invalid loss of a sample that has one."""
    cdef Py_ssize_t j
    cdef uint8_t status
    for j in range(samples.start(i), samples.start(i + 1)):
        status = samples.packed_status[j] & 15
        if status > IGNORED:
            return status
    return COUNTED
