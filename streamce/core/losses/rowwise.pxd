from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace


cdef void rows(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void labels_of(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef double total_share(Batch b, Workspace* w, Py_ssize_t i) noexcept nogil
cdef void own_shares(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil


cdef inline double at_row(const void* x, bint is_float32, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t c) noexcept nogil:
    if is_float32:
        return (<const float*>x)[i * stride + c]
    return (<const double*>x)[i * stride + c]
