"""The one path that data takes: views -> blocks -> costs -> (n, d) per sample -> ledger.

A *loss* is one cost: an entry of a binary or multilabel array, a row of a multiclass one. A
*sample* is an entry of the first axis, and holds one loss or several. Blocks of losses pass
through these steps, each a function below:

    targets    labels, outcomes or soft targets; what is ignored or unknown gets a status
    costs      the kernels; odd costs are looked at one by one (settle_*)
    weigh      n = weight * factor * cost, d = weight * factor
    collect    losses to samples, samples to the ledger, oddities to its counters

A chunk is folded into fresh ledgers with no lock held and merged at the end, so an error leaves
the metric as it was. The smallest offending index is reported whatever the threads did.
"""

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from streamce.core.kernels cimport BLOCK, fp_enter, fp_leave, kernel_table, table
from streamce.core.ledger cimport (
    COUNT, FLOORED, IGNORED, INFINITE, INVALID_LABEL, INVALID_NAN, INVALID_NULL, INVALID_RANGE,
    INVALID_ROW_SUM, INVALID_WEIGHT, UNNORMALISED, Ledger, State,
)

from functools import partial

import numpy as np

from streamce import inputs, threads

cdef extern from "views.h" nogil:
    enum:
        MAX_AXES
        F16, BF16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64
    ctypedef struct view:
        const char* data
        int dtype
        int itemsize
        int swapped
        int ndim
        Py_ssize_t* shape
        Py_ssize_t* strides
        Py_ssize_t classes
        Py_ssize_t class_stride
        int direct
    void view_settle(view*) noexcept
    Py_ssize_t view_step(const view*) noexcept
    void view_gather(const view*, Py_ssize_t, Py_ssize_t, Py_ssize_t*, void*) noexcept
    void integers_to_labels(int, const void*, Py_ssize_t, int64_t*) noexcept
    void integers_to_doubles(int, const void*, Py_ssize_t, double*) noexcept

cdef enum:
    BINARY, MULTICLASS, MULTILABEL, MEAN
    PROBS = 0
    LOG_PROBS
    LOGITS
    # Why a loss does not count. In this order, the first that applies is reported.
    COUNTED = 0
    LEFT_OUT
    IS_NULL
    BAD_LABEL
    TARGET_NAN
    TARGET_RANGE
    TARGET_SUM
    BAD_WEIGHT
    PREDS_NAN
    PREDS_RANGE
    PREDS_SUM
    STATUSES

TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL, "mean": MEAN}
KINDS = {"probs": PROBS, "log_probs": LOG_PROBS, "logits": LOGITS}
# Why a status; the names that errors and counters have for it.
CAUSES = {
    IS_NULL: ("null", "invalid_null"),
    BAD_LABEL: ("label", "invalid_label"),
    TARGET_NAN: ("target_nan", "invalid_nan"),
    TARGET_RANGE: ("target_range", "invalid_range"),
    TARGET_SUM: ("target_sum", "invalid_row_sum"),
    BAD_WEIGHT: ("weight", "invalid_weight"),
    PREDS_NAN: ("preds_nan", "invalid_nan"),
    PREDS_RANGE: ("preds_range", "invalid_range"),
    PREDS_SUM: ("preds_sum", "invalid_row_sum"),
}

cdef int COUNTER_OF[STATUSES]
COUNTER_OF[:] = [
    COUNT, IGNORED, INVALID_NULL, INVALID_LABEL, INVALID_NAN, INVALID_RANGE, INVALID_ROW_SUM,
    INVALID_WEIGHT, INVALID_NAN, INVALID_RANGE, INVALID_ROW_SUM,
]

cdef double INF = float("inf")
cdef double NAN = float("nan")
cdef uint64_t INF_BITS = 0x7FF0000000000000
cdef uint8_t[BLOCK] ZEROS
cdef uint8_t[BLOCK] ONES
cdef double[1] ONE
memset(ZEROS, 0, BLOCK)
memset(ONES, 1, BLOCK)

# Rows * classes that are gathered, converted or spread at a time.
cdef Py_ssize_t SPREAD = 16384
# Below as many predictions a chunk is not worth a second thread.
cdef Py_ssize_t WORTH_A_THREAD = 1 << 18


cdef class Array:
    """An argument's buffer and the view of it."""

    cdef Py_buffer buffer
    cdef bint held
    cdef view v
    cdef bint real

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.buffer)

    cdef int take(self, object source, str name) except -1:
        """Holds the buffer of an array; whatever is none goes through ``inputs`` first."""
        if type(source) is not ndarray or not self.hold(source):
            source, halves = inputs.array(source, name)
            if not self.hold(source):
                raise inputs.unsupported(source, name)
            if halves:
                self.v.dtype = BF16
        self.real = self.v.dtype <= F64
        self.v.data = <const char*>self.buffer.buf
        self.v.itemsize = <int>self.buffer.itemsize
        return 0

    cdef bint hold(self, object source) except -1:
        """Whether the array has a buffer of a dtype that blocks are read from."""
        cdef const char* format
        try:
            PyObject_GetBuffer(source, &self.buffer, PyBUF_STRIDED_RO | PyBUF_FORMAT)
        except (ValueError, BufferError):  # a dtype the protocol has no letter for
            return False
        self.held = True
        format = self.buffer.format
        self.v.swapped = format[0] == FOREIGN
        self.v.dtype = dtype_of(format, self.buffer.itemsize)
        if self.v.dtype < 0:
            PyBuffer_Release(&self.buffer)
            self.held = False
        return self.held

    cdef void axes(self, int class_axis) noexcept:
        """Splits the axes into those of the losses and the class axis (-1: none)."""
        cdef int k
        self.v.ndim = 0
        self.v.classes = 1
        self.v.class_stride = self.v.itemsize
        for k in range(self.buffer.ndim):
            if k == class_axis:
                self.v.classes = self.buffer.shape[k]
                self.v.class_stride = self.buffer.strides[k]
            else:
                self.v.shape[self.v.ndim] = self.buffer.shape[k]
                self.v.strides[self.v.ndim] = self.buffer.strides[k]
                self.v.ndim += 1
        view_settle(&self.v)

    cdef tuple shape(self):
        return tuple([self.buffer.shape[k] for k in range(self.buffer.ndim)])


