/* CTC: the probability of all alignments of a target with some frames (Graves et al. 2006, equations 6 to 8). Lanes
   are labels: state 2j of the extended target is the blank before label j, and state 2j + 1 is label j.

   The lattice holds probabilities instead of logarithms. Each is m 2^e with 1 <= m < 2 and an integer e in a double
   of its own. Adding two of them needs a shift, which is three times as fast as the log of a sum of exponentials. It
   is also more accurate: a rounding error is 2^-53 of the probability, whatever its size, while that of a logarithm
   is 2^-53 of the logarithm. Nothing underflows. A probability of 0 has an e near CTC_ZERO and an arbitrary m.

   A loss near 0 is -log(1 - F) with a small F, which the rounded probability 1 - F does not contain. F is the
   probability to leave the target's alignments at some frame (leak) or not to be at their end after the last frame.
   It is a sum in which little cancels. */

#define CTC_ZERO -1e300    /* the exponents of 10^8 frames can be added without overflow */
#define CTC_MIN_LOG -1e290 /* a smaller logarithm is that of 0 */

/* The lines of a lattice. A line has n lanes after CTC_FRONT others, the last of which means "no label before". There
   are lines for the states at a frame, for the states at the next frame, for the labels that differ from the label
   before them, and for the leaks. */
enum { BLANK_M, BLANK_E, LABEL_M, LABEL_E, CTC_STATES, SKIP = 2 * CTC_STATES, BLANK_LEAK, LABEL_LEAK };

INLINE double *ctc_line(double *lattice, ptrdiff_t n, int line)
{
    return lattice + line * (n + CTC_FRONT) + CTC_FRONT;
}

/* 2^d for an integer d <= 0, or 0 if that is below 2^-1022. */
INLINE double ctc_power(double d)
{
    d = d < -1023.0 ? -1023.0 : d;
    return real_f64((bits_f64(d + ROUND64) + 1023u) << 52);
}

/* Set the lattice to the state before the first frame: the first blank has probability 1. With `plain`, the states are
   plain probabilities. */
KERNEL void ctc_begin(const int64_t *RESTRICT label, ptrdiff_t n, ptrdiff_t labels, int plain,
                      double *RESTRICT lattice)
{
    for (ptrdiff_t i = 0; i < CTC_LINES * (n + CTC_FRONT); i++)
        lattice[i] = plain ? 0.0 : 1.0;
    for (int line = 0; !plain && line < SKIP; line++)
        if (line % CTC_STATES == BLANK_E || line % CTC_STATES == LABEL_E)
            for (ptrdiff_t j = -1; j < n; j++)
                ctc_line(lattice, n, line)[j] = CTC_ZERO;
    ctc_line(lattice, n, BLANK_M)[0] = 1.0;
    if (!plain)
        ctc_line(lattice, n, BLANK_E)[0] = 0.0;
    double *skip = ctc_line(lattice, n, SKIP);
    for (ptrdiff_t j = 0; j < n; j++) {
        const int differs = j > 0 && j < labels && label[j] != label[j - 1];
        skip[j] = plain ? (double)differs : differs ? 0.0 : CTC_ZERO;
    }
}

/* x minus the largest x of the row, or 0 if x is the largest, which may be +inf. */
INLINE double ctc_below(double x, double most)
{
    return x == most ? 0.0 : x - most;
}

/* e^x = m 2^e for x <= 0. */
INLINE double ctc_exp(double x, double *e)
{
    const int far = x < -1125899906842624.0; /* 2^50 */
    double t = x * LOG2E;
    double n = (t + ROUND64) - ROUND64;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    t = real_f64(bits_f64(t) & ~(uint64_t)3); /* an integer if |t| > 2^50 */
    n = far ? t : n;
    r = far ? 0.0 : r;
    *e = x < CTC_MIN_LOG ? CTC_ZERO : n;
    return exp_near_0(r);
}

/* u = m 2^e with 1 <= m < 2, for a normal u > 0. */
INLINE double ctc_split(double u, double *e)
{
    const uint64_t b = bits_f64(u);
    *e = real_f64((b >> 52) | 0x4330000000000000u) - 4503599627371519.0; /* 2^52 + 1023 */
    return real_f64((b & 0x000fffffffffffffu) | 0x3ff0000000000000u);
}

/* Compute the probabilities m 2^e of the labels and the blank in some frames. m replaces x. For logits, `most` is
   subtracted from x, and the result is multiplied by `scale`. */
