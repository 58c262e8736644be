/* What a clearing keeps: pools, classes of pairs, and who waits for a price. See clear.c. */
#ifndef BIDPLANE_WORLD_H
#define BIDPLANE_WORLD_H

#include "order.h"

enum { NONE = -1 };

/* A pool as the scan, or a replay, has it. */
typedef struct {
    Taken taken;
    int32_t room[SHAPES];
} Stock;

typedef struct {
    Stock stock;
    int32_t empty[SHAPES];     /* the rooms with nothing given away */
    int64_t closed_at[SHAPES]; /* the position whose acceptance left no room, or NONE */
    uint8_t wanted[SHAPES];    /* whether any pair asks for the shape */
    int64_t state;             /* grows with every acceptance */
    int64_t joined;            /* grows when a group gets its first winner */
    int32_t waiting, groups;   /* winners that wait; the first group */
    int32_t *group_of;         /* by shape and level; made when somebody first waits */
} Pool;

/* Winners of one (pool, shape, level) that wait for the first bid their devices would serve. */
typedef struct {
    int32_t pool, shape, level;
    int32_t first, next;  /* the last winner that joined; the pool's next group */
    int64_t state;        /* of the pool, when `room` was found */
    int32_t room[SHAPES]; /* with one of these winners away; it only falls as the pool fills */
    uint32_t others;      /* a bit for each other shape in this pool that a winner named, too */
    int64_t closed_at[SHAPES]; /* of those, with one of these winners away */
} Group;

/* Pairs alike to the scan: places[from..end) are their positions. */
typedef struct {
    int32_t pool, shape, low, high;
    int64_t from, end, head, cursor;
    int64_t checked; /* the pool's `joined` at which nobody waited for a bid like this */
} Class;

/* Chances to win that a replay watches: levels low..high of a shape in a pool. */
typedef struct {
    int32_t pool, shape, low, high, open;
    int64_t closer[LEVELS + 1];
} Watch;

typedef struct {
    Window *window;
    int broken; /* the kernel met what cannot be */
    Pool *pools;
    uint8_t *served; /* by row */
    /* the scan */
    Ties ties;
    Entry *scan, *spare;
    int64_t length, open; /* pairs; (pool, shape)s that are wanted and have room */
    uint64_t highest;     /* key */
    /* classes */
    Class *classes;
    int64_t class_count, class_room;
    uint32_t *class_of, *class_at, *places; /* by pair; by position; positions by class */
    int32_t *plain_class;                   /* by pool and shape, of bids without levels */
    int64_t *level_key;                     /* the others: a hash table */
    int32_t *level_class;
    int64_t level_room, level_count;
    /* prices */
    Group *groups;
    int64_t group_count, group_room, waiting;
    int32_t *next_winner;
    uint32_t *won_at; /* position, by winner */
    /* a replay */
    Stock *twin; /* pools that differ from the scan's, where twin_of is this turn */
    uint32_t *twin_of, *stamp, turn;
    uint64_t *heap;
    Watch *watches;
    int64_t watch_count, watch_room, watching;
    int32_t *watch_of;
} World;

static inline int64_t quality(int32_t pool, int32_t shape) { return (int64_t)pool * SHAPES + shape; }

/* Makes room for one more. False: no memory, and nothing has changed. */
static int grown(void *array, int64_t *room, int64_t count, size_t size)
{
    void **pointer = array;
    if (count < *room) return 1;
    int64_t wanted = *room ? 2 * *room : 64;
    void *larger = realloc(*pointer, (size_t)wanted * size);
    if (!larger) return 0;
    *pointer = larger, *room = wanted;
    return 1;
}

static void close_world(World *x)
{
    for (int64_t p = 0; x->pools && p < x->window->pools; p++) free(x->pools[p].group_of);
    void *held[] = {x->pools, x->served, x->ties.digest, x->ties.known, x->scan, x->spare,
                    x->classes, x->class_of, x->class_at, x->places, x->plain_class, x->level_key,
                    x->level_class, x->groups, x->next_winner, x->won_at, x->twin, x->twin_of, x->stamp,
                    x->heap, x->watches, x->watch_of};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) free(held[i]);
}

