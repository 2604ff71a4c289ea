"""The losses of a block to the samples of a ledger, and what was odd about them to its counters."""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport table
from streamce.core.ledger.ledger cimport COUNT, N, Ledger
from streamce.core.ledger.state cimport BINS_BITS, LEAST, TAIL, State
from streamce.core.losses.batch cimport Batch
from streamce.core.losses.calibration_terms cimport add_calibration, calibration_cells
from streamce.core.losses.loss_spec cimport MULTICLASS, MULTILABEL
from streamce.core.losses.workspace cimport Workspace
from streamce.core.samples.samples cimport COUNTER_OF, count_flags
from streamce.core.samples.status cimport COUNTED, IGNORED, PADDING, STATUSES


cdef int reserve(Batch b, State to) except -1:
    """Makes room for what the breakdowns of a batch add to.

    Cells come last, because another thread may run while a ledger is made, and may replace cells that are still 0.
    """
    if b.breakdowns.tail:
        to.tail_of()
    if b.breakdowns.calibration:
        to.calibration_of(calibration_cells(b))
    if b.breakdowns.per_cell:
        to.cells_of(b.n_cells(), b.breakdowns.by_position)
    return 0


cdef int accumulate_block(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, State to) except -1 nogil:
    """Adds the losses at ... at + k - 1 to a state that has room for them."""
    cdef const double* d = NULL if b.unit_weight else w.d
    cdef bint one_loss_each = b.group == 1 and not b.breakdowns.sequence_mean
    cdef bint by_class = (
        b.breakdowns.per_cell and b.spec.task == MULTICLASS and not b.breakdowns.by_position
    )
    if b.out is not NULL:
        write_losses(b, w, at, k)
    count_statuses(w, k, to.total)
    if b.breakdowns.tail:
        add_to_bins(w, d, k, to.tail)
    if b.breakdowns.calibration:
        add_calibration(b, w, d, k, to.calibration)
    if b.breakdowns.per_cell and b.breakdowns.by_position:
        add_positions(b, w, d, at, k, to.cells)
    elif b.breakdowns.per_cell and b.spec.task == MULTILABEL:
        add_columns(b, w, at, k, to.cells)
    if b.recorded is not None:
        record(b, w, at, k)
    if not one_loss_each:
        add_samples(b, w, d, at, k, to.total)
        if not by_class:
            return 0
    if w.odd:
        k = drop_uncounted(w, k)
    if one_loss_each:
        to.total.add_samples(0, w.n, d, k, w.exponent, 1)
    if by_class:
        add_classes(w, d, k, to.cells)
    return 0


