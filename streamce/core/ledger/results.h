/* Results of a cell, exact and rounded once: its sum, mean and standard error.
 *
 * They are computed for the cells of most groups: finite samples of weight 1. For other cells, and where the compiler has
 * no integers of 128 bits, the functions return 0, and Python computes the same values. */
#ifndef STREAMCE_RESULTS_H
#define STREAMCE_RESULTS_H

#include "cells.h"

#ifdef __SIZEOF_INT128__
typedef unsigned __int128 uint128;

/* An integer of at least 0: words, lowest first, of which the first stands for 2^(64 first). */
enum { MAGNITUDE_WORDS = 24 };
typedef struct {
    uint64_t words[MAGNITUDE_WORDS];
    int first, width;
} magnitude;

/* Return whether all samples of a cell are finite and of weight 1, and no counter is negative. */
static inline int cell_is_plain(const page *p, ptrdiff_t cell)
{
    if (!p->words || !p->width[SAMPLES_COLUMN])
        return 0;
    for (int c = SUM_COLUMNS; c < COLUMNS; c++)
        if (p->width[c] && (c < SAMPLES_COLUMN ? !column_is_zero(p, cell, c)
                                               : (int64_t)cell_at(p, cell)[p->at[c]] < 0))
            return 0;
    return column_is_zero(p, cell, 2) && column_is_zero(p, cell, 3) && column_is_zero(p, cell, 4);
}

/* Set m to the magnitude of a sum of a cell, and negative to its sign. Return 0 if it has too many words. */
static inline int sum_magnitude(const page *p, ptrdiff_t cell, int column, magnitude *m, int *negative)
{
    const uint64_t *words = NULL;
    int first = 0;
    const int width = cell_needs(p, cell, column, &words, &first);
    *negative = 0;
    m->first = width ? first : 0;
    m->width = width;
    if (width > 8)
        return 0;
    if (!width)
        return 1;
    const uint64_t flip = sign_of(words[width - 1]);
    uint64_t carry = flip & 1;
    for (int w = 0; w < width; w++) {
        m->words[w] = (words[w] ^ flip) + carry;
        carry &= !m->words[w];
    }
    *negative = flip != 0;
    while (m->width && !m->words[m->width - 1])
        m->width--;
    return 1;
}

/* Return the number of bits up to the highest one. */
static inline int bit_length(const magnitude *m)
{
    return m->width ? 64 * (m->first + m->width) - __builtin_clzll(m->words[m->width - 1]) : 0;
}

/* Return the 64 bits from bit number `bit` on, which may be negative. */
static inline uint64_t bits_from(const magnitude *m, int bit)
{
    const int word = (bit >= 0 ? bit / 64 : -((63 - bit) / 64)), shift = bit - 64 * word;
    const int at = word - m->first;
    const uint64_t low = at >= 0 && at < m->width ? m->words[at] : 0;
    const uint64_t high = at >= -1 && at + 1 < m->width ? m->words[at + 1] : 0;
    return shift ? low >> shift | high << (64 - shift) : low;
}

/* Return whether a bit below bit number `bit` is 1. */
static inline int has_bits_below(const magnitude *m, int bit)
{
    for (int w = 0; w < m->width; w++) {
        const int below = bit - 64 * (m->first + w);
        if (below <= 0)
            return 0;
        if (below >= 64 ? m->words[w] != 0 : m->words[w] << (64 - below) != 0)
            return 1;
    }
    return 0;
}

/* Return m in units of 2^-1074, rounded to nearest, ties to even. */
static inline double magnitude_to_double(const magnitude *m)
{
    const int length = bit_length(m);
    const int last = length > 53 ? length - 53 : 0;  /* the lowest bit of the result */
    uint64_t mantissa = bits_from(m, last);
    if (last && bits_from(m, last - 1) & 1)
        mantissa += has_bits_below(m, last - 1) || mantissa & 1;
    return ldexp((double)mantissa, last - 1074);
}

