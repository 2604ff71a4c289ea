/* A table that gives each new key the next slot: 0, 1, 2 ...
 *
 * It uses open addressing in 256 shards. Each shard doubles on its own, so that memory grows in small
 * steps. A key is a word or bytes. The hash of a word is a bijection of the word, so equal hashes mean
 * equal words. It depends on a seed of this process, so that nobody can choose keys that collide. If
 * the hashes of bytes are equal, the bytes are compared. */
#ifndef STREAMCE_KEYS_H
#define STREAMCE_KEYS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _MSC_VER
#define PREFETCH(address) ((void)(address))
#else
#define PREFETCH(address) __builtin_prefetch(address, 1)
#endif

enum { SHARDS = 256, SLOT_BITS = 12, ARENA = 1 << 16 };

typedef struct {
    uint64_t hash;
    int64_t slot;  /* the slot plus 1, or 0 if the entry is free */
} entry;

typedef struct {
    entry *entries;
    int bits;
    ptrdiff_t used;
} shard;

typedef struct {
    uint64_t seed;
    shard shards[SHARDS];
    uint64_t **slots;  /* pages of 2^SLOT_BITS slots: a word, or a pointer to the length and the bytes */
    ptrdiff_t size;    /* number of slots in use */
    uint8_t **arenas;  /* hold the bytes of keys */
    ptrdiff_t n_arenas, left;  /* bytes that are free in the last arena */
} keys;

/* The finalizer of splitmix64 (Steele, Lea, Flood 2014). */
static inline uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint64_t hash_bytes(const uint8_t *bytes, size_t size, uint64_t seed)
{
    uint64_t hash = size ^ seed;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        for (size_t i = 0; i < 8 && at + i < size; i++)
            word |= (uint64_t)bytes[at + i] << 8 * i;
        hash = mix64(hash ^ word);
    }
    return hash;
}

static inline entry *keys_entry(const shard *s, uint64_t hash)
{
    return s->entries + (hash << 8 >> (64 - s->bits));
}

static inline void keys_prefetch(const keys *k, uint64_t hash)
{
    const shard *s = &k->shards[hash >> 56];
    if (s->entries)
        PREFETCH(keys_entry(s, hash));
}

static inline uint64_t *keys_slot(const keys *k, ptrdiff_t slot)
{
    return &k->slots[slot >> SLOT_BITS][slot & ((1 << SLOT_BITS) - 1)];
}

/* Double a shard before more than half of it is in use. Return -1 if memory runs out. */
static int shard_room(shard *s)
{
    if (s->entries && 2 * (s->used + 1) <= (ptrdiff_t)1 << s->bits)
        return 0;
    shard wide = {NULL, s->entries ? s->bits + 1 : 3, s->used};
    const size_t mask = ((size_t)1 << wide.bits) - 1;
    wide.entries = calloc(mask + 1, sizeof *wide.entries);
    if (!wide.entries)
        return -1;
    for (ptrdiff_t i = 0; s->entries && i < (ptrdiff_t)1 << s->bits; i++) {
        if (!s->entries[i].slot)
            continue;
        size_t at = (size_t)(keys_entry(&wide, s->entries[i].hash) - wide.entries);
        while (wide.entries[at].slot)
            at = (at + 1) & mask;
        wide.entries[at] = s->entries[i];
    }
    free(s->entries);
    *s = wide;
    return 0;
}

/* Store the length of bytes and the bytes. Return NULL if memory runs out. */
static const uint8_t *keys_store(keys *k, const uint8_t *bytes, uint32_t size)
{
    const ptrdiff_t need = (ptrdiff_t)sizeof size + size;
    if (need > k->left) {
        const ptrdiff_t room = need > ARENA ? need : ARENA;
        uint8_t **arenas = realloc(k->arenas, (size_t)(k->n_arenas + 1) * sizeof *arenas);
        if (!arenas)
            return NULL;
        k->arenas = arenas;
        arenas[k->n_arenas] = malloc((size_t)room);
        if (!arenas[k->n_arenas])
            return NULL;
        k->n_arenas++;
        k->left = room;
    }
    /* An arena is filled from its end, so that `left` is also the offset of the next key. */
    k->left -= need;
    uint8_t *stored = k->arenas[k->n_arenas - 1] + k->left;
    memcpy(stored, &size, sizeof size);
    memcpy(stored + sizeof size, bytes, size);
    return stored;
}

/* Return the slot of a key, which is a word if `bytes` is NULL. Without a slot, give it the next one if `add` is 1, and
 * return -1 otherwise. Return -2 if memory runs out. */
static inline ptrdiff_t keys_find(
    keys *k, uint64_t hash, uint64_t word, const uint8_t *bytes, uint32_t size, int add)
{
    shard *s = &k->shards[hash >> 56];
    if (s->entries) {
        const entry *end = s->entries + ((ptrdiff_t)1 << s->bits);
        for (const entry *e = keys_entry(s, hash); e->slot; e = e + 1 == end ? s->entries : e + 1) {
            if (e->hash != hash)
                continue;
            if (!bytes)
                return e->slot - 1;
            const uint8_t *stored = (const uint8_t *)(uintptr_t)*keys_slot(k, e->slot - 1);
            if (!memcmp(stored, &size, sizeof size) && !memcmp(stored + sizeof size, bytes, size))
                return e->slot - 1;
        }
    }
    if (!add)
        return -1;
    if (!(k->size & ((1 << SLOT_BITS) - 1))) {
        const ptrdiff_t page = k->size >> SLOT_BITS;
        uint64_t **slots = realloc(k->slots, (size_t)(page + 1) * sizeof *slots);
        if (!slots)
            return -2;
        k->slots = slots;
        slots[page] = malloc(sizeof **slots << SLOT_BITS);
        if (!slots[page])
            return -2;
    }
    if (shard_room(s) < 0)
        return -2;
    if (bytes) {
        const uint8_t *stored = keys_store(k, bytes, size);
        if (!stored)
            return -2;
        word = (uint64_t)(uintptr_t)stored;
    }
    const size_t mask = ((size_t)1 << s->bits) - 1;
    size_t at = (size_t)(keys_entry(s, hash) - s->entries);
    while (s->entries[at].slot)
        at = (at + 1) & mask;
    *keys_slot(k, k->size) = word;
    s->entries[at] = (entry){hash, ++k->size};
    s->used++;
    return k->size - 1;
}

static inline void keys_free(keys *k)
{
    for (int i = 0; i < SHARDS; i++)
        free(k->shards[i].entries);
    for (ptrdiff_t i = 0; i < (k->size + (1 << SLOT_BITS) - 1) >> SLOT_BITS; i++)
        free(k->slots[i]);
    free(k->slots);
    for (ptrdiff_t i = 0; i < k->n_arenas; i++)
        free(k->arenas[i]);
    free(k->arenas);
}

#endif
