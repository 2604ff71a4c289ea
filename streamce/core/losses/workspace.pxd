from libc.stdint cimport int64_t, uint8_t

from streamce.core.losses.array_view cimport F32, F64, view
from streamce.core.losses.batch cimport Batch


cdef struct rows_scratch:
    # Copies of rows that cannot be read in place.
    char* raw              # gathered, in their own dtype
    char* floats
    double* doubles


# Scratch memory of a tile, which is a few losses that stay in the cache. A tile has either elements or rows, so these
# share memory. Fields of different steps also share memory: see ``lay_out_tile``.
cdef struct ElementTile:
    double* outcome        # 1, 0 or a soft target
    double* cost_1         # of outcome 1
    double* cost_0         # of outcome 0
    double* x              # predictions as doubles
    double* kernel         # scratch memory of the kernels
    # For a gradient, after the costs.
    double* share_1        # the share of outcome 1
    double* share_0


cdef struct RowTile:
    double* largest        # logits: the largest, m
    double* rest           # logits: the sum u of exp(x - m) of the other classes, later log1p(u)
    double* plain_rest     # the sum u, for a gradient
    double* total          # probabilities: their sum
    double* label_x        # x of the true class
    double* target_total   # soft targets: their sum
    double* share_total    # the sum of the classes' shares
    double* gaps           # the sum of m - x
    double* target_gaps    # the sum of q (m - x) with soft targets q
    double* class_cost     # of all classes, row by row
    double* class_share    # of all classes, row by row
    double* scale          # CTC: exp(x - m) times this is a probability
    # For a gradient, after the costs.
    double* row_factor     # factor of the softmax
    double* share_factor   # factor of the soft targets
    double* base_factor    # the share of smoothing
    double* label_factor   # the share of the true class
    # For calibration, after the costs.
    double* label_cost     # the cost of the true class
    double* least_cost     # the cost of the likeliest class


cdef struct Workspace:
    # Scratch memory of a block: arrays of `capacity` losses in one allocation.
    char* memory           # the allocation, or NULL
    double* n
    double* d
    double* cost           # of the true class, or of the true outcome
    double* weight
    const double* weights  # of this tile's losses: points into `weight`
    double* sample_n
    double* sample_d
    double* factor         # four per loss: see Batch.positive
    int64_t* label
    Py_ssize_t* offset
    uint8_t* status
    uint8_t* flags         # anomalies of losses that count
    char* raw              # gathered elements, in their own dtype
    char* floats           # half precision converted to floats
    rows_scratch preds, targets
    ElementTile elements   # a tile uses either this or `rows`
    RowTile rows
    Py_ssize_t capacity
    Py_ssize_t step        # losses of a tile
    const void* q          # soft targets of a tile's rows, as floats or doubles
    Py_ssize_t q_stride
    const void* x          # predictions of a tile
    Py_ssize_t x_stride
    # For a gradient only.
    char* slopes           # of a tile, as floats or doubles, if they cannot be written in place
    char* shares           # of the classes, as floats
    char* narrowed         # slopes as floats
    char* packed           # slopes in the dtype of the gradient
    # For calibration only: of each loss
    double* expected       # the mean loss that its prediction implies
    double* excess         # the loss minus the expected loss
    double* variance       # the variance of the loss that its prediction implies
    double* confidence     # the probability of outcome 1 or of the likeliest class
    double* rest           # elements: the probability of outcome 0; rows: the largest prediction
    double* outcome        # elements: the target; rows: whether the likeliest class is the true one
    double* others         # rows: the probabilities of all classes but the likeliest, later 1 / the sum of all
    int64_t* top           # rows: the likeliest class
    double* costs          # predictions as doubles, of a tile's rows or of one row
    char* chances          # predictions of all rows of the block, as floats or doubles, if they are summed by class
    Py_ssize_t row_bytes   # bytes of a row of `chances`, or 0
    # Results of the last block.
    int exponent           # the largest of n
    bint targets_are_binary  # elements: each loss is the cost of one outcome
    Py_ssize_t phase       # label of the first loss for which `factor` was filled, or -1
    bint odd               # whether a status is not COUNTED
    bint flagged           # whether a loss has flags
    # A sample that continues in the next block: sums, their rounding errors, losses counted, losses missing.
    double n_sum, n_lost, d_sum, d_lost
    Py_ssize_t members, missing
    Py_ssize_t sample      # index of the sample
    # If samples have factors: those of this block's samples, all of which belong to one sample.
    bint has_factor
    double sample_factor


cdef Py_ssize_t block_size(Batch b) noexcept nogil
cdef int allocate(Workspace* w, Batch b, Py_ssize_t losses, char* stack_buffer, Py_ssize_t size) noexcept nogil
cdef Workspace tile_of(const Workspace* w, Py_ssize_t first) noexcept nogil


cdef inline bint in_place(const view* v, bint is_float32) noexcept nogil:
    """Return whether the kernels can read rows in place, as floats or as doubles."""
    return v.direct and v.dtype == (F32 if is_float32 else F64)


cdef inline void flag(Workspace* w, Py_ssize_t i, int bits) noexcept nogil:
    w.flags[i] |= bits
    w.flagged = True
