from streamce.core.ledger.ledger cimport Ledger
from streamce.core.losses.workspace cimport Blocks, work


cdef int collect(
    Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells, Ledger tail, Ledger calibration
) except -1 nogil
