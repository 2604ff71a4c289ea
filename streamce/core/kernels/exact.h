/* Exact sums. All values of a block are below 2^a. Adding v to 1.5 * 2^(a+1) rounds v to a multiple
   of 2^(a-51). The low bits of the sum hold this multiple as an integer, and integers are added
   exactly. The remainder is also exact and at most 2^(a-52). It is treated in the same way until
   nothing remains. Ordinary losses need two parts, and their squares three. */

/* More than 16, because GCC unrolls shorter loops into scalars before it vectorises. */
#define SUM_LANES 32

/* The largest exponent in each lane. Numbers are compared without their mantissas. Infinity and NaN
   then are equal, and larger than all other numbers. */
INLINE void larger_exponents(const double *v, double *most)
{
    for (int j = 0; j < SUM_LANES; j++) {
        double t = real_f64(bits_f64(v[j]) & 0x7ff0000000000000u);
        most[j] = t > most[j] ? t : most[j];
    }
}

KERNEL int largest_exponent(const double *v, ptrdiff_t n)
{
    double most[SUM_LANES], largest = 0;
    ptrdiff_t i = 0;
    if (n >= SUM_LANES) {
        for (int j = 0; j < SUM_LANES; j++)
            most[j] = 0;
        for (; i + SUM_LANES <= n; i += SUM_LANES)
            larger_exponents(v + i, most);
        for (int j = 0; j < SUM_LANES; j++)
            largest = most[j] > largest ? most[j] : largest;
    }
    for (; i < n; i++) {
        double t = real_f64(bits_f64(v[i]) & 0x7ff0000000000000u);
        largest = t > largest ? t : largest;
    }
    return (int)(bits_f64(largest) >> 52);
}

/* Split one part off a value. Add its multiple to `sum`, and return the remainder. */
INLINE double take_part(double v, double magic, uint64_t *sum)
{
    const double t = v + magic;
    *sum += bits_f64(t);
    return v - (t - magic);
}

/* Return 1.5 * 2^(a + 1), for a part of values below 2^a. The lowest part ends at 2^-1074. */
INLINE double magic_of(int a)
{
    return 1.5 * real_f64((uint64_t)((a < -1023 ? -1023 : a) + 1 + 1023) << 52);
}

INLINE int bit_of(int a)
{
    return (a < -1023 ? -1023 : a) - 51 + 1074;
}

/* Add up the lanes, and subtract the bits of `magic` that each of the n terms brought. */
INLINE int64_t part_of(const uint64_t *sum, ptrdiff_t n, double magic)
{
    uint64_t total = 0;
    for (int j = 0; j < SUM_LANES; j++)
        total += sum[j];
    return (int64_t)(total - (uint64_t)n * bits_f64(magic));
}

/* Return the term for a value: the value or its square. */
INLINE double term(double v, const int squares)
{
    return squares ? v * v : v;
}

/* Split two parts off SUM_LANES terms. Add the bits of the remainders to `left`. */
INLINE void take_two(const double *v, const int squares, double first, double second, uint64_t *sum,
                     uint64_t *sum2, uint64_t *left)
{
    for (int j = 0; j < SUM_LANES; j++)
        left[j] |= bits_f64(take_part(take_part(term(v[j], squares), first, sum + j), second, sum2 + j));
}

/* Split one part off the remainders of SUM_LANES terms. */
INLINE void take_one(double *rest, double magic, uint64_t *sum, uint64_t *left)
{
    for (int j = 0; j < SUM_LANES; j++) {
        rest[j] = take_part(rest[j], magic, sum + j);
        left[j] |= bits_f64(rest[j]) << 1; /* without the sign, because -0 is 0 */
    }
}

/* Compute the parts of the exact sum of terms that are below 2^a. */
INLINE int exact(const double *v, ptrdiff_t n, const int squares, const int a, int64_t *part, int *bit)
{
    if (a > 1000)
        return -1;
    double tail[SUM_LANES];
    uint64_t sum[SUM_LANES], sum2[SUM_LANES], left[SUM_LANES];
    for (int j = 0; j < SUM_LANES; j++) {
        sum[j] = sum2[j] = left[j] = 0;
        tail[j] = 0;
    }
    const double first = magic_of(a), second = magic_of(a - 52);
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        take_two(v + i, squares, first, second, sum, sum2, left);
    if (i < n) {
        for (ptrdiff_t j = i; j < n; j++)
            tail[j - i] = v[j];
        take_two(tail, squares, first, second, sum, sum2, left);
        i += SUM_LANES;
    }
    bit[0] = bit_of(a);
    part[0] = part_of(sum, i, first);
    bit[1] = bit_of(a - 52);
    part[1] = part_of(sum2, i, second);
    uint64_t any = 0;
    for (int j = 0; j < SUM_LANES; j++)
        any |= left[j];
    if (!any)
        return 2;

    /* Rare: terms of very different sizes. */
    double rest[BLOCK];
    for (ptrdiff_t j = 0; j < i; j++) {
        uint64_t unused = 0;
        rest[j] = j < n ? take_part(take_part(term(v[j], squares), first, &unused), second, &unused) : 0;
    }
    for (int parts = 2;; parts++) {
        if (parts == MAX_PARTS) /* no double needs as many, so another thread has changed v */
            return -1;
        for (int j = 0; j < SUM_LANES; j++)
            sum[j] = left[j] = 0;
        const double next = magic_of(a - 52 * parts);
        for (ptrdiff_t j = 0; j < i; j += SUM_LANES)
            take_one(rest + j, next, sum, left);
        bit[parts] = bit_of(a - 52 * parts);
        part[parts] = part_of(sum, i, next);
        any = 0;
        for (int j = 0; j < SUM_LANES; j++)
            any |= left[j];
        if (!any)
            return parts + 1;
    }
}

KERNEL int exact_sum(const double *v, ptrdiff_t n, int exponent, int64_t *part, int *bit)
{
    return exact(v, n, 0, exponent - 1022, part, bit);
}

KERNEL int exact_squares(const double *v, ptrdiff_t n, int exponent, int64_t *part, int *bit)
{
    return exact(v, n, 1, 2 * (exponent - 1022), part, bit);
}
