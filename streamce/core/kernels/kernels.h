/* The kernels: arrays in, per-sample losses out. No Python, no allocation, no state.
 *
 * a) One body. body.h includes every kernel once. Each instruction set is a file of a few
 *    lines (sse2.c, avx2.c, avx512.c, neon.c) that names itself and includes body.h, so a
 *    kernel is written once and compiled per instruction set. dispatch.c fills the table
 *    at import.
 *
 * b) Same bits everywhere. Plain C loops over lane arrays, which every compiler vectorises
 *    without reordering a sum; no fast-math, no fma, no libm. What is added to what depends
 *    on the number of classes C alone:
 *
 *      few classes      lanes are rows. TILE rows are transposed into a tile, whose line c
 *      (C <= SMALL)     holds class c of each of them; every row's classes are added in order.
 *
 *      many classes     lanes are classes: class c goes to lane c mod LANES. The last lanes of
 *      (C > SMALL)      a row are read together with some that were read before, which are
 *                       left out of the sums, so that nothing has to be padded.
 *
 *    In both, at most CHAIN values (8 floats, 16 doubles; 4 with soft targets or smoothing)
 *    are added before the partial sum is moved to a wider one. rows.h has the figures.
 *
 * c) Invalid in, NaN out. A row that holds NaN, or a probability outside [0, 1], comes out
 *    as NaN and nothing else does; the caller looks at such rows one by one. Infinite
 *    logits come out as NaN as well and are settled there.
 *
 * d) Rows lie `stride` elements apart, classes next to each other. A block is gathered or
 *    converted before it comes here; kernels know float and double only.
 *
 * e) At the memory's pace. While a row or a tile is worked on, the next one is asked for
 *    (PREFETCH). Loops have 32 lanes or 64: GCC turns shorter ones into scalars before it
 *    vectorises. No `a[j] = b ? c : a[j]` beside other work: GCC makes of it a branch that
 *    skips the store, whose time depends on the data. Long chains of operations are cut in two
 *    loops where that lets the processor work on more elements at once.
 */
#ifndef STREAMCE_KERNELS_H
#define STREAMCE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* GCC defines a macro for each part of fast-math, Clang for the whole and -ffinite-math-only alone. */
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(_M_FP_FAST)
#error "streamce is exact: build it without -ffast-math or any part of it"
#endif
/* x87 keeps more digits than a double has, in some places. 16 speaks of _Float16 alone. */
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "streamce is exact: build it with -mfpmath=sse, so that a double has 53 bits everywhere"
#endif

/* Losses handled at a time by the element kernels and the exact sum. */
#define BLOCK 2048
#define NOT_FINITE 0x7ff
/* The least floor of probabilities that are taken as floats: the smallest normal one. */
#define LEAST_FLOOR_F32 1.1754943508222875e-38
/* Rows that are handled at a time where there are few classes. */
#define TILE 32
/* Words of 52 bits that cover every double. */
#define MAX_PARTS 44
/* The lattice of a CTC loss: doubles before the lanes of a line, and lines. */
#define CTC_FRONT 8
#define CTC_LINES 11

