from libc.stdint cimport int64_t


cdef enum:
    BINARY, MULTICLASS, MULTILABEL, MEAN
    PROBS = 0
    LOG_PROBS
    LOGITS


cdef class LossSpec:
    cdef int task
    cdef int kind
    cdef double smoothing
    cdef double floor         # of probabilities
    cdef double cap           # the cost of the floor
    cdef double ceiling
    cdef bint ignores
    cdef int64_t ignore_index
    cdef object class_weight  # a number, a tuple with one for each class or label, or None
    cdef object pos_weight
    cdef int axis             # of classes or labels


cdef class Breakdowns:
    cdef readonly bint per_cell  # by class, label or position
    cdef bint by_position
    cdef bint sequence_mean      # d of a sample is its weight, and does not depend on its number of losses
    cdef bint tail
    cdef bint calibration
