/* SPDX-License-Identifier: MIT */
/* The rows of the catalogue. */
#include "playground/catalogue.h"
#include "base/attr.h"
#include "playground/nginx.h"
#include "playground/postgres.h"
#include "playground/program.h"

/* The slow API that every playground starts first. */
#define SLOW_API                                                                                  \
    {                                                                                             \
        .name = PLAY_SLOW_API,                                                                    \
        .args = { "slowapi", "--bind", "{bind}", "--control", "{control}" }, .port_by_hand = 4000 \
    }

#define APP(...)                                                                                  \
    {                                                                                             \
        .name = "app",                                                                            \
        .args = { "serve", "--bind", "{bind}", __VA_ARGS__, "--upstream", "{slowapi}", "index" }, \
        .port_by_hand = 3000, .measured = true                                                    \
    }

/* App `db` in front of both, and the database it asks. */
#define POSTGRES                                                                   \
    {                                                                              \
        .name = "postgres", .program = &program_postgres, .package = "postgresql", \
        .args = { "postgres" }, .port_by_hand = 25432                              \
    }
#define APP_DB(mode)                                                                       \
    {                                                                                      \
        .name = "app",                                                                     \
        .args = { "serve",     "--bind", "{bind}",     "--model",   "green", "--upstream", \
                  "{slowapi}", "--db",   "{postgres}", "--db-mode", mode,    "db" },       \
        .port_by_hand = 3000, .measured = true                                             \
    }

/* App `cpu`: half of the delay is computing. */
#define APP_CPU(model)                                                          \
    {                                                                           \
        .name = "app", .args = { "serve", "--bind",     "{bind}",    "--model", \
                                 model,   "--upstream", "{slowapi}", "cpu" },   \
        .port_by_hand = 3000, .measured = true                                  \
    }

/* The tutorial's load on all but the server that has one thread. */
#define LOAD_2000 \
    { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC }

/* The proxy in front of the app; `protocol` is how it speaks to it. */
#define NGINX(protocol)                                                                     \
    {                                                                                       \
        .name = "nginx", .program = &program_nginx, .args = { "nginx", protocol, "{app}" }, \
        .port_by_hand = 8080                                                                \
    }

