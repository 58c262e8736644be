/* One window's clearing on columns: the scan, and what each winner pays. The same answers as
 * market/greedy.py, critical.py and pricing.py, which say why; tests hold them equal.
 *
 * Critical values. A winner's replay is the world without it. That world is the real one, but for
 * the winner's devices, up to the first bid that these devices would have served better. So winners
 * of one (pool, shape, level), a group, wait for that bid; the replay starts there, once for all of
 * them, since they leave the same devices behind. (critical.py starts at the pool's first refusal,
 * of which this is the sharper form.) Until then other shapes that they named in the same pool may
 * close, in their world later than in the real one: closed_at of the group.
 *
 * A replay walks the pairs class by class, a class being a (pool, shape, least and highest level),
 * and drops a class once its pool no longer holds its least level.
 */
#include "replay.h"

/* Numbers for which all of this is exact; others belong to the pure path. */
static int within_bounds(const Window *w)
{
    const uint64_t wide = (uint64_t)1 << 53;
    for (int64_t p = 0; p < w->pools; p++) {
        if ((uint64_t)w->scarcity[p] - 1 >= 1000000 || (uint64_t)w->reserve[p] >= wide) return 0;
        for (int k = 0; k < 4; k++)
            if ((uint64_t)(w->capacity[4 * p + k] | w->rest[4 * p + k]) >= (uint64_t)1 << 28) return 0;
    }
    if (w->rows >= (int64_t)1 << 31 || w->pairs >= (int64_t)1 << 31) return 0;
    if (w->pools >= (int64_t)1 << 24) return 0;
    for (int64_t row = 0; row < w->rows; row++) {
        int low = w->level_min[row], high = w->level_max[row], count = w->pair_count[row];
        if (!count) continue;
        if (weighed(w, row) < 0 || (uint64_t)w->tier[row] > (uint64_t)1 << 31) return 0;
        if (low < 1 || high < low || high > LEVELS) return 0;
        if (w->elastic[row] ? count != 1 : high != 1) return 0;
        for (int64_t pair = w->pair_start[row]; pair < w->pair_start[row] + count; pair++) {
            if ((uint64_t)w->pair_slots[pair] - 1 >= (uint64_t)1 << 32) return 0;
            if (w->pair_shape[pair] >= SHAPES) return 0;
            if ((uint64_t)w->pair_pool[pair] >= (uint64_t)w->pools) return 0;
        }
    }
    return 1;
}

/* The pairs that take part, in scan order, and their classes. */
static int order_pairs(World *x)
{
    const Window *w = x->window;
    Entry *entries = x->scan;
    int64_t count = 0;
    for (int64_t row = 0; row < w->rows; row++) {
        if (!w->pair_count[row]) continue;
        uint64_t numerator = (uint64_t)weighed(w, row) << KEY_BITS;
        for (int64_t pair = w->pair_start[row], end = pair + w->pair_count[row]; pair < end; pair++) {
            if (!takes_part(x, row, pair)) continue;
            int32_t class = class_for(x, row, pair);
            if (class == NONE) return 0;
            uint64_t key = numerator / (uint64_t)weighted_units(w, pair);
            x->class_of[pair] = (uint32_t)class;
            x->classes[class].end++;
            entries[count++] = (Entry){key, (uint32_t)pair, (uint32_t)row};
            if (key > x->highest) x->highest = key;
        }
    }
    for (int64_t i = 0; i < count; i++) entries[i].rank = x->highest - entries[i].rank;
    Entry *ordered = sorted(w, entries, x->spare, count);
    x->spare = ordered == entries ? x->spare : entries;
    x->scan = ordered;
    x->length = count;
    return break_ties(w, &x->ties, ordered, count);
}

/* Positions by class, each in order. */
static int list_places(World *x)
{
    uint32_t sum = 0;
    for (int64_t c = 0; c < x->class_count; c++) {
        Class *class = &x->classes[c];
        int64_t size = class->end;
        class->from = class->end = class->head = sum;
        sum += (uint32_t)size;
    }
    for (int64_t t = 0; t < x->length; t++) {
        uint32_t c = x->class_of[x->scan[t].pair];
        x->class_at[t] = c;
        x->places[x->classes[c].end++] = (uint32_t)t;
    }
    x->heap = malloc((size_t)(x->class_count + 1) * sizeof *x->heap);
    return x->heap != 0;
}

