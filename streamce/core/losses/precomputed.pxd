from streamce.core.losses.workspace cimport Blocks, work
from streamce.core.samples.samples cimport Samples


cdef void computed(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void recall(work* w, Samples found, Py_ssize_t at, Py_ssize_t k) noexcept nogil
