/* SPDX-License-Identifier: MIT */
/* Makes laws of samples, and finds them. */
#include "slowapi/recorded.h"
#include "base/alloc.h"
#include "base/robust_mutex.h"
#include "slowapi/recording.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LAWS_MAX     16384
#define SLOTS        (1u << 15) /* of the table of paths, twice as many as there are laws */
#define POINTS_MAX   (1u << 21)
#define STEPS_MAX    1024 /* different values that a law has as they are; of more it has ranks */
#define RANKS        1024
#define STATUSES_MAX 64 /* of a path */

/* Straight lines between points; of a status also its share among those of its path. */
struct recorded_law {
    uint32_t first, count;           /* points */
    uint64_t id;                     /* hash of the points */
    uint32_t statuses, status_count; /* laws of the statuses that the path had */
    uint16_t status;
    double upto; /* share of this status and those before it, summed */
};

struct area {
    uint32_t file_count, law_count, point_count;
    struct {
        uint64_t name;
        uint32_t law;
    } files[RECORDED_FILES_MAX];
    struct {
        uint64_t key; /* path and file; path alone */
        uint32_t law; /* place in `laws` and 1; 0: free */
    } slots[SLOTS];
    struct recorded_law laws[LAWS_MAX];
    struct mix_item points[POINTS_MAX];
};

struct recorded {
    pthread_mutex_t mutex; /* of those who read files */
    _Atomic uint32_t turn; /* says which area counts */
    struct area areas[2];
};

struct recorded *recorded_new(void) {
    struct recorded *r = mem_share(sizeof(*r));

    if (r != NULL)
        robust_mutex_init(&r->mutex);
    return r;
}

void recorded_free(struct recorded *r) {
    if (r != NULL)
        mem_unshare(r, sizeof(*r));
}

static const struct area *area_of(const struct recorded *r) {
    return &r->areas[atomic_load_explicit(&r->turn, memory_order_acquire) & 1];
}

/* --- laws of samples -------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
    const struct recorded_latency *x = a, *y = b;

    return (x->value > y->value) - (x->value < y->value);
}

static int by_path(const void *a, const void *b) {
    const struct recorded_latency *x = a, *y = b;

    return x->path != y->path ? (x->path > y->path) - (x->path < y->path) : by_value(a, b);
}

static int by_status(const void *a, const void *b) {
    const struct recorded_latency *x = a, *y = b;

    return x->status != y->status ? (x->status > y->status) - (x->status < y->status)
                                  : by_value(a, b);
}

static void add_point(struct area *area, double upto, nsec_t value) {
    area->points[area->point_count++] = (struct mix_item){ .value = value, .upto = upto };
}

/* Number of different values among samples that are sorted by value. */
static size_t count_values(const struct recorded_latency *s, size_t count) {
    size_t different = count > 0;

    for (size_t i = 1; i < count; i++)
        different += s[i].value != s[i - 1].value;
    return different;
}

static uint64_t sum_of(const struct recorded_latency *s, size_t count) {
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += s[i].count;
    return sum;
}

/* A step for each value: what was recorded, and nothing else, comes again. */
static void add_steps(struct area *area, const struct recorded_latency *s, size_t count,
                      double sum) {
    uint64_t below = 0;

    for (size_t i = 0; i < count;) {
        nsec_t value = s[i].value;
        add_point(area, (double)below / sum, value);
        for (; i < count && s[i].value == value; i++)
            below += s[i].count;
        add_point(area, (double)below / sum, value);
    }
}

/* The share of a rank: even steps, and in the last of them ever smaller ones, for the tail. */
static double share_of(size_t rank) {
    return rank < RANKS ? (double)rank / RANKS
                        : 1 - 1.0 / RANKS / (double)(UINT64_C(2) << (rank - RANKS));
}

/* The values at some ranks, with straight lines between them. */
static void add_ranks(struct area *area, const struct recorded_latency *s, size_t count,
                      double sum) {
    uint64_t below = s[0].count;
    size_t i = 0;

    for (size_t rank = 0; rank < RANKS + 40; rank++) {
        double share = share_of(rank);
        if (rank >= RANKS && (1 - share) * sum < 1)
            break;
        while (i + 1 < count && (double)below < share * sum)
            below += s[++i].count;
        add_point(area, share, s[i].value);
    }
    add_point(area, 1, s[count - 1].value);
}

