/* Cells of integers, in pages.
 *
 * A cell has up to COLUMNS integers: counters, and exact sums on the grid of 2^-1074, on which every
 * double lies. In memory a cell is a record of 64-bit words. It holds only the words that its page has
 * needed so far: one word for a counter, and a window of words for a sum. A sum is in two's complement,
 * lowest word first, and word w has the value 2^(64 w - 1074). All cells of a page have the same layout
 * and lie side by side, so that a sample touches one or two cache lines. A page gets a new layout when
 * a term lies outside a window, or when a counter is used for the first time. The top word of a sum
 * stays within +-2^62, so that one addition never overflows it. The last word that a window can have is
 * number 254, so a sum is at least -2^16318 and less than 2^16318, in units of 2^-1074. An addition
 * that would leave this range raises an error before anything is added. */
#ifndef STREAMCE_CELLS_H
#define STREAMCE_CELLS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUM_COLUMNS = 5, SAMPLES_COLUMN = 15, COUNT_COLUMN = 16, COLUMNS = 28 };

typedef struct {
    uint64_t *words;            /* [cells][stride]; NULL before the first term */
    ptrdiff_t cells;            /* number of cells */
    int stride;                 /* words of a cell */
    uint16_t at[COLUMNS];       /* offset of a column in a cell */
    uint8_t width[COLUMNS];     /* words of a column; 0 if no cell has it */
    uint8_t base[SUM_COLUMNS];  /* number of the first word in a sum's window */
} page;

#if defined(__GNUC__)
#define RARELY __attribute__((noinline, cold))
#define INLINED static inline __attribute__((always_inline))
#else
#define RARELY
#define INLINED static inline
#endif

static inline uint64_t sign_of(uint64_t top)
{
    return (uint64_t)0 - (top >> 63);
}

static inline uint64_t *cell_at(const page *p, ptrdiff_t cell)
{
    return p->words + cell * p->stride;
}

/* ---- layout ---- */

/* Give the page a new layout, in which one column has another window. Return -1 if memory runs out. */
static RARELY int page_widen(page *p, int column, int base, int width)
{
    if (base + width > UINT8_MAX)  /* cannot happen: callers check the range first (cell_overflow, cell_bound) */
        return -1;
    page q = *p;
    q.width[column] = (uint8_t)width;
    if (column < SUM_COLUMNS)
        q.base[column] = (uint8_t)base;
    q.stride = 0;
    for (int c = 0; c < COLUMNS; c++) {
        q.at[c] = (uint16_t)q.stride;
        q.stride += q.width[c];
    }
    q.words = calloc((size_t)p->cells * (size_t)q.stride, sizeof *q.words);
    if (!q.words)
        return -1;
    for (ptrdiff_t cell = 0; p->words && cell < p->cells; cell++)
        for (int c = 0; c < COLUMNS; c++) {
            if (!p->width[c])
                continue;
            const uint64_t *from = cell_at(p, cell) + p->at[c];
            uint64_t *to = cell_at(&q, cell) + q.at[c];
            const int shift = c == column && c < SUM_COLUMNS ? p->base[c] - base : 0;
            memcpy(to + shift, from, p->width[c] * sizeof *to);
            const uint64_t sign = sign_of(from[p->width[c] - 1]);
            for (int w = shift + p->width[c]; w < q.width[c]; w++)
                to[w] = sign;
        }
    free(p->words);
    *p = q;
    return 0;
}

/* Widen a sum's window to hold words low ... high - 1. */
INLINED int page_cover(page *p, int column, int low, int high)
{
    if (p->width[column]) {
        const int base = p->base[column], end = base + p->width[column];
        if (low >= base && high <= end)
            return 0;
        low = low < base ? low : base;
        high = high > end ? high : end;
    }
    return page_widen(p, column, low, high - low);
}

/* Give an empty page the layout of another page, which it is likely to need. */
static inline int page_like(page *p, const page *other)
{
    const ptrdiff_t cells = p->cells;
    *p = *other;
    p->cells = cells;
    p->words = other->stride ? calloc((size_t)cells * (size_t)p->stride, sizeof *p->words) : NULL;
    if (other->stride && !p->words) {
        memset(p, 0, sizeof *p);
        p->cells = cells;
        return -1;
    }
    return 0;
}

