from libc.stdint cimport int64_t

from streamce.core.ledger.ledger cimport Ledger


cdef class State:
    cdef readonly Ledger total
    cdef readonly Ledger cells
    cdef readonly Ledger buckets
    cdef readonly Ledger tail
    cdef readonly Ledger calibration
    # At least the largest counter of all ledgers. ALL_FULL if a sum can leave its range.
    cdef int64_t bound

    cdef inline bint takes(self, int64_t losses) noexcept:
        """Return whether ``losses`` losses of any value leave all integers in range. If so, add them to the bound."""
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
    cdef bint has_samples(self) noexcept
    cdef int add(self, State other, int sign) except -1


cpdef enum:
    BUCKETS = 256  # of clusters
    # Bins of losses: 64 for each power of two from 2^-64 to 2^64, one for smaller and one for larger losses.
    BINS_BITS = 6
    MIN_EXPONENT = -64
    TAIL = 2 + (128 << 6)
    # Calibration has CONFIDENCE_BINS bins of confidence, from 0 to 1. It has cells for the confidence in each bin, for
    # the hits in each bin (from HITS), for the expected loss, for the excess of the loss over it, and for the variance.
    # The cells from SPLIT hold the predicted probabilities of other outcomes by bin. Binary and multilabel metrics have
    # those of outcome 0. Multiclass metrics of up to SPLIT_CLASSES classes have those of each class, by the likeliest
    # class, and count how often each class occurred.
    CONFIDENCE_BINS = 15
    HITS = 15
    EXPECTED = 30
    EXCESS = 31
    VARIANCE = 32
    SPLIT = 33
    SPLIT_CLASSES = 100
