/* The bits of every kernel, without Python: calls each function of the table with numbers made of integers alone, and
   prints a digest of what it gives, for each instruction set that the machine has:

       sse2 exact_sum 0123456789abcdef

   Every platform has to print the digests of bits.txt. A NaN counts as a NaN, because its payload is the machine's;
   the library never lets one out. Numbers are hashed as integers, so the order of bytes does not matter. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "../../../streamce/core/kernels/control.h"
#include "../../../streamce/core/kernels/kernels.h"

#define ROWS 70
#define MOST (ROWS * 1003)
#define NAMES 80

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define STRING2(a) #a
#define STRING(a) STRING2(a)

/* ---- digests, by the kernel's name ---- */

static struct {
    const char *name;
    uint64_t hash;
} digests[NAMES];

static uint64_t *digest(const char *name)
{
    int i = 0;
    for (; i < NAMES && digests[i].name; i++)
        if (strcmp(digests[i].name, name) == 0)
            return &digests[i].hash;
    digests[i].name = name;
    digests[i].hash = 0xcbf29ce484222325u;
    return &digests[i].hash;
}

static void add(uint64_t *h, uint64_t word)
{
    *h = (*h ^ word) * 0x9e3779b97f4a7c15u;
    *h ^= *h >> 32;
}

static void add_real(uint64_t *h, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    add(h, x == x ? bits : 0x7ff8000000000000u);
}

static void hash_f64(uint64_t *h, const double *x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        add_real(h, x[i]);
}

/* ---- numbers ---- */

enum { LOGITS, PROBS, LOGS, WEIGHTS, WIDE_RANGE };

