"""The samples of two models, pair by pair: sums of each, of their differences, and of which is better."""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table
from streamce.core.ledger.ledger cimport COUNT, N, Ledger
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.samples cimport COUNTER_OF, Samples, count_flags
from streamce.core.samples.status cimport PADDING

from streamce.errors import InputError

# The sums of pairs, in the order of the enum. All have the weight of the pair as denominator. The numerators of a and b
# are the losses of the models, that of difference is a - b. The numerator of a_better is the weight if the loss of a is
# smaller and else 0, and that of b_better likewise.
NAMES = ("a", "b", "difference", "a_better", "b_better")


cdef struct pair_block:
    Py_ssize_t at, k       # k pairs, beginning with pair number `at`
    const uint8_t* bucket  # of all pairs; NULL if there are no clusters
    double* scratch        # room for all numbers of k pairs


cdef enum:
    A, B, DIFFERENCE, A_BETTER, B_BETTER, N_SUMS
    N_WEIGHTS = 3  # of a, of b, and of the other sums


def add_pairs(Samples a not None, Samples b not None, const uint8_t[::1] bucket=None) -> list[State]:
    """Return the state of each sum in NAMES for one batch. Both models must leave out the same losses.

    ``bucket`` is the bucket of each pair's cluster, if there are clusters.
    """
    check_alike(a, b)
    if bucket is not None and bucket.shape[0] != a.samples:
        raise ValueError(f"{bucket.shape[0]} clusters of {a.samples} pairs")
    cdef Ledger sums = Ledger(N_SUMS)
    cdef Ledger buckets = Ledger(N_SUMS * BUCKETS) if bucket is not None else None
    cdef const uint8_t* bucket_of = &bucket[0] if bucket is not None and a.samples else NULL
    cdef pair_block block
    cdef Py_ssize_t block_size = max(<Py_ssize_t>1, min(<Py_ssize_t>BLOCK, a.samples))
    cdef unsigned long long saved
    block.at, block.bucket = 0, bucket_of
    block.scratch = <double*>malloc((N_SUMS + N_WEIGHTS) * block_size * sizeof(double))
    if block.scratch is NULL:
        raise MemoryError
    with nogil:
        saved = fp_enter()
        try:
            while block.at < a.samples:
                block.k = min(block_size, a.samples - block.at)
                add_block(a, b, &block, sums, buckets)
                block.at += block.k
        finally:
            fp_leave(saved)
            free(block.scratch)
    return [state_of(sums, buckets, i) for i in range(N_SUMS)]


cdef State state_of(Ledger sums, Ledger buckets, Py_ssize_t i):
    """Return one of the sums as a state."""
    cdef State state = State(slice_of(sums, i, 1))
    if buckets is not None:
        state.buckets = slice_of(buckets, i * BUCKETS, BUCKETS)
        state.buckets.size_quantum = BUCKETS
    return state


cdef int add_block(
    Samples a, Samples b, const pair_block* block, Ledger sums, Ledger buckets
) except -1 nogil:
    """Add the pairs of a block."""
    cdef double* n[N_SUMS]
    cdef double* d[N_WEIGHTS]
    cdef uint8_t[BLOCK] bucket
    cdef bint odd = a.odd or b.odd
    cdef Py_ssize_t i, j, losses
    cdef Py_ssize_t pairs = 0
    cdef Py_ssize_t count = 0
    cdef double* weight
    for i in range(N_SUMS):
        n[i] = block.scratch + i * block.k
    for i in range(N_WEIGHTS):
        d[i] = block.scratch + (N_SUMS + i) * block.k
    for i in range(block.at, block.at + block.k):
        losses = count_losses(a, b, i, sums) if odd else a.start(i + 1) - a.start(i)
        if losses == 0:
            continue
        count += losses
        n[A][pairs], n[B][pairs] = a.n[i], b.n[i]
        d[A][pairs] = a.d[i] if a.d is not NULL else 1.0
        d[B][pairs] = b.d[i] if b.d is not NULL else 1.0
        if block.bucket is not NULL:
            bucket[pairs] = block.bucket[i]
        pairs += 1
    compare_losses(n, d, pairs)
    for i in range(N_SUMS):
        weight = d[min(i, <Py_ssize_t>DIFFERENCE)]
        sums.increment(COUNT, i, count)
        sums.add_samples(i, n[i], weight, pairs, table().largest_exponent(n[i], pairs), 1)
        if i == DIFFERENCE:
            add_lost(n, pairs, sums)
        if block.bucket is not NULL:
            for j in range(pairs):
                buckets.add_pair(i * BUCKETS + bucket[j], n[i][j], weight[j])
    return 0


