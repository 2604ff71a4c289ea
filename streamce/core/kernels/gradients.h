/* Gradients of weighted losses with respect to predictions, for REAL = float or double. rows.h includes
   this file, which uses its tiles and lanes. Each entry of a gradient is a function of its own prediction
   and of a few numbers of its row. Nothing is summed here, so any layout of the lanes gives the same bits.

   Softmax: with the share v_c of class c and the row factor W = weight * sum of v_c,

       dn/dx_c = W p_c - weight * v_c        p_c = e^(x_c - m) / (1 + u)

   For a class with more than half of the probability (u < 1), p_c is computed as 1 - u / (1 + u), which
   keeps the digits of the small difference from 1 of a confident prediction. The exponentials are computed
   again, because that is cheaper than storing them. */

/* Numbers of each of TILE rows that all entries of a row share. `major` is the logit of a class with more than half
   of the probability, or NaN. */
typedef struct {
    REAL major[TILE], shift[TILE], least[TILE], scale[TILE], row_factor[TILE], rest[TILE], share[TILE], base[TILE];
    BITS start[TILE];
} T(slopes);

INLINE void T(slopes_of)(const double *RESTRICT m, const double *RESTRICT u, const double *RESTRICT row_factor,
                         const double *RESTRICT share, const double *RESTRICT base, T(slopes) *RESTRICT s)
{
    for (int j = 0; j < TILE; j++) {
        const REAL most = (REAL)m[j];
        s->major[j] = u[j] < 1.0 ? most : (REAL)NOT_A_NUMBER;
        s->shift[j] = T(shift_of)(most);
        const REAL top = T(powers)(most - s->shift[j]);
        s->least[j] = T(least)(top);
        s->start[j] = T(start)(top);
        const double largest = (double)T(scaled_exp)(most - s->shift[j], s->least[j], s->start[j]);
        s->scale[j] = (REAL)(row_factor[j] / ((1.0 + u[j]) * largest));
        s->row_factor[j] = (REAL)row_factor[j];
        s->rest[j] = (REAL)(row_factor[j] * (u[j] / (1.0 + u[j])));
        s->share[j] = (REAL)share[j];
        s->base[j] = (REAL)base[j];
    }
}

/* Compute one entry. y is its soft target. `mixed` says whether a share is subtracted. */
INLINE REAL T(slope)(REAL x, REAL y, REAL major, REAL shift, REAL least, BITS start, REAL scale, REAL row_factor,
                     REAL rest, REAL share, REAL base, const int mixed, const int dots)
{
    const REAL p = T(scaled_exp)(x - shift, least, start) * scale;
    if (!mixed)
        return p;
    const REAL own = dots ? y * share + base : base;
    const REAL at_major = (row_factor - own) - rest, elsewhere = p - own;
    return x == major ? at_major : elsewhere;
}

INLINE void T(slope_tile)(REAL *RESTRICT tile, const REAL *RESTRICT q, ptrdiff_t classes,
                          const T(slopes) *RESTRICT s, const int mixed, const int dots)
{
    for (ptrdiff_t c = 0; c < classes; c++)
        for (int j = 0; j < TILE; j++)
            tile[c * TILE + j] =
                T(slope)(tile[c * TILE + j], dots ? q[c * TILE + j] : 0, s->major[j], s->shift[j], s->least[j],
                         s->start[j], s->scale[j], s->row_factor[j], s->rest[j], s->share[j], s->base[j], mixed, dots);
}

/* Classes that are computed together. Rows have at least as many, and the last ones may be computed twice. */
#define WIDTH 32

INLINE void T(slope_row)(const REAL *RESTRICT x, const REAL *RESTRICT q, ptrdiff_t classes,
                         const T(slopes) *RESTRICT s, int i, REAL *RESTRICT out, const int mixed, const int dots)
{
    const REAL major = s->major[i], shift = s->shift[i], least = s->least[i], scale = s->scale[i];
    const REAL row_factor = s->row_factor[i], rest = s->rest[i], share = s->share[i], base = s->base[i];
    const BITS start = s->start[i];
    for (ptrdiff_t c = 0; c < classes; c += WIDTH) {
        const ptrdiff_t at = c < classes - WIDTH ? c : classes - WIDTH;
        for (int j = 0; j < WIDTH; j++)
            out[at + j] = T(slope)(x[at + j], dots ? q[at + j] : 0, major, shift, least, start, scale, row_factor, rest,
                                   share, base, mixed, dots);
    }
}

