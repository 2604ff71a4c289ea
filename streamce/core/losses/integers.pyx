"""Integer arguments of utterances, as copies that no other thread can change: labels and lengths."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from streamce.core.losses.array_view cimport ArrayView, integers_to_labels, view_gather

from streamce.inputs import arrays, messages

# Larger arrays could overflow Py_ssize_t, in bytes.
cdef Py_ssize_t MAX_INTEGERS = <Py_ssize_t>1 << 57


cdef class Integers:
    """An array of integers, which are not initialised."""

    def __cinit__(self, Py_ssize_t size):
        if size > MAX_INTEGERS:
            raise MemoryError
        self.size = size
        self.at = <int64_t*>malloc(max(1, size) * sizeof(int64_t))
        if self.at is NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.at)


cdef Integers copy_of(ArrayView source):
    """Return the integers of an array of any width, in its order."""
    cdef Py_ssize_t size = 1
    cdef int k
    for k in range(source.ndim):
        size *= source.shape[k]
    source.axes(-1)
    cdef Integers copy = Integers(size)
    # The integers in their own dtype, and their offsets.
    cdef Integers scratch = Integers(2 * size)
    if size:
        view_gather(&source.v, 0, size, <Py_ssize_t*>(scratch.at + size), scratch.at)
        integers_to_labels(source.v.dtype, scratch.at, size, copy.at)
    return copy


cdef Integers lengths_of(object source, str name, Py_ssize_t size):
    """Return lengths, one for each utterance. There must be ``size`` of them, or any number if ``size`` is -1."""
    cdef ArrayView array = ArrayView.__new__(ArrayView)
    array.take(source, name)
    if array.null() is not None and array.null().any():
        raise arrays.null_entry(name, arrays.first_index(array.null()))
    if array.is_real and not (array.ndim and array.shape[0] == 0):  # an empty list has the dtype float64
        raise messages.not_integers(name, array.once(source))
    if array.ndim != 1 or (array.shape[0] != size and size >= 0):
        raise messages.ctc_lengths_shape(name, array.shape_tuple(), size)
    return copy_of(array)
