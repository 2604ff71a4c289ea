"""An argument's memory, as a view that blocks are read from."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_Check

import numpy as np

from streamce.inputs import arrays

cdef type ndarray = np.ndarray
cdef char FOREIGN = b">" if np.little_endian else b"<"


cdef class ArrayView:
    """Holds the buffer of an array, or a number itself, while a chunk is under way."""

    def __dealloc__(self):
        self.drop()

    cdef void drop(self) noexcept:
        """Lets go of the array."""
        if self.held:
            self.held = False
            PyBuffer_Release(&self.buffer)
            if self.given is not None:
                self.given = None

    cdef int take(self, object source, str name) except -1:
        """Takes an array or a number; whatever is neither goes through ``inputs`` first."""
        cdef int overflow = 0
        self.ndim = 0
        self.is_real = False
        self.v.swapped = False
        self.v.itemsize = 8
        if PyFloat_Check(source):
            self.number = PyFloat_AS_DOUBLE(source)
            self.v.data = <const char*>&self.number
            self.v.dtype = F64
            self.is_real = True
            return 0
        if PyLong_Check(source):
            self.integer = PyLong_AsLongLongAndOverflow(source, &overflow)
            if not overflow:
                self.v.data = <const char*>&self.integer
                self.v.dtype = I64
                return 0
        if type(source) is not ndarray or not self.hold(source):
            found = arrays.read(source, name)
            if not self.hold(found.values):
                raise arrays.unsupported(found.values, name)
            self.given = found
            if found.halves:
                self.v.dtype = BF16
        self.v.data = <const char*>self.buffer.buf
        self.v.itemsize = <int>self.buffer.itemsize
        self.ndim = self.buffer.ndim
        self.shape = self.buffer.shape
        self.strides = self.buffer.strides
        self.is_real = self.v.dtype <= F64
        return 0

    cdef bint hold(self, object source) except -1:
        """Whether the array has a buffer of a dtype that blocks are read from."""
        cdef const char* format
        try:
            PyObject_GetBuffer(
                source, &self.buffer, (PyBUF_STRIDED if self.writes else PyBUF_STRIDED_RO) | PyBUF_FORMAT
            )
        except (ValueError, BufferError):  # a dtype the protocol has no letter for
            return False
        self.held = True
        format = self.buffer.format
        self.v.swapped = format[0] == FOREIGN
        self.v.dtype = dtype_of(format, self.buffer.itemsize)
        if self.v.dtype < 0:
            self.drop()
        return self.held

    cdef object null(self):
        """The mask of nulls, None where there are none."""
        return None if self.given is None else self.given.null

    cdef object once(self, object source):
        """What was read of a source, which may come once only; else the source."""
        return source if self.given is None else self.given

    cdef void axes(self, int class_axis) noexcept:
        """Splits the axes into those of the losses and the class axis (-1: none)."""
        cdef int k
        self.v.ndim = 0
        self.v.classes = 1
        self.v.class_stride = self.v.itemsize
        for k in range(self.ndim):
            if k == class_axis:
                self.v.classes = self.shape[k]
                self.v.class_stride = self.strides[k]
            else:
                self.v.shape[self.v.ndim] = self.shape[k]
                self.v.strides[self.v.ndim] = self.strides[k]
                self.v.ndim += 1
        view_coalesce_axes(&self.v)

    cdef void join_classes(self) noexcept:
        """Makes rows elements: each entry a loss, the class axis last."""
        self.v.shape[self.v.ndim] = self.v.classes
        self.v.strides[self.v.ndim] = self.v.class_stride
        self.v.ndim += 1
        self.v.classes = 1
        self.v.class_stride = self.v.itemsize
        view_coalesce_axes(&self.v)

    cdef tuple shape_tuple(self):
        return tuple([self.shape[k] for k in range(self.ndim)])


cdef int dtype_of(const char* format, Py_ssize_t itemsize) noexcept:
    """The dtype of a buffer by the letter of the struct module; -1 for any other."""
    if format[0] in (b"<", b">", b"=", b"@", b"|"):
        format += 1
    if format[0] == 0 or format[1] != 0:
        return -1
    cdef char letter = format[0]
    if letter == b"d":
        return F64
    if letter == b"f":
        return F32
    if letter == b"e":
        return F16
    if letter in (b"b", b"h", b"i", b"l", b"q"):
        return I64 if itemsize == 8 else I32 if itemsize == 4 else I16 if itemsize == 2 else I8
    if letter in (b"?", b"B", b"H", b"I", b"L", b"Q"):
        return U64 if itemsize == 8 else U32 if itemsize == 4 else U16 if itemsize == 2 else U8
    return -1
