/* The kernels: arrays in, losses out. They call no Python, allocate nothing and have no state.
 *
 * a) One body. body.h includes every kernel once. Each instruction set has a file of a few lines
 *    (sse2.c, avx2.c, avx512.c, neon.c), which includes body.h. A kernel is therefore written
 *    once and compiled for each instruction set. dispatch.c fills the table at import.
 *
 * b) The same bits everywhere. Kernels are plain C loops over arrays of lanes, which compilers
 *    vectorise without reordering a sum. They use no fast-math, no fma and no libm. The order of
 *    additions depends only on the number of classes C:
 *
 *      few classes      Lanes are rows. TILE rows are transposed into a tile, whose line c holds
 *      (C <= SMALL)     class c of each row. The classes of a row are added in order.
 *
 *      many classes     Lanes are classes: class c goes to lane c mod LANES. The last LANES
 *      (C > SMALL)      classes of a row are read together. Those among them that were already
 *                       added are left out of the sums, so that no row needs padding.
 *
 *    In both cases, at most CHAIN values (8 floats or 16 doubles; 4 with soft targets or
 *    smoothing) are added before the partial sum is moved to a wider one: see rows.h.
 *
 * c) Invalid in, NaN out. A row with NaN or with a probability outside [0, 1] gives NaN. Apart
 *    from these, only rows with infinite logits do. The caller checks such rows one by one.
 *
 * d) Rows lie `stride` elements apart, and their classes are contiguous. The caller gathers or
 *    converts other blocks first. Kernels know only float and double.
 *
 * e) As fast as memory. While a row or a tile is processed, the next one is prefetched. Loops have
 *    32 or 64 lanes, because GCC turns shorter loops into scalars before it vectorises. There is no
 *    `a[j] = b ? c : a[j]` beside other work, because GCC turns it into a branch around the store,
 *    whose time depends on the data. Long chains of operations are split into two loops if that
 *    lets the processor work on more elements at once.
 */
#ifndef STREAMCE_KERNELS_H
#define STREAMCE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* GCC defines a macro for each part of fast-math. Clang has macros only for fast-math and for -ffinite-math-only. */
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || \
    defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || \
    defined(_M_FP_FAST)
#error "streamce is exact: build it without -ffast-math or any part of it"
#endif
/* x87 computes with more digits than a double has. The value 16 concerns only _Float16. */
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "streamce is exact: build it with -mfpmath=sse, so that a double has 53 bits everywhere"
#endif

/* The largest number of losses in a block. */
#define BLOCK 2048
#define NOT_FINITE 0x7ff
/* The smallest floor of probabilities that are computed in float: the smallest normal float. */
#define MIN_FLOOR_F32 1.1754943508222875e-38
/* Rows of a tile. */
#define TILE 32
/* Sums of probabilities by class: see shares.h. Terms are at most SHARE_MOST, so that sums of SHARE_ROWS rows fit. */
#define SHARE_HIGH 44
#define SHARE_LOW 95
#define SHARE_LEAST 0x1p-71
#define SHARE_MOST 64.0
#define SHARE_ROWS 4096
/* Words of 52 bits that cover every double. */
#define MAX_PARTS 44
/* The lattice of a CTC loss: doubles before the lanes of a line, and number of lines. */
#define CTC_FRONT 8
#define CTC_LINES 11

