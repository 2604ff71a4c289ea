/* Reductions over the classes of each row, for REAL = float or double (WIDE says which).
   The layout is the note b) of kernels.h.

   Terms of a softmax are scaled by 2^LIFT. A float term below 2^-126 would be 0, and 50000
   such terms would be missed; scaled, what is 0 stays below 1e-37 for any number of classes,
   and CHAIN terms of the largest size are still finite. */

#if WIDE
#define T(name) name##_f64
#define LANES 32
#define CHAIN 16
#define BIG 2048.0
#define LIFT 0.0
#define INF_NEGATIVE real64(0xfff0000000000000u)
#else
#define T(name) name##_f32
#define LANES 64
#define CHAIN 8
#define BIG 256.0f
#define LIFT 96.0f
#define INF_NEGATIVE real32(0xff800000u)
#endif
#define TILE 64
#define SMALL 64

/* Moves chains into wide lanes. A float chain is below double's rounding: adding is enough.
   A double chain keeps what each addition rounds away (Knuth's two-sum) in a second lane. */
INLINE void T(widen)(const REAL *RESTRICT chain, double *RESTRICT high, double *RESTRICT low, int lanes)
{
    for (int j = 0; j < lanes; j++) {
        double s = high[j] + (double)chain[j];
#if WIDE
        double v = s - high[j];
        low[j] += (high[j] - (s - v)) + (chain[j] - v);
#endif
        high[j] = s;
    }
#if !WIDE
    (void)low;
#endif
}

/* The sum over the lanes, halving. */
INLINE double T(across)(double *RESTRICT high, double *RESTRICT low)
{
#if WIDE
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) {
            double a = high[j], b = high[j + half], s = a + b, v = s - a;
            low[j] += low[j + half] + ((a - (s - v)) + (b - v));
            high[j] = s;
        }
    return high[0] + low[0];
#else
    (void)low;
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            high[j] += high[j + half];
    return high[0];
#endif
}

/* Transposes up to TILE rows; the lanes without a row are 0. */
INLINE void T(load_tile)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes,
                         REAL *RESTRICT tile)
{
    if (rows == TILE) {
        for (ptrdiff_t c = 0; c < classes; c++)
            for (ptrdiff_t j = 0; j < TILE; j++)
                tile[c * TILE + j] = x[j * stride + c];
        return;
    }
    memset(tile, 0, (size_t)classes * TILE * sizeof(REAL));
    for (ptrdiff_t j = 0; j < rows; j++)
        for (ptrdiff_t c = 0; c < classes; c++)
            tile[c * TILE + j] = x[j * stride + c];
}

/* A row's classes from c on as LANES values, the missing ones `pad`. */
INLINE const REAL *T(lanes_at)(const REAL *x, ptrdiff_t c, ptrdiff_t classes, REAL pad, REAL *RESTRICT copy)
{
    if (c + LANES <= classes)
        return x + c;
    for (ptrdiff_t j = 0; j < LANES; j++)
        copy[j] = pad;
    memcpy(copy, x + c, (size_t)(classes - c) * sizeof(REAL));
    return copy;
}

/* ---- softmax: largest x, and the sum of e^(x - largest) without the largest ---- */

KERNEL void T(softmax_tile)(const REAL *RESTRICT tile, ptrdiff_t classes, double *RESTRICT m_out,
                            double *RESTRICT u_out)
{
    REAL m[TILE], first[TILE], shift[TILE], top[TILE], largest[TILE], chain[TILE];
    double high[TILE], low[TILE];
    for (int j = 0; j < TILE; j++) {
        m[j] = tile[j];
        first[j] = 0;
        largest[j] = chain[j] = 0;
        high[j] = low[j] = 0;
    }
    for (ptrdiff_t c = 1; c < classes; c++)
        for (int j = 0; j < TILE; j++) {
            REAL x = tile[c * TILE + j];
            first[j] = x > m[j] ? (REAL)c : first[j];
            m[j] = x > m[j] ? x : m[j];
        }
    for (int j = 0; j < TILE; j++) {
        /* Far from 0 the reduction of x would lose digits; there x - m is exact for every
           term that counts. */
        shift[j] = m[j] >= BIG || m[j] <= -BIG ? m[j] : 0;
        top[j] = T(powers)(m[j] - shift[j]) - LIFT;
    }
    for (ptrdiff_t c = 0; c < classes;) {
        ptrdiff_t end = c + CHAIN < classes ? c + CHAIN : classes;
        for (; c < end; c++)
            for (int j = 0; j < TILE; j++) {
                REAL e = T(scaled_exp)(tile[c * TILE + j] - shift[j], top[j]);
                largest[j] = first[j] == (REAL)c ? e : largest[j];
                chain[j] += first[j] == (REAL)c ? (REAL)0 : e;
            }
        T(widen)(chain, high, low, TILE);
        for (int j = 0; j < TILE; j++)
            chain[j] = 0;
    }
    for (int j = 0; j < TILE; j++) {
        m_out[j] = (double)m[j];
        u_out[j] = (high[j] + low[j]) / (double)largest[j];
    }
}

