from libc.stdint cimport int64_t, uint8_t, uint64_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.samples cimport Samples


cdef struct oddity:
    # What was odd about losses of a row, or why they do not count.
    uint64_t row     # counted from the first there ever was
    int64_t column   # a counter, and
    int64_t many     # what the row adds to it


cdef class Window:
    cdef readonly Py_ssize_t most  # rows that it holds
    cdef readonly Py_ssize_t size  # and those that it has
    cdef Ledger total              # their sum, in which
    cdef int64_t bound             # no counter is larger
    cdef Py_ssize_t room           # of the arrays, a ring once it is `most`
    cdef Py_ssize_t oldest         # place of the oldest row
    cdef uint64_t n_evicted             # rows that have left
    cdef double* n
    cdef double* d
    cdef int64_t* count            # losses that count
    cdef oddity* odd               # of the rows there are, in their order, from `first_odd` on
    cdef Py_ssize_t odd_room, first_odd, end_odd

    cdef Window copied(self)
    cdef Window more(self, Samples samples)
    cdef int measure(self, str argument) except -1
    cdef void replace_with(self, Window other) noexcept
    cdef int append_all(self, Window more) except -1
    cdef int reserve(self, Py_ssize_t rows, Py_ssize_t oddities) except -1
    cdef int evict(self, Py_ssize_t k) except -1
    cdef int append_block(self, Samples samples, Py_ssize_t first, Py_ssize_t k) except -1
    cdef int append_exception(self, int64_t column, int64_t many) except -1
    cdef int append(self, double n, double d, int64_t count) except -1
    cdef int add_rows(self, Py_ssize_t first, Py_ssize_t k, int sign) except -1
    cdef int read(self, const uint8_t* at, Py_ssize_t rows, Py_ssize_t oddities) except -1
