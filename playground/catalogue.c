/* SPDX-License-Identifier: MIT */
/* The rows of the catalogue, those of the originals, and the names that select them. */
#include "playground/catalogue.h"
#include "base/attr.h"
#include "playground/program.h"
#include <assert.h>
#include <string.h>

/* The slow API that every playground starts first. */
#define SLOW_API                                                                                  \
    {                                                                                             \
        .name = PLAY_SLOW_API,                                                                    \
        .args = { "slowapi", "--bind", "{bind}", "--control", "{control}" }, .port_by_hand = 4000 \
    }

/* The endpoint of srv serve that tells what its requests wait for. */
#define CONTROL "--control", "{control}"

/* The same over https. */
#define APP_TLS                                                                            \
    {                                                                                      \
        .name = "app",                                                                     \
        .args = { "serve",         "--bind",    "https://{bind}", CONTROL,   "--certfile", \
                  "{certificate}", "--keyfile", "{key}",          "--model", "green",      \
                  "--upstream",    "{slowapi}", "index" },                                 \
        .port_by_hand = 3000, .speaks_tls = true, .measured = true                         \
    }

#define APP(...)                                                                    \
    {                                                                               \
        .name = "app", .args = { "serve",     "--bind",     "{bind}",    CONTROL,   \
                                 __VA_ARGS__, "--upstream", "{slowapi}", "index" }, \
        .port_by_hand = 3000, .measured = true                                      \
    }

/* App `db` in front of both, and the database it asks. */
#define POSTGRES                                                                   \
    {                                                                              \
        .name = "postgres", .program = &program_postgres, .package = "postgresql", \
        .args = { "postgres" }, .port_by_hand = 25432                              \
    }
#define APP_DB(mode)                                                                            \
    {                                                                                           \
        .name = "app", .args = { "serve",     "--bind",     "{bind}",    CONTROL, "--model",    \
                                 "green",     "--upstream", "{slowapi}", "--db",  "{postgres}", \
                                 "--db-mode", mode,         "db" },                             \
        .port_by_hand = 3000, .measured = true                                                  \
    }

/* App `curl`: the job of `index`, through libcurl's blocking call. */
#define APP_CURL(patch)                                                                    \
    {                                                                                      \
        .name = "app", .args = { "serve", "--bind",  "{bind}", CONTROL, "--model",         \
                                 "green", "--patch", patch,    "curl",  "url={slowapi}" }, \
        .port_by_hand = 3000, .measured = true                                             \
    }

/* App `cpu`: half of the delay is computing. */
#define APP_CPU(model)                                                                   \
    {                                                                                    \
        .name = "app", .args = { "serve", "--bind",     "{bind}",    CONTROL, "--model", \
                                 model,   "--upstream", "{slowapi}", "cpu" },            \
        .port_by_hand = 3000, .measured = true                                           \
    }

/* The tutorial's load on all but the servers that do one thing at a time, and theirs. */
#define LOAD_2000 \
    { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC }
#define LOAD_10 \
    { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC }

/* The proxy in front of the app; `protocol` is how it speaks to it. */
#define NGINX(protocol)                                                                     \
    {                                                                                       \
        .name = "nginx", .program = &program_nginx, .args = { "nginx", protocol, "{app}" }, \
        .port_by_hand = 8080                                                                \
    }

