/* How many more copies of each shape a pool holds: market/feasibility.py, solved for the copies.
 *
 * Feasibility is downward-closed, so "level fits" is "room >= level".
 */
#ifndef BIDPLANE_ROOMS_H
#define BIDPLANE_ROOMS_H

#include "window.h"

/* What a pool has given away: devices in blocks of 1, 2, 4, 8 (a gang is blocks of 8); slices. */
typedef struct {
    int64_t used[4], slices[MIG_SHAPES], shared;
    const int64_t *rest; /* what partly used devices have besides: a Window's four numbers */
} Taken;

static const int BLOCK[SHAPES] = {0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3};
static const int64_t DEVICES[SHAPES] = {0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64};
static const int64_t UNITS[SHAPES] = {1, 2, 3, 4, 7, 14, 28, 56, 112, 224, 448};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* What slices leave of that many devices and of the partly used ones. */
typedef struct {
    int64_t left, right, pairs, slots;
} Left;

static inline Left left_by(const int64_t n[MIG_SHAPES], const int64_t rest[4], int64_t devices)
{
    int64_t lefts = devices + rest[0], rights = devices + rest[1];
    int64_t left = lefts - n[3] - most(0, n[2] - rights), right = most(0, rights - n[2]);
    return (Left){left, right, 2 * left + right + rest[2] - n[1],
                  4 * left + 3 * right + 2 * rest[2] + rest[3] - n[0] - 2 * n[1]};
}

static inline int slices_fit(const int64_t n[MIG_SHAPES], const int64_t rest[4], int64_t devices)
{
    Left has = left_by(n, rest, devices);
    return has.left >= 0 && has.pairs >= 0 && has.slots >= 0;
}

/* The least number of shared devices, from a number on that is known not to be too large. */
static inline int64_t shared_from(const Taken *taken, int64_t devices)
{
    while (!slices_fit(taken->slices, taken->rest, devices)) devices++;
    return devices;
}

static inline void give(Taken *taken, int shape, int64_t copies)
{
    if (shape < MIG_SHAPES) {
        taken->slices[shape] += copies;
        taken->shared = shared_from(taken, taken->shared);
    } else {
        taken->used[BLOCK[shape]] += copies * DEVICES[shape];
    }
}

static inline void take_back(Taken *taken, int shape, int64_t copies)
{
    if (shape < MIG_SHAPES) {
        const int64_t *n = taken->slices, *rest = taken->rest;
        int64_t besides = 4 * rest[0] + 3 * rest[1] + 2 * rest[2] + rest[3];
        taken->slices[shape] -= copies;
        int64_t units = n[0] + 2 * n[1] + 3 * n[2] + 4 * n[3] - besides;
        taken->shared = shared_from(taken, units > 0 ? (units + 6) / 7 : 0);
    } else {
        taken->used[BLOCK[shape]] -= copies * DEVICES[shape];
    }
}

static void find_rooms(const Taken *taken, const int64_t capacity[4], int32_t room[SHAPES])
{
    int64_t eights = taken->used[3], fours = eights + taken->used[2];
    int64_t twos = fours + taken->used[1], ones = twos + taken->used[0];
    /* A block of some size also counts at every smaller one. */
    int64_t free1 = capacity[0] - ones - taken->shared;
    int64_t free2 = least(free1, capacity[1] - twos), free4 = least(free2, capacity[2] - fours);
    int64_t free8 = least(free4, capacity[3] - eights);
    /* The devices that slices may share: those they have, and the free ones. */
    Left has = left_by(taken->slices, taken->rest, capacity[0] - ones);
    int64_t left = has.left, right = has.right, pairs = has.pairs, slots = has.slots;
    int64_t threes = least(right, least(pairs, slots / 3));
    if (threes == right) /* right halves are full: more of them take left halves, like 4g */
        threes += least(left, least((pairs - right) / 2, (slots - 3 * right) / 4));
    room[0] = (int32_t)slots;
    room[1] = (int32_t)least(pairs, slots / 2);
    room[2] = (int32_t)threes;
    room[3] = (int32_t)least(left, least(pairs / 2, slots / 4));
    room[4] = (int32_t)free1, room[5] = (int32_t)(free2 / 2), room[6] = (int32_t)(free4 / 4);
    room[7] = (int32_t)(free8 / 8), room[8] = (int32_t)(free8 / 16);
    room[9] = (int32_t)(free8 / 32), room[10] = (int32_t)(free8 / 64);
}

#endif
