/* Sums over the classes of each row, for REAL = float or double. rows.h includes this file, which uses its
   tiles and lanes. */

/* ---- sums of probabilities, or with `logs` of those whose logarithms are given; NaN if one is outside [0, 1] ---- */

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
        ptrdiff_t tile_rows = rows - i < TILE ? rows - i : TILE;
        T(load_tile)(p + i * stride, stride, tile_rows, classes, tile);
        if (stride == classes)
            PREFETCH(p + (i + TILE) * stride, TILE * classes);
        T(sum_tile)(tile, classes, tile_sum, chain, logs);
        memcpy(sum + i, tile_sum, (size_t)tile_rows * sizeof(double));
    }
}

KERNEL void T(sum_rows)(const REAL *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum)
{
    T(sums_of_rows)(p, stride, rows, classes, sum, CHAIN, 0);
}

/* The total of softmax_soft, with the same bits. */
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

/* Sum rows, class after class. The rounding errors are summed and added at the end. */
KERNEL void sum_in_order(const double *v, ptrdiff_t rows, ptrdiff_t classes, double *out)
{
    double tile[SMALL * TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t tile_rows = rows - i < TILE ? rows - i : TILE;
        double high[TILE], low[TILE];
        for (int j = 0; j < TILE; j++)
            high[j] = low[j] = 0;
        for (ptrdiff_t from = 0; from < classes; from += SMALL) {
            const ptrdiff_t tile_classes = classes - from < SMALL ? classes - from : SMALL;
            load_tile_f64(v + i * classes + from, classes, tile_rows, tile_classes, tile);
            for (ptrdiff_t c = 0; c < tile_classes; c++)
                for (int j = 0; j < TILE; j++)
                    high[j] = add_f64(high[j], tile[c * TILE + j], low + j);
        }
        for (ptrdiff_t j = 0; j < tile_rows; j++) {
            const double sum = high[j] + low[j];
            out[i + j] = sum == sum ? sum : high[j]; /* the rounding error of an infinite sum is NaN */
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
