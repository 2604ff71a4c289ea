"""The ledger: an array of cells, each of which holds nothing but integers.

A cell counts samples and odd inputs, and keeps five exact sums of a sample's loss n and weight
d: n, n², d, nd and d². Adding two ledgers cell by cell is exact, associative, commutative and
can be undone: a ledger is an element of a commutative group, and so is all that is built of it.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from streamce.core.kernels cimport BLOCK, MAX_PARTS, table

from streamce.errors import InputError

cdef extern from "sums.h" nogil:
    int sums_add(sums*, Py_ssize_t, int, int64_t) noexcept
    int sums_add_double(sums*, Py_ssize_t, double, int) noexcept
    int sums_merge(sums*, const sums*, int) noexcept
    int sums_copy(sums*, const sums*) noexcept

# The columns' names in state bytes, in the order of the enum.
SUM_NAMES = ("n", "nn", "d", "nd", "dd")
COUNTER_NAMES = (
    "n+inf", "n-inf", "nn+inf", "nn-inf", "d+inf", "d-inf", "nd+inf", "nd-inf", "dd+inf", "dd-inf",
    "samples", "count", "ignored", "floored", "infinite", "unnormalised", "invalid_nan",
    "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null",
)

cdef double HUGE = 1.7976931348623157e308
# Of a counter, after a merge: half its range, so that no chunk can take it out of it.
cdef int64_t MOST = 1 << 62
# Fewer samples than this are added one by one.
cdef Py_ssize_t FEW = 4


cdef class Ledger:
    def __cinit__(self, Py_ssize_t size=1):
        self.size = size
        for i in range(SUMS):
            self.sum[i].size = size

    def __dealloc__(self):
        for i in range(SUMS):
            free(self.sum[i].words)
        for i in range(COUNTERS):
            free(self.counter[i])

    # ---- adding ----

    cdef int bump(self, int which, Py_ssize_t cell, int64_t by) except -1 nogil:
        if self.counter[which] is NULL:
            if by == 0:
                return 0
            self.counter[which] = <int64_t*>calloc(<size_t>self.size, sizeof(int64_t))
            if self.counter[which] is NULL:
                with gil:
                    raise MemoryError
        self.counter[which][cell] += by
        return 0

    cdef int add_term(self, int which, Py_ssize_t cell, double v, int sign) except -1 nogil:
        if v != v:  # what +inf and -inf within one sample add up to
            self.bump(2 * which, cell, sign)
            return self.bump(2 * which + 1, cell, sign)
        if v > HUGE or v < -HUGE:
            return self.bump(2 * which + (v < 0), cell, sign)
        if sums_add_double(&self.sum[which], cell, v, sign) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef int add_terms(
        self, int which, Py_ssize_t cell, const double* v, Py_ssize_t k, int exponent, bint squares, int sign
    ) except -1 nogil:
        """Adds k <= BLOCK terms, or their squares, to a sum of a cell; `exponent` is v's largest."""
        cdef int64_t[MAX_PARTS] part
        cdef int[MAX_PARTS] bit
        cdef int i, parts
        if squares:
            parts = table().exact_squares(v, k, exponent, part, bit)
        else:
            parts = table().exact_sum(v, k, exponent, part, bit)
        if parts < 0:  # a term beyond 2^1000, or infinite
            for i in range(<int>k):
                self.add_term(which, cell, v[i] * v[i] if squares else v[i], sign)
        for i in range(parts):
            if part[i] and sums_add(&self.sum[which], cell, bit[i], part[i] if sign > 0 else -part[i]) < 0:
                with gil:
                    raise MemoryError
        return 0

    cdef int add_samples(
        self, Py_ssize_t cell, const double* n, const double* d, Py_ssize_t k, int exponent
    ) except -1 nogil:
        """Adds k <= BLOCK samples to a cell; d NULL: every weight is 1. `exponent` is n's largest, or more."""
        cdef double[BLOCK] product
        cdef Py_ssize_t i
        cdef int d_exponent
        if k < FEW:
            for i in range(k):
                self.add_sample(cell, n[i], d[i] if d is not NULL else 1.0)
            return 0
        self.bump(SAMPLES, cell, k)
        self.add_terms(N, cell, n, k, exponent, False, 1)
        self.add_terms(NN, cell, n, k, exponent, True, 1)
        if d is NULL or table().all_within(d, k, 1.0, 1.0):
            return 0
        d_exponent = table().largest_exponent(d, k)
        self.add_terms(D, cell, d, k, d_exponent, False, 1)
        self.add_terms(DD, cell, d, k, d_exponent, True, 1)
        self.add_terms(ND, cell, n, k, exponent, False, -1)
        for i in range(k):
            product[i] = n[i] * d[i] if n[i] != 0 and d[i] != 0 else 0.0  # 0 * inf is 0
        self.add_terms(ND, cell, product, k, table().largest_exponent(product, k), False, 1)
        # Less k samples of weight 1, which is 2^1074 on the grid.
        if sums_add(&self.sum[D], cell, 1074, -k) < 0 or sums_add(&self.sum[DD], cell, 1074, -k) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef int add_sample(self, Py_ssize_t cell, double n, double d) except -1 nogil:
        """Adds one sample to a cell."""
        self.bump(SAMPLES, cell, 1)
        self.add_term(N, cell, n, 1)
        self.add_term(NN, cell, n * n, 1)
        if d != 1:
            self.add_term(D, cell, d, 1)
            self.add_term(D, cell, 1, -1)
            self.add_term(ND, cell, n * d if n != 0 and d != 0 else 0.0, 1)
            self.add_term(ND, cell, n, -1)
            self.add_term(DD, cell, d * d, 1)
            self.add_term(DD, cell, 1, -1)
        return 0

    cdef int overflow(self, Ledger other, int sign) noexcept nogil:
        """The counter that self + sign * other takes out of its range, or -1."""
        cdef Py_ssize_t cell
        cdef int64_t ours, theirs
        for i in range(COUNTERS):
            if self.counter[i] is NULL or other.counter[i] is NULL:
                continue
            for cell in range(self.size):
                ours, theirs = self.counter[i][cell], sign * other.counter[i][cell]
                if ours > MOST - theirs if theirs > 0 else ours < -MOST - theirs:
                    return i
        return -1

    cdef bint is_zero(self) noexcept nogil:
        cdef Py_ssize_t j
        for i in range(SUMS):
            for j in range(self.size * self.sum[i].width):
                if self.sum[i].words[j]:
                    return False
        for i in range(COUNTERS):
            if self.counter[i] is not NULL:
                for j in range(self.size):
                    if self.counter[i][j]:
                        return False
        return True

    cdef int merge_from(self, Ledger other, int sign) except -1 nogil:
        """self += sign * other, cell by cell; the sizes are equal and no counter overflows."""
        cdef Py_ssize_t cell
        for i in range(SUMS):
            if sums_merge(&self.sum[i], &other.sum[i], sign) < 0:
                with gil:
                    raise MemoryError
        for i in range(COUNTERS):
            if other.counter[i] is not NULL:
                for cell in range(self.size):
                    self.bump(i, cell, sign * other.counter[i][cell])
        return 0

    cdef Ledger twin(self):
        cdef Ledger new = Ledger(self.size)
        for i in range(SUMS):
            if sums_copy(&new.sum[i], &self.sum[i]) < 0:
                raise MemoryError
        for i in range(COUNTERS):
            if self.counter[i] is not NULL:
                for cell in range(self.size):
                    new.bump(i, cell, self.counter[i][cell])
        return new

    # ---- reading ----

    def integer(self, str column, Py_ssize_t cell=0) -> int:
        """One integer of a cell; exact sums in units of 2^-1074."""
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        return self._integer(column, cell)

    cdef object _integer(self, str column, Py_ssize_t cell):
        cdef sums* s
        cdef Py_ssize_t i
        cdef uint64_t* word
        if column in SUM_NAMES:
            s = &self.sum[<int>SUM_NAMES.index(column)]
            if not s.width:
                return 0
            word = s.words + cell * s.width + s.width - 1
            value = <int64_t>word[0]  # the sign is in the top word
            for _ in range(s.width - 1):
                word -= 1
                value = value << 64 | word[0]
            return value << (64 * s.base)
        i = COUNTER_NAMES.index(column)
        return self.counter[i][cell] if self.counter[i] is not NULL else 0

    def columns(self) -> dict[str, dict[int, int]]:
        """Every integer that is not 0, by column and cell."""
        found = {}
        for i, name in enumerate(SUM_NAMES + COUNTER_NAMES):
            if self.sum[i].width if i < SUMS else self.counter[i - SUMS] is not NULL:
                cells = {cell: value for cell in range(self.size) if (value := self._integer(name, cell))}
                if cells:
                    found[name] = cells
        return found

    def add_integer(self, str column, Py_ssize_t cell, value: int):
        """Add an integer to a column of a cell; sums in units of 2^-1074."""
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        if column not in SUM_NAMES:
            if not -MOST <= value <= MOST:
                raise OverflowError(f"{column} is {value}")
            self.bump(COUNTER_NAMES.index(column), cell, value)
            return
        cdef sums* s = &self.sum[<int>SUM_NAMES.index(column)]
        cdef int bit = 0
        cdef int sign = -1 if value < 0 else 1
        value = abs(value)
        while value:
            if sums_add(s, cell, bit, sign * <int64_t>(value & 0xFFFFFFFF)) < 0:
                raise MemoryError
            value >>= 32
            bit += 32


