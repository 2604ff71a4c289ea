/* exp and log with the same bits on every machine. They have no branches, so that the loops that
   call them are vectorised.

   exp   n = round(x log2 e), r = x - n ln 2, e^x = 2^n (1 + r + r^2 q(r)). ln 2 has two parts,
         and the product of n and the first part is exact. The integer n is in the low bits of
         x log2 e + 1.5 * 2^(mantissa bits).
   log   u = 2^k (1 + f), log u = k ln 2 + log(1 + f), s = f / (2 + f),
         log(1 + f) = f - (f^2/2 - s (f^2/2 + R(s^2))). This is the form of FreeBSD's e_log.c
         (Ng, 1993) with other coefficients. */

INLINE uint32_t bits_f32(float x) { uint32_t b; memcpy(&b, &x, 4); return b; }
INLINE float real_f32(uint32_t b) { float x; memcpy(&x, &b, 4); return x; }
INLINE uint64_t bits_f64(double x) { uint64_t b; memcpy(&b, &x, 8); return b; }
INLINE double real_f64(uint64_t b) { double x; memcpy(&x, &b, 8); return x; }

#define NOT_A_NUMBER real_f64(0x7ff8000000000000u)
#define INFINITE real_f64(0x7ff0000000000000u)
#define SMALLEST64 2.2250738585072014e-308 /* the smallest normal double */

#define LN2 0.693147180559945309417
#define LOG2E 1.44269504088896340736

/* Round x log2 e to an integer. */
#define ROUND32 12582912.0f          /* 1.5 * 2^23 */
#define ROUND64 6755399441055744.0   /* 1.5 * 2^52 */
INLINE float powers_f32(float x) { return (x * (float)LOG2E + ROUND32) - ROUND32; }
INLINE double powers_f64(double x) { return (x * LOG2E + ROUND64) - ROUND64; }

/* e^x 2^-top, which must be below 2^127 (2^1023). Results below 2^-126 (2^-1022) are 0. |x| is at most
   a few hundred (thousand): see BIG in rows.h. The comparison is written with < so that NaN stays NaN.
   `least` is the smallest x and `start` the start of the exponent. Both depend only on top, so they are
   computed once. */
INLINE float least_f32(float top) { return (top - 127.0f) * (float)LN2; }
INLINE double least_f64(double top) { return (top - 1023.0) * LN2; }
INLINE uint32_t start_f32(float top) { return 127u - bits_f32(top + ROUND32); }
INLINE uint64_t start_f64(double top) { return 1023u - bits_f64(top + ROUND64); }

INLINE float scaled_exp_f32(float x, float least, uint32_t start)
{
    x = x < least ? least : x;
    float t = x * (float)LOG2E + ROUND32;
    float n = t - ROUND32;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float q = (((EXP32[4] * r + EXP32[3]) * r + EXP32[2]) * r + EXP32[1]) * r + EXP32[0];
    float p = (q * (r * r) + r) + 1.0f;
    return p * real_f32((bits_f32(t) + start) << 23);
}

/* e^r for |r| <= log(2) / 2 */
INLINE double exp_near_0(double r)
{
    double q = EXP64[9];
    q = q * r + EXP64[8];
    q = q * r + EXP64[7];
    q = q * r + EXP64[6];
    q = q * r + EXP64[5];
    q = q * r + EXP64[4];
    q = q * r + EXP64[3];
    q = q * r + EXP64[2];
    q = q * r + EXP64[1];
    q = q * r + EXP64[0];
    return (q * (r * r) + r) + 1.0;
}

INLINE double scaled_exp_f64(double x, double least, uint64_t start)
{
    x = x < least ? least : x;
    double t = x * LOG2E + ROUND64;
    double n = t - ROUND64;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    return exp_near_0(r) * real_f64((bits_f64(t) + start) << 52);
}

/* log(2^shift u) + c for a normal u. For infinity and NaN, return u. c is the relative rounding error
   (true u - u) / u. */
