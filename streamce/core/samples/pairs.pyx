"""The samples of two models, pair by pair: sums of either, of what lies between them and of which is better."""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table
from streamce.core.ledger.ledger cimport COUNT, N, Ledger, cell_merge, page
from streamce.core.ledger.state cimport BUCKETS, State
from streamce.core.samples.samples cimport COUNTER_OF, Samples, count_flags
from streamce.core.samples.status cimport PADDING

from streamce.errors import InputError

# What a pair adds to, in the order of the enum. All have the weight of the pair: a and b the loss of their model,
# difference that of a less that of b, a_better and b_better the weight itself where theirs is the smaller loss.
NAMES = ("a", "b", "difference", "a_better", "b_better")


cdef struct pair_block:
    # Some pairs, from the one at `at` on.
    Py_ssize_t at, k
    const uint8_t* bucket  # of all pairs; NULL: they come in no clusters
    double* scratch        # has room for all numbers of k pairs


cdef enum:
    A, B, DIFFERENCE, A_BETTER, B_BETTER, N_SUMS
    N_WEIGHTS = 3  # of a, of b and of the others


def add_pairs(Samples a not None, Samples b not None, const uint8_t[::1] bucket=None) -> list[State]:
    """The states of NAMES for one chunk, of which the two have the same losses left out of their sums.

    ``bucket`` is that of each pair's cluster, if they come in clusters.
    """
    check_alike(a, b)
    if bucket is not None and bucket.shape[0] != a.samples:
        raise ValueError(f"{bucket.shape[0]} clusters of {a.samples} pairs")
    cdef Ledger sums = Ledger(N_SUMS)
    cdef Ledger buckets = Ledger(N_SUMS * BUCKETS) if bucket is not None else None
    cdef const uint8_t* bucket_of = &bucket[0] if bucket is not None and a.samples else NULL
    cdef pair_block block
    cdef Py_ssize_t most = max(<Py_ssize_t>1, min(<Py_ssize_t>BLOCK, a.samples))
    cdef unsigned long long saved
    block.at, block.bucket = 0, bucket_of
    block.scratch = <double*>malloc((N_SUMS + N_WEIGHTS) * most * sizeof(double))
    if block.scratch is NULL:
        raise MemoryError
    with nogil:
        saved = fp_enter()
        try:
            while block.at < a.samples:
                block.k = min(most, a.samples - block.at)
                add_block(a, b, &block, sums, buckets)
                block.at += block.k
        finally:
            fp_leave(saved)
            free(block.scratch)
    return [state_of(sums, buckets, i) for i in range(N_SUMS)]


cdef State state_of(Ledger sums, Ledger buckets, Py_ssize_t i):
    """One of the sums, as a state of its own."""
    cdef State found = State(some_cells(sums, i, 1))
    if buckets is not None:
        found.buckets = some_cells(buckets, i * BUCKETS, BUCKETS)
    return found


cdef int add_block(
    Samples a, Samples b, const pair_block* block, Ledger sums, Ledger buckets
) except -1 nogil:
    """Adds some pairs."""
    cdef double* n[N_SUMS]
    cdef double* d[N_WEIGHTS]
    cdef uint8_t[BLOCK] bucket
    cdef bint odd = a.odd or b.odd
    cdef Py_ssize_t i, j, some
    cdef Py_ssize_t kept = 0
    cdef Py_ssize_t count = 0
    cdef double* weight
    for i in range(N_SUMS):
        n[i] = block.scratch + i * block.k
    for i in range(N_WEIGHTS):
        d[i] = block.scratch + (N_SUMS + i) * block.k
    for i in range(block.at, block.at + block.k):
        some = count_losses(a, b, i, sums) if odd else a.start(i + 1) - a.start(i)
        if some == 0:
            continue
        count += some
        n[A][kept], n[B][kept] = a.n[i], b.n[i]
        d[A][kept] = a.d[i] if a.d is not NULL else 1.0
        d[B][kept] = b.d[i] if b.d is not NULL else 1.0
        if block.bucket is not NULL:
            bucket[kept] = block.bucket[i]
        kept += 1
    compare_losses(n, d, kept)
    for i in range(N_SUMS):
        weight = d[min(i, <Py_ssize_t>DIFFERENCE)]
        sums.increment(COUNT, i, count)
        sums.add_samples(i, n[i], weight, kept, table().largest_exponent(n[i], kept), 1)
        if i == DIFFERENCE:
            add_lost(n, kept, sums)
        if block.bucket is not NULL:
            for j in range(kept):
                buckets.add_pair(i * BUCKETS + bucket[j], n[i][j], weight[j])
    return 0