static inline int page_copy(page *p, const page *other)
{
    if (page_like(p, other) < 0)
        return -1;
    if (p->words)
        memcpy(p->words, other->words, (size_t)p->cells * (size_t)p->stride * sizeof *p->words);
    return 0;
}

/* ---- adding ---- */

INLINED int counter_add(page *p, ptrdiff_t cell, int column, int64_t by)
{
    if (!p->width[column] && (by == 0 || page_widen(p, column, 0, 1) < 0))
        return by == 0 ? 0 : -1;
    cell_at(p, cell)[p->at[column]] += (uint64_t)by;
    return 0;
}

/* Widen the window if the top word of a sum has left +-2^62. */
INLINED int sum_room(page *p, ptrdiff_t cell, int column)
{
    const uint64_t top = cell_at(p, cell)[p->at[column] + p->width[column] - 1];
    const int base = p->base[column], end = base + p->width[column];
    return (top ^ (top << 1)) >> 63 ? page_cover(p, column, base, end + 1) : 0;
}

/* sum += value 2^(bit - 1074) */
INLINED int sum_add(page *p, ptrdiff_t cell, int column, int bit, int64_t value)
{
    const int low = bit >> 6, shift = bit & 63;
    if (!p->width[column] && page_cover(p, column, low > 0 ? low - 1 : 0, low + 2) < 0)
        return -1;
    if (page_cover(p, column, low, low + 2) < 0)
        return -1;
    uint64_t *word = cell_at(p, cell) + p->at[column], *end = word + p->width[column];
    word += low - p->base[column];
    const uint64_t sign = sign_of((uint64_t)value);
    uint64_t part = (uint64_t)value << shift;
    uint64_t next = shift ? (uint64_t)value >> (64 - shift) | sign << shift : sign;
    uint64_t carry;
    *word += part;
    carry = *word++ < part;
    next += carry;
    carry = next < carry;
    *word += next;
    carry += *word++ < next;
    /* The words above need only the sign and the carry, which are usually 0. */
    for (; word < end && sign + carry; word++) {
        const uint64_t add = sign + carry;
        *word += add;
        carry = sign ? *word < add || !add : *word < add;
    }
    return sum_room(p, cell, column);
}

/* sum += sign * v, for a finite v */
INLINED int sum_add_double(page *p, ptrdiff_t cell, int column, double v, int sign)
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
    return sum_add(p, cell, column, exponent ? exponent - 1 : 0, mantissa);
}

/* Fast path of sum_add_double for most terms: positive, normal and within the window, with no carry beyond it. For
 * other terms, change nothing and return 0. */
INLINED int sum_add_usual(page *p, uint64_t *record, int column, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    const unsigned bit = (unsigned)(bits >> 52) - 1;  /* 2046 and more: negative, subnormal or 0 */
    const unsigned at = bit / 64 - p->base[column], shift = bit % 64;
    if (bit >= 2046 || at >= p->width[column] || at + 2 > p->width[column])
        return 0;
    const uint64_t mantissa = (bits & 0xfffffffffffffu) | (uint64_t)1 << 52;
    uint64_t *word = record + p->at[column] + at;
    const uint64_t low = word[0] + (mantissa << shift);
    const uint64_t add = (mantissa >> 1 >> (63 - shift)) + (low < word[0]);
    const uint64_t high = word[1] + add;
    /* The window must be wider: there is a carry, or the top word has left +-2^62. */
    if (high < add || (at + 2 == p->width[column] && (high ^ (high << 1)) >> 63))
        return 0;
    word[0] = low;
    word[1] = high;
    return 1;
}

/* Add a sample of weight 1 and its square. Both must be finite. The sample consists of `losses` losses. */
INLINED int cell_add_sample(page *p, ptrdiff_t cell, double n, double square, int64_t losses)
{
    if (counter_add(p, cell, SAMPLES_COLUMN, 1) < 0 || counter_add(p, cell, COUNT_COLUMN, losses) < 0)
        return -1;
    if (!sum_add_usual(p, cell_at(p, cell), 0, n) && sum_add_double(p, cell, 0, n, 1) < 0)
        return -1;
    return sum_add_usual(p, cell_at(p, cell), 1, square) ? 0 : sum_add_double(p, cell, 1, square, 1);
}

