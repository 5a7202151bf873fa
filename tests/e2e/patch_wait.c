/* SPDX-License-Identifier: MIT */
/* Condition variables, semaphores, threads, children and locked files: tests/e2e/test_patch_lock.py
 * plays these scenes. */
#include "patch_scene.h"

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t checked = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;

static pid_t child(int ms, int code) {
    pid_t pid = fork();

    if (pid == 0) {
        usleep((useconds_t)ms * MS);
        _exit(code);
    }
    return pid;
}

/* --- condition variables --- */

static void exchange(int i) {
    if (i < 3) {
        pthread_mutex_lock(&plain);
        while (items == 0)
            pthread_cond_wait(&cond, &plain);
        items--;
        say("%d", i);
        pthread_mutex_unlock(&plain);
        return;
    }
    for (int n = 0; n < 2; n++) {
        usleep(20 * MS);
        pthread_mutex_lock(&plain);
        items += n == 0 ? 1 : 2;
        if (n == 0)
            pthread_cond_signal(&cond);
        else
            pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&plain);
    }
}

static void exchange_c11(int i) {
    static mtx_t m;
    static cnd_t c;
    struct timespec at;

    if (i == 0) {
        mtx_init(&m, mtx_plain);
        cnd_init(&c);
        mtx_lock(&m);
        at = after(CLOCK_REALTIME, 20);
        say("timed=%d ", cnd_timedwait(&c, &m, &at) == thrd_timedout);
        while (items == 0)
            cnd_wait(&c, &m);
        mtx_unlock(&m);
        say("got");
        return;
    }
    usleep(50 * MS);
    mtx_lock(&m);
    items = 1;
    cnd_signal(&c);
    mtx_unlock(&m);
}

static void *take_one(void *arg) {
    (void)arg;
    pthread_mutex_lock(&plain);
    while (items == 0)
        pthread_cond_wait(&cond, &plain);
    items--;
    taken++;
    pthread_mutex_unlock(&plain);
    return NULL;
}

static void *give_one(void *arg) {
    (void)arg;
    real_sleep(100);
    pthread_mutex_lock(&plain);
    items++;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&plain);
    return NULL;
}

static void from_thread(int i) {
    pthread_t thread;

    (void)i;
    pthread_create(&thread, NULL, give_one, NULL);
    take_one(NULL);
    say("taken=%d", taken);
    pthread_join(thread, NULL);
}

static void to_thread(int i) {
    pthread_t thread;

    (void)i;
    pthread_create(&thread, NULL, take_one, NULL);
    give_one(NULL);
    pthread_join(thread, NULL);
    say("taken=%d", taken);
}

enum { STORM = 2000 };

static void *give_many(void *arg) {
    (void)arg;
    for (int n = 0; n < STORM; n++) {
        pthread_mutex_lock(&plain);
        items++;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&plain);
        if (n % 16 == 0)
            usleep(10);
    }
    return NULL;
}

static void *take_many(void *arg) {
    for (int n = 0; n < STORM; n++)
        take_one(arg);
    return NULL;
}

/* As many takers as givers, on both sides, and a lost wake-up hangs one of them. */
static void storm(int i) {
    pthread_t threads[2];

    if (i == 0) {
        pthread_create(&threads[0], NULL, give_many, NULL);
        pthread_create(&threads[1], NULL, take_many, NULL);
        give_many(NULL);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        usleep(MS);
        while (taken < 4 * STORM)
            usleep(MS);
        say("taken=%d", taken);
    } else if (i < 3) {
        take_many(NULL);
    } else {
        give_many(NULL);
        give_many(NULL);
        take_many(NULL);
    }
}

static void timed_cond(int i) {
    pthread_condattr_t attr;
    pthread_cond_t monotonic;
    struct timespec at;
    double begin = now();

    (void)i;
    pthread_mutex_lock(&plain);
    at = after(CLOCK_REALTIME, 30);
    say("real=%d ", pthread_cond_timedwait(&cond, &plain, &at) == ETIMEDOUT);
    at = after(CLOCK_MONOTONIC, 30);
    say("clock=%d ", pthread_cond_clockwait(&cond, &plain, CLOCK_MONOTONIC, &at) == ETIMEDOUT);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&monotonic, &attr);
    at = after(CLOCK_MONOTONIC, 30);
    say("monotonic=%d ", pthread_cond_timedwait(&monotonic, &plain, &at) == ETIMEDOUT);
    say("in_time=%d ", now() - begin >= 0.089 && now() - begin < 1);
    say("past=%d ", pthread_cond_timedwait(&monotonic, &plain, &at) == ETIMEDOUT);
    at.tv_nsec = 1000000000;
    say("bad=%d ", pthread_cond_timedwait(&cond, &plain, &at) == EINVAL);
    say("not_mine=%d", pthread_cond_wait(&cond, &checked) == EPERM);
    pthread_cond_destroy(&monotonic);
    pthread_mutex_unlock(&plain);
}