cdef int add_lost(double** n, Py_ssize_t k, Ledger sums) except -1 nogil:
    """Add the rounding errors of finite differences (Knuth's two-sum), so that the sum of the differences is exact."""
    cdef Py_ssize_t i
    cdef double rounded, v, lost
    for i in range(k):
        rounded = n[DIFFERENCE][i]
        if -INFINITY < rounded < INFINITY:
            v = rounded - n[A][i]
            lost = (n[A][i] - (rounded - v)) + (-n[B][i] - v)
            if lost != 0:
                sums.add_term(N, DIFFERENCE, lost, 1)
    return 0


cdef void compare_losses(double** n, double** d, Py_ssize_t k) noexcept nogil:
    """Compute the difference of the losses of each pair, and which one is smaller."""
    cdef Py_ssize_t i
    for i in range(k):
        n[DIFFERENCE][i] = n[A][i] - n[B][i]
        # Sums of soft targets are computed in the precision of the predictions, in which the models may differ.
        d[DIFFERENCE][i] = max(d[A][i], d[B][i])
    where_less(n[A], n[B], d[DIFFERENCE], k, n[A_BETTER])
    where_less(n[B], n[A], d[DIFFERENCE], k, n[B_BETTER])


cdef void where_less(const double* a, const double* b, const double* weight, Py_ssize_t k, double* out) noexcept nogil:
    """Write the weight if a < b, else 0. All values are read first, because that is cheaper than a branch."""
    cdef Py_ssize_t i
    cdef double x, y, w
    for i in range(k):
        x, y, w = a[i], b[i], weight[i]
        out[i] = w if x < y else 0.0


cdef Py_ssize_t count_losses(Samples a, Samples b, Py_ssize_t i, Ledger sums) except -1 nogil:
    """Return how many losses of a pair count, and count the anomalies of all its losses."""
    cdef Py_ssize_t j, k
    cdef Py_ssize_t counted = 0
    cdef int status
    cdef uint8_t one, other
    for j in range(a.start(i), a.start(i + 1)):
        one, other = a.packed_status[j], b.packed_status[j]
        status = joint_status(one, other)
        if status == PADDING:
            continue
        if status:
            for k in range(N_SUMS):
                sums.increment(COUNTER_OF[status], k, 1)
            continue
        counted += 1
        if one | other:
            count_flags(sums, A, one >> 4)
            count_flags(sums, B, other >> 4)
            for k in range(DIFFERENCE, N_SUMS):
                count_flags(sums, k, (one | other) >> 4)
    return counted


cdef inline int joint_status(uint8_t one, uint8_t other) noexcept nogil:
    """Return the status of a loss of a pair: the first one that applies to either model, or 0 if the loss counts."""
    cdef int a = one & 15
    cdef int b = other & 15
    return min(a, b) if a and b else a | b


cdef int check_alike(Samples a, Samples b) except -1:
    """Raise unless both models have the same samples with the same numbers of losses."""
    cdef Py_ssize_t i
    cdef bint alike = a.samples == b.samples and a.start(a.samples) == b.start(b.samples)
    if alike and (a.offsets is not NULL or b.offsets is not NULL):
        for i in range(a.samples):
            alike &= a.start(i) == b.start(i)
    if not alike:
        raise InputError("preds_b", "gives other samples than preds_a", "arguments that are not changed meanwhile")
    return 0


cdef Ledger slice_of(Ledger sums, Py_ssize_t first, Py_ssize_t size):
    """Return ``size`` cells of a ledger, beginning with ``first``, as a new ledger."""
    cdef Ledger new = Ledger(size)
    cdef Py_ssize_t i
    for i in range(size):
        new.add_cell(i, sums, first + i)
    return new


def joint_statuses(Samples a not None, Samples b not None, bint of_losses) -> bytearray | None:
    """Return the status of each loss for both models together. Return None if another pass would change nothing.

    Another pass changes a model whose losses are left out for the other model only: the samples, if they hold several
    losses, or, with ``of_losses``, sums of losses.
    """
    cdef Py_ssize_t j
    check_alike(a, b)
    cdef bint differ = False
    if not (a.odd or b.odd) or (a.has_one_loss_each() and not of_losses):
        return None
    statuses = bytearray(a.losses)
    cdef uint8_t[::1] joint = statuses
    for j in range(len(statuses)):
        joint[j] = joint_status(a.packed_status[j], b.packed_status[j])
        differ |= a.packed_status[j] & 15 != b.packed_status[j] & 15
    return statuses if differ else None
