"""The options of a metric: those that change a loss, and those that choose sums beside the mean."""

from streamce.core.kernels.kernels cimport fp_enter, fp_leave, table

TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "multilabel": MULTILABEL, "mean": MEAN}
KINDS = {"probs": PROBS, "log_probs": LOG_PROBS, "logits": LOGITS}
KIND_NAMES = {kind: name for name, kind in KINDS.items()}


cdef class LossSpec:
    """The options that change a loss, and the axis of ``preds`` that holds its classes or labels."""

    def __cinit__(
        self, str task, str kind="probs", *, double smoothing=0.0, ignore_index=None, class_weight=None,
        pos_weight=None, double floor=0.0, double ceiling=1.0, int axis=-1,
    ):
        self.task = TASKS[task]
        self.kind = KINDS[kind]
        self.smoothing = smoothing
        self.ignores = ignore_index is not None
        self.ignore_index = ignore_index if self.ignores else 0
        self.class_weight = class_weight
        self.pos_weight = pos_weight
        self.floor = floor
        self.ceiling = ceiling
        self.axis = axis
        cdef unsigned long long saved = fp_enter()
        table().neg_log_f64(&self.floor, 1, 0.0, 1.0, &self.cap)
        fp_leave(saved)


cdef class Breakdowns:
    """The sums that a state keeps beside the mean loss."""

    def __cinit__(
        self, *, bint per_cell=False, bint by_position=False, bint sequence_mean=False, bint tail=False,
        bint calibration=False,
    ):
        self.per_cell = per_cell
        self.by_position = by_position
        self.sequence_mean = sequence_mean
        self.tail = tail
        self.calibration = calibration
