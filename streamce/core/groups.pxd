from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from streamce.core.blocks cimport Samples
from streamce.core.ledger cimport Ledger


cdef extern from "keys.h" nogil:
    ctypedef struct keys:
        uint64_t seed
        Py_ssize_t size
    uint64_t mix64(uint64_t) noexcept
    uint64_t hash_bytes(const uint8_t*, size_t, uint64_t) noexcept
    void keys_prefetch(const keys*, uint64_t) noexcept
    uint64_t* keys_slot(const keys*, Py_ssize_t) noexcept
    Py_ssize_t keys_find(keys*, uint64_t, uint64_t, const uint8_t*, uint32_t, bint) noexcept
    void keys_free(keys*) noexcept
    void PREFETCH(const void*) noexcept


cdef class Table:
    cdef keys held
    cdef bint integers  # a key is one integer or, in slot 0, null; else bytes

    cdef Py_ssize_t slots(self) noexcept
    cdef Py_ssize_t find(self, bytes key, bint add) except -2
    cdef Py_ssize_t find_integer(self, int64_t key, bint add) except -2
    cdef Py_ssize_t find_of(self, Table other, Py_ssize_t slot, bint add) except -2
    cdef bytes key(self, Py_ssize_t slot)


cdef class Groups:
    cdef readonly tuple kinds  # of the parts of a key; None where all keys are null so far
    cdef Table table
    cdef Ledger ledger
    cdef Py_ssize_t emptied  # cells that merges made 0, since they were last looked for

    cdef int fit(self, tuple kinds) except -1
    cdef tuple known(self)
    cpdef Py_ssize_t count(self) except -1
    cdef bint lives(self, Py_ssize_t slot) noexcept
    cdef int add_one(self, Samples samples, Py_ssize_t i, Py_ssize_t slot) except -1
    cdef void become(self, Groups other) noexcept
    cdef int take_in(self, Groups other, int sign) except -1
