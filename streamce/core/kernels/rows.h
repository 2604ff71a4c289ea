/* Softmax over the classes of each row, for REAL = float (WIDE is 0) or double (WIDE is 1). Note b) of
   kernels.h describes the layout.

   Terms of a softmax are scaled by 2^LIFT. Without it, float terms below 2^-126 would be 0, and the
   sum of 50000 such terms would be missing. With it, the terms that become 0 stay below 1e-37 in total for
   any number of classes, and the sum of CHAIN terms of the largest size is still finite. */

#if WIDE
#define T(name) name##_f64
#define BITS uint64_t
#define LANES 32
#define CHAIN 16
#define SMALL 128
#define BIG 2048.0
#define LIFT 0.0
#define SMALLEST_REAL SMALLEST64
#else
#define T(name) name##_f32
#define BITS uint32_t
#define LANES 64
#define CHAIN 8
#define SMALL 256 /* a tile and one of soft targets fit the first-level cache */
#define BIG 256.0f
#define LIFT 96.0f
#define SMALLEST_REAL 1.17549435e-38f
#endif

/* A sum in each lane: a short chain, and the sum of earlier chains. A chain of floats is added to a double
   without much error. For chains of doubles, `low` sums the rounding errors (Knuth's two-sum). */
typedef struct {
    REAL chain[LANES];
    double high[LANES], low[LANES];
} T(sums);

INLINE void T(clear)(T(sums) *s, const int lanes)
{
    for (int j = 0; j < lanes; j++) {
        s->chain[j] = 0;
        s->high[j] = s->low[j] = 0;
    }
}

INLINE double T(add)(double a, double b, double *low)
{
    const double sum = a + b;
#if WIDE
    const double v = sum - a;
    *low += (a - (sum - v)) + (b - v);
#else
    (void)low;
#endif
    return sum;
}

/* Add the chains to the sums, and begin new chains. */
INLINE void T(widen)(T(sums) *s, const int lanes)
{
    for (int j = 0; j < lanes; j++) {
        s->high[j] = T(add)(s->high[j], (double)s->chain[j], s->low + j);
        s->chain[j] = 0;
    }
}

INLINE double T(total)(const T(sums) *s, int lane)
{
#if WIDE
    const double sum = s->high[lane] + s->low[lane];
    return sum == sum ? sum : s->high[lane]; /* the rounding error of an infinite sum is NaN */
#else
    return s->high[lane];
#endif
}

/* Add the upper half of the lanes to the lower half. */
INLINE void T(halve)(T(sums) *s, const int half)
{
    for (int j = 0; j < half; j++) {
#if WIDE
        s->low[j] += s->low[j + half];
#endif
        s->high[j] = T(add)(s->high[j], s->high[j + half], s->low + j);
    }
}

INLINE double T(across)(T(sums) *s)
{
#if !WIDE
    T(halve)(s, 32);
#endif
    T(halve)(s, 16);
    T(halve)(s, 8);
    T(halve)(s, 4);
    T(halve)(s, 2);
    T(halve)(s, 1);
    return T(total)(s, 0);
}

/* The smallest value below 0 and the largest value above 0 in each lane, or 0. NaN is skipped. */
typedef struct {
    REAL least[LANES], most[LANES];
} T(range);

INLINE void T(cover)(T(range) *r, int j, REAL x)
{
    r->least[j] = x < r->least[j] ? x : r->least[j];
    r->most[j] = x > r->most[j] ? x : r->most[j];
}

/* Transpose four classes of four rows to four lines, which are `step` apart. */
#if SHUFFLES
typedef REAL T(four) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

