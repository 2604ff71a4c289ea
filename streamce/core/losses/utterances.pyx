"""The losses of utterances: CTC. Each is a sample, and computed by itself:

    inputs -> frames, some at a time, as the kernels want them (load_block) -> judged row by row
           -> the probabilities of its labels (gather, ctc_emissions) -> the lattice (ctc_forward) -> its loss

in the scratch memory of its thread.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc

from streamce.core.kernels.kernels cimport CTC_FRONT, CTC_LINES, fp_enter, fp_leave, kernel_table, table
from streamce.core.losses.array_view cimport F64, ArrayView, integers_to_labels, view, view_gather, view_coalesce_axes
from streamce.core.losses.batch cimport Batch, Vector, product, tolerance
from streamce.core.losses.load_block cimport rows_of
from streamce.core.losses.loss_spec cimport LOG_PROBS, LOGITS, PROBS, Breakdowns, LossSpec
from streamce.core.losses.workspace cimport RowTile, Workspace, allocate
from streamce.core.samples.samples cimport COUNTER_OF, Samples
from streamce.core.samples.status cimport (
    COUNTED, INFEASIBLE, INVALID_LABEL, INVALID_WEIGHT, IS_INFINITE, IS_UNNORMALISED, NULL_INPUT, PREDS_NAN,
    PREDS_RANGE, PREDS_SUM,
)

from functools import partial

from streamce.errors import InputError
from streamce.inputs import arrays
from streamce.core.ledger.ledger import NAMES
from streamce.core.losses.batch import CAUSES
from streamce.core.losses.loss_spec import KIND_NAMES
from streamce._support.threads import limit, run

cdef enum:
    PER_LABEL, PER_FRAME, PER_UTTERANCE
UNITS = {"label": PER_LABEL, "frame": PER_FRAME, "utterance": PER_UTTERANCE}
# Lanes that a line of the lattice is a multiple of, and probabilities that are worked on at a time.
cdef Py_ssize_t LANES = 8
cdef Py_ssize_t PROBS_PER_TILE = 2048
# What a state of the lattice costs, in classes of a row; and the minimum of these per thread.
cdef Py_ssize_t STATE_COSTS = 4
cdef Py_ssize_t MIN_PREDS_PER_THREAD = 1 << 18
# Beyond, the bytes that they take are no Py_ssize_t.
cdef Py_ssize_t MAX_INTEGERS = <Py_ssize_t>1 << 57
# Where a loss is that near to 0, it is computed as such.
cdef double SMALL = 0.0625


cdef class CTCOptions:
    """The options of a metric."""

    def __cinit__(self, str kind, int64_t blank, str layout, str per, bint skips, threads, bint tail=False):
        self.spec = LossSpec("multiclass", kind)
        self.breakdowns = Breakdowns(tail=tail)
        self.blank = blank
        self.batch_first = layout == "BTC"
        self.per = UNITS[per]
        self.skips = skips
        self.threads = threads


cdef class Integers:
    """Integers of our own: labels, lengths."""

    def __dealloc__(self):
        free(self.at)

    cdef int take(self, ArrayView source) except -1:
        """Copies an array's, of any width, in its order."""
        cdef Py_ssize_t* offset
        cdef int k
        self.size = 1
        for k in range(source.ndim):
            self.size *= source.shape[k]
        source.axes(-1)
        if self.size > MAX_INTEGERS:
            raise MemoryError
        # The integers, the same in their own dtype, and where they are.
        self.at = <int64_t*>malloc(max(1, 3 * self.size) * sizeof(int64_t))
        if self.at is NULL:
            raise MemoryError
        if self.size == 0:
            return 0
        offset = <Py_ssize_t*>(self.at + 2 * self.size)
        view_gather(&source.v, 0, self.size, offset, self.at + self.size)
        integers_to_labels(source.v.dtype, self.at + self.size, self.size, self.at)
        return 0


