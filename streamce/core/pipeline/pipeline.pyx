"""The one path that data takes: views -> losses -> samples -> ledger.

A chunk of one block is added at once. A longer one is folded into fresh ledgers, in parts that
threads may share, with no lock held, and merged at the end. Either way nothing is added before
all of it is known to be valid, and the smallest offending index is reported whatever the threads
did.
"""

cimport cython
from cpython.bool cimport PyBool_Check
from cpython.float cimport PyFloat_Check
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport Py_TYPE, PyTypeObject
from libc.math cimport INFINITY, NAN
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from streamce.core.kernels.kernels cimport LEAST_FLOOR_F32, fp_enter, fp_leave, table
from streamce.core.ledger.ledger cimport Ledger
from streamce.core.ledger.state cimport BUCKETS, SPLIT_CLASSES, State
from streamce.core.losses.array_view cimport BF16, F16, F32, F64, Array
from streamce.core.losses.calibration_terms cimport calibration_cells
from streamce.core.losses.evaluate_block cimport fill
from streamce.core.losses.gradients cimport add_divisors
from streamce.core.losses.workspace cimport (
    BINARY, LOG_PROBS, LOGITS, MEAN, MULTICLASS, MULTILABEL, PROBS, Blocks, Vector, rules, work,
)
from streamce.core.pipeline.accumulate cimport collect
from streamce.core.samples.clusters cimport add_to_buckets
from streamce.core.samples.ratios cimport add_ratio
from streamce.core.samples.samples cimport COUNTER_OF, Samples
from streamce.core.samples.status cimport (
    BAD_LABEL, BAD_WEIGHT, IS_FLOORED, IS_NULL, IS_UNNORMALISED, LEFT_OUT, NOT_THERE, PREDS_NAN, PREDS_RANGE, PREDS_SUM,
    TARGET_NAN, TARGET_RANGE, TARGET_SUM,
)

from functools import partial

import numpy as np

from streamce.inputs import arrays, loss_errors, loss_layout, messages
from streamce.core.ledger.ledger import NAMES
from streamce._support.rational import quotient
from streamce._support.threads import limit, run

TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL, "mean": MEAN}
KINDS = {"probs": PROBS, "log_probs": LOG_PROBS, "logits": LOGITS}
KIND_NAMES = {kind: name for name, kind in KINDS.items()}
# What errors call the statuses.
CAUSES = {
    IS_NULL: "null",
    BAD_LABEL: "label",
    TARGET_NAN: "target_nan",
    TARGET_RANGE: "target_range",
    TARGET_SUM: "target_sum",
    BAD_WEIGHT: "weight",
    PREDS_NAN: "preds_nan",
    PREDS_RANGE: "preds_range",
    PREDS_SUM: "preds_sum",
}

cdef type ndarray = np.ndarray
cdef type ArrayData = arrays.ArrayData
cdef int DIVERGENCE = 1
# What a loss may be settled as before it is looked at.
PADDING, MASKED, NULL_INPUT = NOT_THERE, LEFT_OUT, IS_NULL
# What losses that were worked out elsewhere say of themselves.
WHAT = {name: status for status, name in CAUSES.items()} | {
    "left_out": LEFT_OUT, "floored": IS_FLOORED << 4, "unnormalised": IS_UNNORMALISED << 4,
}

# Below as many predictions a chunk is not worth a second thread.
cdef Py_ssize_t WORTH_A_THREAD = 1 << 18
# Below as many it is done sooner than another thread could take the interpreter lock.
cdef Py_ssize_t WORTH_A_RELEASE = 1 << 12
# Scratch memory on the stack, for small chunks: allocating as much costs more than they do.
cdef enum:
    NEAR = 1 << 13
# A chunk that is closed, for the next one to be opened in: a small one costs less than new objects.
# None while it is in use; the lock is for interpreters that have no lock of their own.
cdef Chunk spare = None
cdef object spare_lock = object()