/* Transpose a tile back to rows. */
INLINE void T(store_tile)(const REAL *RESTRICT tile, ptrdiff_t rows, ptrdiff_t classes, REAL *RESTRICT out,
                          ptrdiff_t stride)
{
    if (rows == TILE && classes == 2 && stride == 2) {
        for (int j = 0; j < TILE; j++) {
            out[2 * j] = tile[j];
            out[2 * j + 1] = tile[TILE + j];
        }
        return;
    }
    const ptrdiff_t by_fours = classes >= 4 ? rows - rows % 4 : 0;
    for (ptrdiff_t j = 0; j < by_fours; j += 4)
        for (ptrdiff_t c = 0; c < classes; c += 4) {
            const ptrdiff_t k = c + 4 <= classes ? c : classes - 4;
            const REAL *from = tile + k * TILE + j;
            T(transpose)(from, from + TILE, from + 2 * TILE, from + 3 * TILE, out + j * stride + k, stride);
        }
    for (ptrdiff_t j = by_fours; j < rows; j++)
        for (ptrdiff_t c = 0; c < classes; c++)
            out[j * stride + c] = tile[c * TILE + j];
}

INLINE void T(softmax_slopes)(const REAL *x, ptrdiff_t stride, const REAL *q, ptrdiff_t q_stride, ptrdiff_t rows,
                              ptrdiff_t classes, const double *m, const double *u, const double *row_factor,
                              const double *share, const double *base, REAL *out, ptrdiff_t out_stride,
                              const int mixed, const int dots)
{
    REAL tile[WIDTH * TILE], q_tile[WIDTH * TILE];
    double in[5][TILE];
    T(slopes) s;
    const int tiled = classes <= WIDTH;
    if (dots && tiled && !q_stride) /* all rows have the same line */
        for (ptrdiff_t c = 0; c < classes; c++)
            for (int j = 0; j < TILE; j++)
                q_tile[c * TILE + j] = q[c];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t tile_rows = rows - i < TILE ? rows - i : TILE;
        if (tile_rows == TILE)
            T(slopes_of)(m + i, u + i, row_factor + i, share + i, base + i, &s);
        else {
            for (ptrdiff_t j = 0; j < TILE; j++) {
                const ptrdiff_t row = j < tile_rows ? i + j : i + tile_rows - 1;
                in[0][j] = m[row];
                in[1][j] = u[row];
                in[2][j] = row_factor[row];
                in[3][j] = share[row];
                in[4][j] = base[row];
            }
            T(slopes_of)(in[0], in[1], in[2], in[3], in[4], &s);
        }
        if (tiled) {
            T(load_tile)(x + i * stride, stride, tile_rows, classes, tile);
            if (dots && q_stride)
                T(load_tile)(q + i * q_stride, q_stride, tile_rows, classes, q_tile);
            T(slope_tile)(tile, q_tile, classes, &s, mixed, dots);
            T(store_tile)(tile, tile_rows, classes, out + i * out_stride, out_stride);
        } else
            for (ptrdiff_t j = 0; j < tile_rows; j++)
                T(slope_row)(x + (i + j) * stride, dots ? q + (i + j) * q_stride : x, classes, &s, (int)j,
                             out + (i + j) * out_stride, mixed, dots);
    }
}

KERNEL void T(softmax_gradient)(const REAL *x, ptrdiff_t stride, const REAL *q, ptrdiff_t q_stride, ptrdiff_t rows,
                                ptrdiff_t classes, const double *m, const double *u, const double *row_factor,
                                const double *share, const double *base, int mixed, REAL *out,
                                ptrdiff_t out_stride)
{
    if (q)
        T(softmax_slopes)(x, stride, q, q_stride, rows, classes, m, u, row_factor, share, base, out, out_stride, 1, 1);
    else if (mixed)
        T(softmax_slopes)(x, stride, x, 0, rows, classes, m, u, row_factor, share, base, out, out_stride, 1, 0);
    else
        T(softmax_slopes)(x, stride, x, 0, rows, classes, m, u, row_factor, share, base, out, out_stride, 0, 0);
}

/* Subtract the share `own` from the entry of each true class, whose logit is x. `left` is the row factor minus
   `own`. */
KERNEL void T(label_gradient)(const int64_t *label, ptrdiff_t rows, const double *x, const double *m,
                              const double *u, const double *row_factor, const double *own, const double *left,
                              REAL *out, ptrdiff_t out_stride)
{
    double multiplier[64], addend[64];
    for (ptrdiff_t i = 0; i < rows; i += 64) {
        const ptrdiff_t n = rows - i < 64 ? rows - i : 64;
        for (ptrdiff_t j = 0; j < n; j++) {
            const int major = (x[i + j] == m[i + j]) & (u[i + j] < 1.0);
            const double at_major = left[i + j] - row_factor[i + j] * (u[i + j] / (1.0 + u[i + j]));
            multiplier[j] = major ? 0.0 : 1.0;
            addend[j] = major ? at_major : 0.0 - own[i + j];
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            REAL *at = out + (i + j) * out_stride + label[i + j];
            *at = (REAL)((double)*at * multiplier[j] + addend[j]);
        }
    }
}

