from libc.stdint cimport int64_t, uint8_t

from streamce.core.losses.array_view cimport ArrayView
from streamce.core.losses.batch cimport Batch, Vector
from streamce.core.losses.loss_spec cimport Breakdowns, LossSpec
from streamce.core.losses.workspace cimport Workspace


cdef class Integers:
    cdef int64_t* at
    cdef Py_ssize_t size

    cdef int take(self, ArrayView source) except -1


cdef class CTCOptions:
    cdef LossSpec spec
    cdef Breakdowns breakdowns
    cdef int per
    cdef int64_t blank
    cdef bint skips, batch_first
    cdef object threads
    cdef readonly bint per_cell


cdef struct scratch:
    # Of one thread: one piece, cut up.
    Py_ssize_t utterance  # the one at hand
    bint rough         # a row of it adds up to 1 only roughly
    int64_t* label     # of the utterance at hand, and the blank in the lanes that are left
    double* lattice
    double* m          # of some frames' labels
    double* e
    Py_ssize_t some    # as many


cdef class Utterances(Batch):
    cdef object given_input_lengths, given_target_lengths
    cdef CTCOptions p
    cdef Integers labels_of, frames, many, first  # `many` labels of each utterance, from `first` on
    cdef Integers begin  # the first frame of each utterance, where the frames are flat; else None
    cdef Py_ssize_t longest, padded
    cdef Py_ssize_t stride  # from an utterance to the next, or from a flat frame to the next
    cdef Vector weight
    cdef object null_weight  # where weights are null; None where none is
    cdef Integers bad_frame

    cdef int convert(self) except -1
    cdef int open_utterances(self, CTCOptions p) except -1
    cdef int open_frames(self, Py_ssize_t frames) except -1
    cdef int take_labels(self) except -1
    cdef int take_weight(self) except -1
    cdef int compute(self) except -1
    cdef Py_ssize_t cost(self, Py_ssize_t i) noexcept nogil
    cdef void utterance(self, Workspace* w, scratch* s, Py_ssize_t i) noexcept nogil
    cdef int pass_over(
        self, Workspace* w, scratch* s, Py_ssize_t lanes, Py_ssize_t many, bint forward
    ) noexcept nogil
    cdef int check_frames(self, Workspace* w, scratch* s, Py_ssize_t at, Py_ssize_t k, bint forward) noexcept nogil
    cdef int status_of_row(self, const void* x, Py_ssize_t stride, Py_ssize_t t) noexcept nogil
    cdef int write(self, double[::1] out) except -1
    cdef object utterance_error(self, Py_ssize_t i, preds)
