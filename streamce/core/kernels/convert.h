/* Exact conversions, by shifts of the bits where the hardware has no instruction. */

KERNEL void float16_to_float32(const uint16_t *RESTRICT h, ptrdiff_t n, float *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        uint32_t sign = (uint32_t)(h[i] & 0x8000u) << 16;
        uint32_t size = (uint32_t)(h[i] & 0x7fffu) << 13;
        /* The exponent's bias goes from 15 to 127 by a product, which is right for
           subnormals as well; the largest exponent (inf, NaN) has to become the largest. */
        float f = real32(size) * 5.192296858534828e+33f; /* 2^112 */
        uint32_t b = bits32(f) | (size >= 0x0f800000u ? 0x7f800000u : 0u);
        out[i] = real32(b | sign);
    }
}

KERNEL void bfloat16_to_float32(const uint16_t *RESTRICT h, ptrdiff_t n, float *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = real32((uint32_t)h[i] << 16);
}

KERNEL void float32_to_float64(const float *RESTRICT x, ptrdiff_t n, double *RESTRICT out)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = (double)x[i];
}

KERNEL int outcomes_i64(const int64_t *RESTRICT t, ptrdiff_t n, uint8_t *RESTRICT y)
{
    uint64_t other = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        other |= (uint64_t)t[i] & ~(uint64_t)1;
        y[i] = (uint8_t)(t[i] & 1);
    }
    return other != 0;
}

KERNEL int outcomes_u8(const uint8_t *RESTRICT t, ptrdiff_t n, uint8_t *RESTRICT y)
{
    unsigned other = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        other |= t[i] & 0xfeu;
        y[i] = t[i] & 1;
    }
    return other != 0;
}
