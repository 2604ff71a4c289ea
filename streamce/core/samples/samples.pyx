"""The samples of a batch, and how they are added to cells."""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport table
from streamce.core.ledger.ledger cimport (
    COUNT, FLOORED, IGNORED, INFEASIBLE, INFINITE, INVALID_LABEL, INVALID_NAN, INVALID_NULL, INVALID_RANGE,
    INVALID_ROW_SUM, INVALID_WEIGHT, UNNORMALISED, Ledger,
)
from streamce.core.samples cimport status
from streamce.core.samples.status cimport COUNTED, IS_FLOORED, IS_INFINITE, IS_UNNORMALISED, PADDING

import numpy as np

COUNTER_OF[:] = [
    COUNT, -1, IGNORED, INVALID_NULL, INVALID_LABEL, INVALID_NAN, INVALID_RANGE, INVALID_ROW_SUM,
    INVALID_WEIGHT, INVALID_NAN, INVALID_RANGE, INVALID_ROW_SUM,
    INFEASIBLE,
]


cdef class Samples:
    def __dealloc__(self):
        free(self.n)
        free(self.d)
        free(self.packed_status)
        free(self.offsets)

    cdef int open(
        self, Py_ssize_t samples, Py_ssize_t losses, Py_ssize_t group, const int64_t* offsets, bint unit_weight
    ) except -1:
        """Make room for a batch. ``offsets`` are copied, because the samples outlive the batch."""
        free(self.n)
        free(self.d)
        free(self.packed_status)
        free(self.offsets)
        self.offsets = NULL
        self.samples, self.group = samples, group
        if offsets is not NULL:
            self.offsets = <int64_t*>malloc((samples + 1) * sizeof(int64_t))
            if self.offsets is NULL:
                raise MemoryError
            memcpy(self.offsets, offsets, (samples + 1) * sizeof(int64_t))
        self.n = <double*>malloc(max(1, samples) * sizeof(double))
        self.d = NULL if unit_weight and group == 1 else <double*>malloc(max(1, samples) * sizeof(double))
        self.packed_status = <uint8_t*>calloc(max(1, losses), 1)  # calloc touches no page before the first anomaly
        if self.n is NULL or self.packed_status is NULL or (self.d is NULL and not (unit_weight and group == 1)):
            raise MemoryError
        return 0

    @property
    def losses(self) -> int:
        """The number of losses, also of those that do not count."""
        return self.start(self.samples)

    def copy(self) -> Samples:
        """Return a copy, which the caller may change."""
        cdef Samples new = Samples.__new__(Samples)
        cdef Py_ssize_t losses = self.start(self.samples)
        new.open(self.samples, losses, self.group, self.offsets, self.d is NULL)
        memcpy(new.n, self.n, self.samples * sizeof(double))
        if self.d is not NULL:
            memcpy(new.d, self.d, self.samples * sizeof(double))
        if self.odd:
            memcpy(new.packed_status, self.packed_status, losses)
        new.odd = self.odd
        return new

    def multiplied(self, const double[::1] factor not None) -> Samples:
        """Return a copy in which n and d of each sample are multiplied by the factor of the sample."""
        cdef Samples new = Samples.__new__(Samples)
        cdef Py_ssize_t i, losses = self.start(self.samples)
        if factor.shape[0] != self.samples:
            raise ValueError(f"{factor.shape[0]} factors of {self.samples} samples")
        new.open(self.samples, losses, self.group, self.offsets, False)
        for i in range(self.samples):
            new.n[i] = self.n[i] * factor[i]
            new.d[i] = factor[i] if self.d is NULL else self.d[i] * factor[i]
        if self.odd:
            memcpy(new.packed_status, self.packed_status, losses)
        new.odd = self.odd
        return new

    def take(self, const int64_t[::1] rows not None) -> Samples:
        """Return some of the samples as new ones."""
        cdef Samples new = Samples.__new__(Samples)
        cdef Py_ssize_t i, row, k, losses = 0
        cdef int64_t[::1] offsets = None
        if self.offsets is not NULL:
            offsets = np.zeros(rows.shape[0] + 1, dtype=np.int64)
        for i in range(rows.shape[0]):
            row = rows[i]
            losses += self.start(row + 1) - self.start(row)
            if offsets is not None:
                offsets[i + 1] = losses
        new.open(
            rows.shape[0], losses, self.group, NULL if offsets is None else &offsets[0], self.d is NULL
        )
        new.odd = self.odd
        for i in range(rows.shape[0]):
            row = rows[i]
            new.n[i] = self.n[row]
            if self.d is not NULL:
                new.d[i] = self.d[row]
            k = self.start(row + 1) - self.start(row)
            if self.odd and k:
                memcpy(new.packed_status + new.start(i), self.packed_status + self.start(row), k)
        return new

    cdef bytearray left_out(self):
        """Return a status for each loss, so that another pass leaves out the same losses. Return None if all count."""
        cdef Py_ssize_t j, losses = self.start(self.samples)
        cdef bytearray statuses = None
        if self.odd:
            statuses = bytearray(losses)
            for j in range(losses):
                statuses[j] = status.IGNORED if self.packed_status[j] & 15 else COUNTED
        return statuses