/* --- semaphores --- */

static void *post_later(void *arg) {
    real_sleep(100);
    sem_post(arg);
    return NULL;
}

static void semaphores(int i) {
    struct timespec at;
    pthread_t thread;

    if (i == 0) {
        sem_init(&sem, 0, 1);
        sem_wait(&sem);
        at = after(CLOCK_REALTIME, 20);
        errno = 0;
        say("timed=%d ", sem_timedwait(&sem, &at) < 0 && errno == ETIMEDOUT);
        at = after(CLOCK_MONOTONIC, 20);
        say("clock=%d ", sem_clockwait(&sem, CLOCK_MONOTONIC, &at) < 0 && errno == ETIMEDOUT);
        at.tv_nsec = -1;
        say("bad=%d ", sem_timedwait(&sem, &at) < 0 && errno == EINVAL);
        pthread_create(&thread, NULL, post_later, &sem);
        errno = 77;
        say("thread=%d errno=%d ", sem_wait(&sem), errno);
        pthread_join(thread, NULL);
        say("fiber=%d", sem_wait(&sem));
        return;
    }
    usleep(300 * MS);
    sem_post(&sem);
}

static void on_alarm(int signo) {
    (void)signo;
    sem_post(&sem);
}

/* A handler of signals may post, and it interrupts whatever the thread does. */
static void posts_of_signals(int i) {
    const struct itimerspec often = { { 0, 2000000 }, { 0, 2000000 } };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
    timer_t timer;

    if (i == 0) {
        sem_init(&sem, 0, 0);
        signal(SIGRTMIN, on_alarm);
        timer_create(CLOCK_MONOTONIC, &event, &timer);
        timer_settime(timer, 0, &often, NULL);
    }
    for (int n = 0; n < 20; n++)
        sem_wait(&sem);
    if (i == 0) {
        timer_delete(timer);
        signal(SIGRTMIN, SIG_IGN);
        for (int n = 0; n < 40; n++)
            sem_post(&sem); /* for the others, which may be behind */
        say("got");
    }
}

static void *post_many(void *arg) {
    (void)arg;
    for (int n = 0; n < STORM; n++) {
        sem_post(&sem);
        if (n % 16 == 0)
            usleep(10);
    }
    return NULL;
}

static void *wait_many(void *arg) {
    (void)arg;
    for (int n = 0; n < STORM; n++)
        if (sem_wait(&sem) == 0)
            taken++;
    return NULL;
}

static void semaphore_storm(int i) {
    pthread_t thread;

    if (i == 0) {
        sem_init(&sem, 0, 0);
        pthread_create(&thread, NULL, post_many, NULL);
        post_many(NULL);
        pthread_join(thread, NULL);
        while (taken < 2 * STORM)
            usleep(MS);
        say("taken=%d", taken);
    } else {
        wait_many(NULL);
    }
}

/* --- threads, children, files --- */

static void *take_time(void *arg) {
    pthread_mutex_lock(&checked);
    usleep(300 * MS);
    pthread_mutex_unlock(&checked);
    return arg;
}

static int take_time_c11(void *arg) {
    usleep(100 * MS);
    return *(int *)arg;
}

static void joins(int i) {
    pthread_t thread;
    thrd_t c11;
    struct timespec at;
    void *ret = NULL;
    int seven = 7, result = 0;

    pthread_create(&thread, NULL, take_time, &i);
    at = after(CLOCK_REALTIME, 20);
    say("timed=%d ", pthread_timedjoin_np(thread, &ret, &at) == ETIMEDOUT);
    say("join=%d ", pthread_join(thread, &ret));
    say("ret=%d ", ret == &i);
    thrd_create(&c11, take_time_c11, &seven);
    say("c11=%d ", thrd_join(c11, &result) == thrd_success && result == 7);
    say("self=%d", pthread_join(pthread_self(), NULL) == EDEADLK);
}

