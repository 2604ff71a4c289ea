/* All kernels. One file per instruction set includes this file. It defines ISA, which is a name,
   and TARGET, which is the attribute that makes the compiler use the instruction set. */
#include "kernels.h"
#include "polynomials.h"

#include <string.h>

#define PASTE2(a, b) a##_##b
#define PASTE(a, b) PASTE2(a, b)
#define STRING2(a) #a
#define STRING(a) STRING2(a)
#define KERNEL static TARGET
#if defined(_MSC_VER)
#define INLINE static __forceinline
#define RESTRICT __restrict
#else
#define INLINE static inline __attribute__((always_inline)) TARGET
#define RESTRICT __restrict__
#endif

/* Whether the compiler can shuffle vectors in plain C. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLES 1
#endif
#endif
/* Prefetch `count` elements. Addresses beyond the end of an array do no harm. */
#if defined(__GNUC__)
#define PREFETCH(at, count)                                                                              \
    for (ptrdiff_t ahead_ = 0; ahead_ < (ptrdiff_t)(count); ahead_ += 64 / (ptrdiff_t)sizeof *(at))      \
    __builtin_prefetch((at) + ahead_)
#else
#define PREFETCH(at, count) ((void)0)
#endif

/* For loops with both floats and doubles, because clang wrongly expects that vectors are slower there. */
#if defined(__clang__)
#define VECTORISED _Pragma("clang loop vectorize(enable)")
#else
#define VECTORISED
#endif

#include "scalar.h"

#define REAL float
#define WIDE 0
#include "rows.h"
#undef REAL
#undef WIDE
#define REAL double
#define WIDE 1
#include "rows.h"
#undef REAL
#undef WIDE

#include "elements.h"
#include "ctc.h"
#include "exact.h"
#include "convert.h"

const kernel_table PASTE(kernels, ISA) = {
    STRING(ISA),
    softmax_rows_f32, softmax_rows_f64, softmax_soft_f32, softmax_soft_f64,
    pick_f32, pick_f64, sum_rows_f32, sum_rows_f64, soft_totals_f32, soft_totals_f64,
    sum_exps_f32, sum_exps_f64, softmax_moments_f32, softmax_moments_f64, prob_moments_f32, prob_moments_f64,
    add_shares_f32, add_shares_f64, left_shares_f32, left_shares_f64, gather_f32, gather_f64, dot_rows, sum_in_order,
    neg_log_f32, neg_log_f64, softmax_costs_f32, softmax_costs_f64, exp_elements,
    binary_probs_f32, binary_probs_f64, binary_log_probs, binary_logits_f32, binary_logits_f64,
    mix_outcomes, outcome_probs, outcome_moments,
    ctc_begin, ctc_emissions, ctc_forward, ctc_loss, ctc_shares, ctc_leak, ctc_small_loss,
    all_within,
    softmax_gradient_f32, softmax_gradient_f64, label_gradient_f32, label_gradient_f64,
    share_gradient_f32, share_gradient_f64, outcome_shares, binary_logits_gradient_f32, binary_logits_gradient_f64,
    binary_probs_gradient_f32, binary_probs_gradient_f64, binary_log_probs_gradient,
    largest_exponent, exact_sum, exact_squares,
    float16_to_float32, bfloat16_to_float32, float32_to_float64, float64_to_float32, float32_to_float16,
    float32_to_bfloat16, labels_i64, outcomes_i64, outcomes_u8, are_outcomes,
};
