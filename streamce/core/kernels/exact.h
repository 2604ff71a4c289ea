/* Exact sums. All values of a block are below 2^a. Adding v to 1.5 * 2^(a+1) rounds it to a
   multiple of 2^(a-51) and leaves that multiple in the low bits of the sum, where integers
   add up exactly; the remainder is exact too, is at most 2^(a-52), and is treated the same
   way until nothing remains. Two parts do for ordinary losses, three for their squares. */

/* More than 16: GCC unrolls shorter loops into scalars before it vectorises. */
#define SUM_LANES 32

/* The largest exponent. Without their mantissas numbers compare as they are, and infinity and
   NaN alike above all of them. */
INLINE void larger_exponents(const double *v, double *most)
{
    for (int j = 0; j < SUM_LANES; j++) {
        double t = real64(bits64(v[j]) & 0x7ff0000000000000u);
        most[j] = t > most[j] ? t : most[j];
    }
}

KERNEL int largest_exponent(const double *v, ptrdiff_t n)
{
    double most[SUM_LANES], tail[SUM_LANES];
    for (int j = 0; j < SUM_LANES; j++)
        most[j] = tail[j] = 0;
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        larger_exponents(v + i, most);
    for (ptrdiff_t j = i; j < n; j++)
        tail[j - i] = v[j];
    larger_exponents(tail, most);
    double largest = 0;
    for (int j = 0; j < SUM_LANES; j++)
        largest = most[j] > largest ? most[j] : largest;
    return (int)(bits64(largest) >> 52);
}

/* Takes one part off a block of values: the sum of the multiples goes to `sum`, the remainder
   is returned. */
INLINE double take_part(double v, double magic, uint64_t *sum)
{
    const double t = v + magic;
    *sum += bits64(t);
    return v - (t - magic);
}

/* 1.5 * 2^(a + 1), for the part of values below 2^a; the lowest part ends at 2^-1074. */
INLINE double magic_of(int a)
{
    return 1.5 * real64((uint64_t)((a < -1023 ? -1023 : a) + 1 + 1023) << 52);
}

INLINE int bit_of(int a)
{
    return (a < -1023 ? -1023 : a) - 51 + 1074;
}

/* Adds up the lanes, whose every term came with the bits of `magic`. */
INLINE int64_t part_of(const uint64_t *sum, ptrdiff_t n, double magic)
{
    uint64_t total = 0;
    for (int j = 0; j < SUM_LANES; j++)
        total += sum[j];
    return (int64_t)(total - (uint64_t)n * bits64(magic));
}

/* Takes the first two parts off SUM_LANES values, and the next one off their remainders. */
INLINE void take_two(const double *v, double first, double second, uint64_t *sum, uint64_t *sum2,
                     uint64_t *left, double *rest)
{
    for (int j = 0; j < SUM_LANES; j++) {
        double r = take_part(take_part(v[j], first, sum + j), second, sum2 + j);
        left[j] |= bits64(r) << 1; /* without the sign, which 0 may have */
        rest[j] = r;
    }
}

INLINE void take_one(double *rest, double magic, uint64_t *sum, uint64_t *left)
{
    for (int j = 0; j < SUM_LANES; j++) {
        double r = take_part(rest[j], magic, sum + j);
        left[j] |= bits64(r) << 1;
        rest[j] = r;
    }
}

KERNEL int exact_sum(const double *v, ptrdiff_t n, int64_t *part, int *bit)
{
    const int exponent = largest_exponent(v, n);
    if (exponent > 1022 + 1000)
        return -1;
    int a = exponent - 1022; /* all values are below 2^a */
    double rest[BLOCK], tail[SUM_LANES];
    uint64_t sum[SUM_LANES], sum2[SUM_LANES], left[SUM_LANES];
    for (int j = 0; j < SUM_LANES; j++) {
        sum[j] = sum2[j] = left[j] = 0;
        tail[j] = 0;
    }
    const double first = magic_of(a), second = magic_of(a - 52);
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        take_two(v + i, first, second, sum, sum2, left, rest + i);
    if (i < n) {
        for (ptrdiff_t j = i; j < n; j++)
            tail[j - i] = v[j];
        take_two(tail, first, second, sum, sum2, left, rest + i);
        i += SUM_LANES;
    }
    bit[0] = bit_of(a);
    part[0] = part_of(sum, i, first);
    bit[1] = bit_of(a - 52);
    part[1] = part_of(sum2, i, second);
    for (int parts = 2;; parts++) {
        uint64_t any = 0;
        for (int j = 0; j < SUM_LANES; j++) {
            any |= left[j];
            sum[j] = left[j] = 0;
        }
        if (!any)
            return parts;
        if (parts == MAX_PARTS) /* no double needs as many: another thread wrote to v */
            return -1;
        a = exponent - 1022 - 52 * parts;
        const double next = magic_of(a);
        for (i = 0; i < n; i += SUM_LANES)
            take_one(rest + i, next, sum, left);
        bit[parts] = bit_of(a);
        part[parts] = part_of(sum, i, next);
    }
}

KERNEL void square(const double *RESTRICT v, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = v[i] * v[i];
}
