"""A block of losses: targets, costs, weights, and what they add to a ledger.

A *loss* is one cost: an entry of a binary or multilabel array (an element), or a row of a
multiclass one. A *sample* is an entry of the first axis and holds one loss or several. A block
goes through these steps:

    targets    outcomes, labels or soft targets; what is ignored or unknown gets a status
    costs      the kernels; a block with an odd cost is looked at once more (settle_*)
    weigh      n = weight * factor * cost, d = weight * factor
    collect    losses to samples, samples to the ledger, oddities to its counters

Nothing here depends on where a block begins, so neither does any result.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from streamce.core.arrays cimport (
    BF16, F16, F32, F64, I8, I64, U8, integers_to_doubles, integers_to_labels, view, view_gather,
    view_prefetch, view_step,
)
from streamce.core.kernels cimport BLOCK, LEAST_FLOOR_F32, NOT_FINITE, TILE, kernel_table, table
from streamce.core.ledger cimport (
    COUNT, FLOORED, IGNORED, INFINITE, INVALID_LABEL, INVALID_NAN, INVALID_NULL, INVALID_RANGE,
    INVALID_ROW_SUM, INVALID_WEIGHT, UNNORMALISED, Ledger,
)

cdef int[STATUSES] COUNTER_OF
COUNTER_OF[:] = [
    COUNT, IGNORED, INVALID_NULL, INVALID_LABEL, INVALID_NAN, INVALID_RANGE, INVALID_ROW_SUM,
    INVALID_WEIGHT, INVALID_NAN, INVALID_RANGE, INVALID_ROW_SUM,
]
cdef double INF = float("inf")
cdef double NAN = float("nan")
cdef double LARGEST = 1.7976931348623157e308
cdef double[BLOCK] ZEROS
cdef double[BLOCK] ONES
for _i in range(BLOCK):
    ZEROS[_i] = 0.0
    ONES[_i] = 1.0

# Rows * classes that are read at a time, to find them in the cache when they are read again: where
# they lie, or gathered, converted or spread into scratch memory.
cdef Py_ssize_t IN_PLACE = 16384
cdef Py_ssize_t COPIED = 4096
# Elements that are worked on at a time, while as many are on their way from memory.
cdef Py_ssize_t FEW = 512
# An exponent beyond all others.
cdef int UNKNOWN = NOT_FINITE + 1
# Beyond, the bytes of a row's scratch memory are no Py_ssize_t.
cdef Py_ssize_t MOST_CLASSES = 1 << 48


cdef class Vector:
    """Doubles of our own: class weights, factors."""

    def __cinit__(self, Py_ssize_t size, double value=0.0):
        cdef Py_ssize_t i
        self.size = size
        self.at = <double*>malloc(max(1, size) * sizeof(double))
        if self.at is NULL:
            raise MemoryError
        for i in range(size):
            self.at[i] = value

    def __dealloc__(self):
        free(self.at)


cdef class Blocks:
    """A chunk's views and factors; the pipeline sets them."""

    cdef Py_ssize_t cells(self) noexcept nogil:
        """Labels or classes: what can be summed one by one."""
        return self.labels if self.r.task == MULTILABEL else self.preds.v.classes

    cdef Py_ssize_t at_a_time(self) noexcept nogil:
        """Losses a block: whole samples of several labels, so that blocks share their factors."""
        return BLOCK // self.labels * self.labels if self.labels <= BLOCK else BLOCK

    cdef Py_ssize_t step(self) noexcept nogil:
        """Losses that are worked on while the next ones come from memory."""
        if self.r.task == MEAN:
            return BLOCK
        if self.r.task != MULTICLASS:
            return FEW
        cdef bint copied = not in_place(&self.preds.v, self.single) or (
            not self.hard and not in_place(&self.target.v, self.single)
        )
        cdef Py_ssize_t wide = COPIED if copied or (self.base is not None) else IN_PLACE
        cdef Py_ssize_t some = max(<Py_ssize_t>1, wide // self.preds.v.classes)
        return min(<Py_ssize_t>BLOCK, some - some % TILE if some > TILE else some)

    cdef int make(self, work* w, Py_ssize_t losses, char* near, Py_ssize_t size) noexcept nogil:
        """Scratch memory for blocks: bounded whatever the chunk, except by one row's classes.

        ``near`` is used where its size will do; else ``w.memory`` is what to free in the end.
        """
        cdef Py_ssize_t room = max(<Py_ssize_t>1, min(self.at_a_time(), losses))
        cdef bint rows = self.r.task == MULTICLASS
        cdef bint soft = rows and not self.hard
        cdef bint factors = not rows and not self.plain
        cdef Py_ssize_t line = line_of(room)
        cdef Py_ssize_t step = min(room, self.step())
        cdef Py_ssize_t short_line = line_of(step)
        cdef Py_ssize_t wide = line_of(step * self.preds.v.classes)
        cdef Py_ssize_t copied, copied_target, spread, bytes
        cdef char* at = near
        memset(w, 0, sizeof(work))
        if self.preds.v.classes > MOST_CLASSES:
            return -1
        w.room = room
        w.phase = -1
        w.step = step
        copied = wide if rows and not in_place(&self.preds.v, self.single) else 0
        copied_target = wide if soft and not in_place(&self.target.v, self.single) else 0
        spread = wide if rows and self.base is not None else short_line
        bytes = (
            11 * line + 6 * short_line + 4 * factors * line + 3 * (copied + copied_target) + (1 + soft) * spread + 64
        )
        if bytes > size:
            at = w.memory = <char*>malloc(bytes)
            if at is NULL:
                return -1
        at += 64 - <Py_ssize_t>at % 64
        w.n = <double*>cut(&at, line)
        w.d = <double*>cut(&at, line)
        w.cost = <double*>cut(&at, short_line) if not self.plain else w.n
        w.m = <double*>cut(&at, short_line)
        w.u = <double*>cut(&at, short_line)
        w.soft = <double*>cut(&at, short_line)
        w.gap = <double*>cut(&at, short_line)
        w.dot = <double*>cut(&at, short_line)
        w.weight = <double*>cut(&at, line)
        w.sample_n = <double*>cut(&at, line)
        w.sample_d = <double*>cut(&at, line)
        w.label = <int64_t*>cut(&at, line)
        w.offset = <Py_ssize_t*>cut(&at, line)
        w.status = <uint8_t*>cut(&at, line)
        w.flags = <uint8_t*>cut(&at, line)
        w.factor = <double*>cut(&at, 4 * factors * line)  # not there where it is not used
        w.raw = cut(&at, line)
        w.floats = cut(&at, line)
        w.preds = cut_rows(&at, copied)
        w.targets = cut_rows(&at, copied_target)
        w.spread = <double*>cut(&at, spread)
        w.share = <double*>cut(&at, soft * spread)
        return 0

    cdef void fill(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Costs and weights of losses at ... at + k - 1."""
        cdef Py_ssize_t i
        cdef Py_ssize_t first = 0
        cdef Py_ssize_t some
        cdef work few
        w.odd = False
        memset(w.status, COUNTED, k)
        memset(w.flags, 0, k)
        w.flagged = False
        w.exponent = 0
        if self.has_null:
            self.nulls_of(w, at, k)
        self.weights_of(w, at, k)
        if self.r.task == BINARY or self.r.task == MULTILABEL:
            self.lay_factors(w, at)
        if k <= w.step:
            self.some(w, at, k)
        else:
            while first < k:  # a few at a time, so that they stay in the cache
                some = min(w.step, k - first)
                few = work_from(w, first)
                self.some(&few, at + first, some)
                w.odd |= few.odd
                w.flagged |= few.flagged
                w.exponent = max(w.exponent, few.exponent)
                first += some
        self.weigh(w, k)
        if w.exponent == UNKNOWN or self.has_weight:
            w.exponent = table().largest_exponent(w.n, k)
        if w.exponent == NOT_FINITE:
            for i in range(k):
                if w.n[i] == INF or w.n[i] == -INF:
                    self.flag(w, i, IS_INFINITE)

    cdef void some(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        w.exponent = UNKNOWN
        if self.r.task == MEAN:
            self.given(w, at, k)
        elif self.r.task == MULTICLASS:
            self.rows(w, at, k)
        else:
            self.elements(w, at, k)

    cdef void flag(self, work* w, Py_ssize_t i, int what) noexcept nogil:
        w.flags[i] |= what
        w.flagged = True

    # ---- reading ----

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
        else:
            table().float32_to_float64(singles(v.dtype, source, k, w.floats), k, out)
        return out

    cdef const void* rows_of(
        self, work* w, view* v, Py_ssize_t at, Py_ssize_t k, rows_scratch* scratch, Py_ssize_t* stride
    ) noexcept nogil:
        """Some rows as floats or doubles (``single`` says which), in place where they lie so."""
        cdef const void* source = scratch.raw
        cdef Py_ssize_t n = k * v.classes
        if v.direct:
            stride[0] = view_step(v) // v.itemsize
            source = v.data + at * view_step(v)
            if in_place(v, self.single):
                return source
            view_prefetch(v, at + k, k)
        if not v.direct or stride[0] != v.classes:
            view_gather(v, at, k, w.offset, scratch.raw)
            source = scratch.raw
        stride[0] = v.classes
        if v.dtype == F64:
            return source
        if v.dtype > F64:
            integers_to_doubles(v.dtype, source, n, scratch.doubles)
        else:
            source = singles(v.dtype, source, n, scratch.floats)
            if self.single:
                return source
            table().float32_to_float64(<const float*>source, n, scratch.doubles)
        return scratch.doubles

    cdef void nulls_of(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef const uint8_t* null = <const uint8_t*>self.elements_of(w, &self.nulls.v, at, k)
        cdef Py_ssize_t i
        for i in range(k):
            if null[i]:
                w.status[i] = IS_NULL
                w.odd = True

    # ---- targets ----

    cdef void outcomes(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Integer targets of elements: 1 or 0."""
        cdef const void* source = self.elements_of(w, &self.target.v, at, k)
        cdef Py_ssize_t i
        cdef int dtype = self.target.v.dtype
        if not self.r.ignores and not self.has_null:
            if dtype == I64 and table().outcomes_i64(<const int64_t*>source, k, w.soft) == 0:
                return
            if (dtype == U8 or dtype == I8) and table().outcomes_u8(<const uint8_t*>source, k, w.soft) == 0:
                return
        integers_to_labels(dtype, source, k, w.label)
        for i in range(k):
            w.soft[i] = <double>(w.label[i] & 1)
            if w.status[i]:
                continue
            if self.r.ignores and w.label[i] == self.r.ignore:
                w.status[i] = LEFT_OUT
                w.odd = True
            elif w.label[i] != 0 and w.label[i] != 1:
                w.status[i] = BAD_LABEL
                w.odd = True

    cdef void shares(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Soft targets of elements."""
        cdef const double* y = self.doubles_of(w, &self.target.v, at, k, w.soft)
        cdef Py_ssize_t i
        cdef bint left_out
        if y != w.soft:
            memcpy(w.soft, y, k * sizeof(double))
        if not self.r.ignores and table().all_within(w.soft, k, 0.0, 1.0):
            return
        for i in range(k):
            left_out = self.r.ignores and w.soft[i] == self.r.ignore
            if 0 <= w.soft[i] <= 1 and not left_out:
                continue
            if not w.status[i]:
                w.status[i] = LEFT_OUT if left_out else TARGET_NAN if w.soft[i] != w.soft[i] else TARGET_RANGE
                w.odd = True
            w.soft[i] = 0

    cdef void labels_of(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Integer targets of rows: a class each."""
        cdef Py_ssize_t i
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef const void* source = self.elements_of(w, &self.target.v, at, k)
        cdef bint left_out
        if self.target.v.dtype != I64:
            integers_to_labels(self.target.v.dtype, source, k, <int64_t*>w.offset)  # the gathering is done with it
            source = w.offset
        if table().labels_i64(<const int64_t*>source, k, classes, w.label) == 0 and not (
            self.r.ignores and 0 <= self.r.ignore < classes
        ):
            return
        for i in range(k):
            left_out = self.r.ignores and w.label[i] == self.r.ignore
            if 0 <= w.label[i] < classes and not left_out:
                continue
            if not w.status[i]:
                w.status[i] = LEFT_OUT if left_out else BAD_LABEL
                w.odd = True
            w.label[i] = 0

    cdef void weights_of(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """A weight for each loss of the block."""
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
        if w.weights != w.weight and not self.weights.v.direct:  # what was gathered is soon overwritten
            memcpy(w.weight, w.weights, k * sizeof(double))
            w.weights = w.weight

    cdef void check_weights(self, work* w, Py_ssize_t k) noexcept nogil:
        """Negative and non-finite weights get a status."""
        cdef Py_ssize_t i
        if not self.has_weight or table().all_within(w.weights, k, 0.0, LARGEST):
            return
        for i in range(k):
            if not 0 <= w.weights[i] < INF and not w.status[i]:
                w.status[i] = BAD_WEIGHT
                w.odd = True

    # ---- elements ----

    cdef void elements(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i
        cdef const double* factor = w.factor
        cdef Py_ssize_t room = w.room
        if self.hard:
            self.outcomes(w, at, k)
        else:
            self.shares(w, at, k)
        view_prefetch(&self.target.v, at + k, k)
        self.check_weights(w, k)
        cdef const void* x = self.elements_of(w, &self.preds.v, at, k)
        if self.preds.v.dtype != F64:
            x = singles(self.preds.v.dtype, x, k, w.floats)
            if not self.single:
                table().float32_to_float64(<const float*>x, k, w.spread)
                x = w.spread
        view_prefetch(&self.preds.v, at + k, k)
        # Each loss is the cost of one outcome: a float that holds 0s and 1s is as good as an integer.
        w.certain = self.r.smoothing == 0 and (self.hard or table().are_outcomes(w.soft, k))
        if not w.certain:
            self.outcome_costs(w, x, ONES, k, w.m)
            self.outcome_costs(w, x, ZEROS, k, w.u)
            table().mix_outcomes(
                w.m, w.u, w.soft, k, self.r.smoothing, factor, factor + room, factor + 2 * room,
                factor + 3 * room, w.n, w.d,
            )
        elif self.factored:
            self.outcome_costs(w, x, w.soft, k, w.cost)
            for i in range(k):
                w.n[i] = product(w.cost[i], factor[i] if w.soft[i] != 0 else factor[i + room])
                w.d[i] = factor[i + 2 * room] if w.soft[i] != 0 else factor[i + 3 * room]
        else:
            w.cost = w.n
            self.outcome_costs(w, x, w.soft, k, w.n)
            if not self.unit:
                memcpy(w.d, ONES, k * sizeof(double))
        self.settle_elements(w, x, k)

    cdef void outcome_costs(self, work* w, const void* x, const double* y, Py_ssize_t k, double* out) noexcept nogil:
        if self.r.kind == PROBS:
            if self.single:
                table().binary_probs_f32(<const float*>x, y, k, self.r.floor, self.r.ceiling, w.gap, out)
            else:
                table().binary_probs_f64(<const double*>x, y, k, self.r.floor, self.r.ceiling, w.gap, out)
        elif self.r.kind == LOG_PROBS:
            table().binary_log_probs(<const double*>x, y, k, self.r.cap, w.gap, out)
        elif self.single:
            table().binary_logits_f32(<const float*>x, y, k, w.gap, out)
        else:
            table().binary_logits_f64(<const double*>x, y, k, w.gap, out)

    cdef void lay_factors(self, work* w, Py_ssize_t at) noexcept nogil:
        """Lays the factors of the labels out loss by loss; blocks of one phase share them."""
        cdef Py_ssize_t i
        cdef Py_ssize_t label = at % self.labels
        if self.plain or label == w.phase:
            return
        w.phase = label
        for i in range(w.room):
            w.factor[i] = self.positive.at[label]
            w.factor[i + w.room] = self.negative.at[label]
            w.factor[i + 2 * w.room] = self.positive_d.at[label]
            w.factor[i + 3 * w.room] = self.negative_d.at[label]
            label += 1
            if label == self.labels:
                label = 0

    cdef void settle_elements(self, work* w, const void* x, Py_ssize_t k) noexcept nogil:
        """Looks once more at a block with something odd: NaN is invalid, the rest is counted."""
        cdef Py_ssize_t i
        cdef double p, y
        cdef bint floors = self.r.floor > 0 and self.r.kind != LOGITS
        cdef bint certain = w.certain
        cdef int most = table().largest_exponent(w.cost if certain else w.n, k)
        # The cost of one outcome tells whether a probability can have been floored.
        if most < NOT_FINITE and not (floors and (not certain or most >= exponent_of(self.r.cap))):
            if not certain or w.cost == w.n:
                w.exponent = most
            return
        for i in range(k):
            if w.status[i]:
                continue
            if self.single:
                p = (<const float*>x)[i]
            else:
                p = (<const double*>x)[i]
            if w.n[i] != w.n[i] or (certain and w.cost[i] != w.cost[i]):
                w.status[i] = PREDS_NAN if p != p else PREDS_RANGE
                w.odd = True
                continue
            if floors:
                y = 0.5 if self.r.smoothing > 0 else w.soft[i]
                if y > 0 and self.below_floor(p):
                    self.flag(w, i, IS_FLOORED)
                elif y < 1 and (
                    1 - p < self.r.floor if self.r.kind == PROBS else (w.cost if certain else w.u)[i] >= self.r.cap
                ):
                    self.flag(w, i, IS_FLOORED)

    cdef bint below_floor(self, double p) noexcept nogil:
        """Whether a probability, or the logarithm of one, is below the floor."""
        return p < self.r.floor if self.r.kind == PROBS else 0.0 - p > self.r.cap

    # ---- rows ----

    cdef void rows(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i, stride
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef const kernel_table* K = table()
        if self.hard:
            self.labels_of(w, at, k)
        self.check_weights(w, k)
        cdef const void* x = self.rows_of(w, &self.preds.v, at, k, &w.preds, &stride)
        if not self.hard:
            w.q = self.rows_of(w, &self.target.v, at, k, &w.targets, &w.q_stride)
        if self.r.kind != PROBS:
            self.softmax(w, x, stride, k)
        elif self.single:
            K.sum_rows_f32(<const float*>x, stride, k, classes, w.u)
        else:
            K.sum_rows_f64(<const double*>x, stride, k, classes, w.u)
        if not self.hard:
            self.soft_rows(w, k)
        elif self.single:
            K.pick_f32(<const float*>x, stride, w.label, k, w.soft)
        else:
            K.pick_f64(<const double*>x, stride, w.label, k, w.soft)
        if self.r.kind == PROBS:
            if self.hard and self.single and self.r.floor >= LEAST_FLOOR_F32:
                K.neg_log_f32(w.soft, k, self.r.floor, self.r.ceiling, w.cost)
            elif self.hard:
                K.neg_log_f64(w.soft, k, self.r.floor, self.r.ceiling, w.cost)
        elif self.r.kind == LOGITS:
            if self.single:
                K.softmax_costs_f32(w.m, w.u, w.soft if self.hard else w.m, k, w.cost)
            else:
                K.softmax_costs_f64(w.m, w.u, w.soft if self.hard else w.m, k, w.cost)
        else:  # the sum of the row's probabilities
            K.exp(w.m, k, w.cost)
            for i in range(k):
                w.u[i] = w.cost[i] * (1 + w.u[i])
                w.cost[i] = min(0.0 - w.soft[i], self.r.cap)
        if self.evenly:
            self.settle_sums(w, x, stride, k)
        self.settle_rows(w, x, stride, k)
        if self.evenly:
            self.mix_rows(w, k)
        elif not self.hard:
            self.softened(w, x, stride, k)
        elif self.r.smoothing > 0:
            self.smoothed(w, x, stride, k)
        elif not self.plain:
            for i in range(k):
                w.d[i] = self.class_weight.at[w.label[i]] if self.class_weight is not None else 1.0
                w.n[i] = product(w.cost[i], w.d[i])

    cdef void softmax(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """m and u of rows, and what smoothing and soft targets need beside them."""
        cdef const kernel_table* K = table()
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef const float* f = <const float*>x
        cdef const double* d = <const double*>x
        cdef double* gap = w.gap if self.evenly and self.r.smoothing > 0 else NULL
        if not self.hard and self.evenly:
            if self.single:
                K.softmax_soft_f32(
                    f, stride, <const float*>w.q, w.q_stride, k, classes, w.m, w.u, gap, w.dot, w.soft
                )
            else:
                K.softmax_soft_f64(
                    d, stride, <const double*>w.q, w.q_stride, k, classes, w.m, w.u, gap, w.dot, w.soft
                )
        elif self.single:
            K.softmax_rows_f32(f, stride, k, classes, w.m, w.u, gap)
        else:
            K.softmax_rows_f64(d, stride, k, classes, w.m, w.u, gap)

    cdef void soft_rows(self, work* w, Py_ssize_t k) noexcept nogil:
        """Soft targets of rows, in [0, 1] and adding up to 1; the kernels may know the sums already."""
        cdef Py_ssize_t i
        cdef Py_ssize_t classes = self.target.v.classes
        if not self.evenly:
            if self.single:
                table().sum_rows_f32(<const float*>w.q, w.q_stride, k, classes, w.soft)
            else:
                table().sum_rows_f64(<const double*>w.q, w.q_stride, k, classes, w.soft)
        if all_near_1(w.soft, k, self.target_tolerance):
            return
        for i in range(k):
            if not off_by(w.soft[i]) <= self.target_tolerance and not w.status[i]:
                self.settle_soft_row(w, i)

    cdef void settle_soft_row(self, work* w, Py_ssize_t i) noexcept nogil:
        """What is odd about the soft targets of row i."""
        cdef Py_ssize_t c
        cdef double y
        for c in range(self.target.v.classes):
            y = at_row(w.q, self.single, w.q_stride, i, c)
            if y != y or (not 0 <= y <= 1 and not w.status[i]):
                w.status[i] = TARGET_NAN if y != y else TARGET_RANGE
        if not w.status[i] and off_by(w.soft[i]) > max(0.01, self.target_tolerance):
            w.status[i] = TARGET_SUM
        if w.status[i]:
            w.odd = True
        else:
            self.flag(w, i, IS_UNNORMALISED)

    cdef void settle_rows(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Rows that the kernels could not settle: NaN, infinite logits, sums that are not 1."""
        cdef Py_ssize_t i
        cdef bint floors = self.hard and self.r.floor > 0
        cdef double least = self.r.floor if self.r.kind == PROBS else 0.0 - self.r.cap
        if self.r.kind == LOGITS:
            if table().largest_exponent(w.u, k) < NOT_FINITE:
                return
        elif (
            all_near_1(w.u, k, self.tolerance) and (not floors or table().all_within(w.soft, k, least, INF))
            and (self.r.kind == PROBS or table().all_within(w.m, k, -INF, 0.0))
        ):
            return
        for i in range(k):
            if w.status[i]:
                continue
            if self.r.kind == LOGITS:
                if w.u[i] != w.u[i]:
                    self.settle_row(w, x, stride, i)
                continue
            if not off_by(w.u[i]) <= max(0.01, self.tolerance) or (self.r.kind == LOG_PROBS and not w.m[i] <= 0):
                self.settle_row(w, x, stride, i)
                continue
            if off_by(w.u[i]) > self.tolerance:
                self.flag(w, i, IS_UNNORMALISED)
            if floors and self.below_floor(w.soft[i]):
                self.flag(w, i, IS_FLOORED)

    cdef void settle_sums(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Sums of m - x that are too large for floats, as doubles."""
        cdef Py_ssize_t i, c
        cdef double away
        cdef bint gaps = self.r.smoothing > 0
        if (not gaps or table().all_within(w.gap, k, 0.0, LARGEST)) and (
            self.hard or table().all_within(w.dot, k, 0.0, LARGEST)
        ):
            return
        for i in range(k):
            if (not gaps or w.gap[i] < INF) and (self.hard or w.dot[i] < INF):
                continue
            w.gap[i] = w.dot[i] = 0
            for c in range(self.preds.v.classes):
                away = w.m[i] - at_row(x, self.single, stride, i, c)
                w.gap[i] += away
                if not self.hard:
                    w.dot[i] += product(away, at_row(w.q, self.single, w.q_stride, i, c))

    cdef void settle_row(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t i) noexcept nogil:
        """What is wrong with row i; or its cost, when one logit is +inf."""
        cdef Py_ssize_t c
        cdef Py_ssize_t infinite = 0
        cdef Py_ssize_t finite = 0
        cdef double p
        cdef bint nan = False
        cdef bint outside = False
        for c in range(self.preds.v.classes):
            p = at_row(x, self.single, stride, i, c)
            nan |= p != p
            infinite += p == INF
            finite += p > -INF
            if self.r.kind == PROBS:
                outside |= not 0 <= p <= 1
            elif self.r.kind == LOG_PROBS:
                outside |= p > 0
        if self.r.kind == LOGITS:
            outside = infinite > 1 or finite == 0
            if not nan and not outside:  # all the mass is where the one +inf is
                w.u[i] = 0
                if self.hard:
                    w.cost[i] = 0 if w.soft[i] == INF else INF
                w.gap[i] = INF
                w.dot[i] = 0
                for c in range(0 if self.hard else self.preds.v.classes):
                    p = at_row(w.q, self.single, w.q_stride, i, c)
                    if p > 0 and at_row(x, self.single, stride, i, c) < INF:
                        w.dot[i] = INF
                return
        w.status[i] = PREDS_NAN if nan else PREDS_RANGE if outside else PREDS_SUM
        w.odd = True
        w.u[i] = w.cost[i] = NAN

    cdef void mix_rows(self, work* w, Py_ssize_t k) noexcept nogil:
        """Smoothing and soft targets, from what the kernels added up."""
        cdef Py_ssize_t i
        cdef double classes = <double>self.preds.v.classes
        cdef double all_share = self.r.smoothing / classes
        for i in range(k):
            w.d[i] = 1 if self.hard else w.soft[i]
            w.n[i] = product(w.cost[i] if self.hard else w.dot[i] + w.d[i] * w.u[i], 1 - self.r.smoothing)
            if all_share > 0:
                w.n[i] += all_share * (w.gap[i] + classes * w.u[i])

    cdef void smoothed(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Smoothed labels: the true class's part, and the same share of every class."""
        cdef Py_ssize_t i
        cdef Py_ssize_t classes = self.preds.v.classes
        self.spread_costs(w, x, stride, k)
        table().dot_rows(w.spread, classes, self.base.at, 0, k, classes, w.n)
        for i in range(k):
            if self.r.kind == LOGITS:
                w.n[i] += self.base_sum * w.u[i]
            w.d[i] = self.class_weight.at[w.label[i]]
            w.n[i] += product(w.cost[i], w.d[i] * (1 - self.r.smoothing))
        self.flag_floored(w, x, stride, k)

    cdef void softened(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Soft targets: n = sum of weight * share * cost over all the classes of a row."""
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef const kernel_table* K = table()
        cdef const double* weight = self.class_weight.at
        cdef double* share
        cdef double y
        for i in range(k):
            share = w.share + i * classes
            for c in range(classes):
                y = at_row(w.q, self.single, w.q_stride, i, c)
                share[c] = y if 0 <= y <= 1 else 0.0
        self.spread_costs(w, x, stride, k)
        self.flag_floored(w, x, stride, k)
        K.dot_rows(w.share, classes, weight, 0, k, classes, w.d)
        for i in range(k):
            share = w.share + i * classes
            for c in range(classes):
                share[c] = weight[c] * share[c] * (1 - self.r.smoothing) + self.base.at[c]
        K.dot_rows(w.spread, classes, w.share, classes, k, classes, w.n)
        if self.r.kind == LOGITS:
            K.dot_rows(w.share, classes, self.ones.at, 0, k, classes, w.soft)
            for i in range(k):
                w.n[i] += w.soft[i] * w.u[i]

    cdef void spread_costs(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """The cost of every class of every row; of logits, less log1p of the others."""
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef double* cost
        cdef double p
        for i in range(k):
            cost = w.spread + i * classes
            for c in range(classes):
                p = at_row(x, self.single, stride, i, c)
                if self.r.kind == LOG_PROBS:
                    p = min(0.0 - p, self.r.cap)
                elif self.r.kind == LOGITS:
                    p = w.m[i] - p if w.m[i] < INF else 0.0 if p == INF else INF
                cost[c] = p
        if self.r.kind == PROBS:
            table().neg_log_f64(w.spread, k * classes, self.r.floor, self.r.ceiling, w.spread)

    cdef void flag_floored(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Flags rows in which any class that counts was floored."""
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = self.preds.v.classes
        if self.r.kind == LOGITS or self.r.floor == 0:
            return
        for i in range(k):
            if w.status[i]:
                continue
            for c in range(classes):
                if self.below_floor(at_row(x, self.single, stride, i, c)) and (
                    self.base.at[c] > 0 or (not self.hard and w.share[i * classes + c] > 0)
                ):
                    self.flag(w, i, IS_FLOORED)
                    break

    # ---- losses that are given ----

    cdef void given(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i
        self.check_weights(w, k)
        view_prefetch(&self.preds.v, at + k, k)
        cdef const double* losses = self.doubles_of(w, &self.preds.v, at, k, w.n)
        if losses != w.n:  # a copy: another thread may write to the caller's memory
            memcpy(w.n, losses, k * sizeof(double))
        w.exponent = table().largest_exponent(w.n, k)
        if self.plain and w.exponent < NOT_FINITE:
            return
        for i in range(k):
            w.d[i] = 1
            if w.status[i]:
                continue
            if w.n[i] != w.n[i]:
                w.status[i] = PREDS_NAN
                w.odd = True

    # ---- weights, samples, the ledger ----

    cdef void weigh(self, work* w, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i
        if self.has_weight:
            for i in range(k):
                w.n[i] = product(w.n[i], w.weights[i])
                w.d[i] = w.d[i] * w.weights[i]

    cdef int collect(self, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells) except -1 nogil:
        """Losses to samples, samples to the ledgers."""
        cdef Py_ssize_t i, kept = k
        cdef int64_t[STATUSES] found
        cdef const double* n = w.n
        cdef const double* d = NULL if self.unit else w.d
        if self.out is not NULL:
            for i in range(k):
                self.out[at + i] = n[i] if not w.status[i] else 0.0 if w.status[i] == LEFT_OUT else NAN
        memset(found, 0, sizeof(found))
        found[COUNTED] = k
        if w.odd:
            found[COUNTED] = 0
            for i in range(k):
                found[w.status[i]] += 1
        for i in range(STATUSES):
            if found[i]:
                total.bump(COUNTER_OF[i], 0, found[i])
        if w.flagged:
            for i in range(k):
                if not w.status[i]:
                    count_flags(total, 0, w.flags[i])
        if cells is not None and self.r.task == MULTILABEL:
            self.add_columns(w, at, k, cells)
        if self.group > 1:
            self.add_samples(w, d, k, total)
            if cells is None or self.r.task == MULTILABEL:
                return 0
        if w.odd:
            kept = 0
            for i in range(k):
                if not w.status[i]:
                    w.n[kept] = n[i]
                    w.d[kept] = w.d[i]
                    w.label[kept] = w.label[i]
                    w.flags[kept] = w.flags[i]
                    kept += 1
        if self.group == 1:
            total.add_samples(0, n, d, kept, w.exponent if kept == k else table().largest_exponent(n, kept))
        if cells is not None and self.r.task == MULTICLASS:
            for i in range(kept):
                cells.bump(COUNT, w.label[i], 1)
                count_flags(cells, w.label[i], w.flags[i])
                cells.add_sample(w.label[i], n[i], d[i] if d is not NULL else 1.0)
        return 0

    cdef int add_columns(self, work* w, Py_ssize_t at, Py_ssize_t k, Ledger cells) except -1 nogil:
        """The losses of each label to its own cell."""
        cdef Py_ssize_t i, kept, label
        cdef Py_ssize_t first
        cdef const double* n = w.n
        cdef int exponent = w.exponent
        if w.odd or w.flagged:
            for i in range(k):
                label = (at + i) % self.labels
                if w.status[i]:
                    cells.bump(COUNTER_OF[w.status[i]], label, 1)
                else:
                    count_flags(cells, label, w.flags[i])
        for first in range(min(k, self.labels)):
            kept = 0
            i = first
            while i < k:
                w.sample_n[kept] = n[i]
                w.sample_d[kept] = w.d[i]
                kept += not w.status[i]
                i += self.labels
            label = (at + first) % self.labels
            cells.bump(COUNT, label, kept)
            cells.add_samples(label, w.sample_n, NULL if self.unit else w.sample_d, kept, exponent)
        return 0

    cdef int add_samples(self, work* w, const double* d, Py_ssize_t k, Ledger total) except -1 nogil:
        """Adds up the losses of each sample, in order; a sample may go on in the next block.

        What each addition rounds away is kept (Knuth's two-sum) and added at the end.
        """
        cdef Py_ssize_t i, full = 0
        cdef double s, v
        cdef const double* n = w.n
        if not w.odd and w.missing == 0 and k % self.group == 0:  # whole samples: several at once
            full = k // self.group
            table().sum_in_order(n, full, self.group, w.sample_n)
            if d is not NULL:
                table().sum_in_order(d, full, self.group, w.sample_d)
            else:
                for i in range(full):
                    w.sample_d[i] = <double>self.group
            return total.add_samples(0, w.sample_n, w.sample_d, full, table().largest_exponent(w.sample_n, full))
        for i in range(k):
            if w.missing == 0:
                w.missing = self.group
            if not w.status[i]:
                s = w.n_sum + n[i]
                v = s - w.n_sum
                w.n_lost += (w.n_sum - (s - v)) + (n[i] - v)
                w.n_sum = s
                s = w.d_sum + (d[i] if d is not NULL else 1.0)
                if d is not NULL:
                    v = s - w.d_sum
                    w.d_lost += (w.d_sum - (s - v)) + (d[i] - v)
                w.d_sum = s
                w.members += 1
            w.missing -= 1
            if w.missing == 0:
                if w.members:
                    s = w.n_sum + w.n_lost
                    w.sample_n[full] = s if s == s else w.n_sum  # an infinite sum has lost NaN
                    s = w.d_sum + w.d_lost
                    w.sample_d[full] = s if s == s else w.d_sum
                    full += 1
                w.n_sum = w.n_lost = w.d_sum = w.d_lost = 0
                w.members = 0
        return total.add_samples(0, w.sample_n, w.sample_d, full, table().largest_exponent(w.sample_n, full))


cdef int count_flags(Ledger ledger, Py_ssize_t cell, uint8_t flags) except -1 nogil:
    """Counts what was odd about a loss that counts."""
    if flags & IS_FLOORED:
        ledger.bump(FLOORED, cell, 1)
    if flags & IS_INFINITE:
        ledger.bump(INFINITE, cell, 1)
    if flags & IS_UNNORMALISED:
        ledger.bump(UNNORMALISED, cell, 1)
    return 0


cdef inline double product(double cost, double factor) noexcept nogil:
    return cost * factor if factor != 0 and cost != 0 else 0.0  # 0 * inf is 0


cdef inline double at_row(const void* x, bint single, Py_ssize_t stride, Py_ssize_t i, Py_ssize_t c) noexcept nogil:
    if single:
        return (<const float*>x)[i * stride + c]
    return (<const double*>x)[i * stride + c]


cdef inline double off_by(double sum) noexcept nogil:
    """How far a sum of probabilities is from 1."""
    return sum - 1 if sum > 1 else 1 - sum


cdef inline bint all_near_1(const double* sum, Py_ssize_t k, double tolerance) noexcept nogil:
    """Whether no sum is off by more than the tolerance; a hair's breadth is left to ``off_by``."""
    return table().all_within(sum, k, 1 - 0.999 * tolerance, 1 + 0.999 * tolerance)


cdef inline bint in_place(const view* v, bint single) noexcept nogil:
    """Whether the kernels can read rows where they lie, as floats or as doubles."""
    return v.direct and v.dtype == (F32 if single else F64)


cdef int exponent_of(double x) noexcept nogil:
    return table().largest_exponent(&x, 1)


cdef const float* singles(int dtype, const void* source, Py_ssize_t n, char* out) noexcept nogil:
    """Floats, or halves made floats."""
    if dtype == F16:
        table().float16_to_float32(<const uint16_t*>source, n, <float*>out)
    elif dtype == BF16:
        table().bfloat16_to_float32(<const uint16_t*>source, n, <float*>out)
    else:
        return <const float*>source
    return <const float*>out


cdef work work_from(const work* w, Py_ssize_t first) noexcept nogil:
    """The scratch memory of a few losses, from `first` on; what only they need is used again and again."""
    cdef work few = w[0]
    few.odd = few.flagged = False
    if w.cost == w.n:
        few.cost += first
    few.n += first
    few.d += first
    few.label += first
    if few.weights is not NULL:
        few.weights += first
    few.status += first
    few.flags += first
    few.factor += first
    return few


cdef Py_ssize_t line_of(Py_ssize_t values) noexcept nogil:
    """The bytes of so many doubles, in whole cache lines."""
    return (8 * values + 63) // 64 * 64


cdef rows_scratch cut_rows(char** memory, Py_ssize_t bytes) noexcept nogil:
    cdef rows_scratch pieces
    pieces.raw = cut(memory, bytes)
    pieces.floats = cut(memory, bytes)
    pieces.doubles = <double*>cut(memory, bytes)
    return pieces


cdef char* cut(char** memory, Py_ssize_t bytes) noexcept nogil:
    """The next piece of an allocation."""
    cdef char* piece = memory[0]
    memory[0] += bytes
    return piece