typedef struct {
    const char *name;

    /* Rows: m is the largest x, u the sum of e^(x - m) over all classes but the first with the largest x.
       The log of the sum of exponentials is m + log1p(u). Unless NULL, gap is set to the sum of m - x. */
    void (*softmax_rows_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *m,
                             double *u, double *gap);
    void (*softmax_rows_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *m,
                             double *u, double *gap);
    /* The same for rows with soft targets q. dot is the sum of q (m - x). total is the sum of q, or NaN if
       a q is outside [0, 1]. */
    void (*softmax_soft_f32)(const float *x, ptrdiff_t stride, const float *q, ptrdiff_t q_stride, ptrdiff_t rows,
                             ptrdiff_t classes, double *m, double *u, double *gap, double *dot, double *total);
    void (*softmax_soft_f64)(const double *x, ptrdiff_t stride, const double *q, ptrdiff_t q_stride,
                             ptrdiff_t rows, ptrdiff_t classes, double *m, double *u, double *gap, double *dot,
                             double *total);
    /* Rows: x of one class of each row. */
    void (*pick_f32)(const float *x, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows, double *out);
    void (*pick_f64)(const double *x, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows, double *out);
    /* Rows: the sum of probabilities. */
    void (*sum_rows_f32)(const float *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    void (*sum_rows_f64)(const double *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    /* The same with the bits of the total of softmax_soft. */
    void (*soft_totals_f32)(const float *q, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *total);
    void (*soft_totals_f64)(const double *q, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *total);
    /* Rows: the sum of e^x of log-probabilities, or NaN if one is above 0. */
    void (*sum_exps_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    void (*sum_exps_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double *sum);
    /* Rows: m and u with the bits of softmax_rows, the first largest class, and with e^(x - m) as probabilities: their
       sum over the other classes, the mean of m - x and its variance. m - x counts as at most limit + m. */
    void (*softmax_moments_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double limit,
                                double *m, double *u, int64_t *top, double *others, double *mean, double *variance);
    void (*softmax_moments_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double limit,
                                double *m, double *u, int64_t *top, double *others, double *mean, double *variance);
    /* The same of probabilities p with the costs -log p relative to that of the largest. p is clamped as in neg_log.
       The f32 variant needs a floor of at least MIN_FLOOR_F32. */
    void (*prob_moments_f32)(const float *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double floor,
                             double ceiling, int64_t *top, double *others, double *mean, double *variance);
    void (*prob_moments_f64)(const double *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double floor,
                             double ceiling, int64_t *top, double *others, double *mean, double *variance);
    /* Contiguous rows, after which TILE - 1 values can be read: add factor * p to the two parts of the sum of each
       class, where p is x, or with `logs` e^(x - largest). The sums have room for a multiple of TILE classes, and for
       SHARE_ROWS rows. Returns whether terms are left out. */
    int (*add_shares_f32)(const float *x, ptrdiff_t classes, const ptrdiff_t *order, ptrdiff_t n, const double *largest,
                          const double *factor, int logs, uint64_t *high, uint64_t *low);
    int (*add_shares_f64)(const double *x, ptrdiff_t classes, const ptrdiff_t *order, ptrdiff_t n,
                          const double *largest, const double *factor, int logs, uint64_t *high, uint64_t *low);
    /* 1 for each class of a row whose term is left out, else 0. Returns whether there is one. */
    int (*left_shares_f32)(const float *x, ptrdiff_t classes, double largest, double factor, int logs, uint8_t *left);
    int (*left_shares_f64)(const double *x, ptrdiff_t classes, double largest, double factor, int logs, uint8_t *left);
    /* Rows: x of the same n classes of each row. */
    void (*gather_f32)(const float *x, ptrdiff_t stride, ptrdiff_t rows, const int64_t *label, ptrdiff_t n,
                       double *out);
    void (*gather_f64)(const double *x, ptrdiff_t stride, ptrdiff_t rows, const int64_t *label, ptrdiff_t n,
                       double *out);
    /* Rows: the sum of a * b, where 0 * inf is 0. If b_stride is 0, all rows use the same b. */
    void (*dot_rows)(const double *a, ptrdiff_t stride, const double *b, ptrdiff_t b_stride,
                     ptrdiff_t rows, ptrdiff_t classes, double *dot);

    /* Contiguous rows: sums in order. The rounding errors are summed and added at the end. */
    void (*sum_in_order)(const double *v, ptrdiff_t rows, ptrdiff_t classes, double *out);

    /* Elements: -log p, with p clamped to [floor, ceiling]. The f32 variant takes doubles that hold floats,
       and has a float's accuracy. */
    void (*neg_log_f32)(const double *p, ptrdiff_t n, double floor, double ceiling, double *out);
    void (*neg_log_f64)(const double *p, ptrdiff_t n, double floor, double ceiling, double *out);
    /* The cost of the logit x of a row, from m and u of the row. u is replaced by log1p(u). */
    void (*softmax_costs_f32)(const double *m, double *u, const double *x, ptrdiff_t n, double *out);
    void (*softmax_costs_f64)(const double *m, double *u, const double *x, ptrdiff_t n, double *out);
    void (*exp)(const double *x, ptrdiff_t n, double *out);

    /* Elements: the cost of outcome y (0 or 1) for a binary prediction. u is scratch memory. binary_logits
       leaves e^-|x| in it for the gradient, as floats in the f32 variant. */
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

    /* Elements: the probabilities of outcomes 1 and 0, from the scratch memory of binary_logits_f64; mean, excess and
       variance of their costs. See elements.h. */
    void (*outcome_probs)(const double *x, const double *e, ptrdiff_t n, double *p, double *q);
    void (*outcome_moments)(const double *a, const double *b, const double *p, const double *q, const double *y,
                            const double *x, ptrdiff_t n, double *mean, double *excess, double *variance);

    /* CTC, with a lattice of CTC_LINES lines of n lanes: see ctc.h. n is larger than the number of labels. Lane
       `labels` and the lanes after it belong to the blank. */
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

    /* Whether every v is in [low, high]. NaN is not. */
    int (*all_within)(const double *v, ptrdiff_t n, double low, double high);

    /* Gradients: see gradients.h. Rows of logits, from m and u of the rows. share * q + base is subtracted
       if there is a q, and base if there is none and `mixed` is 1. Otherwise share and base are not read.
       If q_stride is 0, all rows use the same q. */
    void (*softmax_gradient_f32)(const float *x, ptrdiff_t stride, const float *q, ptrdiff_t q_stride,
                                 ptrdiff_t rows, ptrdiff_t classes, const double *m, const double *u,
                                 const double *row_factor, const double *share, const double *base, int mixed,
                                 float *out, ptrdiff_t out_stride);
    void (*softmax_gradient_f64)(const double *x, ptrdiff_t stride, const double *q, ptrdiff_t q_stride,
                                 ptrdiff_t rows, ptrdiff_t classes, const double *m, const double *u,
                                 const double *row_factor, const double *share, const double *base, int mixed,
                                 double *out, ptrdiff_t out_stride);
    /* Afterwards the entries of the true classes of rows with labels, whose logits are x and whose share is own. */
    void (*label_gradient_f32)(const int64_t *label, ptrdiff_t rows, const double *x, const double *m,
                               const double *u, const double *row_factor, const double *own, const double *left,
                               float *out, ptrdiff_t out_stride);
    void (*label_gradient_f64)(const int64_t *label, ptrdiff_t rows, const double *x, const double *m,
                               const double *u, const double *row_factor, const double *own, const double *left,
                               double *out, ptrdiff_t out_stride);
    /* Rows of probabilities, whose floor is `bound`, or of log-probabilities, where `bound` is the floor's cost. */
    void (*share_gradient_f32)(const float *x, ptrdiff_t stride, const double *v, ptrdiff_t v_stride,
                               const double *weight, ptrdiff_t rows, ptrdiff_t classes, double bound, int logs,
                               float *out, ptrdiff_t out_stride);
    void (*share_gradient_f64)(const double *x, ptrdiff_t stride, const double *v, ptrdiff_t v_stride,
                               const double *weight, ptrdiff_t rows, ptrdiff_t classes, double bound, int logs,
                               double *out, ptrdiff_t out_stride);
    /* Elements: the shares a and b of outcomes 1 and 0, and gradients from these. The gradients of logits need
       the scratch memory of binary_logits. */
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

    /* The largest exponent, as biased bits, or NOT_FINITE if a value is infinite or NaN. */
    int (*largest_exponent)(const double *v, ptrdiff_t n);
    /* The exact sum of n <= BLOCK doubles, or of their squares, each rounded once. It is the sum of
       part[i] * 2^(bit[i] - 1074). `exponent` is at least the largest one. Returns the number of parts,
       or -1 if a term may be above 2^1000, infinite or NaN. */
    int (*exact_sum)(const double *v, ptrdiff_t n, int exponent, int64_t *part, int *bit);
    int (*exact_squares)(const double *v, ptrdiff_t n, int exponent, int64_t *part, int *bit);

    /* Conversions, which are exact or round to nearest. */
    void (*float16_to_float32)(const uint16_t *h, ptrdiff_t n, float *out);
    void (*bfloat16_to_float32)(const uint16_t *h, ptrdiff_t n, float *out);
    void (*float32_to_float64)(const float *x, ptrdiff_t n, double *out);
    void (*float64_to_float32)(const double *x, ptrdiff_t n, float *out);
    void (*float32_to_float16)(const float *x, ptrdiff_t n, uint16_t *out);
    void (*float32_to_bfloat16)(const float *x, ptrdiff_t n, uint16_t *out);
    /* Copy labels of rows. Returns 0 if all are in [0, classes). */
    int (*labels_i64)(const int64_t *t, ptrdiff_t n, ptrdiff_t classes, int64_t *label);
    /* Convert outcomes of binary targets to doubles. Returns 0 if all are 0 or 1. */
    int (*outcomes_i64)(const int64_t *t, ptrdiff_t n, double *y);
    int (*outcomes_u8)(const uint8_t *t, ptrdiff_t n, double *y);
    /* Whether all soft outcomes are 0 or 1. */
    int (*are_outcomes)(const double *y, ptrdiff_t n);
} kernel_table;

/* The table in use: that of the machine's best instruction set, or of the one in STREAMCE_SIMD. */
extern const kernel_table *kernels;

/* Choose an instruction set by name, or the best one for NULL. Return -1 if it is unknown or not supported here. */
int kernels_use(const char *name);
/* Return the i-th instruction set that this machine supports, slowest first, or NULL past the end. */
const char *kernels_supported(int i);

#endif