#define NGINX_TLS                                                                         \
    {                                                                                     \
        .name = "nginx", .program = &program_nginx, .args = { "nginx", "http", "{app}" }, \
        .port_by_hand = 8443, .speaks_tls = true                                          \
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
        .load = LOAD_10,
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
        .name = "db-patched",
        .alias = "bonus-psycopg2-gevent",
        .title = "the same blocking call, patched",
        .shows =
            "The very code of db-blocking. serve has replaced poll(2) and its like for the "
            "libraries of the application: where libpq sleeps in the kernel, the call parks the "
            "green thread, and libpq does not know it. Only the switch differs, as with gevent's "
            "monkey.patch_all().",
        .notice = "the code of db-blocking with the time of db-cooperative, which was written for "
                  "it: compare the CPU with both",
        .processes = { SLOW_API, POSTGRES, APP_DB("patched") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC, .varied = true },
        .slots = PLAY_SLOTS_UNLIMITED,
        .ideal = PLAY_IDEAL_DB_POOL,
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
        .name = "curl-blocking",
        .title = "a library that blocks, in a green thread",
        .shows = "The same job as green's, but the handler calls curl_easy_perform, as any C "
                 "program does. libcurl waits in poll(2), and with it waits the only thread: "
                 "green threads cannot help code that does not know of them.",
        .notice = "one thread, one call at a time, as in single: the library has stopped the loop",
        .processes = { SLOW_API, APP_CURL("off") },
        .load = LOAD_10,
        .slots = 1,
    },
    {
        .name = "curl-patched",
        .title = "the same library, patched",
        .shows = "The same program with the same handler and the same library; --patch on is all "
                 "that differs. poll(2) and its like are now serve's: they park the green thread, "
                 "and all calls wait side by side.",
        .notice = "not a line of the handler differs from curl-blocking: compare calls at once, "
                  "and the time with that of curl-blocking",
        .processes = { SLOW_API, APP_CURL("on") },
        .load = LOAD_10,
        .slots = PLAY_SLOTS_UNLIMITED,
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
        .name = "evhttp",
        .title = "libevent's own HTTP server and client, as a reference",
        .shows = "The same app as callbacks on evhttp and bufferevents, straight from the library "
                 "that drives every loop here. One thread holds all requests in flight, as under "
                 "event and green; what differs is the work per request, and which promises hold.",
        .notice =
            "libevent's own server waits as well as ours: compare its CPU and memory with event's "
            "and green's, and its promises in docs/models.md",
        .processes = { SLOW_API, APP("--model", "evhttp") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "green-tls",
        .title = "green threads that speak https",
        .shows =
            "The app of green, which encrypts in the same thread. A connection begins with a "
            "handshake, whose arithmetic costs many times what the request does; within it TLS "
            "is cheap, so clients that keep their connections (-k) hardly pay for it.",
        .notice = "each connection begins with a handshake, and each request with a connection "
                  "unless they are kept (-k): compare the CPU with green's in both ways",
        .processes = { SLOW_API, APP_TLS },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "nginx-tls",
        .title = "green threads over HTTP behind nginx, which speaks https",
        .shows = "nginx has the certificate and makes the handshakes; to the app it speaks plain "
                 "HTTP over connections that it keeps, and says https in X-Forwarded-Proto. The "
                 "app's CPU is that of nginx-http.",
        .notice =
            "nginx pays for TLS, and the app does not: compare the app's CPU with green-tls's, "
            "and nginx's with nginx-http's",
        .processes = { SLOW_API, APP("--model", "green", "--keep-alive", "75s"), NGINX_TLS },
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
        .load = LOAD_10,
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
        .load = LOAD_10,
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
            .args = { "serve", "--bind", "{bind}", "--model", "single", "--upstream",
                      "http://{bind}/", "--upstream-timeout", "500ms", "self" },
            .port_by_hand = 3000,
            .names_port = true,
            .measured = true,
            .status = 504,
        } },
        .load = { .requests = 2, .concurrency = 2, .delay = NSEC_PER_SEC / 5 },
        .slots = PLAY_SLOTS_UNLIMITED,
    },
};
const size_t catalogue_count = ARRAY_LEN(catalogue);

/* --- the originals: the same job as one of ours, the same load -------------------- */

#define SHOWS                                                                         \
    "The original server with the same small app in Python, loaded by the same load " \
    "generator. What it needs beyond ours is the interpreter and the framework."
#define NOTICE(row) "the original that " row " is named after: compare CPU, memory and threads"

/* Packages that the apps of scripts/peers/ import. */
#define FLASK           "python3-flask python3-requests"
#define GEVENT          FLASK " python3-gevent"
#define GUNICORN        FLASK " gunicorn"
#define GUNICORN_GEVENT GEVENT " gunicorn"
#define UWSGI           FLASK " uwsgi-core uwsgi-plugin-python3"
#define UWSGI_GEVENT    GEVENT " uwsgi-core uwsgi-plugin-python3 uwsgi-plugin-gevent-python3"

#define PSYCOPG2 UWSGI_GEVENT " python3-psycopg2 python3-psycogreen"

#define SERVER(packages, ...)                                                                  \
    {                                                                                          \
        .name = "app", .program = &program_peer, .package = packages, .args = { __VA_ARGS__ }, \
        .port_by_hand = 3000, .measured = true                                                 \
    }

#define GUNICORN_WORDS "gunicorn", "--log-level", "warning", "--backlog", "2048", "--bind", "{bind}"

/* uWSGI's http-socket closes after each answer without saying so, which counts as an error. */
#define UWSGI_WORDS(app)                                                                          \
    "uwsgi", "--plugin", "python3", "--master", "--need-app", "--die-on-term", "--no-orphans",    \
        "--disable-logging", "--listen", "2048", "--add-header", "Connection: close", "--module", \
        app

