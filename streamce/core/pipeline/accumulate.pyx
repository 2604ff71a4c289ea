"""The losses of a block to the samples of a ledger, and what was odd about them to its counters."""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from streamce.core.kernels.kernels cimport table
from streamce.core.ledger.ledger cimport COUNT, N, Ledger
from streamce.core.ledger.state cimport BINS_BITS, LEAST, TAIL
from streamce.core.losses.calibration_terms cimport add_calibration
from streamce.core.losses.workspace cimport MULTICLASS, MULTILABEL, Blocks, work
from streamce.core.samples.samples cimport COUNTER_OF, count_flags
from streamce.core.samples.status cimport COUNTED, LEFT_OUT, NOT_THERE, STATUSES


cdef int collect(
    Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger total, Ledger cells, Ledger tail, Ledger calibration
) except -1 nogil:
    """Losses to samples, samples to the ledgers."""
    cdef Py_ssize_t i, kept = k
    cdef int64_t[STATUSES] found
    cdef const double* n = w.n
    cdef const double* d = NULL if b.unit else w.d
    if b.out is not NULL:
        for i in range(k):
            b.out[at + i] = n[i] if not w.status[i] else 0.0 if w.status[i] <= LEFT_OUT else NAN
    memset(found, 0, sizeof(found))
    found[COUNTED] = k
    if w.odd:
        found[COUNTED] = 0
        for i in range(k):
            found[w.status[i]] += 1
    for i in range(STATUSES):
        if found[i] and i != NOT_THERE:
            total.bump(COUNTER_OF[i], 0, found[i])
    if w.flagged:
        for i in range(k):
            if not w.status[i]:
                count_flags(total, 0, w.flags[i])
    if tail is not None:
        add_to_bins(w, d, k, tail)
    if calibration is not None:
        add_calibration(b, w, d, k, calibration)
    if cells is not None and b.by_position:
        add_positions(b, w, d, at, k, cells)
    elif cells is not None and b.r.task == MULTILABEL:
        add_columns(b, w, at, k, cells)
    if b.recorded is not None:
        record(b, w, at, k)
    if b.group != 1 or b.whole:
        add_samples(b, w, d, at, k, total)
        if cells is None or b.by_position or b.r.task == MULTILABEL:
            return 0
    if w.odd:
        kept = 0
        for i in range(k):
            if not w.status[i]:
                w.n[kept] = n[i]
                w.d[kept] = w.d[i]
                w.label[kept] = w.label[i]
                w.flags[kept] = w.flags[i]
                kept += 1
    if b.group == 1 and not b.whole:
        total.add_samples(0, n, d, kept, w.exponent if kept == k else table().largest_exponent(n, kept), 1)
    if cells is not None and b.r.task == MULTICLASS and not b.by_position:
        for i in range(kept):
            cells.bump(COUNT, w.label[i], 1)
            count_flags(cells, w.label[i], w.flags[i])
            cells.add_sample(w.label[i], n[i], d[i] if d is not NULL else 1.0, 1)
    return 0


cdef int add_columns(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k, Ledger cells) except -1 nogil:
    """The losses of each label to its own cell."""
    cdef Py_ssize_t i, kept, label
    cdef Py_ssize_t first
    cdef const double* n = w.n
    cdef int exponent = w.exponent
    if w.odd or w.flagged:
        for i in range(k):
            label = (at + i) % b.labels
            if w.status[i]:
                cells.bump(COUNTER_OF[w.status[i]], label, 1)
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
        cells.bump(COUNT, label, kept)
        cells.add_samples(label, w.sample_n, NULL if b.unit else w.sample_d, kept, exponent, 1)
    return 0


cdef int add_positions(Blocks b, work* w, const double* d, Py_ssize_t at, Py_ssize_t k, Ledger cells) except -1 nogil:
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
            cells.bump(COUNT, place, 1)
            count_flags(cells, place, w.flags[i])
            cells.add_sample(place, w.n[i], d[i] if d is not NULL else 1.0, 1)
        elif w.status[i] != NOT_THERE:
            cells.bump(COUNTER_OF[w.status[i]], place, 1)
    return 0


cdef int add_to_bins(work* w, const double* d, Py_ssize_t k, Ledger tail) except -1 nogil:
    """Counts each loss in its bin, and adds n to it; what weighs nothing is no loss."""
    cdef Py_ssize_t i, bin
    cdef double loss
    for i in range(k):
        if w.status[i] != COUNTED or (d is not NULL and not d[i] > 0):
            continue
        loss = w.n[i] if d is NULL else w.n[i] / d[i]
        bin = bin_of(loss)
        tail.bump(COUNT, bin, 1)
        tail.add_term(N, bin, w.n[i], 1)
    return 0


cdef Py_ssize_t bin_of(double loss) noexcept nogil:
    """The bin of a loss: its exponent and the first bits of its mantissa."""
    cdef int64_t bits
    memcpy(&bits, &loss, sizeof(bits))
    bits = (bits >> (52 - BINS_BITS)) - ((1023 + LEAST) << BINS_BITS)
    return 0 if loss <= 0 or bits < 0 else min(bits, <int64_t>TAIL - 2) + 1


cdef void record(Blocks b, work* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Keeps losses that are samples, and what is odd about any."""
    cdef Py_ssize_t i
    if b.group == 1 and not b.whole:
        memcpy(b.recorded.n + at, w.n, k * sizeof(double))
        if b.recorded.d is not NULL:
            memcpy(b.recorded.d + at, w.d, k * sizeof(double))
    if w.odd or w.flagged:
        b.recorded.odd = True
        for i in range(k):
            b.recorded.what[at + i] = w.status[i] if w.status[i] else <uint8_t>(w.flags[i] << 4)


cdef int add_samples(
    Blocks b, work* w, const double* d, Py_ssize_t at, Py_ssize_t k, Ledger total
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
        if b.whole:
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
                if b.whole:
                    w.sample_d[full] = w.weights[i] if b.has_weight else 1.0
                if b.recorded is not None:
                    b.recorded.n[w.sample] = w.sample_n[full]
                    b.recorded.d[w.sample] = w.sample_d[full]
                full += 1
            w.n_sum = w.n_lost = w.d_sum = w.d_lost = 0
            w.members = 0
            w.sample += 1
    return total.add_samples(0, w.sample_n, w.sample_d, full, table().largest_exponent(w.sample_n, full), 1)