INLINE void T(transpose)(const REAL *a, const REAL *b, const REAL *c, const REAL *d, REAL *to,
                         const ptrdiff_t step)
{
    const T(four) x = *(const T(four) *)a, y = *(const T(four) *)b;
    const T(four) z = *(const T(four) *)c, w = *(const T(four) *)d;
    const T(four) xy = __builtin_shufflevector(x, y, 0, 4, 1, 5), zw = __builtin_shufflevector(z, w, 0, 4, 1, 5);
    const T(four) xy2 = __builtin_shufflevector(x, y, 2, 6, 3, 7), zw2 = __builtin_shufflevector(z, w, 2, 6, 3, 7);
    *(T(four) *)to = __builtin_shufflevector(xy, zw, 0, 1, 4, 5);
    *(T(four) *)(to + step) = __builtin_shufflevector(xy, zw, 2, 3, 6, 7);
    *(T(four) *)(to + 2 * step) = __builtin_shufflevector(xy2, zw2, 0, 1, 4, 5);
    *(T(four) *)(to + 3 * step) = __builtin_shufflevector(xy2, zw2, 2, 3, 6, 7);
}
#else
INLINE void T(transpose)(const REAL *a, const REAL *b, const REAL *c, const REAL *d, REAL *to,
                         const ptrdiff_t step)
{
    for (int i = 0; i < 4; i++, to += step) {
        to[0] = a[i];
        to[1] = b[i];
        to[2] = c[i];
        to[3] = d[i];
    }
}
#endif

/* Transpose up to TILE rows. Lanes without a row repeat the last row. */
INLINE void T(load_tile)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes,
                         REAL *RESTRICT tile)
{
    if (rows == TILE && classes == 2 && stride == 2) {
        for (int j = 0; j < TILE; j++) {
            tile[j] = x[2 * j];
            tile[TILE + j] = x[2 * j + 1];
        }
        return;
    }
    for (ptrdiff_t j = 0; j < TILE; j += 4) {
        const REAL *a = x + (j < rows ? j : rows - 1) * stride;
        const REAL *b = x + (j + 1 < rows ? j + 1 : rows - 1) * stride;
        const REAL *c = x + (j + 2 < rows ? j + 2 : rows - 1) * stride;
        const REAL *d = x + (j + 3 < rows ? j + 3 : rows - 1) * stride;
        ptrdiff_t k = 0;
        if (classes == 3 && stride == 3 && j + 4 < rows) { /* reads a class of the next row, which exists */
            T(transpose)(a, b, c, d, tile + j, TILE);
            continue;
        }
        for (; k + 4 <= classes; k += 4)
            T(transpose)(a + k, b + k, c + k, d + k, tile + k * TILE + j, TILE);
        if (k < classes && classes >= 4) { /* the last four classes, some of them again */
            k = classes - 4;
            T(transpose)(a + k, b + k, c + k, d + k, tile + k * TILE + j, TILE);
            continue;
        }
        for (; k < classes; k++) {
            REAL *to = tile + k * TILE + j;
            to[0] = a[k];
            to[1] = b[k];
            to[2] = c[k];
            to[3] = d[k];
        }
    }
}

/* m - x and q (m - x) are rounded before they are added, so their chains are shorter. */
#define SOFT_CHAIN 4

#include "moments.h"

/* ---- softmax: m is the largest x, u the sum of e^(x - m) without the first largest x ----
   Optional results are `gap`, the sum of m - x, and for soft targets q `dot`, the sum of q (m - x) with
   0 * inf = 0, and `total`, the sum of q, or NaN if a q is outside [0, 1]. With `moments`, they are the sums of
   moments.h instead, and u has the same bits as without. */

/* If x is far from 0, exp would lose digits in its reduction of x. There x - m is exact for every term that is
   not negligible. */
INLINE REAL T(shift_of)(REAL m)
{
    return m >= BIG || m <= -BIG ? m : 0;
}

