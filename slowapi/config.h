/* SPDX-License-Identifier: MIT */
/* The decisions of the command line; constant from then on. */
#ifndef SLOWAPI_CONFIG_H
#define SLOWAPI_CONFIG_H

#include "base/log.h"
#include "base/option.h"
#include "net/listeners.h"
#include "net/tls_files.h"

enum half_close { HALF_CLOSE_GONE, HALF_CLOSE_WAIT };

struct slowapi_config {
    struct option_strings binds;            /* well-formed addresses */
    const char *bind_params[LISTENERS_MAX]; /* parameters of requests that come in there; or NULL */
    bool secure[LISTENERS_MAX];             /* addresses that speak TLS */
    struct option_strings tcp;              /* proxies, as relay/table.h checks them */
    struct tls_files tls;                   /* certificates; none: they are made */
    const char *ca_out;                     /* a file for the authority of those; or NULL */
    const char *delay;                      /* a law, of requests to `/` that do not say; or NULL */
    struct option_strings params;           /* parameters of all requests */
    const char *profile;                    /* name of a profile for all requests; or NULL */
    const char *pause;                      /* value of `pause` for all requests; or NULL */
    const char *control;                    /* an address; or NULL */
    struct option_strings control_hosts;    /* names by which it may be asked */
    const char *upstream;                   /* the URL of a service to stand in front of; or NULL */
    const char *upstream_ca;                /* a file of authorities; NULL: the system's */
    const char *rules;                      /* a file; or NULL */
    struct option_strings from;             /* [NAME=]FILE of recorded laws */
    bool from_status;                       /* their statuses come again, too */
    const char *files;                      /* the folder of body-file; or NULL */
    const char *access_log;                 /* a file, `-` is stdout; or NULL */
    nsec_t delay_max;                       /* longest exchange; 0: any */
    int64_t seed;                           /* 0: another one each time */
    int64_t workers, backlog;
    int64_t sequences, queues; /* places in the tables of shared.h */
    int64_t journal;           /* requests that it keeps; 0: there is none */
    nsec_t keep_alive;         /* longest idle span of a connection; 0: one request each */
    nsec_t header_timeout, graceful_timeout;
    nsec_t send_timeout; /* patience with a client that takes nothing of its answer; 0: any */
    enum half_close half_close; /* meaning of a FIN while a request waits */
    nsec_t upstream_connect_timeout, upstream_timeout, upstream_idle_timeout; /* 0: any */
    nsec_t upstream_keep_alive; /* span of idle connections; 0: one request each */
    bool upstream_insecure;     /* any certificate will do */
    bool preserves_host;        /* the upstream gets the Host of the client */
    bool tells_forwarded;       /* X-Forwarded-For, -Proto and -Host are sent */
    bool lenient;               /* heads that are not quite in order are passed on */
    bool strict_params;         /* names that are no parameters are refused */
    bool truth;                 /* truth headers in plain answers too */
    enum log_level log_level;
};

#endif
