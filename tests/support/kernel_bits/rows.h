/* The kernels of rows, for REAL = float or double. main.c includes it twice. */

static void T(given)(REAL *x, int kind, uint64_t seed, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = (REAL)number(kind, seed, i);
}

static void T(hash_reals)(uint64_t *h, const REAL *x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        add_real(h, (double)x[i]);
}

static void T(hash_moments)(uint64_t *h, const int64_t *top, const double *others, const double *mean,
                            const double *variance, ptrdiff_t rows)
{
    hash_f64(h, others, rows), hash_f64(h, mean, rows), hash_f64(h, variance, rows);
    for (ptrdiff_t i = 0; i < rows; i++)
        add(h, (uint64_t)top[i]);
}

/* Rows of logits or probabilities for a calibration. Contiguous rows follow each other in any order. */
static void T(moments_of)(const REAL *x, const REAL *p, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes,
                          const double *weight)
{
    static double m[ROWS], u[ROWS], others[ROWS], mean[ROWS], variance[ROWS];
    static int64_t top[ROWS];
    static ptrdiff_t order[ROWS];
    static uint64_t high[1024], low[1024];
    static uint8_t left[1024];
    for (int form = 0; form < 2; form++) {
        uint64_t *h = digest(NAME(prob_moments));
        kernels->T(prob_moments)(p, stride, rows, classes, form ? 0x1p-20 : 0x1p-126, 1.0, top, others, mean, variance);
        T(hash_moments)(h, top, others, mean, variance, rows);
        h = digest(NAME(softmax_moments));
        kernels->T(softmax_moments)(x, stride, rows, classes, form ? 36.0 : (double)INFINITY, m, u, top, others, mean,
                                    variance);
        T(hash_moments)(h, top, others, mean, variance, rows);
        hash_f64(h, m, rows), hash_f64(h, u, rows);
    }
    if (stride != classes)
        return;
    for (ptrdiff_t i = 0; i < rows; i++) {
        order[i] = rows - 1 - i;
        m[i] = (m[i] - m[i] == 0.0) ? m[i] : 0.0;
    }
    for (int is_log = 0; is_log < 2; is_log++) {
        uint64_t *h = digest(NAME(add_shares));
        memset(high, 0, sizeof high), memset(low, 0, sizeof low);
        add(h, (uint64_t)(kernels->T(add_shares)(is_log ? x : p, classes, order, rows, m, weight, is_log, high, low)));
        for (ptrdiff_t c = 0; c < classes; c++)
            add(h, high[c]), add(h, low[c]);
        h = digest(NAME(left_shares));
        add(h, (uint64_t)(kernels->T(left_shares)(is_log ? x : p, classes, m[0], weight[0], is_log, left)));
        for (ptrdiff_t c = 0; c < classes; c++)
            add(h, left[c]);
    }
}

