from libc.stdint cimport int64_t, uint32_t, uint64_t

from streamce.core.ledger.ledger cimport Ledger


cpdef enum:
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


# The sums of the rows of one group: those with one likeliest class and one bin of confidence.
ctypedef struct share_sums:
    Py_ssize_t rows        # since the last flush, at most SHARE_ROWS
    int64_t* high          # the parts of the sum of each class: see shares.h
    int64_t* low
    uint32_t* hits         # how often each class occurred


# Rows of a block whose probabilities are summed by class.
ctypedef struct kept_rows:
    const void* x          # floats or doubles, `classes` of each row
    Py_ssize_t classes
    bint is_float32
    bint logs              # x are logits or log-probabilities
    const double* largest  # of each row
    const double* factor   # weight / sum of the row's probabilities
    const int64_t* label


cdef class ClassShares:
    cdef Py_ssize_t lanes
    cdef share_sums** groups

    cdef bint add_rows(
        self, Py_ssize_t group, const kept_rows* rows, const Py_ssize_t* order, Py_ssize_t n, Ledger to
    ) except -1 nogil
    cdef int flush(self, Ledger to) except -1 nogil
    cdef int reserve(self, ClassShares other) except -1
    cdef int merge_from(self, ClassShares other, Ledger to) except -1 nogil
    cdef int flush_group(self, Py_ssize_t group, Ledger to) except -1 nogil
    cdef share_sums* sums_of(self, Py_ssize_t group) except NULL nogil


cdef Py_ssize_t cell_of(Py_ssize_t group, Py_ssize_t c) noexcept nogil
cdef Py_ssize_t lanes_of(Py_ssize_t classes) noexcept nogil
