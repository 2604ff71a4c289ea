from streamce.core.ledger.state cimport State
from streamce.core.losses.batch cimport Batch
from streamce.core.samples.routes cimport Routes


cdef bint add_at_once(State state, Batch b) except -1
cdef Routes run_in_parts(Batch b, threads)
cdef double sum_of_weights(Batch b, threads) except? -1