static int scan(World *x)
{
    Window *w = x->window;
    int pays = w->rule == GREEDY;
    for (int64_t t = 0; t < x->length; t++) {
        uint32_t row = x->scan[t].row;
        if (x->served[row]) continue;
        Class *class = &x->classes[x->class_at[t]];
        Pool *pool = &x->pools[class->pool];
        int32_t room = pool->stock.room[class->shape];
        int32_t level = room < class->low ? 0 : (int32_t)least(room, class->high);
        if (pays && level < class->high && pool->waiting && !settle_waiting(x, class, level, t))
            return 0;
        if (!level) {
            if (!x->open && !x->waiting) break; /* nothing fits any more, nobody waits for a price */
            continue;
        }
        int64_t winner = w->winners++;
        w->won_row[winner] = row;
        w->won_alternative[winner] = (int32_t)(x->scan[t].pair - w->pair_start[row]);
        w->won_level[winner] = level;
        w->paid[winner] = w->value[row] * level;
        x->served[row] = 1;
        if (pays && !await_price(x, winner, class, t)) return 0;
        accept(x, class, level, t);
    }
    return !pays || settle_all(x);
}

/* One price per pool: max(reserve, min(lowest winning, highest losing density)), floored. */
typedef struct {
    int64_t micros, units;
} Density;

static inline int below(Density a, Density b)
{
    return (u128)a.micros * (u128)b.units < (u128)b.micros * (u128)a.units;
}

static int uniform(World *x)
{
    const Window *w = x->window;
    size_t pools = (size_t)w->pools + 1;
    Density *lowest = calloc(pools, sizeof *lowest), *highest = calloc(pools, sizeof *highest);
    if (!lowest || !highest) {
        free(lowest), free(highest);
        return 0;
    }
    for (int64_t i = 0; i < w->winners; i++) {
        int64_t row = w->won_row[i], pair = w->pair_start[row] + w->won_alternative[i];
        Density *low = &lowest[w->pair_pool[pair]];
        Density here = {w->value[row], UNITS[w->pair_shape[pair]] * w->pair_slots[pair]};
        if (!low->units || below(here, *low)) *low = here;
    }
    for (int64_t t = 0; t < x->length; t++) {
        int64_t row = x->scan[t].row, pair = x->scan[t].pair;
        if (x->served[row]) continue;
        Density *high = &highest[w->pair_pool[pair]];
        Density here = {w->value[row], UNITS[w->pair_shape[pair]] * w->pair_slots[pair]};
        if (!high->units || below(*high, here)) *high = here;
    }
    for (int64_t i = 0; i < w->winners; i++) {
        int64_t row = w->won_row[i], pair = w->pair_start[row] + w->won_alternative[i];
        int32_t pool = w->pair_pool[pair];
        Density floor = {w->reserve[pool], 1};
        Density price = highest[pool].units ? highest[pool] : floor;
        if (below(lowest[pool], price)) price = lowest[pool];
        if (below(price, floor)) price = floor;
        u128 units = (u128)(UNITS[w->pair_shape[pair]] * w->pair_slots[pair]);
        w->paid[i] = (int64_t)((u128)price.micros * units * (u128)w->won_level[i]
                               / (u128)price.units);
    }
    free(lowest), free(highest);
    return 1;
}

int bidplane_clear(Window *window)
{
    World world = {.window = window};
    int verdict = NO_MEMORY;
    window->winners = window->replays = window->steps = 0;
    if (!within_bounds(window)) return BEYOND;
    if (!open_world(&world)) goto out;
    if (!order_pairs(&world)) goto out;
    if (!list_places(&world)) goto out;
    if (!scan(&world)) goto out;
    if (window->rule == UNIFORM && !uniform(&world)) goto out;
    verdict = world.broken ? BROKEN : CLEARED;
out:
    close_world(&world);
    return verdict;
}

/* For the tests; false: this processor has no instructions of its own for it. */
int bidplane_sha256(const uint8_t *first, int64_t first_length, const uint8_t *second,
                    int64_t second_length, int native, uint8_t *digest)
{
    if (native && !sha_is_native()) return 0;
    sha256_of_two(first, first_length, second, second_length, native, digest);
    return 1;
}
