"""The memory of an argument, as a view from which blocks are read."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_Check

import numpy as np

from streamce.inputs import arrays

cdef type ndarray = np.ndarray
cdef char FOREIGN = b">" if np.little_endian else b"<"


cdef class ArrayView:
    """The buffer of an array, or a number, during an update."""

    def __dealloc__(self):
        self.drop()

    cdef void drop(self) noexcept:
        """Release the array."""
        if self.is_held:
            self.is_held = False
            PyBuffer_Release(&self.buffer)
            if self.given is not None:
                self.given = None

    cdef int take(self, object source, str name) except -1:
        """Take an array or a number. ``inputs`` converts any other source first."""
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
            data = arrays.convert(source, name)
            if not self.hold(data.values):
                raise arrays.unsupported_dtype(data.values, name)
            self.given = data
            if data.is_bfloat16:
                self.v.dtype = BF16
        self.v.data = <const char*>self.buffer.buf
        self.v.itemsize = <int>self.buffer.itemsize
        self.ndim = self.buffer.ndim
        self.shape = self.buffer.shape
        self.strides = self.buffer.strides
        self.is_real = self.v.dtype <= F64
        return 0

    cdef bint hold(self, object source) except -1:
        """Take the buffer of an array. Return False if its dtype cannot be read."""
        cdef const char* format
        try:
            PyObject_GetBuffer(
                source, &self.buffer, (PyBUF_STRIDED if self.writes else PyBUF_STRIDED_RO) | PyBUF_FORMAT
            )
        except (ValueError, BufferError):  # the buffer protocol does not know the dtype
            return False
        self.is_held = True
        format = self.buffer.format
        self.v.swapped = format[0] == FOREIGN
        self.v.dtype = dtype_of(format, self.buffer.itemsize)
        if self.v.dtype < 0:
            self.drop()
        return self.is_held

    cdef object null(self):
        """Return the mask of nulls, or None if there are none."""
        return None if self.given is None else self.given.null_mask

    cdef object once(self, object source):
        """Return the converted source, or else the source. Some sources can be read only once."""
        return source if self.given is None else self.given

    cdef void axes(self, int class_axis) noexcept:
        """Split the axes into those of the losses and the class axis. Without a class axis, it is -1."""
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
        """Turn rows into elements: each entry is a loss, and the class axis comes last."""
        self.v.shape[self.v.ndim] = self.v.classes
        self.v.strides[self.v.ndim] = self.v.class_stride
        self.v.ndim += 1
        self.v.classes = 1
        self.v.class_stride = self.v.itemsize
        view_coalesce_axes(&self.v)

    cdef tuple shape_tuple(self):
        return tuple([self.shape[k] for k in range(self.ndim)])


cdef int dtype_of(const char* format, Py_ssize_t itemsize) noexcept:
    """Return the dtype for a format of the struct module, or -1 if it is not supported."""
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