cdef void write_losses(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Writes losses where the caller wants them: 0 for what is left out, NaN for what is invalid."""
    cdef Py_ssize_t i
    for i in range(k):
        b.out[at + i] = w.n[i] if not w.status[i] else 0.0 if w.status[i] <= IGNORED else NAN


cdef int count_statuses(Workspace* w, Py_ssize_t k, Ledger total) except -1 nogil:
    """Counts losses by their status, and what is odd about those that count."""
    cdef Py_ssize_t i
    cdef int64_t[STATUSES] found
    memset(found, 0, sizeof(found))
    found[COUNTED] = k
    if w.odd:
        found[COUNTED] = 0
        for i in range(k):
            found[w.status[i]] += 1
    for i in range(STATUSES):
        if found[i] and i != PADDING:
            total.increment(COUNTER_OF[i], 0, found[i])
    if w.flagged:
        for i in range(k):
            if not w.status[i]:
                count_flags(total, 0, w.flags[i])
    return 0


cdef Py_ssize_t drop_uncounted(Workspace* w, Py_ssize_t k) noexcept nogil:
    """Moves the losses that count together; returns how many they are."""
    cdef Py_ssize_t i, kept = 0
    for i in range(k):
        if not w.status[i]:
            w.n[kept] = w.n[i]
            w.d[kept] = w.d[i]
            w.label[kept] = w.label[i]
            w.flags[kept] = w.flags[i]
            kept += 1
    if kept != k:
        w.exponent = table().largest_exponent(w.n, kept)
    return kept


cdef int add_classes(Workspace* w, const double* d, Py_ssize_t k, Ledger cells) except -1 nogil:
    """Each loss to the cell of its class."""
    cdef Py_ssize_t i
    for i in range(k):
        cells.increment(COUNT, w.label[i], 1)
        count_flags(cells, w.label[i], w.flags[i])
        cells.add_sample(w.label[i], w.n[i], d[i] if d is not NULL else 1.0, 1)
    return 0


cdef int add_columns(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k, Ledger cells) except -1 nogil:
    """The losses of each label to its own cell."""
    cdef Py_ssize_t i, kept, label
    cdef Py_ssize_t first
    cdef const double* n = w.n
    cdef int exponent = w.exponent
    if w.odd or w.flagged:
        for i in range(k):
            label = (at + i) % b.labels
            if w.status[i]:
                cells.increment(COUNTER_OF[w.status[i]], label, 1)
            else:
                count_flags(cells, label, w.flags[i])
    for first in range(min(k, b.labels)):
        kept = 0
        i = first
        while i < k:
            w.sample_n[kept] = n[i]
            w.sample_d[kept] = w.d[i]
            kept += not w.status[i]
            i += b.labels
        label = (at + first) % b.labels
        cells.increment(COUNT, label, kept)
        cells.add_samples(label, w.sample_n, NULL if b.unit_weight else w.sample_d, kept, exponent, 1)
    return 0


cdef int add_positions(
    Batch b, Workspace* w, const double* d, Py_ssize_t at, Py_ssize_t k, Ledger cells
) except -1 nogil:
    """Each loss to the cell of its place within its sample."""
    cdef Py_ssize_t i, place, sample = w.sample
    for i in range(k):
        if b.offsets is not NULL:
            while b.offsets[sample + 1] <= at + i:
                sample += 1
            place = at + i - b.offsets[sample]
        else:
            place = (at + i) % b.group
        if w.status[i] == COUNTED:
            cells.increment(COUNT, place, 1)
            count_flags(cells, place, w.flags[i])
            cells.add_sample(place, w.n[i], d[i] if d is not NULL else 1.0, 1)
        elif w.status[i] != PADDING:
            cells.increment(COUNTER_OF[w.status[i]], place, 1)
    return 0


cdef int add_to_bins(Workspace* w, const double* d, Py_ssize_t k, Ledger tail) except -1 nogil:
    """Counts each loss in its bin, and adds n to it; what weighs nothing is no loss."""
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
    """The bin of a loss: its exponent and the first bits of its mantissa."""
    cdef int64_t bits
    memcpy(&bits, &loss, sizeof(bits))
    bits = (bits >> (52 - BINS_BITS)) - ((1023 + LEAST) << BINS_BITS)
    return 0 if loss <= 0 or bits < 0 else min(bits, <int64_t>TAIL - 2) + 1


cdef void record(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Keeps losses that are samples, and what is odd about any."""
    cdef Py_ssize_t i
    if b.group == 1 and not b.breakdowns.sequence_mean:
        memcpy(b.recorded.n + at, w.n, k * sizeof(double))
        if b.recorded.d is not NULL:
            memcpy(b.recorded.d + at, w.d, k * sizeof(double))
    if w.odd or w.flagged:
        b.recorded.odd = True
        for i in range(k):
            b.recorded.what[at + i] = w.status[i] if w.status[i] else <uint8_t>(w.flags[i] << 4)


cdef int add_samples(
    Batch b, Workspace* w, const double* d, Py_ssize_t at, Py_ssize_t k, Ledger total
) except -1 nogil:
    """Adds up the losses of each sample, in order; a sample may go on in the next block.

    What each addition rounds away is kept (Knuth's two-sum) and added at the end.
    """
    cdef Py_ssize_t i, full = 0
    cdef double s, v
    cdef const double* n = w.n
    if not w.odd and w.missing == 0 and b.group and k % b.group == 0:  # whole samples: several at once
        full = k // b.group
        table().sum_in_order(n, full, b.group, w.sample_n)
        if b.breakdowns.sequence_mean:
            for i in range(full):
                w.sample_d[i] = w.weights[i * b.group] if b.has_weight else 1.0
        elif d is not NULL:
            table().sum_in_order(d, full, b.group, w.sample_d)
        else:
            for i in range(full):
                w.sample_d[i] = <double>b.group
        if b.recorded is not None:
            memcpy(b.recorded.n + w.sample, w.sample_n, full * sizeof(double))
            memcpy(b.recorded.d + w.sample, w.sample_d, full * sizeof(double))
        w.sample += full
        return total.add_samples(0, w.sample_n, w.sample_d, full, table().largest_exponent(w.sample_n, full), 1)
    for i in range(k):
        if w.missing == 0:
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
                w.sample_n[full] = s if s == s else w.n_sum  # an infinite sum has lost NaN
                s = w.d_sum + w.d_lost
                w.sample_d[full] = s if s == s else w.d_sum
                if b.breakdowns.sequence_mean:
                    w.sample_d[full] = w.weights[i] if b.has_weight else 1.0
                if b.recorded is not None:
                    b.recorded.n[w.sample] = w.sample_n[full]
                    b.recorded.d[w.sample] = w.sample_d[full]
                full += 1
            w.n_sum = w.n_lost = w.d_sum = w.d_lost = 0
            w.members = 0
            w.sample += 1
    return total.add_samples(0, w.sample_n, w.sample_d, full, table().largest_exponent(w.sample_n, full), 1)
