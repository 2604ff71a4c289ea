/* Kernels of elements: costs of binary outcomes, logarithms, exponentials. */


KERNEL void neg_log_f64(const double *RESTRICT p, ptrdiff_t n, double floor, double ceiling, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double q = p[i] < floor ? floor : p[i];
        out[i] = q > ceiling ? ceiling : q;
    }
    if (floor >= SMALLEST64)
        for (ptrdiff_t i = 0; i < n; i++)
            out[i] = 0.0 - log_normal(out[i], 0.0);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            out[i] = 0.0 - log_any(out[i], 0.0);
}

/* The floor and the ceiling of float probabilities. A float outside of them costs as much as the bound
   itself, which is a double. */
typedef struct {
    float least, most;
    double at_least, at_most;
} bounds_f32;

INLINE bounds_f32 bounds_of(double floor, double ceiling)
{
    bounds_f32 b;
    b.least = (float)floor;
    b.most = (float)ceiling;
    b.least = (double)b.least < floor ? real_f32(bits_f32(b.least) + 1) : b.least;
    b.most = (double)b.most > ceiling ? real_f32(bits_f32(b.most) - 1) : b.most;
    b.at_least = 0.0 - log_any(floor, 0.0);
    b.at_most = 0.0 - log_any(ceiling, 0.0);
    return b;
}

INLINE double bounded_neg_log_f32(float p, float c, bounds_f32 b)
{
    double cost = 0.0 - log_normal_f32(p, c);
    cost = p < b.least ? b.at_least : cost;
    return p > b.most ? b.at_most : cost;
}

/* neg_log_f64 for doubles that hold floats. The floor is at least MIN_FLOOR_F32. */
KERNEL void neg_log_f32(const double *RESTRICT p, ptrdiff_t n, double floor, double ceiling, double *RESTRICT out)
{
    const bounds_f32 bounds = bounds_of(floor, ceiling);
    VECTORISED
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = bounded_neg_log_f32((float)p[i], 0.0f, bounds);
}

/* The cost of the logit x of a row, from m and u of its softmax. u is replaced by log1p(u). */
KERNEL void softmax_costs_f64(const double *RESTRICT m, double *RESTRICT u, const double *RESTRICT x, ptrdiff_t n,
                              double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        u[i] = log_1_plus(u[i]);
        out[i] = (m[i] - x[i]) + u[i];
    }
}

KERNEL void softmax_costs_f32(const double *RESTRICT m, double *RESTRICT u, const double *RESTRICT x, ptrdiff_t n,
                              double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        u[i] = log_1_plus_f32((float)u[i]);
        out[i] = (m[i] - x[i]) + u[i];
    }
}

/* e^x for any x: 0 if it is below 2^-1022, infinite if it is above 2^1024. */
KERNEL void exp_elements(const double *RESTRICT x, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double high = x[i] > 710.0 ? 710.0 : x[i];
        /* The power of two is applied in two steps, because 2^1024 is not a double. */
        double top = powers_f64(high < 0.0 ? 0.0 : high);
        double step = top > 1000.0 ? 1000.0 : top;
        double scale = real_f64((bits_f64(step + ROUND64) + 1023u) << 52);
        double rest = real_f64((bits_f64((top - step) + ROUND64) + 1023u) << 52);
        out[i] = scaled_exp_f64(high, least_f64(top), start_f64(top)) * scale * rest;
    }
}

/* Costs of outcomes y, which are 1 or 0. Long chains of operations are split into two loops: a processor
   looks a few hundred instructions ahead, so it works on more elements at once if chains are shorter.
   y is a double, because with bytes GCC processes eight vectors at a time and runs out of registers. */

/* The probability u of the outcome is p or 1 - p, clamped to [floor, ceiling]. The first loop writes the
   rounding error of 1 - p, relative to u, to `out`. */