/* rows x classes, with gaps between rows where stride > classes. */
static void T(rows_of)(ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t stride, uint64_t seed)
{
    static REAL x[MOST], p[MOST], logs[MOST], out[MOST];
    static double m[ROWS], u[ROWS], gap[ROWS], dot[ROWS], total[ROWS], picked[ROWS], spread[ROWS * 3];
    static double weight[ROWS], share[ROWS], base[ROWS], counts[MOST];
    static int64_t label[ROWS];
    const int64_t three[3] = {0, classes - 1, classes / 2};
    const ptrdiff_t n = (rows - 1) * stride + classes;
    T(given)(x, LOGITS, seed, n);
    T(given)(p, PROBS, seed + 1, n);
    T(given)(logs, LOGS, seed + 2, n);
    for (ptrdiff_t i = 0; i < rows; i++) {
        label[i] = (int64_t)(random_bits(seed + 3, i) % (uint64_t)classes);
        weight[i] = number(WEIGHTS, seed + 4, i);
        share[i] = weight[i] * 0.75;
        base[i] = weight[i] * 0.25;
    }
    for (ptrdiff_t i = 0; i < n; i++) /* without the two ends, which would need a floor */
        counts[i] = number(WEIGHTS, seed + 5, i);

    for (int gaps = 0; gaps < 2; gaps++) {
        uint64_t *h = digest(NAME(softmax_soft));
        kernels->T(softmax_soft)(x, stride, p, stride, rows, classes, m, u, gaps ? gap : NULL, dot, total);
        hash_f64(h, m, rows), hash_f64(h, u, rows), hash_f64(h, dot, rows), hash_f64(h, total, rows);
        if (gaps)
            hash_f64(h, gap, rows);
        h = digest(NAME(softmax_rows));
        kernels->T(softmax_rows)(x, stride, rows, classes, m, u, gaps ? gap : NULL);
        hash_f64(h, m, rows), hash_f64(h, u, rows);
        if (gaps)
            hash_f64(h, gap, rows);
    }
    kernels->T(sum_rows)(p, stride, rows, classes, total);
    hash_f64(digest(NAME(sum_rows)), total, rows);
    kernels->T(soft_totals)(p, stride, rows, classes, total);
    hash_f64(digest(NAME(soft_totals)), total, rows);
    kernels->T(sum_exps)(logs, stride, rows, classes, total);
    hash_f64(digest(NAME(sum_exps)), total, rows);
    kernels->T(gather)(x, stride, rows, three, 3, spread);
    hash_f64(digest(NAME(gather)), spread, rows * 3);
    kernels->T(pick)(x, stride, label, rows, picked);
    hash_f64(digest(NAME(pick)), picked, rows);

    T(moments_of)(x, p, stride, rows, classes, weight);

    /* m and u are the rows' from above. */
    for (int form = 0; form < 4; form++) {
        const REAL *q = form < 2 ? NULL : p;
        kernels->T(softmax_gradient)(x, stride, q, form == 3 ? 0 : stride, rows, classes, m, u, weight, share, base,
                                     form > 0, out, classes);
        T(hash_reals)(digest(NAME(softmax_gradient)), out, rows * classes);
        if (form)
            continue;
        kernels->T(label_gradient)(label, rows, picked, m, u, weight, share, base, out, classes);
        T(hash_reals)(digest(NAME(label_gradient)), out, rows * classes);
    }
    for (int is_log = 0; is_log < 2; is_log++)
        for (int each = 0; each < 2; each++) {
            kernels->T(share_gradient)(is_log ? logs : p, stride, counts, each ? stride : 0, weight, rows, classes,
                                       is_log ? 36.0 : 0x1p-52, is_log, out, classes);
            T(hash_reals)(digest(NAME(share_gradient)), out, rows * classes);
        }
    kernels->T(softmax_costs)(m, u, picked, rows, total);
    hash_f64(digest(NAME(softmax_costs)), total, rows), hash_f64(digest(NAME(softmax_costs)), u, rows);
}

/* Elements. */
static void T(elements_of)(ptrdiff_t n, uint64_t seed)
{
    static REAL x[BLOCK], p[BLOCK], out[BLOCK];
    static double y[BLOCK], u[BLOCK], costs[BLOCK], a[BLOCK], b[BLOCK], wide[BLOCK];
    T(given)(x, LOGITS, seed, n);
    T(given)(p, PROBS, seed + 1, n);
    for (ptrdiff_t i = 0; i < n; i++) {
        y[i] = (double)(random_bits(seed + 2, i) >> 63);
        a[i] = number(WEIGHTS, seed + 3, i);
        b[i] = number(WEIGHTS, seed + 4, i);
        wide[i] = (double)p[i];
    }
    kernels->T(binary_logits)(x, y, n, u, costs);
    hash_f64(digest(NAME(binary_logits)), costs, n);
    kernels->T(binary_logits_gradient)(x, u, a, b, n, out);
    T(hash_reals)(digest(NAME(binary_logits_gradient)), out, n);
    kernels->T(binary_probs)(p, y, n, 0x1p-52, 1.0, u, costs);
    hash_f64(digest(NAME(binary_probs)), costs, n);
    kernels->T(binary_probs_gradient)(p, a, b, n, 0x1p-52, out);
    T(hash_reals)(digest(NAME(binary_probs_gradient)), out, n);
    kernels->T(neg_log)(wide, n, 0x1p-52, 1.0, costs);
    hash_f64(digest(NAME(neg_log)), costs, n);
}
