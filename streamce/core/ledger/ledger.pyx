"""The ledger: an array of cells, which hold only integers.

A cell counts samples and anomalies. It keeps five exact sums of the weighted loss n and the weight d of samples: of n,
n², d, nd and d². Adding two ledgers cell by cell is exact, associative and commutative, and subtraction undoes it. A
ledger is therefore an element of a commutative group, as is everything that consists of ledgers.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from streamce.core.kernels.kernels cimport BLOCK, MAX_PARTS, table

from streamce.errors import InputError

# In the order of the enum. The number of a column is the number of its bit in the bytes of a state.
SUM_NAMES = ("n", "nn", "d", "nd", "dd")
COUNTER_NAMES = (
    "n+inf", "n-inf", "nn+inf", "nn-inf", "d+inf", "d-inf", "nd+inf", "nd-inf", "dd+inf", "dd-inf",
    "samples", "count", "ignored", "floored", "infinite", "unnormalised", "invalid_nan",
    "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null",
    "infeasible",
)
NAMES = SUM_NAMES + COUNTER_NAMES

cdef double HUGE = 1.7976931348623157e308
# The largest magnitude of a counter is half the range of its word, so that the sum of two counters fits.
MAX_COUNT = 1 << 62
# A bound of counters that leaves no room for a sample. It also stands for a sum that has no room left.
ALL_FULL = 2**63 - 1
# A sum is below 2^LAST_BIT in units of 2^-1074, because the last window ends with word 254.
LAST_BIT = 64 * 254 + 62
N_SUMS = len(SUM_NAMES)
# Words of the longest sum.
cdef enum:
    LAST_WORDS = 255
# Fewer samples than this are added one by one.
cdef Py_ssize_t MIN_EXACT_BLOCK = 4
# A limit for classes and labels, and for the size that the bytes of a ledger can ask for.
MAX_CELLS = 1 << 24
# Groups lie in pages of 1024 cells, because a ledger of millions of groups grows by one cell at a time. Classes lie in
# pages of 64 cells, so that a ledger of a million classes, few of which were seen, is small. read_cell() needs this.
cdef int GROWING_BITS = 10
cdef int PAGE_BITS = 6


cdef class Ledger:
    def __cinit__(self, Py_ssize_t size=1, bint growing=False, Py_ssize_t size_quantum=0):
        self.size_quantum = size_quantum
        self.bits = GROWING_BITS if growing else 0
        while self.bits < PAGE_BITS and <Py_ssize_t>1 << self.bits < size:
            self.bits += 1
        self.grow(size)

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.n_pages):
            free(self.pages[i].words)
        free(self.pages)

    cdef int grow(self, Py_ssize_t size) except -1:
        """Add cells that are 0. A new page gets the layout of the page before it."""
        cdef Py_ssize_t n_pages = (size + (<Py_ssize_t>1 << self.bits) - 1) >> self.bits
        cdef page* pages
        if size < 0 or n_pages > (<Py_ssize_t>1 << 40):
            raise MemoryError
        if n_pages > self.n_pages:
            pages = <page*>realloc(self.pages, <size_t>n_pages * sizeof(page))
            if pages is NULL:
                raise MemoryError
            self.pages = pages
            memset(pages + self.n_pages, 0, <size_t>(n_pages - self.n_pages) * sizeof(page))
            while self.n_pages < n_pages:
                pages[self.n_pages].cells = <Py_ssize_t>1 << self.bits
                if self.n_pages and page_like(&pages[self.n_pages], &pages[self.n_pages - 1]) < 0:
                    raise MemoryError
                self.allocated_words += pages[self.n_pages].cells * pages[self.n_pages].stride
                self.n_pages += 1
        self.size = size
        return 0

    # ---- adding ----

    cdef int increment(self, int column, Py_ssize_t cell, int64_t by) except -1 nogil:
        cdef page* p = self.page_of(&cell)
        if counter_add(p, cell, column, by) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef int add_term(self, int column, Py_ssize_t cell, double v, int sign) except -1 nogil:
        cdef page* p
        if v != v:  # a sample with +inf and -inf has the sum nan
            self.increment(INFINITE_TERMS + 2 * column, cell, sign)
            return self.increment(INFINITE_TERMS + 2 * column + 1, cell, sign)
        if v > HUGE or v < -HUGE:
            return self.increment(INFINITE_TERMS + 2 * column + (v < 0), cell, sign)
        p = self.page_of(&cell)
        if sum_add_double(p, cell, column, v, sign) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef int add_terms(
        self, int column, Py_ssize_t cell, const double* v, Py_ssize_t k, int exponent, bint squares, int sign
    ) except -1 nogil:
        """Add k <= BLOCK terms, or their squares, to a sum of a cell. ``exponent`` is the largest one of v."""
        cdef int64_t[MAX_PARTS] part
        cdef int[MAX_PARTS] bit
        cdef int i, parts
        cdef page* p
        if squares:
            parts = table().exact_squares(v, k, exponent, part, bit)
        else:
            parts = table().exact_sum(v, k, exponent, part, bit)
        if parts < 0:  # a term is above 2^1000, infinite or nan
            for i in range(<int>k):
                self.add_term(column, cell, v[i] * v[i] if squares else v[i], sign)
        p = self.page_of(&cell)
        for i in range(parts):
            if part[i] and sum_add(p, cell, column, bit[i], part[i] if sign > 0 else -part[i]) < 0:
                with gil:
                    raise MemoryError
        return 0

    cdef int add_samples(
        self, Py_ssize_t cell, const double* n, const double* d, Py_ssize_t k, int exponent, int sign
    ) except -1 nogil:
        """Add k <= BLOCK samples to a cell, or subtract them if ``sign`` is -1.

        If d is NULL, every weight is 1. ``exponent`` is at least the largest one of n.
        """
        cdef double[BLOCK] product
        cdef Py_ssize_t i
        cdef int d_exponent
        if k < MIN_EXACT_BLOCK:
            for i in range(k):
                self.add_sample(cell, n[i], d[i] if d is not NULL else 1.0, sign)
            return 0
        self.increment(SAMPLES, cell, sign * k)
        self.add_terms(N, cell, n, k, exponent, False, sign)
        self.add_terms(NN, cell, n, k, exponent, True, sign)
        if d is NULL or table().all_within(d, k, 1.0, 1.0):
            return 0
        d_exponent = table().largest_exponent(d, k)
        self.add_terms(D, cell, d, k, d_exponent, False, sign)
        self.add_terms(DD, cell, d, k, d_exponent, True, sign)
        self.add_terms(ND, cell, n, k, exponent, False, -sign)
        for i in range(k):
            product[i] = n[i] * d[i] if n[i] != 0 and d[i] != 0 else 0.0  # 0 * inf is 0
        self.add_terms(ND, cell, product, k, table().largest_exponent(product, k), False, sign)
        # Subtract the sum for weight 1, which is 2^1074 on the grid.
        cdef page* p = self.page_of(&cell)
        if sum_add(p, cell, D, 1074, -sign * k) < 0 or sum_add(p, cell, DD, 1074, -sign * k) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef int add_sample(self, Py_ssize_t cell, double n, double d, int sign) except -1 nogil:
        """Add one sample to a cell, or subtract it if ``sign`` is -1."""
        self.increment(SAMPLES, cell, sign)
        self.add_term(N, cell, n, sign)
        self.add_term(NN, cell, n * n, sign)
        if d != 1:
            self.add_term(D, cell, d, sign)
            self.add_term(D, cell, 1, -sign)
            self.add_term(ND, cell, n * d if n != 0 and d != 0 else 0.0, sign)
            self.add_term(ND, cell, n, -sign)
            self.add_term(DD, cell, d * d, sign)
            self.add_term(DD, cell, 1, -sign)
        return 0

    cdef int add_pair(self, Py_ssize_t cell, double n, double d) except -1 nogil:
        """Add n and d of one sample to a cell, but not their products, because a mean needs no products."""
        self.increment(SAMPLES, cell, 1)
        self.add_term(N, cell, n, 1)
        if d != 1:
            self.add_term(D, cell, d, 1)
            self.add_term(D, cell, 1, -1)
        return 0

    cdef int overflow(self, Ledger other, int sign) noexcept nogil:
        """Return the first column that self + sign * other takes out of its range, or -1."""
        cdef Py_ssize_t ours, theirs
        cdef Py_ssize_t number = -1
        cdef page* to
        cdef page* source
        cdef page empty
        cdef int column
        memset(&empty, 0, sizeof(page))
        while other.next_cell(&number):
            ours = theirs = number
            source = other.page_of(&theirs)
            to = self.page_of(&ours) if number < self.size else &empty
            column = cell_overflow(to, ours, source, theirs, sign, MAX_COUNT)
            if column >= 0:
                return column
        return -1

    cdef int64_t bound(self) noexcept nogil:
        """Return the largest magnitude of a counter, or ALL_FULL if samples can take a sum out of its range."""
        cdef Py_ssize_t number, cell
        cdef int64_t largest = 0
        cdef page* p
        for number in range(self.size):
            cell = number
            p = self.page_of(&cell)
            largest = max(largest, cell_bound(p, cell))
        return largest

    cdef bint is_zero(self) noexcept nogil:
        cdef Py_ssize_t i, cell
        for i in range(self.n_pages):
            for cell in range(self.pages[i].cells):
                if not cell_is_zero(&self.pages[i], cell):
                    return False
        return True

    cdef int merge_from(self, Ledger other, int sign) except -1 nogil:
        """Add sign * other cell by cell. The ledger must have as many cells, and no integer may leave its range."""
        cdef Py_ssize_t ours, theirs
        cdef Py_ssize_t number = -1
        cdef page* to
        cdef page* source
        while other.next_cell(&number):
            ours = theirs = number
            to, source = self.page_of(&ours), other.page_of(&theirs)
            if cell_merge(to, ours, source, theirs, sign) < 0:
                with gil:
                    raise MemoryError
        return 0

    cdef int add_cell(self, Py_ssize_t cell, Ledger source, Py_ssize_t source_cell) except -1 nogil:
        """Add a cell of another ledger to a cell. No integer may leave its range."""
        cdef page* to = self.page_of(&cell)
        cdef page* from_ = source.page_of(&source_cell)
        if cell_merge(to, cell, from_, source_cell, 1) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef Ledger copy(self):
        cdef Ledger new = Ledger.__new__(Ledger, 0, False, self.size_quantum)
        cdef Py_ssize_t i
        new.bits = self.bits
        new.grow(self.size)
        for i in range(self.n_pages):
            if page_copy(&new.pages[i], &self.pages[i]) < 0:
                raise MemoryError
        return new

    # ---- reading ----

    def integer(self, str column, Py_ssize_t cell=0) -> int:
        """Return one integer of a cell. The unit of exact sums is 2^-1074."""
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        return self.value(NAMES.index(column), cell)

    cdef object value(self, int column, Py_ssize_t cell):
        cdef const uint64_t* words = NULL
        cdef int first = 0, width
        cdef page* p = self.page_of(&cell)
        width = cell_needs(p, cell, column, &words, &first)
        if not width:
            return 0
        value = <int64_t>words[width - 1]  # the sign is in the top word
        while width > 1:
            width -= 1
            value = value << 64 | words[width - 1]
        return value << (64 * first)

    def cell(self, Py_ssize_t cell=0) -> dict[str, int]:
        """Return the integers of a cell that are not 0, by column."""
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        integers = {}
        for column in range(COLUMNS):
            value = self.value(column, cell)
            if value:
                integers[NAMES[column]] = value
        return integers

    def at(self, Py_ssize_t cell) -> Ledger:
        """Return a copy of one cell as a ledger."""
        cdef Ledger one = Ledger(1, False, 1)
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        one.add_cell(0, self, cell)
        return one

    def used(self) -> list[int]:
        """Return the numbers of the cells that are not 0, in order."""
        cdef Py_ssize_t number, cell
        cdef page* p
        numbers = []
        for number in range(self.n_pages):
            p = &self.pages[number]
            if p.stride:  # else all its cells are 0
                for cell in range(p.cells):
                    if not cell_is_zero(p, cell):
                        numbers.append((number << self.bits) + cell)
        return numbers

    def column(self, str name) -> dict[int, int]:
        """Return the integers of a column that are not 0, by cell."""
        cdef int i = NAMES.index(name)
        return {cell: value for cell in self.used() if (value := self.value(i, cell))}

    def columns(self) -> dict[str, dict[int, int]]:
        """Return all integers that are not 0, by column and cell."""
        columns = {name: {} for name in NAMES}
        for number in self.used():
            for name, value in self.cell(number).items():
                columns[name][number] = value
        return {name: cells for name, cells in columns.items() if cells}

    def add_integer(self, str column, Py_ssize_t cell, value: int):
        """Add an integer to a column of a cell, or raise an OverflowError. The unit of exact sums is 2^-1074."""
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        cdef int i = NAMES.index(column)
        total = self.value(i, cell) + value
        if not (-MAX_COUNT <= total <= MAX_COUNT if i >= N_SUMS else -(1 << LAST_BIT) <= total < 1 << LAST_BIT):
            raise OverflowError(f"{column} would be beyond {range_of(i)}")
        if i >= N_SUMS:
            self.increment(i, cell, value)
            return
        cdef page* p = self.page_of(&cell)
        cdef uint64_t[LAST_WORDS] words
        cdef int k
        cdef int first = 0
        cdef int width = LAST_WORDS
        for k in range(LAST_WORDS):
            words[k] = value >> (64 * k) & 0xFFFFFFFFFFFFFFFF
        while width > 1 and words[width - 1] == (0 if not words[width - 2] >> 63 else <uint64_t>-1):
            width -= 1
        while first < width - 1 and words[first] == 0:
            first += 1
        if sum_add_words(p, cell, i, words + first, first, width - first, 1) < 0:
            raise MemoryError

    # ---- bytes ----

    def to_bytes(self) -> bytes:
        """Return the bytes of the cells that are not 0. docs/FORMAT.md describes them."""
        cdef Py_ssize_t number, cell, size = 0, count = 0, last = 0
        cdef page* p
        for number in range(self.size):
            cell = number
            p = self.page_of(&cell)
            if not cell_is_zero(p, cell):
                size += 8 + <Py_ssize_t>cell_write(p, cell, NULL)
                count += 1
                last = number
        cdef bytes data = PyBytes_FromStringAndSize(NULL, 16 + size)
        cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(data)
        if self.size_quantum:
            out = put_u64(out, (last // self.size_quantum + 1) * self.size_quantum)
        else:
            out = put_u64(out, self.size)
        out = put_u64(out, count)
        for number in range(self.size):
            cell = number
            p = self.page_of(&cell)
            if not cell_is_zero(p, cell):
                out = put_u64(out, number)
                out += cell_write(p, cell, out)
        return data

    @staticmethod
    def from_bytes(const uint8_t[::1] data, Py_ssize_t size_quantum=0):
        """Return the ledger whose ``to_bytes()`` is given. Raise a ValueError if it is malformed."""
        cdef Py_ssize_t size, count, number, at = 16
        cdef Py_ssize_t room = data.shape[0]
        if room < at:
            raise ValueError("a ledger is cut short")
        size, count = get_u64(&data[0]), get_u64(&data[8])
        if not (0 < size <= MAX_CELLS and 0 <= count <= size):
            raise ValueError(f"a ledger of {size} cells, of which {count} are not 0")
        cdef Ledger ledger = Ledger(size, False, size_quantum)
        for _ in range(count):
            number = get_u64(&data[at]) if room - at > 8 else -1
            if not 0 <= number < size:
                raise ValueError("a cell beyond the ledger")
            at += 8
            at += ledger.read_cell(number, &data[at], room - at, room)
        if at != room:
            raise ValueError("a ledger ends before its bytes do")
        return ledger

    cdef Py_ssize_t read_cell(self, Py_ssize_t cell, const uint8_t* data, Py_ssize_t size, Py_ssize_t all) except -1:
        """Add integers from bytes to a cell. Return how many bytes were read, of ``all`` bytes of the input."""
        cdef page* p = self.page_of(&cell)
        cdef Py_ssize_t before = p.cells * p.stride
        cdef Py_ssize_t read = cell_read(p, cell, data, size, MAX_COUNT)
        if read == -1:
            raise MemoryError
        if read == -2:
            raise ValueError("an integer of a cell is out of its range")
        if read == 0:
            raise ValueError("a cell is cut short or no integers")
        self.allocated_words += p.cells * p.stride - before
        # An outlier widens a page for all of its cells, so memory can exceed the bytes. The limit stops crafted bytes
        # that ask for much more. It never stops pages of one cell, which need less than 13 words per byte.
        if self.allocated_words > (1 << 21) + 16 * all:
            raise ValueError("it asks for far more memory than it has bytes")
        return read


cdef uint8_t* put_u64(uint8_t* out, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        out[i] = <uint8_t>(value >> 8 * i)
    return out + 8


cdef uint64_t get_u64(const uint8_t* data) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value |= <uint64_t>data[i] << 8 * i
    return value


def range_of(int column) -> str:
    """Return the limit of a column's integers as text. The limit of a sum is in nats."""
    return f"2^{62 if column >= N_SUMS else LAST_BIT - 1074}"


def beyond(int column, str argument="other") -> InputError:
    """Return the error for an addition that would take a column out of its range."""
    found = f"would be beyond {range_of(column)}, the most that a state holds: nothing was added"
    return InputError(argument, found, location=NAMES[column])


def mixed_clusters() -> InputError:
    """Return the error for adding clustered and unclustered samples."""
    return InputError(
        "cluster",
        "the samples of one metric come in clusters and those of the other do not: "
        "together they have no standard error",
        location="",
    )