KERNEL void binary_probs_f64(const double *RESTRICT p, const double *RESTRICT y, ptrdiff_t n, double floor,
                             double ceiling, double *RESTRICT u, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double q = y[i] != 0.0 ? p[i] : 1.0 - p[i];
        double lost = y[i] != 0.0 ? 0.0 : (1.0 - q) - p[i];
        out[i] = ((q < floor) | (q > ceiling)) ? 0.0 : lost * (2.0 - q);
        q = q < floor ? floor : q;
        q = q > ceiling ? ceiling : q;
        u[i] = ((p[i] >= 0.0) & (p[i] <= 1.0)) ? q : NOT_A_NUMBER;
    }
    if (floor >= SMALLEST64)
        for (ptrdiff_t i = 0; i < n; i++)
            out[i] = 0.0 - log_normal(u[i], out[i]);
    else
        for (ptrdiff_t i = 0; i < n; i++)
            out[i] = 0.0 - log_any(u[i], out[i]);
}

KERNEL void binary_probs_f32(const float *RESTRICT p, const double *RESTRICT y, ptrdiff_t n, double floor,
                             double ceiling, double *RESTRICT scratch, double *RESTRICT out)
{
    float *RESTRICT u = (float *)scratch, *RESTRICT lost = u + n;
    const bounds_f32 bounds = bounds_of(floor, ceiling);
    for (ptrdiff_t i = 0; i < n; i++) {
        float q = y[i] != 0.0 ? p[i] : 1.0f - p[i];
        lost[i] = (y[i] != 0.0 ? 0.0f : (1.0f - q) - p[i]) * (2.0f - q);
        u[i] = ((p[i] >= 0.0f) & (p[i] <= 1.0f)) ? q : real_f32(0x7fc00000u);
    }
    VECTORISED
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = bounded_neg_log_f32(u[i], lost[i], bounds);
}

/* x = log p. The cost of outcome 1 is -x, that of outcome 0 is -log(1 - e^x). For x near 0, 1 - e^x is
   computed as z (1 - z/2 + ...) with z = -x, because the subtraction would lose digits. */
KERNEL void binary_log_probs(const double *RESTRICT x, const double *RESTRICT y, ptrdiff_t n, double cap,
                             double *RESTRICT u, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double near = 0.0 - x[i] < LN2 ? 0.0 - x[i] : LN2;
        double decay = DECAY64[11];
        for (int k = 10; k >= 0; k--)
            decay = decay * near + DECAY64[k];
        out[i] = near * decay;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        double e = scaled_exp_f64(x[i] < 0.0 ? x[i] : 0.0, least_f64(0.0), start_f64(0.0));
        double far = 1.0 - e;
        int is_near = 0.0 - x[i] < LN2;
        u[i] = is_near ? out[i] : far;
        out[i] = is_near ? 0.0 : ((1.0 - far) - e) * (2.0 - far);
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        double cost = 0.0 - log_any(u[i], out[i]);
        cost = y[i] != 0.0 ? 0.0 - x[i] : cost;
        cost = cost > cap ? cap : cost;
        out[i] = x[i] <= 0.0 ? cost : NOT_A_NUMBER;
    }
}

/* The cost log(1 + e^z) is max(z, 0) + log(1 + e^-|x|), with z = -x for outcome 1 and z = x for outcome 0. */
KERNEL void binary_logits_f64(const double *RESTRICT x, const double *RESTRICT y, ptrdiff_t n,
                              double *RESTRICT u, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        u[i] = scaled_exp_f64(x[i] < 0.0 ? x[i] : 0.0 - x[i], least_f64(0.0), start_f64(0.0));
    for (ptrdiff_t i = 0; i < n; i++) {
        double z = y[i] != 0.0 ? 0.0 - x[i] : x[i];
        out[i] = (z > 0.0 ? z : 0.0) + log_1_plus(u[i]);
    }
}

