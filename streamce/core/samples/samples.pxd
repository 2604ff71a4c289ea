from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.status cimport STATUSES


cdef enum:
    N_COUNTERS = 12  # counters of losses: COUNT and those behind it

# What counts the losses of a status.
cdef int[STATUSES] COUNTER_OF


cdef class Samples:
    # The samples of a chunk one by one, for whoever adds them to cells of their own.
    cdef double* n
    cdef double* d             # NULL: all are 1
    cdef uint8_t* what         # of each loss: its status, and its flags above that
    cdef bint odd              # some of it is not 0
    cdef readonly Py_ssize_t samples
    cdef Py_ssize_t group      # losses of each, or
    cdef int64_t* offsets      # where those of each begin, and the last ones end

    cdef int open(
        self, Py_ssize_t samples, Py_ssize_t losses, Py_ssize_t group, const int64_t* offsets, bint unit_weight
    ) except -1
    cdef bytearray left_out(self)

    cdef inline Py_ssize_t start(self, Py_ssize_t i) noexcept nogil:
        """The first loss of sample i; behind the last sample, the number of losses."""
        return self.offsets[i] if self.offsets is not NULL else i * self.group

    cdef inline bint has_one_loss_each(self) noexcept nogil:
        """Whether each sample is one loss, whatever the data."""
        return self.offsets is NULL and self.group == 1


cdef int count_flags(Ledger ledger, Py_ssize_t cell, uint8_t flags) except -1 nogil
cdef int64_t count_losses(Samples samples, Py_ssize_t i, int64_t* found) noexcept nogil
cdef int add_one(Samples samples, Py_ssize_t i, Ledger ledger, Py_ssize_t cell) except -1
cdef int add_some(Samples samples, Py_ssize_t first, Py_ssize_t k, Ledger ledger, Py_ssize_t cell) except -1
