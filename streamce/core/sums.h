/* Exact sums: integers on the grid of 2^-1074, on which every double lies.
 *
 * A cell is a window of 64-bit words in two's complement, lowest first; word w counts
 * 2^(64 w - 1074). All cells share one window, which grows at either end when a term needs
 * it. The top word stays within +-2^62, so that one addition never overflows it. */
#ifndef STREAMCE_SUMS_H
#define STREAMCE_SUMS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int base;        /* the window's first word */
    int width;       /* its words; 0 before the first term */
    ptrdiff_t size;  /* cells */
    uint64_t *words; /* [size][width] */
} sums;

static inline uint64_t sums_sign(uint64_t top)
{
    return (uint64_t)0 - (top >> 63);
}

/* Widens the window to hold words low ... high - 1. Returns -1 without memory. */
static inline int sums_cover(sums *s, int low, int high)
{
    if (s->width) {
        low = low < s->base ? low : s->base;
        high = high > s->base + s->width ? high : s->base + s->width;
        if (high - low == s->width)
            return 0;
    }
    const int width = high - low;
    uint64_t *words = calloc((size_t)s->size * (size_t)width, sizeof *words);
    if (!words)
        return -1;
    for (ptrdiff_t cell = 0; s->width && cell < s->size; cell++) {
        const uint64_t *from = s->words + cell * s->width;
        uint64_t *to = words + cell * width;
        memcpy(to + (s->base - low), from, (size_t)s->width * sizeof *to);
        const uint64_t sign = sums_sign(from[s->width - 1]);
        for (int w = s->base - low + s->width; w < width; w++)
            to[w] = sign;
    }
    free(s->words);
    s->words = words;
    s->base = low;
    s->width = width;
    return 0;
}

static inline int sums_room(sums *s, ptrdiff_t cell)
{
    const uint64_t top = s->words[(cell + 1) * s->width - 1];
    return (top ^ (top << 1)) >> 63 ? sums_cover(s, s->base, s->base + s->width + 1) : 0;
}

/* cell += value 2^(bit - 1074) */
static inline int sums_add(sums *s, ptrdiff_t cell, int bit, int64_t value)
{
    const int low = bit >> 6, shift = bit & 63;
    if (!s->width && sums_cover(s, low > 0 ? low - 1 : 0, low + 2) < 0)
        return -1;
    if ((low < s->base || low + 2 > s->base + s->width) && sums_cover(s, low, low + 2) < 0)
        return -1;
    uint64_t *word = s->words + cell * s->width, *end = word + s->width;
    word += low - s->base;
    const uint64_t sign = sums_sign((uint64_t)value);
    uint64_t part = (uint64_t)value << shift;
    uint64_t next = shift ? (uint64_t)value >> (64 - shift) | sign << shift : sign;
    uint64_t carry;
    *word += part;
    carry = *word++ < part;
    next += carry;
    carry = next < carry;
    *word += next;
    carry += *word++ < next;
    /* What is left to add to the words above is the sign and the carry: usually nothing. */
    for (; word < end && sign + carry; word++) {
        const uint64_t add = sign + carry;
        *word += add;
        carry = sign ? *word < add || !add : *word < add;
    }
    return sums_room(s, cell);
}

/* cell += sign v, for a finite v */
static inline int sums_add_double(sums *s, ptrdiff_t cell, double v, int sign)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    const int exponent = (int)(bits >> 52 & 0x7ff);
    int64_t mantissa = (int64_t)(bits & 0xfffffffffffffu);
    if (exponent)
        mantissa |= (int64_t)1 << 52;
    if (!mantissa)
        return 0;
    if ((bits >> 63) != (sign < 0))
        mantissa = -mantissa;
    return sums_add(s, cell, exponent ? exponent - 1 : 0, mantissa);
}

/* to += sign from, cell by cell */
static inline int sums_merge(sums *to, const sums *from, int sign)
{
    if (!from->width)
        return 0;
    if (sums_cover(to, from->base, from->base + from->width) < 0)
        return -1;
    int full = 0;
    for (ptrdiff_t cell = 0; cell < to->size; cell++) {
        uint64_t *t = to->words + cell * to->width;
        const uint64_t *f = from->words + cell * from->width;
        const uint64_t flip = sign < 0 ? ~(uint64_t)0 : 0;
        const uint64_t extension = sums_sign(f[from->width - 1]) ^ flip;
        uint64_t carry = flip & 1; /* -x is ~x + 1; the words below `from` are all 0 */
        for (int w = from->base - to->base; w < to->width; w++) {
            const int i = w - (from->base - to->base);
            const uint64_t add = i < from->width ? f[i] ^ flip : extension;
            const uint64_t sum = t[w] + add;
            const uint64_t with = sum + carry;
            carry = (sum < add) | (with < sum);
            t[w] = with;
        }
        const uint64_t top = t[to->width - 1];
        full |= (int)((top ^ (top << 1)) >> 63);
    }
    return full ? sums_cover(to, to->base, to->base + to->width + 1) : 0;
}

static inline int sums_copy(sums *to, const sums *from)
{
    *to = *from;
    to->words = NULL;
    if (!from->width)
        return 0;
    const size_t bytes = (size_t)from->size * (size_t)from->width * sizeof *to->words;
    to->words = malloc(bytes);
    if (!to->words) {
        to->width = 0;
        return -1;
    }
    memcpy(to->words, from->words, bytes);
    return 0;
}

#endif
