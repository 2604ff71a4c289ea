/* Reductions over the classes of each row, for REAL = float or double (WIDE says which).
   The layout is the note b) of kernels.h.

   Terms of a softmax are scaled by 2^LIFT. A float term below 2^-126 would be 0, and 50000
   such terms would be missed; scaled, what is 0 stays below 1e-37 for any number of classes,
   and CHAIN terms of the largest size are still finite. */

#if WIDE
#define T(name) name##_f64
#define BITS uint64_t
#define LANES 32
#define CHAIN 16
#define SMALL 128
#define BIG 2048.0
#define LIFT 0.0
#else
#define T(name) name##_f32
#define BITS uint32_t
#define LANES 64
#define CHAIN 8
#define SMALL 256 /* a tile, and one of soft targets, fit the first cache */
#define BIG 256.0f
#define LIFT 96.0f
#endif

/* A sum in each lane: a short chain, and what was moved out of it. A float chain is below double's
   rounding, so adding is enough; of a double one `low` keeps what additions round away (Knuth's
   two-sum). */
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

/* Moves the chains out, and begins new ones. */
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
    return sum == sum ? sum : s->high[lane]; /* an infinite sum has lost NaN */
#else
    return s->high[lane];
#endif
}

/* Adds the upper half of the lanes to the lower one. */
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

/* The least and the largest value in each lane, 0 and NaN aside. */
typedef struct {
    REAL least[LANES], most[LANES];
} T(range);

INLINE void T(cover)(T(range) *r, int j, REAL x)
{
    r->least[j] = x < r->least[j] ? x : r->least[j];
    r->most[j] = x > r->most[j] ? x : r->most[j];
}

/* Four classes of four rows: from a row each to a line each, `step` apart. */
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

/* Transposes up to TILE rows; the lanes without a row repeat the last one. */
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
        if (classes == 3 && stride == 3 && j + 4 < rows) { /* the next row is there to be read as well */
            T(transpose)(a, b, c, d, tile + j, TILE);
            continue;
        }
        for (; k + 4 <= classes; k += 4)
            T(transpose)(a + k, b + k, c + k, d + k, tile + k * TILE + j, TILE);
        if (k < classes && classes >= 4) { /* once more what is left and some before it */
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

/* m - x and q (m - x) are rounded before they are added: their chains are shorter. */
#define SOFT_CHAIN 4

/* ---- softmax: m the largest x, u the sum of e^(x - m) without the first largest ----
   On request also `gap`, the sum of m - x; and for soft targets q `dot`, the sum of q (m - x) with
   0 * inf = 0, and `total`, the sum of q, which is NaN where one of them is outside [0, 1]. */

/* Far from 0 the reduction of x in exp would lose digits; there x - m is exact for every term that
   counts. */
INLINE REAL T(shift_of)(REAL m)
{
    return m >= BIG || m <= -BIG ? m : 0;
}

INLINE void T(softmax_tile)(const REAL *RESTRICT tile, const REAL *RESTRICT q, ptrdiff_t classes,
                            double *RESTRICT m_out, double *RESTRICT u_out, double *RESTRICT gap_out,
                            double *RESTRICT dot_out, double *RESTRICT total_out, const int gaps, const int dots)
{
    REAL m[TILE], shift[TILE], least[TILE], ties[TILE];
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
    }
    for (ptrdiff_t c = 0; c < classes;) {
        const ptrdiff_t end = c + most_chained < classes ? c + most_chained : classes;
        for (; c < end; c++)
            for (int j = 0; j < TILE; j++) {
                REAL x = tile[c * TILE + j];
                REAL e = T(scaled_exp)(x - shift[j], least[j], start[j]);
                others.chain[j] += x == m[j] ? 0 : e;
                ties[j] += (REAL)(x == m[j]);
                if (gaps)
                    gap.chain[j] += m[j] - x;
                if (dots) {
                    REAL y = q[c * TILE + j];
                    dot.chain[j] += y == 0 ? 0 : y * (m[j] - x);
                    total.chain[j] += y;
                    T(cover)(&range, j, y);
                }
            }
        T(widen)(&others, TILE);
        if (gaps)
            T(widen)(&gap, TILE);
        if (dots) {
            T(widen)(&dot, TILE);
            T(widen)(&total, TILE);
        }
    }
    for (int j = 0; j < TILE; j++) {
        m_out[j] = (double)m[j];
        double largest = (double)T(scaled_exp)(m[j] - shift[j], least[j], start[j]);
        u_out[j] = T(total)(&others, j) / largest + ((double)ties[j] - 1.0);
        if (gaps)
            gap_out[j] = T(total)(&gap, j);
        if (dots) {
            dot_out[j] = T(total)(&dot, j);
            total_out[j] = ((range.least[j] < 0) | (range.most[j] > 1)) ? NOT_A_NUMBER : T(total)(&total, j);
        }
    }
}

