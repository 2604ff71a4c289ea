"""The updates of a metric: arrays to losses, losses to samples, samples to a state.

``update`` is the hot path. It reads arrays in place, and changes only the state. ``update_batch`` takes any layout and
fills outputs. Both convert all other arguments before they take the memory of any, because a conversion can run the
caller's code.
"""

cimport cython
from cpython.bool cimport PyBool_Check
from cpython.float cimport PyFloat_Check
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport Py_TYPE, PyTypeObject

from streamce.core.kernels.kernels cimport fp_enter, fp_leave
from streamce.core.ledger.state cimport State
from streamce.core.losses.batch cimport Batch, Outputs
from streamce.core.losses.loss_spec cimport MULTILABEL, Breakdowns, LossSpec
from streamce.core.pipeline.runner cimport add_at_once, run_in_parts, sum_of_weights
from streamce.core.samples.clusters cimport add_clusters, check_clusters
from streamce.core.samples.ratios cimport add_divergence, add_ratios
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport Samples

import numpy as np

from streamce.inputs import arrays, messages

cdef type ndarray = np.ndarray
cdef type ArrayData = arrays.ArrayData
# Free list of one: reusing a closed batch avoids allocating objects in small updates. It is None while the batch is in
# use. The lock is for interpreters without a global lock.
cdef Batch batch_freelist = None
cdef object freelist_lock = object()


cdef class Pipeline:
    """The options of a metric, and its updates.

    With ``skips``, invalid losses are counted and do not raise. ``entropy`` is a pipeline for the entropy of the
    targets, which divergence subtracts from the loss. ``device_losses`` computes losses on another device, from
    predictions that the core cannot read.
    """

    cdef LossSpec spec
    cdef Breakdowns breakdowns
    cdef bint skips
    cdef object threads
    cdef str name  # of the argument with the predictions
    cdef Pipeline entropy  # cross-entropy of the targets with themselves
    cdef object device_losses

    def __cinit__(
        self, LossSpec spec not None, Breakdowns breakdowns=None, *, bint skips=False, threads=None, str name="preds",
        Pipeline entropy=None, device_losses=None,
    ):
        self.spec = spec
        self.breakdowns = breakdowns if breakdowns is not None else Breakdowns()
        self.skips = skips
        self.threads = threads
        self.name = name
        self.entropy = entropy
        self.device_losses = device_losses

    @property
    def per_cell(self) -> bool:
        """Return whether losses are summed by class, label or position."""
        return self.breakdowns.per_cell

    def update(self, State state not None, preds, target=None, weight=None, bucket=None):
        """Add a batch to ``state``. ``bucket`` is the bucket of each sample's cluster, if there are clusters."""
        cdef unsigned long long saved = fp_enter()  # also for the conversion of inputs
        cdef Batch batch
        try:
            if is_plain(preds) and is_plain(target) and is_plain(weight):
                batch = new_batch()
                batch.given_preds, batch.given_target, batch.given_weight = preds, target, weight
                self.add(state, batch, None, bucket)
                reuse(batch)
            else:
                self.convert_and_add(state, Batch(preds, target, weight), None, bucket)
        finally:
            fp_leave(saved)

    def update_batch(self, State state not None, Batch batch not None, Outputs outputs=None, bucket=None):
        """Add a batch of any layout to ``state``, and fill the outputs."""
        cdef unsigned long long saved = fp_enter()
        try:
            self.convert_and_add(state, batch, outputs, bucket)
        except Exception:  # after KeyboardInterrupt, threads may still read the batch
            batch.close()
            raise
        finally:
            fp_leave(saved)

    cdef int convert_and_add(self, State state, Batch batch, Outputs outputs, bucket) except -1:
        """Convert all arguments, which can run the caller's code, and then add the batch."""
        try:
            batch.given_preds = read(batch.given_preds, self.name)
        except arrays.OnDevice:
            if self.device_losses is None or (outputs is not None and outputs.gradient is not None):
                raise
            return self.add_from_device(state, batch, outputs, bucket)
        batch.given_target = read(batch.given_target, "target")
        batch.given_weight = read(batch.given_weight, "weight")
        if outputs is not None:
            outputs.gradient = read(outputs.gradient, "out")
        return self.add(state, batch, outputs, bucket)

    cdef int add(self, State state, Batch batch, Outputs outputs, bucket) except -1:
        """Add a batch whose arguments are converted, or raise an error and add nothing."""
        batch.open(self.spec, self.breakdowns, self.skips, self.name)
        if outputs is not None:
            batch.open_outputs(outputs)
            if outputs.gradient is not None:
                gradient = batch.gradient_view(outputs.gradient)
                batch.divisor = sum_of_weights(batch, self.threads) if outputs.mean else 1.0
                batch.gradient = gradient
        self.run(state, batch, bucket)
        if batch.first_invalid_index >= 0:
            raise batch.error()
        batch.close()
        return 0

    cdef int run(self, State state, Batch batch, bucket) except -1:
        """Add a batch that is open, or find an invalid loss and add nothing."""
        cdef bint after_losses = bucket is not None or batch.ratios or self.entropy is not None
        check_cells(state, batch)
        if batch.routes is not None:
            batch.routes.check(batch.samples)
        if after_losses and batch.recorded is None:
            batch.recorded = Samples.__new__(Samples)
        if batch.recorded is not None:
            batch.recorded.open(
                batch.samples, batch.losses, batch.group, batch.offsets,
                batch.unit_weight and not self.breakdowns.sequence_mean
                and (batch.routes is None or batch.routes.factor is None),
            )
        if bucket is not None or state.buckets is not None:
            check_clusters(state, batch.samples, batch.samples if batch.ratios else batch.losses, bucket)
        if not after_losses and batch.routes is None and add_at_once(state, batch):
            return 0
        cdef Routes added = run_in_parts(batch, self.threads)
        if added is None:
            return 0
        if after_losses:
            self.add_samples(added, batch, bucket)
        return state.add(added.of(0), 1) if batch.routes is None else batch.routes.add(added)

    cdef int add_samples(self, Routes to, Batch batch, bucket) except -1:
        """Add the sums that need all losses first: clusters, ratios and divergence."""
        cdef Samples entropies = None
        cdef unsigned long long saved
        if self.entropy is not None and batch.target.is_real:
            entropies = self.entropies_of(batch)
        saved = fp_enter()
        try:
            add_clusters(to, batch.recorded, bucket)
            add_ratios(to, batch.recorded, batch.ratios, bucket)
            if self.entropy is not None:
                add_divergence(to, batch.recorded, entropies, bucket)
        finally:
            fp_leave(saved)
        return 0

    cdef Samples entropies_of(self, Batch batch):
        """Return the entropies of soft targets as samples, without the losses that do not count."""
        cdef Samples entropies = Samples.__new__(Samples)
        cdef Batch source = batch if batch.source is None else batch.source
        target, weight = source.target.once(source.given_target), source.weights.once(source.given_weight)
        self.entropy.update_batch(
            State(), Batch(target, target, weight, status=batch.recorded.left_out()), Outputs(samples=entropies)
        )
        return entropies

    # ---- tensors on another device ----

    def update_on_device(self, State state not None, Batch batch not None, Outputs outputs=None, bucket=None):
        """Add a batch as ``update_batch`` does, with losses that are computed on the device of the predictions."""
        cdef unsigned long long saved = fp_enter()
        try:
            self.add_from_device(state, batch, outputs, bucket)
        finally:
            fp_leave(saved)

    cdef int add_from_device(self, State state, Batch batch, Outputs outputs, bucket) except -1:
        device = self.device_losses(batch.given_preds, batch.given_target, batch.given_weight)
        cdef Batch local
        if self.breakdowns.calibration:  # the device does not compute expected losses
            return self.convert_and_add(state, batch.with_arrays(device.on_cpu()), outputs, bucket)
        local = batch.with_arrays(
            (
                arrays.materialize(device.preds, self.name), arrays.materialize(device.target, "target"),
                arrays.materialize(device.weight, "weight"),
            )
        )
        local.source = batch
        computed = self.compute_on_device(device, local)
        local.open(self.spec, self.breakdowns, self.skips, self.name)
        local.set_precomputed(computed)
        if outputs is not None:
            local.open_outputs(outputs)
        self.run(state, local, bucket)
        if local.first_invalid_index >= 0:  # the core finds it again and names it, or adds what it accepts
            return self.convert_and_add(state, batch.with_arrays(device.on_cpu()), outputs, bucket)
        local.close()
        return 0

    cdef object compute_on_device(self, device, Batch local):
        """Return the losses of a batch. It is closed meanwhile, because the device can run the caller's code."""
        local.open(self.spec, self.breakdowns, self.skips, self.name)
        cdef Py_ssize_t losses = local.losses
        options = bool(local.has_integer_targets), local.tolerance, local.target_tolerance
        local.close()
        return device.losses(*options) if losses else None


