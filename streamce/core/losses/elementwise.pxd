from streamce.core.kernels.kernels cimport BLOCK
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace

cdef double[BLOCK] ZEROS
cdef double[BLOCK] ONES


cdef void fill_factors(Batch b, Workspace* w, Py_ssize_t at) noexcept nogil
cdef void elements(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void outcomes(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void shares(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