/* LANES classes from `at` on: those before lane `skip` have been there before. With `tied` the
   largest are left out of `others`. */
INLINE void T(add_lanes)(const REAL *at, const REAL *q, const int skip, const int tied, REAL m, REAL shift,
                         REAL least, BITS start, T(sums) *others, T(sums) *gap, T(sums) *dot, T(sums) *total,
                         T(range) *range, const int gaps, const int dots)
{
    for (int j = 0; j < LANES; j++) {
        REAL e = T(scaled_exp)(at[j] - shift, least, start);
        others->chain[j] += (j < skip) | (tied & (at[j] == m)) ? 0 : e;
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

/* Lane by lane the larger one. */
INLINE void T(larger)(REAL *RESTRICT most, const REAL *x, const int lanes)
{
    for (int j = 0; j < lanes; j++)
        most[j] = x[j] > most[j] ? x[j] : most[j];
}

INLINE void T(softmax_row)(const REAL *RESTRICT x, const REAL *RESTRICT q, ptrdiff_t classes, ptrdiff_t stride,
                           ptrdiff_t q_stride, double *m_out, double *u_out, double *gap_out, double *dot_out,
                           double *total_out, const int gaps, const int dots)
{
    const int most_chained = gaps || dots ? SOFT_CHAIN : CHAIN;
    REAL most[LANES];
    T(sums) others, gap, dot, total;
    T(range) range;
    const ptrdiff_t tail = classes - LANES; /* the last lanes of the row, some of them for the second time */
    T(clear)(&others, LANES);
    T(clear)(&gap, LANES);
    T(clear)(&dot, LANES);
    T(clear)(&total, LANES);
    for (int j = 0; j < LANES; j++) {
        most[j] = x[tail + j];
        range.least[j] = range.most[j] = 0;
    }
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
    const REAL m = most[0];
    const REAL shift = T(shift_of)(m);
    const REAL top = T(powers)(m - shift) - LIFT;
    const REAL least = T(least)(top);
    const BITS start = T(start)(top);

    /* The lanes where the first largest stands, and how many there are as large. */
    ptrdiff_t block = 0;
    for (; block < tail; block += LANES) {
        int found = 0;
        for (int j = 0; j < LANES; j++)
            found |= x[block + j] == m;
        if (found)
            break;
    }
    const REAL *at = x + (block < tail ? block : tail);
    int ties = 0;
    for (int j = 0; j < LANES; j++)
        ties += at[j] == m;

    for (ptrdiff_t c = 0; c < classes;) {
        for (int k = 0; k < most_chained && c < classes; k++, c += LANES) {
            PREFETCH(x + stride + c, LANES);
            if (dots)
                PREFETCH(q + q_stride + c, LANES);
            const int tied = c == block;
            const ptrdiff_t from = c < tail ? c : tail;
            if (c < tail && !tied) /* most of them: said twice, so that nothing is compared here */
                T(add_lanes)(x + c, q + c, 0, 0, m, shift, least, start, &others, &gap, &dot, &total, &range, gaps,
                             dots);
            else
                T(add_lanes)(x + from, q + from, (int)(c - from), tied, m, shift, least, start, &others, &gap,
                             &dot, &total, &range, gaps, dots);
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
                           gaps ? gap + i : NULL, dots ? dot + i : NULL, dots ? total + i : NULL, gaps, dots);
        }
        return;
    }
    REAL tile[SMALL * TILE], q_tile[SMALL * TILE];
    double out[5][TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t some = rows - i < TILE ? rows - i : TILE;
        const size_t bytes = (size_t)some * sizeof(double);
        T(load_tile)(x + i * stride, stride, some, classes, tile);
        if (stride == classes)
            PREFETCH(x + (i + TILE) * stride, TILE * classes);
        if (dots) {
            T(load_tile)(q + i * q_stride, q_stride, some, classes, q_tile);
            if (q_stride == classes)
                PREFETCH(q + (i + TILE) * q_stride, TILE * classes);
        }
        T(softmax_tile)(tile, q_tile, classes, out[0], out[1], out[2], out[3], out[4], gaps, dots);
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

/* One class of each row. */
KERNEL void T(pick)(const REAL *x, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        out[i] = (double)x[i * stride + label[i]];
}

/* n classes of each row. */
KERNEL void T(gather)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, const int64_t *RESTRICT label, ptrdiff_t n,
                      double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < rows; i++, x += stride, out += n)
        for (ptrdiff_t j = 0; j < n; j++)
            out[j] = (double)x[label[j]];
}

/* ---- sums of probabilities, or (logs) of those whose logarithms are given: NaN where one is outside [0, 1] ---- */

INLINE REAL T(share)(REAL x, const int logs)
{
    return logs ? T(scaled_exp)(x, T(least)(0), T(start)(0)) : x;
}

INLINE int T(beyond)(const T(range) *r, int j, const int logs)
{
    return logs ? r->most[j] > 0 : (r->least[j] < 0) | (r->most[j] > 1);
}

INLINE void T(sum_tile)(const REAL *RESTRICT tile, ptrdiff_t classes, double *RESTRICT out, const int chain,
                          const int logs)
{
    T(sums) sum;
    T(range) range;
    T(clear)(&sum, TILE);
    for (int j = 0; j < TILE; j++)
        range.least[j] = range.most[j] = 0;
    for (ptrdiff_t c = 0; c < classes;) {
        const ptrdiff_t end = c + chain < classes ? c + chain : classes;
        for (; c < end; c++)
            for (int j = 0; j < TILE; j++) {
                sum.chain[j] += T(share)(tile[c * TILE + j], logs);
                T(cover)(&range, j, tile[c * TILE + j]);
            }
        T(widen)(&sum, TILE);
    }
    for (int j = 0; j < TILE; j++)
        out[j] = T(beyond)(&range, j, logs) ? NOT_A_NUMBER : T(total)(&sum, j);
}

INLINE void T(add_probs)(const REAL *at, const int skip, T(sums) *sum, T(range) *range, const int logs)
{
    for (int j = 0; j < LANES; j++) {
        REAL p = T(share)(at[j], logs);
        sum->chain[j] += j < skip ? 0 : p;
        T(cover)(range, j, at[j]);
    }
}

INLINE double T(sum_row)(const REAL *RESTRICT p, ptrdiff_t classes, ptrdiff_t stride, const int chain, const int logs)
{
    T(sums) sum;
    T(range) range;
    const ptrdiff_t tail = classes - LANES;
    T(clear)(&sum, LANES);
    for (int j = 0; j < LANES; j++)
        range.least[j] = range.most[j] = 0;
    for (ptrdiff_t c = 0; c < classes;) {
        for (int k = 0; k < chain && c < classes; k++, c += LANES) {
            if (logs)
                PREFETCH(p + stride + c, LANES);
            if (c < tail)
                T(add_probs)(p + c, 0, &sum, &range, logs);
            else
                T(add_probs)(p + tail, (int)(c - tail), &sum, &range, logs);
        }
        T(widen)(&sum, LANES);
    }
    int outside = 0;
    for (int j = 0; j < LANES; j++)
        outside |= T(beyond)(&range, j, logs);
    return outside ? NOT_A_NUMBER : T(across)(&sum);
}

INLINE void T(sums_of_rows)(const REAL *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum,
                            const int chain, const int logs)
{
    if (classes > SMALL) {
        for (ptrdiff_t i = 0; i < rows; i++)
            sum[i] = T(sum_row)(p + i * stride, classes, stride, chain, logs);
        return;
    }
    REAL tile[SMALL * TILE];
    double tile_sum[TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        ptrdiff_t some = rows - i < TILE ? rows - i : TILE;
        T(load_tile)(p + i * stride, stride, some, classes, tile);
        if (stride == classes)
            PREFETCH(p + (i + TILE) * stride, TILE * classes);
        T(sum_tile)(tile, classes, tile_sum, chain, logs);
        memcpy(sum + i, tile_sum, (size_t)some * sizeof(double));
    }
}

KERNEL void T(sum_rows)(const REAL *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum)
{
    T(sums_of_rows)(p, stride, rows, classes, sum, CHAIN, 0);
}

/* The total of softmax_soft, to the same bits. */
KERNEL void T(soft_totals)(const REAL *q, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *total)
{
    T(sums_of_rows)(q, stride, rows, classes, total, SOFT_CHAIN, 0);
}

KERNEL void T(sum_exps)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum)
{
    T(sums_of_rows)(x, stride, rows, classes, sum, CHAIN, 1);
}