static int open_world(World *x)
{
    const Window *w = x->window;
    size_t rows = (size_t)w->rows + 1, pairs = (size_t)w->pairs + 1, pools = (size_t)w->pools + 1;
    int ok = (x->pools = calloc(pools, sizeof *x->pools)) != 0;
    /* What most windows touch little of is calloc'ed: untouched pages cost nothing. */
    ok = ok && (x->served = calloc(rows, 1)) && (x->stamp = calloc(rows, sizeof *x->stamp));
    ok = ok && (x->ties.digest = calloc(rows, 32)) && (x->ties.known = calloc(rows, 1));
    ok = ok && (x->next_winner = malloc(rows * sizeof *x->next_winner));
    ok = ok && (x->won_at = malloc(rows * sizeof *x->won_at));
    ok = ok && (x->scan = malloc(pairs * sizeof *x->scan));
    ok = ok && (x->spare = malloc(pairs * sizeof *x->spare));
    ok = ok && (x->class_of = malloc(pairs * sizeof *x->class_of));
    ok = ok && (x->class_at = malloc(pairs * sizeof *x->class_at));
    ok = ok && (x->places = malloc(pairs * sizeof *x->places));
    ok = ok && (x->plain_class = malloc(pools * SHAPES * sizeof *x->plain_class));
    ok = ok && (x->watch_of = malloc(pools * SHAPES * sizeof *x->watch_of));
    ok = ok && (x->twin = malloc(pools * sizeof *x->twin));
    ok = ok && (x->twin_of = calloc(pools, sizeof *x->twin_of));
    if (!ok) return 0;
    x->ties.native = sha_is_native();
    memset(x->plain_class, NONE, pools * SHAPES * sizeof *x->plain_class);
    memset(x->watch_of, NONE, pools * SHAPES * sizeof *x->watch_of);
    for (int64_t p = 0; p < w->pools; p++) {
        Pool *pool = &x->pools[p];
        pool->stock.taken.rest = w->rest + 4 * p;
        find_rooms(&pool->stock.taken, w->capacity + 4 * p, pool->stock.room);
        memcpy(pool->empty, pool->stock.room, sizeof pool->empty);
        for (int shape = 0; shape < SHAPES; shape++) pool->closed_at[shape] = NONE;
        pool->groups = NONE;
    }
    return 1;
}

/* An alternative below its reserve, or larger than its empty pool, takes no part. */
static inline int takes_part(const World *x, int64_t row, int64_t pair)
{
    const Window *w = x->window;
    return x->pools[w->pair_pool[pair]].empty[w->pair_shape[pair]] >= w->level_min[row]
        && reserve_of(w, pair) <= (u128)w->value[row];
}

/* A new class, or NONE without memory. */
static int32_t add_class(World *x, int32_t pool, int32_t shape, int32_t low, int32_t high)
{
    if (!grown(&x->classes, &x->class_room, x->class_count, sizeof *x->classes)) return NONE;
    x->classes[x->class_count] = (Class){.pool = pool, .shape = shape, .low = low, .high = high};
    Pool *home = &x->pools[pool];
    if (!home->wanted[shape]) home->wanted[shape] = 1, x->open++;
    return (int32_t)x->class_count++;
}

static int64_t level_slot(const World *x, int64_t key)
{
    int64_t slot = (int64_t)((uint64_t)key * 0x9e3779b97f4a7c15u >> 20) & (x->level_room - 1);
    while (x->level_class[slot] != NONE && x->level_key[slot] != key)
        slot = (slot + 1) & (x->level_room - 1);
    return slot;
}

static int widen_levels(World *x)
{
    int64_t *keys = x->level_key, room = x->level_room;
    int32_t *classes = x->level_class;
    x->level_room = room ? 2 * room : 256;
    x->level_key = malloc((size_t)x->level_room * sizeof *keys);
    x->level_class = malloc((size_t)x->level_room * sizeof *classes);
    int ok = x->level_key && x->level_class;
    for (int64_t i = 0; ok && i < x->level_room; i++) x->level_class[i] = NONE;
    for (int64_t i = 0; ok && i < room; i++) {
        if (classes[i] == NONE) continue;
        int64_t slot = level_slot(x, keys[i]);
        x->level_key[slot] = keys[i], x->level_class[slot] = classes[i];
    }
    free(keys), free(classes);
    return ok;
}

/* The class of a pair, or NONE without memory. */
static int32_t class_for(World *x, int64_t row, int64_t pair)
{
    const Window *w = x->window;
    int32_t pool = w->pair_pool[pair], shape = w->pair_shape[pair];
    int32_t low = w->level_min[row], high = w->level_max[row];
    if (high == 1) {
        int32_t *known = &x->plain_class[quality(pool, shape)];
        return *known != NONE ? *known : (*known = add_class(x, pool, shape, low, high));
    }
    if (2 * x->level_count >= x->level_room && !widen_levels(x)) return NONE;
    int64_t key = (quality(pool, shape) * (LEVELS + 1) + low) * (LEVELS + 1) + high;
    int64_t slot = level_slot(x, key);
    if (x->level_class[slot] != NONE) return x->level_class[slot];
    x->level_key[slot] = key, x->level_count++;
    return x->level_class[slot] = add_class(x, pool, shape, low, high);
}

#endif
