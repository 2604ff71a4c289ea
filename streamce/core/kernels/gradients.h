/* Gradients of weighted losses with respect to predictions, for REAL = float or double; rows.h, whose
   tiles and lanes these are, includes it. Each entry of a gradient is a function of its own entry and of
   a few numbers of its row, so nothing is added up here and any layout of the lanes gives the same bits.

   Softmax: with W = weight * sum of v_c, v_c what class c counts,

       dn/dx_c = W p_c - weight * v_c        p_c = e^(x_c - m) / (1 + u)

   For a class with more than half of the mass (u < 1) p_c is 1 - u / (1 + u), which leaves the small
   difference from 1 of a confident prediction its digits. The exponentials are worked out again: that is cheaper than keeping them. */

/* What the entries of a row have in common, of TILE rows; `major` is the logit of a class with more than half
   of the mass, or NaN. */
typedef struct {
    REAL major[TILE], shift[TILE], least[TILE], scale[TILE], whole[TILE], rest[TILE], share[TILE], base[TILE];
    BITS start[TILE];
} T(slopes);

INLINE void T(slopes_of)(const double *RESTRICT m, const double *RESTRICT u, const double *RESTRICT whole,
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
        s->scale[j] = (REAL)(whole[j] / ((1.0 + u[j]) * largest));
        s->whole[j] = (REAL)whole[j];
        s->rest[j] = (REAL)(whole[j] * (u[j] / (1.0 + u[j])));
        s->share[j] = (REAL)share[j];
        s->base[j] = (REAL)base[j];
    }
}

/* One entry: y is its soft target, `mixed` whether anything is taken from it. */
INLINE REAL T(slope)(REAL x, REAL y, REAL major, REAL shift, REAL least, BITS start, REAL scale, REAL whole,
                     REAL rest, REAL share, REAL base, const int mixed, const int dots)
{
    const REAL p = T(scaled_exp)(x - shift, least, start) * scale;
    if (!mixed)
        return p;
    const REAL own = dots ? y * share + base : base;
    const REAL at_major = (whole - own) - rest, elsewhere = p - own;
    return x == major ? at_major : elsewhere;
}

INLINE void T(slope_tile)(REAL *RESTRICT tile, const REAL *RESTRICT q, ptrdiff_t classes,
                          const T(slopes) *RESTRICT s, const int mixed, const int dots)
{
    for (ptrdiff_t c = 0; c < classes; c++)
        for (int j = 0; j < TILE; j++)
            tile[c * TILE + j] =
                T(slope)(tile[c * TILE + j], dots ? q[c * TILE + j] : 0, s->major[j], s->shift[j], s->least[j],
                         s->start[j], s->scale[j], s->whole[j], s->rest[j], s->share[j], s->base[j], mixed, dots);
}

/* Classes at a time: no more than a row has, so the last of them may be worked out twice. */
#define WIDTH 32

INLINE void T(slope_row)(const REAL *RESTRICT x, const REAL *RESTRICT q, ptrdiff_t classes,
                         const T(slopes) *RESTRICT s, int i, REAL *RESTRICT out, const int mixed, const int dots)
{
    const REAL major = s->major[i], shift = s->shift[i], least = s->least[i], scale = s->scale[i];
    const REAL whole = s->whole[i], rest = s->rest[i], share = s->share[i], base = s->base[i];
    const BITS start = s->start[i];
    for (ptrdiff_t c = 0; c < classes; c += WIDTH) {
        const ptrdiff_t at = c < classes - WIDTH ? c : classes - WIDTH;
        for (int j = 0; j < WIDTH; j++)
            out[at + j] = T(slope)(x[at + j], dots ? q[at + j] : 0, major, shift, least, start, scale, whole, rest,
                                   share, base, mixed, dots);
    }
}

/* The tile's lines back to rows. */
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
    const ptrdiff_t whole = classes >= 4 ? rows - rows % 4 : 0;
    for (ptrdiff_t j = 0; j < whole; j += 4)
        for (ptrdiff_t c = 0; c < classes; c += 4) {
            const ptrdiff_t k = c + 4 <= classes ? c : classes - 4;
            const REAL *from = tile + k * TILE + j;
            T(transpose)(from, from + TILE, from + 2 * TILE, from + 3 * TILE, out + j * stride + k, stride);
        }
    for (ptrdiff_t j = whole; j < rows; j++)
        for (ptrdiff_t c = 0; c < classes; c++)
            out[j * stride + c] = tile[c * TILE + j];
}

