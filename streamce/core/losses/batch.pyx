"""A batch: the arrays of an update as views, the layout of its losses, and their factors.

A *loss* is one cost: an entry of a binary or multilabel array (an element), or a row of a multiclass array. A *sample*
is an entry of the first axis and holds one loss or several.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from streamce.core.kernels.kernels cimport MIN_FLOOR_F32, fp_enter, fp_leave, table
from streamce.core.ledger.calibration_cells cimport SPLIT_CLASSES
from streamce.core.losses.array_view cimport BF16, F16, F64, ArrayView
from streamce.core.losses.loss_spec cimport BINARY, LOGITS, MEAN, MULTICLASS, MULTILABEL, PROBS, Breakdowns, LossSpec
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport COUNTER_OF, Samples
from streamce.core.samples.status cimport (
    INVALID_LABEL, INVALID_WEIGHT, NULL_INPUT, PREDS_NAN, PREDS_RANGE, PREDS_SUM, TARGET_NAN, TARGET_RANGE, TARGET_SUM,
)

from streamce.inputs import arrays, loss_errors, loss_layout, messages, real_labels
from streamce.core.ledger.ledger import NAMES
from streamce.core.losses.loss_spec import KIND_NAMES

# The names of the statuses in errors.
CAUSES = {
    NULL_INPUT: "null",
    INVALID_LABEL: "label",
    TARGET_NAN: "target_nan",
    TARGET_RANGE: "target_range",
    TARGET_SUM: "target_sum",
    INVALID_WEIGHT: "weight",
    PREDS_NAN: "preds_nan",
    PREDS_RANGE: "preds_range",
    PREDS_SUM: "preds_sum",
}


cdef class Vector:
    """An array of doubles: class weights or factors."""

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


cdef class Outputs:
    """The outputs of an update. The gradient is that of the sum of the losses, or of their mean.

    With ``routes``, the states of the routes receive the samples, and the state of the update is unchanged. With
    ``minus``, the losses of another model for the same batch and its samples, the state receives the differences of the
    losses, with the flags of both. Both models must leave out the same losses.
    """

    def __init__(
        self, *, losses=None, Samples samples=None, Routes routes=None, gradient=None, str reduction="sum",
        tuple minus=None,
    ):
        self.routes = routes
        self.losses = losses
        self.samples = samples
        self.gradient = gradient
        self.minus = minus
        self.mean = reduction == "mean"


cdef class Batch:
    """The arguments of one update.

    ``status`` has a status for each loss, COUNTED if nothing is known of it yet. ``offsets`` are the first loss of
    each sample, followed by the number of losses. Without offsets, the samples are the entries of the first axis.
    ``ratios`` are triples of the number of a ratio, its denominators, and None or statuses of the samples, which leave
    out empty samples. With ``weight_per_sample``, weights are those of samples, also if there are as many losses.
    """

    def __cinit__(self):
        self.preds = ArrayView.__new__(ArrayView)
        self.target = ArrayView.__new__(ArrayView)
        self.weights = ArrayView.__new__(ArrayView)
        self.status = ArrayView.__new__(ArrayView)
        self.ratios = ()

    def __init__(
        self, preds, target=None, weight=None, *, status=None, offsets=None, tuple ratios=(),
        bint weight_per_sample=False,
    ):
        self.given_preds, self.given_target, self.given_weight = preds, target, weight
        self.given_status = status
        self.given_offsets = offsets
        self.ratios = ratios
        self.weight_per_sample = weight_per_sample

    # ---- opening ----

    cdef int open(self, LossSpec spec, Breakdowns breakdowns, bint skips, str name) except -1:
        """Take the memory of the arrays, and derive the layout and the factors of the losses."""
        cdef int axis
        if self.is_open:
            raise ValueError("a batch whose update was interrupted cannot be used again")
        self.is_open = True
        self.spec = spec
        self.breakdowns = breakdowns
        self.skips = skips
        self.name = name
        self.first_invalid_index = -1
        self.out = NULL
        self.minus = NULL
        self.offsets = NULL
        self.preds.take(self.given_preds, name)
        if not self.preds.is_real:
            raise messages.integer_preds(self.preds.once(self.given_preds), self.preds.shape_tuple(), name)
        axis = self.class_axis()
        if (spec.task == MULTICLASS or spec.task == MULTILABEL) and (
            not 0 <= axis < self.preds.ndim or self.preds.shape[axis] < 1 + (spec.task == MULTICLASS)
        ):
            raise messages.check_class_axis(spec.axis, self.preds.shape_tuple(), spec.task == MULTICLASS)
        self.preds.axes(axis)
        if spec.task != MEAN:
            self.open_target(axis)
        self.open_layout(axis)
        self.has_weight = self.given_weight is not None
        self.weight_each = False
        if self.has_weight:
            self.open_weight(axis)
        self.has_status = self.given_status is not None
        if (
            self.has_status or self.preds.given is not None or self.target.given is not None
            or self.weights.given is not None
        ):
            self.open_status(axis)
        if breakdowns.calibration and spec.task != MULTICLASS:  # reads predictions twice, so it needs a copy
            self.preds.v.direct = False
        self.tracks_class_probs = (
            breakdowns.calibration and spec.task == MULTICLASS and self.preds.v.classes <= SPLIT_CLASSES
        )
        self.tolerance = tolerance(self.preds.v.dtype)
        self.has_class_factors = spec.class_weight is not None or spec.pos_weight is not None
        self.unit_weight = (
            not self.has_class_factors and not self.has_weight and (spec.task != MULTICLASS or self.has_integer_targets)
        )
        self.cost_only = (
            self.unit_weight and spec.smoothing == 0 and (spec.task == MEAN or self.has_integer_targets)
        )
        self.is_float32 = self.preds.v.dtype < F64
        self.widens_probs = (
            breakdowns.calibration and spec.task == MULTICLASS and spec.kind == PROBS and self.is_float32
            and spec.floor < MIN_FLOOR_F32
        )
        if spec.task == MULTICLASS:
            self.is_float32 &= self.has_integer_targets or self.target.v.dtype < F64
        elif spec.kind != LOGITS:
            self.is_float32 &= spec.kind == PROBS and spec.floor >= MIN_FLOOR_F32
        self.uniform_class_weight = False
        if not self.cost_only and spec.task != MEAN:
            self.open_factors()
        return 0

    cdef int class_axis(self) noexcept:
        """Return the axis of ``preds`` that holds classes or labels, or -1 if there is none."""
        if self.spec.task != MULTICLASS and self.spec.task != MULTILABEL:
            return -1
        return self.spec.axis if self.spec.axis >= 0 else self.spec.axis + self.preds.ndim

    cdef int open_layout(self, int axis) except -1:
        """Derive the numbers of samples and losses from the axes of ``preds``. Labels become the last axis."""
        cdef const int64_t[::1] offsets
        cdef bint first = True
        cdef int k
        self.labels = 1
        self.group = 1
        self.samples = 1
        if self.spec.task == MULTILABEL:
            self.labels = self.preds.v.classes
            self.group = self.labels
            self.preds.join_classes()
        for k in range(self.preds.ndim):
            if k == axis:
                continue
            if first:
                self.samples = self.preds.shape[k]
            else:
                self.group *= self.preds.shape[k]
            first = False
        self.losses = self.samples * self.group
        if self.given_offsets is not None:
            offsets = self.given_offsets
            self.offsets = &offsets[0]
            self.samples, self.group = offsets.shape[0] - 1, 0
        return 0

    cdef int open_target(self, int axis) except -1:
        cdef bint rows = self.spec.task == MULTICLASS
        self.target.take(self.given_target, "target")
        self.target_tolerance = tolerance(self.target.v.dtype)
        self.has_integer_targets = not self.target.is_real
        if rows and same_shape(self.target, self.preds, axis):
            if self.target.is_real:
                self.take_real_labels()
            self.has_integer_targets = True
            self.target.axes(-1)
            return 0
        if not self.has_entries_of_preds(self.target, -1):
            shape = self.preds.shape_tuple()
            labels = shape[:axis] + shape[axis + 1:] if rows else None
            raise messages.target_shape(shape, self.target.shape_tuple(), labels)
        self.target.axes(axis)
        if rows:
            self.has_integer_targets = False
            if self.breakdowns.per_cell and not self.breakdowns.by_position:
                raise messages.soft_per_class()
            if self.breakdowns.calibration:
                raise messages.soft_calibration()
        elif self.spec.task == MULTILABEL:
            self.target.join_classes()
        return 0

    cdef int take_real_labels(self) except -1:
        """Take labels that are whole numbers in an array of reals as integers."""
        ignored = self.spec.ignore_index if self.spec.ignores else None
        labels, self.real_labels = real_labels.to_integers(self.target.once(self.given_target), ignored)
        self.target.drop()
        self.target.take(labels, "target")
        return 0

    cdef int open_weight(self, int axis) except -1:
        """Take a weight per sample, or one per loss."""
        cdef int k
        cdef bint rows = self.spec.task == MULTICLASS
        cdef bint per_sequence = self.breakdowns.sequence_mean or self.weight_per_sample
        self.weights.take(self.given_weight, "weight")
        if self.has_entries_of_preds(self.weights, axis if rows else -1) and (not per_sequence or self.group == 1):
            self.weight_each = True
            self.weights.axes(axis if self.spec.task == MULTILABEL else -1)
            if self.spec.task == MULTILABEL:
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
        expected = (self.samples,) if k < self.preds.ndim else ()
        raise messages.weight_shape(self.weights.shape_tuple(), expected, per_sequence)

    cdef bint has_entries_of_preds(self, ArrayView other, int without) noexcept:
        """Return whether an argument has an entry for each of ``preds``, with all axes except ``without``.

        Where no axis is one of classes or labels, (N, 1) is (N,).
        """
        if same_shape(other, self.preds, without):
            return True
        return (self.spec.task == BINARY or self.spec.task == MEAN) and same_long_axes(other, self.preds)

    cdef int open_status(self, int axis) except -1:
        """Take the statuses that losses have before they are evaluated, including those of nulls."""
        status = self.status_with_nulls(axis)
        self.has_status = status is not None
        if self.has_status:
            self.status.take(status, "status")
            if self.status.v.itemsize != 1 or entries(self.status) != self.losses:
                raise messages.status_shape(status, self.losses)
            self.status.axes(-1)
        return 0

    cdef object status_with_nulls(self, int axis):
        nulls = self.preds.null(), self.target.null(), self.weights.null()
        if all([null is None for null in nulls]):
            return self.given_status
        return loss_layout.mark_nulls(self.given_status, nulls, NULL_INPUT, self.layout(axis if axis >= 0 else None))

    cdef int open_factors(self) except -1:
        """Compute the factors of the costs from the options."""
        cdef unsigned long long saved = fp_enter()
        try:
            if self.spec.task == MULTICLASS:
                set_class_factors(self)
            else:
                set_outcome_factors(self)
        finally:
            fp_leave(saved)
        return 0

    cdef int open_outputs(self, Outputs outputs) except -1:
        """Take the outputs for losses and samples. The gradient is taken later, when its divisor is known."""
        cdef double[::1] losses
        cdef const double[::1] minus
        if outputs.losses is not None and self.losses:
            losses = outputs.losses
            if losses.shape[0] != self.losses:
                raise ValueError(f"out has room for {losses.shape[0]} losses: expected {self.losses}")
            self.losses_to = outputs.losses
            self.out = &losses[0]
        self.recorded = outputs.samples
        self.routes = outputs.routes
        if outputs.minus is not None:
            self.minus_from, self.minus_samples = outputs.minus
            minus = self.minus_from
            if minus.shape[0] != self.losses or self.minus_samples.losses != self.losses:
                raise ValueError(f"{minus.shape[0]} losses are subtracted: expected {self.losses}")
            if self.losses:
                self.minus = &minus[0]
        return 0

    cdef ArrayView gradient_view(self, gradient):
        """Return a view of the array for the gradient."""
        cdef ArrayView out = ArrayView.__new__(ArrayView)
        out.writes = True
        out.take(gradient, "out")
        if not out.is_real:
            raise arrays.unsupported_dtype(arrays.to_numpy(gradient, "out")[0], "out")
        if not same_shape(out, self.preds, -1):
            raise messages.gradient_shape(out.shape_tuple(), self.preds.shape_tuple())
        out.axes(self.class_axis())
        if self.spec.task == MULTILABEL:
            out.join_classes()
        return out

    cdef void close(self) noexcept:
        """Release the caller's memory, and arrays that can be as long as a row."""
        self.is_open = False
        self.losses_to = None
        self.recorded = None
        self.routes = None
        self.gradient = None
        self.minus_from = self.minus_samples = None
        self.real_labels = None
        if not self.cost_only:
            self.class_weight = self.base = self.ones = None
            self.positive = self.negative = self.positive_d = self.negative_d = None
        self.preds.drop()
        self.target.drop()
        self.weights.drop()
        self.status.drop()

    # ---- precomputed losses ----

    cdef Batch with_arrays(self, arrays):
        """Return a batch of the same layout with other predictions, targets and weights."""
        preds, target, weight = arrays
        return Batch(
            preds, target, weight, status=self.given_status, offsets=self.given_offsets, ratios=self.ratios,
            weight_per_sample=self.weight_per_sample,
        )

    cdef object set_precomputed(self, computed):
        """Take losses that were computed elsewhere: n, d (None: 1), and a packed status for each."""
        cdef const double[::1] n
        cdef const double[::1] d = None
        cdef const uint8_t[::1] packed_status
        self.precomputed = Samples.__new__(Samples)
        if self.losses == 0:
            self.precomputed.open(0, 0, 1, NULL, True)
            return
        if computed is None:
            raise ValueError(f"no losses were computed: expected {self.losses}")
        n, d, packed_status = computed
        if not n.shape[0] == packed_status.shape[0] == self.losses or not (d is None or d.shape[0] == self.losses):
            raise ValueError(f"{n.shape[0]} losses were computed: expected {self.losses}")
        self.precomputed.open(self.losses, self.losses, 1, NULL, d is None)
        memcpy(self.precomputed.n, &n[0], self.losses * sizeof(double))
        memcpy(self.precomputed.packed_status, &packed_status[0], self.losses)
        if d is not None:
            memcpy(self.precomputed.d, &d[0], self.losses * sizeof(double))

    # ---- reading ----

    cdef Py_ssize_t n_cells(self) noexcept nogil:
        """Return the number of labels, classes or positions."""
        cdef Py_ssize_t i, longest = self.group
        if self.breakdowns.by_position:
            for i in range(self.samples if self.offsets is not NULL else 0):
                longest = max(longest, self.offsets[i + 1] - self.offsets[i])
            return max(<Py_ssize_t>1, longest)
        return self.labels if self.spec.task == MULTILABEL else self.preds.v.classes

    cdef Py_ssize_t sample_of(self, Py_ssize_t loss) noexcept nogil:
        """Return the sample of a loss, or the number of samples if there is no such loss."""
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

    cdef object error(self):
        """Return the error for the first invalid loss."""
        preds, target = self.preds.once(self.given_preds), self.target.once(self.given_target)
        if self.real_labels is not None:
            target = self.real_labels
        weight = self.weights.once(self.given_weight)
        loss = loss_errors.InvalidLoss(
            self.first_invalid_index, self.sample_of(self.first_invalid_index), CAUSES[self.invalid_status],
            NAMES[COUNTER_OF[self.invalid_status]],
        )
        inputs = loss_errors.LossInputs(
            preds, target, weight, name=self.name, kind=KIND_NAMES[self.spec.kind],
            ignore_index=self.spec.ignore_index if self.spec.ignores else None,
            has_soft_targets=self.spec.task != MEAN and not self.has_integer_targets,
            weights_are_per_loss=self.weight_each, tolerance=self.tolerance, target_tolerance=self.target_tolerance,
        )
        axis = self.spec.axis if self.spec.task in (MULTICLASS, MULTILABEL) else None
        return loss_errors.invalid_loss(loss, inputs, self.layout(axis))

    cdef object layout(self, axis):
        """Return the layout of the losses, for messages. ``axis`` is that of the classes or labels, or None."""
        return loss_layout.LossLayout(
            self.preds.shape_tuple(), axis, self.spec.task == MULTICLASS, self.given_offsets
        )


