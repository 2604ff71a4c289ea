"""Adds the losses of a block to the samples of a ledger, and their anomalies to its counters."""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport table
from streamce.core.ledger.calibration_cells cimport lanes_of
from streamce.core.ledger.ledger cimport COUNT, N, Ledger
from streamce.core.ledger.state cimport BINS_BITS, MIN_EXPONENT, TAIL, State
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.calibration_terms cimport add_calibration, calibration_cells
from streamce.core.losses.loss_spec cimport MULTICLASS, MULTILABEL
from streamce.core.losses.workspace cimport Workspace, tile_of
from streamce.core.samples.routes cimport Routes
from streamce.core.samples.samples cimport COUNTER_OF, count_flags
from streamce.core.samples.status cimport COUNTED, IGNORED, PADDING, STATUSES


cdef int reserve(Batch b, State to) except -1:
    """Create the ledgers of the breakdowns of a batch.

    Cells come last, because another thread may run while a ledger is made, and may replace cells that are still 0.
    """
    if b.breakdowns.tail:
        to.tail_of()
    if b.breakdowns.calibration:
        to.calibration_of(calibration_cells(b))
    if b.tracks_class_probs:
        to.shares_of(lanes_of(b.preds.v.classes))
    if b.breakdowns.per_cell:
        to.cells_of(b.n_cells(), b.breakdowns.by_position)
    return 0


cdef int accumulate_by_route(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, Routes to) except -1:
    """Add losses at ... at + k - 1 to the states of their samples, each run of samples with one code at once."""
    cdef Workspace run
    cdef State state
    cdef Py_ssize_t end, after
    cdef Py_ssize_t first = 0
    cdef Py_ssize_t sample = b.sample_of(at)
    while first < k:
        after = sample + 1
        if to.factor is None:
            while after < b.samples and b.start_of(after) < at + k and to.codes[after] == to.codes[sample]:
                after += 1
        end = min(b.start_of(after) - at, k)
        if end > first:
            state = to.of(sample)
            reserve(b, state)
            run = tile_of(w, first)
            run.odd, run.flagged = w.odd, w.flagged
            run.has_factor = to.factor is not None
            if run.has_factor:
                run.sample_factor = to.factor[sample]
            accumulate_block(b, &run, at + first, end - first, state)
            w.n_sum, w.n_lost, w.d_sum, w.d_lost = run.n_sum, run.n_lost, run.d_sum, run.d_lost
            w.members, w.missing, w.sample = run.members, run.missing, run.sample
            first = end
        sample = after
    return 0


cdef int accumulate_block(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, State to) except -1 nogil:
    """Add losses at ... at + k - 1 to a state that has room for them."""
    cdef const double* d = NULL if b.unit_weight else w.d
    cdef bint one_loss_each = b.group == 1 and not b.breakdowns.sequence_mean
    cdef bint by_class = (
        b.breakdowns.per_cell and b.spec.task == MULTICLASS and not b.breakdowns.by_position
    )
    cdef Py_ssize_t sample = w.sample
    if b.out is not NULL:
        write_losses(b, w, at, k)
    count_statuses(w, k, to.total)
    if not one_loss_each:
        add_samples(b, w, d, at, k, to.total)
    if w.has_factor:
        multiply(b, w, k)
        d = w.d
    if b.breakdowns.tail:
        add_to_bins(w, d, k, to.tail)
    if b.breakdowns.calibration:
        add_calibration(b, w, d, k, to.calibration_sums, to.shares)
    if b.breakdowns.per_cell and b.breakdowns.by_position:
        add_positions(b, w, d, at, k, sample, to.cells)
    elif b.breakdowns.per_cell and b.spec.task == MULTILABEL:
        add_columns(b, w, at, k, to.cells)
    if b.recorded is not None:
        record(b, w, at, k)
    if not one_loss_each and not by_class:
        return 0
    if w.odd:
        k = drop_uncounted(w, k)
    if one_loss_each:
        to.total.add_samples(0, w.n, d, k, w.exponent, 1)
    if by_class:
        add_classes(w, d, k, to.cells)
    return 0


