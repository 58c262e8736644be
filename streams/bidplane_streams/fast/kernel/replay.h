/* Critical values: worlds without a winner, and the least value at which it would still win. */
#ifndef BIDPLANE_REPLAY_H
#define BIDPLANE_REPLAY_H

#include "world.h"

static inline Stock *stock_in_replay(World *x, int32_t pool)
{
    return x->twin_of[pool] == x->turn ? &x->twin[pool] : &x->pools[pool].stock;
}

static Stock *twin(World *x, int32_t pool)
{
    if (x->twin_of[pool] != x->turn) {
        x->twin_of[pool] = x->turn;
        x->twin[pool] = x->pools[pool].stock;
    }
    return &x->twin[pool];
}

/* Begins a replay where the scan is, with one winner of the group away. */
static void begin_replay(World *x, const Group *group)
{
    x->turn++;
    x->window->replays++;
    x->watch_count = x->watching = 0;
    Stock *stock = twin(x, group->pool);
    take_back(&stock->taken, group->shape, group->level);
    find_rooms(&stock->taken, x->window->capacity + 4 * (int64_t)group->pool, stock->room);
}

/* Watches one more way, if it is open; else closer_of knows what closed it. */
static int watch(World *x, int32_t pool, int32_t shape, int32_t low, int32_t high)
{
    int32_t *known = &x->watch_of[quality(pool, shape)];
    if (*known != NONE) {
        Watch *seen = &x->watches[*known];
        seen->low = (int32_t)least(seen->low, low);
        return 1;
    }
    if (stock_in_replay(x, pool)->room[shape] < high) return 1;
    if (!grown(&x->watches, &x->watch_room, x->watch_count, sizeof *x->watches)) return 0;
    Watch *fresh = &x->watches[x->watch_count];
    fresh->pool = pool, fresh->shape = shape, fresh->low = low, fresh->high = high;
    fresh->open = high;
    *known = (int32_t)x->watch_count++;
    x->watching++;
    return 1;
}

static int watch_ways(World *x, int64_t winner)
{
    const Window *w = x->window;
    int64_t row = w->won_row[winner], pair = w->pair_start[row];
    if (w->elastic[row])
        return watch(x, w->pair_pool[pair], w->pair_shape[pair], w->level_min[row],
                     w->won_level[winner]);
    for (int64_t end = pair + w->pair_count[row]; pair < end; pair++)
        if (takes_part(x, row, pair) && !watch(x, w->pair_pool[pair], w->pair_shape[pair], 1, 1))
            return 0;
    return 1;
}

static void end_replay(World *x)
{
    for (int64_t i = 0; i < x->watch_count; i++)
        x->watch_of[quality(x->watches[i].pool, x->watches[i].shape)] = NONE;
}

static inline int passed_over(const World *x, int64_t position)
{
    uint32_t row = x->scan[position].row;
    return x->served[row] || x->stamp[row] == x->turn;
}

static void sift_down(uint64_t *heap, int64_t count, int64_t at)
{
    uint64_t item = heap[at];
    for (int64_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] < heap[child]) child++;
        if (item <= heap[child]) break;
        heap[at] = heap[child];
    }
    heap[at] = item;
}

/* The next position of every class that still has room, least first, as position << 32 | class. */
static int64_t gather(World *x, int64_t start)
{
    int64_t count = 0;
    for (int64_t c = 0; c < x->class_count; c++) {
        Class *class = &x->classes[c];
        if (stock_in_replay(x, class->pool)->room[class->shape] < class->low) continue;
        /* Who was served, or stands before the scan, is so for all later replays, too. */
        while (class->head < class->end
               && (x->places[class->head] < start
                   || x->served[x->scan[x->places[class->head]].row]))
            class->head++;
        if (class->head == class->end) continue;
        class->cursor = class->head;
        x->heap[count++] = (uint64_t)x->places[class->head] << 32 | (uint64_t)c;
    }
    for (int64_t at = count / 2 - 1; at >= 0; at--) sift_down(x->heap, count, at);
    return count;
}

/* Notes which watched ways the acceptance at `position` has closed. */
static void note_closed(World *x, int32_t pool, const int32_t room[SHAPES], int64_t position)
{
    for (int32_t shape = 0; shape < SHAPES; shape++) {
        int32_t known = x->watch_of[quality(pool, shape)];
        if (known == NONE) continue;
        Watch *seen = &x->watches[known];
        int was_open = seen->open >= seen->low;
        while (seen->open >= seen->low && seen->open > room[shape])
            seen->closer[seen->open--] = position;
        x->watching -= was_open && seen->open < seen->low;
    }
}