cdef int set_class_factors(Batch b) except -1:
    """Compute the factors of rows: the weights of the classes, and the shares from smoothing."""
    cdef LossSpec spec = b.spec
    cdef Py_ssize_t i
    cdef Py_ssize_t classes = b.preds.v.classes
    check_length("class_weight", spec.class_weight, classes, "classes")
    if spec.class_weight is not None:
        b.class_weight = vector(spec.class_weight, classes)
    b.uniform_class_weight = (
        spec.kind == LOGITS and spec.class_weight is None and (spec.smoothing > 0 or not b.has_integer_targets)
    )
    if b.uniform_class_weight or (b.has_integer_targets and spec.smoothing == 0):
        return 0
    b.ones = Vector(classes, 1.0)
    if b.class_weight is None:
        b.class_weight = b.ones
    b.base = Vector(classes)
    for i in range(classes):
        b.base.at[i] = b.class_weight.at[i] * (spec.smoothing / classes)
    table().dot_rows(b.base.at, classes, b.ones.at, 0, 1, classes, &b.base_sum)
    return 0


cdef int set_outcome_factors(Batch b) except -1:
    """Compute the factors of elements: those of outcomes 1 and 0 of each label."""
    cdef LossSpec spec = b.spec
    cdef Py_ssize_t i
    if spec.task == BINARY:
        low, high = spec.class_weight if spec.class_weight is not None else (1.0, 1.0)
        b.negative = b.negative_d = Vector(1, low)
        b.positive_d = Vector(1, high)
    else:
        check_length("class_weight", spec.class_weight, b.labels, "labels")
        check_length("pos_weight", spec.pos_weight, b.labels, "labels")
        b.negative = b.negative_d = b.positive_d = vector(spec.class_weight, b.labels)
    b.positive = vector(spec.pos_weight, b.labels)
    for i in range(b.labels):
        b.positive.at[i] *= b.positive_d.at[i]
    return 0