/* sum += sign * words, of which there are `width`, beginning with word number `base` */
static inline int sum_add_words(
    page *p, ptrdiff_t cell, int column, const uint64_t *from, int base, int width, int sign)
{
    if (page_cover(p, column, base, base + width) < 0)
        return -1;
    uint64_t *to = cell_at(p, cell) + p->at[column];
    const uint64_t flip = sign < 0 ? ~(uint64_t)0 : 0;
    const uint64_t extension = sign_of(from[width - 1]) ^ flip;
    uint64_t carry = flip & 1;  /* -x = ~x + 1; the words below `base` are 0 */
    for (int w = base - p->base[column], i = 0; w < p->width[column]; w++, i++) {
        const uint64_t add = i < width ? from[i] ^ flip : extension;
        const uint64_t sum = to[w] + add;
        const uint64_t with = sum + carry;
        carry = (sum < add) | (with < sum);
        to[w] = with;
    }
    return sum_room(p, cell, column);
}

/* to[cell] += sign * from[other] */
static inline int cell_merge(page *to, ptrdiff_t cell, const page *from, ptrdiff_t other, int sign)
{
    if (!from->words)
        return 0;
    const uint64_t *record = cell_at(from, other);
    for (int c = 0; c < COLUMNS; c++) {
        const uint64_t *words = record + from->at[c];
        if (!from->width[c])
            continue;
        if (c >= SUM_COLUMNS) {
            if (counter_add(to, cell, c, sign < 0 ? -(int64_t)*words : (int64_t)*words) < 0)
                return -1;
        } else if (sum_add_words(to, cell, c, words, from->base[c], from->width[c], sign) < 0)
            return -1;
    }
    return 0;
}

/* ---- reading ---- */

static inline int cell_is_zero(const page *p, ptrdiff_t cell)
{
    uint64_t any = 0;
    for (int w = 0; p->words && w < p->stride; w++)
        any |= cell_at(p, cell)[w];
    return !any;
}

static inline int page_is_full(const page *p, int column)
{
    return p->words && p->width[column] && p->base[column] + p->width[column] == UINT8_MAX;
}

/* Return word w of a sum, which may lie outside of its window. */
static inline uint64_t sum_word(const page *p, ptrdiff_t cell, int column, int w)
{
    if (!p->words || !p->width[column] || w < p->base[column])
        return 0;
    const uint64_t *words = cell_at(p, cell) + p->at[column];
    const int end = p->base[column] + p->width[column];
    return w < end ? words[w - p->base[column]] : sign_of(words[p->width[column] - 1]);
}

/* Return whether sum + sign * other exceeds +-2^62 in the last word that a window can have. */
static RARELY int sum_overflow(const page *p, ptrdiff_t cell, const page *from, ptrdiff_t other, int column, int sign)
{
    const uint64_t flip = sign < 0 ? ~(uint64_t)0 : 0;
    uint64_t carry = flip & 1, top = 0;
    for (int w = 0; w < UINT8_MAX; w++) {
        const uint64_t add = sum_word(from, other, column, w) ^ flip;
        const uint64_t sum = sum_word(p, cell, column, w) + add;
        top = sum + carry;
        carry = (sum < add) | (top < sum);
    }
    return (int)((top ^ (top << 1)) >> 63);
}

static inline int64_t counter_of(const page *p, ptrdiff_t cell, int column)
{
    return p->words && p->width[column] ? (int64_t)cell_at(p, cell)[p->at[column]] : 0;
}

/* Return the first column that cell + sign * other would take out of its range, or -1. A counter's range is +-most. */
static inline int cell_overflow(
    const page *p, ptrdiff_t cell, const page *from, ptrdiff_t other, int sign, int64_t most)
{
    for (int c = 0; c < SUM_COLUMNS; c++)
        if ((page_is_full(p, c) || page_is_full(from, c)) && sum_overflow(p, cell, from, other, c, sign))
            return c;
    for (int c = SUM_COLUMNS; from->words && c < COLUMNS; c++) {
        if (!from->width[c])
            continue;
        const int64_t ours = counter_of(p, cell, c), theirs = sign * counter_of(from, other, c);
        if (theirs > 0 ? ours > most - theirs : ours < -most - theirs)
            return c;
    }
    return -1;
}

/* Return the largest magnitude of a cell's counters, or INT64_MAX if samples can take a sum out of its range. A sample
 * changes word 35 at most, so a sum that is below half of its range stays within the range. */