cdef int count_flags(Ledger ledger, Py_ssize_t cell, uint8_t flags) except -1 nogil:
    """Count the anomalies of a loss that counts."""
    if flags & IS_FLOORED:
        ledger.increment(FLOORED, cell, 1)
    if flags & IS_INFINITE:
        ledger.increment(INFINITE, cell, 1)
    if flags & IS_UNNORMALISED:
        ledger.increment(UNNORMALISED, cell, 1)
    return 0


cdef int64_t count_losses(Samples samples, Py_ssize_t i, int64_t* counts) noexcept nogil:
    """Return how many losses of a sample count.

    If the batch has anomalies, also set ``counts`` to the counters of the sample, beginning with COUNT.
    """
    cdef Py_ssize_t j
    cdef uint8_t packed
    if not samples.odd:
        return samples.start(i + 1) - samples.start(i)
    memset(counts, 0, N_COUNTERS * sizeof(int64_t))
    for j in range(samples.start(i), samples.start(i + 1)):
        packed = samples.packed_status[j]
        if packed & 15 == PADDING:
            continue
        counts[COUNTER_OF[packed & 15] - COUNT] += 1
        counts[FLOORED - COUNT] += (packed >> 4 & IS_FLOORED) != 0
        counts[INFINITE - COUNT] += (packed >> 4 & IS_INFINITE) != 0
        counts[UNNORMALISED - COUNT] += (packed >> 4 & IS_UNNORMALISED) != 0
    return counts[0]


cdef int add_sample(Samples samples, Py_ssize_t i, Ledger ledger, Py_ssize_t cell) except -1:
    """Add a sample, and the anomalies of its losses, to a cell."""
    cdef int64_t[N_COUNTERS] counts
    cdef int64_t counted = count_losses(samples, i, counts)
    cdef int column
    if samples.odd:
        for column in range(1, N_COUNTERS):
            ledger.increment(COUNT + column, cell, counts[column])
    if not counted:
        return 0
    ledger.increment(COUNT, cell, counted)
    return ledger.add_sample(cell, samples.n[i], samples.d[i] if samples.d is not NULL else 1.0, 1)


cdef int add_samples(Samples samples, Py_ssize_t first, Py_ssize_t k, Ledger ledger, Py_ssize_t cell) except -1:
    """Add k <= BLOCK samples without anomalies to a cell."""
    cdef Py_ssize_t i, j
    cdef int64_t each, counted = 0
    cdef const double* n = samples.n + first
    for i in range(first, first + k):
        each = count_losses(samples, i, NULL)
        if not each:  # a sample without losses does not count
            for j in range(first, first + k):
                add_sample(samples, j, ledger, cell)
            return 0
        counted += each
    ledger.increment(COUNT, cell, counted)
    return ledger.add_samples(
        cell, n, samples.d + first if samples.d is not NULL else NULL, k, table().largest_exponent(n, k), 1
    )