cdef int add_lost(double** n, Py_ssize_t k, Ledger sums) except -1 nogil:
    """Adds what finite differences lost when they were rounded (Knuth's two-sum): their sum is that of the losses."""
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
    """What lies between the losses of each pair, and which is the smaller one."""
    cdef Py_ssize_t i
    for i in range(k):
        n[DIFFERENCE][i] = n[A][i] - n[B][i]
        # Shares of soft targets are added up in the precision of the predictions: these may differ in it.
        d[DIFFERENCE][i] = max(d[A][i], d[B][i])
    where_less(n[A], n[B], d[DIFFERENCE], k, n[A_BETTER])
    where_less(n[B], n[A], d[DIFFERENCE], k, n[B_BETTER])


cdef void where_less(const double* a, const double* b, const double* weight, Py_ssize_t k, double* out) noexcept nogil:
    """The weight where a is less than b, else 0. All is read first: what may not be needed costs less than a branch."""
    cdef Py_ssize_t i
    cdef double x, y, w
    for i in range(k):
        x, y, w = a[i], b[i], weight[i]
        out[i] = w if x < y else 0.0


cdef Py_ssize_t count_losses(Samples a, Samples b, Py_ssize_t i, Ledger sums) except -1 nogil:
    """How many losses of a pair count; what is odd about any is counted here."""
    cdef Py_ssize_t j, k
    cdef Py_ssize_t counted = 0
    cdef int why
    cdef uint8_t one, other
    for j in range(a.start(i), a.start(i + 1)):
        one, other = a.what[j], b.what[j]
        why = cause(one, other)
        if why == PADDING:
            continue
        if why:
            for k in range(N_SUMS):
                sums.increment(COUNTER_OF[why], k, 1)
            continue
        counted += 1
        if one | other:
            count_flags(sums, A, one >> 4)
            count_flags(sums, B, other >> 4)
            for k in range(DIFFERENCE, N_SUMS):
                count_flags(sums, k, (one | other) >> 4)
    return counted


cdef inline int cause(uint8_t one, uint8_t other) noexcept nogil:
    """Why a loss of a pair does not count: the first that applies to either model; or 0."""
    cdef int a = one & 15
    cdef int b = other & 15
    return min(a, b) if a and b else a | b


cdef int check_alike(Samples a, Samples b) except -1:
    """Raises unless both models have the same samples, each with the same number of losses."""
    cdef Py_ssize_t i
    cdef bint alike = a.samples == b.samples and a.start(a.samples) == b.start(b.samples)
    if alike and (a.offsets is not NULL or b.offsets is not NULL):
        for i in range(a.samples):
            alike &= a.start(i) == b.start(i)
    if not alike:
        raise InputError("preds_b", "gives other samples than preds_a", "arguments that are not changed meanwhile")
    return 0


cdef Ledger some_cells(Ledger sums, Py_ssize_t first, Py_ssize_t size):
    """Some cells of a ledger, as one of their own."""
    cdef Ledger found = Ledger(size)
    cdef Py_ssize_t i, from_cell, to_cell
    cdef page* from_page
    cdef page* to_page
    for i in range(size):
        from_cell, to_cell = first + i, i
        from_page = sums.page_of(&from_cell)
        to_page = found.page_of(&to_cell)
        if cell_merge(to_page, to_cell, from_page, from_cell, 1) < 0:
            raise MemoryError
    return found


def left_out(Samples a not None, Samples b not None) -> bytearray | None:
    """A byte per loss, 1 where it is left out of either model; None where that changes no sample's sums."""
    cdef Py_ssize_t j
    check_alike(a, b)
    cdef Py_ssize_t losses = a.start(a.samples)
    cdef bint differ = False
    if a.has_one_loss_each() or not (a.odd or b.odd):
        return None
    found = bytearray(losses)
    cdef uint8_t[::1] mask = found
    for j in range(losses):
        mask[j] = cause(a.what[j], b.what[j]) != 0
        differ |= (a.what[j] & 15 != 0) != (b.what[j] & 15 != 0)
    return found if differ else None


def with_causes(Samples samples not None, Samples before not None) -> Samples:
    """The samples, of which more losses were left out than ``before``, with what was odd about those then."""
    check_alike(samples, before)
    memcpy(samples.what, before.what, before.start(before.samples))
    samples.odd = before.odd
    return samples