KERNEL void ctc_emissions(double *RESTRICT x, ptrdiff_t frames, ptrdiff_t n, int logs, const double *most,
                          const double *scale, double *RESTRICT e)
{
    if (!logs) {
        for (ptrdiff_t i = 0; i < frames * n; i++) {
            const int tiny = x[i] < SMALLEST64, none = x[i] == 0.0;
            double k, m = ctc_split(tiny ? x[i] * 18014398509481984.0 : x[i], &k); /* 2^54 */
            k += tiny ? -54.0 : 0.0;
            e[i] = none ? CTC_ZERO : k;
            x[i] = m;
        }
        return;
    }
    for (ptrdiff_t t = 0; most && t < frames; t++)
        for (ptrdiff_t j = 0; j < n; j++)
            x[t * n + j] = ctc_below(x[t * n + j], most[t]);
    for (ptrdiff_t i = 0; i < frames * n; i++) {
        double k, m = ctc_exp(x[i], &k);
        x[i] = m;
        e[i] = k;
    }
    for (ptrdiff_t t = 0; most && t < frames; t++)
        for (ptrdiff_t j = 0; j < n; j++)
            x[t * n + j] *= scale[t];
}

/* Advance by one frame. m and e are its probabilities. Lane `labels` holds the blank. */
INLINE void ctc_step(const double *RESTRICT m, const double *RESTRICT e, ptrdiff_t n, ptrdiff_t labels,
                     const double *RESTRICT skip, const double *RESTRICT blank_m, const double *RESTRICT blank_e,
                     const double *RESTRICT label_m, const double *RESTRICT label_e, double *RESTRICT next_blank_m,
                     double *RESTRICT next_blank_e, double *RESTRICT next_label_m, double *RESTRICT next_label_e)
{
    const double m0 = m[labels], e0 = e[labels];
    for (ptrdiff_t j = 0; j < n; j++) {
        const double here = blank_e[j], before = label_e[j - 1];
        const double top = here > before ? here : before;
        const double sum = blank_m[j] * ctc_power(here - top) + label_m[j - 1] * ctc_power(before - top);
        double k;
        next_blank_m[j] = ctc_split(sum * m0, &k);
        next_blank_e[j] = (top + e0) + k;
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        const double here = label_e[j], blank = blank_e[j], before = label_e[j - 1] + skip[j];
        double top = here > blank ? here : blank;
        top = top > before ? top : before;
        const double sum = (label_m[j] * ctc_power(here - top) + blank_m[j] * ctc_power(blank - top)) +
                           label_m[j - 1] * ctc_power(before - top);
        double k;
        next_label_m[j] = ctc_split(sum * m[j], &k);
        next_label_e[j] = (top + e[j]) + k;
    }
}

/* Copy the states that were written last to the first lines, if they are not there. */
INLINE void ctc_settle(double *lattice, ptrdiff_t n, ptrdiff_t frames)
{
    const ptrdiff_t size = CTC_STATES * (n + CTC_FRONT);
    if (frames % 2)
        memcpy(lattice, lattice + size, (size_t)size * sizeof *lattice);
}

/* Advance by some frames. */
KERNEL void ctc_forward(const double *m, const double *e, ptrdiff_t frames, ptrdiff_t n, ptrdiff_t labels,
                        double *lattice)
{
    const double *skip = ctc_line(lattice, n, SKIP);
    for (ptrdiff_t t = 0; t < frames; t++) {
        double *from = lattice + (t % 2) * CTC_STATES * (n + CTC_FRONT);
        double *to = lattice + (1 - t % 2) * CTC_STATES * (n + CTC_FRONT);
        ctc_step(m + t * n, e + t * n, n, labels, skip, ctc_line(from, n, BLANK_M), ctc_line(from, n, BLANK_E),
                 ctc_line(from, n, LABEL_M), ctc_line(from, n, LABEL_E), ctc_line(to, n, BLANK_M),
                 ctc_line(to, n, BLANK_E), ctc_line(to, n, LABEL_M), ctc_line(to, n, LABEL_E));
    }
    ctc_settle(lattice, n, frames);
}

/* Return the loss after the last frame: -log of the probability of the last label or the blank after it. It is
   infinite if that is 0. */
KERNEL double ctc_loss(double *lattice, ptrdiff_t n, ptrdiff_t labels)
{
    const double blank = ctc_line(lattice, n, BLANK_E)[labels], label = ctc_line(lattice, n, LABEL_E)[labels - 1];
    const double top = blank > label ? blank : label;
    const double sum = ctc_line(lattice, n, BLANK_M)[labels] * ctc_power(blank - top) +
                       ctc_line(lattice, n, LABEL_M)[labels - 1] * ctc_power(label - top);
    return top < 0.1 * CTC_ZERO ? INFINITE : 0.0 - log_shifted(sum, top, 0.0);
}

/* ---- losses near 0 ---- */

/* 1 - e^x for x <= 0, where p is e^x. */
INLINE double ctc_one_less(double x, double p)
{
    double near = 0.0 - x < LN2 ? 0.0 - x : LN2;
    double decay = DECAY64[11];
    for (int k = 10; k >= 0; k--)
        decay = decay * near + DECAY64[k];
    return 0.0 - x < LN2 ? near * decay : 1.0 - p;
}