KERNEL void T(softmax_row)(const REAL *RESTRICT x, ptrdiff_t classes, double *m_out, double *u_out)
{
    REAL copy[LANES], most[LANES], chain[LANES];
    double high[LANES], low[LANES];
    for (int j = 0; j < LANES; j++) {
        most[j] = INF_NEGATIVE;
        high[j] = low[j] = 0;
    }
    for (ptrdiff_t c = 0; c < classes; c += LANES) {
        const REAL *at = T(lanes_at)(x, c, classes, INF_NEGATIVE, copy);
        for (int j = 0; j < LANES; j++)
            most[j] = at[j] > most[j] ? at[j] : most[j];
    }
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            most[j] = most[j + half] > most[j] ? most[j + half] : most[j];
    const REAL m = most[0];
    const REAL shift = m >= BIG || m <= -BIG ? m : 0;
    const REAL top = T(powers)(m - shift) - LIFT;

    /* Where the largest first stands. It is found even if it is the padding's -inf. */
    ptrdiff_t block = 0, first = 0;
    for (; block < classes; block += LANES) {
        const REAL *at = T(lanes_at)(x, block, classes, INF_NEGATIVE, copy);
        int found = 0;
        for (int j = 0; j < LANES; j++)
            found |= at[j] == m;
        if (found) {
            while (first < LANES - 1 && at[first] != m) /* bounded, should another thread write to x */
                first++;
            break;
        }
    }

    for (ptrdiff_t c = 0; c < classes;) {
        for (int j = 0; j < LANES; j++)
            chain[j] = 0;
        for (int k = 0; k < CHAIN && c < classes; k++, c += LANES) {
            const REAL *at = T(lanes_at)(x, c, classes, INF_NEGATIVE, copy);
            if (c == block) { /* leave the largest out */
                if (at != copy)
                    memcpy(copy, at, sizeof copy);
                copy[first] = INF_NEGATIVE;
                at = copy;
            }
            for (int j = 0; j < LANES; j++)
                chain[j] += T(scaled_exp)(at[j] - shift, top);
        }
        T(widen)(chain, high, low, LANES);
    }
    *m_out = (double)m;
    *u_out = T(across)(high, low) / (double)T(scaled_exp)(m - shift, top);
}

KERNEL void T(softmax_rows)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *m,
                            double *u)
{
    if (classes > SMALL) {
        for (ptrdiff_t i = 0; i < rows; i++)
            T(softmax_row)(x + i * stride, classes, m + i, u + i);
        return;
    }
    REAL tile[SMALL * TILE];
    double tile_m[TILE], tile_u[TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        ptrdiff_t some = rows - i < TILE ? rows - i : TILE;
        T(load_tile)(x + i * stride, stride, some, classes, tile);
        T(softmax_tile)(tile, classes, tile_m, tile_u);
        memcpy(m + i, tile_m, (size_t)some * sizeof(double));
        memcpy(u + i, tile_u, (size_t)some * sizeof(double));
    }
}

/* ---- sums of probabilities: NaN where one of them is outside [0, 1] ---- */

KERNEL void T(sum_tile)(const REAL *RESTRICT tile, ptrdiff_t classes, double *RESTRICT sum)
{
    REAL least[TILE], most[TILE], chain[TILE];
    double high[TILE], low[TILE];
    for (int j = 0; j < TILE; j++) {
        least[j] = most[j] = tile[j];
        chain[j] = 0;
        high[j] = low[j] = 0;
    }
    for (ptrdiff_t c = 0; c < classes;) {
        ptrdiff_t end = c + CHAIN < classes ? c + CHAIN : classes;
        for (; c < end; c++)
            for (int j = 0; j < TILE; j++) {
                REAL p = tile[c * TILE + j];
                least[j] = p < least[j] ? p : least[j];
                most[j] = p > most[j] ? p : most[j];
                chain[j] += p;
            }
        T(widen)(chain, high, low, TILE);
        for (int j = 0; j < TILE; j++)
            chain[j] = 0;
    }
    for (int j = 0; j < TILE; j++)
        sum[j] = least[j] >= 0 && most[j] <= 1 ? high[j] + low[j] : real64(0x7ff8000000000000u);
}