/* Scans on from `start` until all watched ways have closed. */
static void replay(World *x, int64_t start)
{
    int64_t count = x->watching ? gather(x, start) : 0, steps = 0;
    while (count && x->watching) {
        int64_t position = (int64_t)(x->heap[0] >> 32);
        Class *class = &x->classes[x->heap[0] & 0xffffffff];
        steps++;
        int32_t room = stock_in_replay(x, class->pool)->room[class->shape];
        if (room >= class->low) {
            if (!passed_over(x, position)) {
                Stock *stock = twin(x, class->pool);
                x->stamp[x->scan[position].row] = x->turn;
                give(&stock->taken, class->shape, least(room, class->high));
                find_rooms(&stock->taken, x->window->capacity + 4 * (int64_t)class->pool,
                           stock->room);
                note_closed(x, class->pool, stock->room, position);
                room = stock->room[class->shape];
            }
            if (room >= class->low) {
                do {
                    class->cursor++;
                } while (class->cursor < class->end && passed_over(x, x->places[class->cursor]));
            }
        }
        if (room >= class->low && class->cursor < class->end)
            x->heap[0] = (uint64_t)x->places[class->cursor] << 32 | (x->heap[0] & 0xffffffff);
        else
            x->heap[0] = x->heap[--count];
        if (count) sift_down(x->heap, count, 0);
    }
    x->window->steps += steps;
}

/* Which position ended this way in the world without this winner; NONE: none did. */
static int64_t closer_of(World *x, const Group *group, int64_t winner, int32_t pool, int32_t shape,
                         int32_t level)
{
    int64_t closed_at = x->pools[pool].closed_at[shape];
    /* It changes its own pool from where it won; elsewhere the scan holds up to the replay. */
    if (closed_at != NONE && (pool != group->pool || closed_at < x->won_at[winner]))
        return closed_at;
    if (pool == group->pool && group->closed_at[shape] != NONE) return group->closed_at[shape];
    int32_t known = x->watch_of[quality(pool, shape)];
    if (known == NONE) {
        x->broken = 1;
        return NONE;
    }
    const Watch *seen = &x->watches[known];
    x->broken |= level < seen->low || level > seen->high;
    return level <= seen->open ? NONE : seen->closer[level];
}

typedef __int128 Cost;
static const Cost NEVER = (Cost)1 << 126;

/* product / (weight * 2^KEY_BITS), rounded up. Most weights are 1, and a division of 128 bits slow. */
static inline Cost quotient(u128 product, uint64_t weight)
{
    u128 scaled = (product + (((u128)1 << KEY_BITS) - 1)) >> KEY_BITS;
    return (Cost)(weight == 1 ? scaled : (scaled + weight - 1) / weight);
}

/* The least value with which the pair comes ahead of the pair at `closer`. */
static Cost least_value(World *x, int64_t row, int64_t pair, int64_t closer)
{
    const Window *w = x->window;
    Cost reserve = (Cost)reserve_of(w, pair);
    if (closer == NONE) return reserve;
    const Entry *other = &x->scan[closer];
    if (w->tier[row] != w->tier[other->row])
        return w->tier[row] < w->tier[other->row] ? reserve : NEVER;
    uint64_t key = x->highest - other->rank, weighted = (uint64_t)weighted_units(w, pair);
    uint64_t weight = (uint64_t)w->weight[row];
    Cost tied = quotient((u128)key * weighted, weight) - w->boost[row];
    Cost above = quotient((u128)(key + 1) * weighted, weight) - w->boost[row];
    tied = tied < reserve ? reserve : tied;
    above = above < reserve ? reserve : above;
    if (tied == above) return tied; /* most often; so few hashes are needed */
    int ahead = memcmp(tie_of(w, &x->ties, row), tie_of(w, &x->ties, other->row), 32) < 0;
    return ahead ? tied : above;
}

/* Rigid: the cheapest way to win. Elastic: the least levels as one lot, each further one apart. */
static void price(World *x, const Group *group, int64_t winner)
{
    Window *w = x->window;
    int64_t row = w->won_row[winner], pair = w->pair_start[row];
    Cost paid = NEVER;
    if (w->elastic[row]) {
        int32_t pool = w->pair_pool[pair], shape = w->pair_shape[pair], low = w->level_min[row];
        int64_t closer = closer_of(x, group, winner, pool, shape, low);
        paid = least_value(x, row, pair, closer) * low;
        for (int32_t level = low + 1; level <= w->won_level[winner]; level++) {
            closer = closer_of(x, group, winner, pool, shape, level);
            paid += least_value(x, row, pair, closer);
        }
    } else {
        for (int64_t end = pair + w->pair_count[row]; pair < end; pair++) {
            if (!takes_part(x, row, pair)) continue;
            int32_t pool = w->pair_pool[pair], shape = w->pair_shape[pair];
            int64_t closer = closer_of(x, group, winner, pool, shape, 1);
            Cost cost = least_value(x, row, pair, closer);
            if (cost < paid) paid = cost;
        }
    }
    Cost bid = (Cost)w->value[row] * w->won_level[winner];
    x->broken |= paid < 0 || paid > bid;
    w->paid[winner] = (int64_t)paid;
}

/* Prices a whole group by one replay from `position` on. */
static int settle(World *x, Group *group, int64_t position)
{
    int ok = 1, first = group->first;
    begin_replay(x, group);
    for (int32_t i = first; i != NONE; i = x->next_winner[i]) ok = ok && watch_ways(x, i);
    if (ok) replay(x, position);
    for (int32_t i = first; ok && i != NONE; i = x->next_winner[i]) {
        price(x, group, i);
        x->waiting--, x->pools[group->pool].waiting--;
    }
    end_replay(x);
    group->first = NONE;
    return ok;
}

