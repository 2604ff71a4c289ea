"""The last rows of a stream, and their sum.

A row is a sample: its loss n, its weight d, and what its losses count as. A row that comes is added to
the sum, and the one that it drives out is taken away again, exactly: the sum is at any moment that of
the rows there are, to the bit, and what an update costs does not depend on how many these are.
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
    ROW = 24     # bytes of a row
    ODDITY = 17  # and of an oddity


cdef class Window:
    def __cinit__(self, Py_ssize_t most):
        self.most = most
        self.total = Ledger(1)

    def __dealloc__(self):
        free(self.n)
        free(self.d)
        free(self.count)
        free(self.odd)

    def add(self, Samples samples not None):
        """Adds the rows of a chunk, each of which drives out the oldest where there is no room."""
        cdef int64_t[N_COUNTERS] found
        cdef Py_ssize_t at = max(<Py_ssize_t>0, samples.samples - self.most)  # those before leave at once
        cdef Py_ssize_t i, k, oddities = 0
        cdef int column
        cdef unsigned long long saved
        if samples.odd:
            for i in range(at, samples.samples):
                count_losses(samples, i, found)
                for column in range(1, N_COUNTERS):
                    oddities += found[column] != 0
        with cython.critical_section(self):
            if self.crowded(samples):  # on a copy, because rows that leave may make room
                self.replace_with(self.more(samples))
                return
            self.bound += samples.start(samples.samples)
            self.reserve(min(self.most, self.size + samples.samples - at), oddities)
            saved = fp_enter()
            try:
                while at < samples.samples:
                    k = min(min(<Py_ssize_t>BLOCK, self.most), samples.samples - at)
                    if self.size + k > self.most:
                        self.evict(self.size + k - self.most)
                    self.append_block(samples, at, k)
                    at += k
            finally:
                fp_leave(saved)

    def crowded(self, Samples samples not None) -> bool:
        """Whether these samples may take a counter out of its range, so that adding them may fail."""
        cdef int64_t most = MAX_COUNT - samples.start(samples.samples)
        if self.bound > most:
            self.bound = self.total.bound()  # rows may have left since it was found
        return self.bound > most

    cdef Window more(self, Samples samples):
        """A copy with these samples added. Raises if a counter would leave its range."""
        cdef Window new = self.copied()
        new.bound = 0  # the words have room for twice as much
        new.add(samples)
        new.measure(None)
        return new

    cdef int measure(self, str argument) except -1:
        """Finds the bound of all counters. Raises if one is out of its range."""
        cdef int column
        self.bound = self.total.bound()
        if self.bound > MAX_COUNT:
            for column in range(COUNT, COUNT + N_COUNTERS):
                if abs(self.total.value(column, 0)) > MAX_COUNT:
                    raise beyond(column, argument)
        return 0

    cdef void replace_with(self, Window other) noexcept:
        """Takes over the content of another window, which must not be used afterwards."""
        self.most, self.size, self.total, self.bound = other.most, other.size, other.total, other.bound
        self.room, self.oldest, self.n_evicted = other.room, other.oldest, other.n_evicted
        self.odd_room, self.first_odd, self.end_odd = other.odd_room, other.first_odd, other.end_odd
        self.n, other.n = other.n, self.n
        self.d, other.d = other.d, self.d
        self.count, other.count = other.count, self.count
        self.odd, other.odd = other.odd, self.odd

    def extend(self, Window other not None):
        """Adds the rows of another window of the same length as the next ones. If that fails, none are added."""
        cdef Window more = other.copy()  # in which the oldest is at place 0
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
        """Adds the rows of a copy of a window."""
        cdef Py_ssize_t i, k, at = 0, odd = 0
        cdef unsigned long long saved
        self.reserve(min(self.most, self.size + more.size), more.end_odd)
        saved = fp_enter()
        try:
            while at < more.size:
                k = min(min(<Py_ssize_t>BLOCK, self.most), more.size - at)
                if self.size + k > self.most:
                    self.evict(self.size + k - self.most)
                for i in range(at, at + k):
                    while odd < more.end_odd and more.odd[odd].row - more.n_evicted == <uint64_t>i:
                        self.append_exception(more.odd[odd].column, more.odd[odd].many)
                        odd += 1
                    self.append(more.n[i], more.d[i], more.count[i])
                self.add_rows(self.size - k, k, 1)
                at += k
        finally:
            fp_leave(saved)
        return 0

    cdef int reserve(self, Py_ssize_t rows, Py_ssize_t oddities) except -1:
        """Makes room for as many rows in all, and for as many oddities more."""
        cdef Py_ssize_t room = self.room
        cdef void* new
        if rows > room:  # no row has left so far: they lie from place 0 on
            room = min(self.most, max(rows, 2 * room))
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
            room = 2 * (self.end_odd + oddities)  # as many again before they are moved again
            if room > self.odd_room:
                new = realloc(self.odd, room * sizeof(oddity))
                if new is NULL:
                    raise MemoryError
                self.odd, self.odd_room = <oddity*>new, room
        return 0

    cdef int append_block(self, Samples samples, Py_ssize_t first, Py_ssize_t k) except -1:
        """Adds k <= BLOCK rows, for which there is room."""
        cdef int64_t[N_COUNTERS] found
        cdef Py_ssize_t i
        cdef int64_t counted
        cdef int column
        for i in range(first, first + k):
            counted = count_losses(samples, i, found)
            if samples.odd:
                for column in range(1, N_COUNTERS):
                    if found[column]:
                        self.append_exception(COUNT + column, found[column])
            if counted:
                self.append(samples.n[i], samples.d[i] if samples.d is not NULL else 1.0, counted)
            else:
                self.append(0.0, 0.0, 0)
        return self.add_rows(self.size - k, k, 1)

    cdef int append_exception(self, int64_t column, int64_t many) except -1:
        """Notes what is odd about the row that is put next."""
        self.odd[self.end_odd] = oddity(self.n_evicted + <uint64_t>self.size, column, many)
        self.end_odd += 1
        self.total.increment(<int>column, 0, many)
        return 0

    cdef int append(self, double n, double d, int64_t count) except -1:
        """Writes one row behind the newest."""
        cdef Py_ssize_t at = self.oldest + self.size
        if at >= self.room:
            at -= self.room
        self.n[at] = n + 0.0 if n == n else NAN  # one form each of 0 and of nan
        self.d[at] = d + 0.0
        self.count[at] = count
        self.size += 1
        return 0

    cdef int evict(self, Py_ssize_t k) except -1:
        """Takes away the k <= BLOCK oldest rows."""
        cdef oddity* odd
        self.add_rows(0, k, -1)
        self.n_evicted += k
        while self.first_odd < self.end_odd and self.odd[self.first_odd].row < self.n_evicted:
            odd = &self.odd[self.first_odd]
            self.total.increment(<int>odd.column, 0, -odd.many)
            self.first_odd += 1
        self.oldest = (self.oldest + k) % self.room
        self.size -= k
        return 0

    cdef int add_rows(self, Py_ssize_t first, Py_ssize_t k, int sign) except -1:
        """Adds k <= BLOCK of the rows there are to the sum, or takes them away."""
        cdef double[BLOCK] n
        cdef double[BLOCK] d
        cdef Py_ssize_t kept = 0
        cdef Py_ssize_t at = (self.oldest + first) % self.room
        cdef int64_t losses = 0
        for _ in range(k):
            n[kept] = self.n[at]
            d[kept] = self.d[at]
            kept += self.count[at] != 0
            losses += self.count[at]
            at = at + 1 if at + 1 < self.room else 0
        if kept:
            self.total.increment(COUNT, 0, sign * losses)
            self.total.add_samples(0, n, d, kept, table().largest_exponent(n, kept), sign)
        return 0

    # ---- reading ----

    def sum(self) -> Ledger:
        """A ledger of one cell, the sum of the rows there are."""
        with cython.critical_section(self):
            return self.total.copy()

    def copy(self) -> Window:
        with cython.critical_section(self):
            return self.copied()

    cdef Window copied(self):
        """A copy for the thread that holds the lock: to take the same lock again would let others in between."""
        cdef Window new = Window(self.most)
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
        """Rows of two streams stand in no order, so that none of them are the last."""
        raise ValueError("the last samples of two streams do not add up: those of a period do")

    # ---- bytes ----

    def parts(self) -> dict[str, bytes]:
        """The bytes of the rows, if there are any: docs/FORMAT.md."""
        cdef Window copy = self.copy()  # in which the oldest is at place 0
        cdef Py_ssize_t i, size = copy.size
        cdef oddity* odd
        if not size:
            return {}
        cdef bytes found = PyBytes_FromStringAndSize(NULL, 16 + ROW * size + ODDITY * copy.end_odd)
        cdef uint8_t* out = put_u64(<uint8_t*>PyBytes_AS_STRING(found), size)
        for i in range(size):
            out = put_u64(put_u64(put_u64(out, bits_of(copy.n[i])), bits_of(copy.d[i])), copy.count[i])
        out = put_u64(out, copy.end_odd)
        for i in range(copy.end_odd):
            odd = &copy.odd[i]
            out = put_u64(out, odd.row - copy.n_evicted)
            out[0] = <uint8_t>odd.column
            out = put_u64(out + 1, odd.many)
        return {"rows": found}

    def from_parts(self, dict parts) -> Window:
        """The window of the same length whose ``parts()`` these are; ValueError if they make no sense."""
        cdef Window new = Window(self.most)
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
        if not 0 < rows <= <uint64_t>self.most or rows > <uint64_t>(size - 16) // ROW:
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
        """Takes in rows and oddities, for which there is room."""
        cdef Py_ssize_t i, at_row = 0
        cdef uint64_t row, count, many
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
            row, column, many = get_u64(at), at[8], get_u64(at + 9)
            if not (
                row < <uint64_t>rows and COUNT < column < COUNT + N_COUNTERS
                and 0 < many <= <uint64_t>room[column - COUNT]
            ):
                raise ValueError("it has an oddity of no row, or of no kind")
            if i and (row, column) <= (self.odd[i - 1].row, self.odd[i - 1].column):
                raise ValueError("its oddities are not in order, each once")
            self.odd[i] = oddity(row, column, many)
            self.end_odd += 1
            self.total.increment(column, 0, many)
            room[column - COUNT] -= many
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