typedef struct {
    const char *name;

    /* Rows: m = largest x, u = (sum of e^(x - m) over all classes but the first largest).
       The log of the sum of exponentials is m + log1p(u). If asked for (not NULL), gap is the
       sum of m - x. */
    void (*softmax_rows_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *m,
                             double *u, double *gap);
    void (*softmax_rows_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *m,
                             double *u, double *gap);
    /* The same for rows with soft targets q: dot is the sum of q (m - x), total the sum of q, NaN
       where one of them is outside [0, 1]. */
    void (*softmax_soft_f32)(const float *x, ptrdiff_t stride, const float *q, ptrdiff_t q_stride, ptrdiff_t rows,
                             ptrdiff_t classes, double *m, double *u, double *gap, double *dot, double *total);
    void (*softmax_soft_f64)(const double *x, ptrdiff_t stride, const double *q, ptrdiff_t q_stride,
                             ptrdiff_t rows, ptrdiff_t classes, double *m, double *u, double *gap, double *dot,
                             double *total);
    /* Rows: x of one class each. */
    void (*pick_f32)(const float *x, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows, double *out);
    void (*pick_f64)(const double *x, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows, double *out);
    /* Rows: the sum of probabilities. */
    void (*sum_rows_f32)(const float *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    void (*sum_rows_f64)(const double *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    /* The same, added up as softmax_soft does: its total, to the bit. */
    void (*soft_totals_f32)(const float *q, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *total);
    void (*soft_totals_f64)(const double *q, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *total);
    /* Rows: the sum of e^x of log-probabilities; NaN where one is above 0. */
    void (*sum_exps_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    void (*sum_exps_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    /* Rows: x of n classes each, the same of every row. */
    void (*gather_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, const int64_t *label, ptrdiff_t n,
                       double *out);
    void (*gather_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, const int64_t *label, ptrdiff_t n,
                       double *out);
    /* Rows: sum of a * b; 0 * inf is 0. b_stride 0 uses one b for all rows. */
    void (*dot_rows)(const double *a, ptrdiff_t stride, const double *b, ptrdiff_t b_stride,
                     ptrdiff_t rows, ptrdiff_t classes, double *dot);

    /* Rows next to each other: sums in order, what additions round away added in the end. */
    void (*sum_in_order)(const double *v, ptrdiff_t rows, ptrdiff_t classes, double *out);

    /* Elements: -log of p, held between floor and ceiling first; of doubles that hold floats to a
       float's accuracy. */
    void (*neg_log_f32)(const double *p, ptrdiff_t n, double floor, double ceiling, double *out);
    void (*neg_log_f64)(const double *p, ptrdiff_t n, double floor, double ceiling, double *out);
    /* The cost of logit x of a row, from its m and u; u becomes its log1p. */
    void (*softmax_costs_f32)(const double *m, double *u, const double *x, ptrdiff_t n, double *out);
    void (*softmax_costs_f64)(const double *m, double *u, const double *x, ptrdiff_t n, double *out);
    void (*exp)(const double *x, ptrdiff_t n, double *out);

    /* Elements: the cost of outcome y (0 or 1) under a binary prediction; u is scratch memory, in which
       binary_logits leaves e^-|x| (as floats, those of f32) for its gradient. */
    void (*binary_probs_f32)(const float *p, const double *y, ptrdiff_t n, double floor, double ceiling,
                             double *u, double *out);
    void (*binary_probs_f64)(const double *p, const double *y, ptrdiff_t n, double floor, double ceiling,
                             double *u, double *out);
    void (*binary_log_probs)(const double *x, const double *y, ptrdiff_t n, double cap, double *u, double *out);
    void (*binary_logits_f32)(const float *x, const double *y, ptrdiff_t n, double *u, double *out);
    void (*binary_logits_f64)(const double *x, const double *y, ptrdiff_t n, double *u, double *out);

    /* n and d of soft outcomes: see elements.h. */
    void (*mix_outcomes)(const double *a, const double *b, const double *y, ptrdiff_t n, double smoothing,
                         const double *positive, const double *negative, const double *positive_d,
                         const double *negative_d, double *n_out, double *d_out);

    /* CTC, by a lattice of CTC_LINES lines of n lanes: see ctc.h. n is above the number of labels; what is in lane
       `labels` and beyond is the blank's. */
    void (*ctc_begin)(const int64_t *label, ptrdiff_t n, ptrdiff_t labels, int plain, double *lattice);
    void (*ctc_emissions)(double *x, ptrdiff_t frames, ptrdiff_t n, int logs, const double *most,
                          const double *scale, double *e);
    void (*ctc_forward)(const double *m, const double *e, ptrdiff_t frames, ptrdiff_t n, ptrdiff_t labels,
                        double *lattice);
    double (*ctc_loss)(double *lattice, ptrdiff_t n, ptrdiff_t labels);
    void (*ctc_shares)(double *x, ptrdiff_t frames, ptrdiff_t n, int logs, const double *most, const double *others,
                       const double *scale, double *c);
    void (*ctc_leak)(const double *p, const double *c, ptrdiff_t frames, ptrdiff_t n, ptrdiff_t labels, int normal,
                     double *lattice);
    double (*ctc_small_loss)(double *lattice, ptrdiff_t n, ptrdiff_t labels);

    /* Whether every v is in [low, high]; NaN is not. */
    int (*all_within)(const double *v, ptrdiff_t n, double low, double high);

    /* Gradients: see gradients.h. Rows of logits, from their m and u, less share * q + base if `mixed` or
       with q; q_stride 0 uses one q for all rows. Where q is NULL, and not mixed, share and base are not
       looked at. */
    void (*softmax_gradient_f32)(const float *x, ptrdiff_t stride, const float *q, ptrdiff_t q_stride,
                                 ptrdiff_t rows, ptrdiff_t classes, const double *m, const double *u,
                                 const double *whole, const double *share, const double *base, int mixed,
                                 float *out, ptrdiff_t out_stride);
    void (*softmax_gradient_f64)(const double *x, ptrdiff_t stride, const double *q, ptrdiff_t q_stride,
                                 ptrdiff_t rows, ptrdiff_t classes, const double *m, const double *u,
                                 const double *whole, const double *share, const double *base, int mixed,
                                 double *out, ptrdiff_t out_stride);
    /* Then the true classes of rows with labels, whose logits are x: less what they count (own). */
    void (*label_gradient_f32)(const int64_t *label, ptrdiff_t rows, const double *x, const double *m,
                               const double *u, const double *whole, const double *own, const double *left,
                               float *out, ptrdiff_t out_stride);
    void (*label_gradient_f64)(const int64_t *label, ptrdiff_t rows, const double *x, const double *m,
                               const double *u, const double *whole, const double *own, const double *left,
                               double *out, ptrdiff_t out_stride);
    /* Rows of probabilities (bound: their floor), or of logarithms (bound: the floor's cost). */
    void (*share_gradient_f32)(const float *x, ptrdiff_t stride, const double *v, ptrdiff_t v_stride,
                               const double *weight, ptrdiff_t rows, ptrdiff_t classes, double bound, int logs,
                               float *out, ptrdiff_t out_stride);
    void (*share_gradient_f64)(const double *x, ptrdiff_t stride, const double *v, ptrdiff_t v_stride,
                               const double *weight, ptrdiff_t rows, ptrdiff_t classes, double bound, int logs,
                               double *out, ptrdiff_t out_stride);
    /* Elements: what the outcomes 1 and 0 count, a and b, and the gradients from these. Those of logits want
       the scratch memory of their costs as it was left. */
    void (*outcome_shares)(const double *y, ptrdiff_t n, double smoothing, const double *positive,
                           const double *negative, const double *weight, double divisor, double *a, double *b);
    void (*binary_logits_gradient_f32)(const float *x, const double *scratch, const double *a, const double *b,
                                       ptrdiff_t n, float *out);
    void (*binary_logits_gradient_f64)(const double *x, const double *scratch, const double *a, const double *b,
                                       ptrdiff_t n, double *out);
    void (*binary_probs_gradient_f32)(const float *p, const double *a, const double *b, ptrdiff_t n, double floor,
                                      float *out);
    void (*binary_probs_gradient_f64)(const double *p, const double *a, const double *b, ptrdiff_t n, double floor,
                                      double *out);
    void (*binary_log_probs_gradient)(const double *x, const double *a, const double *b, ptrdiff_t n,
                                      double floor, double cap, double *scratch, double *out);

    /* The largest exponent, as its bits; NOT_FINITE if a value is infinite or NaN. */
    int (*largest_exponent)(const double *v, ptrdiff_t n);
    /* The exact sum of n <= BLOCK doubles or of their squares (each rounded once), as the sum of
       part[i] * 2^(bit[i] - 1074). `exponent` is the largest one, or more. Returns the number of
       parts, or -1 when a term may be beyond 2^1000, infinite or NaN. */
    int (*exact_sum)(const double *v, ptrdiff_t n, int exponent, int64_t *part, int *bit);
    int (*exact_squares)(const double *v, ptrdiff_t n, int exponent, int64_t *part, int *bit);

    /* Conversions: exact, or rounded to nearest. */
    void (*float16_to_float32)(const uint16_t *h, ptrdiff_t n, float *out);
    void (*bfloat16_to_float32)(const uint16_t *h, ptrdiff_t n, float *out);
    void (*float32_to_float64)(const float *x, ptrdiff_t n, double *out);
    void (*float64_to_float32)(const double *x, ptrdiff_t n, float *out);
    void (*float32_to_float16)(const float *x, ptrdiff_t n, uint16_t *out);
    void (*float32_to_bfloat16)(const float *x, ptrdiff_t n, uint16_t *out);
    /* Labels of rows as they are; returns 0 unless one is not in [0, classes). */
    int (*labels_i64)(const int64_t *t, ptrdiff_t n, ptrdiff_t classes, int64_t *label);
    /* Outcomes of binary targets: y = 1, 0; returns 0 unless each value is 0 or 1. */
    int (*outcomes_i64)(const int64_t *t, ptrdiff_t n, double *y);
    int (*outcomes_u8)(const uint8_t *t, ptrdiff_t n, double *y);
    /* Whether soft outcomes are all 0 or 1. */
    int (*are_outcomes)(const double *y, ptrdiff_t n);
} kernel_table;

/* The table in use: the best instruction set the machine has, or the one that
   STREAMCE_SIMD names. */
extern const kernel_table *kernels;

/* Choose by name (NULL: the best). Returns 0, or -1: unknown or not supported here. */
int kernels_use(const char *name);
/* The i-th instruction set this machine supports, worst first; NULL past the end. */
const char *kernels_supported(int i);

#endif
