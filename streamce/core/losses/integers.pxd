from libc.stdint cimport int64_t

from streamce.core.losses.array_view cimport ArrayView


cdef class Integers:
    cdef int64_t* at
    cdef Py_ssize_t size


cdef Integers copy_of(ArrayView source)
cdef Integers lengths_of(object source, str name, Py_ssize_t size)
