from libc.stdint cimport int64_t, uint8_t

from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.status cimport STATUSES


cdef enum:
    N_COUNTERS = 12  # counters of losses: COUNT and the columns after it

# The column that counts the losses of a status.
cdef int[STATUSES] COUNTER_OF


cdef class Samples:
    # The samples of a batch, for metrics that add them to several cells.
    cdef double* n
    cdef double* d             # NULL if every d is 1
    cdef uint8_t* packed_status  # of each loss: its status in the lower 4 bits, its flags above
    cdef bint odd              # a packed status is not 0
    cdef readonly Py_ssize_t samples
    cdef Py_ssize_t group      # losses of each sample, unless there are
    cdef int64_t* offsets      # the first loss of each sample, and the number of losses; or NULL

    cdef int open(
        self, Py_ssize_t samples, Py_ssize_t losses, Py_ssize_t group, const int64_t* offsets, bint unit_weight
    ) except -1
    cdef bytearray left_out(self)

    cdef inline Py_ssize_t start(self, Py_ssize_t i) noexcept nogil:
        """Return the first loss of sample i. For the sample after the last one, return the number of losses."""
        return self.offsets[i] if self.offsets is not NULL else i * self.group

    cdef inline bint has_one_loss_each(self) noexcept nogil:
        """Return whether each sample is one loss by its layout."""
        return self.offsets is NULL and self.group == 1


cdef int count_flags(Ledger ledger, Py_ssize_t cell, uint8_t flags) except -1 nogil
cdef int64_t count_losses(Samples samples, Py_ssize_t i, int64_t* counts) noexcept nogil
cdef int add_sample(Samples samples, Py_ssize_t i, Ledger ledger, Py_ssize_t cell) except -1
cdef int add_samples(Samples samples, Py_ssize_t first, Py_ssize_t k, Ledger ledger, Py_ssize_t cell) except -1
