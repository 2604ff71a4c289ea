/* Sums over the classes of a row that give the mean and the variance of its costs under its own prediction. rows.h
   includes this file.

   Costs are relative to the cost of the largest class, whose probability is at least 1/C. So they are differences that
   are exact if all costs are nearly equal, and mean^2 is at most C times the variance: one pass is enough. All sums are
   doubles, because the variance is a difference of two. Classes are added in order, 32 lanes of them for wide rows. */

/* Lines that are added together, so that the sums are read and written once. */
#define MOMENT_LINES 4

typedef struct {
    double other[TILE];             /* the sum of e over all classes but those tied with the largest */
    double first[TILE], second[TILE]; /* the sums of e d and of e d^2, where d is the relative cost */
    double scale[TILE], ties[TILE]; /* e times scale is relative to the largest; classes tied with it */
    REAL rank[TILE], cap[TILE];     /* classes minus the first largest class; the largest d */
    double limit;                   /* the largest cost, or infinity */
    ptrdiff_t at;                   /* wide rows: the class from which the rank counts */
} T(moments);

INLINE void T(clear_moments)(T(moments) *s)
{
    for (int j = 0; j < TILE; j++) {
        s->other[j] = s->first[j] = s->second[j] = 0;
        s->rank[j] = 0;
    }
}

INLINE REAL T(cap_of)(double limit, REAL m)
{
    const double cap = limit + (double)m;
    return (REAL)(cap < 0.0 ? 0.0 : cap);
}

/* m - x for a term that is not negligible, and a finite number for one that is. */
INLINE REAL T(distance)(REAL x, REAL m, REAL least, REAL cap)
{
    const REAL bounded = x < least ? least : x;
    const REAL d = m - bounded;
    return d > cap ? cap : d;
}

INLINE void T(add_moments)(const REAL *RESTRICT e, const REAL *RESTRICT d, T(moments) *RESTRICT s, const int lines)
{
    for (int j = 0; j < TILE; j++) {
        const double p = (double)e[j], away = (double)d[j], cost = p * away;
        double other = s->other[j] + p, first = s->first[j] + cost, second = s->second[j] + cost * away;
        if (lines > 1) {
            const double p1 = (double)e[j + TILE], away1 = (double)d[j + TILE], cost1 = p1 * away1;
            other += p1;
            first += cost1;
            second += cost1 * away1;
        }
        if (lines > 2) {
            const double p2 = (double)e[j + 2 * TILE], away2 = (double)d[j + 2 * TILE], cost2 = p2 * away2;
            const double p3 = (double)e[j + 3 * TILE], away3 = (double)d[j + 3 * TILE], cost3 = p3 * away3;
            other = (other + p2) + p3;
            first = (first + cost2) + cost3;
            second = (second + cost2 * away2) + cost3 * away3;
        }
        s->other[j] = other;
        s->first[j] = first;
        s->second[j] = second;
    }
}

/* The number of lanes from the first one that holds m. */
INLINE int T(rank_of)(const REAL *at, REAL m)
{
    int rank = 0;
    for (int j = 0; j < LANES; j++) {
        const int here = at[j] == m ? LANES - j : 0;
        rank = here > rank ? here : rank;
    }
    return rank;
}

INLINE void T(fold)(double *v, const int half)
{
    for (int j = 0; j < half; j++)
        v[j] += v[j + half];
}

/* Add the lanes of a wide row. */
INLINE double T(across_lanes)(double *v)
{
    T(fold)(v, 16);
    T(fold)(v, 8);
    T(fold)(v, 4);
    T(fold)(v, 2);
    T(fold)(v, 1);
    return v[0];
}
