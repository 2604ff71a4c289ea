from streamce.core.blocks cimport Blocks, work


cdef void lay_factors(Blocks b, work* w, Py_ssize_t at) noexcept nogil
cdef void elements(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void outcomes(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void shares(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void outcomes(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