INLINE void T(softmax_tile)(const REAL *RESTRICT tile, const REAL *RESTRICT q, ptrdiff_t classes,
                            double *RESTRICT m_out, double *RESTRICT u_out, double *RESTRICT gap_out,
                            double *RESTRICT dot_out, double *RESTRICT total_out, T(moments) *RESTRICT sums,
                            const int gaps, const int dots, const int moments)
{
    REAL m[TILE], shift[TILE], least[TILE], ties[TILE], other[MOMENT_LINES * TILE], away[MOMENT_LINES * TILE];
    BITS start[TILE];
    const int most_chained = gaps || dots ? SOFT_CHAIN : CHAIN;
    T(sums) others, gap, dot, total;
    T(range) range;
    T(clear)(&others, TILE);
    T(clear)(&gap, TILE);
    T(clear)(&dot, TILE);
    T(clear)(&total, TILE);
    for (int j = 0; j < TILE; j++) {
        m[j] = tile[j];
        ties[j] = 0;
        range.least[j] = range.most[j] = 0;
    }
    for (ptrdiff_t c = 1; c < classes; c++)
        for (int j = 0; j < TILE; j++)
            m[j] = tile[c * TILE + j] > m[j] ? tile[c * TILE + j] : m[j];
    for (int j = 0; j < TILE; j++) {
        shift[j] = T(shift_of)(m[j]);
        REAL top = T(powers)(m[j] - shift[j]) - LIFT;
        least[j] = T(least)(top);
        start[j] = T(start)(top);
        if (moments)
            sums->cap[j] = T(cap_of)(sums->limit, m[j]);
    }
    for (ptrdiff_t c = 0; c < classes;) {
        const ptrdiff_t end = c + most_chained < classes ? c + most_chained : classes;
        for (; c < end; c++) {
            const ptrdiff_t line = c % MOMENT_LINES * TILE;
            for (int j = 0; j < TILE; j++) {
                REAL x = tile[c * TILE + j];
                REAL e = T(scaled_exp)(x - shift[j], least[j], start[j]);
                others.chain[j] += x == m[j] ? 0 : e;
                ties[j] += (REAL)(x == m[j]);
                if (moments) {
                    const REAL rank = x == m[j] ? (REAL)(classes - c) : 0;
                    sums->rank[j] = rank > sums->rank[j] ? rank : sums->rank[j];
                    other[line + j] = x == m[j] ? 0 : e;
                    away[line + j] = T(distance)(x - shift[j], m[j] - shift[j], least[j], sums->cap[j]);
                }
                if (gaps)
                    gap.chain[j] += m[j] - x;
                if (dots) {
                    REAL y = q[c * TILE + j];
                    dot.chain[j] += y == 0 ? 0 : y * (m[j] - x);
                    total.chain[j] += y;
                    T(cover)(&range, j, y);
                }
            }
            if (moments && line == (MOMENT_LINES - 1) * TILE)
                T(add_moments)(other, away, sums, MOMENT_LINES);
        }
        T(widen)(&others, TILE);
        if (gaps)
            T(widen)(&gap, TILE);
        if (dots) {
            T(widen)(&dot, TILE);
            T(widen)(&total, TILE);
        }
    }
    if (moments)
        for (ptrdiff_t c = classes - classes % MOMENT_LINES; c < classes; c++)
            T(add_moments)(other + c % MOMENT_LINES * TILE, away + c % MOMENT_LINES * TILE, sums, 1);
    for (int j = 0; j < TILE; j++) {
        m_out[j] = (double)m[j];
        double largest = (double)T(scaled_exp)(m[j] - shift[j], least[j], start[j]);
        u_out[j] = T(total)(&others, j) / largest + ((double)ties[j] - 1.0);
        if (moments) {
            sums->scale[j] = 1.0 / largest;
            sums->ties[j] = (double)ties[j] - 1.0;
        }
        if (gaps)
            gap_out[j] = T(total)(&gap, j);
        if (dots) {
            dot_out[j] = T(total)(&dot, j);
            total_out[j] = ((range.least[j] < 0) | (range.most[j] > 1)) ? NOT_A_NUMBER : T(total)(&total, j);
        }
    }
}

/* Add LANES classes, beginning at `at`. The lanes before `skip` have already been added. With `tied`, the largest
   classes are left out of `others`. */
INLINE void T(add_lanes)(const REAL *at, const REAL *q, const int skip, const int tied, REAL m, REAL shift,
                         REAL least, BITS start, T(sums) *others, T(sums) *gap, T(sums) *dot, T(sums) *total,
                         T(range) *range, T(moments) *sums, const int gaps, const int dots, const int moments)
{
    for (int j = 0; j < LANES; j++) {
        REAL e = T(scaled_exp)(at[j] - shift, least, start);
        others->chain[j] += (j < skip) | (tied & (at[j] == m)) ? 0 : e;
    }
    if (moments) {
        REAL other[LANES], away[LANES];
        for (int j = 0; j < LANES; j++) {
            REAL e = T(scaled_exp)(at[j] - shift, least, start);
            other[j] = (j < skip) | (tied & (at[j] == m)) ? 0 : e;
            away[j] = T(distance)(at[j] - shift, m - shift, least, sums->cap[0]);
        }
        T(add_moments)(other, away, sums, LANES / TILE);
    }
    if (gaps)
        for (int j = 0; j < LANES; j++)
            gap->chain[j] += j < skip ? 0 : m - at[j];
    if (dots)
        for (int j = 0; j < LANES; j++) {
            dot->chain[j] += ((j < skip) | (q[j] == 0)) ? 0 : q[j] * (m - at[j]);
            total->chain[j] += j < skip ? 0 : q[j];
            T(cover)(range, j, q[j]);
        }
}

