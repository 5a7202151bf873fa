/* SPDX-License-Identifier: MIT */
/* Locks: tests/e2e/test_patch_lock.py plays these scenes. */
#include "patch_scene.h"

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t checked = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

/* --- mutexes --- */

static void until_told(void) {
    while (!told)
        usleep(MS);
}

static void hold(int i) {
    pthread_mutex_lock(&plain);
    go_in();
    say("%d", i);
    usleep(20 * MS);
    inside--;
    pthread_mutex_unlock(&plain);
}

static void hold_recursive(int i) {
    pthread_mutex_lock(&recursive);
    usleep(5 * MS);
    pthread_mutex_lock(&recursive);
    go_in();
    say("%d", i);
    usleep(20 * MS);
    inside--;
    pthread_mutex_unlock(&recursive);
    usleep(5 * MS);
    pthread_mutex_unlock(&recursive);
}

static void hold_c11(int i) {
    static mtx_t m;

    if (i == 0)
        mtx_init(&m, mtx_timed);
    mtx_lock(&m);
    if (i == 0) {
        usleep(60 * MS);
    } else {
        struct timespec at = after(CLOCK_REALTIME, 1);
        go_in();
        say("%d", mtx_timedlock(&m, &at) == thrd_timedout);
        inside--;
    }
    mtx_unlock(&m);
}

