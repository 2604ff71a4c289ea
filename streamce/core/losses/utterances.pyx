"""The losses of utterances (CTC). Each utterance is a sample, and is computed on its own:

    predictions -> tiles of frames in the form that the kernels need (load_block) -> checked row by row
                -> the probabilities of the labels (gather, ctc_emissions) -> the lattice (ctc_forward) -> the loss

Each thread has its own scratch memory.
"""

from libc.float cimport DBL_MAX
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc

from streamce.core.kernels.kernels cimport CTC_FRONT, CTC_LINES, fp_enter, fp_leave, kernel_table, table
from streamce.core.losses.array_view cimport F64, view, view_coalesce_axes
from streamce.core.losses.batch cimport Batch, Vector, product, tolerance
from streamce.core.losses.integers cimport Integers, copy_of, lengths_of
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
from streamce.inputs import arrays, loss_errors, messages
from streamce.core.ledger.ledger import NAMES
from streamce.core.losses.batch import CAUSES
from streamce.core.losses.loss_spec import KIND_NAMES
from streamce._support.threads import limit, run

cdef enum:
    PER_LABEL, PER_FRAME, PER_UTTERANCE
UNITS = {"label": PER_LABEL, "frame": PER_FRAME, "utterance": PER_UTTERANCE}
# A line of the lattice has a multiple of LANES lanes. A tile has about PROBS_PER_TILE probabilities.
cdef Py_ssize_t LANES = 8
cdef Py_ssize_t PROBS_PER_TILE = 2048
# Costs are counted in classes of a row. A state of the lattice costs as much as COST_PER_STATE classes.
cdef Py_ssize_t COST_PER_STATE = 4
# Minimum cost per thread.
cdef Py_ssize_t MIN_PREDS_PER_THREAD = 1 << 18
# A loss below this is computed with the algorithm for losses near 0.
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


