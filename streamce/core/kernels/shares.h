/* Sums of the probabilities of many rows, class by class. rows.h includes this file.

   A term t is a probability times a weight. Terms from SHARE_LEAST to SHARE_MOST are rounded to a multiple of
   2^-SHARE_LOW, which loses less than 2^-25 of them, and split into multiples of 2^-SHARE_HIGH and of 2^-SHARE_LOW.
   These are the low bits of v + 1.5 * 2^(52 - bit), as in exact.h, and are added as integers. Other terms, which are
   rare, are left out. The caller adds them one by one. */

#ifndef HIGH_MAGIC
/* Rows that are added together. */
#define SHARE_LINES 4
#define HIGH_MAGIC 384.0                 /* 1.5 * 2^(52 - SHARE_HIGH) */
#define LOW_MAGIC 1.7053025658242404e-13 /* 1.5 * 2^(52 - SHARE_LOW) */
#endif

/* How to compute the terms of TILE rows. Terms are left out below `low` and above `high`. */
typedef struct {
    REAL shift[TILE], least[TILE], low[TILE], high[TILE];
    BITS start[TILE];
    double factor[TILE];
} T(scales);

INLINE void T(scales_of)(const ptrdiff_t *order, ptrdiff_t n, const double *largest, const double *factor,
                         T(scales) *RESTRICT s, const int logs)
{
    REAL m[TILE], first[TILE];
    double f[TILE];
    for (ptrdiff_t j = 0; j < TILE; j++) {
        const ptrdiff_t row = order[j < n ? j : n - 1];
        m[j] = logs ? (REAL)largest[row] : 0;
        f[j] = factor[row];
    }
    for (int j = 0; j < TILE; j++) {
        s->shift[j] = logs ? T(shift_of)(m[j]) : 0;
        const REAL top = T(powers)(m[j] - s->shift[j]);
        s->least[j] = T(least)(top);
        s->start[j] = T(start)(top);
        first[j] = logs ? T(scaled_exp)(m[j] - s->shift[j], s->least[j], s->start[j]) : 1;
    }
    VECTORISED
    for (int j = 0; j < TILE; j++) {
        s->factor[j] = f[j] / (double)first[j];
        const REAL low = (REAL)(SHARE_LEAST / s->factor[j]);
        s->low[j] = low > SMALLEST_REAL ? low : SMALLEST_REAL; /* also for NaN */
        s->high[j] = (REAL)(SHARE_MOST / s->factor[j]);
        s->factor[j] = s->factor[j] <= 1e300 ? s->factor[j] : 0.0; /* for which all terms are left out */
    }
}

/* Set e to TILE terms of row k, without their factor. Those that are left out, and lanes without a class, are 0. */
INLINE void T(pick_shares)(const REAL *x, ptrdiff_t classes, const T(scales) *s, int k, REAL *RESTRICT e,
                           BITS *RESTRICT missing, const int logs, const int whole)
{
    const REAL none = logs ? (REAL)-INFINITE : 0;
    const REAL shift = s->shift[k], least = s->least[k], low = s->low[k], high = s->high[k];
    const BITS start = s->start[k];
    REAL copy[TILE], in[TILE];
    memcpy(copy, x, sizeof copy);
    for (int j = 0; j < TILE; j++)
        in[j] = whole | (j < classes) ? copy[j] : none;
    for (int j = 0; j < TILE; j++) {
        const REAL v = in[j];
        const REAL p = logs ? T(scaled_exp)(v - shift, least, start) : T(at_most_1)(v);
        const int fits = (p >= low) & (p <= high);
        e[j] = fits ? p : 0;
        missing[j] |= !fits & (v != none) ? 1 : 0;
    }
}

/* Split a term, and add its parts without the bits of the magic numbers. */
#define ADD_PARTS(e, factor)                          \
    do {                                              \
        const double t = (double)(e) * (factor);      \
        const double sum = t + HIGH_MAGIC;            \
        const double rest = t - (sum - HIGH_MAGIC);   \
        upper += bits_f64(sum);                       \
        lower += bits_f64(rest + LOW_MAGIC);          \
    } while (0)

