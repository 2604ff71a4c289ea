from libc.stdint cimport uint8_t

from streamce.core.ledger.state cimport State
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport Samples


cdef int check_clusters(State state, Py_ssize_t samples, Py_ssize_t added, bucket) except -1
cdef int add_clusters(Routes to, Samples samples, const uint8_t[::1] bucket) except -1
