/* Every kernel, once. Included by one file per instruction set, which defines
   ISA (a name) and TARGET (the attribute that makes the compiler use it). */
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
#include "exact.h"
#include "convert.h"

const kernel_table PASTE(kernels, ISA) = {
    STRING(ISA),
    softmax_rows_f32,    softmax_rows_f64,   sum_rows_f32,      sum_rows_f64,
    dot_rows,            neg_log,            log1p_elements,    exp_elements,
    binary_probs,        binary_log_probs,   binary_logits_f32, binary_logits_f64,
    mix_outcomes,        exact_sum,          largest_exponent,  square,
    float16_to_float32,  bfloat16_to_float32, float32_to_float64,
    outcomes_i64,        outcomes_u8,
};