#if WIDE
/* ---- sums of products, for soft targets and smoothing ---- */

INLINE double product(double a, double b)
{
    return b == 0.0 ? 0.0 : a * b; /* 0 * inf is 0 */
}

INLINE void add_products(const double *a, const double *b, const int skip, sums_f64 *sum)
{
    for (int j = 0; j < LANES; j++)
        sum->chain[j] += j < skip ? 0.0 : product(a[j], b[j]);
}

INLINE double dot_row(const double *RESTRICT a, const double *RESTRICT b, ptrdiff_t classes)
{
    double padded_a[LANES], padded_b[LANES];
    sums_f64 sum;
    if (classes < LANES) {
        for (int j = 0; j < LANES; j++)
            padded_a[j] = padded_b[j] = 0;
        memcpy(padded_a, a, (size_t)classes * sizeof(double));
        memcpy(padded_b, b, (size_t)classes * sizeof(double));
        a = padded_a;
        b = padded_b;
        classes = LANES;
    }
    const ptrdiff_t tail = classes - LANES;
    clear_f64(&sum, LANES);
    for (ptrdiff_t c = 0; c < classes;) {
        for (int k = 0; k < CHAIN && c < classes; k++, c += LANES) {
            if (c < tail)
                add_products(a + c, b + c, 0, &sum);
            else
                add_products(a + tail, b + tail, (int)(c - tail), &sum);
        }
        widen_f64(&sum, LANES);
    }
    return across_f64(&sum);
}

