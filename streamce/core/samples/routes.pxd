from libc.stdint cimport int64_t

from streamce.core.ledger.state cimport State


cdef class Routes:
    cdef readonly list states
    cdef const int64_t[::1] codes  # of each sample; None: not known yet, or the code of all is 0
    cdef const double[::1] factor  # of each sample; None: every factor is 1
    cdef readonly str argument     # the argument with the codes

    cpdef Routes fresh(self)
    cdef State of(self, Py_ssize_t sample)
    cdef int add(self, Routes other) except -1


cdef Routes to_one(State state)