const struct playground peers[] = {
    {
        .name = "flask-single",
        .peer_of = "single",
        .alias = "sync-devserver",
        .title = "Flask's development server without threads",
        .shows = SHOWS,
        .notice = NOTICE("single"),
        .processes = { SLOW_API, SERVER(FLASK, "/usr/bin/python3", "-m", "flask", "run",
                                        "--without-threads", "--port", "{port}") },
        .load = LOAD_10,
        .slots = 1,
        .tutorial_seconds = 10.139,
    },
    {
        .name = "flask-threaded",
        .peer_of = "threaded",
        .alias = "sync-devserver",
        .title = "Flask's development server, a thread per request",
        .shows = SHOWS,
        .notice = NOTICE("threaded"),
        .processes = { SLOW_API, SERVER(FLASK, "/usr/bin/python3", "-m", "flask", "run",
                                        "--with-threads", "--port", "{port}") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 16.04,
    },
    {
        .name = "uwsgi-threads",
        .peer_of = "pool-eager",
        .alias = "sync-uwsgi",
        .title = "uWSGI, 4 workers with 50 threads each",
        .shows = SHOWS,
        .notice = NOTICE("pool-eager"),
        .processes = { SLOW_API, SERVER(UWSGI, UWSGI_WORDS("app:app"), "--http-socket", "{bind}",
                                        "--workers", "4", "--threads", "50") },
        .load = LOAD_2000,
        .slots = 200,
        .tutorial_seconds = 12.685,
    },
    {
        .name = "gunicorn-threads",
        .peer_of = "pool-lazy",
        .alias = "sync-gunicorn",
        .title = "Gunicorn, 4 workers with up to 50 threads each",
        .shows = SHOWS,
        .notice = NOTICE("pool-lazy"),
        .processes = { SLOW_API, SERVER(GUNICORN, GUNICORN_WORDS, "--worker-class", "gthread",
                                        "--workers", "4", "--threads", "50", "app:app") },
        .load = LOAD_2000,
        .slots = 200,
        .tutorial_seconds = 13.427,
    },
    {
        .name = "gevent-pywsgi",
        .peer_of = "green",
        .alias = "async-gevent-pywsgi",
        .title = "gevent.pywsgi, one process",
        .shows = SHOWS,
        .notice = NOTICE("green"),
        .processes = { SLOW_API, SERVER(GEVENT, "/usr/bin/python3", "pywsgi.py") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 17.536,
    },
    {
        .name = "uwsgi-gevent",
        .peer_of = "green-cores",
        .alias = "async-gevent-uwsgi",
        .title = "uWSGI with gevent, 2 workers of 2000 cores",
        .shows = SHOWS,
        .notice = NOTICE("green-cores"),
        .processes = { SLOW_API,
                       SERVER(UWSGI_GEVENT, UWSGI_WORDS("patched:app"), "--http-socket", "{bind}",
                              "--plugin", "gevent_python3", "--gevent", "2000", "--workers", "2") },
        .load = LOAD_2000,
        .slots = 4000,
        .tutorial_seconds = 13.164,
        .tutorial_has = "1 worker",
    },
    {
        .name = "gunicorn-gevent",
        .peer_of = "green-workers",
        .alias = "async-gevent-gunicorn",
        .title = "Gunicorn with 2 gevent workers",
        .shows = SHOWS,
        .notice = NOTICE("green-workers"),
        .processes = { SLOW_API,
                       SERVER(GUNICORN_GEVENT, GUNICORN_WORDS, "--worker-class", "gevent",
                              "--workers", "2", "--worker-connections", "4000", "patched:app") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 17.839,
        .tutorial_has = "1 worker",
    },
    {
        .name = "gunicorn-nginx",
        .peer_of = "nginx-http",
        .alias = "nginx-gunicorn",
        .title = "Gunicorn with a gevent worker behind nginx, over HTTP",
        .shows = SHOWS,
        .notice = NOTICE("nginx-http"),
        .processes = { SLOW_API,
                       SERVER(GUNICORN_GEVENT, GUNICORN_WORDS, "--worker-class", "gevent",
                              "--worker-connections", "4000", "--keep-alive", "75", "patched:app"),
                       NGINX("http") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "uwsgi-nginx",
        .peer_of = "nginx-uwsgi",
        .alias = "nginx-uwsgi",
        .title = "uWSGI with gevent behind nginx, over the uwsgi protocol",
        .shows = SHOWS,
        .notice = NOTICE("nginx-uwsgi"),
        .processes = { SLOW_API,
                       SERVER(UWSGI_GEVENT, UWSGI_WORDS("patched:app"), "--uwsgi-socket", "{bind}",
                              "--plugin", "gevent_python3", "--gevent", "2000"),
                       NGINX("uwsgi") },
        .load = LOAD_2000,
        .slots = PLAY_SLOTS_UNLIMITED,
    },
    {
        .name = "psycopg2",
        .peer_of = "db-blocking",
        .alias = "bonus-psycopg2-gevent",
        .title = "psycopg2 under gevent, as it is",
        .shows = SHOWS,
        .notice = NOTICE("db-blocking"),
        .processes = { SLOW_API, POSTGRES,
                       SERVER(PSYCOPG2, UWSGI_WORDS("database:app"), "--http-socket", "{bind}",
                              "--plugin", "gevent_python3", "--gevent", "2000") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC, .varied = true },
        .slots = PLAY_SLOTS_UNLIMITED,
        .ideal = PLAY_IDEAL_TURNS,
        .tutorial_seconds = 6.67,
    },
    {
        .name = "psycogreen",
        .peer_of = "db-cooperative",
        .alias = "bonus-psycopg2-gevent",
        .title = "psycopg2 under gevent with psycogreen",
        .shows = SHOWS,
        .notice = NOTICE("db-cooperative"),
        .processes = { SLOW_API, POSTGRES,
                       SERVER(PSYCOPG2, UWSGI_WORDS("database_patched:app"), "--http-socket",
                              "{bind}", "--plugin", "gevent_python3", "--gevent", "2000") },
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC, .varied = true },
        .slots = PLAY_SLOTS_UNLIMITED,
        .tutorial_seconds = 3.148,
    },
};
const size_t peer_count = ARRAY_LEN(peers);

/* --- names -------------------- */

static bool matches(const struct playground *row, const char *word) {
    return strcmp(word, PLAY_ALL) == 0 || strcmp(word, row->name) == 0 ||
           (row->alias != NULL && strcmp(word, row->alias) == 0);
}

#define WORD_MAX 40 /* longer words are near nothing */

/* Levenshtein distance with two rows; WORD_MAX when either word is too long. */
static size_t distance(const char *a, const char *b) {
    size_t a_len = strlen(a), b_len = strlen(b);
    if (a_len >= WORD_MAX || b_len >= WORD_MAX)
        return WORD_MAX;

    size_t previous[WORD_MAX], current[WORD_MAX];
    for (size_t j = 0; j <= b_len; j++)
        previous[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        current[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = previous[j - 1] + (a[i - 1] != b[j - 1]);
            if (previous[j] + 1 < best)
                best = previous[j] + 1;
            if (current[j - 1] + 1 < best)
                best = current[j - 1] + 1;
            current[j] = best;
        }
        memcpy(previous, current, sizeof(previous));
    }
    return previous[b_len];
}

static void consider(const char *word, const char *candidate, const char **best,
                     size_t *best_distance) {
    if (candidate == NULL)
        return;
    size_t d = strncmp(candidate, word, strlen(word)) == 0 ? 0 : distance(word, candidate);
    if (d < *best_distance) {
        *best_distance = d;
        *best = candidate;
    }
}

static const char *closest_name(const char *word) {
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* about a third of the letters may be wrong */
    if (*word == '\0')
        return NULL;
    for (size_t i = 0; i < catalogue_count; i++) {
        consider(word, catalogue[i].name, &best, &best_distance);
        consider(word, catalogue[i].alias, &best, &best_distance);
    }
    for (size_t i = 0; i < peer_count; i++)
        consider(word, peers[i].name, &best, &best_distance);
    return best;
}

static_assert(ARRAY_LEN(catalogue) < CATALOGUE_FOUND_MAX, "all rows of ours");

size_t catalogue_find(const char *word, const struct playground *found[static CATALOGUE_FOUND_MAX],
                      const char **ret_closest) {
    size_t count = 0;
    for (size_t i = 0; i < catalogue_count; i++)
        if (matches(&catalogue[i], word))
            found[count++] = &catalogue[i];
    for (size_t i = 0; i < peer_count; i++)
        if (strcmp(word, peers[i].name) == 0)
            found[count++] = &peers[i];
    *ret_closest = count == 0 ? closest_name(word) : NULL;
    return count;
}
