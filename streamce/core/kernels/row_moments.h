/* The kernels with the sums of moments.h. rows.h includes this file, which uses its tiles and lanes. Each gives for a
   row: the first largest class, the sum of probabilities of the other classes (`others`), the mean of the costs
   relative to the largest class, and their variance. */

typedef struct {
    double *others, *mean, *variance;
    int64_t *top;
} T(results);

/* Write the results of row i. `largest` is the probability of the largest class, of which `others` may hold ties. */
INLINE void T(finish)(double other, double ties, double first, double second, double largest, T(results) to,
                      ptrdiff_t i)
{
    const double others = other + ties * largest;
    const double total = largest + others;
    const double mean = first / total;
    const double variance = (second - first * mean) / total;
    to.others[i] = others;
    to.mean[i] = mean;
    to.variance[i] = variance < 0.0 ? 0.0 : variance;
}

/* The first largest of n classes. A row with NaN can have the rank 0. */
INLINE int64_t T(first_of)(ptrdiff_t n, REAL rank)
{
    return n - (int64_t)(rank < 1 ? 1 : rank);
}

KERNEL void T(softmax_moments)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double limit,
                               double *m, double *u, int64_t *top, double *others, double *mean, double *variance)
{
    const T(results) to = {others, mean, variance, top};
    T(moments) s;
    s.limit = limit;
    if (classes > SMALL) {
        for (ptrdiff_t i = 0; i < rows; i++) {
            const REAL *row = x + i * stride;
            T(clear_moments)(&s);
            T(softmax_row)(row, row, classes, stride, 0, m + i, u + i, NULL, NULL, NULL, &s, 0, 0, 1);
            top[i] = s.at + T(first_of)(LANES, s.rank[0]);
            T(finish)(T(across_lanes)(s.other) * s.scale[0], s.ties[0], T(across_lanes)(s.first) * s.scale[0],
                      T(across_lanes)(s.second) * s.scale[0], 1.0, to, i);
        }
        return;
    }
    REAL tile[SMALL * TILE];
    double tile_m[TILE], tile_u[TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t tile_rows = rows - i < TILE ? rows - i : TILE;
        T(load_tile)(x + i * stride, stride, tile_rows, classes, tile);
        if (stride == classes)
            PREFETCH(x + (i + TILE) * stride, TILE * classes);
        T(clear_moments)(&s);
        T(softmax_tile)(tile, tile, classes, tile_m, tile_u, NULL, NULL, NULL, &s, 0, 0, 1);
        memcpy(m + i, tile_m, (size_t)tile_rows * sizeof(double));
        memcpy(u + i, tile_u, (size_t)tile_rows * sizeof(double));
        for (ptrdiff_t j = 0; j < tile_rows; j++) {
            top[i + j] = T(first_of)(classes, s.rank[j]);
            T(finish)(s.other[j] * s.scale[j], s.ties[j], s.first[j] * s.scale[j], s.second[j] * s.scale[j], 1.0, to,
                      i + j);
        }
    }
}

/* ---- probabilities, of which those above 1 by rounding are 1 ---- */

INLINE REAL T(at_most_1)(REAL p)
{
    return p > 1 ? 1 : p;
}

/* Costs relative to that of the likeliest class. In float, only the difference of two logarithms is rounded, so that
   it is small if the probabilities are nearly equal. */
typedef struct {
    REAL floor, ceiling;
} T(clamp);

/* log p = k log(2) + l. In double, k is 0. */
#if WIDE
INLINE T(clamp) T(clamp_of)(double floor, double ceiling)
{
    const T(clamp) c = {floor, ceiling};
    return c;
}

INLINE double T(log_of)(double p, T(clamp) b, double *l, const int normal)
{
    double q = p < b.floor ? b.floor : p;
    q = q > b.ceiling ? b.ceiling : q;
    *l = normal ? log_normal(q, 0.0) : log_any(q, 0.0);
    return 0.0;
}

INLINE double T(cost_of)(double p, double k, double l, T(clamp) b, const int normal)
{
    double log_p;
    (void)k;
    (void)T(log_of)(p, b, &log_p, normal);
    return l - log_p;
}
#else
/* Floor and ceiling are rounded, which changes a cost less than the rounding of its logarithm. */
INLINE T(clamp) T(clamp_of)(double floor, double ceiling)
{
    const T(clamp) c = {(float)floor, (float)ceiling};
    return c;
}

INLINE float T(log_of)(float p, T(clamp) b, float *l, const int normal)
{
    float q = p < b.floor ? b.floor : p;
    (void)normal;
    return log_parts_f32(q > b.ceiling ? b.ceiling : q, l);
}

INLINE float T(cost_of)(float p, float k, float l, T(clamp) b, const int normal)
{
    float log_p;
    const float powers = k - T(log_of)(p, b, &log_p, normal);
    return powers * 0.693359375f + (powers * -2.12194440e-4f + (l - log_p)); /* the first product is exact */
}
#endif

/* Set the probabilities and the relative costs of TILE classes, and count those tied with the largest. These have no
   share, and neither have those before `skip` and those of probability 0. */
INLINE void T(costs_of)(const REAL *RESTRICT p, const REAL *RESTRICT m, const REAL *RESTRICT k,
                        const REAL *RESTRICT l, T(clamp) bounds, const int skip, REAL *RESTRICT ties,
                        REAL *RESTRICT share, REAL *RESTRICT cost, const int normal)
{
    REAL raw[TILE];
    for (int j = 0; j < TILE; j++)
        raw[j] = T(cost_of)(p[j], k[j], l[j], bounds, normal);
    for (int j = 0; j < TILE; j++) {
        const int here = j >= skip, tied = p[j] == m[j];
        ties[j] += (REAL)(here & tied);
        share[j] = here & !tied ? p[j] : 0;
        cost[j] = normal | (p[j] > 0) ? raw[j] : 0; /* the logarithm of 0 is infinite only without a floor */
    }
}

