/* SPDX-License-Identifier: MIT */
/* The server to load: the URL taken apart, its addresses, and the sockets that connect to them. */
#ifndef LOADGEN_TARGET_H
#define LOADGEN_TARGET_H

#include "fiber/resolve.h"
#include "http/url.h"
#include "loadgen/answers.h"
#include "loadgen/config.h"

struct target {
    struct http_url url;        /* slices into the text that was parsed */
    char host[300];             /* for people: without brackets */
    char authority[320];        /* for Host: brackets, and the port unless it is the usual */
    struct endpoint connect_to; /* the host itself, a proxy, or a unix socket */
    bool is_tcp, is_tls, through_proxy;
    char peer[300]; /* the one we connect to, for people: "proxy:3128", a path; empty: the host */
    struct resolved addresses; /* after target_resolve */
    nsec_t resolve_span;       /* duration of the look-up */
};

/* Only http:// (or no scheme), https:// or unix:/socket[:/path], a host, no user information.
 * `text` must outlive the target. 0 or -EINVAL with the reason. */
NODISCARD int target_parse(struct target *t, const char *text, struct error *err);

/* Connects to a proxy (HOST[:PORT], port 80) or a unix socket instead; NULL: not that one. Both
 * must outlive the target. 0 or -EINVAL with the reason. */
NODISCARD int target_via(struct target *t, const char *proxy, const char *unix_path,
                         struct error *err);

/* --resolve, -4 and -6 fit the targets of a load, one or several. 0 or -EINVAL with the reason. */
NODISCARD int target_check(const struct target *const *targets, size_t count,
                           const struct loadgen_config *c, struct error *err);

/* Looks the name up, under --resolve, -4 and -6; blocks for at most the time-out of a request. 0 or
 * -errno with the reason. */
NODISCARD int target_resolve(struct target *t, const struct loadgen_config *c, struct error *err);

/* The turns of a worker: among the addresses of the target, and among those to connect from. */
struct target_dialer {
    const struct loadgen_config *config;
    const struct target *target;
    const struct loadgen_sources *sources; /* NULL: the system chooses */
    struct answers_address *addresses;     /* tell which of the target's are left out */
    size_t request_bytes;                  /* length of one request */
    struct share share;
    size_t turn, source; /* connections begun; source addresses taken */
};

/* Begins to connect to the next address, *ret_address of the target's. Returns the descriptor,
 * which does not block, or -errno. */
NODISCARD int target_dial(struct target_dialer *d, uint8_t *ret_address);

/* Leaves out from now on an address to which no connection was ever made, unless it is the last
 * one: a name may list a family that its server does not listen on. Whether it is left out. */
bool target_leave_out(struct target_dialer *d, uint8_t address, int error);

#endif
