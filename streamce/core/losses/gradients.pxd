from streamce.core.ledger.ledger cimport Ledger
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace


cdef void gradients(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef int add_divisors(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, Ledger total) except -1 nogil
