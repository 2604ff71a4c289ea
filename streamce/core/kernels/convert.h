/* Conversions. Half precision is converted by shifting bits, because not all machines have an instruction for
   it. Conversions to a wider type are exact. The others round to nearest, ties to even. */

KERNEL void float16_to_float32(const uint16_t *RESTRICT h, ptrdiff_t n, float *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        /* The sign goes to the top bit, and the other bits move up by 13. */
        uint32_t b = (uint32_t)(int32_t)(int16_t)h[i] << 13 & 0x8fffe000u;
        /* A product changes the exponent's bias from 15 to 127, also for subnormals. The largest
           exponent (inf, NaN) must become the largest exponent of a float. */
        float f = real_f32(b) * 5.192296858534828e+33f; /* 2^112 */
        out[i] = real_f32(bits_f32(f) | ((b & 0x0f800000u) == 0x0f800000u ? 0x7f800000u : 0u));
    }
}

KERNEL void bfloat16_to_float32(const uint16_t *RESTRICT h, ptrdiff_t n, float *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = real_f32((uint32_t)h[i] << 16);
}

KERNEL void float32_to_float64(const float *RESTRICT x, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (double)x[i];
}

KERNEL void float64_to_float32(const double *RESTRICT x, ptrdiff_t n, float *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (float)x[i];
}

KERNEL void float32_to_float16(const float *RESTRICT x, ptrdiff_t n, uint16_t *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t b = bits_f32(x[i]), size = b & 0x7fffffffu;
        /* For subnormals, adding 0.5 rounds to the bits that they have. */
        const uint32_t small = bits_f32(real_f32(size) + 0.5f) - 0x3f000000u;
        /* Otherwise, the bits that are removed round the last bit that remains. A carry may give infinity. */
        const uint32_t normal = (size - 0x38000000u + 0x0fffu + (size >> 13 & 1u)) >> 13;
        const uint32_t large = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
        const uint32_t finite = size < 0x38800000u ? small : normal;
        out[i] = (uint16_t)((b >> 16 & 0x8000u) | (size >= 0x47800000u ? large : finite));
    }
}

KERNEL void float32_to_bfloat16(const float *RESTRICT x, ptrdiff_t n, uint16_t *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        const uint32_t b = bits_f32(x[i]);
        const uint32_t rounded = (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
        out[i] = (uint16_t)((b & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
    }
}

KERNEL int labels_i64(const int64_t *RESTRICT t, ptrdiff_t n, ptrdiff_t classes, int64_t *RESTRICT label)
{
    uint64_t other = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        label[i] = t[i];
        other |= (uint64_t)t[i] >= (uint64_t)classes;
    }
    return other != 0;
}

KERNEL int outcomes_i64(const int64_t *RESTRICT t, ptrdiff_t n, double *RESTRICT y)
{
    uint64_t other = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        other |= (uint64_t)t[i] & ~(uint64_t)1;
        y[i] = real_f64(0x3ff0000000000000u & (0 - ((uint64_t)t[i] & 1))); /* 1.0 or 0.0 */
    }
    return other != 0;
}

KERNEL int outcomes_u8(const uint8_t *RESTRICT t, ptrdiff_t n, double *RESTRICT y)
{
    unsigned other = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        other |= t[i] & 0xfeu;
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = (double)(t[i] & 1);
    return other != 0;
}

/* Return whether all soft outcomes are 0 or 1. */
KERNEL int are_outcomes(const double *RESTRICT y, ptrdiff_t n)
{
    uint64_t other = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        other |= (uint64_t)((y[i] != 0.0) & (y[i] != 1.0));
    return other == 0;
}