/* Sums of rows, class after class; what additions round away is kept. */
KERNEL void sum_in_order(const double *v, ptrdiff_t rows, ptrdiff_t classes, double *out)
{
    double tile[SMALL * TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t some = rows - i < TILE ? rows - i : TILE;
        double high[TILE], low[TILE];
        for (int j = 0; j < TILE; j++)
            high[j] = low[j] = 0;
        for (ptrdiff_t from = 0; from < classes; from += SMALL) {
            const ptrdiff_t few = classes - from < SMALL ? classes - from : SMALL;
            load_tile_f64(v + i * classes + from, classes, some, few, tile);
            for (ptrdiff_t c = 0; c < few; c++)
                for (int j = 0; j < TILE; j++)
                    high[j] = add_f64(high[j], tile[c * TILE + j], low + j);
        }
        for (ptrdiff_t j = 0; j < some; j++) {
            const double sum = high[j] + low[j];
            out[i + j] = sum == sum ? sum : high[j]; /* an infinite sum has lost NaN */
        }
    }
}

KERNEL void dot_rows(const double *a, ptrdiff_t stride, const double *b, ptrdiff_t b_stride, ptrdiff_t rows,
                     ptrdiff_t classes, double *dot)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        dot[i] = dot_row(a + i * stride, b + i * b_stride, classes);
}
#endif

#include "gradients.h"

#undef T
#undef LANES
#undef CHAIN
#undef SOFT_CHAIN
#undef BIG
#undef LIFT
#undef BITS
#undef SMALL