cdef class Utterances(Batch):
    """The arguments of one update. ``status`` has a status for each utterance: COUNTED or NULL_INPUT."""

    def __init__(self, preds, target, input_lengths, target_lengths, weight=None, *, status=None):
        Batch.__init__(self, preds, target, weight, status=status)
        self.given_input_lengths, self.given_target_lengths = input_lengths, target_lengths

    # ---- opening: shapes and lengths ----

    cdef int convert(self) except -1:
        """Convert all arguments, which can run the caller's code, before the memory of any is taken."""
        self.given_preds = arrays.materialize(self.given_preds, "preds")
        self.given_target = arrays.materialize(self.given_target, "target")
        self.given_weight = arrays.materialize(self.given_weight, "weight")
        self.given_input_lengths = arrays.materialize(self.given_input_lengths, "input_lengths")
        self.given_target_lengths = arrays.materialize(self.given_target_lengths, "target_lengths")
        return 0

    cdef int open_utterances(self, CTCOptions p) except -1:
        """Take the memory of the arguments, and derive the layout of the utterances."""
        cdef int utterance_axis = 0 if p.batch_first else 1
        cdef int frame_axis = 1 - utterance_axis
        cdef int class_axis = 2
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
            raise messages.integer_preds(self.preds.once(self.given_preds), self.preds.shape_tuple())
        if self.preds.ndim == 2:
            utterance_axis = frame_axis = 0
            class_axis = 1
        if self.preds.ndim not in (2, 3) or self.preds.shape[class_axis] < 2:
            raise messages.ctc_preds_shape(self.preds.shape_tuple(), p.batch_first)
        if p.blank >= self.preds.shape[class_axis]:
            raise messages.ctc_blank(p.blank, self.preds.shape[class_axis])
        self.samples = self.preds.shape[utterance_axis]
        # The view becomes that of one utterance. Its rows are read in place if those of all utterances can be.
        self.stride = self.preds.strides[utterance_axis]
        v.ndim = 1
        v.shape[0] = self.preds.shape[frame_axis]
        v.strides[0] = self.preds.strides[frame_axis]
        v.classes = self.preds.shape[class_axis]
        v.class_stride = self.preds.strides[class_axis]
        view_coalesce_axes(v)
        v.direct &= self.stride % v.itemsize == 0
        self.is_float32 = v.dtype < F64 and p.spec.kind != LOGITS
        self.tolerance = tolerance(v.dtype)
        self.frames = lengths_of(
            self.given_input_lengths, "input_lengths", -1 if self.preds.ndim == 2 else self.samples
        )
        self.samples = self.losses = self.frames.size
        self.n_labels = lengths_of(self.given_target_lengths, "target_lengths", self.samples)
        self.open_frames(self.preds.shape[frame_axis])
        self.take_labels()
        self.has_weight = self.given_weight is not None
        self.unit_weight = not self.has_weight and p.per == PER_UTTERANCE
        if self.has_weight:
            self.take_weight()
        self.recorded = Samples.__new__(Samples)
        self.recorded.open(self.samples, self.samples, 1, NULL, self.unit_weight)
        if status is not None:
            if status.shape[0] != self.samples:
                raise messages.status_shape(status, self.samples)
            for i in range(self.samples):
                self.recorded.packed_status[i] = status[i]
        if self.preds.null() is not None or self.target.null() is not None or self.null_weight is not None:
            for i in range(self.samples):
                if self.null_of(i) is not None:
                    self.recorded.packed_status[i] = NULL_INPUT
        self.invalid_frame = Integers(self.samples)
        return 0

    cdef int open_frames(self, Py_ssize_t frames) except -1:
        """Check the number of frames of each utterance. If frames are flat, find the first one of each utterance."""
        cdef Py_ssize_t i
        cdef Py_ssize_t total = 0
        for i in range(self.samples):
            if not 0 <= self.frames.at[i] <= frames:
                raise messages.ctc_length("input_lengths", i, self.frames.at[i], 0, frames)
        if self.preds.ndim == 3:
            return 0
        self.begin = Integers(self.samples)
        for i in range(self.samples):
            self.begin.at[i] = total
            total += self.frames.at[i]
            if total > frames:
                break
        if total != frames:
            raise messages.ctc_frame_count(frames, sum([self.frames.at[i] for i in range(self.samples)]))
        return 0

    cdef int take_labels(self) except -1:
        """Copy all labels, and find the first one of each utterance."""
        cdef Py_ssize_t i
        cdef Py_ssize_t total = 0
        cdef Py_ssize_t max_labels
        cdef bint is_padded
        self.target.take(self.given_target, "target")
        if self.target.is_real:
            self.take_real_labels()
        is_padded = self.target.ndim == 2
        if self.samples == 0:
            return 0
        if self.target.ndim != 1 and not (is_padded and self.target.shape[0] == self.samples):
            raise messages.ctc_target_shape(self.target.shape_tuple(), self.samples)
        max_labels = self.target.shape[self.target.ndim - 1]
        self.first = Integers(self.samples)
        self.longest = 0
        for i in range(self.samples):
            if not 0 <= self.n_labels.at[i] <= max_labels:
                raise messages.ctc_length("target_lengths", i, self.n_labels.at[i], 0, max_labels)
            self.first.at[i] = i * max_labels if is_padded else total
            total += self.n_labels.at[i]
            self.longest = max(self.longest, self.n_labels.at[i])
            if not is_padded and total > max_labels:
                break
        if not is_padded and total != max_labels:
            raise messages.ctc_label_count(max_labels, sum([self.n_labels.at[i] for i in range(self.samples)]))
        self.padded = max_labels if is_padded else 0
        self.labels_of = copy_of(self.target)
        return 0

    cdef int take_weight(self) except -1:
        weights, is_bfloat16, self.null_weight = arrays.convert(self.given_weight, "weight")
        if weights.shape != (self.samples,):
            raise InputError(
                "weight", f"has shape {weights.shape}", f"one weight per utterance, shape {(self.samples,)}",
                value=weights.shape,
            )
        cdef const double[::1] values = arrays.bfloat16_to_float32(weights, is_bfloat16).astype("float64")
        cdef Py_ssize_t i
        self.weight = Vector(self.samples)
        for i in range(self.samples):
            self.weight.at[i] = values[i]
        return 0

    def null_of(self, Py_ssize_t i):
        """Return the argument and the index of the first null in utterance i, or None if there is none."""
        frames = slice(0, self.frames.at[i])
        if self.begin is not None:
            frame = (slice(self.begin.at[i], self.begin.at[i] + self.frames.at[i]),)
        else:
            frame = (i, frames) if self.p.batch_first else (frames, i)
        label = (i, slice(0, self.n_labels.at[i])) if self.padded else (
            slice(self.first.at[i], self.first.at[i] + self.n_labels.at[i]),
        )
        for name, null, index in (
            ("preds", self.preds.null(), frame),
            ("target", self.target.null(), label),
            ("weight", self.null_weight, (i,)),
        ):
            if null is not None and null[index].any():
                return name, arrays.first_index_in(null, index)
        return None

    # ---- the losses ----

    cdef int compute(self) except -1:
        """Compute the losses of all utterances. Raise an InputError for the first invalid one."""
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
            results = [self.part(0, self.samples)]
        else:
            bounds = [0]
            for i in range(self.samples):  # parts of equal cost
                done += self.cost(i)
                if done * parts >= cost * len(bounds) and len(bounds) < parts:
                    bounds.append(i + 1)
            bounds.append(self.samples)
            results = run([partial(self.part, a, b) for a, b in zip(bounds, bounds[1:])])
        invalid = [index for index in results if index is not None]
        if invalid:
            raise self.utterance_error(min(invalid), self.preds.once(self.given_preds))
        return 0

    cdef Py_ssize_t cost(self, Py_ssize_t i) noexcept nogil:
        """Return an estimate of the time that an utterance takes."""
        return 1 + self.frames.at[i] * (self.preds.v.classes + COST_PER_STATE * (2 * self.n_labels.at[i] + 1))

    def part(self, Py_ssize_t start, Py_ssize_t stop):
        """Compute utterances start ... stop - 1. Return the first invalid one, or None."""
        cdef Py_ssize_t i
        cdef Py_ssize_t invalid = -1
        cdef Py_ssize_t max_frames = 1
        cdef Py_ssize_t lanes = lanes_of(self.longest)
        cdef Py_ssize_t doubles
        cdef Workspace w
        cdef scratch s
        cdef char* memory
        cdef unsigned long long saved
        for i in range(start, stop):
            max_frames = max(max_frames, self.frames.at[i])
        if allocate(&w, self, max_frames, NULL, 0) < 0:
            raise MemoryError
        s.tile_frames = max(<Py_ssize_t>1, PROBS_PER_TILE // lanes)
        doubles = lanes + CTC_LINES * (lanes + CTC_FRONT) + 2 * s.tile_frames * lanes
        memory = <char*>malloc(64 + doubles * sizeof(double))
        if memory is NULL:
            free(w.memory)
            raise MemoryError
        s.lattice = <double*>(memory + 64 - <uintptr_t>memory % 64)
        s.m = s.lattice + CTC_LINES * (lanes + CTC_FRONT)
        s.e = s.m + s.tile_frames * lanes
        s.label = <int64_t*>(s.e + s.tile_frames * lanes)
        with nogil:
            saved = fp_enter()
            for i in range(start, stop):
                self.utterance(&w, &s, i)
                if COUNTED < self.recorded.packed_status[i] < INFEASIBLE and not self.skips:
                    invalid = i
                    break
            fp_leave(saved)
        free(memory)
        free(w.memory)
        return invalid if invalid >= 0 else None

    cdef void utterance(self, Workspace* w, scratch* s, Py_ssize_t i) noexcept nogil:
        """Compute n and d of an utterance, or its status if it is invalid."""
        cdef Py_ssize_t j
        cdef Py_ssize_t n_labels = self.n_labels.at[i]
        cdef Py_ssize_t lanes = lanes_of(n_labels)
        cdef const int64_t* label = self.labels_of.at + self.first.at[i]
        cdef const kernel_table* K = table()
        cdef double weight = self.weight.at[i] if self.has_weight else 1.0
        cdef double d = 1.0
        cdef double loss
        cdef int status = self.recorded.packed_status[i]
        s.utterance, s.rough, s.exceeds = i, False, False
        if self.p.per != PER_UTTERANCE:
            d = <double>(n_labels if self.p.per == PER_LABEL else self.frames.at[i])
        for j in range(lanes):
            s.label[j] = label[j] if j < n_labels else self.p.blank
            if j < n_labels and (not 0 <= label[j] < self.preds.v.classes or label[j] == self.p.blank) and not status:
                status = INVALID_LABEL
        if not status and not 0 <= weight <= DBL_MAX:
            status = INVALID_WEIGHT
        if not status:
            K.ctc_begin(s.label, lanes, n_labels, False, s.lattice)
            status = self.pass_over(w, s, lanes, n_labels, True)
        if status:
            self.recorded.packed_status[i] = <uint8_t>status
            self.recorded.odd = True
            return
        loss = K.ctc_loss(s.lattice, lanes, n_labels)
        if -SMALL < loss < SMALL:
            K.ctc_begin(s.label, lanes, n_labels, True, s.lattice)
            self.pass_over(w, s, lanes, n_labels, False)
            loss = K.ctc_small_loss(s.lattice, lanes, n_labels)
        if loss == INFINITY:
            self.recorded.packed_status[i] = INFEASIBLE
            self.recorded.odd = True
            return
        self.recorded.n[i] = product(loss, weight)
        if not self.unit_weight:
            self.recorded.d[i] = d * weight
        status = IS_UNNORMALISED if s.rough else 0
        if self.recorded.n[i] in (INFINITY, -INFINITY):
            status |= IS_INFINITE
        if status:
            self.recorded.packed_status[i] = <uint8_t>(status << 4)
            self.recorded.odd = True

    cdef int pass_over(
        self, Workspace* w, scratch* s, Py_ssize_t lanes, Py_ssize_t n_labels, bint forward
    ) noexcept nogil:
        """Lead the lattice through all frames. With ``forward``, check them and return the status of an invalid one."""
        cdef RowTile* r = &w.rows
        cdef const kernel_table* K = table()
        cdef view v = self.preds.v
        cdef Py_ssize_t i = s.utterance
        cdef Py_ssize_t frames = self.frames.at[i]
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t k, tile, first, stride, k_prob
        cdef const void* x
        cdef const double* largest = NULL
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
                tile = min(s.tile_frames, k - first)
                if self.is_float32:
                    K.gather_f32(<const float*>x + first * stride, stride, tile, s.label, lanes, s.m)
                else:
                    K.gather_f64(<const double*>x + first * stride, stride, tile, s.label, lanes, s.m)
                if s.exceeds:
                    for k_prob in range(tile * lanes):
                        s.m[k_prob] = min(s.m[k_prob], 1.0)
                if self.spec.kind == LOGITS:
                    largest, scale = r.largest + first, r.scale + first
                if forward:
                    K.ctc_emissions(s.m, tile, lanes, logs, largest, scale, s.e)
                    K.ctc_forward(s.m, s.e, tile, lanes, n_labels, s.lattice)
                else:
                    K.ctc_shares(s.m, tile, lanes, logs, largest, r.rest + first, scale, s.e)
                    K.ctc_leak(s.m, s.e, tile, lanes, n_labels, self.spec.kind == LOGITS, s.lattice)
                first += tile
            at += k
        return COUNTED

    cdef int check_frames(self, Workspace* w, scratch* s, Py_ssize_t at, Py_ssize_t k, bint forward) noexcept nogil:
        """Return the status of the first invalid frame. For logits, also compute the scale of the probabilities."""
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
                    r.rest[t] = 0  # if the row is valid, the class with the logit +inf has probability 1
                r.scale[t] = 1 / (1 + r.rest[t])
            else:
                off = r.total[t] - 1 if r.total[t] > 1 else 1 - r.total[t]
                s.rough |= off > self.tolerance
                if not off <= max(0.01, self.tolerance):
                    status = self.status_of_row(x, stride, t)
                    if not status:
                        s.rough = s.exceeds = True
            if status:
                self.invalid_frame.at[s.utterance] = at + t
                return status
        return COUNTED

    cdef int status_of_row(self, const void* x, Py_ssize_t stride, Py_ssize_t t) noexcept nogil:
        """Return the status of a row for which the kernels give NaN or a wrong sum."""
        cdef Py_ssize_t c
        cdef Py_ssize_t infinite = 0
        cdef Py_ssize_t finite = 0
        cdef bint nan = False
        cdef bint outside = False
        cdef bint exceeds = False
        cdef double total = 0
        cdef double p
        for c in range(self.preds.v.classes):
            p = (<const float*>x)[t * stride + c] if self.is_float32 else (<const double*>x)[t * stride + c]
            nan |= p != p
            infinite += p == INFINITY
            finite += p > -INFINITY
            if self.spec.kind == LOG_PROBS:
                outside |= p > 0
            elif self.spec.kind == PROBS:
                outside |= not 0 <= p <= 1 + self.tolerance
                exceeds |= p > 1
                total += p
        if nan:
            return PREDS_NAN
        if self.spec.kind == LOGITS:
            return PREDS_RANGE if infinite > 1 or finite == 0 else COUNTED
        if exceeds and not outside and -0.01 <= total - 1 <= max(0.01, self.tolerance):
            return COUNTED
        return PREDS_RANGE if outside else PREDS_SUM

    # ---- results ----

    cdef int write(self, double[::1] out) except -1:
        """Write the loss of each utterance: inf if it is infeasible, nan if it is invalid."""
        cdef Py_ssize_t i
        cdef int status
        if out is None:
            return 0
        for i in range(self.samples):
            status = self.recorded.packed_status[i] & 15
            out[i] = self.recorded.n[i] if not status else INFINITY if status == INFEASIBLE else NAN
        return 0

    cdef object utterance_error(self, Py_ssize_t i, preds):
        """Return the error for the invalid utterance i."""
        cdef int status = self.recorded.packed_status[i]
        cdef const int64_t* label = self.labels_of.at + self.first.at[i]
        cdef Py_ssize_t j = 0
        counter = NAMES[COUNTER_OF[status]]
        if status == NULL_INPUT:
            null = self.null_of(i)
            return loss_errors.null_row(i, counter) if null is None else arrays.null_entry(*null)
        if status == INVALID_LABEL:
            while 0 <= label[j] < self.preds.v.classes and label[j] != self.p.blank:
                j += 1
            index = [i, j] if self.padded else [self.first.at[i] + j]
            value = label[j] if self.real_labels is None else self.real_labels.values[tuple(index)].item()
            return loss_errors.ctc_label(tuple(index), value, i, self.preds.v.classes, self.p.blank, counter)
        if status == INVALID_WEIGHT:
            return loss_errors.sequence_weight(i, self.weight.at[i], counter)
        if self.begin is not None:
            index = [self.begin.at[i] + self.invalid_frame.at[i]]
        else:
            index = [i, self.invalid_frame.at[i]] if self.p.batch_first else [self.invalid_frame.at[i], i]
        return loss_errors.ctc_row(preds, tuple(index), i, CAUSES[status], counter, KIND_NAMES[self.spec.kind],
                                   self.tolerance)


cdef Py_ssize_t lanes_of(Py_ssize_t labels) noexcept nogil:
    """Return the number of lanes of the lattice, which is larger than that of the labels."""
    return (labels + LANES) // LANES * LANES
