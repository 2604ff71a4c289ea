from libc.stdint cimport int64_t

from streamce.core.losses.batch cimport Batch, Vector
from streamce.core.losses.integers cimport Integers
from streamce.core.losses.loss_spec cimport Breakdowns, LossSpec
from streamce.core.losses.workspace cimport Workspace


cdef class CTCOptions:
    cdef LossSpec spec
    cdef Breakdowns breakdowns
    cdef int per
    cdef int64_t blank
    cdef bint skips, batch_first
    cdef object threads
    cdef readonly bint per_cell


cdef struct scratch:
    # Scratch memory of a thread for one utterance.
    Py_ssize_t utterance
    bint rough               # whether a row sums to 1 only roughly
    bint exceeds             # whether a probability is above 1, by rounding
    int64_t* label           # the labels, then the blank in the other lanes
    double* lattice
    double* m                # probabilities m 2^e of the labels in the frames of a tile
    double* e
    Py_ssize_t tile_frames


cdef class Utterances(Batch):
    cdef object given_input_lengths, given_target_lengths
    cdef CTCOptions p
    cdef Integers labels_of  # the labels of all utterances
    cdef Integers n_labels   # the number of labels of each utterance
    cdef Integers first      # the first label of each utterance
    cdef Integers frames     # the number of frames of each utterance
    cdef Integers begin      # the first frame of each utterance if the frames are flat, else None
    cdef Py_ssize_t longest  # the largest number of labels
    cdef Py_ssize_t padded   # the padded number of labels, or 0 if the labels are flat
    cdef Py_ssize_t stride   # from an utterance to the next, or from a flat frame to the next
    cdef Vector weight
    cdef object null_weight  # the mask of null weights, or None
    cdef Integers invalid_frame  # the first invalid frame of each invalid utterance

    cdef int convert(self) except -1
    cdef int open_utterances(self, CTCOptions p) except -1
    cdef int open_frames(self, Py_ssize_t frames) except -1
    cdef int take_labels(self) except -1
    cdef int take_weight(self) except -1
    cdef int compute(self) except -1
    cdef Py_ssize_t cost(self, Py_ssize_t i) noexcept nogil
    cdef void utterance(self, Workspace* w, scratch* s, Py_ssize_t i) noexcept nogil
    cdef int pass_over(
        self, Workspace* w, scratch* s, Py_ssize_t lanes, Py_ssize_t n_labels, bint forward
    ) noexcept nogil
    cdef int check_frames(self, Workspace* w, scratch* s, Py_ssize_t at, Py_ssize_t k, bint forward) noexcept nogil
    cdef int status_of_row(self, const void* x, Py_ssize_t stride, Py_ssize_t t) noexcept nogil
    cdef int write(self, double[::1] out) except -1
    cdef object utterance_error(self, Py_ssize_t i, preds)
