from libc.stdint cimport int64_t, uint8_t

from streamce.core.losses.array_view cimport F32, F64, view
from streamce.core.losses.batch cimport Batch


cdef struct rows_scratch:
    # Some rows that cannot be read where they lie.
    char* raw              # gathered, in their own dtype
    char* floats
    double* doubles


# Scratch memory of a tile, the few losses that are worked on while they are in the cache. They are either elements or
# rows, and both lie in the same memory, as do fields of different steps: ``lay_tile`` says which share it.
cdef struct ElementTile:
    double* outcome        # 1, 0 or a soft target
    double* cost_1         # of outcome 1
    double* cost_0         # of outcome 0
    double* x              # predictions as doubles
    double* kernel         # scratch memory of the kernels
    # For a gradient, once costs have been used.
    double* share_1        # what outcome 1 counts
    double* share_0


cdef struct RowTile:
    double* largest        # logits: the largest, m
    double* rest           # logits: the sum of exp(x - m) of the other classes, and then its log1p
    double* plain_rest     # the same sum, kept for a gradient
    double* total          # probabilities: their sum
    double* label_x        # x of the true class
    double* target_total   # soft targets: their sum
    double* share_total    # the sum of what classes count
    double* gaps           # the sum of m - x
    double* target_gaps    # the same with soft targets as factors
    double* class_cost     # of all classes, row by row
    double* class_share    # what each of them counts
    double* scale          # CTC: what makes exp(x - m) a probability
    # For a gradient, once costs have been used.
    double* row_factor     # what a row's softmax counts,
    double* share_factor   # its soft targets,
    double* base_factor    # smoothing
    double* label_factor   # and its label
    # For calibration, once costs have been used.
    double* other_probs    # the sum of all but the likeliest class
    double* prob_total     # and of all
    double* kernel         # scratch memory of the kernels


cdef struct Workspace:
    # Scratch memory of a block: one piece, cut up. `capacity` losses each.
    char* memory           # what was allocated for it, or NULL
    double* n
    double* d
    double* cost           # of the true class, or of the true outcome
    double* weight
    const double* weights  # of this block's losses: `weight`, from the first loss at hand on
    double* sample_n
    double* sample_d
    double* factor         # four per loss: see Batch.positive
    int64_t* label
    Py_ssize_t* offset
    uint8_t* status
    uint8_t* flags         # what was odd about losses that count
    char* raw              # gathered elements, in their own dtype
    char* floats           # halves as floats
    rows_scratch preds, targets
    ElementTile elements   # of some losses: one of these is in use
    RowTile rows
    Py_ssize_t capacity
    Py_ssize_t step        # rows of scratch memory, and
    const void* q          # where their soft targets are, as floats or doubles
    Py_ssize_t q_stride
    const void* x          # and where their predictions
    Py_ssize_t x_stride
    # For a gradient alone.
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
    bint targets_are_binary  # elements: each loss is the cost of one outcome
    Py_ssize_t phase       # label of the first loss that `factor` is laid out for; -1: not yet
    bint odd               # some status is not COUNTED
    bint flagged           # some flag is up
    # A sample that goes on in the next block.
    double n_sum, n_lost, d_sum, d_lost
    Py_ssize_t members, missing
    Py_ssize_t sample      # the number of this one


cdef Py_ssize_t block_size(Batch b) noexcept nogil
cdef int allocate(Workspace* w, Batch b, Py_ssize_t losses, char* stack_buffer, Py_ssize_t size) noexcept nogil
cdef Workspace tile_of(const Workspace* w, Py_ssize_t first) noexcept nogil


cdef inline bint in_place(const view* v, bint is_float32) noexcept nogil:
    """Whether the kernels can read rows where they lie, as floats or as doubles."""
    return v.direct and v.dtype == (F32 if is_float32 else F64)


cdef inline void flag(Workspace* w, Py_ssize_t i, int what) noexcept nogil:
    w.flags[i] |= what
    w.flagged = True
