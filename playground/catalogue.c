/* SPDX-License-Identifier: MIT */
/* The rows of the catalogue. */
#include "playground/catalogue.h"
#include "base/attr.h"

/* The slow API that every playground starts first. */
#define SLOW_API \
    { .name = "slowapi", .args = { "slowapi", "--bind", "{bind}" }, .port_by_hand = 4000 }

#define APP(...)                                                                                  \
    {                                                                                             \
        .name = "app",                                                                            \
        .args = { "serve", "--bind", "{bind}", __VA_ARGS__, "--upstream", "{slowapi}", "index" }, \
        .port_by_hand = 3000, .measured = true                                                    \
    }

const struct playground catalogue[] = {
    {
        .name = "single",
        .alias = "sync-devserver",
        .title = "one thread, one request at a time",
        .shows = "A server with one thread that blocks while the slow API sleeps: every other "
                 "client waits for its turn. The time grows with the number of requests, whatever "
                 "the number of clients.",
        .notice = "the clients queue for one thread: requests pass one by one, and p50 is the "
                  "delay times the number of clients",
        .processes = { SLOW_API, APP("--model", "single") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC },
        .slots = 1,
        .tutorial_seconds = 10.139,
    },
    {
        .name = "green",
        .alias = "async-gevent-pywsgi",
        .title = "one thread, a green thread per request",
        .shows = "The same straight-line handler on fibers: a request that waits is parked and "
                 "costs a small stack, no thread. One thread keeps all clients in flight, so the "
                 "time is the number of waves times the delay.",
        .notice = "one thread, asleep most of the time, holds every request in flight at once",
        .processes = { SLOW_API, APP("--model", "green") },
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 17.536,
    },
};
const size_t catalogue_count = ARRAY_LEN(catalogue);