static void children(int i) {
    pid_t one = child(100, 3), two = child(200, 4), first;
    siginfo_t info;
    int status = 0, sum = 0;

    (void)i;
    say("pid=%d ", waitpid(one, &status, 0) == one);
    say("code=%d ", WEXITSTATUS(status));
    say("id=%d ", waitid(P_PID, (id_t)two, &info, WEXITED));
    say("two=%d status=%d ", info.si_pid == two, info.si_status);
    one = child(30, 5);
    two = child(60, 6);
    first = wait(&status);
    sum = WEXITSTATUS(status);
    say("first=%d ", first == one || first == two);
    say("any=%d ", waitpid(-1, &status, 0) == (first == one ? two : one));
    say("sum=%d ", sum + WEXITSTATUS(status));
    errno = 0;
    say("none=%d", waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
}

/* A semaphore and a condition variable that a child has, too. */
static void shared_with_child(int i) {
    struct both {
        sem_t sem;
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        int items;
    } *both = mmap(NULL, sizeof(*both), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t mutex;
    pthread_condattr_t shared;
    pid_t pid;

    (void)i;
    sem_init(&both->sem, 1, 0);
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&both->mutex, &mutex);
    pthread_condattr_init(&shared);
    pthread_condattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&both->cond, &shared);
    pid = fork();
    if (pid == 0) {
        usleep(100 * MS);
        sem_post(&both->sem);
        usleep(100 * MS);
        pthread_mutex_lock(&both->mutex);
        both->items = 1;
        pthread_cond_signal(&both->cond);
        pthread_mutex_unlock(&both->mutex);
        _exit(0);
    }
    say("sem=%d ", sem_wait(&both->sem));
    pthread_mutex_lock(&both->mutex);
    while (both->items == 0)
        pthread_cond_wait(&both->cond, &both->mutex);
    pthread_mutex_unlock(&both->mutex);
    say("cond ");
    say("child=%d", waitpid(pid, NULL, 0) == pid);
    munmap(both, sizeof(*both));
}

static int open_file(int i) {
    static char name[] = "/tmp/patch-lock-XXXXXX";
    static int opened;
    int fd = i == 0 ? mkstemp(name) : open(name, O_RDWR);

    if (++opened == 3)
        unlink(name);
    return fd;
}

static void lock_files(int i) {
    int fd = open_file(i);

    flock(fd, LOCK_EX);
    go_in();
    say("%d", i);
    usleep(30 * MS);
    inside--;
    flock(fd, LOCK_UN);
    close(fd);
}

static void lock_open_files(int i) {
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = open_file(i);

    fcntl(fd, F_OFD_SETLKW, &whole);
    go_in();
    usleep(30 * MS);
    inside--;
    whole.l_type = F_UNLCK;
    say("%d", fcntl(fd, F_OFD_SETLK, &whole));
    close(fd);
}

/* A process has one lock, whoever of it asks: a child has another. */
static void lock_against_child(int i) {
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char name[] = "/tmp/patch-lock-XXXXXX";
    int fd = mkstemp(name);

    (void)i;
    unlink(name);
    for (int n = 0; n < 2; n++) {
        pid_t pid = fork();

        if (pid == 0) {
            if (lockf(fd, F_LOCK, 0) == 0)
                usleep(100 * MS);
            _exit(0);
        }
        while (lockf(fd, F_TEST, 0) == 0)
            usleep(MS);
        say("test=%d ", lockf(fd, F_TLOCK, 0) < 0);
        say("lock=%d ", n == 0 ? lockf(fd, F_LOCK, 0) : fcntl(fd, F_SETLKW, &whole));
        lockf(fd, F_ULOCK, 0);
        waitpid(pid, NULL, 0);
    }
    close(fd);
}

static void wait_in_vain(int i) {
    pthread_mutex_lock(&checked);
    while (i < 14 && items == 0) {
        pthread_cond_wait(&cond, &checked);
        i++;
    }
    pthread_mutex_unlock(&checked);
}

static const struct scene scenes[] = {
    { "exchange", exchange, 4 },
    { "exchange-c11", exchange_c11, 2 },
    { "from-thread", from_thread, 1 },
    { "to-thread", to_thread, 1 },
    { "storm", storm, 4 },
    { "timed", timed_cond, 1 },
    { "semaphores", semaphores, 2 },
    { "signals", posts_of_signals, 3 },
    { "semaphore-storm", semaphore_storm, 3 },
    { "joins", joins, 1 },
    { "children", children, 1 },
    { "shared", shared_with_child, 1 },
    { "files", lock_files, 3 },
    { "open-files", lock_open_files, 3 },
    { "child-files", lock_against_child, 1 },
    { "vain", wait_in_vain, 1 },
    { NULL, NULL, 0 },
};

static int wait_for_child(srv_request *rq) {
    pid_t pid = child(60000, 0);
    int rc = waitpid(pid, NULL, 0), error = errno;

    kill(pid, SIGKILL);
    return srv_reply(rq, 200, "%d %d", rc, error);
}

SRV_APP(.routes = (const srv_route[]){
            { "/child", wait_for_child },
            { "/scene/*", scene },
            { NULL, NULL },
        })
