"""The ledger: an array of cells, each of which holds nothing but integers.

A cell counts samples and odd inputs, and keeps five exact sums of a sample's loss n and weight
d: n, n², d, nd and d². Adding two ledgers cell by cell is exact, associative, commutative and
can be undone: a ledger is an element of a commutative group, and so is all that is built of it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from streamce.core.kernels.kernels cimport BLOCK, MAX_PARTS, table

from streamce.errors import InputError

# In the order of the enum: a column's number is that of its bit in state bytes.
SUM_NAMES = ("n", "nn", "d", "nd", "dd")
COUNTER_NAMES = (
    "n+inf", "n-inf", "nn+inf", "nn-inf", "d+inf", "d-inf", "nd+inf", "nd-inf", "dd+inf", "dd-inf",
    "samples", "count", "ignored", "floored", "infinite", "unnormalised", "invalid_nan",
    "invalid_range", "invalid_row_sum", "invalid_label", "invalid_weight", "invalid_null",
    "infeasible",
)
NAMES = SUM_NAMES + COUNTER_NAMES

cdef double HUGE = 1.7976931348623157e308
# The largest magnitude of a counter: half the range of its word, so that two of them add up within it.
MAX_COUNT = 1 << 62
# A bound that leaves no room for a sample, also if only a sum has no room left.
ALL_FULL = 2**63 - 1
# Of a sum: what a window that ends with word 254 holds.
LAST_BIT = 64 * 254 + 62
N_SUMS = len(SUM_NAMES)
# Words from the grid to the end of the last window.
cdef enum:
    LAST_WORDS = 255
# Fewer samples than this are added one by one.
cdef Py_ssize_t MIN_EXACT_BLOCK = 4
# Of classes or labels, and of any ledger that is read, whatever its bytes ask for.
MAX_CELLS = 1 << 24
# Pages of 1024 cells: a ledger of millions of groups grows by one at a time. Of 64 where the cells are classes:
# one of a million classes of which few were seen takes little; what read_cell() allows rests on it.
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
        for i in range(self.many):
            free(self.pages[i].words)
        free(self.pages)

    cdef int grow(self, Py_ssize_t size) except -1:
        """Makes room for more cells, all 0; a new page begins with the layout of the one before."""
        cdef Py_ssize_t many = (size + (<Py_ssize_t>1 << self.bits) - 1) >> self.bits
        cdef page* pages
        if size < 0 or many > (<Py_ssize_t>1 << 40):
            raise MemoryError
        if many > self.many:
            pages = <page*>realloc(self.pages, <size_t>many * sizeof(page))
            if pages is NULL:
                raise MemoryError
            self.pages = pages
            memset(pages + self.many, 0, <size_t>(many - self.many) * sizeof(page))
            while self.many < many:
                pages[self.many].cells = <Py_ssize_t>1 << self.bits
                if self.many and page_like(&pages[self.many], &pages[self.many - 1]) < 0:
                    raise MemoryError
                self.allocated_words += pages[self.many].cells * pages[self.many].stride
                self.many += 1
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
        if v != v:  # what +inf and -inf within one sample add up to
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
        """Adds k <= BLOCK terms, or their squares, to a sum of a cell; `exponent` is v's largest."""
        cdef int64_t[MAX_PARTS] part
        cdef int[MAX_PARTS] bit
        cdef int i, parts
        cdef page* p
        if squares:
            parts = table().exact_squares(v, k, exponent, part, bit)
        else:
            parts = table().exact_sum(v, k, exponent, part, bit)
        if parts < 0:  # a term beyond 2^1000, or infinite
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
        """Adds k <= BLOCK samples to a cell, or with sign -1 takes them away; d NULL: every weight is 1.
        `exponent` is n's largest, or more."""
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
        # Less k samples of weight 1, which is 2^1074 on the grid.
        cdef page* p = self.page_of(&cell)
        if sum_add(p, cell, D, 1074, -sign * k) < 0 or sum_add(p, cell, DD, 1074, -sign * k) < 0:
            with gil:
                raise MemoryError
        return 0

    cdef int add_sample(self, Py_ssize_t cell, double n, double d, int sign) except -1 nogil:
        """Adds one sample to a cell, or with sign -1 takes it away."""
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
        """Adds one sample's n and d to a cell, which is all that a mean needs."""
        self.increment(SAMPLES, cell, 1)
        self.add_term(N, cell, n, 1)
        if d != 1:
            self.add_term(D, cell, d, 1)
            self.add_term(D, cell, 1, -1)
        return 0

    cdef int overflow(self, Ledger other, int sign) noexcept nogil:
        """The column that self + sign * other takes out of its range, or -1."""
        cdef Py_ssize_t number, ours, theirs
        cdef page* to
        cdef page* source
        cdef page nothing
        cdef int found
        memset(&nothing, 0, sizeof(page))
        for number in range(other.size):
            ours = theirs = number
            source = other.page_of(&theirs)
            if source.stride == 0:  # nothing was ever added to it
                continue
            to = self.page_of(&ours) if number < self.size else &nothing
            found = cell_overflow(to, ours, source, theirs, sign, MAX_COUNT)
            if found >= 0:
                return found
        return -1

    cdef int64_t bound(self) noexcept nogil:
        """The largest magnitude of a counter, or ALL_FULL if more samples may take a sum out of its range."""
        cdef Py_ssize_t number, cell
        cdef int64_t most = 0
        cdef page* p
        for number in range(self.size):
            cell = number
            p = self.page_of(&cell)
            most = max(most, cell_bound(p, cell))
        return most

    cdef bint is_zero(self) noexcept nogil:
        cdef Py_ssize_t i, cell
        for i in range(self.many):
            for cell in range(self.pages[i].cells):
                if not cell_is_zero(&self.pages[i], cell):
                    return False
        return True

    cdef int merge_from(self, Ledger other, int sign) except -1 nogil:
        """self += sign * other, cell by cell; it has as many cells and no counter overflows."""
        cdef Py_ssize_t number, ours, theirs
        cdef page* to
        cdef page* source
        for number in range(other.size):
            ours = theirs = number
            to, source = self.page_of(&ours), other.page_of(&theirs)
            if source.stride == 0:
                continue
            if cell_merge(to, ours, source, theirs, sign) < 0:
                with gil:
                    raise MemoryError
        return 0

    cdef Ledger copy(self):
        cdef Ledger new = Ledger.__new__(Ledger, 0, False, self.size_quantum)
        cdef Py_ssize_t i
        new.bits = self.bits
        new.grow(self.size)
        for i in range(self.many):
            if page_copy(&new.pages[i], &self.pages[i]) < 0:
                raise MemoryError
        return new

    # ---- reading ----

    def integer(self, str column, Py_ssize_t cell=0) -> int:
        """One integer of a cell; exact sums in units of 2^-1074."""
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
        found = <int64_t>words[width - 1]  # the sign is in the top word
        while width > 1:
            width -= 1
            found = found << 64 | words[width - 1]
        return found << (64 * first)

    def cell(self, Py_ssize_t cell=0) -> dict[str, int]:
        """The integers of a cell that are not 0, by column."""
        if not 0 <= cell < self.size:
            raise IndexError(cell)
        found = {}
        for column in range(COLUMNS):
            value = self.value(column, cell)
            if value:
                found[NAMES[column]] = value
        return found

    def means(self) -> list[float | None]:
        """The mean loss of each cell; None for those that are not of finite samples of weight 1."""
        cdef Py_ssize_t number, cell
        cdef double mean = 0
        cdef page* p
        found = []
        for number in range(self.size):
            cell = number
            p = self.page_of(&cell)
            found.append(mean if cell_mean(p, cell, &mean) else None)
        return found

    def column(self, str name) -> dict[int, int]:
        """The integers of a column that are not 0, by cell."""
        cdef int i = NAMES.index(name)
        return {cell: value for cell in range(self.size) if (value := self.value(i, cell))}

    def columns(self) -> dict[str, dict[int, int]]:
        """Every integer that is not 0, by column and cell."""
        return {name: cells for name in NAMES if (cells := self.column(name))}

    def add_integer(self, str column, Py_ssize_t cell, value: int):
        """Add an integer to a column of a cell; sums in units of 2^-1074. OverflowError beyond the column's range."""
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
        """The cells that are not 0, as docs/FORMAT.md has them."""
        cdef Py_ssize_t number, cell, size = 0, count = 0, last = 0
        cdef page* p
        for number in range(self.size):
            cell = number
            p = self.page_of(&cell)
            if not cell_is_zero(p, cell):
                size += 8 + <Py_ssize_t>cell_write(p, cell, NULL)
                count += 1
                last = number
        cdef bytes found = PyBytes_FromStringAndSize(NULL, 16 + size)
        cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(found)
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
        return found

    @staticmethod
    def from_bytes(const uint8_t[::1] data, Py_ssize_t size_quantum=0):
        """The ledger that ``to_bytes()`` gave; ValueError if that makes no sense."""
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
        """Adds what bytes hold to a cell; returns how many they are, of `all` bytes that are read in all."""
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
        # An outlier widens a page for all of its cells, but crafted bytes get no more than a few times that.
        # A page of one cell asks for less than 13 words per byte.
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
    """The limit of a column's integers, in words; that of a sum is in nats."""
    return f"2^{62 if column >= N_SUMS else LAST_BIT - 1074}"


def beyond(int column, str argument="other") -> InputError:
    """The error for an addition that would take a column out of its range."""
    found = f"would be beyond {range_of(column)}, the most that a state holds: nothing was added"
    return InputError(argument, found, location=NAMES[column])


def mixed_clusters() -> InputError:
    """The error for adding samples in clusters to samples in none, or the other way round."""
    return InputError(
        "cluster",
        "the samples of one metric come in clusters and those of the other do not: "
        "together they have no standard error",
        location="",
    )
