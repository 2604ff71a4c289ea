from libc.stdint cimport int64_t

from streamce.core.ledger.calibration_cells cimport ClassShares
from streamce.core.ledger.ledger cimport Ledger


cdef class State:
    cdef readonly Ledger total
    cdef readonly Ledger cells
    cdef readonly Ledger buckets
    cdef readonly Ledger tail
    cdef Ledger calibration_sums  # without those that are still in `shares`
    cdef ClassShares shares
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
    cdef ClassShares shares_of(self, Py_ssize_t lanes)
    cdef int settle(self) except -1
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
