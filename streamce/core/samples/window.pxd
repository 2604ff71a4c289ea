from libc.stdint cimport int64_t, uint8_t, uint64_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.samples cimport Samples


cdef struct oddity:
    # An anomaly counter of a row.
    uint64_t row     # number of the row in the stream
    int64_t column   # the counter
    int64_t amount   # how many of the row's losses it counts


cdef class Window:
    cdef readonly Py_ssize_t max_rows
    cdef readonly Py_ssize_t size  # number of rows
    cdef Ledger total              # sum of the rows
    cdef int64_t bound             # at least the largest counter of the sum
    cdef Py_ssize_t room           # length of the arrays, which are a ring once it is `max_rows`
    cdef Py_ssize_t oldest         # index of the oldest row
    cdef uint64_t n_evicted        # rows that have left the window
    cdef double* n
    cdef double* d
    cdef int64_t* count            # losses that count
    cdef oddity* odd               # anomalies of the rows, oldest first, from `first_odd` to `end_odd`
    cdef Py_ssize_t odd_room, first_odd, end_odd

    cdef bint is_crowded(self, Samples samples) noexcept
    cdef Window copied(self)
    cdef Window more(self, Samples samples)
    cdef int measure(self, str argument) except -1
    cdef void replace_with(self, Window other) noexcept
    cdef int append_all(self, Window more) except -1
    cdef int reserve(self, Py_ssize_t rows, Py_ssize_t oddities) except -1
    cdef int evict(self, Py_ssize_t k) except -1
    cdef int append_block(self, Samples samples, Py_ssize_t first, Py_ssize_t k) except -1
    cdef int append_exception(self, int64_t column, int64_t amount) except -1
    cdef int append(self, double n, double d, int64_t count) except -1
    cdef int add_rows(self, Py_ssize_t first, Py_ssize_t k, int sign) except -1
    cdef int read(self, const uint8_t* at, Py_ssize_t rows, Py_ssize_t oddities) except -1
