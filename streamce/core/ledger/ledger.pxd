from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t


cdef extern from "cells.h" nogil:
    enum:
        COLUMNS
    ctypedef struct page:
        uint64_t* words
        Py_ssize_t cells
        int stride
        uint16_t at[28]
        uint8_t width[28]
        uint8_t base[5]
    int page_like(page*, const page*) noexcept
    int page_copy(page*, const page*) noexcept
    int counter_add(page*, Py_ssize_t, int, int64_t) noexcept
    int sum_add(page*, Py_ssize_t, int, int, int64_t) noexcept
    int sum_add_words(page*, Py_ssize_t, int, const uint64_t*, int, int, int) noexcept
    int sum_add_double(page*, Py_ssize_t, int, double, int) noexcept
    int cell_add_sample(page*, Py_ssize_t, double, double, int64_t) noexcept
    int cell_merge(page*, Py_ssize_t, const page*, Py_ssize_t, int) noexcept
    bint cell_is_zero(const page*, Py_ssize_t) noexcept
    int cell_overflow(const page*, Py_ssize_t, const page*, Py_ssize_t, int, int64_t) noexcept
    int64_t cell_bound(const page*, Py_ssize_t) noexcept
    int64_t counter_of(const page*, Py_ssize_t, int) noexcept
    int cell_needs(const page*, Py_ssize_t, int, const uint64_t**, int*) noexcept
    size_t cell_write(const page*, Py_ssize_t, uint8_t*) noexcept
    Py_ssize_t cell_read(page*, Py_ssize_t, const uint8_t*, Py_ssize_t, int64_t) noexcept

cdef enum:
    # Exact sums of n, n^2, d, n d and d^2, where n is the weighted loss of a sample and d its weight. The sums with d
    # hold the excess over the sum for weight 1, so they are 0 in a stream without weights.
    N, NN, D, ND, DD
    # Counters. The first ten count the infinite terms of the sums, separately for +inf and -inf.
    INFINITE_TERMS = 5
    SAMPLES = 15
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
    INFEASIBLE


cdef class Ledger:
    cdef readonly Py_ssize_t size
    cdef page* pages
    cdef Py_ssize_t n_pages
    cdef int bits  # a page has 2^bits cells
    cdef Py_ssize_t allocated_words  # of all pages while bytes are read
    # The bytes give the size up to the last cell that is not 0, as a multiple of this. 0: they give the actual size.
    cdef Py_ssize_t size_quantum

    cdef inline page* page_of(self, Py_ssize_t* cell) noexcept nogil:
        """Return the page of a cell, and replace the number of the cell by that within the page."""
        cdef Py_ssize_t number = cell[0]
        cell[0] = number & ((<Py_ssize_t>1 << self.bits) - 1)
        return &self.pages[number >> self.bits]

    cdef inline bint next_cell(self, Py_ssize_t* number) noexcept nogil:
        """Replace the number of a cell by that of the next one whose page is used. Return False after the last."""
        cdef Py_ssize_t next = number[0] + 1
        while next < self.size and self.pages[next >> self.bits].stride == 0:  # all cells of the page are 0
            next = ((next >> self.bits) + 1) << self.bits
        number[0] = next
        return next < self.size

    cdef int grow(self, Py_ssize_t size) except -1
    cdef int increment(self, int column, Py_ssize_t cell, int64_t by) except -1 nogil
    cdef int add_term(self, int column, Py_ssize_t cell, double v, int sign) except -1 nogil
    cdef int add_terms(
        self, int column, Py_ssize_t cell, const double* v, Py_ssize_t k, int exponent, bint squares, int sign
    ) except -1 nogil
    cdef int add_samples(
        self, Py_ssize_t cell, const double* n, const double* d, Py_ssize_t k, int exponent, int sign
    ) except -1 nogil
    cdef int add_sample(self, Py_ssize_t cell, double n, double d, int sign) except -1 nogil
    cdef int add_pair(self, Py_ssize_t cell, double n, double d) except -1 nogil

    cdef inline int add_unit_sample(self, Py_ssize_t cell, double n, Py_ssize_t losses) except -1:
        """Add one sample of weight 1, and count its losses."""
        cdef double square = n * n
        cdef Py_ssize_t at = cell
        cdef page* p = self.page_of(&at)
        if square <= 1.7976931348623157e308:
            if cell_add_sample(p, at, n, square, losses) < 0:
                raise MemoryError
            return 0
        self.increment(COUNT, cell, losses)
        return self.add_sample(cell, n, 1.0, 1)

    cdef int overflow(self, Ledger other, int sign) noexcept nogil
    cdef int64_t bound(self) noexcept nogil
    cdef bint is_zero(self) noexcept nogil
    cdef int merge_from(self, Ledger other, int sign) except -1 nogil
    cdef int add_cell(self, Py_ssize_t cell, Ledger source, Py_ssize_t source_cell) except -1 nogil
    cdef object value(self, int column, Py_ssize_t cell)
    cdef Py_ssize_t read_cell(self, Py_ssize_t cell, const uint8_t* data, Py_ssize_t size, Py_ssize_t all) except -1
    cdef Ledger copy(self)


cdef int64_t MAX_COUNT, ALL_FULL
cdef Py_ssize_t MAX_CELLS


cdef inline int64_t joint(int64_t one, int64_t other) noexcept nogil:
    """Return a bound for sums of two counters, or ALL_FULL if the bound must be computed from the counters."""
    return ALL_FULL if one > MAX_COUNT or other > MAX_COUNT - one else one + other


cdef uint8_t* put_u64(uint8_t* out, uint64_t value) noexcept nogil
cdef uint64_t get_u64(const uint8_t* data) noexcept nogil
