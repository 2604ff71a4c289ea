from streamce.core.ledger.ledger cimport Ledger
from streamce.core.losses.workspace cimport Blocks, work


cdef void gradients(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil
cdef int add_divisors(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total) except -1 nogil
