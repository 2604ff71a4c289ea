from streamce.core.losses.workspace cimport Blocks, work


cdef void rows(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void labels_of(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void own_shares(Blocks b, work* w, Py_ssize_t k) noexcept nogil


cdef inline double at_row(const void* x, bint single, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t c) noexcept nogil:
    if single:
        return (<const float*>x)[i * stride + c]
    return (<const double*>x)[i * stride + c]
cdef void labels_of(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
