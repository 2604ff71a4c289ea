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
    BF16, F16, F32, F64, I8, I64, U8, integers_to_doubles, integers_to_labels, view, view_gather, view_step,
)
from streamce.core.kernels cimport BLOCK, NOT_FINITE, kernel_table, table
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
cdef uint8_t[BLOCK] ZEROS
cdef uint8_t[BLOCK] ONES
memset(ZEROS, 0, BLOCK)
memset(ONES, 1, BLOCK)

# Rows * classes that are gathered, converted or spread at a time.
cdef Py_ssize_t SPREAD = 16384
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
        """Losses a block: whole rows, as many as fit the scratch memory."""
        cdef Py_ssize_t classes = self.preds.v.classes
        if self.r.task == MULTICLASS and (
            not self.preds.v.direct or self.preds.v.dtype < F32 or not self.hard or self.r.smoothing > 0
        ):
            return min(<Py_ssize_t>BLOCK, max(<Py_ssize_t>1, SPREAD // classes))
        if 1 < self.labels < BLOCK:
            return BLOCK // self.labels * self.labels
        return BLOCK

    cdef int make(self, work* w, Py_ssize_t losses, char* near, Py_ssize_t size) noexcept nogil:
        """Scratch memory for blocks: bounded whatever the chunk, except by one row's classes.

        ``near`` is used where its size will do; else ``w.memory`` is what to free in the end.
        """
        cdef Py_ssize_t room = max(<Py_ssize_t>1, min(self.at_a_time(), losses))
        cdef Py_ssize_t wide = room * self.preds.v.classes
        cdef bint rows = self.r.task == MULTICLASS
        cdef bint spreads = rows and (not self.hard or self.r.smoothing > 0)
        cdef bint gathers = not rows or not self.preds.v.direct or self.preds.v.dtype < F32
        cdef bint factors = not rows and not self.plain
        cdef Py_ssize_t line = (8 * room + 63) // 64 * 64
        cdef Py_ssize_t raw = (8 * (wide if gathers else room) + 63) // 64 * 64
        cdef Py_ssize_t spread = (8 * (wide if spreads else room) + 63) // 64 * 64
        cdef Py_ssize_t bytes
        cdef char* at = near
        memset(w, 0, sizeof(work))
        if self.preds.v.classes > MOST_CLASSES:
            return -1
        bytes = 14 * line + 4 * factors * line + 2 * raw + spread + 3 * spreads * spread + 64
        if bytes > size:
            at = w.memory = <char*>malloc(bytes)
            if at is NULL:
                return -1
        w.room = room
        w.phase = -1
        at += 64 - <Py_ssize_t>at % 64
        w.n = <double*>cut(&at, line)
        w.d = <double*>cut(&at, line)
        w.cost = <double*>cut(&at, line) if not self.plain else w.n
        w.m = <double*>cut(&at, line)
        w.u = <double*>cut(&at, line)
        w.soft = <double*>cut(&at, line)
        w.weight = <double*>cut(&at, line)
        w.sample_n = <double*>cut(&at, line)
        w.sample_d = <double*>cut(&at, line)
        w.label = <int64_t*>cut(&at, line)
        w.offset = <Py_ssize_t*>cut(&at, line)
        w.status = <uint8_t*>cut(&at, line)
        w.flags = <uint8_t*>cut(&at, line)
        w.outcome = <uint8_t*>cut(&at, line)
        w.factor = <double*>cut(&at, 4 * factors * line)
        w.raw = cut(&at, raw)
        w.single = <float*>cut(&at, raw)
        w.spread = <double*>cut(&at, spread)
        if spreads:
            w.share = <double*>cut(&at, spread)
            w.raw_target = cut(&at, spread)
            w.single_target = <float*>cut(&at, spread)
        return 0

    cdef void fill(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Costs and weights of losses at ... at + k - 1."""
        cdef Py_ssize_t i
        w.odd = False
        memset(w.status, COUNTED, k)
        memset(w.flags, 0, k)
        w.flagged = False
        if self.has_null:
            self.nulls_of(w, at, k)
        if self.r.task == MEAN:
            self.given(w, at, k)
        elif self.r.task == MULTICLASS:
            self.rows(w, at, k)
        else:
            self.elements(w, at, k)
        if table().largest_exponent(w.n, k) == NOT_FINITE:
            for i in range(k):
                if w.n[i] == INF or w.n[i] == -INF:
                    self.flag(w, i, IS_INFINITE)

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
            table().float32_to_float64(singles(v.dtype, source, k, w.single), k, out)
        return out

    cdef const void* rows_of(self, work* w, Py_ssize_t at, Py_ssize_t k, Py_ssize_t* stride) noexcept nogil:
        """A block's rows as floats or doubles, in place where they can be used so."""
        cdef view* v = &self.preds.v
        cdef const void* source = w.raw
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
            if dtype == I64 and table().outcomes_i64(<const int64_t*>source, k, w.outcome) == 0:
                return
            if (dtype == U8 or dtype == I8) and table().outcomes_u8(<const uint8_t*>source, k, w.outcome) == 0:
                return
        integers_to_labels(dtype, source, k, w.label)
        for i in range(k):
            w.outcome[i] = w.label[i] & 1
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
        cdef bint left_out
        integers_to_labels(self.target.v.dtype, self.elements_of(w, &self.target.v, at, k), k, w.label)
        for i in range(k):
            left_out = self.r.ignores and w.label[i] == self.r.ignore
            if 0 <= w.label[i] < classes and not left_out:
                continue
            if not w.status[i]:
                w.status[i] = LEFT_OUT if left_out else BAD_LABEL
                w.odd = True
            w.label[i] = 0

    cdef void soft_rows(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Soft targets of rows, as doubles: in [0, 1] and adding up to 1."""
        cdef view* v = &self.target.v
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = v.classes
        cdef Py_ssize_t n = k * classes
        cdef double y
        view_gather(v, at, k, w.offset, w.raw_target)
        if v.dtype == F64:
            memcpy(w.share, w.raw_target, n * sizeof(double))
        elif v.dtype > F64:
            integers_to_doubles(v.dtype, w.raw_target, n, w.share)
        else:
            table().float32_to_float64(singles(v.dtype, w.raw_target, n, w.single_target), n, w.share)
        for i in range(k):
            for c in range(classes):
                y = w.share[i * classes + c]
                if 0 <= y <= 1:
                    continue
                if not w.status[i] or (w.status[i] == TARGET_RANGE and y != y):
                    w.status[i] = TARGET_NAN if y != y else TARGET_RANGE
                    w.odd = True
                w.share[i * classes + c] = 0
        table().dot_rows(w.share, classes, self.ones.at, 0, k, classes, w.soft)
        for i in range(k):
            if w.status[i]:
                continue
            y = w.soft[i] - 1 if w.soft[i] > 1 else 1 - w.soft[i]
            if y > max(0.01, self.target_tolerance):
                w.status[i] = TARGET_SUM
                w.odd = True
            elif y > self.target_tolerance:
                self.flag(w, i, IS_UNNORMALISED)

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
        if w.weights != w.weight and not self.weights.v.direct:  # what was gathered is soon overwritten
            memcpy(w.weight, w.weights, k * sizeof(double))
            w.weights = w.weight
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
        self.weights_of(w, at, k)
        cdef const void* x = self.elements_of(w, &self.preds.v, at, k)
        if self.preds.v.dtype != F64:
            x = singles(self.preds.v.dtype, x, k, w.single)
            if self.r.kind != LOGITS:
                table().float32_to_float64(<const float*>x, k, w.spread)
                x = w.spread
        if not self.plain:
            self.lay_factors(w, at, k)
        if self.certain():
            self.outcome_costs(x, w.outcome, k, w.cost)
            if not self.plain:
                for i in range(k):
                    w.n[i] = product(w.cost[i], factor[i] if w.outcome[i] else factor[i + room])
                    w.d[i] = factor[i + 2 * room] if w.outcome[i] else factor[i + 3 * room]
        else:
            self.outcome_costs(x, ONES, k, w.m)
            self.outcome_costs(x, ZEROS, k, w.u)
            if self.hard:
                for i in range(k):
                    w.soft[i] = <double>w.outcome[i]
            table().mix_outcomes(
                w.m, w.u, w.soft, k, self.r.smoothing, factor, factor + room, factor + 2 * room,
                factor + 3 * room, w.n, w.d,
            )
        self.settle_elements(w, x, k)
        self.weigh(w, k)

    cdef bint certain(self) noexcept nogil:
        """Whether each loss is the cost of one outcome."""
        return self.hard and self.r.smoothing == 0

    cdef void outcome_costs(self, const void* x, const uint8_t* y, Py_ssize_t k, double* out) noexcept nogil:
        if self.r.kind == PROBS:
            table().binary_probs(<const double*>x, y, k, self.r.floor, self.r.ceiling, out)
        elif self.r.kind == LOG_PROBS:
            table().binary_log_probs(<const double*>x, y, k, self.r.cap, out)
        elif self.preds.v.dtype == F64:
            table().binary_logits_f64(<const double*>x, y, k, out)
        else:
            table().binary_logits_f32(<const float*>x, y, k, out)

    cdef void lay_factors(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        """Lays the factors of the labels out loss by loss; blocks of one phase share them."""
        cdef Py_ssize_t i
        cdef Py_ssize_t label = at % self.labels
        if label == w.phase:
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
        cdef bint certain = self.certain()
        cdef int most = table().largest_exponent(w.cost if certain else w.n, k)
        # The cost of one outcome tells whether a probability can have been floored.
        if most < NOT_FINITE and not (floors and (not certain or most >= exponent_of(self.r.cap))):
            return
        for i in range(k):
            if w.status[i]:
                continue
            if self.r.kind == LOGITS and self.preds.v.dtype != F64:
                p = (<const float*>x)[i]
            else:
                p = (<const double*>x)[i]
            if w.n[i] != w.n[i] or (certain and w.cost[i] != w.cost[i]):
                w.status[i] = PREDS_NAN if p != p else PREDS_RANGE
                w.odd = True
                continue
            if floors:
                y = 0.5 if self.r.smoothing > 0 else w.outcome[i] if self.hard else w.soft[i]
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
        cdef bint single = self.preds.v.dtype != F64
        cdef double x
        cdef double* cost = w.cost
        if self.hard:
            self.labels_of(w, at, k)
        else:
            self.soft_rows(w, at, k)
        self.weights_of(w, at, k)
        cdef const void* source = self.rows_of(w, at, k, &stride)
        if self.r.kind == PROBS:
            if single:
                K.sum_rows_f32(<const float*>source, stride, k, classes, w.u)
            else:
                K.sum_rows_f64(<const double*>source, stride, k, classes, w.u)
        else:
            if single:
                K.softmax_rows_f32(<const float*>source, stride, k, classes, w.m, w.u)
            else:
                K.softmax_rows_f64(<const double*>source, stride, k, classes, w.m, w.u)
            if self.r.kind == LOGITS:
                K.log1p(w.u, k, w.u)
            else:  # the sum of the row's probabilities
                K.exp(w.m, k, w.cost)
                for i in range(k):
                    w.u[i] = w.cost[i] * (1 + w.u[i])
        if self.hard:
            for i in range(k):
                x = at_row(source, single, stride, i, w.label[i])
                if self.r.kind == LOGITS:
                    cost[i] = (w.m[i] - x) + w.u[i]
                else:
                    cost[i] = x if self.r.kind == PROBS else min(0.0 - x, self.r.cap)
            if self.r.kind == PROBS:
                K.neg_log(cost, k, self.r.floor, self.r.ceiling, cost)
        self.settle_rows(w, source, stride, k)
        if not self.hard:
            self.softened(w, source, stride, k)
        elif self.r.smoothing > 0:
            self.smoothed(w, source, stride, k)
        elif not self.plain:
            for i in range(k):
                w.d[i] = self.class_weight.at[w.label[i]] if self.class_weight is not None else 1.0
                w.n[i] = product(cost[i], w.d[i])
        self.weigh(w, k)

    cdef void settle_rows(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Rows that the kernels could not settle: NaN, infinite logits, sums that are not 1."""
        cdef Py_ssize_t i
        cdef double off
        cdef bint single = self.preds.v.dtype != F64
        cdef bint floors = self.hard and self.r.floor > 0
        if self.r.kind == LOGITS and table().largest_exponent(w.u, k) < NOT_FINITE:
            return
        for i in range(k):
            if w.status[i]:
                continue
            if self.r.kind == LOGITS:
                if w.u[i] != w.u[i]:
                    self.settle_row(w, x, stride, i)
                continue
            off = w.u[i] - 1 if w.u[i] > 1 else 1 - w.u[i]
            if not off <= max(0.01, self.tolerance) or (self.r.kind == LOG_PROBS and not w.m[i] <= 0):
                self.settle_row(w, x, stride, i)
                continue
            if off > self.tolerance:
                self.flag(w, i, IS_UNNORMALISED)
            if floors and self.below_floor(at_row(x, single, stride, i, w.label[i])):
                self.flag(w, i, IS_FLOORED)

    cdef void settle_row(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t i) noexcept nogil:
        """What is wrong with row i; or its cost, when one logit is +inf."""
        cdef Py_ssize_t c
        cdef Py_ssize_t infinite = 0
        cdef Py_ssize_t finite = 0
        cdef double p
        cdef bint single = self.preds.v.dtype != F64
        cdef bint nan = False
        cdef bint outside = False
        for c in range(self.preds.v.classes):
            p = at_row(x, single, stride, i, c)
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
                    w.cost[i] = 0 if at_row(x, single, stride, i, w.label[i]) == INF else INF
                return
        w.status[i] = PREDS_NAN if nan else PREDS_RANGE if outside else PREDS_SUM
        w.odd = True
        w.u[i] = w.cost[i] = NAN

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
        cdef bint single = self.preds.v.dtype != F64
        cdef double* cost
        cdef double p
        for i in range(k):
            cost = w.spread + i * classes
            for c in range(classes):
                p = at_row(x, single, stride, i, c)
                if self.r.kind == LOG_PROBS:
                    p = min(0.0 - p, self.r.cap)
                elif self.r.kind == LOGITS:
                    p = w.m[i] - p if w.m[i] < INF else 0.0 if p == INF else INF
                cost[c] = p
        if self.r.kind == PROBS:
            table().neg_log(w.spread, k * classes, self.r.floor, self.r.ceiling, w.spread)

    cdef void flag_floored(self, work* w, const void* x, Py_ssize_t stride, Py_ssize_t k) noexcept nogil:
        """Flags rows in which any class that counts was floored."""
        cdef Py_ssize_t i, c
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef bint single = self.preds.v.dtype != F64
        if self.r.kind == LOGITS or self.r.floor == 0:
            return
        for i in range(k):
            if w.status[i]:
                continue
            for c in range(classes):
                if self.below_floor(at_row(x, single, stride, i, c)) and (
                    self.base.at[c] > 0 or (not self.hard and w.share[i * classes + c] > 0)
                ):
                    self.flag(w, i, IS_FLOORED)
                    break

    # ---- losses that are given ----

    cdef void given(self, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
        cdef Py_ssize_t i
        self.weights_of(w, at, k)
        cdef const double* losses = self.doubles_of(w, &self.preds.v, at, k, w.n)
        if losses != w.n:  # a copy: another thread may write to the caller's memory
            memcpy(w.n, losses, k * sizeof(double))
        if self.plain and not w.odd and table().largest_exponent(w.n, k) < NOT_FINITE:
            return
        for i in range(k):
            w.d[i] = 1
            if w.status[i]:
                continue
            if w.n[i] != w.n[i]:
                w.status[i] = PREDS_NAN
                w.odd = True
        self.weigh(w, k)

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
        cdef const double* d = NULL if self.plain else w.d
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
            total.add_samples(0, n, d, kept)
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
            cells.add_samples(label, w.sample_n, NULL if self.plain else w.sample_d, kept)
        return 0

    cdef int add_samples(self, work* w, const double* d, Py_ssize_t k, Ledger total) except -1 nogil:
        """Adds up the losses of each sample, in order; a sample may go on in the next block.

        What each addition rounds away is kept (Knuth's two-sum) and added at the end.
        """
        cdef Py_ssize_t i, full = 0
        cdef double s, v
        cdef const double* n = w.n
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
        return total.add_samples(0, w.sample_n, w.sample_d, full)


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


cdef int exponent_of(double x) noexcept nogil:
    return table().largest_exponent(&x, 1)


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
    """The next piece of an allocation."""
    cdef char* piece = memory[0]
    memory[0] += bytes
    return piece
