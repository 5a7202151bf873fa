/* SPDX-License-Identifier: MIT */
/* Waits of 0.3 s, and for how long a part that ticks every 5 ms stood still meanwhile: for
 * test_patch.py. */
#include "patch_rig.c"
#include <sys/syscall.h>

enum { SPAN_MS = 300 };

struct ticker {
    int stops;
    double gap;
};

static int tick(srv_request *rq, void *arg) {
    struct ticker *t = arg;
    double last = now();

    (void)rq;
    while (!t->stops) {
        double at;

        usleep(5000);
        at = now();
        if (at - last > t->gap)
            t->gap = at - last;
        last = at;
    }
    return 0;
}

/* --- waits: a peer ends them --------------------------------------------- */

static struct later writes_to(int fd) {
    return (struct later)WRITES(SPAN_MS, fd, "a\n");
}

static int from_pair(int (*wait)(int fd), int kind) {
    int ends[2], rc;

    if (kind == 0)
        pair(ends, SOCK_STREAM);
    else if (pipe(ends) < 0)
        abort();
    struct later l = writes_to(ends[1]);
    begin(&l);
    rc = wait(ends[0]);
    end(&l);
    close_both(ends);
    return rc;
}

static int by_recv(int fd) {
    return (int)recv(fd, (char[4]){ 0 }, 4, 0);
}

static int by_read(int fd) {
    return (int)read(fd, (char[4]){ 0 }, 4);
}

static int by_poll(int fd) {
    struct pollfd fds[2] = { { .fd = fd, .events = POLLIN }, { .fd = -1 } };

    return poll(fds, 2, -1);
}

static int by_select(int fd) {
    fd_set in;

    FD_ZERO(&in);
    FD_SET(fd, &in);
    return select(fd + 1, &in, NULL, NULL, NULL);
}

static int by_epoll(int fd) {
    int set = epoll_create1(0), rc;
    struct epoll_event event = { .events = EPOLLIN };

    epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
    rc = epoll_wait(set, &event, 1, -1);
    close(set);
    return rc;
}

static int by_fgets(int fd) {
    char line[8];
    FILE *file = fdopen(dup(fd), "r");
    int rc = fgets(line, sizeof(line), file) != NULL;

    fclose(file);
    return rc;
}

static int by_syscall(int fd) {
    return (int)syscall(SYS_read, fd, (char[4]){ 0 }, 4);
}

static int by_splice(int fd) {
    int ends[2], rc;

    if (pipe(ends) < 0)
        abort();
    rc = (int)splice(fd, NULL, ends[1], NULL, 10, 0);
    close_both(ends);
    return rc;
}

static int wait_recv(void) {
    return from_pair(by_recv, 0);
}

static int wait_read_pipe(void) {
    return from_pair(by_read, 1);
}

static int wait_poll(void) {
    return from_pair(by_poll, 0);
}

static int wait_select(void) {
    return from_pair(by_select, 0);
}

static int wait_epoll(void) {
    return from_pair(by_epoll, 0);
}

static int wait_fgets(void) {
    return from_pair(by_fgets, 1);
}

static int wait_syscall(void) {
    return from_pair(by_syscall, 0);
}

static int wait_splice(void) {
    return from_pair(by_splice, 1);
}

static int wait_timerfd(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, 0), rc;
    uint64_t count;

    timerfd_settime(fd, 0, &(struct itimerspec){ .it_value.tv_nsec = SPAN_MS * 1000000L }, NULL);
    rc = (int)read(fd, &count, sizeof(count));
    close(fd);
    return rc;
}

static int wait_usleep(void) {
    return usleep(SPAN_MS * 1000) + 1;
}

static int wait_nanosleep(void) {
    return nanosleep(&(struct timespec){ .tv_nsec = SPAN_MS * 1000000L }, NULL) + 1;
}

