from libc.stdint cimport int64_t, uint8_t, uint16_t, uint64_t


cdef extern from "kernels.h" nogil:
    enum:
        BLOCK
        CTC_FRONT
        CTC_LINES
        MAX_PARTS
        NOT_FINITE
        SHARE_HIGH
        SHARE_LOW
        SHARE_ROWS
        TILE

    double MIN_FLOOR_F32
    const double SHARE_LEAST
    const double SHARE_MOST

    ctypedef struct kernel_table:
        const char* name
        void (*softmax_rows_f32)(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, double*,
                                 double*) noexcept nogil
        void (*softmax_rows_f64)(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*, double*,
                                 double*) noexcept nogil
        void (*softmax_soft_f32)(const float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                 double*, double*, double*, double*, double*) noexcept nogil
        void (*softmax_soft_f64)(const double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                 double*, double*, double*, double*, double*) noexcept nogil
        void (*pick_f32)(const float*, Py_ssize_t, const int64_t*, Py_ssize_t, double*) noexcept nogil
        void (*pick_f64)(const double*, Py_ssize_t, const int64_t*, Py_ssize_t, double*) noexcept nogil
        void (*sum_rows_f32)(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*sum_rows_f64)(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*soft_totals_f32)(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*soft_totals_f64)(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*sum_exps_f32)(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*sum_exps_f64)(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*softmax_moments_f32)(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double, double*, double*,
                                    int64_t*, double*, double*, double*) noexcept nogil
        void (*softmax_moments_f64)(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double, double*, double*,
                                    int64_t*, double*, double*, double*) noexcept nogil
        void (*prob_moments_f32)(const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double, double, int64_t*,
                                 double*, double*, double*) noexcept nogil
        void (*prob_moments_f64)(const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double, double, int64_t*,
                                 double*, double*, double*) noexcept nogil
        bint (*add_shares_f32)(const float*, Py_ssize_t, const Py_ssize_t*, Py_ssize_t, const double*,
                               const double*, int, uint64_t*, uint64_t*) noexcept nogil
        bint (*add_shares_f64)(const double*, Py_ssize_t, const Py_ssize_t*, Py_ssize_t, const double*,
                               const double*, int, uint64_t*, uint64_t*) noexcept nogil
        bint (*left_shares_f32)(const float*, Py_ssize_t, double, double, int, uint8_t*) noexcept nogil
        bint (*left_shares_f64)(const double*, Py_ssize_t, double, double, int, uint8_t*) noexcept nogil
        void (*gather_f32)(const float*, Py_ssize_t, Py_ssize_t, const int64_t*, Py_ssize_t, double*) noexcept nogil
        void (*gather_f64)(const double*, Py_ssize_t, Py_ssize_t, const int64_t*, Py_ssize_t, double*) noexcept nogil
        void (*dot_rows)(const double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                         double*) noexcept nogil
        void (*sum_in_order)(const double*, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        void (*neg_log_f32)(const double*, Py_ssize_t, double, double, double*) noexcept nogil
        void (*neg_log_f64)(const double*, Py_ssize_t, double, double, double*) noexcept nogil
        void (*softmax_costs_f32)(const double*, double*, const double*, Py_ssize_t, double*) noexcept nogil
        void (*softmax_costs_f64)(const double*, double*, const double*, Py_ssize_t, double*) noexcept nogil
        void (*exp)(const double*, Py_ssize_t, double*) noexcept nogil
        void (*binary_probs_f32)(const float*, const double*, Py_ssize_t, double, double, double*,
                                 double*) noexcept nogil
        void (*binary_probs_f64)(const double*, const double*, Py_ssize_t, double, double, double*,
                                 double*) noexcept nogil
        void (*binary_log_probs)(const double*, const double*, Py_ssize_t, double, double*, double*) noexcept nogil
        void (*binary_logits_f32)(const float*, const double*, Py_ssize_t, double*, double*) noexcept nogil
        void (*binary_logits_f64)(const double*, const double*, Py_ssize_t, double*, double*) noexcept nogil
        void (*mix_outcomes)(const double*, const double*, const double*, Py_ssize_t, double, const double*,
                             const double*, const double*, const double*, double*, double*) noexcept nogil
        void (*outcome_probs)(const double*, const double*, Py_ssize_t, double*, double*) noexcept nogil
        void (*outcome_moments)(const double*, const double*, const double*, const double*, const double*,
                                const double*, Py_ssize_t, double*, double*, double*) noexcept nogil
        void (*ctc_begin)(const int64_t*, Py_ssize_t, Py_ssize_t, int, double*) noexcept nogil
        void (*ctc_emissions)(double*, Py_ssize_t, Py_ssize_t, int, const double*, const double*,
                              double*) noexcept nogil
        void (*ctc_forward)(const double*, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, double*) noexcept nogil
        double (*ctc_loss)(double*, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*ctc_shares)(double*, Py_ssize_t, Py_ssize_t, int, const double*, const double*, const double*,
                           double*) noexcept nogil
        void (*ctc_leak)(const double*, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t, int,
                         double*) noexcept nogil
        double (*ctc_small_loss)(double*, Py_ssize_t, Py_ssize_t) noexcept nogil
        bint (*all_within)(const double*, Py_ssize_t, double, double) noexcept nogil
        void (*softmax_gradient_f32)(const float*, Py_ssize_t, const float*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                     const double*, const double*, const double*, const double*, const double*,
                                     int, float*, Py_ssize_t) noexcept nogil
        void (*softmax_gradient_f64)(const double*, Py_ssize_t, const double*, Py_ssize_t, Py_ssize_t, Py_ssize_t,
                                     const double*, const double*, const double*, const double*, const double*,
                                     int, double*, Py_ssize_t) noexcept nogil
        void (*label_gradient_f32)(const int64_t*, Py_ssize_t, const double*, const double*, const double*,
                                   const double*, const double*, const double*, float*, Py_ssize_t) noexcept nogil
        void (*label_gradient_f64)(const int64_t*, Py_ssize_t, const double*, const double*, const double*,
                                   const double*, const double*, const double*, double*, Py_ssize_t) noexcept nogil
        void (*share_gradient_f32)(const float*, Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                                   Py_ssize_t, double, int, float*, Py_ssize_t) noexcept nogil
        void (*share_gradient_f64)(const double*, Py_ssize_t, const double*, Py_ssize_t, const double*, Py_ssize_t,
                                   Py_ssize_t, double, int, double*, Py_ssize_t) noexcept nogil
        void (*outcome_shares)(const double*, Py_ssize_t, double, const double*, const double*, const double*, double,
                               double*, double*) noexcept nogil
        void (*binary_logits_gradient_f32)(const float*, const double*, const double*, const double*, Py_ssize_t,
                                           float*) noexcept nogil
        void (*binary_logits_gradient_f64)(const double*, const double*, const double*, const double*, Py_ssize_t,
                                           double*) noexcept nogil
        void (*binary_probs_gradient_f32)(const float*, const double*, const double*, Py_ssize_t, double,
                                          float*) noexcept nogil
        void (*binary_probs_gradient_f64)(const double*, const double*, const double*, Py_ssize_t, double,
                                          double*) noexcept nogil
        void (*binary_log_probs_gradient)(const double*, const double*, const double*, Py_ssize_t, double, double,
                                          double*, double*) noexcept nogil
        int (*largest_exponent)(const double*, Py_ssize_t) noexcept nogil
        int (*exact_sum)(const double*, Py_ssize_t, int, int64_t*, int*) noexcept nogil
        int (*exact_squares)(const double*, Py_ssize_t, int, int64_t*, int*) noexcept nogil
        void (*float16_to_float32)(const uint16_t*, Py_ssize_t, float*) noexcept nogil
        void (*bfloat16_to_float32)(const uint16_t*, Py_ssize_t, float*) noexcept nogil
        void (*float32_to_float64)(const float*, Py_ssize_t, double*) noexcept nogil
        void (*float64_to_float32)(const double*, Py_ssize_t, float*) noexcept nogil
        void (*float32_to_float16)(const float*, Py_ssize_t, uint16_t*) noexcept nogil
        void (*float32_to_bfloat16)(const float*, Py_ssize_t, uint16_t*) noexcept nogil
        int (*labels_i64)(const int64_t*, Py_ssize_t, Py_ssize_t, int64_t*) noexcept nogil
        int (*outcomes_i64)(const int64_t*, Py_ssize_t, double*) noexcept nogil
        int (*outcomes_u8)(const uint8_t*, Py_ssize_t, double*) noexcept nogil
        bint (*are_outcomes)(const double*, Py_ssize_t) noexcept nogil


cdef extern from "control.h" nogil:
    unsigned long long fp_enter() noexcept
    void fp_leave(unsigned long long) noexcept


cdef const kernel_table* table() noexcept nogil
