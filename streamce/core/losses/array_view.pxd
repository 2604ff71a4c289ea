from cpython.buffer cimport Py_buffer
from libc.stdint cimport int64_t

cdef extern from "array_view.h" nogil:
    enum:
        MAX_AXES
        F16, BF16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64
    ctypedef struct view:
        const char* data
        int dtype
        int itemsize
        int swapped
        int ndim
        Py_ssize_t* shape
        Py_ssize_t* strides
        Py_ssize_t classes
        Py_ssize_t class_stride
        int direct
    void view_coalesce_axes(view*) noexcept
    Py_ssize_t view_step(const view*) noexcept
    void view_prefetch(const view*, Py_ssize_t, Py_ssize_t) noexcept
    void view_gather(const view*, Py_ssize_t, Py_ssize_t, Py_ssize_t*, void*) noexcept
    void view_scatter(const view*, Py_ssize_t, Py_ssize_t, Py_ssize_t*, void*) noexcept
    void integers_to_labels(int, const void*, Py_ssize_t, int64_t*) noexcept
    void integers_to_doubles(int, const void*, Py_ssize_t, double*) noexcept


cdef class ArrayView:
    cdef Py_buffer buffer
    cdef bint is_held
    cdef bint writes  # the array is written, not read
    cdef object given  # the ArrayData of a source that is not a plain array; else None
    cdef double number
    cdef int64_t integer
    cdef view v
    cdef bint is_real
    cdef int ndim
    cdef Py_ssize_t* shape
    cdef Py_ssize_t* strides

    cdef int take(self, object source, str name) except -1
    cdef void drop(self) noexcept
    cdef bint hold(self, object source) except -1
    cdef object null(self)
    cdef object once(self, object source)
    cdef void axes(self, int class_axis) noexcept
    cdef void join_classes(self) noexcept
    cdef tuple shape_tuple(self)