cdef int check_length(str name, values, Py_ssize_t size, str names) except -1:
    """Raise unless an option has one value, or one for each class or label."""
    if isinstance(values, tuple) and len(values) != size:
        raise messages.class_weight_length(len(values), size, names, name)
    return 0


cdef Vector vector(values, Py_ssize_t size):
    """Return a vector of the given values, of one value, or of 1 for None."""
    cdef Vector result = Vector(size, values if isinstance(values, float) else 1.0)
    cdef Py_ssize_t i
    if isinstance(values, tuple):
        for i in range(size):
            result.at[i] = values[i]
    return result


cdef Py_ssize_t entries(ArrayView array) noexcept:
    cdef Py_ssize_t size = 1
    cdef int k
    for k in range(array.ndim):
        size *= array.shape[k]
    return size


cdef bint same_shape(ArrayView one, ArrayView other, int without) noexcept:
    """Return whether ``one`` has the shape of ``other`` with all axes except ``without``, which is -1 for none."""
    cdef int k, at = 0
    if one.ndim != other.ndim - (without >= 0):
        return False
    for k in range(other.ndim):
        if k != without:
            if one.shape[at] != other.shape[k]:
                return False
            at += 1
    return True


cdef bint same_long_axes(ArrayView one, ArrayView other) noexcept:
    """Return whether two arrays have the same first axis, and the same other axes apart from those of length 1."""
    cdef int k = 1, j = 1
    if one.ndim == 0 or other.ndim == 0 or one.shape[0] != other.shape[0]:
        return False
    while True:
        while k < one.ndim and one.shape[k] == 1:
            k += 1
        while j < other.ndim and other.shape[j] == 1:
            j += 1
        if k == one.ndim or j == other.ndim:
            return k == one.ndim and j == other.ndim
        if one.shape[k] != other.shape[j]:
            return False
        k += 1
        j += 1


cdef double tolerance(int dtype) noexcept:
    """Return how far from 1 the sum of a normalised row, and how far above 1 an entry, can be by rounding.

    float64 has the tolerance of float32, because float32 predictions are often given as float64 or text. In half
    precision it is the square root of the dtype's epsilon.
    """
    if dtype == F16:
        return 2.0**-5
    if dtype == BF16:
        return 0.08838834764831845  # 2^-3.5
    return 0.00034526698300124393  # 2^-11.5
