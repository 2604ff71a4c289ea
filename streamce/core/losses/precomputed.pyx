"""Losses that were computed elsewhere: by torch on a device, or by another pass over the batch."""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from streamce.core.losses.batch cimport Batch
from streamce.core.losses.elementwise cimport outcomes
from streamce.core.losses.load_block cimport check_weights
from streamce.core.losses.loss_spec cimport MULTICLASS
from streamce.core.losses.rowwise cimport labels_of
from streamce.core.losses.workspace cimport Workspace, flag
from streamce.core.samples.samples cimport Samples
from streamce.core.samples.status cimport IGNORED, IS_FLOORED, IS_UNNORMALISED

from streamce.core.losses.batch import CAUSES

# The packed status of each cause and anomaly.
PACKED_STATUS = {name: status for status, name in CAUSES.items()} | {
    "left_out": IGNORED, "floored": IS_FLOORED << 4, "unnormalised": IS_UNNORMALISED << 4,
}


cdef void apply_precomputed(Batch b, Workspace* w, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Use losses that were computed on a device. Integer targets and weights are checked here."""
    cdef Py_ssize_t i
    if b.has_integer_targets and b.spec.task == MULTICLASS:
        labels_of(b, w, at, k)
    elif b.has_integer_targets:
        outcomes(b, w, at, k)
    check_weights(b, w, k)
    if not b.unit_weight:
        for i in range(k):
            w.d[i] = 1
    restore_losses(w, b.precomputed, at, k)


cdef void restore_losses(Workspace* w, Samples losses, Py_ssize_t at, Py_ssize_t k) noexcept nogil:
    """Copy losses and their statuses to the workspace. If a loss has two statuses, the smaller one is used."""
    cdef Py_ssize_t i
    cdef int status
    memcpy(w.n, losses.n + at, k * sizeof(double))
    if losses.d is not NULL:
        memcpy(w.d, losses.d + at, k * sizeof(double))
    for i in range(k):
        status = losses.packed_status[at + i] & 15
        if status and (not w.status[i] or status < w.status[i]):
            w.status[i] = <uint8_t>status
            w.odd = True
        elif losses.packed_status[at + i]:
            flag(w, i, losses.packed_status[at + i] >> 4)