/* splitmix64 (Steele, Lea, Flood 2014) of a counter. */
static uint64_t random_bits(uint64_t seed, ptrdiff_t i)
{
    uint64_t z = (seed * 0x2545f4914f6cdd1du + (uint64_t)i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A double between 2^e and 2^(e + 1), of random bits. */
static double real(uint64_t bits, int e)
{
    const uint64_t b = (uint64_t)(e + 1023) << 52 | bits >> 12;
    double x;
    memcpy(&x, &b, sizeof x);
    return x;
}

static const double odd[5][8] = {
    {0.0, -0.0, 50.0, -90.0, 3e4, -3e4, 1e-310, -1e30},
    {0.0, 1.0, 0.5, 1e-40, 1e-310, 0.99609375, 1.5, -0.25},
    {0.0, -0.0, -36.0, -800.0, -1e4, -1e-310, 0.25, -0.6875},
    {0.0, 1.0, 0.5, 3.0, 1e-12, 1e12, 7.0, 0.0},
    {0.0, -0.0, 1e-310, -5e-324, 1e200, -1e200, 1.0, -1.0},
};

/* The i-th number of a kind: mostly ordinary, one in 64 odd. NaN and infinities are one in 512 of those that may hold
   them, so that most rows have none. */
static double number(int kind, uint64_t seed, ptrdiff_t i)
{
    const uint64_t bits = random_bits(seed, i), more = random_bits(seed ^ 0x5bd1e995u, i);
    const double infinite = real(0, 1024), nan = real(~(uint64_t)0, 1024);
    if (more % 64 == 0)
        return odd[kind][more / 64 % 8];
    if (kind < WEIGHTS && more % 512 == 1)
        return kind == LOGITS && more / 512 % 3 ? (more / 512 % 3 == 1 ? infinite : -infinite) : nan;
    const double sign = more >> 63 ? 1.0 : -1.0;
    switch (kind) {
    case LOGITS:
        return sign * real(bits, (int)(more / 512 % 9) - 4);
    case PROBS:
        return more >> 63 ? real(bits, -1 - (int)(more / 512 % 30)) : 1.0 - real(bits, -2 - (int)(more / 512 % 30));
    case LOGS:
        return -real(bits, 5 - (int)(more / 512 % 40));
    case WEIGHTS:
        return real(bits, (int)(more / 512 % 9) - 5);
    default:
        return sign * real(bits, (int)(more / 512 % 300) - 200);
    }
}

/* ---- kernels ---- */

#define NAME(kernel) STRING(T(kernel))
#define T(name) PASTE(name, f32)
#define REAL float
#include "rows.h"
#undef T
#undef REAL
#define T(name) PASTE(name, f64)
#define REAL double
#include "rows.h"
#undef T
#undef REAL

static void doubles_of(ptrdiff_t n, uint64_t seed)
{
    static double x[BLOCK], logs[BLOCK], p[BLOCK], y[BLOCK], u[BLOCK], out[BLOCK], a[BLOCK], b[BLOCK], w[BLOCK];
    for (ptrdiff_t i = 0; i < n; i++) {
        x[i] = number(LOGITS, seed, i);
        logs[i] = number(LOGS, seed + 1, i);
        p[i] = number(PROBS, seed + 2, i);
        y[i] = real(random_bits(seed + 3, i), -1 - (int)(i % 20));
        w[i] = number(WEIGHTS, seed + 4, i);
        a[i] = number(WEIGHTS, seed + 5, i);
        b[i] = number(WEIGHTS, seed + 6, i);
    }
    kernels->exp(x, n, out);
    hash_f64(digest("exp"), out, n);
    kernels->neg_log_f64(p, n, 0.0, 1.0, out);
    hash_f64(digest("neg_log_f64"), out, n);
    kernels->mix_outcomes(x, b, y, n, 0.1, w, a, a, w, out, u);
    hash_f64(digest("mix_outcomes"), out, n), hash_f64(digest("mix_outcomes"), u, n);
    for (int form = 0; form < 2; form++) {
        kernels->outcome_shares(y, n, 0.1, form ? w : NULL, form ? b : NULL, form ? a : NULL, 3.0, out, u);
        hash_f64(digest("outcome_shares"), out, n), hash_f64(digest("outcome_shares"), u, n);
    }
    static double mean[BLOCK], excess[BLOCK], variance[BLOCK];
    for (int logits = 0; logits < 2; logits++) {
        kernels->outcome_probs(x, p, n, out, u);
        kernels->outcome_moments(a, b, logits ? out : p, logits ? u : w, y, logits ? x : NULL, n, mean, excess,
                                 variance);
        hash_f64(digest("outcome_probs"), out, n), hash_f64(digest("outcome_probs"), u, n);
        hash_f64(digest("outcome_moments"), mean, n), hash_f64(digest("outcome_moments"), excess, n);
        hash_f64(digest("outcome_moments"), variance, n);
    }
    for (ptrdiff_t i = 0; i < n; i++)
        y[i] = (double)(i % 2);
    kernels->binary_log_probs(logs, y, n, 36.0, u, out);
    hash_f64(digest("binary_log_probs"), out, n);
    kernels->binary_log_probs_gradient(logs, a, b, n, 0x1p-52, 36.0, u, out);
    hash_f64(digest("binary_log_probs_gradient"), out, n);
    add(digest("all_within"), (uint64_t)(kernels->all_within(w, n, 0.0, 1e12) != 0));
    add(digest("all_within"), (uint64_t)(kernels->all_within(x, n, 0.0, 1.0) != 0));
    add(digest("are_outcomes"), (uint64_t)(kernels->are_outcomes(y, n) != 0));
    add(digest("are_outcomes"), (uint64_t)(kernels->are_outcomes(w, n) != 0));
}

static void sums_of(ptrdiff_t rows, ptrdiff_t classes, uint64_t seed)
{
    static double a[MOST], b[MOST], out[ROWS];
    for (ptrdiff_t i = 0; i < rows * classes; i++) {
        a[i] = number(LOGITS, seed, i);
        b[i] = number(PROBS, seed + 1, i);
    }
    for (ptrdiff_t stride = 0; stride <= classes; stride += classes) {
        kernels->dot_rows(a, classes, b, stride, rows, classes, out);
        hash_f64(digest("dot_rows"), out, rows);
    }
    kernels->sum_in_order(a, rows, classes, out);
    hash_f64(digest("sum_in_order"), out, rows);
}

static void exact_of(ptrdiff_t n, int kind, uint64_t seed)
{
    static double v[BLOCK];
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = number(kind, seed, i);
    const int exponent = kernels->largest_exponent(v, n);
    add(digest("largest_exponent"), (uint64_t)exponent);
    for (int squares = 0; squares < 2 && exponent < NOT_FINITE; squares++) {
        int64_t part[MAX_PARTS];
        int bit[MAX_PARTS];
        uint64_t *h = digest(squares ? "exact_squares" : "exact_sum");
        const int parts = (squares ? kernels->exact_squares : kernels->exact_sum)(v, n, exponent, part, bit);
        add(h, (uint64_t)(int64_t)parts);
        for (int i = 0; i < parts; i++) {
            add(h, (uint64_t)part[i]);
            add(h, (uint64_t)(int64_t)bit[i]);
        }
    }
}

/* Of float16 or bfloat16, whose infinity is given. */
static void hash_halves(uint64_t *h, const uint16_t *half, ptrdiff_t n, unsigned infinity)
{
    for (ptrdiff_t i = 0; i < n; i++)
        add(h, (half[i] & 0x7fffu) > infinity ? 0x7fffu : half[i]);
}

static void conversions_of(ptrdiff_t n, uint64_t seed)
{
    static uint16_t half[BLOCK];
    static float x[BLOCK];
    static double wide[BLOCK];
    static int64_t t[BLOCK], label[BLOCK];
    static uint8_t small[BLOCK];
    for (ptrdiff_t i = 0; i < n; i++) {
        half[i] = (uint16_t)random_bits(seed, i);
        wide[i] = number(i % 2 ? WIDE_RANGE : LOGITS, seed + 1, i);
        t[i] = (int64_t)(random_bits(seed + 2, i) % 7);
        small[i] = (uint8_t)(t[i] % 2);
    }
    kernels->float16_to_float32(half, n, x);
    hash_reals_f32(digest("float16_to_float32"), x, n);
    kernels->bfloat16_to_float32(half, n, x);
    hash_reals_f32(digest("bfloat16_to_float32"), x, n);
    kernels->float64_to_float32(wide, n, x);
    hash_reals_f32(digest("float64_to_float32"), x, n);
    kernels->float32_to_float16(x, n, half);
    hash_halves(digest("float32_to_float16"), half, n, 0x7c00);
    kernels->float32_to_bfloat16(x, n, half);
    hash_halves(digest("float32_to_bfloat16"), half, n, 0x7f80);
    kernels->float32_to_float64(x, n, wide);
    hash_f64(digest("float32_to_float64"), wide, n);
    for (int classes = 4; classes < 10; classes += 4) {
        add(digest("labels_i64"), (uint64_t)(kernels->labels_i64(t, n, classes, label) != 0));
        add(digest("labels_i64"), (uint64_t)label[n / 2]);
    }
    add(digest("outcomes_i64"), (uint64_t)(kernels->outcomes_i64(t, n, wide) != 0));
    hash_f64(digest("outcomes_i64"), wide, n);
    add(digest("outcomes_u8"), (uint64_t)(kernels->outcomes_u8(small, n, wide) != 0));
    hash_f64(digest("outcomes_u8"), wide, n);
}

/* An utterance of `frames`, whose probabilities are in lanes: its labels, the blank, and lanes that do not count. */
static void ctc_of(ptrdiff_t frames, ptrdiff_t labels, int logs, int logits, uint64_t seed)
{
    enum { LANES = 40, FRAMES = 60 };
    static double x[FRAMES * LANES], copy[FRAMES * LANES], e[FRAMES * LANES], most[FRAMES], scale[FRAMES],
        others[FRAMES], lattice[CTC_LINES * (LANES + CTC_FRONT)];
    static int64_t label[LANES];
    const ptrdiff_t n = labels + 1 + (ptrdiff_t)(seed % 3);
    for (ptrdiff_t j = 0; j < n; j++)
        label[j] = (int64_t)(random_bits(seed, j) % 3);
    for (ptrdiff_t t = 0; t < frames; t++) {
        most[t] = -1e308;
        for (ptrdiff_t j = 0; j < n; j++) {
            const uint64_t bits = random_bits(seed + 1, t * n + j);
            const double p = real(bits, -2 - (int)(bits % 9));
            double *at = &x[t * n + j];
            *at = !logs ? p : logits ? 8.0 * p - 4.0 : -8.0 * p;
            most[t] = *at > most[t] ? *at : most[t];
        }
        others[t] = real(random_bits(seed + 2, t), -3);
        scale[t] = 1.0 / (1.0 + others[t]);
    }
    memcpy(copy, x, sizeof x);
    kernels->ctc_begin(label, n, labels, 0, lattice);
    hash_f64(digest("ctc_begin"), lattice, CTC_LINES * (n + CTC_FRONT));
    kernels->ctc_emissions(x, frames, n, logs, logits ? most : NULL, scale, e);
    hash_f64(digest("ctc_emissions"), x, frames * n), hash_f64(digest("ctc_emissions"), e, frames * n);
    kernels->ctc_forward(x, e, frames, n, labels, lattice);
    hash_f64(digest("ctc_forward"), lattice, CTC_LINES * (n + CTC_FRONT));
    add_real(digest("ctc_loss"), kernels->ctc_loss(lattice, n, labels));
    kernels->ctc_begin(label, n, labels, 1, lattice);
    kernels->ctc_shares(copy, frames, n, logs, logits ? most : NULL, others, scale, e);
    hash_f64(digest("ctc_shares"), copy, frames * n), hash_f64(digest("ctc_shares"), e, frames * n);
    kernels->ctc_leak(copy, e, frames, n, labels, logits, lattice);
    hash_f64(digest("ctc_leak"), lattice, CTC_LINES * (n + CTC_FRONT));
    add_real(digest("ctc_small_loss"), kernels->ctc_small_loss(lattice, n, labels));
}

static void all(void)
{
    static const int classes[] = {2, 3, 4, 5, 10, 17, 31, 32, 33, 64, 127, 128, 129, 160, 255, 256, 257, 300, 1000};
    static const int rows[] = {1, 31, 32, ROWS};
    static const int sizes[] = {1, 2, 31, 32, 33, 100, 1000, BLOCK};
    uint64_t seed = 1;
    for (size_t c = 0; c < sizeof classes / sizeof *classes; c++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++, seed += 100) {
            const int stride = classes[c] + (r % 2 ? 3 : 0);
            rows_of_f32(rows[r], classes[c], stride, seed);
            rows_of_f64(rows[r], classes[c], stride, seed + 10);
            sums_of(rows[r], classes[c], seed + 20);
        }
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++, seed += 100) {
        elements_of_f32(sizes[s], seed);
        elements_of_f64(sizes[s], seed + 10);
        doubles_of(sizes[s], seed + 20);
        conversions_of(sizes[s], seed + 30);
        for (int kind = 0; kind <= WIDE_RANGE; kind++)
            exact_of(sizes[s], kind, seed + 40 + (uint64_t)kind);
    }
    for (int kind = 0; kind < 3; kind++)
        for (int labels = 1; labels < 30; labels += 7)
            for (int frames = 1; frames <= 60; frames += 1 + frames, seed += 100)
                ctc_of(frames, labels, kind > 0, kind > 1, seed);
}

int main(void)
{
    const char *name;
    for (int i = 0; (name = kernels_supported(i)) != NULL; i++) {
        kernels_use(name);
        memset(digests, 0, sizeof digests);
        const unsigned long long saved = fp_enter();
        all();
        fp_leave(saved);
        for (int k = 0; k < NAMES && digests[k].name; k++)
            printf("%s %s %08lx%08lx\n", name, digests[k].name, (unsigned long)(digests[k].hash >> 32),
                   (unsigned long)(digests[k].hash & 0xffffffffu));
    }
    return 0;
}