/* Replace `most` by the larger value in each lane. */
INLINE void T(larger)(REAL *RESTRICT most, const REAL *x, const int lanes)
{
    for (int j = 0; j < lanes; j++)
        most[j] = x[j] > most[j] ? x[j] : most[j];
}

/* The largest entry of a row of at least LANES classes, whose last LANES begin at `tail`. */
INLINE REAL T(largest)(const REAL *x, ptrdiff_t tail)
{
    REAL most[LANES];
    for (int j = 0; j < LANES; j++)
        most[j] = x[tail + j];
    for (ptrdiff_t c = 0; c < tail; c += LANES)
        T(larger)(most, x + c, LANES);
#if !WIDE
    T(larger)(most, most + 32, 32);
#endif
    T(larger)(most, most + 16, 16);
    T(larger)(most, most + 8, 8);
    T(larger)(most, most + 4, 4);
    T(larger)(most, most + 2, 2);
    T(larger)(most, most + 1, 1);
    return most[0];
}

/* Where the first LANES that hold m begin, or a number that is at least `tail` for the last ones. */
INLINE ptrdiff_t T(lanes_with)(const REAL *x, ptrdiff_t tail, REAL m)
{
    ptrdiff_t first = 0;
    for (; first < tail; first += LANES) {
        int has_largest = 0;
        for (int j = 0; j < LANES; j++)
            has_largest |= x[first + j] == m;
        if (has_largest)
            break;
    }
    return first;
}

INLINE void T(softmax_row)(const REAL *RESTRICT x, const REAL *RESTRICT q, ptrdiff_t classes, ptrdiff_t stride,
                           ptrdiff_t q_stride, double *m_out, double *u_out, double *gap_out, double *dot_out,
                           double *total_out, T(moments) *sums, const int gaps, const int dots, const int moments)
{
    const int most_chained = gaps || dots ? SOFT_CHAIN : CHAIN;
    T(sums) others, gap, dot, total;
    T(range) range;
    const ptrdiff_t tail = classes - LANES; /* begin of the last lanes, which overlap the lanes before */
    T(clear)(&others, LANES);
    T(clear)(&gap, LANES);
    T(clear)(&dot, LANES);
    T(clear)(&total, LANES);
    for (int j = 0; j < LANES; j++)
        range.least[j] = range.most[j] = 0;
    const REAL m = T(largest)(x, tail);
    const REAL shift = T(shift_of)(m);
    const REAL top = T(powers)(m - shift) - LIFT;
    const REAL least = T(least)(top);
    const BITS start = T(start)(top);
    if (moments)
        sums->cap[0] = T(cap_of)(sums->limit, m);

    /* Count the largest classes in the first lanes that hold one. */
    const ptrdiff_t first = T(lanes_with)(x, tail, m);
    const REAL *at = x + (first < tail ? first : tail);
    int ties = 0;
    for (int j = 0; j < LANES; j++)
        ties += at[j] == m;

    for (ptrdiff_t c = 0; c < classes;) {
        for (int k = 0; k < most_chained && c < classes; k++, c += LANES) {
            PREFETCH(x + stride + c, LANES);
            if (dots)
                PREFETCH(q + q_stride + c, LANES);
            const int tied = c == first;
            const ptrdiff_t from = c < tail ? c : tail;
            if (c < tail && !tied) /* the usual case has its own call, whose constants remove the comparisons */
                T(add_lanes)(x + c, q + c, 0, 0, m, shift, least, start, &others, &gap, &dot, &total, &range, sums,
                             gaps, dots, moments);
            else
                T(add_lanes)(x + from, q + from, (int)(c - from), tied, m, shift, least, start, &others, &gap,
                             &dot, &total, &range, sums, gaps, dots, moments);
        }
        T(widen)(&others, LANES);
        if (gaps)
            T(widen)(&gap, LANES);
        if (dots) {
            T(widen)(&dot, LANES);
            T(widen)(&total, LANES);
        }
    }
    *m_out = (double)m;
    *u_out = T(across)(&others) / (double)T(scaled_exp)(m - shift, least, start) + ((double)ties - 1.0);
    if (moments) {
        sums->scale[0] = 1.0 / (double)T(scaled_exp)(m - shift, least, start);
        sums->ties[0] = (double)ties - 1.0;
        sums->rank[0] = (REAL)T(rank_of)(at, m);
        sums->at = at - x;
    }
    if (gaps)
        *gap_out = T(across)(&gap);
    if (dots) {
        int outside = 0;
        for (int j = 0; j < LANES; j++)
            outside |= (range.least[j] < 0) | (range.most[j] > 1);
        *dot_out = T(across)(&dot);
        *total_out = outside ? NOT_A_NUMBER : T(across)(&total);
    }
}

