/* SPDX-License-Identifier: MIT */
/* The configuration of `srv serve`: filled by cmd/, constant from then on. */
#ifndef SERVER_CONFIG_H
#define SERVER_CONFIG_H

#include "base/clock.h"
#include "base/error.h"
#include "base/option.h"
#include "http/limits.h"
#include "net/cidr.h"
#include "net/listeners.h"
#include "net/tls_files.h"
#include "proc/privileges.h"
#include <stdbool.h>

struct app;
struct worker;

/* A concurrency model: how many requests wait at once, and what waits for them. */
struct model {
    const char *name;
    const char *summary; /* one sentence for --help: who waits where */
    /* Serves until told to stop. 0 after a graceful stop; -errno with a reason when it cannot
     * start. */
    int (*run)(struct worker *worker, struct error *err);
};

/* A pool makes its threads on demand, or all at start. */
enum spawn { SPAWN_LAZY, SPAWN_EAGER };

/* The client that speaks to the upstream: our own, or libcurl. */
enum upstream_client { UPSTREAM_NATIVE, UPSTREAM_CURL };

/* The protocol of clients; https is http within TLS. */
enum protocol { PROTOCOL_HTTP, PROTOCOL_UWSGI, PROTOCOL_HTTPS };

/* Statements are prepared as long as that works, or never. */
enum db_prepare { DB_PREPARE_AUTO, DB_PREPARE_OFF };

/* Fields with an underscore in their names are left out, or refused. */
enum header_map { HEADER_MAP_DROP, HEADER_MAP_REFUSE };

/* Whether TCP connections wait in the kernel for their first bytes; AUTO: while they have them. */
enum defer_accept { DEFER_ACCEPT_AUTO, DEFER_ACCEPT_ON, DEFER_ACCEPT_OFF };

/* A client that closes its sending side while its request waits is probed, gone, or waits on. */
enum half_closing { HALF_CLOSING_ASK, HALF_CLOSING_GONE, HALF_CLOSING_WAIT };

/* Waits of libraries park the fiber that runs them: with objects, always or never; or nothing is
 * served, and a report says which would. */
enum patching { PATCHING_AUTO, PATCHING_ON, PATCHING_OFF, PATCHING_REPORT };

struct access_log_config {
    const char *path;   /* NULL: no access log; "-": standard output */
    const char *format; /* atoms, or "json" */
    nsec_t slow;        /* only answers that took at least this; 0: all */
};

struct serve_config {
    struct option_strings binds;      /* ADDR as the user wrote them, without http:// and so on */
    uint8_t protocols[LISTENERS_MAX]; /* enum protocol, of each bind */
    struct tls_files tls;             /* for those that speak https; no certificate: none does */
    int defer_accept;                 /* enum defer_accept */
    bool proxy_protocol;              /* connections begin with a PROXY header */
    int header_map;                   /* enum header_map */
    struct cidr_list forwarded_allow, uwsgi_allow;
    const struct model *model;
    const struct app *app;
    struct option_strings app_config; /* KEY=VALUE, for an object */
    int patch;                        /* enum patching */
    bool reload;                      /* take new code when a file of the app changes */
    struct access_log_config access_log;
    bool server_timing;                        /* answers tell where their time went */
    const char *health_path;                   /* NULL: none */
    const char *pid_path;                      /* NULL: none */
    char *const *argv;                         /* for an upgraded program, too */
    const char *user, *group;                  /* to become once everything is open; NULL: stay */
    struct privileges privileges;              /* ids of `user` and `group`, looked up */
    int64_t max_requests, max_requests_jitter; /* answers of one worker; 0 = no limit */
    const char *upstream_url;
    bool upstream_is_https;                 /* upstream_url is one of https */
    int upstream_client;                    /* enum upstream_client */
    const char *upstream_ca;                /* NULL: the system's certificates */
    const char *upstream_cert;              /* ours, for those who ask; NULL: none */
    const char *upstream_key;               /* NULL: it stands with the certificate */
    bool upstream_insecure;                 /* any certificate will do */
    const char *control;                    /* ADDR of the control endpoint, or NULL */
    const char *request_id_header;          /* "": ids are neither taken nor sent */
    struct option_strings control_hosts;    /* names by which it may be asked */
    bool control_queries;                   /* /requests shows what comes after '?' */
    struct option_strings upstream_resolve; /* HOST:PORT:ADDRESS[,...], checked */
    enum upstream_family { UPSTREAM_ANY, UPSTREAM_IPV4, UPSTREAM_IPV6 } upstream_family;
    struct option_strings upstream_binds; /* source addresses, one per worker in turn */

    int64_t async_cores;  /* requests in progress of a green or event worker; 0 = no limit */
    int64_t max_queue;    /* requests of one worker that wait for a slot; -1 = no limit */
    nsec_t queue_timeout; /* span of each wait: slot, upstream, database; 0 = no limit */
    int64_t threads;      /* per pool worker */
    int spawn;            /* enum spawn */
    int64_t max_threads;  /* limit of the threaded model; 0 = none */
    int64_t workers;      /* 0: serve in this process, without a master */
    int64_t backlog;

    nsec_t header_timeout, body_timeout, send_timeout; /* spans */
    int half_close;                                    /* enum half_closing */
    uint64_t body_rate; /* bytes per second of a body beyond body_timeout, at least; 0 = any */
    nsec_t keep_alive;  /* span; 0 = off */
    int64_t keep_alive_requests; /* per connection; 0 = no limit */
    nsec_t request_timeout;      /* span, from the whole request to its answer; 0 = no limit */
    nsec_t graceful_timeout;     /* span */
    nsec_t graceful_delay;       /* span from TERM to the begin of the stop */
    nsec_t timeout;          /* span without progress of a worker, then it is killed; 0 = never */
    nsec_t loop_lag_warn;    /* span of a turn of a loop that is worth a warning; 0 = none is */
    int64_t upstream_max;    /* calls in progress of one worker; 0 = no limit */
    nsec_t upstream_timeout; /* span, connect to last byte of one upstream exchange */
    struct http_limits limits;

    struct {
        const char *conninfo;      /* "": libpq's environment decides */
        int mode;                  /* enum db_mode */
        int64_t pool;              /* connections of one worker */
        bool per_request;          /* a new connection for each statement */
        int prepare;               /* enum db_prepare */
        const char *reset;         /* SQL that runs when a connection is given back; "": none */
        uint64_t result_bytes_max; /* per result */
        nsec_t timeout;            /* span, connecting and running one statement */
        nsec_t idle, lifetime;     /* spans of a connection; 0 = no limit */
    } db;
};

#endif
