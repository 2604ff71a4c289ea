"""The last rows of a stream, and their sum.

A row is a sample: its weighted loss n, its weight d, and the counters of its losses. A new row is added to the sum, and
the row that it evicts is subtracted. Both are exact, so the sum always equals that of the rows in the window. The cost
of an update does not depend on the size of the window.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from streamce.core.kernels.kernels cimport BLOCK, fp_enter, fp_leave, table
from streamce.core.ledger.ledger cimport ALL_FULL, COUNT, MAX_COUNT, Ledger, get_u64, joint, put_u64
from streamce.core.samples.samples cimport N_COUNTERS, Samples, count_losses

from streamce.core.ledger.ledger import beyond

cdef enum:
    ROW = 24     # bytes of a row in a state
    ODDITY = 17  # bytes of an anomaly in a state


cdef class Window:
    def __cinit__(self, Py_ssize_t max_rows):
        self.max_rows = max_rows
        self.total = Ledger(1)

    def __dealloc__(self):
        free(self.n)
        free(self.d)
        free(self.count)
        free(self.odd)

    def add_samples(self, Samples samples not None, keys=None):
        """Add the rows of a batch. If the window is full, each new row evicts the oldest one."""
        cdef int64_t[N_COUNTERS] counts
        cdef Py_ssize_t at = max(<Py_ssize_t>0, samples.samples - self.max_rows)  # earlier rows would leave at once
        cdef Py_ssize_t i, k, oddities = 0
        cdef int column
        cdef unsigned long long saved
        if samples.odd:
            for i in range(at, samples.samples):
                count_losses(samples, i, counts)
                for column in range(1, N_COUNTERS):
                    oddities += counts[column] != 0
        with cython.critical_section(self):
            if self.is_crowded(samples):  # try it on a copy, because evicted rows may make room
                self.replace_with(self.more(samples))
                return
            self.bound += samples.start(samples.samples)
            self.reserve(min(self.max_rows, self.size + samples.samples - at), oddities)
            saved = fp_enter()
            try:
                while at < samples.samples:
                    k = min(min(<Py_ssize_t>BLOCK, self.max_rows), samples.samples - at)
                    if self.size + k > self.max_rows:
                        self.evict(self.size + k - self.max_rows)
                    self.append_block(samples, at, k)
                    at += k
            finally:
                fp_leave(saved)

    def crowded(self, Samples samples not None) -> bool:
        """Return whether these samples can take a counter out of its range. If so, adding them can fail."""
        with cython.critical_section(self):
            return self.is_crowded(samples)

    cdef bint is_crowded(self, Samples samples) noexcept:
        cdef int64_t limit = MAX_COUNT - samples.start(samples.samples)
        if self.bound > limit:
            self.bound = self.total.bound()  # rows may have been evicted since the bound was computed
        return self.bound > limit

    cdef Window more(self, Samples samples):
        """Return a copy with these samples added. Raise an InputError if a counter would leave its range."""
        cdef Window new = self.copied()
        new.bound = 0  # the counters are checked afterwards, because their words have room for two full counters
        new.add_samples(samples)
        new.measure(None)
        return new

    cdef int measure(self, str argument) except -1:
        """Compute the bound of the counters. Raise an InputError if a counter is out of its range."""
        cdef int column
        self.bound = self.total.bound()
        if self.bound > MAX_COUNT:
            for column in range(COUNT, COUNT + N_COUNTERS):
                if abs(self.total.value(column, 0)) > MAX_COUNT:
                    raise beyond(column, argument)
        return 0

    cdef void replace_with(self, Window other) noexcept:
        """Take over the content of another window, which must not be used afterwards."""
        self.max_rows, self.size, self.total, self.bound = other.max_rows, other.size, other.total, other.bound
        self.room, self.oldest, self.n_evicted = other.room, other.oldest, other.n_evicted
        self.odd_room, self.first_odd, self.end_odd = other.odd_room, other.first_odd, other.end_odd
        self.n, other.n = other.n, self.n
        self.d, other.d = other.d, self.d
        self.count, other.count = other.count, self.count
        self.odd, other.odd = other.odd, self.odd

    def extend(self, Window other not None):
        """Append the rows of another window of the same length. If that fails, no row is appended."""
        cdef Window more = other.copy()  # its oldest row has index 0
        cdef Window new
        with cython.critical_section(self):
            self.bound = joint(self.bound, more.bound)
            if self.bound < ALL_FULL:
                self.append_all(more)
                return
            new = self.copied()
            new.append_all(more)
            new.measure("other")
            self.replace_with(new)

    cdef int append_all(self, Window more) except -1:
        """Append the rows of another window, whose oldest row has index 0."""
        cdef Py_ssize_t i, k, at = 0, odd = 0
        cdef unsigned long long saved
        self.reserve(min(self.max_rows, self.size + more.size), more.end_odd)
        saved = fp_enter()
        try:
            while at < more.size:
                k = min(min(<Py_ssize_t>BLOCK, self.max_rows), more.size - at)
                if self.size + k > self.max_rows:
                    self.evict(self.size + k - self.max_rows)
                for i in range(at, at + k):
                    while odd < more.end_odd and more.odd[odd].row - more.n_evicted == <uint64_t>i:
                        self.append_exception(more.odd[odd].column, more.odd[odd].amount)
                        odd += 1
                    self.append(more.n[i], more.d[i], more.count[i])
                self.add_rows(self.size - k, k, 1)
                at += k
        finally:
            fp_leave(saved)
        return 0

    cdef int reserve(self, Py_ssize_t rows, Py_ssize_t oddities) except -1:
        """Make room for ``rows`` rows in all, and for ``oddities`` more anomalies."""
        cdef Py_ssize_t room = self.room
        cdef void* new
        if rows > room:  # no row has been evicted yet, so the oldest row has index 0
            room = min(self.max_rows, max(rows, 2 * room))
            if room > (<Py_ssize_t>1 << 58):
                raise MemoryError
            new = realloc(self.n, room * sizeof(double))
            if new is NULL:
                raise MemoryError
            self.n = <double*>new
            new = realloc(self.d, room * sizeof(double))
            if new is NULL:
                raise MemoryError
            self.d = <double*>new
            new = realloc(self.count, room * sizeof(int64_t))
            if new is NULL:
                raise MemoryError
            self.count = <int64_t*>new
            self.room = room
        if self.end_odd + oddities > self.odd_room:
            if self.first_odd:
                memmove(self.odd, self.odd + self.first_odd, (self.end_odd - self.first_odd) * sizeof(oddity))
                self.end_odd -= self.first_odd
                self.first_odd = 0
            room = 2 * (self.end_odd + oddities)  # so that the next move is as far away again
            if room > self.odd_room:
                new = realloc(self.odd, room * sizeof(oddity))
                if new is NULL:
                    raise MemoryError
                self.odd, self.odd_room = <oddity*>new, room
        return 0

    cdef int append_block(self, Samples samples, Py_ssize_t first, Py_ssize_t k) except -1:
        """Append k <= BLOCK rows, for which there must be room."""
        cdef int64_t[N_COUNTERS] counts
        cdef Py_ssize_t i
        cdef int64_t counted
        cdef int column
        for i in range(first, first + k):
            counted = count_losses(samples, i, counts)
            if samples.odd:
                for column in range(1, N_COUNTERS):
                    if counts[column]:
                        self.append_exception(COUNT + column, counts[column])
            if counted:
                self.append(samples.n[i], samples.d[i] if samples.d is not NULL else 1.0, counted)
            else:
                self.append(0.0, 0.0, 0)
        return self.add_rows(self.size - k, k, 1)

    cdef int append_exception(self, int64_t column, int64_t amount) except -1:
        """Record an anomaly of the next row that is appended."""
        self.odd[self.end_odd] = oddity(self.n_evicted + <uint64_t>self.size, column, amount)
        self.end_odd += 1
        self.total.increment(<int>column, 0, amount)
        return 0

    cdef int append(self, double n, double d, int64_t count) except -1:
        """Append one row."""
        cdef Py_ssize_t at = self.oldest + self.size
        if at >= self.room:
            at -= self.room
        self.n[at] = n + 0.0 if n == n else NAN  # only one form of 0 and of nan, so that bytes are canonical
        self.d[at] = d + 0.0
        self.count[at] = count
        self.size += 1
        return 0

    cdef int evict(self, Py_ssize_t k) except -1:
        """Evict the k <= BLOCK oldest rows."""
        cdef oddity* odd
        self.add_rows(0, k, -1)
        self.n_evicted += k
        while self.first_odd < self.end_odd and self.odd[self.first_odd].row < self.n_evicted:
            odd = &self.odd[self.first_odd]
            self.total.increment(<int>odd.column, 0, -odd.amount)
            self.first_odd += 1
        self.oldest = (self.oldest + k) % self.room
        self.size -= k
        return 0

    cdef int add_rows(self, Py_ssize_t first, Py_ssize_t k, int sign) except -1:
        """Add k <= BLOCK rows of the window to the sum, or subtract them if ``sign`` is -1."""
        cdef double[BLOCK] n
        cdef double[BLOCK] d
        cdef Py_ssize_t counted = 0
        cdef Py_ssize_t at = (self.oldest + first) % self.room
        cdef int64_t losses = 0
        for _ in range(k):
            n[counted] = self.n[at]
            d[counted] = self.d[at]
            counted += self.count[at] != 0
            losses += self.count[at]
            at = at + 1 if at + 1 < self.room else 0
        if counted:
            self.total.increment(COUNT, 0, sign * losses)
            self.total.add_samples(0, n, d, counted, table().largest_exponent(n, counted), sign)
        return 0

    # ---- reading ----

    def sum(self) -> Ledger:
        """Return the sum of the rows, as a ledger of one cell."""
        with cython.critical_section(self):
            return self.total.copy()

    def copy(self) -> Window:
        with cython.critical_section(self):
            return self.copied()

    cdef Window copied(self):
        """Return a copy, for a thread that holds the lock: taking the lock again could let other threads in."""
        cdef Window new = Window(self.max_rows)
        cdef Py_ssize_t part
        new.reserve(self.size, self.end_odd - self.first_odd)
        part = min(self.size, self.room - self.oldest)
        if self.size:
            memcpy(new.n, self.n + self.oldest, part * sizeof(double))
            memcpy(new.n + part, self.n, (self.size - part) * sizeof(double))
            memcpy(new.d, self.d + self.oldest, part * sizeof(double))
            memcpy(new.d + part, self.d, (self.size - part) * sizeof(double))
            memcpy(new.count, self.count + self.oldest, part * sizeof(int64_t))
            memcpy(new.count + part, self.count, (self.size - part) * sizeof(int64_t))
        new.end_odd = self.end_odd - self.first_odd
        if new.end_odd:
            memcpy(new.odd, self.odd + self.first_odd, new.end_odd * sizeof(oddity))
        new.size, new.n_evicted = self.size, self.n_evicted
        new.total, new.bound = self.total.copy(), self.bound
        return new

    def merge(self, other, int sign=1):
        """Raise a ValueError, because rows of two streams have no common order."""
        raise ValueError("the last samples of two streams do not add up: those of a period do")

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """Return the bytes of the rows, by the name of the part. docs/FORMAT.md describes them."""
        cdef Window copy = self.copy()  # its oldest row has index 0
        cdef Py_ssize_t i, size = copy.size
        cdef oddity* odd
        if not size:
            return {}
        cdef bytes data = PyBytes_FromStringAndSize(NULL, 16 + ROW * size + ODDITY * copy.end_odd)
        cdef uint8_t* out = put_u64(<uint8_t*>PyBytes_AS_STRING(data), size)
        for i in range(size):
            out = put_u64(put_u64(put_u64(out, bits_of(copy.n[i])), bits_of(copy.d[i])), copy.count[i])
        out = put_u64(out, copy.end_odd)
        for i in range(copy.end_odd):
            odd = &copy.odd[i]
            out = put_u64(out, odd.row - copy.n_evicted)
            out[0] = <uint8_t>odd.column
            out = put_u64(out + 1, odd.amount)
        return {"rows": data}

    def from_parts(self, dict parts) -> Window:
        """Return a window of this length from its ``parts()``. Raise a ValueError if they are malformed."""
        cdef Window new = Window(self.max_rows)
        cdef const uint8_t* at
        cdef Py_ssize_t size
        cdef uint64_t rows, oddities
        if not parts:
            return new
        if set(parts) != {"rows"}:
            raise ValueError(f"it has parts {sorted(parts)}")
        cdef bytes data = parts["rows"]
        at, size = <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
        rows = get_u64(at) if size >= 16 else 0
        if not 0 < rows <= <uint64_t>self.max_rows or rows > <uint64_t>(size - 16) // ROW:
            raise ValueError(f"it has {rows} rows")
        oddities = get_u64(at + 8 + ROW * rows)
        if oddities != <uint64_t>(size - 16 - ROW * <Py_ssize_t>rows) // ODDITY or (size - 16 - ROW * rows) % ODDITY:
            raise ValueError("its rows end before their bytes do, or after")
        new.reserve(rows, oddities)
        cdef unsigned long long saved = fp_enter()
        try:
            new.read(at + 8, rows, oddities)
        finally:
            fp_leave(saved)
        new.bound = new.total.bound()
        return new

    cdef int read(self, const uint8_t* at, Py_ssize_t rows, Py_ssize_t oddities) except -1:
        """Read rows and anomalies, for which there must be room."""
        cdef Py_ssize_t i, at_row = 0
        cdef uint64_t row, count, amount
        cdef int column
        cdef double n, d
        cdef int64_t left = MAX_COUNT
        cdef int64_t[N_COUNTERS] room
        for _ in range(rows):
            n, d, count = double_of(get_u64(at)), double_of(get_u64(at + 8)), get_u64(at + 16)
            if not d >= 0 or count > <uint64_t>left or (count == 0 and not n == d == 0):
                raise ValueError(f"its row {self.size} is none")
            self.append(n, d, count)
            left -= count
            at += ROW
        for i in range(N_COUNTERS):
            room[i] = MAX_COUNT
        at += 8
        for i in range(oddities):
            row, column, amount = get_u64(at), at[8], get_u64(at + 9)
            if not (
                row < <uint64_t>rows and COUNT < column < COUNT + N_COUNTERS
                and 0 < amount <= <uint64_t>room[column - COUNT]
            ):
                raise ValueError("it has an oddity of no row, or of no kind")
            if i and (row, column) <= (self.odd[i - 1].row, self.odd[i - 1].column):
                raise ValueError("its oddities are not in order, each once")
            self.odd[i] = oddity(row, column, amount)
            self.end_odd += 1
            self.total.increment(column, 0, amount)
            room[column - COUNT] -= amount
            at += ODDITY
        while at_row < rows:
            self.add_rows(at_row, min(<Py_ssize_t>BLOCK, rows - at_row), 1)
            at_row += BLOCK
        return 0


cdef uint64_t bits_of(double x) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &x, 8)
    return bits


cdef double double_of(uint64_t bits) noexcept nogil:
    cdef double x
    memcpy(&x, &bits, 8)
    return x
