/* SPDX-License-Identifier: MIT */
/* The front over socket pairs, with a model that answers when the test says so. */
#ifndef TESTS_SERVER_FRONT_RIG_H
#define TESTS_SERVER_FRONT_RIG_H

#include "base/alloc.h"
#include "server/conn/front.h"
#include "tests/unit/server/worker_rig.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MSEC    NSEC_PER_MSEC
#define GET     "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#define LARGE   4000000 /* more than a socket pair holds */
#define CLIENTS 8

struct front_rig {
    struct front front; /* first: clients point to it */
    struct serve_config config;
    struct worker_quota quota;
    struct worker worker;
    struct loop *loop;
    struct io_block io;
    struct timer pause;
    struct client_list served; /* through `queued`, in the order of their dispatch */
    int listen_fd;
    int clients[CLIENTS], servers[CLIENTS]; /* both ends */
    unsigned served_at[CLIENTS];            /* how many had been dispatched before, the last time */
    int fds_before;
    unsigned depth, depth_most, dispatched;
    bool answers_at_once; /* inside dispatch */
    bool cancels;         /* abandon ends the request; else it goes on */
};

/* Around each test. In the end everything must be back at zero, whatever happened. */
int front_set_up(void **state);
int front_tear_down(void **state);

#define FRONT_TEST(name) cmocka_unit_test_setup_teardown(name, front_set_up, front_tear_down)

/* The one that is served for longest gets its answer: `/N` N bytes, other paths five. */
void answer_first(struct front_rig *f);

/* Runs the loop for that long, or until the front stops it; and for a moment. */
void run_for(struct front_rig *f, nsec_t span);
void run(struct front_rig *f);

void connect_client(struct front_rig *f, int i);
void hang_up(struct front_rig *f, int i);
void say(struct front_rig *f, int i, const char *text);

/* All that is there; "" when nothing is, NULL when it was closed after nothing. */
const char *hear(struct front_rig *f, int i);
void assert_hears(struct front_rig *f, int i, const char *part);
#define assert_silent(f, i) assert_string_equal(hear(f, i), "")
#define assert_closed(f, i) assert_null(hear(f, i))

/* Reads on until nothing comes any more; how much it was. */
size_t drain(struct front_rig *f, int i);

/* A new client whose answer is LARGE, and has begun to be sent. */
void ask_for_much_and_do_not_read(struct front_rig *f, int i);

unsigned long long value(const struct front_rig *f, enum stats_value which);

#endif