/* -v weight / p, or -v weight if x = log p. It is 0 if the probability is floored or has no share. */
INLINE void T(share_slopes)(const REAL *x, ptrdiff_t stride, const double *v, ptrdiff_t v_stride,
                            const double *weight, ptrdiff_t rows, ptrdiff_t classes, double bound, REAL *out,
                            ptrdiff_t out_stride, const int logs)
{
    for (ptrdiff_t i = 0; i < rows; i++) {
        const REAL *RESTRICT x_row = x + i * stride;
        const double *RESTRICT v_row = v + i * v_stride;
        REAL *RESTRICT out_row = out + i * out_stride;
        const double w = weight[i];
        for (ptrdiff_t c = 0; c < classes; c++) {
            const double p = (double)x_row[c], share = v_row[c] * w;
            const int none = (share == 0.0) | (logs ? 0.0 - p > bound : p < bound);
            const double g = 0.0 - (logs ? share : share / p);
            out_row[c] = none ? 0 : (REAL)g;
        }
    }
}

KERNEL void T(share_gradient)(const REAL *x, ptrdiff_t stride, const double *v, ptrdiff_t v_stride,
                              const double *weight, ptrdiff_t rows, ptrdiff_t classes, double bound, int logs,
                              REAL *out, ptrdiff_t out_stride)
{
    if (logs)
        T(share_slopes)(x, stride, v, v_stride, weight, rows, classes, bound, out, out_stride, 1);
    else
        T(share_slopes)(x, stride, v, v_stride, weight, rows, classes, bound, out, out_stride, 0);
}

/* ---- elements: a and b are the shares of outcomes 1 and 0 ---- */

/* b s(x) - a s(-x) with the logistic function s: s(|x|) = 1 / (1 + e) and s(-|x|) = e / (1 + e), where
   e = e^-|x| is in the scratch memory of binary_logits. */
KERNEL void T(binary_logits_gradient)(const REAL *RESTRICT x, const double *RESTRICT scratch,
                                      const double *RESTRICT a, const double *RESTRICT b, ptrdiff_t n,
                                      REAL *RESTRICT out)
{
    const REAL *RESTRICT e = (const REAL *)scratch;
    for (ptrdiff_t i = 0; i < n; i++) {
        const REAL larger = 1 / (1 + e[i]);
        const REAL smaller = e[i] * larger;
        const double one = (double)(x[i] < 0 ? smaller : larger), zero = (double)(x[i] < 0 ? larger : smaller);
        out[i] = (REAL)(b[i] * one - a[i] * zero);
    }
}

/* b / (1 - p) - a / p. A term whose probability is floored is 0. */
KERNEL void T(binary_probs_gradient)(const REAL *RESTRICT p, const double *RESTRICT a, const double *RESTRICT b,
                                     ptrdiff_t n, double floor, REAL *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const double one = (double)p[i], zero = 1.0 - one;
        const double up = ((b[i] == 0.0) | (zero < floor)) ? 0.0 : b[i] / zero;
        const double down = ((a[i] == 0.0) | (one < floor)) ? 0.0 : a[i] / one;
        out[i] = (REAL)(up - down);
    }
}

#if WIDE
/* b p / (1 - p) - a for x = log p. A term whose probability is floored is 0. 1 - p is that of binary_log_probs. */
KERNEL void binary_log_probs_gradient(const double *RESTRICT x, const double *RESTRICT a, const double *RESTRICT b,
                                      ptrdiff_t n, double floor, double cap, double *RESTRICT scratch,
                                      double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double near = 0.0 - x[i] < LN2 ? 0.0 - x[i] : LN2;
        double decay = DECAY64[11];
        for (int k = 10; k >= 0; k--)
            decay = decay * near + DECAY64[k];
        scratch[i] = near * decay;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double e = scaled_exp_f64(x[i] < 0.0 ? x[i] : 0.0, least_f64(0.0), start_f64(0.0));
        const double zero = 0.0 - x[i] < LN2 ? scratch[i] : 1.0 - e;
        const double up = ((b[i] == 0.0) | (zero < floor)) ? 0.0 : b[i] * (e / zero);
        const double down = 0.0 - x[i] > cap ? 0.0 : a[i];
        out[i] = up - down;
    }
}

/* The shares a and b of outcomes 1 and 0: the weight times the factors of mix_outcomes, divided. NULL stands for 1. */
KERNEL void outcome_shares(const double *RESTRICT y, ptrdiff_t n, double smoothing, const double *RESTRICT positive,
                           const double *RESTRICT negative, const double *RESTRICT weight, double divisor,
                           double *RESTRICT a, double *RESTRICT b)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        a[i] = y[i] * (1.0 - smoothing) + smoothing / 2.0;
        b[i] = (1.0 - y[i]) * (1.0 - smoothing) + smoothing / 2.0;
    }
    if (positive)
        for (ptrdiff_t i = 0; i < n; i++) {
            a[i] = positive[i] * a[i];
            b[i] = negative[i] * b[i];
        }
    for (ptrdiff_t i = 0; i < n; i++) {
        const double w = weight ? weight[i] : 1.0;
        const double part = w / divisor; /* NaN if the divisor is NaN; a share of 0 stays 0 */
        a[i] = ((a[i] == 0.0) | (w == 0.0)) ? 0.0 : a[i] * part;
        b[i] = ((b[i] == 0.0) | (w == 0.0)) ? 0.0 : b[i] * part;
    }
}
#endif

#undef WIDTH
