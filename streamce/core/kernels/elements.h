/* Element by element: costs of binary outcomes, logarithms, exponentials. */

#define NOT_A_NUMBER real64(0x7ff8000000000000u)
#define INFINITE real64(0x7ff0000000000000u)

KERNEL void neg_log(const double *RESTRICT p, ptrdiff_t n, double floor, double ceiling, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double q = p[i] < floor ? floor : p[i];
        q = q > ceiling ? ceiling : q;
        out[i] = 0.0 - log_corrected(q, 0.0);
    }
}

KERNEL void log1p_elements(const double *RESTRICT u, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = log_1_plus(u[i]);
}

/* e^x over the whole range: 0 below 2^-1022, infinite above 2^1024. */
KERNEL void exp_elements(const double *RESTRICT x, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double high = x[i] > 710.0 ? 710.0 : x[i];
        /* A power of two for x > 0, applied in two steps: 2^1024 itself is no double. */
        double top = powers_f64(high < 0.0 ? 0.0 : high);
        double step = top > 1000.0 ? 1000.0 : top;
        double scale = real64((bits64(step + ROUND64) + 1023u) << 52);
        double rest = real64((bits64((top - step) + ROUND64) + 1023u) << 52);
        out[i] = scaled_exp_f64(high, top) * scale * rest;
    }
}

/* The outcome's probability is p or 1 - p, held between floor and ceiling. */
KERNEL void binary_probs(const double *RESTRICT p, const uint8_t *RESTRICT y, ptrdiff_t n, double floor,
                         double ceiling, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double x = p[i];
        double u = y[i] ? x : 1.0 - x;
        double lost = y[i] ? 0.0 : (1.0 - u) - x;
        int held = (u < floor) | (u > ceiling);
        u = u < floor ? floor : u;
        u = u > ceiling ? ceiling : u;
        lost = held ? 0.0 : lost;
        double cost = 0.0 - log_corrected(u, lost * (2.0 - u));
        out[i] = (x >= 0.0) & (x <= 1.0) ? cost : NOT_A_NUMBER;
    }
}

/* x = log p. For outcome 1 the cost is -x; for outcome 0 it is -log(1 - e^x), where
   1 - e^x is z (1 - z/2 + ...) with z = -x near 0, and 1 - e^x as it stands below. */
KERNEL void binary_log_probs(const double *RESTRICT x, const uint8_t *RESTRICT y, ptrdiff_t n, double cap,
                             double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double z = 0.0 - x[i];
        double near = z < LN2 ? z : LN2;
        double decay = DECAY64[11];
        for (int k = 10; k >= 0; k--)
            decay = decay * near + DECAY64[k];
        double e = scaled_exp_f64(x[i] < 0.0 ? x[i] : 0.0, 0.0);
        double far = 1.0 - e;
        double u = z < LN2 ? near * decay : far;
        double lost = z < LN2 ? 0.0 : ((1.0 - far) - e) * (2.0 - far);
        double cost = 0.0 - log_corrected(u, lost);
        cost = y[i] ? z : cost;
        cost = cost > cap ? cap : cost;
        out[i] = x[i] <= 0.0 ? cost : NOT_A_NUMBER;
    }
}

/* log(1 + e^z), z = -x for outcome 1 and x for outcome 0: max(z, 0) + log(1 + e^-|z|). */
KERNEL void binary_logits_f64(const double *RESTRICT x, const uint8_t *RESTRICT y, ptrdiff_t n,
                              double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        double z = y[i] ? 0.0 - x[i] : x[i];
        double size = z < 0.0 ? z : 0.0 - z;
        double above = z > 0.0 ? z : 0.0;
        out[i] = above + log_1_plus(scaled_exp_f64(size, 0.0));
    }
}

KERNEL void binary_logits_f32(const float *RESTRICT x, const uint8_t *RESTRICT y, ptrdiff_t n,
                              double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float z = y[i] ? 0.0f - x[i] : x[i];
        float size = z < 0.0f ? z : 0.0f - z;
        float above = z > 0.0f ? z : 0.0f;
        float rest = log_1_plus_f32(scaled_exp_f32(size, 0.0f));
        out[i] = (double)above + (double)rest;
    }
}

/* Soft outcomes, from the costs a of outcome 1 and b of outcome 0, with y' = y (1 - s) + s/2:
   n = positive y' a + negative (1 - y') b, d = positive_d y + negative_d (1 - y).
   A share of 0 takes nothing from an infinite cost; NaN stays NaN. */
KERNEL void mix_outcomes(const double *RESTRICT a, const double *RESTRICT b, const double *RESTRICT y,
                         ptrdiff_t n, double smoothing, const double *RESTRICT positive,
                         const double *RESTRICT negative, const double *RESTRICT positive_d,
                         const double *RESTRICT negative_d, double *RESTRICT n_out, double *RESTRICT d_out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        /* Each share on its own: 1 - y' would lose the digits of a small one. */
        double first = positive[i] * (y[i] * (1.0 - smoothing) + smoothing / 2.0);
        double second = negative[i] * ((1.0 - y[i]) * (1.0 - smoothing) + smoothing / 2.0);
        double cost = (first == 0.0 ? 0.0 : first * a[i]) + (second == 0.0 ? 0.0 : second * b[i]);
        n_out[i] = a[i] == a[i] ? cost : a[i];
        d_out[i] = positive_d[i] * y[i] + negative_d[i] * (1.0 - y[i]);
    }
}