cdef type ndarray = np.ndarray
cdef char FOREIGN = b">" if np.little_endian else b"<"


cdef int dtype_of(const char* format, Py_ssize_t itemsize) noexcept:
    """The dtype of a buffer by the letter of the struct module; -1 for any other."""
    if format[0] in (b"<", b">", b"=", b"@", b"|"):
        format += 1
    if format[0] == 0 or format[1] != 0:
        return -1
    cdef char letter = format[0]
    if letter == b"d":
        return F64
    if letter == b"f":
        return F32
    if letter == b"e":
        return F16
    if letter in (b"b", b"h", b"i", b"l", b"q"):
        return I64 if itemsize == 8 else I32 if itemsize == 4 else I16 if itemsize == 2 else I8
    if letter in (b"?", b"B", b"H", b"I", b"L", b"Q"):
        return U64 if itemsize == 8 else U32 if itemsize == 4 else U16 if itemsize == 2 else U8
    return -1


cdef class Vector:
    """Doubles of our own: class weights, factors."""

    cdef double* at
    cdef Py_ssize_t size

    def __cinit__(self, values):
        self.size = len(values)
        self.at = <double*>malloc(max(1, self.size) * sizeof(double))
        if self.at is NULL:
            raise MemoryError
        for i in range(self.size):
            self.at[i] = values[i]

    def __dealloc__(self):
        free(self.at)


cdef struct work:
    # One allocation, cut up; `room` losses each.
    char* memory
    double* cost
    double* n
    double* d
    double* m            # rows: the largest logit; elements: the cost of outcome 1
    double* u            # rows: log1p of the others, or the row sum; elements: of outcome 0
    double* soft
    double* weight
    double* sample_n
    double* sample_d
    int64_t* label
    int64_t* cell
    Py_ssize_t* offset
    uint8_t* status
    uint8_t* outcome
    const double* weights  # of this block's losses
    char* raw              # gathered preds, in their own dtype
    char* raw_target       # gathered soft targets
    float* single          # halves as floats
    float* single_target
    double* spread         # costs of all classes of some rows
    double* share          # what each of them counts
    # What the last block came to.
    bint odd             # some status is not COUNTED
    bint weighted        # d is not 1 throughout
    Py_ssize_t bad
    int64_t count[32]
    # A sample that goes on in the next block.
    double n_sum, n_lost, d_sum
    Py_ssize_t members


cdef class Pipeline:
    """The options of a metric, and what turns its inputs into what a ledger adds."""

    cdef int task, kind
    cdef double floor, ceiling, cap, smoothing
    cdef bint ignores, skips
    cdef int64_t ignore
    cdef object class_weight, pos_weight
    cdef int axis
    cdef readonly bint per_cell
    cdef object limit

    def __init__(
        self, str task, str kind="probs", *, double smoothing=0.0, ignore_index=None, class_weight=None,
        pos_weight=None, double floor=0.0, double ceiling=1.0, bint skips=False, int axis=-1, bint per_cell=False,
        threads=None,
    ):
        self.task = TASKS[task]
        self.kind = KINDS[kind]
        self.smoothing = smoothing
        self.ignores = ignore_index is not None
        self.ignore = ignore_index if self.ignores else 0
        self.class_weight = class_weight
        self.pos_weight = pos_weight
        self.floor = floor
        self.ceiling = ceiling
        self.skips = skips
        self.axis = axis
        self.per_cell = per_cell
        self.limit = threads
        table().neg_log(&self.floor, 1, 0.0, 1.0, &self.cap)

    def update(self, State state not None, preds, target, weight=None, null=None, out=None):
        """Adds a chunk to ``state``; writes the losses to ``out`` if it is given."""
        cdef Job job = Job.__new__(Job)
        cdef Ledger total, cells
        job.open(self, preds, target, weight, null, out)
        if state.cells is not None and state.cells.size != job.cells():
            raise inputs.class_count(
                "labels" if self.task == MULTILABEL else "classes", job.preds_shape, state.cells.size
            )
        for total, cells in job.run(self.limit, self.per_cell):
            state.add(total, cells, 1)


