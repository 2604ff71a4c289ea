from streamce.core.blocks cimport Blocks, work


cdef void gradients(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void divisors(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
