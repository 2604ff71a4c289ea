from streamce.core.kernels.kernels cimport BLOCK
from streamce.core.losses.workspace cimport Blocks, work

cdef double[BLOCK] ZEROS
cdef double[BLOCK] ONES


cdef void lay_factors(Blocks b, work* w, Py_ssize_t at) noexcept nogil
cdef void elements(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void outcomes(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void shares(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void outcomes(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
