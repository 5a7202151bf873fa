/* SPDX-License-Identifier: MIT */
/* Scenes of an application that knows of no fibers: GET /scene/NAME runs that one in several parts
 * of one request, beside a ticker of 5 ms, and answers with what happened, how many were inside at
 * most, and the ticker's longest gap. The file that includes this has one table of scenes. */
#ifndef TESTS_PATCH_SCENE_H
#define TESTS_PATCH_SCENE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <srv/app.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define MS 1000

static char said[2000];
static atomic_bool over;
static int inside, most, items, taken;

static void say(const char *format, ...) {
    size_t len = strlen(said);
    va_list list;

    va_start(list, format);
    vsnprintf(said + len, sizeof(said) - len, format, list);
    va_end(list);
}

static double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct timespec after(clockid_t clock, int ms) {
    struct timespec t;

    clock_gettime(clock, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

static void real_sleep(int ms) {
    usleep((useconds_t)ms * MS);
}

static void go_in(void) {
    if (++inside > most)
        most = inside;
}

/* Parts tell one another when to go on. */
static bool told;

static const struct scene {
    const char *name;
    void (*run)(int i);
    int count;
} scenes[];

/* --- parts --- */

static void (*running)(int i);

static int run_part(srv_request *rq, void *arg) {
    (void)rq;
    running((int)(intptr_t)arg);
    return 0;
}

static int tick(srv_request *rq, void *arg) {
    double *longest = arg, last = now();

    (void)rq;
    while (!atomic_load(&over)) {
        usleep(5 * MS);
        if (now() - last > *longest)
            *longest = now() - last;
        last = now();
    }
    return 0;
}

static int scene(srv_request *rq) {
    const char *name = srv_segment(rq, 0);
    srv_task *parts[8], *ticker;
    double longest = 0;
    size_t at = 0;

    while (scenes[at].name != NULL && strcmp(scenes[at].name, name) != 0)
        at++;
    if (scenes[at].name == NULL)
        return srv_fail(rq, 404, "no such scene");
    if (srv_arg(rq, "deadline", NULL) != NULL)
        srv_set_deadline(rq, atof(srv_arg(rq, "deadline", "")));
    running = scenes[at].run;
    said[0] = '\0';
    inside = most = items = taken = 0;
    told = false;
    atomic_store(&over, false);
    ticker = srv_start(rq, tick, &longest);
    for (int i = 0; i < scenes[at].count; i++)
        parts[i] = srv_start(rq, run_part, (void *)(intptr_t)i);
    for (int i = 0; i < scenes[at].count; i++)
        srv_join(rq, parts[i]);
    atomic_store(&over, true);
    srv_join(rq, ticker);
    return srv_reply(rq, 200, "%s|%d|%.3f", said, most, longest);
}

#endif