# ---- arguments ----


cdef object read(source, str name):
    """Return an argument unchanged if it is plain, else converted."""
    return source if is_plain(source) else arrays.convert(source, name)


cdef inline bint is_plain(source) noexcept:
    """Return whether a source can be read without the caller's code: an array, a number or ArrayData."""
    return (
        is_a(source, ndarray) or source is None or PyFloat_Check(source) or PyLong_CheckExact(source)
        or PyBool_Check(source) or is_a(source, ArrayData)
    )


cdef inline bint is_a(source, type cls) noexcept:
    """Return whether a source has exactly this type."""
    return Py_TYPE(source) == <PyTypeObject*>cls


cdef int check_cells(State state, Batch batch) except -1:
    """Raise if a state has cells for another number of classes or labels."""
    if (
        state.cells is not None and not batch.breakdowns.by_position and state.cells.size != batch.n_cells()
        and not state.cells.is_zero()
    ):
        raise messages.class_count(
            "labels" if batch.spec.task == MULTILABEL else "classes", batch.preds.shape_tuple(), state.cells.size
        )
    return 0


# ---- the free list ----


cdef Batch new_batch():
    """Return the batch of the free list, or a new one."""
    global batch_freelist
    cdef Batch batch
    with cython.critical_section(freelist_lock):
        batch, batch_freelist = batch_freelist, None
    return batch if batch is not None else Batch.__new__(Batch)


cdef int reuse(Batch batch) except -1:
    """Put a closed batch on the free list."""
    global batch_freelist
    batch.given_preds = batch.given_target = batch.given_weight = None
    with cython.critical_section(freelist_lock):
        batch_freelist = batch
    return 0
