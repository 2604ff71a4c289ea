from libc.stdint cimport int64_t

from streamce.core.grouping.key_index cimport Table
from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.samples cimport Samples


cdef class Groups:
    cdef readonly tuple kinds  # of the parts of a key: None for a part that is null in all keys so far
    cdef Table table
    cdef Ledger ledger
    cdef Py_ssize_t n_vacated  # cells that became 0 since the last search for them
    cdef int64_t bound  # at least the largest counter; ALL_FULL if a sum can leave its range

    cpdef bint crowded(self, Samples samples)
    cdef int add_each(
        self, Samples samples, const int64_t[::1] integers, const int64_t[::1] code, int64_t[::1] slot_of
    ) except -1
    cdef int add_groups(self, Groups theirs, int sign, str argument) except -1
    cdef Groups copied(self)
    cdef int ensure_kinds(self, tuple kinds) except -1
    cdef tuple known(self)
    cpdef Py_ssize_t count(self) except -1
    cdef int64_t number(self, Py_ssize_t slot) noexcept
    cdef bint is_occupied(self, Py_ssize_t slot) noexcept
    cdef void replace_with(self, Groups other) noexcept
    cdef int merge_from(self, Groups other, int sign) except -1