/* Return floor(sqrt(x)) for x below 2^124. */
static inline uint64_t integer_root(uint128 x)
{
    uint64_t root = (uint64_t)sqrt((double)x);
    const uint128 square = (uint128)root * root;
    /* One step of Newton's method in float64 takes a relative error of 2^-52 to less than 2^-100. */
    if (x >= square)
        root += (uint64_t)((double)(x - square) / (2 * (double)root));
    else
        root -= (uint64_t)((double)(square - x) / (2 * (double)root));
    while ((uint128)root * root > x)
        root--;
    while ((uint128)(root + 1) * (root + 1) <= x)
        root++;
    return root;
}

/* Compute the mean loss: the exact quotient of the sum of n and the number of samples, rounded once. */
static inline int cell_mean(const page *p, ptrdiff_t cell, double *mean)
{
    /* The quotient has two words below the grid, so that it always has the bits that decide how it is rounded. */
    enum { BELOW = 2, ROOM = UINT8_MAX + BELOW };
    uint64_t quotient[ROOM] = {0};
    const uint64_t *words;
    int first, width, top, bit;
    if (!cell_is_plain(p, cell))
        return 0;
    const uint64_t samples = cell_at(p, cell)[p->at[SAMPLES_COLUMN]];
    if (!samples)
        return 0;
    *mean = 0;
    width = cell_needs(p, cell, 0, &words, &first);
    if (!width)
        return 1;
    if (first + width + BELOW > ROOM)
        return 0;
    const uint64_t flip = sign_of(words[width - 1]);
    uint64_t carry = flip & 1, rest = 0;
    uint64_t *at = quotient + BELOW + first;
    for (int w = 0; w < width; w++) {  /* negate a negative sum */
        at[w] = (words[w] ^ flip) + carry;
        carry &= !at[w];
    }
    for (top = BELOW + first + width - 1; top >= 0; top--) {
        const uint128 part = (uint128)rest << 64 | quotient[top];
        quotient[top] = (uint64_t)(part / samples);
        rest = (uint64_t)(part % samples);
    }
    for (top = BELOW + first + width - 1; !quotient[top];)
        top--;
    bit = 64 * top + 63 - __builtin_clzll(quotient[top]);
    /* The last bit of the result: the 53rd, or the lowest bit of the grid. */
    const int last = bit - 52 > 64 * BELOW ? bit - 52 : 64 * BELOW;
    const int word = last / 64, shift = last % 64;
    uint64_t mantissa = quotient[word] >> shift;
    if (shift && word + 1 < ROOM)
        mantissa |= quotient[word + 1] << (64 - shift);
    uint64_t beyond = rest;
    const int half_word = (last - 1) / 64, half_shift = (last - 1) % 64;
    for (int w = 0; w < half_word; w++)
        beyond |= quotient[w];
    beyond |= quotient[half_word] & (((uint64_t)1 << half_shift) - 1);
    const int half = (int)(quotient[half_word] >> half_shift & 1);
    mantissa += half && (beyond || mantissa & 1);
    *mean = ldexp((double)mantissa, last - 64 * BELOW - 1074);
    if (flip)
        *mean = -*mean;
    return 1;
}

/* Set to a * factor * 2^(64 words + bits) - square^2, or to 0 if that is negative. Return 0 if it has too many words. */
static inline int scaled_difference(
    magnitude *to, const magnitude *a, uint64_t factor, int words, int bits, const magnitude *square)
{
    uint64_t product[10] = {0}, squared[16] = {0};
    uint64_t carry = 0;
    for (int w = 0; w < a->width; w++) {
        const uint128 part = (uint128)a->words[w] * factor + carry;
        product[w] |= bits ? (uint64_t)part << bits : (uint64_t)part;
        product[w + 1] = bits ? (uint64_t)part >> (64 - bits) : 0;
        carry = (uint64_t)(part >> 64);
    }
    product[a->width] |= carry << bits;
    product[a->width + 1] = bits ? carry >> (64 - bits) : 0;
    for (int i = 0; i < square->width; i++) {
        carry = 0;
        for (int j = 0; j < square->width; j++) {
            const uint128 part = (uint128)square->words[i] * square->words[j] + squared[i + j] + carry;
            squared[i + j] = (uint64_t)part;
            carry = (uint64_t)(part >> 64);
        }
        squared[i + square->width] = carry;
    }
    const int at = a->first + words, of_square = 2 * square->first;
    const int first = !square->width || at < of_square ? at : of_square;
    const int end = at + a->width + 2, end_of_square = of_square + 2 * square->width;
    const int width = (end > end_of_square ? end : end_of_square) - first;
    if (width > MAGNITUDE_WORDS)
        return 0;
    uint64_t borrow = 0;
    for (int w = 0; w < width; w++) {
        const int i = first + w - at, j = first + w - of_square;
        const uint64_t plus = i >= 0 && i < a->width + 2 ? product[i] : 0;
        const uint64_t minus = j >= 0 && j < 2 * square->width ? squared[j] : 0;
        const uint64_t difference = plus - minus;
        to->words[w] = difference - borrow;
        borrow = (plus < minus) | (difference < borrow);
    }
    to->first = first;
    to->width = borrow ? 0 : width;
    while (to->width && !to->words[to->width - 1])
        to->width--;
    return 1;
}

