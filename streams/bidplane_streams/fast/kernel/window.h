/* What goes into a clearing and comes out, shared with Python (native.py holds the same layout).
 *
 * A row is a bid; its alternatives are `pair_count` pairs from `pair_start` on. A row without pairs
 * takes no part. Money is micro-credits.
 */
#ifndef BIDPLANE_WINDOW_H
#define BIDPLANE_WINDOW_H

#include <stdint.h>

enum { SHAPES = 11, MIG_SHAPES = 4, KEY_BITS = 20, LEVELS = 64 };
enum { GREEDY = 0, UNIFORM = 1, PAY_AS_BID = 2 };
/* BEYOND: numbers outside the bounds that this arithmetic is exact for. BROKEN: a bug here. */
enum { CLEARED = 0, BEYOND = 1, NO_MEMORY = 2, BROKEN = 3 };

typedef struct {
    int64_t rows, pairs, pools, rule;
    const int64_t *capacity; /* four per pool: devices in aligned blocks of 1, 2, 4, 8 */
    const int64_t *rest; /* four per pool: halves, pairs and single slots of partly used devices */
    const int64_t *scarcity, *reserve;
    const int64_t *value, *boost, *weight, *tier;
    const uint8_t *elastic, *level_min, *level_max;
    const int64_t *pair_start;
    const int32_t *pair_count;
    const int32_t *pair_pool;
    const uint8_t *pair_shape; /* 1g 2g 3g 4g 1 2 4 8 16 32 64 */
    const int64_t *pair_slots;
    const uint8_t *ids; /* all bid ids, UTF-8 */
    const int64_t *id_start;
    const int32_t *id_length;
    const uint8_t *beacon;
    int64_t beacon_length;
    /* Out: winners in the order of acceptance; room for `rows` of each. */
    int64_t winners, replays, steps;
    int64_t *won_row;
    int32_t *won_alternative, *won_level;
    int64_t *paid;
} Window;

int bidplane_clear(Window *window);
int bidplane_sha256(const uint8_t *first, int64_t first_length, const uint8_t *second,
                    int64_t second_length, int native, uint8_t *digest);

#endif