/* Add TILE classes of SHARE_LINES rows, so that the sums are read and written once. */
INLINE void T(add_parts)(const REAL *RESTRICT e, const double *factor, uint64_t *RESTRICT high,
                         uint64_t *RESTRICT low)
{
    const double f0 = factor[0], f1 = factor[1], f2 = factor[2], f3 = factor[3];
    const uint64_t high_bits = SHARE_LINES * bits_f64(HIGH_MAGIC), low_bits = SHARE_LINES * bits_f64(LOW_MAGIC);
    VECTORISED
    for (int j = 0; j < TILE; j++) {
        uint64_t upper = high[j] - high_bits, lower = low[j] - low_bits;
        ADD_PARTS(e[j], f0);
        ADD_PARTS(e[TILE + j], f1);
        ADD_PARTS(e[2 * TILE + j], f2);
        ADD_PARTS(e[3 * TILE + j], f3);
        high[j] = upper;
        low[j] = lower;
    }
}

INLINE int T(add_rows)(const REAL *x, ptrdiff_t classes, const ptrdiff_t *order, ptrdiff_t n, const double *largest,
                       const double *factor, uint64_t *RESTRICT high, uint64_t *RESTRICT low, const int logs)
{
    REAL e[SHARE_LINES * TILE];
    BITS missing[TILE], any = 0;
    T(scales) s;
    for (int j = 0; j < TILE; j++)
        missing[j] = 0;
    for (ptrdiff_t i = 0; i < n; i += SHARE_LINES) {
        const int lines = n - i < SHARE_LINES ? (int)(n - i) : SHARE_LINES, from = (int)(i % TILE);
        if (from == 0)
            T(scales_of)(order + i, n - i, largest, factor, &s, logs);
        for (int j = lines * TILE; j < SHARE_LINES * TILE; j++)
            e[j] = 0;
        for (ptrdiff_t c = 0; c < classes; c += TILE) {
            for (int k = 0; k < lines; k++) {
                const REAL *at = x + order[i + k] * classes + c;
                if (c + TILE <= classes)
                    T(pick_shares)(at, TILE, &s, from + k, e + k * TILE, missing, logs, 1);
                else
                    T(pick_shares)(at, classes - c, &s, from + k, e + k * TILE, missing, logs, 0);
            }
            T(add_parts)(e, s.factor + from, high + c, low + c);
        }
    }
    for (int j = 0; j < TILE; j++)
        any |= missing[j];
    return any != 0;
}

/* Add the terms of the rows in `order`. Return whether any is left out. Reads up to TILE - 1 values after a row. */
KERNEL int T(add_shares)(const REAL *x, ptrdiff_t classes, const ptrdiff_t *order, ptrdiff_t n, const double *largest,
                         const double *factor, int logs, uint64_t *high, uint64_t *low)
{
    return logs ? T(add_rows)(x, classes, order, n, largest, factor, high, low, 1)
                : T(add_rows)(x, classes, order, n, largest, factor, high, low, 0);
}

/* Set `left` to 1 for each class of a row whose term add_shares leaves out, else to 0. Return whether there is one. */
KERNEL int T(left_shares)(const REAL *x, ptrdiff_t classes, double largest, double factor, int logs,
                          uint8_t *RESTRICT left)
{
    const ptrdiff_t only = 0;
    T(scales) s;
    int any = 0;
    if (logs)
        T(scales_of)(&only, 1, &largest, &factor, &s, 1);
    else
        T(scales_of)(&only, 1, &largest, &factor, &s, 0);
    for (ptrdiff_t c = 0; c < classes; c += TILE) {
        const ptrdiff_t n = classes - c < TILE ? classes - c : TILE;
        REAL e[TILE];
        BITS missing[TILE];
        for (int j = 0; j < TILE; j++)
            missing[j] = 0;
        if (logs)
            T(pick_shares)(x + c, n, &s, 0, e, missing, 1, 0);
        else
            T(pick_shares)(x + c, n, &s, 0, e, missing, 0, 0);
        for (ptrdiff_t j = 0; j < n; j++) {
            left[c + j] = (uint8_t)missing[j];
            any |= left[c + j];
        }
    }
    return any;
}

#undef ADD_PARTS