/* Makes a law of samples that are sorted by value. Its place; LAWS_MAX: there is no room. */
static uint32_t add_law(struct area *area, const struct recorded_latency *s, size_t count) {
    double sum = (double)sum_of(s, count);
    struct recorded_law *law = &area->laws[area->law_count];

    if (area->law_count == LAWS_MAX || area->point_count + 2 * STEPS_MAX + 64 > POINTS_MAX)
        return LAWS_MAX;
    *law = (struct recorded_law){ .first = area->point_count };
    if (count_values(s, count) <= STEPS_MAX)
        add_steps(area, s, count, sum);
    else
        add_ranks(area, s, count, sum);
    law->count = area->point_count - law->first;
    law->id =
        hash_bytes(HASH_SEED, &area->points[law->first], law->count * sizeof(area->points[0]));
    return area->law_count++;
}

/* Adds a law for each status to that at `place`. The samples are sorted anew. */
static void add_statuses(struct area *area, uint32_t place, struct recorded_latency *s,
                         size_t count) {
    double sum = (double)sum_of(s, count);
    uint64_t below = 0;
    uint32_t first = area->law_count;

    qsort(s, count, sizeof(*s), by_status);
    for (size_t i = 0, next; i < count && area->law_count - first < STATUSES_MAX; i = next) {
        for (next = i; next < count && s[next].status == s[i].status; next++)
            below += s[next].count;
        uint32_t law = add_law(area, s + i, next - i);
        if (law == LAWS_MAX)
            break;
        area->laws[law].status = s[i].status;
        area->laws[law].upto = (double)below / sum;
    }
    area->laws[place].statuses = first;
    area->laws[place].status_count = area->law_count - first;
}

/* --- tables ----------------------------------------------------------------------------------- */

static uint32_t find_slot(const struct area *area, uint64_t key) {
    uint32_t at = (uint32_t)(key ^ key >> 32) & (SLOTS - 1);

    while (area->slots[at].law != 0 && area->slots[at].key != key)
        at = (at + 1) & (SLOTS - 1);
    return at;
}

static uint64_t key_of(uint64_t path, uint64_t name) {
    return hash_bytes(path, &name, sizeof(name));
}

static void add_path(struct area *area, uint64_t path, uint64_t name, uint32_t law) {
    uint32_t own = find_slot(area, key_of(path, name));

    area->slots[own].key = key_of(path, name);
    area->slots[own].law = law + 1;
    uint32_t any = find_slot(area, path); /* that it is known */
    area->slots[any].key = path;
    area->slots[any].law = law + 1;
}

/* Requests of the path that is the last of those that have laws. */
static uint64_t least_count(const struct recording *r, uint64_t *counts) {
    uint64_t least = 1;

    for (size_t i = 0; i < r->count; i++)
        counts[r->samples[i].path] += r->samples[i].count;
    for (;; least *= 2) { /* bounds, not ranks: it is told nowhere */
        uint32_t left = 0;
        for (uint32_t path = 1; path <= r->path_count; path++)
            left += counts[path] >= least;
        if (left <= RECORDED_PATHS_MAX)
            return least;
    }
}

static int add_paths(struct area *area, struct recording *r, uint64_t name) {
    uint64_t *counts = mem_calloc(r->path_count + 1, sizeof(*counts));

    if (counts == NULL)
        return -ENOMEM;
    uint64_t least = least_count(r, counts);
    qsort(r->samples, r->count, sizeof(*r->samples), by_path);
    for (size_t i = 0, next; i < r->count; i = next) {
        uint32_t path = r->samples[i].path;
        for (next = i; next < r->count && r->samples[next].path == path; next++)
            ;
        if (path == 0 || counts[path] < least || area->law_count + STATUSES_MAX + 1 >= LAWS_MAX)
            continue;
        uint32_t law = add_law(area, r->samples + i, next - i);
        if (law == LAWS_MAX)
            break;
        add_path(area, r->paths[path], name, law);
        add_statuses(area, law, r->samples + i, next - i);
    }
    mem_free(counts);
    return 0;
}