/* ctc_shares for one frame, whose largest logit is m. */
INLINE void ctc_share(double *RESTRICT x, ptrdiff_t n, const int logs, const int logits, double m, double others,
                      double scale, double *RESTRICT c)
{
    for (ptrdiff_t j = 0; j < n; j++) {
        const double y = logits ? ctc_below(x[j], m) : x[j];
        double p = logs ? scaled_exp_f64(y, least_f64(0.0), start_f64(0.0)) : y;
        p = logits ? p * scale : p;
        const double rest = logs && !logits ? ctc_one_less(y, p) : 1.0 - p;
        c[j] = (logits & (y == 0.0)) ? others * scale : rest;
        x[j] = p;
    }
}

/* Compute the probabilities p of some frames, which replace x, and c = 1 - p. `others` is the sum of e^(x - most)
   without the largest logit, and scale is 1 / (1 + others). */
KERNEL void ctc_shares(double *RESTRICT x, ptrdiff_t frames, ptrdiff_t n, int logs, const double *most,
                       const double *others, const double *scale, double *RESTRICT c)
{
    for (ptrdiff_t t = 0; t < frames; t++, x += n, c += n) {
        if (most)
            ctc_share(x, n, 1, 1, most[t], others[t], scale[t], c);
        else if (logs)
            ctc_share(x, n, 1, 0, 0.0, 0.0, 1.0, c);
        else
            ctc_share(x, n, 0, 0, 0.0, 0.0, 1.0, c);
    }
}

/* 1 minus two probabilities p and q, computed from the complement of the larger one: c = 1 - p, d = 1 - q. */
INLINE double ctc_neither(double p, double c, double q, double d)
{
    return p >= q ? c - q : d - p;
}

/* Advance by some frames in plain probabilities, and add up the leaks. p and c are as in ctc_shares. Lane `labels`
   holds the blank. If probabilities do not sum to 1, a leak can be negative. With `normal` they do, so a negative leak
   is a rounding error and becomes 0. */
KERNEL void ctc_leak(const double *RESTRICT p, const double *RESTRICT c, ptrdiff_t frames, ptrdiff_t n,
                     ptrdiff_t labels, int normal, double *lattice)
{
    const double *RESTRICT skip = ctc_line(lattice, n, SKIP);
    double *RESTRICT blank_leak = ctc_line(lattice, n, BLANK_LEAK);
    double *RESTRICT label_leak = ctc_line(lattice, n, LABEL_LEAK);
    const double least = normal ? 0.0 : -INFINITE;
    for (ptrdiff_t t = 0; t < frames; t++, p += n, c += n) {
        double *from = lattice + (t % 2) * CTC_STATES * (n + CTC_FRONT);
        double *to = lattice + (1 - t % 2) * CTC_STATES * (n + CTC_FRONT);
        const double *RESTRICT blank = ctc_line(from, n, BLANK_M), *RESTRICT label = ctc_line(from, n, LABEL_M);
        double *RESTRICT next_blank = ctc_line(to, n, BLANK_M), *RESTRICT next_label = ctc_line(to, n, LABEL_M);
        const double p0 = p[labels], c0 = c[labels];
        for (ptrdiff_t j = 0; j < labels; j++) {
            double leak = ctc_neither(p0, c0, p[j], c[j]);
            blank_leak[j] += blank[j] * (leak < least ? least : leak);
            /* Label j can also be followed by label j + 1, if that differs from it and exists. */
            const double after = p[j + 1] * skip[j + 1], none_after = c[j + 1];
            const double larger = p0 >= p[j] ? p0 : p[j], smaller = p0 >= p[j] ? p[j] : p0;
            const double none_larger = p0 >= p[j] ? c0 : c[j];
            leak = after > larger ? none_after - (larger + smaller) : none_larger - (smaller + after);
            label_leak[j] += label[j] * (leak < least ? least : leak);
        }
        blank_leak[labels] += blank[labels] * c0;
        for (ptrdiff_t j = 0; j < n; j++) {
            next_blank[j] = (blank[j] + label[j - 1]) * p0;
            next_label[j] = ((label[j] + blank[j]) + label[j - 1] * skip[j]) * p[j];
        }
    }
    ctc_settle(lattice, n, frames);
}

/* Return the loss after the last frame, -log(1 - F). F is the sum of all leaks and of all states that are not final. */
KERNEL double ctc_small_loss(double *lattice, ptrdiff_t n, ptrdiff_t labels)
{
    double sum = 0.0;
    for (ptrdiff_t j = 0; j <= labels; j++)
        sum += ctc_line(lattice, n, BLANK_LEAK)[j];
    for (ptrdiff_t j = 0; j < labels; j++)
        sum += ctc_line(lattice, n, LABEL_LEAK)[j] + ctc_line(lattice, n, BLANK_M)[j];
    for (ptrdiff_t j = 0; j + 1 < labels; j++)
        sum += ctc_line(lattice, n, LABEL_M)[j];
    return sum >= 0.0 ? log_1_plus(sum / (1.0 - sum)) : 0.0 - log_1_plus(0.0 - sum);
}
