/* Strided arrays that are read block by block. A view of rows keeps the class axis separate. Its
   other axes are those of the losses, in order. */
#ifndef STREAMCE_ARRAY_VIEW_H
#define STREAMCE_ARRAY_VIEW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MAX_AXES 64

enum dtype { F16, BF16, F32, F64, I8, I16, I32, I64, U8, U16, U32, U64 };

typedef struct {
    const char *data;
    int dtype;
    int itemsize;
    int swapped; /* not in this machine's byte order */
    int ndim;
    ptrdiff_t shape[MAX_AXES];
    ptrdiff_t strides[MAX_AXES]; /* bytes */
    ptrdiff_t classes;           /* 1 for elements */
    ptrdiff_t class_stride;      /* bytes */
    int direct; /* the losses have one stride, and blocks can be used in place */
} view;

/* Join axes that one stride covers, and find out whether blocks can be used in place. */
static inline void view_coalesce_axes(view *v)
{
    int n = 0;
    for (int k = 0; k < v->ndim; k++) {
        if (v->shape[k] == 1)
            continue;
        if (n && v->strides[n - 1] == v->shape[k] * v->strides[k]) {
            v->shape[n - 1] *= v->shape[k];
            v->strides[n - 1] = v->strides[k];
        } else {
            v->shape[n] = v->shape[k];
            v->strides[n] = v->strides[k];
            n++;
        }
    }
    v->ndim = n;
    const ptrdiff_t size = v->itemsize;
    const ptrdiff_t step = n ? v->strides[0] : size * v->classes;
    v->direct = n <= 1 && !v->swapped && (uintptr_t)v->data % (size_t)size == 0 && step % size == 0 &&
                (v->classes > 1 ? v->class_stride == size : step == size);
}

static inline ptrdiff_t view_step(const view *v)
{
    return v->ndim ? v->strides[0] : v->itemsize * v->classes;
}

/* Prefetch a block while another one is processed. */
static inline void view_prefetch(const view *v, ptrdiff_t start, ptrdiff_t count)
{
#if defined(__GNUC__)
    if (!v->direct || (v->ndim && v->shape[0] < start + count))
        return;
    const ptrdiff_t step = view_step(v);
    if (step != v->itemsize * v->classes)
        return;
    for (ptrdiff_t at = start * step; at < (start + count) * step; at += 64)
        __builtin_prefetch(v->data + at);
#else
    (void)v, (void)start, (void)count;
#endif
}

/* Compute the offsets of losses start ... start + count - 1, in bytes from data. */
static inline void view_offsets(const view *v, ptrdiff_t start, ptrdiff_t count, ptrdiff_t *offset)
{
    ptrdiff_t at[MAX_AXES], here = 0, rest = start;
    for (int k = v->ndim - 1; k >= 0; k--) {
        at[k] = rest % v->shape[k];
        rest /= v->shape[k];
        here += at[k] * v->strides[k];
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        offset[i] = here;
        for (int k = v->ndim - 1; k >= 0; k--) {
            here += v->strides[k];
            if (++at[k] < v->shape[k])
                break;
            here -= at[k] * v->strides[k];
            at[k] = 0;
        }
    }
}

#define GATHER(TYPE)                                                                                      \
    do {                                                                                                  \
        TYPE *to = out;                                                                                   \
        if (v->class_stride == v->itemsize) {                                                             \
            for (ptrdiff_t i = 0; i < count; i++)                                                         \
                memcpy(to + i * v->classes, v->data + offset[i], (size_t)v->classes * sizeof(TYPE));      \
        } else {                                                                                          \
            for (ptrdiff_t c = 0; c < v->classes; c++)                                                    \
                for (ptrdiff_t i = 0; i < count; i++)                                                     \
                    memcpy(to + i * v->classes + c, v->data + offset[i] + c * v->class_stride,            \
                           sizeof(TYPE));                                                                 \
        }                                                                                                 \
    } while (0)