static void find_group_rooms(const World *x, Group *group)
{
    const Pool *pool = &x->pools[group->pool];
    if (group->state == pool->state) return;
    Taken taken = pool->stock.taken;
    take_back(&taken, group->shape, group->level);
    find_rooms(&taken, x->window->capacity + 4 * (int64_t)group->pool, group->room);
    group->state = pool->state;
}

/* A bid of `class` got `level`, less than its highest: settles all who are served by its wish. */
static int settle_waiting(World *x, Class *class, int32_t level, int64_t position)
{
    Pool *pool = &x->pools[class->pool];
    /* Who did not wait for this class once, never will: rooms only fall. */
    if (!level && class->checked == pool->joined) return 1;
    for (int32_t g = pool->groups; g != NONE; g = x->groups[g].next) {
        Group *group = &x->groups[g];
        if (group->first == NONE) continue;
        if (!level && group->room[class->shape] < class->low) continue;
        find_group_rooms(x, group);
        int32_t room = group->room[class->shape];
        int32_t without = room < class->low ? 0 : (int32_t)least(room, class->high);
        if (without != level && !settle(x, group, position)) return 0;
    }
    class->checked = pool->joined;
    return 1;
}

static int settle_all(World *x)
{
    for (int64_t g = 0; g < x->group_count; g++)
        if (x->groups[g].first != NONE && !settle(x, &x->groups[g], x->length)) return 0;
    return 1;
}

/* The other shapes that it named in the pool it won: they may close before its own. */
static uint32_t others_of(const World *x, int64_t row, const Class *class)
{
    const Window *w = x->window;
    uint32_t others = 0;
    for (int64_t pair = w->pair_start[row], end = pair + w->pair_count[row]; pair < end; pair++)
        if (w->pair_pool[pair] == class->pool && takes_part(x, row, pair))
            others |= 1u << w->pair_shape[pair];
    return others & ~(1u << class->shape);
}

static int32_t group_for(World *x, Pool *pool, const Class *class, int32_t level)
{
    const size_t size = SHAPES * LEVELS * sizeof *pool->group_of;
    if (!pool->group_of) {
        if (!(pool->group_of = malloc(size))) return NONE;
        memset(pool->group_of, NONE, size);
    }
    int32_t *known = &pool->group_of[class->shape * LEVELS + level - 1];
    if (*known != NONE) return *known;
    if (!grown(&x->groups, &x->group_room, x->group_count, sizeof *x->groups)) return NONE;
    *known = (int32_t)x->group_count++;
    Group *group = &x->groups[*known];
    *group = (Group){.pool = class->pool, .shape = class->shape, .level = level,
                     .first = NONE, .next = pool->groups, .state = NONE};
    for (int shape = 0; shape < SHAPES; shape++)
        group->room[shape] = INT32_MAX, group->closed_at[shape] = NONE;
    return pool->groups = *known;
}

/* The scan is about to accept a winner, whose price is found later, with others like it. */
static int await_price(World *x, int64_t winner, const Class *class, int64_t position)
{
    Pool *pool = &x->pools[class->pool];
    int32_t found = group_for(x, pool, class, x->window->won_level[winner]);
    if (found == NONE) return 0;
    Group *group = &x->groups[found];
    if (group->first == NONE) pool->joined++;
    group->others |= others_of(x, x->window->won_row[winner], class);
    x->next_winner[winner] = group->first;
    x->won_at[winner] = (uint32_t)position;
    group->first = (int32_t)winner;
    x->waiting++, pool->waiting++;
    return 1;
}

/* Notes which other shapes have closed even with one of the group away. */
static void note_others(World *x, Group *group, int64_t position)
{
    const Pool *pool = &x->pools[group->pool];
    for (int shape = 0; shape < SHAPES; shape++) {
        int asked = group->others >> shape & 1 && group->closed_at[shape] == NONE;
        if (!asked || pool->stock.room[shape]) continue;
        find_group_rooms(x, group);
        if (!group->room[shape]) group->closed_at[shape] = position;
    }
}

static void accept(World *x, const Class *class, int32_t level, int64_t position)
{
    Pool *pool = &x->pools[class->pool];
    int32_t before[SHAPES];
    memcpy(before, pool->stock.room, sizeof before);
    give(&pool->stock.taken, class->shape, level);
    find_rooms(&pool->stock.taken, x->window->capacity + 4 * (int64_t)class->pool,
               pool->stock.room);
    pool->state++;
    for (int shape = 0; shape < SHAPES; shape++) {
        if (pool->stock.room[shape] || !before[shape]) continue;
        pool->closed_at[shape] = position;
        x->open -= pool->wanted[shape];
    }
    if (!pool->waiting) return;
    for (int32_t g = pool->groups; g != NONE; g = x->groups[g].next) {
        Group *group = &x->groups[g];
        if (group->first != NONE && group->others) note_others(x, group, position);
    }
}

#endif