static void errors(int i) {
    struct timespec at;
    double begin;
    int rc;

    if (i == 0) {
        pthread_mutex_lock(&checked);
        until_told();
        say("again=%d ", pthread_mutex_lock(&checked) == EDEADLK);
        rc = pthread_mutex_unlock(&checked);
        say("unlock=%d twice=%d", rc, pthread_mutex_unlock(&checked) == EPERM);
        return;
    }
    say("foreign=%d ", pthread_mutex_unlock(&checked) == EPERM);
    say("try=%d ", pthread_mutex_trylock(&checked) == EBUSY);
    begin = now();
    at = after(CLOCK_REALTIME, 30);
    rc = pthread_mutex_timedlock(&checked, &at);
    say("timed=%d in_time=%d ", rc == ETIMEDOUT, now() - begin >= 0.029);
    at = after(CLOCK_MONOTONIC, 10);
    say("clock=%d ", pthread_mutex_clocklock(&checked, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    at.tv_nsec = -1;
    say("bad=%d ", pthread_mutex_timedlock(&checked, &at) == EINVAL);
    told = true;
}

static void spin_on_trylock(int i) {
    if (i == 0) {
        pthread_mutex_lock(&plain);
        usleep(50 * MS);
        pthread_mutex_unlock(&plain);
        return;
    }
    usleep(5 * MS);
    while (pthread_mutex_trylock(&plain) == EBUSY)
        ;
    say("got");
    pthread_mutex_unlock(&plain);
}

static void *thread_holds(void *arg) {
    pthread_mutex_lock(&plain);
    atomic_store((atomic_bool *)arg, true);
    real_sleep(300);
    pthread_mutex_unlock(&plain);
    return NULL;
}

static void wait_for_thread(int i) {
    atomic_bool holds = false;
    pthread_t thread;
    double begin;

    (void)i;
    pthread_create(&thread, NULL, thread_holds, &holds);
    while (!atomic_load(&holds))
        usleep(MS);
    begin = now();
    pthread_mutex_lock(&plain);
    say("waited=%d", now() - begin > 0.2);
    pthread_mutex_unlock(&plain);
    pthread_join(thread, NULL);
}

static void *thread_waits(void *arg) {
    pthread_mutex_lock(&plain);
    *(double *)arg = now();
    pthread_mutex_unlock(&plain);
    return NULL;
}

static void let_thread_wait(int i) {
    double unlocked, got = 0;
    pthread_t thread;

    (void)i;
    pthread_mutex_lock(&plain);
    pthread_create(&thread, NULL, thread_waits, &got);
    usleep(100 * MS);
    unlocked = now();
    pthread_mutex_unlock(&plain);
    pthread_join(thread, NULL);
    say("after=%d", got >= unlocked);
}

static void *thread_dies(void *arg) {
    pthread_mutex_lock(arg);
    return NULL;
}

static void robust(int i) {
    pthread_mutexattr_t attr;
    static pthread_mutex_t m;
    pthread_t thread;

    if (i == 0) {
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&m, &attr);
        pthread_create(&thread, NULL, thread_dies, &m);
        pthread_join(thread, NULL);
        say("dead=%d ", pthread_mutex_lock(&m) == EOWNERDEAD);
        told = true;
        usleep(30 * MS);
        say("consistent=%d ", pthread_mutex_consistent(&m));
        say("unlock=%d ", pthread_mutex_unlock(&m));
        return;
    }
    until_told();
    say("lock=%d ", pthread_mutex_lock(&m));
    pthread_mutex_unlock(&m);
}

/* --- others --- */

static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;

static void read_and_write(int i) {
    struct timespec at;

    if (i < 3) {
        pthread_rwlock_rdlock(&rw);
        go_in();
        until_told();
        inside--;
        pthread_rwlock_unlock(&rw);
        return;
    }
    at = after(CLOCK_REALTIME, 5);
    if (i == 3)
        say("timed=%d ", pthread_rwlock_timedwrlock(&rw, &at) == ETIMEDOUT);
    say("try=%d ", pthread_rwlock_trywrlock(&rw) == EBUSY);
    told = ++items == 2;
    pthread_rwlock_wrlock(&rw);
    say("alone=%d ", ++inside == 1);
    usleep(20 * MS);
    say("again=%d ", pthread_rwlock_wrlock(&rw) == EDEADLK);
    inside--;
    pthread_rwlock_unlock(&rw);
}

static void spin(int i) {
    static pthread_spinlock_t lock;

    if (i == 0)
        pthread_spin_init(&lock, PTHREAD_PROCESS_PRIVATE);
    pthread_spin_lock(&lock);
    go_in();
    say("%d", i);
    usleep(10 * MS);
    inside--;
    pthread_spin_unlock(&lock);
}

static pthread_once_t control = PTHREAD_ONCE_INIT;
static once_flag flag = ONCE_FLAG_INIT;
static int routines;

static void routine(void) {
    usleep(40 * MS);
    routines++;
}

static void once(int i) {
    (void)i;
    pthread_once(&control, routine);
    call_once(&flag, routine);
    say("%d", routines);
}

/* --- failures --- */

static void hold_too_long(int i) {
    if (i == 0) {
        pthread_mutex_lock(&plain);
        usleep(5000 * MS);
        pthread_mutex_unlock(&plain);
        return;
    }
    pthread_mutex_lock(&plain);
    go_in();
    usleep(20 * MS);
    inside--;
    pthread_mutex_unlock(&plain);
}

static const struct scene scenes[] = {
    { "hold", hold, 5 },
    { "recursive", hold_recursive, 5 },
    { "c11", hold_c11, 2 },
    { "errors", errors, 2 },
    { "trylock", spin_on_trylock, 2 },
    { "thread", wait_for_thread, 1 },
    { "waiting-thread", let_thread_wait, 1 },
    { "robust", robust, 2 },
    { "rwlock", read_and_write, 5 },
    { "spin", spin, 3 },
    { "once", once, 3 },
    { "late", hold_too_long, 3 },
    { NULL, NULL, 0 },
};

/* --- handlers that leave a lock behind --- */

static int leave_locked(srv_request *rq) {
    pthread_mutex_lock(&recursive);
    return srv_reply(rq, 200, "locked");
}

static int lock_and_unlock(srv_request *rq) {
    pthread_mutex_lock(&recursive);
    pthread_mutex_unlock(&recursive);
    return srv_reply(rq, 200, "both");
}

static int only_unlock(srv_request *rq) {
    return srv_reply(rq, 200, "%d", pthread_mutex_unlock(&recursive));
}

static int lock_twice(srv_request *rq) {
    pthread_mutex_lock(&plain);
    pthread_mutex_lock(&plain);
    pthread_mutex_unlock(&plain);
    pthread_mutex_unlock(&plain);
    return srv_reply(rq, 200, "twice");
}

SRV_APP(.routes = (const srv_route[]){
            { "/leave", leave_locked },
            { "/both", lock_and_unlock },
            { "/unlock", only_unlock },
            { "/twice", lock_twice },
            { "/scene/*", scene },
            { NULL, NULL },
        })
