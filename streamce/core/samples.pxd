from streamce.core.blocks cimport STATUSES, Blocks, work
from streamce.core.ledger cimport Ledger


# What counts the losses of a status.
cdef int[STATUSES] COUNTER_OF

cdef int collect(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells) except -1 nogil
