from libc.stdint cimport int64_t

from streamce.core.losses.array_view cimport ArrayView
from streamce.core.losses.loss_spec cimport PROBS, Breakdowns, LossSpec
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport Samples


cdef class Vector:
    cdef double* at
    cdef Py_ssize_t size


cdef class Outputs:
    cdef object losses      # an array for each loss, or None
    cdef Samples samples    # filled with the samples of the batch, or None
    cdef Routes routes      # the states that receive the samples, or None
    cdef object gradient    # an array for the gradient, or None
    cdef tuple minus        # the losses of another model, and its samples; or None
    cdef bint mean          # whether the gradient is that of the mean, not of the sum


cdef class Batch:
    # Arguments.
    cdef object given_preds, given_target, given_weight
    cdef object given_status        # a status for each loss, or None
    cdef object given_offsets       # the first loss of each sample, and the number of losses; or None
    cdef readonly tuple ratios      # triples of the number of a ratio, its denominators, and statuses or None
    cdef bint weight_per_sample
    cdef Routes routes              # where the samples go, or None: all to one state
    cdef Samples precomputed        # losses that were computed elsewhere, or None
    cdef Batch source               # the original batch, if this one has its precomputed losses; or None
    # Options.
    cdef LossSpec spec
    cdef Breakdowns breakdowns
    cdef bint skips                 # whether invalid losses are counted instead of raising
    cdef str name                   # of the argument with the predictions
    cdef bint is_open
    # Views.
    cdef ArrayView preds, target, weights, status
    cdef object real_labels         # labels as the reals that they were given as, for errors; or None
    cdef bint has_weight, has_status
    cdef bint weight_each           # whether there is a weight per loss, not per sample
    cdef Py_ssize_t losses, samples, labels
    cdef Py_ssize_t group           # losses of each sample, or 0 if there are `offsets`
    cdef const int64_t* offsets
    # Outputs.
    cdef object losses_to           # owner of `out`, because a thread may outlive an update that Ctrl-C ended
    cdef double* out                # for each loss, or NULL
    cdef Samples recorded           # the samples of the batch, or None
    cdef ArrayView gradient         # for each prediction, or None
    cdef object minus_from          # owner of `minus`
    cdef const double* minus        # losses of another model that are subtracted, or NULL
    cdef Samples minus_samples      # its samples, whose flags apply too
    cdef double divisor             # of the gradient
    # Derived from the arrays and the options.
    cdef bint has_integer_targets
    cdef bint unit_weight           # d is 1
    cdef bint cost_only             # d is 1 and n is the cost
    cdef bint is_float32            # the kernels read floats, to which half precision is converted; else doubles
    cdef bint has_class_factors     # elements: labels or outcomes have factors
    cdef bint uniform_class_weight  # logits with equal class weights: the kernels compute the sums for smoothing
    cdef bint widens_probs          # calibration of rows: floats whose floor is too small for logarithms of floats
    cdef bint tracks_class_probs    # calibration of rows: the probabilities of all classes are summed
    cdef double tolerance, target_tolerance
    # Elements: factors of each label. With the costs A and B of outcomes 1 and 0 and the smoothed target y',
    # n = positive y' A + negative (1 - y') B and d = positive_d y + negative_d (1 - y).
    cdef Vector positive, negative, positive_d, negative_d
    # Rows: the weight of each class (None: 1), and the share that smoothing adds to it, times its weight.
    cdef Vector class_weight, base, ones
    cdef double base_sum
    # Results of a run.
    cdef Py_ssize_t first_invalid_index  # -1 if all losses are valid
    cdef int invalid_status

    cdef int open(self, LossSpec spec, Breakdowns breakdowns, bint skips, str name) except -1
    cdef int open_outputs(self, Outputs outputs) except -1
    cdef ArrayView gradient_view(self, gradient)
    cdef void close(self) noexcept
    cdef Batch with_arrays(self, arrays)
    cdef object set_precomputed(self, computed)
    cdef int open_layout(self, int axis) except -1
    cdef int open_target(self, int axis) except -1
    cdef int take_real_labels(self) except -1
    cdef int open_weight(self, int axis) except -1
    cdef int open_status(self, int axis) except -1
    cdef int open_factors(self) except -1
    cdef int class_axis(self) noexcept
    cdef bint has_entries_of_preds(self, ArrayView other, int without) noexcept
    cdef object status_with_nulls(self, int axis)
    cdef Py_ssize_t n_cells(self) noexcept nogil
    cdef Py_ssize_t sample_of(self, Py_ssize_t loss) noexcept nogil

    cdef inline Py_ssize_t start_of(self, Py_ssize_t sample) noexcept nogil:
        """Return the first loss of a sample. For the sample after the last one, return the number of losses."""
        return self.offsets[sample] if self.offsets is not NULL else sample * self.group

    cdef object error(self)
    cdef object layout(self, axis)


cdef inline bint below_floor(Batch b, double p) noexcept nogil:
    """Return whether a probability, or that of a log-probability, is below the floor."""
    return p < b.spec.floor if b.spec.kind == PROBS else 0.0 - p > b.spec.cap


cdef inline double product(double cost, double factor) noexcept nogil:
    return cost * factor if factor != 0 and cost != 0 else 0.0  # 0 * inf is 0


cdef Py_ssize_t entries(ArrayView array) noexcept


cdef double tolerance(int dtype) noexcept