INLINE void T(prob_row)(const REAL *x, ptrdiff_t classes, T(clamp) bounds, T(results) to, ptrdiff_t i,
                        const int normal)
{
    const ptrdiff_t tail = classes - LANES;
    const REAL largest = T(largest)(x, tail);
    const ptrdiff_t first = T(lanes_with)(x, tail, largest), at = first < tail ? first : tail;
    REAL m[TILE], ties[TILE], k[TILE], l[TILE], share[MOMENT_LINES * TILE], cost[MOMENT_LINES * TILE];
    double tied = -1.0;
    ptrdiff_t c = 0;
    T(moments) s;
    T(clear_moments)(&s);
    for (int j = 0; j < TILE; j++) {
        m[j] = largest;
        k[j] = T(log_of)(T(at_most_1)(largest), bounds, l + j, normal);
        ties[j] = 0;
    }
    for (; c + MOMENT_LINES * TILE <= classes; c += MOMENT_LINES * TILE) {
        for (ptrdiff_t line = 0; line < MOMENT_LINES * TILE; line += TILE)
            T(costs_of)(x + c + line, m, k, l, bounds, 0, ties, share + line, cost + line, normal);
        T(add_moments)(share, cost, &s, MOMENT_LINES);
    }
    for (; c < classes; c += TILE) {
        const ptrdiff_t from = c < classes - TILE ? c : classes - TILE;
        T(costs_of)(x + from, m, k, l, bounds, (int)(c - from), ties, share, cost, normal);
        T(add_moments)(share, cost, &s, 1);
    }
    for (int j = 0; j < TILE; j++)
        tied += (double)ties[j];
    to.top[i] = at + T(first_of)(LANES, (REAL)T(rank_of)(x + at, largest));
    T(finish)(T(across_lanes)(s.other), tied, T(across_lanes)(s.first), T(across_lanes)(s.second),
              (double)T(at_most_1)(largest), to, i);
}

INLINE void T(prob_tile)(const REAL *RESTRICT tile, ptrdiff_t tile_rows, ptrdiff_t classes, T(clamp) bounds,
                         T(results) to, ptrdiff_t i, const int normal)
{
    REAL m[TILE], ties[TILE], k[TILE], l[TILE], share[MOMENT_LINES * TILE], cost[MOMENT_LINES * TILE];
    T(moments) s;
    T(clear_moments)(&s);
    for (int j = 0; j < TILE; j++) {
        m[j] = tile[j];
        ties[j] = -1;
    }
    for (ptrdiff_t c = 1; c < classes; c++)
        for (int j = 0; j < TILE; j++)
            m[j] = tile[c * TILE + j] > m[j] ? tile[c * TILE + j] : m[j];
    for (ptrdiff_t c = 0; c < classes; c++)
        for (int j = 0; j < TILE; j++) {
            const REAL rank = tile[c * TILE + j] == m[j] ? (REAL)(classes - c) : 0;
            s.rank[j] = rank > s.rank[j] ? rank : s.rank[j];
        }
    for (int j = 0; j < TILE; j++)
        k[j] = T(log_of)(T(at_most_1)(m[j]), bounds, l + j, normal);
    for (ptrdiff_t c = 0; c < classes; c++) {
        const ptrdiff_t line = c % MOMENT_LINES * TILE;
        T(costs_of)(tile + c * TILE, m, k, l, bounds, 0, ties, share + line, cost + line, normal);
        if (line == (MOMENT_LINES - 1) * TILE)
            T(add_moments)(share, cost, &s, MOMENT_LINES);
    }
    for (ptrdiff_t c = classes - classes % MOMENT_LINES; c < classes; c++)
        T(add_moments)(share + c % MOMENT_LINES * TILE, cost + c % MOMENT_LINES * TILE, &s, 1);
    for (ptrdiff_t j = 0; j < tile_rows; j++) {
        to.top[i + j] = T(first_of)(classes, s.rank[j]);
        T(finish)(s.other[j], (double)ties[j], s.first[j], s.second[j], (double)T(at_most_1)(m[j]), to, i + j);
    }
}

INLINE void T(prob_rows)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, T(clamp) bounds,
                         T(results) to, const int normal)
{
    if (classes > SMALL) {
        for (ptrdiff_t i = 0; i < rows; i++)
            T(prob_row)(x + i * stride, classes, bounds, to, i, normal);
        return;
    }
    REAL tile[SMALL * TILE];
    for (ptrdiff_t i = 0; i < rows; i += TILE) {
        const ptrdiff_t tile_rows = rows - i < TILE ? rows - i : TILE;
        T(load_tile)(x + i * stride, stride, tile_rows, classes, tile);
        T(prob_tile)(tile, tile_rows, classes, bounds, to, i, normal);
    }
}

KERNEL void T(prob_moments)(const REAL *x, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t classes, double floor,
                            double ceiling, int64_t *top, double *others, double *mean, double *variance)
{
    const T(results) to = {others, mean, variance, top};
    const T(clamp) bounds = T(clamp_of)(floor, ceiling);
    if (!WIDE || floor >= SMALLEST64)
        T(prob_rows)(x, stride, rows, classes, bounds, to, 1);
    else
        T(prob_rows)(x, stride, rows, classes, bounds, to, 0);
}
