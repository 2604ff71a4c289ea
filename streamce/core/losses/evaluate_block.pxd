from streamce.core.losses.workspace cimport Blocks, work


cdef void fill(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
