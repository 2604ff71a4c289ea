from libc.stdint cimport int64_t, uint8_t

from streamce.core.losses.array_view cimport F32, F64, Array, view
from streamce.core.samples.samples cimport Samples


cdef enum:
    BINARY, MULTICLASS, MULTILABEL, MEAN
    PROBS = 0
    LOG_PROBS
    LOGITS


cdef struct rules:
    # The options of a metric, as the blocks need them.
    int task
    int kind
    double floor        # of probabilities, and
    double cap          # its cost
    double ceiling
    double smoothing
    bint ignores
    int64_t ignore
    bint skips


cdef class Vector:
    cdef double* at
    cdef Py_ssize_t size


cdef struct rows_scratch:
    # Some rows that cannot be read where they lie.
    char* raw              # gathered, in their own dtype
    char* floats
    double* doubles


cdef struct work:
    # Scratch memory: one piece, cut up. `room` losses each.
    char* memory           # what was allocated for it, or NULL
    double* n
    double* d
    double* cost           # of the true class, or of the true outcome
    double* m              # rows: the largest logit; elements: the cost of outcome 1
    double* u              # rows: log1p of the others, or the row sum; elements: of outcome 0
    double* soft           # elements: outcomes or soft targets; rows: x of the true class, or the sum of soft targets
    double* gap            # rows: the sum of m - x; elements: scratch memory of the kernels
    double* dot            # rows: the sum of m - x with soft targets as factors
    double* weight
    const double* weights  # of this block's losses: `weight`, from the first loss at hand on
    double* sample_n
    double* sample_d
    double* factor         # four per loss: see Blocks.positive
    int64_t* label
    Py_ssize_t* offset
    uint8_t* status
    uint8_t* flags         # what was odd about losses that count
    char* raw              # gathered elements, in their own dtype
    char* floats           # halves as floats
    rows_scratch preds, targets
    double* spread         # costs of all classes of some rows
    double* share          # what each of them counts
    Py_ssize_t room
    Py_ssize_t step        # rows of scratch memory, and
    const void* q          # where their soft targets are, as floats or doubles
    Py_ssize_t q_stride
    const void* x          # and where their predictions
    Py_ssize_t x_stride
    # For a gradient alone.
    double* others         # rows: u before it became its log1p
    char* slopes           # of some losses, where they cannot be written in place, as floats or doubles
    char* shares           # what each class counts, as floats
    char* narrowed         # slopes as floats, and in the dtype of the gradient
    char* packed
    # For calibration alone: of each loss
    double* expected       # what its prediction says it comes to on average,
    double* excess         # what it came to beyond that,
    double* variance       # of which this is the variance foretold,
    double* confidence     # how likely outcome 1 or the likeliest class is,
    double* rest           # elements: how likely outcome 0 is,
    double* outcome        # and whether outcome 1 or that class came
    int64_t* top           # rows: the likeliest class
    double* costs          # costs of all classes of some rows
    double* chances        # and their probabilities,
    Py_ssize_t kept        # of so many classes kept for all rows of the block; 0: of these rows alone
    # What the last block came to.
    int exponent           # the largest of n
    bint certain           # elements: each loss is the cost of one outcome
    Py_ssize_t phase       # label of the first loss that `factor` is laid out for; -1: not yet
    bint odd               # some status is not COUNTED
    bint flagged           # some flag is up
    # A sample that goes on in the next block.
    double n_sum, n_lost, d_sum, d_lost
    Py_ssize_t members, missing
    Py_ssize_t sample      # the number of this one


cdef class Blocks:
    cdef rules r
    cdef Array preds, target, weights, settled
    cdef double* out         # the losses one by one, or NULL
    cdef Samples recorded    # the samples one by one, or None
    cdef Samples computed    # the losses one by one, worked out elsewhere, or None
    cdef Array gradient      # where that of each prediction goes, or None
    cdef double divisor      # of it
    cdef bint has_weight, has_settled
    cdef bint hard           # integer targets
    cdef bint unit           # d is 1
    cdef bint plain          # and n is the cost
    cdef bint weight_each    # a weight per loss, not per sample
    cdef bint whole          # the d of a sample is its weight, however many losses it has
    cdef bint by_position    # cells are places within samples
    cdef bint calibrates     # what predictions expect is worked out, too,
    cdef bint splits         # and of rows the probabilities of all classes are summed
    cdef bint factored       # elements: labels or outcomes have factors
    cdef bint single         # the kernels get floats, or halves made floats; else doubles
    cdef bint evenly         # logits whose classes weigh the same: the kernels add up what smoothing needs
    cdef Py_ssize_t losses, samples, labels
    cdef Py_ssize_t group    # losses of each sample; 0: as `offsets` say
    cdef const int64_t* offsets
    cdef double tolerance, target_tolerance
    # Elements: n = positive y' A + negative (1 - y') B, d = positive_d y + negative_d (1 - y), for
    # outcome costs A and B and the smoothed y', label by label.
    cdef Vector positive, negative, positive_d, negative_d
    # Rows: the weights of the classes (None: 1), and what smoothing adds to each class.
    cdef Vector class_weight, base, ones
    cdef double base_sum

    cdef Py_ssize_t cells(self) noexcept nogil
    cdef Py_ssize_t at_a_time(self) noexcept nogil
    cdef Py_ssize_t step(self) noexcept nogil
    cdef int make(self, work* w, Py_ssize_t losses, char* near, Py_ssize_t size) noexcept nogil


cdef work work_from(const work* w, Py_ssize_t first) noexcept nogil


cdef inline bint in_place(const view* v, bint single) noexcept nogil:
    """Whether the kernels can read rows where they lie, as floats or as doubles."""
    return v.direct and v.dtype == (F32 if single else F64)


cdef inline void flag(work* w, Py_ssize_t i, int what) noexcept nogil:
    w.flags[i] |= what
    w.flagged = True


cdef inline bint below_floor(Blocks b, double p) noexcept nogil:
    """Whether a probability, or the logarithm of one, is below the floor."""
    return p < b.r.floor if b.r.kind == PROBS else 0.0 - p > b.r.cap


cdef inline double product(double cost, double factor) noexcept nogil:
    return cost * factor if factor != 0 and cost != 0 else 0.0  # 0 * inf is 0