INLINE double log_shifted(double u, double shift, double c)
{
    uint64_t b = bits_f64(u) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
    /* The exponent as a double, through the low bits of 2^52: k + 1023. */
    double k = real_f64((b >> 52) | 0x4330000000000000u) - (4503599627371519.0 - shift);
    double f = real_f64((b & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu) - 1.0;
    double s = f / (2.0 + f);
    double z = s * s;
    double R = LOG64[6];
    R = R * z + LOG64[5];
    R = R * z + LOG64[4];
    R = R * z + LOG64[3];
    R = R * z + LOG64[2];
    R = R * z + LOG64[1];
    R = R * z + LOG64[0];
    R = R * z;
    double half = 0.5 * f * f;
    double l = k * 6.93147180369123816490e-01 -
               ((half - (s * (half + R) + (k * 1.90821492927058770002e-10 + c))) - f);
    return u <= 1.7976931348623157e308 ? l : u;
}

INLINE double log_normal(double u, double c)
{
    return log_shifted(u, 0.0, c);
}

/* log_normal for any u >= 0. */
INLINE double log_any(double u, double c)
{
    int tiny = u < SMALLEST64;
    double l = log_shifted(tiny ? u * 18014398509481984.0 : u, tiny ? -54.0 : 0.0, c); /* 2^54 */
    return u == 0.0 ? -INFINITE : l;
}

/* log(1 + v) for v >= 0. The rounding error of u = 1 + v is corrected with c. This needs 1/u to a few per
   cent only, and exactly at u = 1, so 2 - u is good enough. */
INLINE double log_1_plus(double v)
{
    double u = 1.0 + v;
    double inverse = 2.0 - u;
    inverse = inverse < 0.0 ? 0.0 : inverse;
    double lost = (1.0 - u) + v;
    lost = u <= 4.0 ? lost : 0.0; /* below half an ulp of the result */
    return log_normal(u, lost * inverse);
}

/* log(1 + f) in float, for f between sqrt(1/2) - 1 and 1. */
INLINE float log_1_plus_small_f32(float f)
{
    float s = f / (2.0f + f);
    float z = s * s;
    float R = (((LOG32[4] * z + LOG32[3]) * z + LOG32[2]) * z + LOG32[1]) * z + LOG32[0];
    return (s + s) + s * (z * R);
}

/* log(u) = k log(2) + l for a normal float u. Returns k. */
INLINE float log_parts_f32(float u, float *l)
{
    uint32_t b = bits_f32(u) + (0x3f800000u - 0x3f3504f3u);
    *l = log_1_plus_small_f32(real_f32((b & 0x007fffffu) + 0x3f3504f3u) - 1.0f);
    return real_f32((b >> 23) | 0x4b000000u) - 8388735.0f; /* 2^23 + 127 */
}

/* log(u) + c for a normal float u <= 1. It is computed in float except for the exponent, so that powers of
   two are exact. NaN stays NaN. */
INLINE double log_normal_f32(float u, float c)
{
    float l;
    float k = log_parts_f32(u, &l);
    l += c;
    return u <= 1.0f ? (double)k * LN2 + (double)l : (double)u;
}

/* log(1 + v) for v >= 0, in float except for the exponent. 1 + v = 2^k (1 + f) with k >= 0 and f >= 0, so
   that nothing cancels. The rounding error is corrected as in log_1_plus. */
INLINE double log_1_plus_f32(float v)
{
    float u = 1.0f + v;
    float lost = v <= 1.0f ? (1.0f - u) + v : (v - u) + 1.0f;
    float inverse = 2.0f - u;
    inverse = inverse < 0.0f ? 0.0f : inverse;
    uint32_t b = bits_f32(u);
    float k = real_f32((b >> 23) | 0x4b000000u) - 8388735.0f; /* 2^23 + 127 */
    float l = log_1_plus_small_f32(real_f32((b & 0x007fffffu) | 0x3f800000u) - 1.0f) + lost * inverse;
    return (double)k * LN2 + (double)l;
}