cdef class State:
    """What a metric holds: a ledger of one cell and, where it sums by class or label, one of many.

    Reading takes a copy first, so that what is read belongs together while others add.
    """

    def __cinit__(self, Ledger total=None, Ledger cells=None):
        self.total = total if total is not None else Ledger(1)
        self.cells = cells

    cdef Ledger cells_of(self, Py_ssize_t size):
        """The ledger of cells; made if there is none yet, or one of another size that is 0."""
        if self.cells is None or (self.cells.size != size and self.cells.is_zero()):
            self.cells = Ledger(size)
        elif self.cells.size != size:
            raise InputError(
                f"a state of {self.cells.size} cells and one of {size} do not add up", argument="other"
            )
        return self.cells

    cdef int add(self, Ledger total, Ledger cells, int sign) except -1:
        """self += sign * (total, cells), or an error and nothing."""
        cdef int full
        cdef Ledger ours = None
        with cython.critical_section(self):
            if cells is not None and not cells.is_zero():
                ours = self.cells_of(cells.size)
            full = self.total.overflow(total, sign)
            if full < 0 and ours is not None:
                full = ours.overflow(cells, sign)
            if full >= 0:
                raise InputError(
                    f"{COUNTER_NAMES[full]} would be beyond 2^62: it is not counted so far", argument="other"
                )
            if ours is not None:
                ours.merge_from(cells, sign)
            self.total.merge_from(total, sign)
        return 0

    def merge(self, State other not None, int sign=1) -> None:
        """Add another state, or with ``sign=-1`` take it away."""
        cdef State theirs = other.copy()
        self.add(theirs.total, theirs.cells, 1 if sign > 0 else -1)

    def copy(self) -> State:
        with cython.critical_section(self):
            return State(self.total.twin(), None if self.cells is None else self.cells.twin())