/* Compute sqrt(m / (k^2 (k - 1))) 2^-1074, rounded once, for m > 0. Return 0 if it is not a normal number. */
static inline int root_of_quotient(const magnitude *m, uint64_t k, double *root)
{
    enum { DIGITS = 120, WORDS = 4 };  /* digits of the quotient, at least, so that its root has 60 */
    const uint128 divisor = (uint128)k * k * (k - 1);
    const uint64_t top = (uint64_t)(divisor >> 64);
    const int divisor_length = top ? 128 - __builtin_clzll(top) : 64 - __builtin_clzll((uint64_t)divisor);
    int low = bit_length(m) - DIGITS - divisor_length;
    low -= low & 1;  /* the power of two must have a root */
    uint64_t words[WORDS], factors[3] = {k, k, k - 1};
    for (int w = 0; w < WORDS; w++)
        words[w] = bits_from(m, low + 64 * w);
    int inexact = has_bits_below(m, low);
    for (int i = 0; i < 3; i++) {  /* floor(floor(a / b) / c) = floor(a / (b c)) */
        uint64_t rest = 0;
        for (int w = WORDS - 1; w >= 0; w--) {
            const uint128 part = (uint128)rest << 64 | words[w];
            words[w] = (uint64_t)(part / factors[i]);
            rest = (uint64_t)(part % factors[i]);
        }
        inexact |= rest != 0;
    }
    const uint128 quotient = (uint128)words[1] << 64 | words[0];
    const uint64_t digits = integer_root(quotient);
    /* A last digit says whether the root continues, so that it is rounded correctly. */
    inexact |= (uint128)digits * digits != quotient;
    const int exponent = low / 2 - 1 - 1074;
    if (exponent < -1022 - 59 || exponent > 900)
        return 0;
    *root = ldexp((double)(digits << 1 | (uint64_t)inexact), exponent);
    return 1;
}

/* Compute the sum of n, and the standard error of the mean: nan for fewer than two samples. */
static inline int cell_sum_and_error(const page *p, ptrdiff_t cell, double *sum, double *error)
{
    magnitude n, nn, difference;
    int negative;
    if (!cell_is_plain(p, cell))
        return 0;
    const uint64_t k = cell_at(p, cell)[p->at[SAMPLES_COLUMN]];
    if (!k || k >> 40 || !sum_magnitude(p, cell, 1, &nn, &negative) || negative
        || !sum_magnitude(p, cell, 0, &n, &negative))
        return 0;
    *sum = magnitude_to_double(&n);
    if (negative)
        *sum = -*sum;
    *error = NAN;
    if (k < 2)
        return 1;
    if (!scaled_difference(&difference, &nn, k, 1074 / 64, 1074 % 64, &n))
        return 0;
    *error = 0;
    return !difference.width || root_of_quotient(&difference, k, error);
}

#else

static inline int cell_mean(const page *p, ptrdiff_t cell, double *mean)
{
    (void)p, (void)cell, (void)mean, (void)column_is_zero;
    return 0;
}

static inline int cell_sum_and_error(const page *p, ptrdiff_t cell, double *sum, double *error)
{
    (void)p, (void)cell, (void)sum, (void)error;
    return 0;
}

#endif

#endif