cdef class Utterances(Batch):
    """The arguments of one update. ``status`` has a status for each utterance: COUNTED or NULL_INPUT."""

    def __init__(self, preds, target, input_lengths, target_lengths, weight=None, *, status=None):
        Batch.__init__(self, preds, target, weight, status=status)
        self.given_input_lengths, self.given_target_lengths = input_lengths, target_lengths

    # ---- opening: shapes and lengths ----

    cdef int convert(self) except -1:
        """Converts all arguments, which may run the caller's code, before the memory of any is taken."""
        self.given_preds = arrays.once(self.given_preds, "preds")
        self.given_target = arrays.once(self.given_target, "target")
        self.given_weight = arrays.once(self.given_weight, "weight")
        self.given_input_lengths = arrays.once(self.given_input_lengths, "input_lengths")
        self.given_target_lengths = arrays.once(self.given_target_lengths, "target_lengths")
        return 0

    cdef int open_utterances(self, CTCOptions p) except -1:
        cdef int batch = 0 if p.batch_first else 1
        cdef int time = 1 - batch
        cdef int classes = 2
        cdef Py_ssize_t i
        cdef view* v = &self.preds.v
        cdef const uint8_t[::1] status = self.given_status
        self.p = p
        self.spec = p.spec
        self.breakdowns = p.breakdowns
        self.skips = p.skips
        self.has_integer_targets = self.cost_only = True
        self.group = self.labels = 1
        self.preds.take(self.given_preds, "preds")
        if not self.preds.is_real:
            raise arrays.integer_preds(self.preds.once(self.given_preds), self.preds.shape_tuple())
        if self.preds.ndim == 2:
            batch = time = 0
            classes = 1
        if self.preds.ndim not in (2, 3) or self.preds.shape[classes] < 2:
            raise arrays.not_frames(self.preds.shape_tuple(), p.batch_first)
        if p.blank >= self.preds.shape[classes]:
            raise arrays.no_blank(p.blank, self.preds.shape[classes])
        self.samples = self.preds.shape[batch]
        # A view of one utterance; its rows are read in place if those of all utterances can be.
        self.stride = self.preds.strides[batch]
        v.ndim = 1
        v.shape[0] = self.preds.shape[time]
        v.strides[0] = self.preds.strides[time]
        v.classes = self.preds.shape[classes]
        v.class_stride = self.preds.strides[classes]
        view_coalesce_axes(v)
        v.direct &= self.stride % v.itemsize == 0
        self.is_float32 = v.dtype < F64 and p.spec.kind != LOGITS
        self.tolerance = tolerance(v.dtype)
        self.frames = integers(self.given_input_lengths, "input_lengths", -1 if self.preds.ndim == 2 else self.samples)
        self.samples = self.losses = self.frames.size
        self.many = integers(self.given_target_lengths, "target_lengths", self.samples)
        self.open_frames(self.preds.shape[time])
        self.take_labels()
        self.has_weight = self.given_weight is not None
        self.unit_weight = not self.has_weight and p.per == PER_UTTERANCE
        if self.has_weight:
            self.take_weight()
        self.recorded = Samples.__new__(Samples)
        self.recorded.open(self.samples, self.samples, 1, NULL, self.unit_weight)
        if status is not None:
            if status.shape[0] != self.samples:
                raise arrays.settled(status, self.samples)
            for i in range(self.samples):
                self.recorded.what[i] = status[i]
        if self.preds.null() is not None or self.target.null() is not None or self.null_weight is not None:
            for i in range(self.samples):
                if self.null_of(i) is not None:
                    self.recorded.what[i] = NULL_INPUT
        self.bad_frame = Integers.__new__(Integers)
        self.bad_frame.at = <int64_t*>malloc(max(1, self.samples) * sizeof(int64_t))
        if self.bad_frame.at is NULL:
            raise MemoryError
        return 0

    cdef int open_frames(self, Py_ssize_t frames) except -1:
        """Judges the frames of each utterance, and finds where flat ones begin."""
        cdef Py_ssize_t i
        cdef Py_ssize_t total = 0
        for i in range(self.samples):
            if not 0 <= self.frames.at[i] <= frames:
                raise arrays.ctc_length("input_lengths", i, self.frames.at[i], 0, frames)
        if self.preds.ndim == 3:
            return 0
        self.begin = Integers.__new__(Integers)
        self.begin.at = <int64_t*>malloc(max(1, self.samples) * sizeof(int64_t))
        if self.begin.at is NULL:
            raise MemoryError
        for i in range(self.samples):
            self.begin.at[i] = total
            total += self.frames.at[i]
            if total > frames:
                break
        if total != frames:
            raise arrays.ctc_frames(frames, sum([self.frames.at[i] for i in range(self.samples)]))
        return 0

    cdef int take_labels(self) except -1:
        """Labels side by side, and where those of each utterance begin."""
        cdef Py_ssize_t i
        cdef Py_ssize_t total = 0
        cdef Py_ssize_t most
        cdef bint padded
        self.target.take(self.given_target, "target")
        if self.target.is_real and self.samples:
            raise arrays.not_integers("target", self.target.once(self.given_target))
        padded = self.target.ndim == 2
        if self.samples == 0:
            return 0
        if self.target.ndim != 1 and not (padded and self.target.shape[0] == self.samples):
            raise arrays.ctc_target(self.target.shape_tuple(), self.samples)
        most = self.target.shape[self.target.ndim - 1]
        self.first = Integers.__new__(Integers)
        self.first.at = <int64_t*>malloc((self.samples + 1) * sizeof(int64_t))
        if self.first.at is NULL:
            raise MemoryError
        self.longest = 0
        for i in range(self.samples):
            if not 1 <= self.many.at[i] <= most:
                raise arrays.ctc_length("target_lengths", i, self.many.at[i], 1, most)
            self.first.at[i] = i * most if padded else total
            total += self.many.at[i]
            self.longest = max(self.longest, self.many.at[i])
            if not padded and total > most:
                break
        if not padded and total != most:
            raise arrays.ctc_labels(most, sum([self.many.at[i] for i in range(self.samples)]))
        self.padded = most if padded else 0
        self.labels_of = Integers.__new__(Integers)
        self.labels_of.take(self.target)
        return 0

    cdef int take_weight(self) except -1:
        found, halves, self.null_weight = arrays.read(self.given_weight, "weight")
        if found.shape != (self.samples,):
            raise InputError(
                "weight", f"has shape {found.shape}", f"one weight per utterance, shape {(self.samples,)}",
                value=found.shape,
            )
        cdef const double[::1] values = arrays.widened(found, halves).astype("float64")
        cdef Py_ssize_t i
        self.weight = Vector(self.samples)
        for i in range(self.samples):
            self.weight.at[i] = values[i]
        return 0

    def null_of(self, Py_ssize_t i):
        """The argument and the index of the first null in utterance i, None if there is none."""
        frames = slice(0, self.frames.at[i])
        if self.begin is not None:
            frame = (slice(self.begin.at[i], self.begin.at[i] + self.frames.at[i]),)
        else:
            frame = (i, frames) if self.p.batch_first else (frames, i)
        label = (i, slice(0, self.many.at[i])) if self.padded else (
            slice(self.first.at[i], self.first.at[i] + self.many.at[i]),
        )
        for name, null, place in (
            ("preds", self.preds.null(), frame),
            ("target", self.target.null(), label),
            ("weight", self.null_weight, (i,)),
        ):
            if null is not None and null[place].any():
                return name, arrays.first_in(null, place)
        return None

    # ---- the losses ----

    cdef int compute(self) except -1:
        """The losses of all utterances, or an error for the first invalid one."""
        cdef Py_ssize_t i
        cdef Py_ssize_t cost = 0
        cdef Py_ssize_t parts = 1
        cdef Py_ssize_t done = 0
        if self.samples == 0:
            return 0
        for i in range(self.samples):
            cost += self.cost(i)
        if cost >= 2 * MIN_PREDS_PER_THREAD:
            parts = min(limit(self.p.threads), cost // MIN_PREDS_PER_THREAD, self.samples)
        if parts == 1:
            found = [self.part(0, self.samples)]
        else:
            bounds = [0]
            for i in range(self.samples):  # parts of equal cost
                done += self.cost(i)
                if done * parts >= cost * len(bounds) and len(bounds) < parts:
                    bounds.append(i + 1)
            bounds.append(self.samples)
            found = run([partial(self.part, a, b) for a, b in zip(bounds, bounds[1:])])
        bad = [each for each in found if each is not None]
        if bad:
            raise self.utterance_error(min(bad), self.preds.once(self.given_preds))
        return 0

    cdef Py_ssize_t cost(self, Py_ssize_t i) noexcept nogil:
        """About how long an utterance takes."""
        return 1 + self.frames.at[i] * (self.preds.v.classes + STATE_COSTS * (2 * self.many.at[i] + 1))

    def part(self, Py_ssize_t start, Py_ssize_t stop):
        """Utterances start ... stop - 1; the first that is invalid, or None."""
        cdef Py_ssize_t i
        cdef Py_ssize_t bad = -1
        cdef Py_ssize_t most = 1
        cdef Py_ssize_t lanes = lanes_of(self.longest)
        cdef Workspace w
        cdef scratch s
        cdef char* memory
        cdef unsigned long long saved
        for i in range(start, stop):
            most = max(most, self.frames.at[i])
        if allocate(&w, self, most, NULL, 0) < 0:
            raise MemoryError
        s.some = max(<Py_ssize_t>1, PROBS_PER_TILE // lanes)
        memory = <char*>malloc(64 + sizeof(double) * (lanes + CTC_LINES * (lanes + CTC_FRONT) + 2 * s.some * lanes))
        if memory is NULL:
            free(w.memory)
            raise MemoryError
        s.lattice = <double*>(memory + 64 - <uintptr_t>memory % 64)
        s.m = s.lattice + CTC_LINES * (lanes + CTC_FRONT)
        s.e = s.m + s.some * lanes
        s.label = <int64_t*>(s.e + s.some * lanes)
        with nogil:
            saved = fp_enter()
            for i in range(start, stop):
                self.utterance(&w, &s, i)
                if COUNTED < self.recorded.what[i] < INFEASIBLE and not self.skips:
                    bad = i
                    break
            fp_leave(saved)
        free(memory)
        free(w.memory)
        return bad if bad >= 0 else None

    cdef void utterance(self, Workspace* w, scratch* s, Py_ssize_t i) noexcept nogil:
        """n and d of an utterance, or what is wrong with it."""
        cdef Py_ssize_t j
        cdef Py_ssize_t many = self.many.at[i]
        cdef Py_ssize_t lanes = lanes_of(many)
        cdef const int64_t* label = self.labels_of.at + self.first.at[i]
        cdef const kernel_table* K = table()
        cdef double weight = self.weight.at[i] if self.has_weight else 1.0
        cdef double d = 1.0
        cdef double loss
        cdef int status = self.recorded.what[i]
        s.utterance, s.rough = i, False
        if self.p.per != PER_UTTERANCE:
            d = <double>(many if self.p.per == PER_LABEL else self.frames.at[i])
        for j in range(lanes):
            s.label[j] = label[j] if j < many else self.p.blank
            if j < many and (not 0 <= label[j] < self.preds.v.classes or label[j] == self.p.blank) and not status:
                status = INVALID_LABEL
        if not status and not 0 <= weight <= DBL_MAX:
            status = INVALID_WEIGHT
        if not status:
            K.ctc_begin(s.label, lanes, many, False, s.lattice)
            status = self.pass_over(w, s, lanes, many, True)
        if status:
            self.recorded.what[i] = <uint8_t>status
            self.recorded.odd = True
            return
        loss = K.ctc_loss(s.lattice, lanes, many)
        if -SMALL < loss < SMALL:
            K.ctc_begin(s.label, lanes, many, True, s.lattice)
            self.pass_over(w, s, lanes, many, False)
            loss = K.ctc_small_loss(s.lattice, lanes, many)
        if loss == INFINITY:
            self.recorded.what[i] = INFEASIBLE
            self.recorded.odd = True
            return
        self.recorded.n[i] = product(loss, weight)
        if not self.unit_weight:
            self.recorded.d[i] = d * weight
        status = IS_UNNORMALISED if s.rough else 0
        if self.recorded.n[i] in (INFINITY, -INFINITY):
            status |= IS_INFINITE
        if status:
            self.recorded.what[i] = <uint8_t>(status << 4)
            self.recorded.odd = True

    cdef int pass_over(
        self, Workspace* w, scratch* s, Py_ssize_t lanes, Py_ssize_t many, bint forward
    ) noexcept nogil:
        """Leads the lattice through all frames; with ``forward`` judges them, and returns what is wrong with one."""
        cdef RowTile* r = &w.rows
        cdef const kernel_table* K = table()
        cdef view v = self.preds.v
        cdef Py_ssize_t i = s.utterance
        cdef Py_ssize_t frames = self.frames.at[i]
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t k, tile, first, stride
        cdef const void* x
        cdef const double* most = NULL
        cdef const double* scale = NULL
        cdef bint logs = self.spec.kind != PROBS
        cdef int status
        v.data += (i if self.begin is None else self.begin.at[i]) * self.stride
        while at < frames:
            k = min(w.step, frames - at)
            x = w.x = rows_of(self, w, &v, at, k, &w.preds, &stride)
            w.x_stride = stride
            status = self.check_frames(w, s, at, k, forward)
            if status:
                return status
            first = 0
            while first < k:
                tile = min(s.some, k - first)
                if self.is_float32:
                    K.gather_f32(<const float*>x + first * stride, stride, tile, s.label, lanes, s.m)
                else:
                    K.gather_f64(<const double*>x + first * stride, stride, tile, s.label, lanes, s.m)
                if self.spec.kind == LOGITS:
                    most, scale = r.largest + first, r.scale + first
                if forward:
                    K.ctc_emissions(s.m, tile, lanes, logs, most, scale, s.e)
                    K.ctc_forward(s.m, s.e, tile, lanes, many, s.lattice)
                else:
                    K.ctc_shares(s.m, tile, lanes, logs, most, r.rest + first, scale, s.e)
                    K.ctc_leak(s.m, s.e, tile, lanes, many, self.spec.kind == LOGITS, s.lattice)
                first += tile
            at += k
        return COUNTED

    cdef int check_frames(self, Workspace* w, scratch* s, Py_ssize_t at, Py_ssize_t k, bint forward) noexcept nogil:
        """What is wrong with the first of some frames that is invalid; of logits, what makes them probabilities."""
        cdef RowTile* r = &w.rows
        cdef const kernel_table* K = table()
        cdef Py_ssize_t classes = self.preds.v.classes
        cdef Py_ssize_t stride = w.x_stride
        cdef const void* x = w.x
        cdef Py_ssize_t t
        cdef double off
        cdef int status
        if self.spec.kind == LOGITS:
            K.softmax_rows_f64(<const double*>x, stride, k, classes, r.largest, r.rest, NULL)
        elif not forward:
            return COUNTED
        elif self.spec.kind == LOG_PROBS:
            if self.is_float32:
                K.sum_exps_f32(<const float*>x, stride, k, classes, r.total)
            else:
                K.sum_exps_f64(<const double*>x, stride, k, classes, r.total)
        elif self.is_float32:
            K.sum_rows_f32(<const float*>x, stride, k, classes, r.total)
        else:
            K.sum_rows_f64(<const double*>x, stride, k, classes, r.total)
        for t in range(k):
            status = COUNTED
            if self.spec.kind == LOGITS:
                if r.rest[t] != r.rest[t]:
                    status = self.status_of_row(x, stride, t)
                    r.rest[t] = 0  # unless there is a fault, all the mass is where the one +inf is
                r.scale[t] = 1 / (1 + r.rest[t])
            else:
                off = r.total[t] - 1 if r.total[t] > 1 else 1 - r.total[t]
                s.rough |= off > self.tolerance
                if not off <= max(0.01, self.tolerance):
                    status = self.status_of_row(x, stride, t)
            if status:
                self.bad_frame.at[s.utterance] = at + t
                return status
        return COUNTED

    cdef int status_of_row(self, const void* x, Py_ssize_t stride, Py_ssize_t t) noexcept nogil:
        """What is wrong with a row of preds that the kernels leave open."""
        cdef Py_ssize_t c
        cdef Py_ssize_t infinite = 0
        cdef Py_ssize_t finite = 0
        cdef bint nan = False
        cdef bint outside = False
        cdef double p
        for c in range(self.preds.v.classes):
            p = (<const float*>x)[t * stride + c] if self.is_float32 else (<const double*>x)[t * stride + c]
            nan |= p != p
            infinite += p == INFINITY
            finite += p > -INFINITY
            outside |= p > 0 if self.spec.kind == LOG_PROBS else self.spec.kind == PROBS and not 0 <= p <= 1
        if nan:
            return PREDS_NAN
        if self.spec.kind == LOGITS:
            return PREDS_RANGE if infinite > 1 or finite == 0 else COUNTED
        return PREDS_RANGE if outside else PREDS_SUM

    # ---- what they come to ----

    cdef int write(self, double[::1] out) except -1:
        """The loss of each utterance: inf where it is infeasible, nan where it is invalid."""
        cdef Py_ssize_t i
        cdef int status
        if out is None:
            return 0
        for i in range(self.samples):
            status = self.recorded.what[i] & 15
            out[i] = self.recorded.n[i] if not status else INFINITY if status == INFEASIBLE else NAN
        return 0

    cdef object utterance_error(self, Py_ssize_t i, preds):
        """The error for invalid utterance i."""
        cdef int status = self.recorded.what[i]
        cdef const int64_t* label = self.labels_of.at + self.first.at[i]
        cdef Py_ssize_t j = 0
        counter = NAMES[COUNTER_OF[status]]
        if status == NULL_INPUT:
            null = self.null_of(i)
            return arrays.null_row(i, counter) if null is None else arrays.null_entry(*null)
        if status == INVALID_LABEL:
            while 0 <= label[j] < self.preds.v.classes and label[j] != self.p.blank:
                j += 1
            index = [i, j] if self.padded else [self.first.at[i] + j]
            return arrays.ctc_label(tuple(index), label[j], i, self.preds.v.classes, self.p.blank, counter)
        if status == INVALID_WEIGHT:
            return arrays.ctc_weight(i, self.weight.at[i], counter)
        if self.begin is not None:
            index = [self.begin.at[i] + self.bad_frame.at[i]]
        else:
            index = [i, self.bad_frame.at[i]] if self.p.batch_first else [self.bad_frame.at[i], i]
        return arrays.ctc_row(preds, tuple(index), i, CAUSES[status], counter, KIND_NAMES[self.spec.kind])


cdef Py_ssize_t lanes_of(Py_ssize_t labels) noexcept nogil:
    """Lanes of the lattice: more than labels."""
    return (labels + LANES) // LANES * LANES


cdef Integers integers(source, str name, Py_ssize_t size):
    """Lengths, one per utterance; ``size`` of them, or -1 for any number."""
    cdef ArrayView array = ArrayView.__new__(ArrayView)
    cdef Integers found = Integers.__new__(Integers)
    array.take(source, name)
    if array.null() is not None and array.null().any():
        raise arrays.null_entry(name, arrays.first(array.null()))
    if array.is_real and not (array.ndim and array.shape[0] == 0):  # an empty list holds what it may
        raise arrays.not_integers(name, array.once(source))
    if array.ndim != 1 or (array.shape[0] != size and size >= 0):
        raise arrays.ctc_lengths(name, array.shape_tuple(), size)
    found.take(array)
    return found