/* In the order of the tutorial, then ours. */
const struct playground catalogue[] = {
    {
        .name = "single",
        .alias = "sync-devserver",
        .title = "one thread, one request at a time",
        .shows = "A server with one thread that blocks while the slow API sleeps: every other "
                 "client waits for its turn. The time grows with the number of requests, whatever "
                 "the number of clients.",
        .notice = "the clients queue for one thread: requests pass one by one, and the time is the "
                  "delay times the number of requests",
        .processes = { SLOW_API, APP("--model", "single") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC },
        .slots = 1,
        .tutorial_seconds = 10.139,
    },
    {
        .name = "threaded",
        .alias = "sync-devserver",
        .title = "a thread per connection, made when it comes",
        .shows = "The same blocking handler, each connection on a thread of its own: while one "
                 "sleeps the others run. As many threads as clients, all of them asleep, each with "
                 "a stack and a place in the kernel's scheduler.",
        .notice = "a thread for each client that is served, beside the first one; compare threads "
                  "during with c, and with how many of them were asleep",
        .processes = { SLOW_API, APP("--model", "threaded") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 16.04,
    },
    {
        .name = "pool-eager",
        .alias = "sync-uwsgi",
        .title = "4 workers with 50 threads each, made at the start",
        .shows = "A master with four worker processes, each with fifty threads from the start, as "
                 "uWSGI has them. Exactly two hundred requests can wait at once; one more would "
                 "queue.",
        .notice = "its threads stand before the first request came, and none is added under load",
        .processes = { SLOW_API, APP("--model", "pool", "--workers", "4", "--threads", "50",
                                     "--spawn", "eager") },
        .load = LOAD_2000,
        .slots = 200,
        .tutorial_seconds = 12.685,
    },
    {
        .name = "pool-lazy",
        .alias = "sync-gunicorn",
        .title = "4 workers with up to 50 threads each, made on demand",
        .shows = "The same pool, but a worker makes a thread only when a request finds none idle, "
                 "as Gunicorn does. At rest it is small; under load it is the pool that was there "
                 "from the start.",
        .notice = "compare threads before with threads during: the pool grows on demand, as far "
                  "as the load asks for it",
        .processes = { SLOW_API, APP("--model", "pool", "--workers", "4", "--threads", "50",
                                     "--spawn", "lazy") },
        .load = LOAD_2000,
        .slots = 200,
        .tutorial_seconds = 13.427,
    },
    {
        .name = "green",
        .alias = "async-gevent-pywsgi",
        .title = "one thread, a green thread per request",
        .shows = "The same straight-line handler on fibers: a request that waits is parked and "
                 "costs a small stack, no thread. One thread keeps all clients in flight, so the "
                 "time is the number of waves times the delay.",
        .notice = "one thread holds every request in flight: compare calls at once with threads",
        .processes = { SLOW_API, APP("--model", "green") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 17.536,
    },
    {
        .name = "green-cores",
        .alias = "async-gevent-uwsgi",
        .title = "2 workers with up to 2000 green threads each",
        .shows = "Green threads with a cap per worker, as uWSGI's async cores: a worker that is "
                 "full stops accepting. Four thousand requests may wait here, so two hundred never "
                 "feel the cap.",
        .notice = "two worker processes with one thread each (the third is their master's) could "
                  "hold four thousand requests",
        .processes = { SLOW_API,
                       APP("--model", "green", "--workers", "2", "--async-cores", "2000") },
        .load = LOAD_2000,
        .slots = 4000,
        .tutorial_seconds = 13.164,
        .tutorial_has = "1 worker",
    },
    {
        .name = "green-workers",
        .alias = "async-gevent-gunicorn",
        .title = "a master and 2 workers with green threads",
        .shows = "Prefork and green threads together, as Gunicorn's gevent workers: processes for "
                 "the cores, fibers for the waiting. The master only looks after the workers.",
        .notice = "one thread per process: two workers share the requests, the third process is "
                  "the master, which serves none",
        .processes = { SLOW_API, APP("--model", "green", "--workers", "2") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 17.839,
        .tutorial_has = "1 worker",
    },
    {
        .name = "nginx-http",
        .alias = "nginx-gunicorn",
        .title = "green threads behind nginx, over HTTP",
        .shows = "The real nginx passes each request on over a kept-alive HTTP/1.1 connection and "
                 "adds X-Real-IP and X-Forwarded-*, by which the app knows its clients. Waiting "
                 "costs nginx as little as it costs the app; the joint costs CPU on both sides.",
        .notice = "nginx holds the clients and the app holds their requests; compare the CPU of "
                  "both with nginx-uwsgi",
        .processes = { SLOW_API, APP("--model", "green", "--keep-alive", "75s"), NGINX("http") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "nginx-uwsgi",
        .title = "green threads behind nginx, over the uwsgi protocol",
        .shows = "The same app behind the same nginx, joined by the binary protocol that uWSGI "
                 "made: variables with their sizes instead of text to parse, and a connection per "
                 "request instead of kept ones.",
        .notice = "a packet is cheaper to read than a head of text, but a new connection for each "
                  "request is dearer than kept ones: compare the CPU of both with nginx-http",
        .processes = { SLOW_API, APP("--model", "green", "--protocol", "uwsgi"), NGINX("uwsgi") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "db-blocking",
        .alias = "bonus-psycopg2-gevent",
        .title = "a database call that blocks, in a green thread",
        .shows =
            "Half of the delay is spent in the slow API and half in PostgreSQL, through libpq's "
            "usual calls. The loop cannot see them: while one request waits for the database, "
            "the whole worker stands still.",
        .notice = "the database half passes one request at a time: green threads do not help "
                  "against a call that blocks",
        .processes = { SLOW_API, POSTGRES, APP_DB("blocking") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC, .varied = true },
        .slots = PLAY_SLOTS_UNLIMITED,
        .ideal = PLAY_IDEAL_TURNS,
        .tutorial_seconds = 6.67,
    },
    {
        .name = "db-cooperative",
        .alias = "bonus-psycopg2-gevent",
        .title = "the same database call, made cooperative",
        .shows =
            "The same handler and the same library, through its non-blocking calls: where libpq "
            "would block, the green thread parks. All requests in flight wait for the "
            "database side by side, as long as there are connections (--db-pool, 10).",
        .notice = "the same query as in db-blocking, but all that are in flight wait for it at the "
                  "same time: who waits is the green thread, not the worker",
        .processes = { SLOW_API, POSTGRES, APP_DB("cooperative") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC, .varied = true },
        .slots = PLAY_SLOTS_UNLIMITED,
        .ideal = PLAY_IDEAL_DB_POOL,
        .tutorial_seconds = 3.148,
    },
    {
        .name = "event",
        .title = "one thread, callbacks instead of green threads",
        .shows = "The same work written as callbacks: no stack per request at all, and control "
                 "flow turned inside out. It waits as well as green threads do; what differs is "
                 "what it costs to write, and what it saves to run.",
        .notice = "callbacks wait as well as green threads: compare CPU and memory with green's",
        .processes = { SLOW_API, APP("--model", "event") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "cpu-green",
        .title = "green threads that compute half of the time",
        .shows =
            "Half of the delay is spent in the slow API and half computing. A green thread gives "
            "way only where it waits: while one computes, all others of its worker stand still, "
            "and the other CPUs have nothing to do.",
        .notice =
            "computing passes one request at a time, on one CPU: compare the time and p50 with "
            "cpu-threads",
        .processes = { SLOW_API, APP_CPU("green") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC },
        .slots = PLAY_SLOTS_UNLIMITED,
        .ideal = PLAY_IDEAL_TURNS,
    },
    {
        .name = "cpu-threads",
        .title = "the same computing, on a native thread for each connection",
        .shows =
            "The same handler on native threads. The kernel takes the CPU from a thread that "
            "computes and gives it to another, and it has a thread to run on every CPU: requests "
            "that compute slow each other down, but none stands still.",
        .notice = "as many requests compute at once as there are CPUs, and the time is divided by "
                  "that; where an interpreter lets one thread run at a time it is not",
        .processes = { SLOW_API, APP_CPU("threaded") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC },
        .slots = PLAY_SLOTS_UNLIMITED,
        .ideal = PLAY_IDEAL_CPUS,
    },
    {
        .name = "deadlock",
        .title = "one thread whose handler asks its own server",
        .shows =
            "The handler asks the server that it runs in, as an app does that calls its own API. "
            "The inner request waits in the backlog for the only thread, and that thread waits "
            "for the inner request: nothing moves until --upstream-timeout ends it.",
        .notice = "every request fails with 504 when its call has timed out; a second thread, or a "
                  "green one, would have answered in the delay alone",
        .processes = { {
            .name = "app",
            .program = &program_srv_at_port,
            .args = { "serve", "--bind", "{bind}", "--model", "single", "--upstream",
                      "http://{bind}/", "--upstream-timeout", "500ms", "self" },
            .port_by_hand = 3000,
            .measured = true,
            .status = 504,
        } },
        .load = { .requests = 2, .concurrency = 2, .delay = NSEC_PER_SEC / 5 },
        .slots = PLAY_SLOTS_UNLIMITED,
    },
};
const size_t catalogue_count = ARRAY_LEN(catalogue);