INLINE void T(softmax_slopes)(const REAL *x, ptrdiff_t stride, const REAL *q, ptrdiff_t q_stride, ptrdiff_t rows,
                              ptrdiff_t classes, const double *m, const double *u, const double *whole,
                              const double *share, const double *base, REAL *out, ptrdiff_t out_stride,
                              const int mixed, const int dots)
{
    REAL tile[WIDTH * TILE], q_tile[WIDTH * TILE];
    double in[5][TILE];
    T(slopes) s;
    const int tiled = classes <= WIDTH;
    if (dots && tiled && !q_stride) /* one line for all rows */
        for (ptrdiff_t c = 0; c < classes; c++)
            for (int j = 0; j < TILE; j++)
                q_tile[c * TILE + j] = q[c];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t some = rows - i < TILE ? rows - i : TILE;
        if (some == TILE)
            T(slopes_of)(m + i, u + i, whole + i, share + i, base + i, &s);
        else {
            for (ptrdiff_t j = 0; j < TILE; j++) {
                const ptrdiff_t row = j < some ? i + j : i + some - 1;
                in[0][j] = m[row];
                in[1][j] = u[row];
                in[2][j] = whole[row];
                in[3][j] = share[row];
                in[4][j] = base[row];
            }
            T(slopes_of)(in[0], in[1], in[2], in[3], in[4], &s);
        }
        if (tiled) {
            T(load_tile)(x + i * stride, stride, some, classes, tile);
            if (dots && q_stride)
                T(load_tile)(q + i * q_stride, q_stride, some, classes, q_tile);
            T(slope_tile)(tile, q_tile, classes, &s, mixed, dots);
            T(store_tile)(tile, some, classes, out + i * out_stride, out_stride);
        } else
            for (ptrdiff_t j = 0; j < some; j++)
                T(slope_row)(x + (i + j) * stride, dots ? q + (i + j) * q_stride : x, classes, &s, (int)j,
                             out + (i + j) * out_stride, mixed, dots);
    }
}

KERNEL void T(softmax_gradient)(const REAL *x, ptrdiff_t stride, const REAL *q, ptrdiff_t q_stride, ptrdiff_t rows,
                                ptrdiff_t classes, const double *m, const double *u, const double *whole,
                                const double *share, const double *base, int mixed, REAL *out,
                                ptrdiff_t out_stride)
{
    if (q)
        T(softmax_slopes)(x, stride, q, q_stride, rows, classes, m, u, whole, share, base, out, out_stride, 1, 1);
    else if (mixed)
        T(softmax_slopes)(x, stride, x, 0, rows, classes, m, u, whole, share, base, out, out_stride, 1, 0);
    else
        T(softmax_slopes)(x, stride, x, 0, rows, classes, m, u, whole, share, base, out, out_stride, 0, 0);
}

/* The entries of true classes, whose logits are x: less what they count. `left` is what the whole exceeds
   that by. */
KERNEL void T(label_gradient)(const int64_t *label, ptrdiff_t rows, const double *x, const double *m,
                              const double *u, const double *whole, const double *own, const double *left,
                              REAL *out, ptrdiff_t out_stride)
{
    double kept[64], more[64];
    for (ptrdiff_t i = 0; i < rows; i += 64) {
        const ptrdiff_t some = rows - i < 64 ? rows - i : 64;
        for (ptrdiff_t j = 0; j < some; j++) {
            const int major = (x[i + j] == m[i + j]) & (u[i + j] < 1.0);
            const double at_major = left[i + j] - whole[i + j] * (u[i + j] / (1.0 + u[i + j]));
            kept[j] = major ? 0.0 : 1.0;
            more[j] = major ? at_major : 0.0 - own[i + j];
        }
        for (ptrdiff_t j = 0; j < some; j++) {
            REAL *at = out + (i + j) * out_stride + label[i + j];
            *at = (REAL)((double)*at * kept[j] + more[j]);
        }
    }
}

/* -v weight / p, or -v weight where x = log p; 0 where the probability is floored, or counts nothing. */
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

/* ---- elements: a and b are what the outcomes 1 and 0 count ---- */

/* b s(x) - a s(-x), s the logistic function: s(|x|) = 1 / (1 + e), s(-|x|) = e / (1 + e), with the
   e = e^-|x| that binary_logits left in its scratch memory. */
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

/* b / (1 - p) - a / p, either 0 where its probability is floored. */
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
/* x = log p: b p / (1 - p) - a, either 0 where its probability is floored; 1 - p as in binary_log_probs. */
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

/* What the outcomes 1 and 0 count, divided: weight times the factors of mix_outcomes; NULL is 1. */
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
        const double part = w / divisor; /* NaN where the divisor is: what counts nothing stays 0 */
        a[i] = ((a[i] == 0.0) | (w == 0.0)) ? 0.0 : a[i] * part;
        b[i] = ((b[i] == 0.0) | (w == 0.0)) ? 0.0 : b[i] * part;
    }
}
#endif

#undef WIDTH
