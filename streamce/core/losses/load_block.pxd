from streamce.core.losses.array_view cimport view
from streamce.core.losses.workspace cimport Blocks, rows_scratch, work


cdef const void* elements_of(work* w, view* v, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef const double* doubles_of(work* w, view* v, Py_ssize_t at, Py_ssize_t k, double* out) noexcept nogil
cdef const void* rows_of(
    Blocks b, work* w, view* v, Py_ssize_t at, Py_ssize_t k, rows_scratch* scratch, Py_ssize_t* stride
) noexcept nogil
cdef void settled_of(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void weights_of(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void check_weights(Blocks b, work* w, Py_ssize_t k) noexcept nogil
cdef const float* singles(int dtype, const void* source, Py_ssize_t n, char* out) noexcept nogil