INLINE void T(softmax)(const REAL *x, ptrdiff_t stride, const REAL *q, ptrdiff_t q_stride, ptrdiff_t rows,
                       ptrdiff_t classes, double *m, double *u, double *gap, double *dot, double *total,
                       const int gaps, const int dots)
{
    if (classes > SMALL) {
        for (ptrdiff_t i = 0; i < rows; i++) {
            const REAL *row = x + i * stride;
            T(softmax_row)(row, dots ? q + i * q_stride : row, classes, stride, q_stride, m + i, u + i,
                           gaps ? gap + i : NULL, dots ? dot + i : NULL, dots ? total + i : NULL, NULL, gaps, dots,
                           0);
        }
        return;
    }
    REAL tile[SMALL * TILE], q_tile[SMALL * TILE];
    double out[5][TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t tile_rows = rows - i < TILE ? rows - i : TILE;
        const size_t bytes = (size_t)tile_rows * sizeof(double);
        T(load_tile)(x + i * stride, stride, tile_rows, classes, tile);
        if (stride == classes)
            PREFETCH(x + (i + TILE) * stride, TILE * classes);
        if (dots) {
            T(load_tile)(q + i * q_stride, q_stride, tile_rows, classes, q_tile);
            if (q_stride == classes)
                PREFETCH(q + (i + TILE) * q_stride, TILE * classes);
        }
        T(softmax_tile)(tile, q_tile, classes, out[0], out[1], out[2], out[3], out[4], NULL, gaps, dots, 0);
        memcpy(m + i, out[0], bytes);
        memcpy(u + i, out[1], bytes);
        if (gaps)
            memcpy(gap + i, out[2], bytes);
        if (dots) {
            memcpy(dot + i, out[3], bytes);
            memcpy(total + i, out[4], bytes);
        }
    }
}

KERNEL void T(softmax_rows)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *m,
                            double *u, double *gap)
{
    if (gap)
        T(softmax)(x, stride, NULL, 0, rows, classes, m, u, gap, NULL, NULL, 1, 0);
    else
        T(softmax)(x, stride, NULL, 0, rows, classes, m, u, NULL, NULL, NULL, 0, 0);
}

KERNEL void T(softmax_soft)(const REAL *x, ptrdiff_t stride, const REAL *q, ptrdiff_t q_stride, ptrdiff_t rows,
                            ptrdiff_t classes, double *m, double *u, double *gap, double *dot, double *total)
{
    if (gap)
        T(softmax)(x, stride, q, q_stride, rows, classes, m, u, gap, dot, total, 1, 1);
    else
        T(softmax)(x, stride, q, q_stride, rows, classes, m, u, NULL, dot, total, 0, 1);
}

/* Read one class of each row. */
KERNEL void T(pick)(const REAL *x, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        out[i] = (double)x[i * stride + label[i]];
}

/* Read the same n classes of each row. */
KERNEL void T(gather)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, const int64_t *RESTRICT label, ptrdiff_t n,
                      double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < rows; i++, x += stride, out += n)
        for (ptrdiff_t j = 0; j < n; j++)
            out[j] = (double)x[label[j]];
}

#include "row_sums.h"
#include "row_moments.h"
#include "shares.h"
#include "gradients.h"

#undef T
#undef LANES
#undef CHAIN
#undef SOFT_CHAIN
#undef MOMENT_LINES
#undef BIG
#undef LIFT
#undef SMALLEST_REAL
#undef BITS
#undef SMALL
