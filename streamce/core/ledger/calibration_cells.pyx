"""Sums of the probabilities of classes, on their way to the ledger of the calibration.

A row of C classes adds C terms to the cells of its group, which consists of its likeliest class and its bin of
confidence. Added one by one, they would take most of the time of an update. So the rows of a group are summed here,
class by class, as two integers of 64 bits each. ``flush`` adds these integers to the ledger, whose sums are then the
same as if each term had been added to it.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from streamce.core.kernels.kernels cimport SHARE_HIGH, SHARE_LOW, SHARE_ROWS, TILE, table
from streamce.core.ledger.ledger cimport N, SAMPLES, Ledger, page, sum_add

cdef enum:
    GROUPS = CONFIDENCE_BINS * SPLIT_CLASSES


cdef class ClassShares:
    def __cinit__(self, Py_ssize_t lanes):
        self.lanes = lanes
        self.groups = <share_sums**>calloc(GROUPS, sizeof(share_sums*))
        if self.groups is NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef Py_ssize_t group
        if self.groups is NULL:
            return
        for group in range(GROUPS):
            free(self.groups[group])
        free(self.groups)

    cdef share_sums* sums_of(self, Py_ssize_t group) except NULL nogil:
        """Return the sums of a group. They are 0 if it is new."""
        cdef share_sums* sums = self.groups[group]
        if sums is NULL:
            sums = <share_sums*>calloc(1, sizeof(share_sums) + 20 * <size_t>self.lanes)
            if sums is NULL:
                with gil:
                    raise MemoryError
            sums.high = <int64_t*>(sums + 1)
            sums.low = sums.high + self.lanes
            sums.hits = <uint32_t*>(sums.low + self.lanes)
            self.groups[group] = sums
        return sums

    cdef bint add_rows(
        self, Py_ssize_t group, const kept_rows* rows, const Py_ssize_t* order, Py_ssize_t n, Ledger to
    ) except -1 nogil:
        """Add n <= BLOCK rows of one group. Sums that are full first go to the ledger.

        Return whether terms are left out.
        """
        cdef share_sums* sums = self.sums_of(group)
        cdef Py_ssize_t i
        if sums.rows + n > SHARE_ROWS:
            self.flush_group(group, to)
        sums.rows += n
        for i in range(n):
            sums.hits[rows.label[order[i]]] += 1
        if rows.is_float32:
            return table().add_shares_f32(
                <const float*>rows.x, rows.classes, order, n, rows.largest, rows.factor, rows.logs,
                <uint64_t*>sums.high, <uint64_t*>sums.low,
            )
        return table().add_shares_f64(
            <const double*>rows.x, rows.classes, order, n, rows.largest, rows.factor, rows.logs,
            <uint64_t*>sums.high, <uint64_t*>sums.low,
        )

    cdef int flush_group(self, Py_ssize_t group, Ledger to) except -1 nogil:
        """Add the sums of a group to the ledger. They are 0 afterwards."""
        cdef share_sums* sums = self.groups[group]
        cdef Py_ssize_t c, cell
        cdef int64_t high, low
        cdef page* p
        if sums is NULL or sums.rows == 0:
            return 0
        for c in range(self.lanes):
            high, low = sums.high[c], sums.low[c]
            if not (high or low or sums.hits[c]):
                continue
            cell = cell_of(group, c)
            if sums.hits[c]:
                to.increment(SAMPLES, cell, sums.hits[c])
            p = to.page_of(&cell)
            if (high and sum_add(p, cell, N, 1074 - SHARE_HIGH, high) < 0) or (
                low and sum_add(p, cell, N, 1074 - SHARE_LOW, low) < 0
            ):
                with gil:
                    raise MemoryError
        sums.rows = 0
        memset(sums.high, 0, 20 * <size_t>self.lanes)
        return 0

    cdef int flush(self, Ledger to) except -1 nogil:
        """Add all sums to the ledger. They are 0 afterwards."""
        cdef Py_ssize_t group
        for group in range(GROUPS):
            self.flush_group(group, to)
        return 0

    cdef int reserve(self, ClassShares other) except -1:
        """Allocate the groups of another object, so that its sums can be added."""
        cdef Py_ssize_t group
        for group in range(GROUPS):
            if other.groups[group] is not NULL:
                self.sums_of(group)
        return 0

    cdef int merge_from(self, ClassShares other, Ledger to) except -1 nogil:
        """Add the sums of another object of as many lanes, for which ``reserve`` has allocated."""
        cdef Py_ssize_t group, c
        cdef share_sums* ours
        cdef const share_sums* theirs
        for group in range(GROUPS):
            ours, theirs = self.groups[group], other.groups[group]
            if theirs is NULL or theirs.rows == 0:
                continue
            if ours.rows + theirs.rows > SHARE_ROWS:
                self.flush_group(group, to)
            for c in range(self.lanes):
                ours.high[c] += theirs.high[c]
                ours.low[c] += theirs.low[c]
                ours.hits[c] += theirs.hits[c]
            ours.rows += theirs.rows
        return 0


cdef Py_ssize_t cell_of(Py_ssize_t group, Py_ssize_t c) noexcept nogil:
    """Return the cell of class c in a group, which is its likeliest class times CONFIDENCE_BINS plus its bin.

    The number does not depend on the number of classes: pairs of the first c classes have the first numbers.
    """
    cdef Py_ssize_t top = group // CONFIDENCE_BINS
    return SPLIT + CONFIDENCE_BINS * (top * top + c if c <= top else c * c + c + 1 + top) + group % CONFIDENCE_BINS


cdef Py_ssize_t lanes_of(Py_ssize_t classes) noexcept nogil:
    """Return the lanes of a row: its classes, rounded up to what the kernels read together."""
    return (classes + TILE - 1) // TILE * TILE
