"""The samples of two models, pair by pair: sums of either, of what lies between them and of which is better."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from streamce.core.blocks cimport Samples
from streamce.core.kernels cimport fp_enter, fp_leave, table
from streamce.core.ledger cimport BUCKETS, COUNT, Ledger, State, cell_merge, page
from streamce.core.samples cimport COUNTER_OF, add_to_bucket, count_flags

# What a pair adds to, in the order of the enum. All have the weight of the pair: a and b the loss of their model,
# difference that of a less that of b, a_better and b_better the weight itself where theirs is the smaller loss.
NAMES = ("a", "b", "difference", "a_better", "b_better")

cdef enum:
    A, B, DIFFERENCE, A_BETTER, B_BETTER, SUMS
    TOGETHER = 512  # pairs that are worked on at a time, on the stack


def add_pairs(Samples a not None, Samples b not None, const uint8_t[::1] bucket=None) -> list[State]:
    """The states of NAMES for one chunk, of which the two have the same losses left out of their sums.

    ``bucket`` is that of each pair's cluster, if they come in clusters.
    """
    cdef Ledger held = Ledger(SUMS)
    cdef Ledger buckets = Ledger(SUMS * BUCKETS) if bucket is not None else None
    cdef const uint8_t* bucket_of = &bucket[0] if bucket is not None and a.samples else NULL
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t k
    cdef unsigned long long saved
    with nogil:
        saved = fp_enter()
        try:
            while at < a.samples:
                k = min(<Py_ssize_t>TOGETHER, a.samples - at)
                add_some(a, b, at, k, bucket_of, held, buckets)
                at += k
        finally:
            fp_leave(saved)
    return [
        State(some_cells(held, i, 1), None, some_cells(buckets, i * BUCKETS, BUCKETS) if buckets is not None else None)
        for i in range(SUMS)
    ]


cdef int add_some(
    Samples a, Samples b, Py_ssize_t at, Py_ssize_t k, const uint8_t* bucket_of, Ledger held, Ledger buckets
) except -1 nogil:
    """Adds k pairs from the one at ``at`` on."""
    cdef double[SUMS][TOGETHER] n
    cdef double[3][TOGETHER] d
    cdef uint8_t[TOGETHER] bucket
    cdef bint odd = a.odd or b.odd
    cdef Py_ssize_t i, j, some
    cdef Py_ssize_t kept = 0
    cdef Py_ssize_t count = 0
    cdef double* weight
    for i in range(at, at + k):
        some = tally(a, b, i, held) if odd else a.start(i + 1) - a.start(i)
        if some == 0:
            continue
        count += some
        n[A][kept], n[B][kept] = a.n[i], b.n[i]
        d[A][kept] = a.d[i] if a.d is not NULL else 1.0
        d[B][kept] = b.d[i] if b.d is not NULL else 1.0
        # Shares of soft targets are added up in the precision of the predictions: these may differ in it.
        d[DIFFERENCE][kept] = max(d[A][kept], d[B][kept])
        n[DIFFERENCE][kept] = n[A][kept] - n[B][kept]
        n[A_BETTER][kept] = d[DIFFERENCE][kept] if n[A][kept] < n[B][kept] else 0.0
        n[B_BETTER][kept] = d[DIFFERENCE][kept] if n[B][kept] < n[A][kept] else 0.0
        if bucket_of is not NULL:
            bucket[kept] = bucket_of[i]
        kept += 1
    for i in range(SUMS):
        weight = d[min(i, <Py_ssize_t>DIFFERENCE)]
        held.bump(COUNT, i, count)
        held.add_samples(i, n[i], weight, kept, table().largest_exponent(n[i], kept))
        if bucket_of is not NULL:
            for j in range(kept):
                add_to_bucket(buckets, i * BUCKETS + bucket[j], n[i][j], weight[j])
    return 0


cdef Py_ssize_t tally(Samples a, Samples b, Py_ssize_t i, Ledger held) except -1 nogil:
    """How many losses of a pair count; what is odd about any is counted here."""
    cdef Py_ssize_t j, k
    cdef Py_ssize_t counted = 0
    cdef int why
    cdef uint8_t one, other
    for j in range(a.start(i), a.start(i + 1)):
        one, other = a.what[j], b.what[j]
        why = cause(one, other)
        if why:
            for k in range(SUMS):
                held.bump(COUNTER_OF[why], k, 1)
            continue
        counted += 1
        if one | other:
            count_flags(held, A, one >> 4)
            count_flags(held, B, other >> 4)
            for k in range(DIFFERENCE, SUMS):
                count_flags(held, k, (one | other) >> 4)
    return counted


cdef inline int cause(uint8_t one, uint8_t other) noexcept nogil:
    """Why a loss of a pair does not count: the first that applies to either model; or 0."""
    cdef int a = one & 15
    cdef int b = other & 15
    return min(a, b) if a and b else a | b


cdef Ledger some_cells(Ledger held, Py_ssize_t first, Py_ssize_t size):
    """Some cells of a ledger, as one of their own."""
    cdef Ledger found = Ledger(size)
    cdef Py_ssize_t i, from_cell, to_cell
    cdef page* from_page
    cdef page* to_page
    for i in range(size):
        from_cell, to_cell = first + i, i
        from_page = held.page_of(&from_cell)
        to_page = found.page_of(&to_cell)
        if cell_merge(to_page, to_cell, from_page, from_cell, 1) < 0:
            raise MemoryError
    return found


def left_out(Samples a not None, Samples b not None) -> bytearray | None:
    """A byte per loss, 1 where it is left out of either model; None where that changes no sample's sums."""
    cdef Py_ssize_t j
    cdef Py_ssize_t losses = a.start(a.samples)
    cdef bint differ = False
    if a.single() or not (a.odd or b.odd):
        return None
    found = bytearray(losses)
    cdef uint8_t[::1] mask = found
    for j in range(losses):
        mask[j] = cause(a.what[j], b.what[j]) != 0
        differ |= (a.what[j] & 15 != 0) != (b.what[j] & 15 != 0)
    return found if differ else None


def with_causes(Samples samples not None, Samples before not None) -> Samples:
    """The samples, of which more losses were left out than ``before``, with what was odd about those then."""
    memcpy(samples.what, before.what, before.start(before.samples))
    samples.odd = before.odd
    return samples
