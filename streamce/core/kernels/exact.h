/* Exact sums. All values of a block are below 2^a. Adding v to 1.5 * 2^(a+1) rounds it to a
   multiple of 2^(a-51) and leaves that multiple in the low bits of the sum, where integers
   add up exactly; the remainder is exact too, is at most 2^(a-52), and is treated the same
   way until nothing remains. Two parts do for ordinary losses, three for their squares. */

#define SUM_LANES 16

KERNEL uint64_t largest_bits(const double *v, ptrdiff_t n)
{
    double most[SUM_LANES];
    uint64_t odd[SUM_LANES];
    ptrdiff_t i = 0;
    for (int j = 0; j < SUM_LANES; j++)
        most[j] = 0, odd[j] = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        for (int j = 0; j < SUM_LANES; j++) {
            double size = real64(bits64(v[i + j]) & 0x7fffffffffffffffu);
            most[j] = size > most[j] ? size : most[j];
            odd[j] |= bits64(size - size); /* 0, or NaN where v is infinite or NaN */
        }
    uint64_t any = 0, bits = 0;
    for (int j = 0; j < SUM_LANES; j++) {
        any |= odd[j];
        bits = bits64(most[j]) > bits ? bits64(most[j]) : bits;
    }
    /* As integers magnitudes are in order, NaN above infinity. */
    for (i = any ? 0 : i; i < n; i++) {
        uint64_t b = bits64(v[i]) & 0x7fffffffffffffffu;
        bits = b > bits ? b : bits;
    }
    return bits;
}

/* One pass: the sum of the multiples, the remainders in place; returns whether any is left. */
INLINE uint64_t take_part(double *RESTRICT v, ptrdiff_t n, double magic, int64_t *part)
{
    uint64_t sum[SUM_LANES], left[SUM_LANES];
    for (int j = 0; j < SUM_LANES; j++)
        sum[j] = left[j] = 0;
    for (ptrdiff_t i = 0; i < n; i += SUM_LANES)
        for (int j = 0; j < SUM_LANES; j++) {
            double t = v[i + j] + magic;
            double r = v[i + j] - (t - magic);
            sum[j] += bits64(t);
            left[j] |= bits64(r + r); /* without the sign, which 0 may have */
            v[i + j] = r;
        }
    uint64_t total = 0, rest = 0;
    for (int j = 0; j < SUM_LANES; j++) {
        total += sum[j];
        rest |= left[j] & 0x7fffffffffffffffu;
    }
    *part = (int64_t)(total - (uint64_t)n * bits64(magic));
    return rest;
}

KERNEL int exact_sum(const double *v, ptrdiff_t n, int64_t *part, int *bit)
{
    double rest[BLOCK];
    uint64_t most = largest_bits(v, n);
    if (most == 0)
        return 0;
    int a = (int)(most >> 52) - 1022; /* all values are below 2^a */
    if (a > 1000)
        return -1;
    memcpy(rest, v, (size_t)n * sizeof(double));
    for (; n % SUM_LANES; n++)
        rest[n] = 0;
    int parts = 0;
    uint64_t left = 1;
    while (left) {
        if (a < -1023)
            a = -1023;
        double magic = 1.5 * real64((uint64_t)(a + 1 + 1023) << 52);
        left = take_part(rest, n, magic, part + parts);
        bit[parts++] = a - 51 + 1074;
        a -= 52;
    }
    return parts;
}

KERNEL void square(const double *RESTRICT v, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = v[i] * v[i];
}