/* Reverse the bytes of each element of a block. */
static inline void view_swap(const view *v, ptrdiff_t count, void *elements)
{
    unsigned char *byte = elements;
    for (ptrdiff_t i = 0; i < count * v->classes; i++, byte += v->itemsize)
        for (int k = 0; k < v->itemsize / 2; k++) {
            unsigned char b = byte[k];
            byte[k] = byte[v->itemsize - 1 - k];
            byte[v->itemsize - 1 - k] = b;
        }
}

/* Copy a block to contiguous memory, in this machine's byte order. */
static inline void view_gather(const view *v, ptrdiff_t start, ptrdiff_t count, ptrdiff_t *offset, void *out)
{
    view_offsets(v, start, count, offset);
    switch (v->itemsize) {
    case 1: GATHER(uint8_t); break;
    case 2: GATHER(uint16_t); break;
    case 4: GATHER(uint32_t); break;
    default: GATHER(uint64_t); break;
    }
    if (v->swapped)
        view_swap(v, count, out);
}

#define SCATTER(TYPE)                                                                                     \
    do {                                                                                                  \
        const TYPE *from = in;                                                                            \
        if (v->class_stride == v->itemsize) {                                                             \
            for (ptrdiff_t i = 0; i < count; i++)                                                         \
                memcpy(to + offset[i], from + i * v->classes, (size_t)v->classes * sizeof(TYPE));         \
        } else {                                                                                          \
            for (ptrdiff_t c = 0; c < v->classes; c++)                                                    \
                for (ptrdiff_t i = 0; i < count; i++)                                                     \
                    memcpy(to + offset[i] + c * v->class_stride, from + i * v->classes + c, sizeof(TYPE)); \
        }                                                                                                 \
    } while (0)

/* Copy contiguous memory to a block. If the view has the other byte order, `in` is reversed first. */
static inline void view_scatter(const view *v, ptrdiff_t start, ptrdiff_t count, ptrdiff_t *offset, void *in)
{
    char *to = (char *)(uintptr_t)v->data;
    view_offsets(v, start, count, offset);
    if (v->swapped)
        view_swap(v, count, in);
    switch (v->itemsize) {
    case 2: SCATTER(uint16_t); break;
    case 4: SCATTER(uint32_t); break;
    default: SCATTER(uint64_t); break;
    }
}

/* Convert integers of any width to int64 or to doubles. A value that does not fit int64 becomes the
   largest one, which is no valid label. */
#define WIDEN(TYPE)                                                                                       \
    do {                                                                                                  \
        const TYPE *from = in;                                                                            \
        for (ptrdiff_t i = 0; i < count; i++)                                                             \
            out[i] = FIT(from[i]);                                                                        \
    } while (0)

#define WIDEN_ANY                                                                                         \
    switch (dtype) {                                                                                      \
    case I8: WIDEN(int8_t); break;                                                                        \
    case I16: WIDEN(int16_t); break;                                                                      \
    case I32: WIDEN(int32_t); break;                                                                      \
    case I64: WIDEN(int64_t); break;                                                                      \
    case U8: WIDEN(uint8_t); break;                                                                       \
    case U16: WIDEN(uint16_t); break;                                                                     \
    case U32: WIDEN(uint32_t); break;                                                                     \
    default: WIDEN(uint64_t); break;                                                                      \
    }

#define FIT(x) ((uint64_t)(x) > INT64_MAX && (x) > 0 ? INT64_MAX : (int64_t)(x))
static inline void integers_to_labels(int dtype, const void *in, ptrdiff_t count, int64_t *out)
{
    WIDEN_ANY
}
#undef FIT

#define FIT(x) ((double)(x))
static inline void integers_to_doubles(int dtype, const void *in, ptrdiff_t count, double *out)
{
    WIDEN_ANY
}
#undef FIT

#endif
