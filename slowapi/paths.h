/* SPDX-License-Identifier: MIT */
/* The paths that are counted by themselves: the first ones that are asked for have a number each,
 * all later ones share a number.
 *
 * They lie in memory that the workers share. A path that is known is found without a lock. */
#ifndef SLOWAPI_PATHS_H
#define SLOWAPI_PATHS_H

#include "base/slice.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define PATHS_MAX   256       /* numbers of paths: 0, which is `/`, to PATHS_MAX - 1 */
#define PATHS_OTHER PATHS_MAX /* the number of all other paths, and of what is no path */
#define PATHS_BYTES 128       /* a longer path is among the others */

struct paths {
    pthread_mutex_t mutex;                   /* held to add a path, or to forget all */
    _Atomic uint32_t age;                    /* rises when all are forgotten: numbers begin anew */
    _Atomic uint32_t used;                   /* numbers below it stand for a path */
    _Atomic uint16_t buckets[4 * PATHS_MAX]; /* number of the path with that hash; 0: free */
    struct path_name {
        uint16_t len;
        char text[PATHS_BYTES];
    } names[PATHS_MAX];
};

/* Zeroed memory becomes a table without paths, but for `/`. To be called once, before fork. */
void paths_init(struct paths *p);

/* The number of the path, which is decoded, and the age that the number is of. */
uint32_t paths_find(struct paths *p, struct slice path, uint32_t *ret_age);

/* The number now of a path that had one at that age: of one that was forgotten, PATHS_OTHER. */
static inline uint32_t paths_still(const struct paths *p, uint32_t number, uint32_t age) {
    return atomic_load_explicit(&p->age, memory_order_relaxed) == age ? number : PATHS_OTHER;
}

void paths_forget(struct paths *p);

/* The path of a number below p->used. The slice lives until the paths are forgotten. */
struct slice paths_name(const struct paths *p, uint32_t number);

#endif
