from streamce.core.ledger.calibration_cells cimport ClassShares
from streamce.core.ledger.ledger cimport Ledger
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.workspace cimport Workspace


cdef void compute_calibration_terms(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil
cdef int add_calibration(
    Batch b, Workspace* w, const double* d, Py_ssize_t k, Ledger to, ClassShares shares
) except -1 nogil
cdef Py_ssize_t calibration_cells(Batch b) noexcept nogil
