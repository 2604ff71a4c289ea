from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace


cdef void evaluate_block(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