static inline int64_t cell_bound(const page *p, ptrdiff_t cell)
{
    int64_t most = 0;
    for (int c = 0; c < SUM_COLUMNS; c++) {
        const int64_t top = page_is_full(p, c) ? (int64_t)sum_word(p, cell, c, UINT8_MAX - 1) : 0;
        if (top >= (int64_t)1 << 61 || top < -((int64_t)1 << 61))
            return INT64_MAX;
    }
    for (int c = SUM_COLUMNS; c < COLUMNS; c++) {
        const int64_t count = counter_of(p, cell, c);
        if (count == INT64_MIN)
            return INT64_MAX;
        most = count > most ? count : -count > most ? -count : most;
    }
    return most;
}

/* Return how many words the value of a column needs, from the first word that is not 0. Set `from` and `first` to
 * the address and the number of that word. */
static inline int cell_needs(const page *p, ptrdiff_t cell, int column, const uint64_t **from, int *first)
{
    int width = p->words ? p->width[column] : 0;
    if (!width)
        return 0;
    const uint64_t *words = cell_at(p, cell) + p->at[column];
    while (width > 1 && words[width - 1] == sign_of(words[width - 2]))
        width--;
    int low = 0;
    while (low < width && !words[low])
        low++;
    *from = words + low;
    *first = low + (column < SUM_COLUMNS ? p->base[column] : 0);
    return width - low;
}

/* Return whether all words of a column are 0, or the column has none. */
static inline int column_is_zero(const page *p, ptrdiff_t cell, int column)
{
    uint64_t any = 0;
    for (int w = 0; w < p->width[column]; w++)
        any |= cell_at(p, cell)[p->at[column] + w];
    return !any;
}

/* ---- bytes: docs/FORMAT.md ---- */

/* Return the length of a cell's bytes. Write them to `out` unless it is NULL. */
static inline size_t cell_write(const page *p, ptrdiff_t cell, uint8_t *out)
{
    uint32_t columns = 0;
    size_t at = 4;
    for (int c = 0; c < COLUMNS; c++) {
        const uint64_t *words;
        int first;
        const int width = cell_needs(p, cell, c, &words, &first);
        if (!width)
            continue;
        columns |= (uint32_t)1 << c;
        if (out) {
            out[at] = (uint8_t)first;
            out[at + 1] = (uint8_t)width;
            for (int i = 0; i < 8 * width; i++)
                out[at + 2 + i] = (uint8_t)(words[i / 8] >> 8 * (i % 8));
        }
        at += 2 + 8 * (size_t)width;
    }
    for (int i = 0; out && i < 4; i++)
        out[i] = (uint8_t)(columns >> 8 * i);
    return at;
}

/* Add the integers in `in` to a cell that is 0. Return the number of bytes read, 0 if they are malformed, -1 if memory
 * runs out, or -2 if an integer is out of its range. */
static inline ptrdiff_t cell_read(page *p, ptrdiff_t cell, const uint8_t *in, ptrdiff_t size, int64_t most)
{
    uint64_t words[UINT8_MAX];
    uint32_t columns = 0;
    ptrdiff_t at = 4;
    if (size < at)
        return 0;
    for (int i = 0; i < 4; i++)
        columns |= (uint32_t)in[i] << 8 * i;
    if (columns >> COLUMNS)
        return 0;
    for (int c = 0; c < COLUMNS; c++) {
        if (!(columns >> c & 1))
            continue;
        if (size - at < 2)
            return 0;
        const int first = in[at], width = in[at + 1];
        at += 2;
        if (!width || size - at < 8 * width || first + width > (c < SUM_COLUMNS ? UINT8_MAX : 1))
            return 0;
        memset(words, 0, sizeof *words * (size_t)width);
        for (int i = 0; i < 8 * width; i++)
            words[i / 8] |= (uint64_t)in[at + i] << 8 * (i % 8);
        at += 8 * width;
        const uint64_t top = words[width - 1];
        if (c < SUM_COLUMNS) {
            if (first + width == UINT8_MAX && (top ^ (top << 1)) >> 63)
                return -2;
            if (sum_add_words(p, cell, c, words, first, width, 1) < 0)
                return -1;
        } else if ((int64_t)*words > most || (int64_t)*words < -most)
            return -2;
        else if (counter_add(p, cell, c, (int64_t)*words) < 0)
            return -1;
    }
    return at;
}

#endif
