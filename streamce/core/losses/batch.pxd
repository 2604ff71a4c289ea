from libc.stdint cimport int64_t

from streamce.core.losses.array_view cimport ArrayView
from streamce.core.losses.loss_spec cimport PROBS, Breakdowns, LossSpec
from streamce.core.samples.samples cimport Samples


cdef class Vector:
    cdef double* at
    cdef Py_ssize_t size


cdef class Outputs:
    cdef object losses      # an array for the losses one by one, or None
    cdef Samples samples    # is filled with the samples one by one, or None
    cdef object gradient    # an array for the gradient, or None
    cdef bint mean          # the gradient is that of the mean, not of the sum


cdef class Batch:
    # What the caller gives.
    cdef object given_preds, given_target, given_weight
    cdef object given_status        # a status for each loss, or None
    cdef object given_offsets       # where the losses of each sample begin, and the last ones end; or None
    cdef readonly tuple ratios      # for each ratio its number, and what it divides the samples by
    cdef Samples precomputed        # the losses one by one, computed before, or None
    cdef Batch source               # that this one, with precomputed losses, stands for; or None
    # What it is opened for.
    cdef LossSpec spec
    cdef Breakdowns breakdowns
    cdef bint skips                 # invalid losses are counted, and do not raise
    cdef str name                   # of what is predicted, as the caller calls it
    cdef bint is_open
    # Views.
    cdef ArrayView preds, target, weights, status
    cdef bint has_weight, has_status
    cdef bint weight_each           # a weight per loss, not per sample
    cdef Py_ssize_t losses, samples, labels
    cdef Py_ssize_t group           # losses of each sample; 0: as `offsets` say
    cdef const int64_t* offsets
    # Outputs.
    cdef object losses_to           # what `out` points into: a part may outlive an update that Ctrl-C ended
    cdef double* out                # the losses one by one, or NULL
    cdef Samples recorded           # the samples one by one, or None
    cdef ArrayView gradient             # where that of each prediction goes, or None
    cdef double divisor             # of it
    # What follows from the arrays and the options.
    cdef bint has_integer_targets
    cdef bint unit_weight           # d is 1
    cdef bint cost_only             # and n is the cost
    cdef bint is_float32            # the kernels get floats, or halves made floats; else doubles
    cdef bint has_class_factors     # elements: labels or outcomes have factors
    cdef bint uniform_class_weight  # logits whose classes weigh the same: the kernels add up what smoothing needs
    cdef bint tracks_class_probs    # calibration of rows: the probabilities of all classes are summed
    cdef double tolerance, target_tolerance
    # Elements: n = positive y' A + negative (1 - y') B, d = positive_d y + negative_d (1 - y), for
    # outcome costs A and B and the smoothed y', label by label.
    cdef Vector positive, negative, positive_d, negative_d
    # Rows: the weights of the classes (None: 1), and what smoothing adds to each class.
    cdef Vector class_weight, base, ones
    cdef double base_sum
    # What a run found.
    cdef Py_ssize_t first_invalid_index  # -1: none
    cdef int invalid_status

    cdef int open(self, LossSpec spec, Breakdowns breakdowns, bint skips, str name) except -1
    cdef int open_outputs(self, Outputs outputs) except -1
    cdef ArrayView gradient_view(self, gradient)
    cdef void close(self) noexcept
    cdef Batch with_arrays(self, arrays)
    cdef object set_precomputed(self, computed)
    cdef int open_layout(self, int axis) except -1
    cdef int open_target(self, int axis) except -1
    cdef int open_weight(self, int axis) except -1
    cdef int open_status(self, int axis) except -1
    cdef int open_factors(self) except -1
    cdef int class_axis(self) noexcept
    cdef object status_with_nulls(self, int axis)
    cdef Py_ssize_t n_cells(self) noexcept nogil
    cdef Py_ssize_t sample_of(self, Py_ssize_t loss) noexcept nogil
    cdef object error(self)
    cdef object layout(self, axis)


cdef inline bint below_floor(Batch b, double p) noexcept nogil:
    """Whether a probability, or the logarithm of one, is below the floor."""
    return p < b.spec.floor if b.spec.kind == PROBS else 0.0 - p > b.spec.cap


cdef inline double product(double cost, double factor) noexcept nogil:
    return cost * factor if factor != 0 and cost != 0 else 0.0  # 0 * inf is 0


cdef double tolerance(int dtype) noexcept