static int add_file(struct area *area, const char *path, uint64_t name, struct error *err) {
    struct recording r;
    int rc = recording_read(path, &r, err);

    if (rc == 0) {
        qsort(r.samples, r.count, sizeof(*r.samples), by_value);
        uint32_t law = add_law(area, r.samples, r.count);
        area->files[area->file_count].name = name;
        area->files[area->file_count++].law = law;
        if (law == LAWS_MAX)
            rc = error_set(err, -ENOSPC, "--from '%s': too many laws", path);
        else
            add_statuses(area, law, r.samples, r.count);
        if (rc == 0 && add_paths(area, &r, name) < 0)
            rc = error_set(err, -ENOMEM, "--from '%s': out of memory", path);
    }
    recording_free(&r);
    return rc;
}

/* `NAME=FILE`, where NAME has no slash; *ret_name is a hash, 0 without one. Returns FILE. */
static const char *split_name(const char *text, uint64_t *ret_name) {
    const char *equals = strchr(text, '='), *slash = strchr(text, '/');

    *ret_name = 0;
    if (equals == NULL || equals == text || (slash != NULL && slash < equals))
        return text;
    *ret_name = hash_bytes(HASH_SEED, text, (size_t)(equals - text));
    return equals + 1;
}

static int load(struct recorded *r, const struct option_strings *from, struct error *err) {
    uint32_t turn = atomic_load(&r->turn) + 1;
    struct area *area = &r->areas[turn & 1];
    int rc = 0;

    area->file_count = area->law_count = area->point_count = 0;
    memset(area->slots, 0, sizeof(area->slots));
    for (size_t i = 0; i < from->count && rc == 0; i++) {
        uint64_t name;
        const char *path = split_name(from->items[i], &name);
        rc = add_file(area, path, name, err);
    }
    if (rc == 0)
        atomic_store_explicit(&r->turn, turn, memory_order_release);
    return rc;
}

int recorded_load(struct recorded *r, const struct option_strings *from, struct error *err) {
    (void)robust_mutex_lock(&r->mutex); /* who died with it left an area that nobody looks at */
    int rc = load(r, from, err);
    pthread_mutex_unlock(&r->mutex);
    return rc;
}

/* --- finding ---------------------------------------------------------------------------------- */

static const struct recorded_law *find_law(const struct area *area, uint64_t name,
                                           struct slice path) {
    uint32_t i = 0;

    while (i < area->file_count && name != 0 && area->files[i].name != name)
        i++;
    if (i == area->file_count)
        return NULL;
    uint64_t hash = hash_bytes(HASH_SEED, path.ptr, path.len);
    uint32_t own = area->slots[find_slot(area, key_of(hash, area->files[i].name))].law;
    return &area->laws[own > 0 ? own - 1 : area->files[i].law];
}

static struct dist dist_of(const struct area *area, const struct recorded_law *law) {
    return dist_recorded(&area->points[law->first], law->count, law->id);
}

bool recorded_find(const struct recorded *r, uint64_t name, struct slice path, struct dist *ret) {
    const struct area *area = area_of(r);
    const struct recorded_law *law = find_law(area, name, path);

    if (law != NULL)
        *ret = dist_of(area, law);
    return law != NULL;
}

bool recorded_roll(const struct recorded *r, uint64_t name, struct slice path, struct rng *rng,
                   uint16_t *ret_status, struct dist *ret) {
    const struct area *area = area_of(r);
    const struct recorded_law *law = find_law(area, name, path);
    double roll = rng_unit(rng);

    *ret_status = 0;
    if (law == NULL)
        return false;
    const struct recorded_law *status = &area->laws[law->statuses];
    for (uint32_t i = 1; i < law->status_count && status->upto <= roll; i++)
        status++;
    if (law->status_count > 0)
        *ret_status = status->status;
    *ret = dist_of(area, law->status_count > 0 ? status : law);
    return true;
}

bool recorded_has_path(const struct recorded *r, struct slice path) {
    const struct area *area = area_of(r);

    return area->slots[find_slot(area, hash_bytes(HASH_SEED, path.ptr, path.len))].law != 0;
}

bool recorded_is_name(const struct option_strings *from, const struct dist *law) {
    if (!dist_is_named(law))
        return true;
    for (size_t i = 0; i < from->count; i++) {
        uint64_t name;
        (void)split_name(from->items[i], &name);
        if (law->name == 0 || law->name == name)
            return true;
    }
    return false;
}
