from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


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
    cdef keys index
    cdef bint integers  # a key is one integer, or null in slot 0; otherwise keys are bytes

    cdef Py_ssize_t slots(self) noexcept
    cdef Py_ssize_t find(self, bytes key, bint add) except -2
    cdef Py_ssize_t find_integer(self, int64_t key, bint add) except -2
    cdef Py_ssize_t find_of(self, Table other, Py_ssize_t slot, bint add) except -2
    cdef bytes key(self, Py_ssize_t slot)


cdef uint64_t SEED  # random in each process
cdef bytes integer_key(int64_t integer)
cdef Py_ssize_t slot_at(Py_ssize_t index) except -2
cdef Py_ssize_t key_end(const uint8_t* data, Py_ssize_t at, Py_ssize_t size, tuple kinds) except -1
cdef int add_kinds(list used, tuple kinds, bytes key) except -1
