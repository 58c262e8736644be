/* The scan's order: (tier, -key, SHA-256(beacon | bid id), alternative), as market/greedy.py has it.
 *
 * A radix sort by tier and key; hashes only where two bids tie in both, and later where a payment
 * asks who of two bids is ahead. A hash per bid would cost more than the whole clearing.
 */
#ifndef BIDPLANE_ORDER_H
#define BIDPLANE_ORDER_H

#include <stdlib.h>

#include "rooms.h"
#include "sha256.h"
#include "window.h"

typedef unsigned __int128 u128;

/* A pair on its way through the sort. */
typedef struct {
    uint64_t rank; /* the highest key first: highest - key */
    uint32_t pair, row;
} Entry;

typedef struct {
    uint8_t (*digest)[32];
    uint8_t *known;
    int native;
} Ties;

/* weight * (value + boost), or -1 beyond 2^42: there keys would not fit 62 bits. */
static inline int64_t weighed(const Window *w, int64_t row)
{
    const uint64_t limit = (uint64_t)1 << 42;
    uint64_t weight = (uint64_t)w->weight[row], value = (uint64_t)w->value[row];
    uint64_t boost = (uint64_t)w->boost[row];
    if (weight - 1 >= limit || value >= limit || boost >= limit) return -1;
    u128 product = (u128)weight * (value + boost);
    return product < limit ? (int64_t)product : -1;
}

static inline int64_t weighted_units(const Window *w, int64_t pair)
{
    return UNITS[w->pair_shape[pair]] * w->pair_slots[pair] * w->scarcity[w->pair_pool[pair]];
}

/* At most 2^94; a pair takes part only where it is within the bid's value. */
static inline u128 reserve_of(const Window *w, int64_t pair)
{
    u128 units = (u128)(UNITS[w->pair_shape[pair]] * w->pair_slots[pair]);
    return units * (uint64_t)w->reserve[w->pair_pool[pair]];
}

static inline const uint8_t *tie_of(const Window *w, Ties *ties, int64_t row)
{
    if (!ties->known[row]) {
        sha256_of_two(w->beacon, w->beacon_length, w->ids + w->id_start[row], w->id_length[row],
                      ties->native, ties->digest[row]);
        ties->known[row] = 1;
    }
    return ties->digest[row];
}

static inline int bits_of(uint64_t number) { return number ? 64 - __builtin_clzll(number) : 0; }

/* One stable pass over `digit_bits` bits of what `digit` finds. */
#define RADIX_BITS 11
#define RADIX_PASS(from, to, count, digit)                                                        \
    do {                                                                                          \
        uint32_t starts[1 << RADIX_BITS] = {0}, sum = 0;                                          \
        for (int64_t i = 0; i < (count); i++) starts[digit((from)[i])]++;                         \
        for (int d = 0; d < 1 << RADIX_BITS; d++) {                                               \
            uint32_t here = starts[d];                                                            \
            starts[d] = sum, sum += here;                                                         \
        }                                                                                         \
        for (int64_t i = 0; i < (count); i++) (to)[starts[digit((from)[i])]++] = (from)[i];       \
    } while (0)

/* Sorts `entries` by tier, then rank, else as they came; the result is in one of the two arrays. */
static Entry *sorted(const Window *w, Entry *entries, Entry *spare, int64_t count)
{
    uint64_t ranks = 0, tiers = 0;
    const uint64_t mask = (1 << RADIX_BITS) - 1;
    for (int64_t i = 0; i < count; i++) {
        ranks |= entries[i].rank;
        tiers |= (uint64_t)w->tier[entries[i].row];
    }
    for (int shift = 0; shift < bits_of(ranks); shift += RADIX_BITS) {
#define RANK_DIGIT(entry) ((entry).rank >> shift & mask)
        RADIX_PASS(entries, spare, count, RANK_DIGIT);
        Entry *swap = entries;
        entries = spare, spare = swap;
    }
    for (int shift = 0; shift < bits_of(tiers); shift += RADIX_BITS) {
#define TIER_DIGIT(entry) ((uint64_t)w->tier[(entry).row] >> shift & mask)
        RADIX_PASS(entries, spare, count, TIER_DIGIT);
        Entry *swap = entries;
        entries = spare, spare = swap;
    }
    return entries;
}

/* A pair of a tied group; `first` is the hash's beginning, which nearly always decides. */
typedef struct {
    uint64_t first;
    const uint8_t *digest;
    Entry entry;
} Tied;

static int by_tie(const void *left, const void *right)
{
    const Tied *a = left, *b = right;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    if (a->entry.row != b->entry.row) return memcmp(a->digest, b->digest, 32);
    /* A bid's pairs lie in the order of its alternatives. */
    return a->entry.pair < b->entry.pair ? -1 : 1;
}

enum { FEW = 8 };

/* Puts tied bids in the order of their hashes; false: no memory. */
static int break_ties(const Window *w, Ties *ties, Entry *entries, int64_t count)
{
    for (int64_t start = 0, end; start < count; start = end) {
        const Entry *first = &entries[start];
        int several = 0;
        for (end = start + 1; end < count && entries[end].rank == first->rank
                              && w->tier[entries[end].row] == w->tier[first->row]; end++)
            several |= entries[end].row != first->row;
        if (!several) continue; /* a bid's own alternatives came in order */
        Tied few[FEW], *many = 0;
        if (end - start > FEW && !(many = malloc((size_t)(end - start) * sizeof *many))) return 0;
        Tied *tied = many ? many : few;
        for (int64_t i = start; i < end; i++) {
            const uint8_t *digest = tie_of(w, ties, entries[i].row);
            uint64_t begin = 0;
            for (int k = 0; k < 8; k++) begin = begin << 8 | digest[k];
            tied[i - start] = (Tied){begin, digest, entries[i]};
        }
        qsort(tied, (size_t)(end - start), sizeof *tied, by_tie);
        for (int64_t i = start; i < end; i++) entries[i] = tied[i - start].entry;
        free(many);
    }
    return 1;
}

#endif
