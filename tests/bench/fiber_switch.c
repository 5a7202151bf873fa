/* SPDX-License-Identifier: MIT */
/* What fibers cost: a switch there and back, a short life, and memory while parked. */
#include "base/attr.h"
#include "fiber/fiber.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SWITCHES = 2000000, LIVES = 2000000, PARKED = 10000 };

struct bench {
    struct loop *loop;
    struct fibers *fibers;
    struct fiber *fiber;
    bool stop;
};

static void must(int rc, const char *what) {
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerrordesc_np(-rc));
    exit(1);
}

static void report(const char *what, nsec_t start, unsigned count) {
    printf("%-36s %7.1f ns\n", what, (double)(clock_now() - start) / count);
}

static void park_until_stop(void *arg) {
    struct bench *b = arg;

    b->fiber = fiber_self(b->fibers);
    while (!b->stop)
        must(fiber_park(b->fibers, NSEC_NEVER), "park");
}

static void park_with_deadline(void *arg) {
    struct bench *b = arg;

    b->fiber = fiber_self(b->fibers);
    while (!b->stop)
        must(fiber_park(b->fibers, clock_now() + NSEC_PER_SEC), "park");
}

static void do_nothing(void *arg UNUSED) {
}

static void park_once(void *arg) {
    struct bench *b = arg;
    int rc = fiber_park(b->fibers, NSEC_NEVER);
    if (rc != -ECANCELED)
        must(rc != 0 ? rc : -EINTR, "park");
}

static void bench_switch(struct bench *b, const char *what, void (*run)(void *)) {
    b->stop = false;
    must(fiber_spawn(b->fibers, "switch", run, b), "spawn");
    nsec_t start = clock_now();
    for (int i = 0; i < SWITCHES; i++)
        fiber_wake(b->fiber);
    report(what, start, SWITCHES);
    b->stop = true;
    fiber_wake(b->fiber);
}

static void bench_lives(struct bench *b) {
    nsec_t start = clock_now();
    for (int i = 0; i < LIVES; i++)
        must(fiber_spawn(b->fibers, "life", do_nothing, NULL), "spawn");
    report("spawn and end, cached stack", start, LIVES);
}

static long resident_pages(void) {
    long size = 0;
    long resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%ld %ld", &size, &resident) != 2)
        exit(1);
    fclose(f);
    return resident;
}

struct parked {
    struct bench *bench;
    struct fiber *fiber;
};

static void park_and_tell(void *arg) {
    struct parked *p = arg;
    p->fiber = fiber_self(p->bench->fibers);
    park_once(p->bench);
}

static void bench_memory(struct bench *b) {
    struct parked *parked = calloc(PARKED, sizeof(*parked));
    if (parked == NULL)
        exit(1);
    memset(parked, 1, PARKED * sizeof(*parked));

    long before = resident_pages();
    nsec_t start = clock_now();
    for (int i = 0; i < PARKED; i++) {
        parked[i].bench = b;
        must(fiber_spawn(b->fibers, "parked", park_and_tell, &parked[i]), "spawn");
    }
    report("spawn and park, new stack", start, PARKED);
    printf("%-36s %7.2f pages\n", "resident per parked fiber",
           (double)(resident_pages() - before) / PARKED);

    start = clock_now();
    for (int i = 0; i < PARKED; i++)
        fiber_cancel(parked[i].fiber);
    report("cancel and end", start, PARKED);
    free(parked);
}

int main(void) {
    struct error err;
    struct bench b = { .loop = loop_new(&err) };
    if (b.loop != NULL)
        b.fibers = fibers_new(b.loop, &(struct fiber_config){ 0 }, &err);
    if (b.fibers == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }

    bench_switch(&b, "wake and park", park_until_stop);
    bench_switch(&b, "wake and park with a deadline", park_with_deadline);
    bench_lives(&b);
    bench_memory(&b);
    fibers_free(b.fibers);
    loop_free(b.loop);
    return 0;
}