cdef class Pipeline:
    """The options of a metric, and what turns its inputs into what a ledger adds."""

    cdef rules r
    cdef object class_weight, pos_weight, limit, elsewhere
    cdef str name  # of what is predicted, as the caller calls it
    cdef int axis
    cdef bint whole, by_position, tail, calibration
    cdef readonly bint per_cell
    cdef Pipeline entropy  # of targets: their cross-entropy with themselves

    def __init__(
        self, str task, str kind="probs", *, double smoothing=0.0, ignore_index=None, class_weight=None,
        pos_weight=None, double floor=0.0, double ceiling=1.0, bint skips=False, int axis=-1,
        bint per_cell=False, threads=None, str name="preds", bint whole=False, bint by_position=False,
        bint tail=False, bint calibration=False, Pipeline entropy=None, elsewhere=None,
    ):
        self.r.task = TASKS[task]
        self.r.kind = KINDS[kind]
        self.r.smoothing = smoothing
        self.r.ignores = ignore_index is not None
        self.r.ignore = ignore_index if self.r.ignores else 0
        self.r.floor = floor
        self.r.ceiling = ceiling
        self.r.skips = skips
        cdef unsigned long long saved = fp_enter()
        table().neg_log_f64(&self.r.floor, 1, 0.0, 1.0, &self.r.cap)
        fp_leave(saved)
        self.class_weight = class_weight
        self.pos_weight = pos_weight
        self.axis = axis
        self.per_cell = per_cell
        self.limit = threads
        self.name = name
        self.whole = whole
        self.by_position = by_position
        self.tail = tail
        self.calibration = calibration
        self.entropy = entropy
        self.elsewhere = elsewhere  # makes an Elsewhere of a chunk whose predictions the core cannot read

    def update(
        self, State state not None, preds, target, weight=None, bucket=None, settled=None, out=None,
        Samples samples=None, gradient=None, bint mean=False, offsets=None, tuple ratios=(),
    ):
        """Adds a chunk to ``state``.

        ``bucket`` is that of each sample's cluster, if samples come in clusters.
        ``settled`` has a status for each loss: 0, or PADDING, MASKED or NULL_INPUT. ``offsets`` say where the losses of
        each sample begin, the last of them where all end; without, the samples are the entries of the first axis.
        ``ratios`` are a number each, and what it divides by: counts and weights (None: 1), one for each sample.
        Divergence is ratio 1.
        Writes the losses one by one to ``out``, the samples to ``samples`` and the gradient of the sum of
        the losses, or of their mean, to ``gradient``, if these are given.
        """
        cdef unsigned long long saved = fp_enter()  # also for the conversion of inputs
        try:
            self.update_in_default_mode(
                state, preds, target, weight, bucket, settled, out, samples, gradient, mean, offsets, ratios
            )
        finally:
            fp_leave(saved)

    cdef int update_in_default_mode(
        self, State state, preds, target, weight, bucket, settled, out, Samples samples, gradient, bint mean, offsets,
        tuple ratios,
    ) except -1:
        global spare
        cdef Chunk chunk
        # First convert all arguments, which may run the caller's code, and only then take the memory of any.
        if not (is_plain(preds) and is_plain(target) and is_plain(weight) and is_plain(gradient)):
            self.update_converted(
                state, preds, target, weight, bucket, settled, out, samples, gradient, mean, offsets, ratios
            )
            return 0
        with cython.critical_section(spare_lock):
            chunk, spare = spare, None
        if chunk is None:
            chunk = Chunk.__new__(Chunk)
        chunk.open(self, preds, target, weight, settled, out, offsets)
        if gradient is not None:
            chunk.open_gradient(gradient, mean)
        self.add(state, chunk, bucket, samples, ratios, target, weight)
        if chunk.bad >= 0:
            raise chunk.error(preds, target, weight)
        chunk.close()
        with cython.critical_section(spare_lock):
            spare = chunk
        return 0

    cdef object update_converted(
        self, State state, preds, target, weight, bucket, settled, out, Samples samples, gradient, bint mean, offsets,
        tuple ratios,
    ):
        """``update`` for arguments that have to be converted first."""
        try:
            preds = preds if is_plain(preds) else arrays.convert(preds, self.name)
        except arrays.OnDevice:
            if self.elsewhere is None or gradient is not None:
                raise
            return self.update_on_device(state, preds, target, weight, bucket, settled, out, samples, offsets, ratios)
        return self.update(
            state, preds, target if is_plain(target) else arrays.convert(target, "target"),
            weight if is_plain(weight) else arrays.convert(weight, "weight"), bucket, settled, out, samples,
            gradient if is_plain(gradient) else arrays.convert(gradient, "out"), mean, offsets, ratios,
        )

    cdef object update_on_device(
        self, State state, preds, target, weight, bucket, settled, out, Samples samples, offsets, tuple ratios
    ):
        """``update`` for a tensor of predictions on another device than the CPU."""
        if self.calibration:  # the expected loss of predictions is not computed there
            return self.update(
                state, *self.elsewhere(preds, target, weight).on_cpu(), bucket, settled, out, samples,
                offsets=offsets, ratios=ratios,
            )
        return self.update_elsewhere(state, preds, target, weight, bucket, settled, out, samples, offsets, ratios)

    def update_elsewhere(
        self, State state not None, preds, target, weight=None, bucket=None, settled=None, out=None,
        Samples samples=None, offsets=None, tuple ratios=(),
    ):
        """As ``update``, of a tensor of predictions on any device, with losses that are worked out there."""
        cdef Chunk chunk = Chunk.__new__(Chunk)
        found = self.elsewhere(preds, target, weight)
        some, labels = arrays.materialize(found.preds, self.name), arrays.materialize(found.target, "target")
        weights = arrays.materialize(found.weight, "weight")
        chunk.open(self, some, labels, weights, settled, out, offsets)
        computed = chunk.losses_of(found)
        chunk.open(self, some, labels, weights, settled, out, offsets)
        chunk.compute(computed)
        self.add(state, chunk, bucket, samples, ratios, target, weight)
        if chunk.bad >= 0:  # found again where it can be named; what is valid there is added
            self.update(
                state, *found.on_cpu(), bucket, settled, out, samples, offsets=offsets, ratios=ratios,
            )

    cdef int add(
        self, State state, Chunk chunk, const uint8_t[::1] bucket, Samples samples, tuple ratios, target, weight
    ) except -1:
        """Adds a chunk that is open, or finds an invalid loss and adds nothing."""
        cdef bint clusters = bucket is not None
        cdef bint together = clusters or ratios or self.entropy is not None  # samples after all losses
        if (
            state.cells is not None and not self.by_position and state.cells.size != chunk.cells()
            and not state.cells.is_zero()
        ):
            raise messages.class_count(
                "labels" if self.r.task == MULTILABEL else "classes", chunk.preds.shape_tuple(), state.cells.size
            )
        chunk.recorded = samples if samples is not None or not together else Samples.__new__(Samples)
        if chunk.recorded is not None:
            chunk.recorded.open(
                chunk.samples, chunk.losses, chunk.group, chunk.offsets, chunk.unit and not self.whole
            )
        if clusters and bucket.shape[0] != chunk.samples:
            raise messages.key_length("cluster", bucket.shape[0], chunk.samples)
        if (clusters or state.buckets is not None) and chunk.losses and state.mixes(clusters):
            raise messages.mixed_clusters(clusters)
        if together:
            chunk.add_in_parts(state, bucket, ratios, target, weight)
        # A few rows of very many classes are one block, and still worth two threads.
        elif not (
            chunk.losses <= chunk.at_a_time() and chunk.losses * chunk.preds.v.classes < 2 * WORTH_A_THREAD
            and chunk.add_at_once(state)
        ):
            chunk.add_in_parts(state, None, (), target, weight)
        return 0