cdef class Job:
    """One chunk under way."""

    cdef Pipeline p
    cdef Array preds, target, weights, nulls
    cdef tuple preds_shape
    cdef object arguments
    cdef double[::1] out
    cdef bint has_target, has_weight, has_null, has_out
    cdef bint hard           # integer targets
    cdef bint plain          # n is the cost and d is 1
    cdef bint weight_each    # a weight per loss, not per sample
    cdef Py_ssize_t losses, samples, group, factors
    cdef double tolerance, target_tolerance
    # Elements: n = positive y' A + negative (1 - y') B, d = positive_d y + negative_d (1 - y), by label.
    cdef Vector positive, negative, positive_d, negative_d
    # Rows: the weights of the classes, and what smoothing adds to each.
    cdef Vector class_weight, base, ones
    cdef double base_sum

    # ---- opening: shapes ----

    cdef int open(self, Pipeline p, preds, target, weight, null, out) except -1:
        cdef int axis = -1
        cdef int k
        self.p = p
        self.preds = Array.__new__(Array)
        self.preds.take(preds, "preds")
        self.has_target = p.task != MEAN
        self.arguments = (preds, target, weight)
        cdef tuple shape = self.preds.shape()
        cdef tuple inner = shape
        self.preds_shape = shape
        if not self.preds.real:
            raise inputs.integer_preds(preds, shape)
        if p.task == MULTICLASS or p.task == MULTILABEL:
            axis = inputs.class_axis(p.axis, shape, p.task == MULTICLASS)
            inner = shape[:axis] + shape[axis + 1:]
        if self.has_target:
            self.target = Array.__new__(Array)
            self.target.take(target, "target")
            target_shape = self.target.shape()
            self.hard = not self.target.real
            if p.task == MULTICLASS:
                if target_shape == shape and len(shape) == len(inner) + 1:
                    self.hard = False
                    if p.per_cell:
                        raise inputs.soft_per_class()
                elif target_shape != inner:
                    raise inputs.shapes(shape, target_shape, inner)
                elif self.target.real and self.target.buffer.len:
                    raise inputs.real_labels(target)
                else:
                    self.hard = True
            elif target_shape != shape:
                raise inputs.shapes(shape, target_shape, None)
            self.target.axes(-1 if p.task == MULTICLASS and self.hard else axis)
            if p.task == MULTILABEL:
                self.target.v = as_elements(&self.target.v)
        self.preds.axes(axis)
        self.group = 1
        if p.task == MULTILABEL:
            self.factors = self.preds.v.classes
            self.preds.v = as_elements(&self.preds.v)
            losses_shape = inner + (self.factors,)
        else:
            self.factors = 1
            losses_shape = inner
        self.samples = losses_shape[0] if inner else 1
        for k in range(1 if inner else 0, len(losses_shape)):
            self.group *= losses_shape[k]
        self.losses = self.samples * self.group
        if weight is not None:
            self.has_weight = True
            self.weights = Array.__new__(Array)
            self.weights.take(weight, "weight")
            weight_shape = self.weights.shape()
            if weight_shape == shape and p.task == MULTILABEL:
                self.weights.axes(axis)
                self.weights.v = as_elements(&self.weights.v)
                self.weight_each = True
            elif weight_shape == losses_shape:
                self.weights.axes(-1)
                self.weight_each = True
            elif weight_shape == losses_shape[:1] and inner:
                self.weights.axes(-1)
            elif weight_shape == ():
                raise inputs.weight_shape(weight_shape, losses_shape[:1])
            else:
                raise inputs.weight_shape(weight_shape, losses_shape[:1])
        if null is not None:
            self.has_null = True
            self.nulls = Array.__new__(Array)
            self.nulls.take(null, "null")
            self.nulls.axes(-1)
        if out is not None:
            self.has_out = True
            self.out = out
        self.tolerance = tolerance(self.preds.v.dtype)
        self.target_tolerance = tolerance(self.target.v.dtype) if self.has_target else 0.0
        self.prepare()
        return 0

    cdef int prepare(self) except -1:
        """The factors that the options put on each cost."""
        cdef Pipeline p = self.p
        weights = p.class_weight
        if p.task == MULTICLASS:
            classes = self.preds.v.classes
            if weights is not None and len(weights) != classes:
                raise inputs.class_weight_length(len(weights), classes, "classes")
            self.class_weight = Vector(weights) if weights is not None else None
            self.plain = weights is None and not self.has_weight and self.hard
            if not self.hard or p.smoothing > 0:
                self.ones = Vector([1.0] * classes)
                if self.class_weight is None:
                    self.class_weight = self.ones
                self.base = Vector([self.class_weight.at[c] * (p.smoothing / classes) for c in range(classes)])
                table().dot_rows(self.base.at, classes, self.ones.at, 0, 1, classes, &self.base_sum)
            return 0
        self.plain = (
            weights is None and p.pos_weight is None and not self.has_weight and p.smoothing == 0
            and (self.hard or p.task == MEAN)
        )
        if self.plain or p.task == MEAN:
            return 0
        positive = p.pos_weight
        if p.task == BINARY:
            low, high = weights if weights is not None else (1.0, 1.0)
            self.positive = Vector([high * (positive if positive is not None else 1.0)])
            self.negative = Vector([low])
            self.positive_d = Vector([high])
            self.negative_d = self.negative
            return 0
        labels = self.factors
        for name, values in (("class_weight", weights), ("pos_weight", positive)):
            if values is not None and not isinstance(values, float) and len(values) != labels:
                raise inputs.class_weight_length(len(values), labels, "labels", name)
        weights = weights if weights is not None else [1.0] * labels
        if positive is None or isinstance(positive, float):
            positive = [positive if positive is not None else 1.0] * labels
        self.positive = Vector([w * q for w, q in zip(weights, positive)])
        self.negative = Vector(weights)
        self.positive_d = self.negative_d = self.negative
        return 0

    cdef Py_ssize_t cells(self):
        """Labels or classes: what is summed one by one."""
        return self.factors if self.p.task == MULTILABEL else self.preds.v.classes

    # ---- running: parts, threads, errors ----

    cdef list run(self, limit, bint scatters):
        cdef Py_ssize_t parts = 1
        cdef Py_ssize_t predictions = self.losses * self.preds.v.classes
        if predictions >= 2 * WORTH_A_THREAD and self.samples > 1:
            parts = min(threads.limit(limit), predictions // WORTH_A_THREAD, self.samples)
        if parts <= 1:
            results = [self.part(0, self.samples, scatters)]
        else:
            bounds = [self.samples * i // parts for i in range(parts + 1)]
            results = threads.run([partial(self.part, a, b, scatters) for a, b in zip(bounds, bounds[1:])])
        found = [result[0] for result in results if result[0] is not None]
        if found:
            index, status = min(found)
            raise self.error(index, status)
        return [result[1:] for result in results]

    def part(self, Py_ssize_t start, Py_ssize_t stop, bint scatters):
        """Samples start ... stop - 1 as (error, ledger, ledger of cells)."""
        cdef Ledger total = Ledger(1)
        cdef Ledger cells = None
        cdef Py_ssize_t bad = -1
        cdef int status = 0
        cdef unsigned long long saved
        if scatters:
            cells = Ledger(self.cells())
        cdef work w
        if make(&w, self, (stop - start) * self.group) < 0:
            raise MemoryError
        try:
            with nogil:
                saved = fp_enter()
                try:
                    bad = self.fold(&w, start * self.group, stop * self.group, total, cells)
                    if bad >= 0:
                        status = w.status[w.bad]
                finally:
                    fp_leave(saved)
        finally:
            free(w.memory)
        return ((bad, status) if bad >= 0 else None), total, cells

    cdef object error(self, Py_ssize_t index, int status):
        cause, counter = CAUSES[status]
        preds, target, weight = self.arguments
        return inputs.bad_value(
            cause, counter, index, preds, target, weight,
            axis=self.p.axis if self.p.task in (MULTICLASS, MULTILABEL) else None,
            rows=self.p.task == MULTICLASS, soft=self.has_target and not self.hard,
            weight_each=self.weight_each, group=self.group,
            kind={PROBS: "probs", LOG_PROBS: "log_probs", LOGITS: "logits"}[self.p.kind],
            ignore=self.p.ignore if self.p.ignores else None,
        )

    cdef Py_ssize_t fold(self, work* w, Py_ssize_t start, Py_ssize_t stop, Ledger total, Ledger cells) except -2 nogil:
        """Folds losses start ... stop - 1 into the ledgers; the index of an invalid one, or -1."""
        cdef Py_ssize_t at = start
        cdef Py_ssize_t i, some
        cdef Py_ssize_t most = self.at_a_time()
        cdef const double* terms
        w.n_sum = w.n_lost = w.d_sum = 0
        w.members = 0
        while at < stop:
            some = min(most, stop - at)
            w.odd = False
            w.weighted = not self.plain
            terms = w.n
            if self.p.task == MEAN:
                terms = self.given(w, at, some)
            elif self.p.task == MULTICLASS:
                self.rows(w, at, some)
            else:
                self.elements(w, at, some)
            if w.odd and not self.p.skips:
                for i in range(some):
                    if w.status[i] > LEFT_OUT:
                        w.bad = i
                        return at + i
            self.collect(w, terms, at, some, total, cells)
            at += some
        return -1

    cdef Py_ssize_t at_a_time(self) noexcept nogil:
        """Losses a block: all blocks hold whole rows, and as many as fit the scratch memory."""
        cdef Py_ssize_t classes = self.preds.v.classes
        if self.p.task == MULTICLASS and (
            not self.preds.v.direct or self.preds.v.dtype < F32 or not self.hard or self.p.smoothing > 0
        ):
            return min(<Py_ssize_t>BLOCK, max(<Py_ssize_t>1, SPREAD // classes))
        return BLOCK

    # ---- targets ----

    cdef const void* elements_of(self, work* w, view* v, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """A block's elements next to each other, in place where they are so already."""
        if v.direct:
            return v.data + at * v.itemsize
        view_gather(v, at, k, w.offset, w.raw)
        return w.raw

    cdef const double* doubles_of(self, work* w, view* v, Py_ssize_t at, Py_ssize_t k, double* out) noexcept nogil:
        """A block's elements as doubles, whatever their dtype."""
        cdef const void* source = self.elements_of(w, v, at, k)
        if v.dtype == F64:
            return <const double*>source
        if v.dtype > F64:
            integers_to_doubles(v.dtype, source, k, out)
            return out
        table().float32_to_float64(singles(v.dtype, source, k, w.single), k, out)
        return out

    cdef void begin(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Clears the statuses and marks the nulls."""
        cdef Py_ssize_t i
        cdef const uint8_t* null
        memset(w.status, COUNTED, k)
        if self.has_null:
            null = <const uint8_t*>self.elements_of(w, &self.nulls.v, at, k)
            for i in range(k):
                if null[i]:
                    w.status[i] = IS_NULL
                    w.odd = True

    cdef void outcomes(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Integer targets of elements: 1 or 0."""
        cdef const void* source = self.elements_of(w, &self.target.v, at, k)
        cdef Py_ssize_t i
        cdef int dtype = self.target.v.dtype
        if not self.p.ignores and not self.has_null:
            if dtype == I64 and table().outcomes_i64(<const int64_t*>source, k, w.outcome) == 0:
                return
            if dtype == U8 and table().outcomes_u8(<const uint8_t*>source, k, w.outcome) == 0:
                return
        integers_to_labels(dtype, source, k, w.label)
        for i in range(k):
            w.outcome[i] = w.label[i] & 1
            if w.status[i]:
                continue
            if self.p.ignores and w.label[i] == self.p.ignore:
                w.status[i] = LEFT_OUT
                w.odd = True
            elif w.label[i] != 0 and w.label[i] != 1:
                w.status[i] = BAD_LABEL
                w.odd = True

    cdef void shares(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Soft targets of elements."""
        cdef const double* y = self.doubles_of(w, &self.target.v, at, k, w.soft)
        cdef Py_ssize_t i
        if y != w.soft:
            memcpy(w.soft, y, k * sizeof(double))
        for i in range(k):
            if w.soft[i] >= 0 and w.soft[i] <= 1 and not (self.p.ignores and w.soft[i] == self.p.ignore):
                continue
            if not w.status[i]:
                if self.p.ignores and w.soft[i] == self.p.ignore:
                    w.status[i] = LEFT_OUT
                else:
                    w.status[i] = TARGET_NAN if w.soft[i] != w.soft[i] else TARGET_RANGE
                w.odd = True
            w.soft[i] = 0

    cdef void labels(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Integer targets of rows: a class each."""
        cdef Py_ssize_t i
        cdef uint64_t classes = self.preds.v.classes
        integers_to_labels(self.target.v.dtype, self.elements_of(w, &self.target.v, at, k), k, w.label)
        for i in range(k):
            if <uint64_t>w.label[i] < classes and not (self.p.ignores and w.label[i] == self.p.ignore):
                continue
            if not w.status[i]:
                w.status[i] = LEFT_OUT if self.p.ignores and w.label[i] == self.p.ignore else BAD_LABEL
                w.odd = True
            w.label[i] = 0

    # ---- costs of elements ----

    cdef void elements(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i, j
        cdef double y, shared
        cdef double a = self.p.smoothing
        self.begin(w, at, k)
        if self.hard:
            self.outcomes(w, at, k)
        else:
            self.shares(w, at, k)
        self.weights_of(w, at, k)
        cdef const void* x = self.elements_of(w, &self.preds.v, at, k)
        if self.preds.v.dtype != F64:
            x = singles(self.preds.v.dtype, x, k, w.single)
            if self.p.kind != LOGITS:
                table().float32_to_float64(<const float*>x, k, w.spread)
                x = w.spread
        if self.hard and a == 0:
            self.outcome_costs(x, w.outcome, k, w.cost)
            if self.plain:
                memcpy(w.n, w.cost, k * sizeof(double))
            else:
                for i in range(k):
                    j = (at + i) % self.factors
                    w.n[i] = w.cost[i] * (self.positive.at[j] if w.outcome[i] else self.negative.at[j])
                    w.d[i] = self.positive_d.at[j] if w.outcome[i] else self.negative_d.at[j]
        else:
            self.outcome_costs(x, ONES, k, w.m)
            self.outcome_costs(x, ZEROS, k, w.u)
            for i in range(k):
                j = (at + i) % self.factors
                y = <double>w.outcome[i] if self.hard else w.soft[i]
                shared = y * (1 - a) + a / 2
                w.n[i] = (
                    product(w.m[i], self.positive.at[j] * shared)
                    + product(w.u[i], self.negative.at[j] * (1 - shared))
                )
                if w.m[i] != w.m[i]:
                    w.n[i] = NAN
                w.d[i] = self.positive_d.at[j] * y + self.negative_d.at[j] * (1 - y)
        self.settle_elements(w, x, k)
        self.weigh(w, k)

    cdef void outcome_costs(self, const void* x, const uint8_t* y, Py_ssize_t k, double* out) noexcept nogil:
        if self.p.kind == PROBS:
            table().binary_probs(<const double*>x, y, k, self.p.floor, self.p.ceiling, out)
        elif self.p.kind == LOG_PROBS:
            table().binary_log_probs(<const double*>x, y, k, self.p.cap, out)
        elif self.preds.v.dtype == F64:
            table().binary_logits_f64(<const double*>x, y, k, out)
        else:
            table().binary_logits_f32(<const float*>x, y, k, out)

    cdef void settle_elements(self, work* w, const void* source, Py_ssize_t k) noexcept nogil:
        """Looks at a block that holds something odd: NaN is invalid, the rest is counted."""
        cdef Py_ssize_t i
        cdef double x, y, floor = self.p.floor
        cdef bint soft = not self.hard or self.p.smoothing > 0
        cdef bint floors = floor > 0 and self.p.kind != LOGITS
        cdef uint64_t most = table().largest_bits(w.n, k)
        if most < INF_BITS and not (floors and (soft or w.weighted or most >= bits_of(self.p.cap))):
            return
        for i in range(k):
            if w.status[i]:
                continue
            if w.n[i] != w.n[i]:
                if self.p.kind == LOGITS and self.preds.v.dtype != F64:
                    x = (<const float*>source)[i]
                else:
                    x = (<const double*>source)[i]
                w.status[i] = PREDS_NAN if x != x else PREDS_RANGE
                w.odd = True
                continue
            if w.n[i] == INF:
                w.count[INFINITE] += 1
            if floors:
                x = (<const double*>source)[i]
                y = <double>w.outcome[i] if self.hard else w.soft[i]
                if self.p.smoothing > 0:
                    y = 0.5
                if self.p.kind == PROBS:
                    w.count[FLOORED] += (y > 0 and x < floor) or (y < 1 and 1 - x < floor)
                elif soft:
                    w.count[FLOORED] += (y > 0 and w.m[i] >= self.p.cap) or (y < 1 and w.u[i] >= self.p.cap)
                else:
                    w.count[FLOORED] += w.cost[i] >= self.p.cap

    # ---- costs of rows ----

    cdef void rows(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i, stride
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef const kernel_table* K = table()
        cdef bint single = self.preds.v.dtype != F64
        cdef double a = self.p.smoothing
        cdef double x
        self.begin(w, at, k)
        if self.hard:
            self.labels(w, at, k)
        self.weights_of(w, at, k)
        cdef const void* source = self.rows_of(w, at, k, &stride)
        if self.p.kind == PROBS:
            if single:
                K.sum_rows_f32(<const float*>source, stride, k, classes, w.u)
            else:
                K.sum_rows_f64(<const double*>source, stride, k, classes, w.u)
        else:
            if single:
                K.softmax_rows_f32(<const float*>source, stride, k, classes, w.m, w.u)
            else:
                K.softmax_rows_f64(<const double*>source, stride, k, classes, w.m, w.u)
            if self.p.kind == LOGITS:
                K.log1p(w.u, k, w.u)
            else:  # the row sum of the probabilities
                K.exp(w.m, k, w.cost)
                for i in range(k):
                    w.u[i] = w.cost[i] * (1 + w.u[i])
        if self.hard:
            for i in range(k):
                x = at_row(source, single, stride, i, w.label[i])
                w.cost[i] = x
                if self.p.kind == LOGITS:
                    w.cost[i] = (w.m[i] - x) + w.u[i]
                elif self.p.kind == LOG_PROBS:
                    w.cost[i] = min(0.0 - x, self.p.cap)
            if self.p.kind == PROBS:
                K.neg_log(w.cost, k, self.p.floor, self.p.ceiling, w.cost)
        self.settle_rows(w, source, single, stride, k)
        if not self.hard or a > 0:
            self.spread_rows(w, source, single, stride, at, k)
        elif self.plain:
            memcpy(w.n, w.cost, k * sizeof(double))
        else:
            for i in range(k):
                x = self.class_weight.at[w.label[i]] if self.class_weight is not None else 1.0
                w.n[i] = product(w.cost[i], x)
                w.d[i] = x
        if K.largest_bits(w.n, k) >= INF_BITS:
            for i in range(k):
                if w.n[i] == INF and not w.status[i]:
                    w.count[INFINITE] += 1
        self.weigh(w, k)

    cdef const void* rows_of(self, work* w, Py_ssize_t at, Py_ssize_t k, Py_ssize_t* stride) noexcept nogil:
        """A block's rows as floats or doubles, in place where they can be used so."""
        cdef view* v = &self.preds.v
        cdef const void* source
        if v.direct:
            stride[0] = view_step(v) // v.itemsize
            source = v.data + at * view_step(v)
            if v.dtype >= F32:
                return source
        if not v.direct or stride[0] != v.classes:
            view_gather(v, at, k, w.offset, w.raw)
            source = w.raw
        stride[0] = v.classes
        return source if v.dtype >= F32 else singles(v.dtype, source, k * v.classes, w.single)

    cdef void settle_rows(
        self, work* w, const void* source, bint single, Py_ssize_t stride, Py_ssize_t k
    ) noexcept nogil:
        """Rows that the kernels could not settle: NaN, infinite logits, sums that are not 1."""
        cdef Py_ssize_t i
        cdef double x, off
        cdef bint floors = self.hard and self.p.floor > 0
        if self.p.kind == LOGITS and table().largest_bits(w.u, k) < INF_BITS:
            return
        for i in range(k):
            if w.status[i]:
                continue
            if self.p.kind == LOGITS:
                if w.u[i] != w.u[i]:
                    self.settle_row(w, source, single, stride, i)
                continue
            off = w.u[i] - 1
            off = off if off > 0 else -off
            if not off <= max(0.01, self.tolerance) or (self.p.kind == LOG_PROBS and not w.m[i] <= 0):
                self.settle_row(w, source, single, stride, i)
                continue
            w.count[UNNORMALISED] += off > self.tolerance
            if floors:
                x = at_row(source, single, stride, i, w.label[i])
                w.count[FLOORED] += x < self.p.floor if self.p.kind == PROBS else 0.0 - x > self.p.cap

    cdef void settle_row(
        self, work* w, const void* source, bint single, Py_ssize_t stride, Py_ssize_t i
    ) noexcept nogil:
        """What is wrong with row i; or the cost it has when one logit is +inf."""
        cdef Py_ssize_t c, infinite = 0, finite = 0
        cdef double x
        cdef bint nan = False, outside = False
        for c in range(self.preds.v.classes):
            x = at_row(source, single, stride, i, c)
            nan |= x != x
            infinite += x == INF
            finite += x > -INF
            if self.p.kind == PROBS:
                outside |= not 0 <= x <= 1
            elif self.p.kind == LOG_PROBS:
                outside |= x > 0
        if self.p.kind == LOGITS:
            outside = infinite > 1 or finite == 0
            if not nan and not outside:  # all the mass is where the one +inf is
                w.u[i] = 0
                if self.hard:
                    w.cost[i] = 0 if at_row(source, single, stride, i, w.label[i]) == INF else INF
                return
        w.status[i] = PREDS_NAN if nan else PREDS_RANGE if outside else PREDS_SUM
        w.odd = True
        w.u[i] = w.cost[i] = NAN

    cdef void spread_rows(
        self, work* w, const void* source, bint single, Py_ssize_t stride, Py_ssize_t at, Py_ssize_t k
    ) noexcept nogil:
        """Soft and smoothed targets: n = sum of share * cost over all the classes of a row."""
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef const kernel_table* K = table()
        cdef const double* weight = self.class_weight.at
        cdef double* cost
        cdef double a = self.p.smoothing
        cdef double x, total
        cdef bint floored
        for i in range(k):
            cost = w.spread + i * classes
            for c in range(classes):
                x = at_row(source, single, stride, i, c)
                if self.p.kind == PROBS:
                    cost[c] = x
                elif self.p.kind == LOG_PROBS:
                    cost[c] = min(0.0 - x, self.p.cap)
                elif w.m[i] == INF:  # costs are 0 there, infinite elsewhere
                    cost[c] = 0 if x == INF else INF
                else:
                    cost[c] = w.m[i] - x
        if self.p.kind == PROBS:
            K.neg_log(w.spread, k * classes, self.p.floor, self.p.ceiling, w.spread)
        if self.hard:
            K.dot_rows(w.spread, classes, self.base.at, 0, k, classes, w.n)
            for i in range(k):
                if self.p.kind == LOGITS:
                    w.n[i] += self.base_sum * w.u[i]
                w.n[i] += product(w.cost[i], weight[w.label[i]] * (1 - a))
                w.d[i] = weight[w.label[i]]
            if self.p.kind != LOGITS and self.p.floor > 0:
                self.count_floored(w, source, single, stride, k, True)
            return
        self.soft_rows(w, at, k)
        K.dot_rows(w.share, classes, self.ones.at, 0, k, classes, w.sample_n)
        for i in range(k):
            total = w.sample_n[i]
            if w.status[i]:
                continue
            x = total - 1
            x = x if x > 0 else -x
            if x <= self.target_tolerance:
                continue
            if x <= max(0.01, self.target_tolerance):
                w.count[UNNORMALISED] += 1
            else:
                w.status[i] = TARGET_SUM
                w.odd = True
        K.dot_rows(w.share, classes, weight, 0, k, classes, w.d)
        if self.p.kind != LOGITS and self.p.floor > 0:
            self.count_floored(w, source, single, stride, k, a > 0)
        for i in range(k):
            for c in range(classes):
                w.share[i * classes + c] = weight[c] * w.share[i * classes + c] * (1 - a) + self.base.at[c]
        K.dot_rows(w.spread, classes, w.share, classes, k, classes, w.n)
        if self.p.kind == LOGITS:
            K.dot_rows(w.share, classes, self.ones.at, 0, k, classes, w.sample_n)
            for i in range(k):
                w.n[i] += w.sample_n[i] * w.u[i]

    cdef void soft_rows(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """The soft targets of a block as doubles; values outside [0, 1] get a status."""
        cdef view* v = &self.target.v
        cdef Py_ssize_t i, c, n
        cdef Py_ssize_t classes = v.classes
        cdef double y
        view_gather(v, at, k, w.offset, w.raw_target)
        n = k * classes
        if v.dtype == F64:
            memcpy(w.share, w.raw_target, n * sizeof(double))
        elif v.dtype > F64:
            integers_to_doubles(v.dtype, w.raw_target, n, w.share)
        else:
            table().float32_to_float64(singles(v.dtype, w.raw_target, n, w.single_target), n, w.share)
        for i in range(k):
            for c in range(classes):
                y = w.share[i * classes + c]
                if not 0 <= y <= 1:
                    if not w.status[i] or (w.status[i] == TARGET_RANGE and y != y):
                        w.status[i] = TARGET_NAN if y != y else TARGET_RANGE
                        w.odd = True
                    w.share[i * classes + c] = 0

    cdef void count_floored(
        self, work* w, const void* source, bint single, Py_ssize_t stride, Py_ssize_t k, bint all_classes
    ) noexcept nogil:
        """Rows in which a class that counts was floored."""
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef double x
        for i in range(k):
            if w.status[i]:
                continue
            if self.hard:  # counted already where the true class was
                x = at_row(source, single, stride, i, w.label[i])
                if x < self.p.floor if self.p.kind == PROBS else 0.0 - x > self.p.cap:
                    continue
            for c in range(classes):
                x = at_row(source, single, stride, i, c)
                if (x < self.p.floor if self.p.kind == PROBS else 0.0 - x > self.p.cap) and (
                    self.base.at[c] > 0 if all_classes else w.share[i * classes + c] > 0
                ):
                    w.count[FLOORED] += 1
                    break

    # ---- losses that are given ----

    cdef const double* given(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef const double* x
        cdef Py_ssize_t i
        cdef uint64_t most
        self.begin(w, at, k)
        self.weights_of(w, at, k)
        x = self.doubles_of(w, &self.preds.v, at, k, w.n)
        most = table().largest_bits(x, k)
        if most < INF_BITS and self.plain and not w.odd:
            return x
        if x != w.n:
            memcpy(w.n, x, k * sizeof(double))
        for i in range(k):
            if w.status[i]:
                continue
            if w.n[i] != w.n[i]:
                w.status[i] = PREDS_NAN
                w.odd = True
            elif w.n[i] == INF or w.n[i] == -INF:
                w.count[INFINITE] += 1
        for i in range(k):
            w.d[i] = 1
        self.weigh(w, k)
        return w.n

    # ---- weights, samples, the ledger ----

    cdef void weights_of(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """A weight for each loss of the block; negative and non-finite ones get a status."""
        cdef Py_ssize_t i, first, last
        if not self.has_weight:
            return
        if self.weight_each or self.group == 1:
            w.weights = self.doubles_of(w, &self.weights.v, at, k, w.weight)
        else:
            first = at // self.group
            last = (at + k - 1) // self.group
            w.weights = self.doubles_of(w, &self.weights.v, first, last - first + 1, w.weight)
            if w.weights != w.weight:
                memcpy(w.weight, w.weights, (last - first + 1) * sizeof(double))
                w.weights = w.weight
            for i in range(k - 1, -1, -1):  # backwards: a weight is read before its place is written
                w.weight[i] = w.weight[(at + i) // self.group - first]
        for i in range(k):
            if not (w.weights[i] >= 0 and w.weights[i] < INF) and not w.status[i]:
                w.status[i] = BAD_WEIGHT
                w.odd = True

    cdef void weigh(self, work* w, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i
        if self.has_weight:
            for i in range(k):
                w.n[i] = product(w.n[i], w.weights[i])
                w.d[i] = w.d[i] * w.weights[i]

    cdef int collect(
        self, work* w, const double* n, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells
    ) except -1 nogil:
        """Losses to samples, samples to the ledger."""
        cdef Py_ssize_t i, kept, labels
        cdef int64_t[STATUSES] by_status
        cdef const double* d = w.d if w.weighted else NULL
        if self.has_out:
            for i in range(k):
                self.out[at + i] = n[i] if not w.status[i] else 0.0 if w.status[i] == LEFT_OUT else NAN
        memset(by_status, 0, sizeof(by_status))
        if w.odd:
            for i in range(k):
                by_status[w.status[i]] += 1
        else:
            by_status[COUNTED] = k
        for i in range(STATUSES):
            if by_status[i]:
                total.bump(COUNTER_OF[i], 0, by_status[i])
        for i in range(FLOORED, UNNORMALISED + 1):
            if w.count[i]:
                total.bump(i, 0, w.count[i])
                w.count[i] = 0
        if self.group > 1 or cells is not None:
            labels = self.factors
            for i in range(k):
                w.cell[i] = w.label[i] if self.p.task == MULTICLASS else (at + i) % labels
        if self.group > 1:
            self.gather_samples(w, n, d, at, k, total)
        if not w.odd:
            kept = k
        else:
            kept = 0
            for i in range(k):
                if not w.status[i]:
                    w.n[kept] = n[i]
                    if d is not NULL:
                        w.d[kept] = w.d[i]
                    w.cell[kept] = w.cell[i]
                    kept += 1
            n = w.n
        if self.group == 1:
            total.add_samples(n, d, kept)
        if cells is not None:
            cells.scatter(w.cell, n, d, kept)
        return 0

    cdef int gather_samples(
        self, work* w, const double* n, const double* d, Py_ssize_t at, Py_ssize_t k, Ledger total
    ) except -1 nogil:
        """Adds up the losses of each sample, in order; a sample may go on in the next block.

        What each addition rounds away is kept (Knuth's two-sum) and added at the end.
        """
        cdef Py_ssize_t i, full = 0
        cdef double s, v
        for i in range(k):
            if not w.status[i]:
                s = w.n_sum + n[i]
                if s - s == 0:
                    v = s - w.n_sum
                    w.n_lost += (w.n_sum - (s - v)) + (n[i] - v)
                w.n_sum = s
                w.d_sum += d[i] if d is not NULL else 1.0
                w.members += 1
            if (at + i + 1) % self.group == 0:
                if w.members:
                    s = w.n_sum + w.n_lost
                    w.sample_n[full] = s if s == s else w.n_sum
                    w.sample_d[full] = w.d_sum
                    full += 1
                w.n_sum = w.n_lost = w.d_sum = 0
                w.members = 0
        return total.add_samples(w.sample_n, w.sample_d, full)


cdef inline double product(double cost, double factor) noexcept nogil:
    return cost * factor if factor != 0 else 0.0  # 0 * inf is 0


cdef inline uint64_t bits_of(double x) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &x, 8)
    return bits


cdef inline double at_row(const void* source, bint single, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t c) noexcept nogil:
    if single:
        return (<const float*>source)[i * stride + c]
    return (<const double*>source)[i * stride + c]


cdef double tolerance(int dtype) noexcept:
    """How far from 1 a row's sum may be: the root of the dtype's machine epsilon."""
    if dtype == F16:
        return 2.0**-5
    if dtype == BF16:
        return 0.08838834764831845  # 2^-3.5
    if dtype == F32:
        return 0.00034526698300124393  # 2^-11.5
    return 2.0**-26


cdef view as_elements(const view* v) noexcept:
    """A view of rows as one of elements, the class axis last."""
    cdef view e = v[0]
    e.shape[e.ndim] = e.classes
    e.strides[e.ndim] = e.class_stride
    e.ndim += 1
    e.classes = 1
    e.class_stride = e.itemsize
    view_settle(&e)
    return e


cdef const float* singles(int dtype, const void* source, Py_ssize_t n, float* out) noexcept nogil:
    """Floats, or halves made floats."""
    if dtype == F16:
        table().float16_to_float32(<const uint16_t*>source, n, out)
    elif dtype == BF16:
        table().bfloat16_to_float32(<const uint16_t*>source, n, out)
    else:
        return <const float*>source
    return out


cdef char* cut(char** memory, Py_ssize_t bytes) noexcept nogil:
    """The next piece of an allocation, on a cache line of its own."""
    cdef char* piece = memory[0]
    memory[0] += (bytes + 63) // 64 * 64
    return piece


cdef int make(work* w, Job job, Py_ssize_t losses) noexcept:
    """Scratch memory for blocks: bounded whatever the chunk, except by one row's classes."""
    cdef Py_ssize_t room = max(<Py_ssize_t>1, min(job.at_a_time(), losses))
    cdef Py_ssize_t wide = room * job.preds.v.classes
    cdef bint rows = job.p.task == MULTICLASS
    cdef bint spreads = rows and (not job.hard or job.p.smoothing > 0)
    cdef bint gathers = not rows or not job.preds.v.direct or job.preds.v.dtype < F32
    cdef Py_ssize_t raw = 8 * (wide if gathers else room) + 64
    cdef Py_ssize_t single = 4 * (wide if gathers else room) + 64
    cdef Py_ssize_t spread = 8 * (wide if spreads else room) + 64
    cdef Py_ssize_t share = spread if spreads else 64
    cdef char* at
    memset(w, 0, sizeof(work))
    w.memory = <char*>malloc(12 * (8 * room + 64) + 2 * (room + 64) + raw + single + spread + 3 * (share + 64) + 1024)
    if w.memory is NULL:
        return -1
    at = w.memory + (64 - <Py_ssize_t>w.memory % 64)
    w.cost = <double*>cut(&at, 8 * room)
    w.n = <double*>cut(&at, 8 * room)
    w.d = <double*>cut(&at, 8 * room)
    w.m = <double*>cut(&at, 8 * room)
    w.u = <double*>cut(&at, 8 * room)
    w.soft = <double*>cut(&at, 8 * room)
    w.weight = <double*>cut(&at, 8 * room)
    w.sample_n = <double*>cut(&at, 8 * room)
    w.sample_d = <double*>cut(&at, 8 * room)
    w.label = <int64_t*>cut(&at, 8 * room)
    w.cell = <int64_t*>cut(&at, 8 * room)
    w.offset = <Py_ssize_t*>cut(&at, 8 * room)
    w.status = <uint8_t*>cut(&at, room)
    w.outcome = <uint8_t*>cut(&at, room)
    w.raw = cut(&at, raw)
    w.single = <float*>cut(&at, single)
    w.spread = <double*>cut(&at, spread)
    w.share = <double*>cut(&at, share)
    if spreads:
        w.raw_target = cut(&at, share)
        w.single_target = <float*>cut(&at, share)
    return 0