cdef void multiply(Batch b, Workspace* w, Py_ssize_t k) noexcept nogil:
    """Multiply n and d of k losses by the factor of their sample."""
    cdef Py_ssize_t i
    for i in range(k):
        w.n[i] *= w.sample_factor
        w.d[i] = w.sample_factor if b.unit_weight else w.d[i] * w.sample_factor
    w.exponent = table().largest_exponent(w.n, k)


cdef void write_losses(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Write losses to the output of the batch: 0 for ignored losses, NaN for invalid ones."""
    cdef Py_ssize_t i
    for i in range(k):
        b.out[at + i] = w.n[i] if not w.status[i] else 0.0 if w.status[i] <= IGNORED else NAN


cdef int count_statuses(Workspace* w, Py_ssize_t k, Ledger total) except -1 nogil:
    """Count losses by status, and the anomalies of those that count."""
    cdef Py_ssize_t i
    cdef int64_t[STATUSES] counts
    memset(counts, 0, sizeof(counts))
    counts[COUNTED] = k
    if w.odd:
        counts[COUNTED] = 0
        for i in range(k):
            counts[w.status[i]] += 1
    for i in range(STATUSES):
        if counts[i] and i != PADDING:
            total.increment(COUNTER_OF[i], 0, counts[i])
    if w.flagged:
        for i in range(k):
            if not w.status[i]:
                count_flags(total, 0, w.flags[i])
    return 0


cdef Py_ssize_t drop_uncounted(Workspace* w, Py_ssize_t k) noexcept nogil:
    """Move the losses that count to the front. Return how many they are."""
    cdef Py_ssize_t i, counted = 0
    for i in range(k):
        if not w.status[i]:
            w.n[counted] = w.n[i]
            w.d[counted] = w.d[i]
            w.label[counted] = w.label[i]
            w.flags[counted] = w.flags[i]
            counted += 1
    if counted != k:
        w.exponent = table().largest_exponent(w.n, counted)
    return counted


cdef int add_classes(Workspace* w, const double* d, Py_ssize_t k, Ledger cells) except -1 nogil:
    """Add each loss to the cell of its class."""
    cdef Py_ssize_t i
    for i in range(k):
        cells.increment(COUNT, w.label[i], 1)
        count_flags(cells, w.label[i], w.flags[i])
        cells.add_sample(w.label[i], w.n[i], d[i] if d is not NULL else 1.0, 1)
    return 0


cdef int add_columns(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, Ledger cells) except -1 nogil:
    """Add the losses of each label to its cell."""
    cdef Py_ssize_t i, counted, label
    cdef Py_ssize_t first
    cdef const double* n = w.n
    cdef const double* d = NULL if b.unit_weight and not w.has_factor else w.sample_d
    cdef int exponent = w.exponent
    if w.odd or w.flagged:
        for i in range(k):
            label = (at + i) % b.labels
            if w.status[i]:
                cells.increment(COUNTER_OF[w.status[i]], label, 1)
            else:
                count_flags(cells, label, w.flags[i])
    for first in range(min(k, b.labels)):
        counted = 0
        i = first
        while i < k:
            w.sample_n[counted] = n[i]
            w.sample_d[counted] = w.d[i]
            counted += not w.status[i]
            i += b.labels
        label = (at + first) % b.labels
        cells.increment(COUNT, label, counted)
        cells.add_samples(label, w.sample_n, d, counted, exponent, 1)
    return 0


cdef int add_positions(
    Batch b, Workspace* w, const double* d, Py_ssize_t at, Py_ssize_t k, Py_ssize_t sample, Ledger cells
) except -1 nogil:
    """Add each loss to the cell of its position in the sample. The first loss belongs to ``sample``, or a later one."""
    cdef Py_ssize_t i, position
    for i in range(k):
        if b.offsets is not NULL:
            while b.offsets[sample + 1] <= at + i:
                sample += 1
            position = at + i - b.offsets[sample]
        else:
            position = (at + i) % b.group
        if w.status[i] == COUNTED:
            cells.increment(COUNT, position, 1)
            count_flags(cells, position, w.flags[i])
            cells.add_sample(position, w.n[i], d[i] if d is not NULL else 1.0, 1)
        elif w.status[i] != PADDING:
            cells.increment(COUNTER_OF[w.status[i]], position, 1)
    return 0


cdef int add_to_bins(Workspace* w, const double* d, Py_ssize_t k, Ledger tail) except -1 nogil:
    """Count each loss in its bin, and add n to the bin. Losses of weight 0 do not count."""
    cdef Py_ssize_t i, bin
    cdef double loss
    for i in range(k):
        if w.status[i] != COUNTED or (d is not NULL and not d[i] > 0):
            continue
        loss = w.n[i] if d is NULL else w.n[i] / d[i]
        bin = bin_of(loss)
        tail.increment(COUNT, bin, 1)
        tail.add_term(N, bin, w.n[i], 1)
    return 0


cdef Py_ssize_t bin_of(double loss) noexcept nogil:
    """Return the bin of a loss, which is its exponent and the first bits of its mantissa."""
    cdef int64_t bits
    memcpy(&bits, &loss, sizeof(bits))
    bits = (bits >> (52 - BINS_BITS)) - ((1023 + MIN_EXPONENT) << BINS_BITS)
    return 0 if loss <= 0 or bits < 0 else min(bits, <int64_t>TAIL - 2) + 1


cdef void record(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Record losses that are samples, and the packed statuses of all losses."""
    cdef Py_ssize_t i
    if b.group == 1 and not b.breakdowns.sequence_mean:
        memcpy(b.recorded.n + at, w.n, k * sizeof(double))
        if b.recorded.d is not NULL:
            memcpy(b.recorded.d + at, w.d, k * sizeof(double))
    if w.odd or w.flagged:
        b.recorded.odd = True
        for i in range(k):
            b.recorded.packed_status[at + i] = w.status[i] if w.status[i] else <uint8_t>(w.flags[i] << 4)


cdef int add_samples(
    Batch b, Workspace* w, const double* d, Py_ssize_t at, Py_ssize_t k, Ledger total
) except -1 nogil:
    """Add up the losses of each sample, in order. A sample may continue in the next block.

    The rounding error of each addition (Knuth's two-sum) is summed and added at the end.
    """
    cdef Py_ssize_t i, samples = 0
    cdef double s, v
    cdef const double* n = w.n
    if not w.odd and w.missing == 0 and b.group and k % b.group == 0:  # whole samples, which the kernel sums together
        samples = k // b.group
        table().sum_in_order(n, samples, b.group, w.sample_n)
        if b.breakdowns.sequence_mean:
            for i in range(samples):
                w.sample_d[i] = w.weights[i * b.group] if b.has_weight else 1.0
        elif d is not NULL:
            table().sum_in_order(d, samples, b.group, w.sample_d)
        else:
            for i in range(samples):
                w.sample_d[i] = <double>b.group
        for i in range(samples if w.has_factor else 0):
            w.sample_n[i] *= w.sample_factor
            w.sample_d[i] *= w.sample_factor
        if b.recorded is not None:
            memcpy(b.recorded.n + w.sample, w.sample_n, samples * sizeof(double))
            memcpy(b.recorded.d + w.sample, w.sample_d, samples * sizeof(double))
        w.sample += samples
        return total.add_samples(0, w.sample_n, w.sample_d, samples, table().largest_exponent(w.sample_n, samples), 1)
    for i in range(k):
        if w.missing == 0:
            while b.group == 0 and b.offsets[w.sample + 1] == b.offsets[w.sample]:  # an empty sequence
                w.sample += 1
            w.missing = b.group if b.group else b.offsets[w.sample + 1] - b.offsets[w.sample]
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
                w.sample_n[samples] = s if s == s else w.n_sum  # the rounding error of an infinite sum is NaN
                s = w.d_sum + w.d_lost
                w.sample_d[samples] = s if s == s else w.d_sum
                if b.breakdowns.sequence_mean:
                    w.sample_d[samples] = w.weights[i] if b.has_weight else 1.0
                if w.has_factor:
                    w.sample_n[samples] *= w.sample_factor
                    w.sample_d[samples] *= w.sample_factor
                if b.recorded is not None:
                    b.recorded.n[w.sample] = w.sample_n[samples]
                    b.recorded.d[w.sample] = w.sample_d[samples]
                samples += 1
            w.n_sum = w.n_lost = w.d_sum = w.d_lost = 0
            w.members = 0
            w.sample += 1
    return total.add_samples(0, w.sample_n, w.sample_d, samples, table().largest_exponent(w.sample_n, samples), 1)
