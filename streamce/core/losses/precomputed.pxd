from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace
from streamce.core.samples.samples cimport Samples


cdef void apply_precomputed(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef void restore_losses(Workspace* w, Samples losses, Py_ssize_t at, Py_ssize_t k) noexcept nogil
