from streamce.core.ledger.ledger cimport Ledger
from streamce.core.losses.workspace cimport Blocks, work


cdef void expect(Blocks b, work* w, Py_ssize_t k) noexcept nogil
cdef int add_calibration(Blocks b, work* w, const double* d, Py_ssize_t k, Ledger to) except -1 nogil
cdef Py_ssize_t calibration_cells(Blocks b) noexcept nogil