static int wait_accept(void) {
    struct sockaddr_in at;
    int fd = listener(&at, 1), got;

    struct later l = { .ms = SPAN_MS, .act = act_connect, .address = &at, .len = sizeof(at) };
    begin(&l);
    got = accept(fd, NULL, NULL);
    end(&l);
    close(fd);
    return close(got) + 1;
}

/* The backlog of a local listener is full. */
static int wait_connect(void) {
    struct sockaddr_un at;
    int fd = unix_socket(&at, SOCK_STREAM, "full"), first = socket(AF_UNIX, SOCK_STREAM, 0),
        second = socket(AF_UNIX, SOCK_STREAM, 0), rc;

    listen(fd, 0);
    if (connect(first, (struct sockaddr *)&at, sizeof(at)) < 0)
        abort();
    struct later l = { .ms = SPAN_MS, .fd = fd, .act = act_accept };
    begin(&l);
    rc = connect(second, (struct sockaddr *)&at, sizeof(at)) + 1;
    end(&l);
    close(first);
    close(second);
    close(fd);
    return rc;
}

static int wait_write(void) {
    char *data = malloc(4000000);
    int ends[2], rc;

    pair(ends, SOCK_STREAM);
    struct later l = { .ms = SPAN_MS, .fd = ends[1], .act = act_drain };
    begin(&l);
    rc = (int)write(ends[0], memset(data, 1, 4000000), 4000000);
    close(ends[0]);
    end(&l);
    close(ends[1]);
    free(data);
    return rc;
}

/* A peer that has closed its side makes a full socket readable: nobody asked for that. */
static int wait_half_closed(void) {
    int ends[2], rc;

    pair(ends, SOCK_STREAM);
    fill(ends[0]);
    shutdown(ends[1], SHUT_WR);
    rc = poll(&(struct pollfd){ .fd = ends[0], .events = POLLOUT }, 1, SPAN_MS);
    close_both(ends);
    return rc + 1;
}

static int wait_system(void) {
    return system("sleep 0.3") + 1;
}

static int wait_popen(void) {
    return pclose(popen("sleep 0.3", "r")) + 1;
}

static int wait_sigtimedwait(void) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    return -sigtimedwait(&set, NULL, &(struct timespec){ .tv_nsec = SPAN_MS * 1000000L });
}

static const struct {
    const char *name;
    int (*wait)(void);
} waits[] = {
    { "recv", wait_recv },     { "read-pipe", wait_read_pipe },
    { "poll", wait_poll },     { "select", wait_select },
    { "epoll", wait_epoll },   { "timerfd", wait_timerfd },
    { "usleep", wait_usleep }, { "nanosleep", wait_nanosleep },
    { "accept", wait_accept }, { "connect", wait_connect },
    { "write", wait_write },   { "half-closed", wait_half_closed },
    { "fgets", wait_fgets },   { "syscall", wait_syscall },
    { "splice", wait_splice }, { "system", wait_system },
    { "popen", wait_popen },   { "sigtimedwait", wait_sigtimedwait },
};

/* The worst pause of the ticks in milliseconds, the result, the time and the processor time. */
static int page(srv_request *rq) {
    struct ticker t = { 0 };
    srv_task *task = srv_start(rq, tick, &t);
    double since;
    clock_t cpu;
    int rc = -1;

    usleep(20000); /* it ticks */
    since = now();
    cpu = clock();
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++)
        if (strcmp(waits[i].name, srv_segment(rq, 0)) == 0)
            rc = waits[i].wait();
    since = now() - since;
    cpu = clock() - cpu;
    usleep(10000);
    t.stops = 1;
    srv_join(rq, task);
    return srv_reply(rq, 200, "%.0f %d %.0f %.0f", t.gap * 1000, rc, since * 1000,
                     (double)cpu * 1000 / CLOCKS_PER_SEC);
}

SRV_APP(.routes = (const srv_route[]){ { "/*", page }, { NULL, NULL } })
