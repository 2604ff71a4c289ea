from libc.stdint cimport int64_t

from streamce.core.ledger.ledger cimport Ledger


cdef class State:
    cdef readonly Ledger total
    cdef readonly Ledger cells
    cdef readonly Ledger buckets
    cdef readonly Ledger tail
    cdef readonly Ledger calibration
    # No counter of any ledger is larger. ALL_FULL if a sum may leave its range.
    cdef int64_t bound

    cdef inline bint takes(self, int64_t losses) noexcept:
        """Whether this many more losses of any value leave all integers in range. If so, the bound counts them."""
        if self.bound > (<int64_t>1 << 62) - losses:
            return False
        self.bound += losses
        return True

    cdef void measure(self) noexcept
    cdef Ledger tail_of(self)
    cdef Ledger calibration_of(self, Py_ssize_t size)
    cdef Ledger cells_of(self, Py_ssize_t size, bint growing=*)
    cdef Ledger buckets_of(self, Py_ssize_t size)
    cdef bint mixes_clustering(self, bint clusters) noexcept
    cdef int add(self, State other, int sign) except -1


cpdef enum:
    BUCKETS = 256  # clusters of samples are hashed to so many
    # Bins of losses: 64 for each power of two from 2^-64 to 2^64, and one for what is below and above.
    BINS_BITS = 6
    LEAST = -64
    TAIL = 2 + (128 << 6)
    # Calibration: as many bins of confidence, from 0 to 1. Cells of what is in each bin, of its hits, of the expected
    # loss, of what the loss exceeds it by, of the variance; and from SPLIT on, of the probabilities that the losses in
    # a bin had of each outcome: binary of outcome 0; of rows of up to SPLIT_CLASSES classes by the likeliest class,
    # with the losses in which each class came.
    CONFIDENCE_BINS = 15
    HITS = 15
    EXPECTED = 30
    EXCESS = 31
    VARIANCE = 32
    SPLIT = 33
    SPLIT_CLASSES = 100
