from libc.stdint cimport int64_t, uint64_t


cdef extern from "sums.h":
    ctypedef struct sums:
        int base
        int width
        Py_ssize_t size
        uint64_t* words

cdef enum:
    # What a sample adds to the exact sums: n its loss, d its weight. The sums that hold d keep
    # what they exceed those of weight 1 by, so unweighted streams leave them at 0.
    N, NN, D, ND, DD
    SUMS
    # Counters; the first ten are the infinite terms of the sums, + and -.
    SAMPLES = 10
    COUNT
    IGNORED
    FLOORED
    INFINITE
    UNNORMALISED
    INVALID_NAN
    INVALID_RANGE
    INVALID_ROW_SUM
    INVALID_LABEL
    INVALID_WEIGHT
    INVALID_NULL
    COUNTERS


cdef class Ledger:
    cdef readonly Py_ssize_t size
    cdef sums sum[5]
    cdef int64_t* counter[22]

    cdef int bump(self, int which, Py_ssize_t cell, int64_t by) except -1 nogil
    cdef int add_term(self, int which, Py_ssize_t cell, double v, int sign) except -1 nogil
    cdef int add_terms(
        self, int which, Py_ssize_t cell, const double* v, Py_ssize_t k, int exponent, bint squares, int sign
    ) except -1 nogil
    cdef int add_samples(
        self, Py_ssize_t cell, const double* n, const double* d, Py_ssize_t k, int exponent
    ) except -1 nogil
    cdef int add_sample(self, Py_ssize_t cell, double n, double d) except -1 nogil
    cdef int overflow(self, Ledger other, int sign) noexcept nogil
    cdef bint is_zero(self) noexcept nogil
    cdef int merge_from(self, Ledger other, int sign) except -1 nogil
    cdef object _integer(self, str column, Py_ssize_t cell)
    cdef Ledger twin(self)


cdef class State:
    cdef readonly Ledger total
    cdef readonly Ledger cells

    cdef Ledger cells_of(self, Py_ssize_t size)
    cdef int add(self, Ledger total, Ledger cells, int sign) except -1
