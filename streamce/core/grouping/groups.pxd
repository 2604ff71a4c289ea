from libc.stdint cimport int64_t

from streamce.core.grouping.key_index cimport Table
from streamce.core.ledger.ledger cimport Ledger
from streamce.core.samples.samples cimport Samples


cdef class Groups:
    cdef readonly tuple kinds  # of the parts of a key; None where all keys are null so far
    cdef Table table
    cdef Ledger ledger
    cdef Py_ssize_t n_vacated  # cells that merges made 0, since they were last looked for
    cdef int64_t bound       # no counter is larger; ALL_FULL if a sum may leave its range

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