KERNEL void binary_logits_f32(const float *RESTRICT x, const double *RESTRICT y, ptrdiff_t n,
                              double *RESTRICT scratch, double *RESTRICT out)
{
    float *RESTRICT u = (float *)scratch;
    for (ptrdiff_t i = 0; i < n; i++)
        u[i] = scaled_exp_f32(x[i] < 0.0f ? x[i] : 0.0f - x[i], least_f32(0.0f), start_f32(0.0f));
    for (ptrdiff_t i = 0; i < n; i++) {
        float z = y[i] != 0.0 ? 0.0f - x[i] : x[i];
        out[i] = (double)(z > 0.0f ? z : 0.0f) + (double)log_1_plus_small_f32(u[i]);
    }
}

/* Soft outcomes, from the costs a of outcome 1 and b of outcome 0, with y' = y (1 - s) + s/2:
   n = positive y' a + negative (1 - y') b, d = positive_d y + negative_d (1 - y).
   A share of 0 of an infinite cost is 0. NaN stays NaN. */
KERNEL void mix_outcomes(const double *RESTRICT a, const double *RESTRICT b, const double *RESTRICT y,
                         ptrdiff_t n, double smoothing, const double *RESTRICT positive,
                         const double *RESTRICT negative, const double *RESTRICT positive_d,
                         const double *RESTRICT negative_d, double *RESTRICT n_out, double *RESTRICT d_out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        /* Each share is computed separately, because 1 - y' would lose the digits of a small share. */
        double first = positive[i] * (y[i] * (1.0 - smoothing) + smoothing / 2.0);
        double second = negative[i] * ((1.0 - y[i]) * (1.0 - smoothing) + smoothing / 2.0);
        double cost = (first == 0.0 ? 0.0 : first * a[i]) + (second == 0.0 ? 0.0 : second * b[i]);
        n_out[i] = a[i] == a[i] ? cost : a[i];
        d_out[i] = positive_d[i] * y[i] + negative_d[i] * (1.0 - y[i]);
    }
}

/* The probabilities p of outcome 1 and q of outcome 0 of a logit x, from e = e^-|x|. */
KERNEL void outcome_probs(const double *RESTRICT x, const double *RESTRICT e, ptrdiff_t n, double *RESTRICT p,
                          double *RESTRICT q)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const double larger = 1.0 / (1.0 + e[i]), smaller = e[i] / (1.0 + e[i]);
        p[i] = x[i] < 0.0 ? smaller : larger;
        q[i] = x[i] < 0.0 ? larger : smaller;
    }
}

/* The mean of the costs a of outcome 1 and b of outcome 0 under p and q, what the cost of outcome y exceeds it by, and
   their variance. The difference of the costs is a - b, or -x if there are logits. 0 times infinity is 0. */
KERNEL void outcome_moments(const double *RESTRICT a, const double *RESTRICT b, const double *RESTRICT p,
                            const double *RESTRICT q, const double *RESTRICT y, const double *RESTRICT x, ptrdiff_t n,
                            double *RESTRICT mean, double *RESTRICT excess, double *RESTRICT variance)
{
    if (x)
        for (ptrdiff_t i = 0; i < n; i++)
            variance[i] = 0.0 - x[i];
    else
        for (ptrdiff_t i = 0; i < n; i++)
            variance[i] = a[i] - b[i];
    for (ptrdiff_t i = 0; i < n; i++) {
        const double gap = variance[i], off = y[i] == 1.0 ? q[i] : y[i] - p[i];
        mean[i] = product(a[i], p[i]) + product(b[i], q[i]);
        excess[i] = product(gap, off);
        variance[i] = product(gap * gap, p[i] * q[i]);
    }
}

/* Return whether every v is in [low, high]. NaN is not. */
KERNEL int all_within(const double *v, ptrdiff_t n, double low, double high)
{
    int64_t outside = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        outside |= !(v[i] >= low) | !(v[i] <= high);
    return !outside;
}
