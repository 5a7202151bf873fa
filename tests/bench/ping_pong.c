/* SPDX-License-Identifier: MIT */
/* What a message costs between two fibers over TCP: time here, system calls under `strace -c -f`.
 * And how late timers are with 5,000 of them. `bench_ping_pong [MESSAGES]` */
#include "fiber/io.h"
#include "net/socket.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES = 100000, SLEEPERS = 5000 };

struct bench {
    struct loop *loop;
    struct fibers *fibers;
    struct io *io;
    int ends[2];
    unsigned messages;
    unsigned late_count;
    nsec_t late[SLEEPERS];
};

static void must(long rc, const char *what) {
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerrordesc_np((int)-rc));
    exit(1);
}

static void ping(void *arg) {
    struct bench *b = arg;
    char text[64] = "ping";

    nsec_t start = clock_now();
    for (unsigned i = 0; i < b->messages; i++) {
        must(io_write_all(b->io, b->ends[0], text, 4, NSEC_NEVER), "write");
        must(io_read(b->io, b->ends[0], text, sizeof(text), clock_now() + NSEC_PER_SEC), "read");
    }
    printf("ping and pong over TCP  %.0f ns\n", (double)(clock_now() - start) / b->messages);
    loop_stop(b->loop);
}

static void pong(void *arg) {
    struct bench *b = arg;
    char text[64];

    for (unsigned i = 0; i < b->messages; i++) {
        must(io_read(b->io, b->ends[1], text, sizeof(text), NSEC_NEVER), "read");
        must(io_write_all(b->io, b->ends[1], text, 4, NSEC_NEVER), "write");
    }
}

static void sleep_and_tell(void *arg) {
    struct bench *b = arg;
    nsec_t until = clock_now() + NSEC_PER_SEC + rand() % 1000 * NSEC_PER_MSEC;

    must(io_sleep(b->io, until), "sleep");
    b->late[b->late_count++] = clock_now() - until;
    if (b->late_count == SLEEPERS)
        loop_stop(b->loop);
}

static int by_size(const void *a, const void *b) {
    const nsec_t *x = a;
    const nsec_t *y = b;
    return (*x > *y) - (*x < *y);
}

static void open_tcp_pair(int ends[2]) {
    struct address at = { .v4 = { .sin_family = AF_INET }, .len = sizeof(at.v4) };
    bool pending;

    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, &at.any, at.len) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, &at.any, &at.len) < 0)
        must(-errno, "listen");
    ends[0] = socket_connect(&at, &pending);
    must(ends[0], "connect");
    ends[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    must(ends[1] < 0 ? -errno : 0, "accept");
}

int main(int argc, char **argv) {
    static struct bench b;
    struct error err;

    b.messages = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : MESSAGES;
    b.loop = loop_new(&err);
    b.fibers = b.loop != NULL ? fibers_new(b.loop, &(struct fiber_config){ 0 }, &err) : NULL;
    struct io_fiber *f = b.fibers != NULL ? io_fiber_new(b.loop, b.fibers, &err) : NULL;
    if (f == NULL) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    b.io = io_fiber_io(f);
    open_tcp_pair(b.ends);
    must(fiber_spawn(b.fibers, "pong", pong, &b), "spawn");
    must(fiber_spawn(b.fibers, "ping", ping, &b), "spawn");
    must(loop_run(b.loop), "run");

    if (argc > 1)
        return 0; /* only the messages were asked for */
    for (int i = 0; i < SLEEPERS; i++)
        must(fiber_spawn(b.fibers, "sleeper", sleep_and_tell, &b), "spawn");
    must(loop_run(b.loop), "run");
    qsort(b.late, SLEEPERS, sizeof(b.late[0]), by_size);
    printf("5,000 sleepers late by  %.0f us (p50), %.0f us (p99), %.0f us (most)\n",
           (double)b.late[SLEEPERS / 2] / 1e3, (double)b.late[SLEEPERS * 99 / 100] / 1e3,
           (double)b.late[SLEEPERS - 1] / 1e3);
    return 0;
}
