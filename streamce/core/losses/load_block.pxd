from streamce.core.losses.array_view cimport view
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace, rows_scratch


cdef const void* elements_of(Workspace* w, view* v, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef const double* doubles_of(Workspace* w, view* v, Py_ssize_t at, Py_ssize_t k, double* out) noexcept nogil
cdef const void* rows_of(
    Batch b, Workspace* w, view* v, Py_ssize_t at, Py_ssize_t k, rows_scratch* scratch, Py_ssize_t* stride
) noexcept nogil
cdef void status_of(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void weights_of(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void check_weights(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil
cdef const float* floats_of(int dtype, const void* source, Py_ssize_t n, char* out) noexcept nogil