KERNEL double T(sum_row)(const REAL *RESTRICT p, ptrdiff_t classes)
{
    REAL copy[LANES], least[LANES], most[LANES], chain[LANES];
    double high[LANES], low[LANES];
    for (int j = 0; j < LANES; j++) {
        least[j] = most[j] = 0;
        high[j] = low[j] = 0;
    }
    for (ptrdiff_t c = 0; c < classes;) {
        for (int j = 0; j < LANES; j++)
            chain[j] = 0;
        for (int k = 0; k < CHAIN && c < classes; k++, c += LANES) {
            const REAL *at = T(lanes_at)(p, c, classes, 0, copy);
            for (int j = 0; j < LANES; j++) {
                least[j] = at[j] < least[j] ? at[j] : least[j];
                most[j] = at[j] > most[j] ? at[j] : most[j];
                chain[j] += at[j];
            }
        }
        T(widen)(chain, high, low, LANES);
    }
    int outside = 0;
    for (int j = 0; j < LANES; j++)
        outside |= (least[j] < 0) | (most[j] > 1);
    return outside ? real64(0x7ff8000000000000u) : T(across)(high, low);
}

KERNEL void T(sum_rows)(const REAL *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum)
{
    if (classes > SMALL) {
        for (ptrdiff_t i = 0; i < rows; i++)
            sum[i] = T(sum_row)(p + i * stride, classes);
        return;
    }
    REAL tile[SMALL * TILE];
    double tile_sum[TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        ptrdiff_t some = rows - i < TILE ? rows - i : TILE;
        T(load_tile)(p + i * stride, stride, some, classes, tile);
        T(sum_tile)(tile, classes, tile_sum);
        memcpy(sum + i, tile_sum, (size_t)some * sizeof(double));
    }
}

#if WIDE
/* ---- sums of products, for soft targets and smoothing ---- */

INLINE double product(double a, double b)
{
    return b == 0.0 ? 0.0 : a * b; /* 0 * inf is 0 */
}

KERNEL double dot_row(const double *RESTRICT a, const double *RESTRICT b, ptrdiff_t classes)
{
    if (classes <= CHAIN) {
        double sum = 0;
        for (ptrdiff_t c = 0; c < classes; c++)
            sum += product(a[c], b[c]);
        return sum;
    }
    double copy_a[LANES], copy_b[LANES], chain[LANES], high[LANES], low[LANES];
    for (int j = 0; j < LANES; j++)
        high[j] = low[j] = 0;
    for (ptrdiff_t c = 0; c < classes;) {
        for (int j = 0; j < LANES; j++)
            chain[j] = 0;
        for (int k = 0; k < CHAIN && c < classes; k++, c += LANES) {
            const double *x = lanes_at_f64(a, c, classes, 0, copy_a);
            const double *y = lanes_at_f64(b, c, classes, 0, copy_b);
            for (int j = 0; j < LANES; j++)
                chain[j] += product(x[j], y[j]);
        }
        widen_f64(chain, high, low, LANES);
    }
    double sum = across_f64(high, low);
    /* inf - inf in the two-sum is NaN; a sum that holds an infinity and no NaN is inf. */
    if (sum != sum) {
        int infinite = 0;
        for (ptrdiff_t c = 0; c < classes; c++) {
            double p = product(a[c], b[c]);
            if (p != p)
                return sum;
            infinite |= p > 1.7976931348623157e308;
        }
        if (infinite)
            return real64(0x7ff0000000000000u);
    }
    return sum;
}

KERNEL void dot_rows(const double *a, ptrdiff_t stride, const double *b, ptrdiff_t b_stride, ptrdiff_t rows,
                     ptrdiff_t classes, double *dot)
{
    for (ptrdiff_t i = 0; i < rows; i++)
        dot[i] = dot_row(a + i * stride, b + i * b_stride, classes);
}
#endif

#undef T
#undef LANES
#undef CHAIN
#undef BIG
#undef LIFT
#undef INF_NEGATIVE
#undef TILE
#undef SMALL
