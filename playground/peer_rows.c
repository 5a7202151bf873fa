/* SPDX-License-Identifier: MIT */
/* The originals, as rows: the same job as one of ours, the same load. */
#include "base/attr.h"
#include "playground/nginx.h"
#include "playground/peer.h"
#include "playground/postgres.h"

#define SHOWS                                                                         \
    "The original server with the same small app in Python, loaded by the same load " \
    "generator. What it needs beyond ours is the interpreter and the framework."
#define NOTICE(row) "the original that " row " is named after: compare CPU, memory and threads"

/* What the apps of scripts/peers/ import. */
#define FLASK           "python3-flask python3-requests"
#define GEVENT          FLASK " python3-gevent"
#define GUNICORN        FLASK " gunicorn"
#define GUNICORN_GEVENT GEVENT " gunicorn"
#define UWSGI           FLASK " uwsgi-core uwsgi-plugin-python3"
#define UWSGI_GEVENT    GEVENT " uwsgi-core uwsgi-plugin-python3 uwsgi-plugin-gevent-python3"

#define PSYCOPG2 UWSGI_GEVENT " python3-psycopg2 python3-psycogreen"

#define SLOW_API                                                                                \
    {                                                                                           \
        .name = "slowapi", .args = { "slowapi", "--bind", "{bind}", "--control", "{control}" }, \
        .port_by_hand = 4000                                                                    \
    }

#define SERVER(packages, ...)                                                                  \
    {                                                                                          \
        .name = "app", .program = &program_peer, .package = packages, .args = { __VA_ARGS__ }, \
        .port_by_hand = 3000, .measured = true                                                 \
    }

#define NGINX(protocol)                                                                     \
    {                                                                                       \
        .name = "nginx", .program = &program_nginx, .args = { "nginx", protocol, "{app}" }, \
        .port_by_hand = 8080                                                                \
    }

#define POSTGRES                                                                   \
    {                                                                              \
        .name = "postgres", .program = &program_postgres, .package = "postgresql", \
        .args = { "postgres" }, .port_by_hand = 25432                              \
    }

#define GUNICORN_WORDS "gunicorn", "--log-level", "warning", "--backlog", "2048", "--bind", "{bind}"

/* Its http-socket closes after each answer without saying so, which counts as an error. */
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
        .load = { .requests = 10, .concurrency = 5, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
        .load = { .requests = 2000, .concurrency = 200, .delay = NSEC_PER_SEC },
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
