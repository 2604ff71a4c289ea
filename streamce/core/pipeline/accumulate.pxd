from streamce.core.ledger.state cimport State
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace
from streamce.core.samples.routes cimport Routes


cdef int reserve(Batch b, State to) except -1
cdef int accumulate_by_route(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, Routes to) except -1
cdef int accumulate_block(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, State to) except -1 nogil