cdef class Chunk(Blocks):
    """One chunk under way; opened again for another."""

    cdef Pipeline p
    cdef object bounds   # what `offsets` point into, and
    cdef object written  # what `out` points into: a part may outlive an update that Ctrl-C ended
    cdef Py_ssize_t bad  # the first invalid loss, or -1
    cdef int status      # and what is wrong with it

    def __cinit__(self):
        self.preds = Array.__new__(Array)
        self.target = Array.__new__(Array)
        self.weights = Array.__new__(Array)
        self.settled = Array.__new__(Array)

    # ---- opening: shapes and factors ----

    cdef int open(self, Pipeline p, preds, target, weight, settled, out, offsets) except -1:
        cdef int axis = -1
        cdef int k
        cdef double[::1] losses
        self.p = p
        self.r = p.r
        self.bad = -1
        self.gradient = None
        self.whole = p.whole
        self.by_position = p.by_position
        self.computed = None
        self.preds.take(preds, p.name)
        if not self.preds.real:
            raise messages.integer_preds(self.preds.once(preds), self.preds.shape_tuple(), p.name)
        if p.r.task == MULTICLASS or p.r.task == MULTILABEL:
            axis = p.axis if p.axis >= 0 else p.axis + self.preds.ndim
            if not 0 <= axis < self.preds.ndim or self.preds.shape[axis] < 1 + (p.r.task == MULTICLASS):
                raise messages.check_class_axis(p.axis, self.preds.shape_tuple(), p.r.task == MULTICLASS)
        self.preds.axes(axis)
        if p.r.task != MEAN:
            self.open_target(target, axis)
        # The losses: the axes of preds, less the class axis of a row, or with that of labels last.
        self.labels = 1
        self.group = 1
        self.samples = 1
        if p.r.task == MULTILABEL:
            self.labels = self.preds.v.classes
            self.group = self.labels
            self.preds.join_classes()
        cdef bint first = True
        for k in range(self.preds.ndim):
            if k == axis:
                continue
            if first:
                self.samples = self.preds.shape[k]
            else:
                self.group *= self.preds.shape[k]
            first = False
        self.losses = self.samples * self.group
        self.offsets = NULL
        if offsets is not None:
            self.bounds = offsets
            self.open_offsets(offsets)
        self.has_weight = weight is not None
        self.weight_each = False
        if self.has_weight:
            self.open_weight(weight, axis)
        if self.preds.given is not None or self.target.given is not None or self.weights.given is not None:
            settled = self.settle(settled, axis)
        self.has_settled = settled is not None
        if self.has_settled:
            self.settled.take(settled, "settled")
            if self.settled.v.itemsize != 1 or entries(self.settled) != self.losses:
                raise messages.status_shape(settled, self.losses)
            self.settled.axes(-1)
        self.out = NULL
        if out is not None and self.losses:
            losses = out
            if losses.shape[0] != self.losses:
                raise ValueError(f"out has room for {losses.shape[0]} losses: expected {self.losses}")
            self.out = &losses[0]
            self.written = out
        self.calibrates = p.calibration
        if p.calibration:  # reads predictions again, so it needs a copy that no other thread writes to
            self.preds.v.direct = False
        self.splits = p.calibration and p.r.task == MULTICLASS and self.preds.v.classes <= SPLIT_CLASSES
        self.tolerance = tolerance(self.preds.v.dtype)
        self.factored = p.class_weight is not None or p.pos_weight is not None
        self.unit = not self.factored and not self.has_weight and (p.r.task != MULTICLASS or self.hard)
        self.plain = self.unit and p.r.smoothing == 0 and (p.r.task == MEAN or self.hard)
        self.single = self.preds.v.dtype < F64
        if p.r.task == MULTICLASS:
            self.single &= self.hard or self.target.v.dtype < F64
        elif p.r.kind != LOGITS:
            self.single &= p.r.kind == PROBS and p.r.floor >= LEAST_FLOOR_F32
        self.evenly = False
        if self.plain or p.r.task == MEAN:
            return 0
        cdef unsigned long long saved = fp_enter()
        try:
            self.factors()
        finally:
            fp_leave(saved)
        return 0

    cdef object settle(self, settled, int axis):
        """What is settled, and the losses in which an argument has a null."""
        nulls = self.preds.null(), self.target.null(), self.weights.null()
        if all([null is None for null in nulls]):
            return settled
        return loss_layout.mark_nulls(settled, nulls, IS_NULL, self.layout(axis if axis >= 0 else None))

    cdef object layout(self, axis):
        """The layout of the losses, for ``inputs``; ``axis`` is that of the classes or labels, or None."""
        return loss_layout.LossLayout(
            self.preds.shape_tuple(), axis, self.r.task == MULTICLASS,
            self.bounds if self.offsets is not NULL else None,
        )

    cdef int open_offsets(self, const int64_t[::1] offsets) except -1:
        """Samples of any lengths."""
        self.offsets = &offsets[0]
        self.samples, self.group = offsets.shape[0] - 1, 0
        return 0

    cdef object losses_of(self, elsewhere):
        """The losses that are worked out elsewhere. Closes the chunk first, because that may run the caller's code."""
        cdef bint hard = self.hard
        cdef double tolerance = self.tolerance, target_tolerance = self.target_tolerance
        cdef Py_ssize_t losses = self.losses
        self.close()
        return elsewhere.losses(hard, tolerance, target_tolerance) if losses else None

    cdef int compute(self, found) except -1:
        """Takes the losses that were worked out elsewhere."""
        cdef const double[::1] n
        cdef const double[::1] d = None
        cdef const uint8_t[::1] what
        self.computed = Samples.__new__(Samples)
        if self.losses == 0:
            self.computed.open(0, 0, 1, NULL, True)
            return 0
        if found is None:
            raise ValueError(f"no losses were worked out: expected {self.losses}")
        n, d, what = found
        if not n.shape[0] == what.shape[0] == self.losses or not (d is None or d.shape[0] == self.losses):
            raise ValueError(f"{n.shape[0]} losses were worked out: expected {self.losses}")
        self.computed.open(self.losses, self.losses, 1, NULL, d is None)
        memcpy(self.computed.n, &n[0], self.losses * sizeof(double))
        memcpy(self.computed.what, &what[0], self.losses)
        if d is not None:
            memcpy(self.computed.d, &d[0], self.losses * sizeof(double))
        return 0

    cdef void close(self) noexcept:
        """Lets go of the caller's memory, and of what may be as large as a row."""
        self.written = None
        self.bounds = None
        self.recorded = None
        self.gradient = None
        self.p = None
        if not self.plain:
            self.class_weight = self.base = self.ones = None
            self.positive = self.negative = self.positive_d = self.negative_d = None
        self.preds.drop()
        self.target.drop()
        self.weights.drop()
        self.settled.drop()

    cdef int open_target(self, target, int axis) except -1:
        cdef bint rows = self.r.task == MULTICLASS
        self.target.take(target, "target")
        self.target_tolerance = tolerance(self.target.v.dtype)
        self.hard = not self.target.real
        if rows and same_shape(self.target, self.preds, axis):
            if self.target.real and entries(self.target):
                raise messages.real_labels(self.target.once(target))
            self.hard = True
            self.target.axes(-1)
            return 0
        if not same_shape(self.target, self.preds, -1):
            shape = self.preds.shape_tuple()
            raise messages.target_shape(
                shape, self.target.shape_tuple(), shape[:axis] + shape[axis + 1:] if rows else None
            )
        self.target.axes(axis)
        if rows:
            self.hard = False
            if self.p.per_cell and not self.by_position:
                raise messages.soft_per_class()
            if self.p.calibration:
                raise messages.soft_calibration()
        elif self.r.task == MULTILABEL:
            self.target.join_classes()
        return 0

    cdef int open_weight(self, weight, int axis) except -1:
        """A weight per sample, or one per loss."""
        cdef int k
        self.weights.take(weight, "weight")
        cdef bint rows = self.r.task == MULTICLASS
        if same_shape(self.weights, self.preds, axis if rows else -1) and (not self.whole or self.group == 1):
            self.weight_each = True
            self.weights.axes(axis if self.r.task == MULTILABEL else -1)
            if self.r.task == MULTILABEL:
                self.weights.join_classes()
            return 0
        # The sample axis is the first one that is not the class axis.
        k = 1 if axis == 0 else 0
        if k < self.preds.ndim:
            if self.weights.ndim == 1 and self.weights.shape[0] == self.samples:
                self.weights.axes(-1)
                return 0
        elif self.weights.ndim == 0:
            self.weights.axes(-1)
            return 0
        raise messages.weight_shape(
            self.weights.shape_tuple(), (self.samples,) if k < self.preds.ndim else (), self.whole
        )

    cdef int open_gradient(self, gradient, bint mean) except -1:
        """Where the gradient goes, and what it is divided by."""
        cdef int axis = -1
        cdef Array found = Array.__new__(Array)
        if self.r.task == MULTICLASS or self.r.task == MULTILABEL:
            axis = self.p.axis if self.p.axis >= 0 else self.p.axis + self.preds.ndim
        found.writes = True
        found.take(gradient, "out")
        if not found.real:
            raise arrays.unsupported_dtype(arrays.to_numpy(gradient, "out")[0], "out")
        if not same_shape(found, self.preds, -1):
            raise messages.gradient_shape(found.shape_tuple(), self.preds.shape_tuple())
        found.axes(axis)
        if self.r.task == MULTILABEL:
            found.join_classes()
        self.divisor = self.sum_of_weights() if mean else 1.0
        self.gradient = found
        return 0

    cdef double sum_of_weights(self) except? -1:
        """The exact sum of d, rounded once; NaN for 0."""
        if self.unit and not self.r.ignores and not self.has_settled:
            return self.losses if self.losses else NAN
        cdef Ledger total = Ledger(1)
        cdef State some
        for _, some in self.in_parts(True):
            total.merge_from(some.total, 1)
        if total.integer("n+inf"):
            return INFINITY
        return quotient(total.integer("n"), 1 << 1074) if total.integer("n") else NAN

    cdef int factors(self) except -1:
        """What the options multiply each cost by."""
        cdef Pipeline p = self.p
        cdef Py_ssize_t i
        cdef Py_ssize_t many = self.preds.v.classes if p.r.task == MULTICLASS else self.labels
        cdef bint binary = p.r.task == BINARY
        names = "classes" if p.r.task == MULTICLASS else "labels"
        for name, values in (("class_weight", p.class_weight), ("pos_weight", p.pos_weight)):
            if isinstance(values, tuple) and not binary and len(values) != many:
                raise messages.class_weight_length(len(values), many, names, name)
        if p.r.task == MULTICLASS:
            if p.class_weight is not None:
                self.class_weight = vector(p.class_weight, many)
            self.evenly = p.r.kind == LOGITS and p.class_weight is None and (p.r.smoothing > 0 or not self.hard)
            if not self.evenly and (not self.hard or p.r.smoothing > 0):
                self.ones = Vector(many, 1.0)
                if self.class_weight is None:
                    self.class_weight = self.ones
                self.base = Vector(many)
                for i in range(many):
                    self.base.at[i] = self.class_weight.at[i] * (p.r.smoothing / many)
                table().dot_rows(self.base.at, many, self.ones.at, 0, 1, many, &self.base_sum)
            return 0
        if binary:
            low, high = p.class_weight if p.class_weight is not None else (1.0, 1.0)
            self.negative = self.negative_d = Vector(1, low)
            self.positive_d = Vector(1, high)
        else:
            self.negative = self.negative_d = self.positive_d = vector(p.class_weight, many)
        self.positive = vector(p.pos_weight, many)
        for i in range(many):
            self.positive.at[i] *= self.positive_d.at[i]
        return 0

    # ---- running ----

    cdef bint add_at_once(self, State state) except -1:
        """Adds a chunk of one block, or finds an invalid loss and adds nothing.

        Returns False, with nothing added, if the state is so full that each of its integers has to be checked.
        """
        cdef work w
        cdef char[NEAR] near
        cdef unsigned long long saved
        if self.losses == 0:
            return True
        if self.make(&w, self.losses, near, NEAR) < 0:
            raise MemoryError
        try:
            if self.losses * self.preds.v.classes < WORTH_A_RELEASE:
                self.judge(&w)
            else:
                with nogil:
                    self.judge(&w)
            if self.bad >= 0:
                return True
            with cython.critical_section(state):
                if not state.takes(self.losses):
                    return False
                saved = fp_enter()
                try:
                    collect(
                        self, &w, 0, self.losses, state.total,
                        state.cells_of(self.cells(), self.by_position) if self.p.per_cell else None,
                        state.tail_of() if self.p.tail else None,
                        state.calibration_of(calibration_cells(self)) if self.p.calibration else None,
                    )
                finally:
                    fp_leave(saved)
        finally:
            free(w.memory)
        return True

    cdef void judge(self, work* w) noexcept nogil:
        """The losses of a chunk of one block, and whether one is invalid."""
        cdef unsigned long long saved = fp_enter()
        fill(self, w, 0, self.losses)
        fp_leave(saved)
        self.bad = self.offending(w, self.losses)
        if self.bad >= 0:
            self.status = w.status[self.bad]

    cdef Py_ssize_t offending(self, work* w, Py_ssize_t k) noexcept nogil:
        """The first invalid loss of a block, or -1."""
        cdef Py_ssize_t i
        if w.odd and not self.r.skips:
            for i in range(k):
                if w.status[i] > LEFT_OUT:
                    return i
        return -1

    cdef int add_in_parts(
        self, State state, const uint8_t[::1] bucket, tuple ratios, target, weight
    ) except -1:
        """Adds a longer chunk, all of it, or finds the first invalid loss and adds nothing."""
        results = self.in_parts(False)
        errors = [error for error, _ in results if error is not None]
        if errors:
            self.bad, self.status = min(errors)
            return 0
        cdef State whole = results[0][1]
        for _, more in results[1:]:
            whole.add(more, 1)
        if bucket is not None:
            whole.buckets = Ledger(BUCKETS)
            add_to_buckets(self.recorded, bucket, whole.buckets)
        cdef unsigned long long saved = fp_enter()
        try:
            for ratio, counts, weights in ratios:
                if len(counts) != self.samples:
                    raise ValueError(f"{len(counts)} counts of {self.samples} samples")
                add_ratio(whole, ratio, self.recorded, self.recorded.n, products(counts, weights).at, bucket)
            if self.p.entropy is not None:
                if self.computed is None:  # else this chunk was opened with what stands for them
                    target, weight = self.target.once(target), self.weights.once(weight)
                self.add_divergence(whole, bucket, target, weight)
        finally:
            fp_leave(saved)
        return state.add(whole, 1)

    cdef int add_divergence(self, State whole, const uint8_t[::1] bucket, target, weight) except -1:
        """What losses exceed the entropy of their targets by, which of labels is 0."""
        cdef Samples entropies = Samples.__new__(Samples)
        cdef Vector excess = Vector(self.samples)
        cdef Py_ssize_t i
        cdef bint soft = self.target.real
        if soft:
            self.p.entropy.update(State(), target, target, weight, settled=self.recorded.left_out(), samples=entropies)
            if entropies.samples != self.samples:
                raise ValueError(f"{entropies.samples} entropies of {self.samples} samples")
        for i in range(self.samples):
            excess.at[i] = self.recorded.n[i] - entropies.n[i] if soft else self.recorded.n[i]
        return add_ratio(whole, DIVERGENCE, self.recorded, excess.at, self.recorded.d, bucket)

    cdef list in_parts(self, bint weights_only):
        """The results of all parts, by several threads if it is worth that."""
        cdef Py_ssize_t parts = 1
        cdef Py_ssize_t predictions = self.losses * self.preds.v.classes
        if predictions >= 2 * WORTH_A_THREAD:
            parts = min(limit(self.p.limit), predictions // WORTH_A_THREAD, self.samples)
        if parts == 1:
            return [self.part(weights_only, 0, self.samples)]
        bounds = [self.samples * i // parts for i in range(parts + 1)]
        if self.offsets is not NULL:
            bounds = [self.sample_of(self.losses * i // parts) for i in range(parts)] + [self.samples]
        return run([partial(self.part, weights_only, a, b) for a, b in zip(bounds, bounds[1:])])

    def part(self, bint weights_only, Py_ssize_t start, Py_ssize_t stop):
        """Samples start ... stop - 1: (index and status of an invalid loss or None, what they add).

        With ``weights_only`` the sum of n is that of d: predictions are not read, and nothing is reported.
        """
        cdef State found = State()
        cdef Ledger total = found.total
        cdef Ledger cells = found.cells_of(self.cells(), self.by_position) if self.p.per_cell else None
        cdef Ledger tail = found.tail_of() if self.p.tail else None
        cdef Ledger calibration = found.calibration_of(calibration_cells(self)) if self.p.calibration else None
        cdef work w
        cdef Py_ssize_t at = self.offsets[start] if self.offsets is not NULL else start * self.group
        cdef Py_ssize_t end = self.offsets[stop] if self.offsets is not NULL else stop * self.group
        cdef Py_ssize_t most = self.at_a_time()
        cdef Py_ssize_t some
        cdef Py_ssize_t bad = -1
        cdef unsigned long long saved
        if self.make(&w, end - at, NULL, 0) < 0:
            raise MemoryError
        w.sample = start
        found.bound = end - at
        try:
            with nogil:
                saved = fp_enter()
                try:
                    while at < end:
                        some = min(most, end - at)
                        if weights_only:
                            add_divisors(self, &w, at, some, total)
                        else:
                            fill(self, &w, at, some)
                            bad = self.offending(&w, some)
                            if bad >= 0:
                                break
                            collect(self, &w, at, some, total, cells, tail, calibration)
                        at += some
                finally:
                    fp_leave(saved)
            return ((at + bad, w.status[bad]) if bad >= 0 else None), found
        finally:
            free(w.memory)

    cdef Py_ssize_t sample_of(self, Py_ssize_t loss) noexcept nogil:
        """The sample that a loss belongs to; of one beyond all, as many as there are."""
        cdef Py_ssize_t low = 0, high = self.samples, middle
        if self.group:
            return loss // self.group
        while low < high:
            middle = (low + high) // 2
            if self.offsets[middle + 1] <= loss:
                low = middle + 1
            else:
                high = middle
        return low

    cdef object error(self, preds, target, weight):
        preds, target, weight = self.preds.once(preds), self.target.once(target), self.weights.once(weight)
        return loss_errors.invalid_loss(
            loss_errors.InvalidLoss(
                self.bad, self.sample_of(self.bad), CAUSES[self.status], NAMES[COUNTER_OF[self.status]]
            ),
            loss_errors.LossInputs(
                preds, target, weight, self.p.name, KIND_NAMES[self.r.kind],
                ignore_index=self.r.ignore if self.r.ignores else None,
                has_soft_targets=self.r.task != MEAN and not self.hard,
                weights_are_per_loss=self.weight_each,
            ),
            self.layout(self.p.axis if self.r.task in (MULTICLASS, MULTILABEL) else None),
        )


cdef inline bint is_plain(source) noexcept:
    """Whether reading a source runs none of the caller's code: a plain array or number, or what was read already."""
    return (
        is_a(source, ndarray) or source is None or PyFloat_Check(source) or PyLong_CheckExact(source)
        or PyBool_Check(source) or is_a(source, ArrayData)
    )


cdef inline bint is_a(source, type of) noexcept:
    """Whether a source has exactly this type."""
    return Py_TYPE(source) == <PyTypeObject*>of


cdef Vector products(const double[::1] counts, const double[::1] weights):
    cdef Vector found = Vector(counts.shape[0])
    cdef Py_ssize_t i
    for i in range(found.size):
        found.at[i] = counts[i] * weights[i] if weights is not None else counts[i]
    return found


cdef Vector vector(values, Py_ssize_t size):
    """Values as they are, one value throughout, or None for 1."""
    cdef Vector found = Vector(size, values if isinstance(values, float) else 1.0)
    cdef Py_ssize_t i
    if isinstance(values, tuple):
        for i in range(size):
            found.at[i] = values[i]
    return found


cdef Py_ssize_t entries(Array array) noexcept:
    cdef Py_ssize_t size = 1
    cdef int k
    for k in range(array.ndim):
        size *= array.shape[k]
    return size


cdef bint same_shape(Array one, Array other, int without) noexcept:
    """Whether one has the shape of the other, without an axis of that (-1: with all)."""
    cdef int k, at = 0
    if one.ndim != other.ndim - (without >= 0):
        return False
    for k in range(other.ndim):
        if k != without:
            if one.shape[at] != other.shape[k]:
                return False
            at += 1
    return True


def tolerance_of(int dtype) -> float:
    """For losses that do not come this way."""
    return tolerance(dtype)


cdef double tolerance(int dtype) noexcept:
    """How far from 1 a row's sum may be: the root of the dtype's machine epsilon."""
    if dtype == F16:
        return 2.0**-5
    if dtype == BF16:
        return 0.08838834764831845  # 2^-3.5
    if dtype == F32:
        return 0.00034526698300124393  # 2^-11.5
    return 2.0**-26
