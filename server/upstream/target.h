/* SPDX-License-Identifier: MIT */
/* The upstream's place, and how it is asked: the URL and what follows from it. */
#ifndef SERVER_UPSTREAM_TARGET_H
#define SERVER_UPSTREAM_TARGET_H

#include "fiber/resolve.h"
#include "http/limits.h"
#include "http/url.h"

struct upstream_config {
    const char *url;            /* http[s]://host[:port][/path]; must outlive the upstream */
    bool bare;                  /* requests say the whole target, and unix:/path is a host, too */
    nsec_t timeout;             /* span of one exchange, from connect to the last byte */
    bool curl;                  /* through libcurl, which https always is */
    const char *ca_path;        /* trusted certificates for https (PEM); NULL: the system's */
    const char *bind;           /* numeric IP address to connect from; NULL: the kernel's choice */
    struct resolve_rules rules; /* for the host's name; its texts must outlive the upstream */
};

struct upstream_target {
    struct http_url url;      /* slices into the configured text */
    struct endpoint endpoint; /* looked up when the address is not numeric */
    struct resolve_rules rules;
    struct address address;
    struct address from; /* len 0: the kernel chooses */
    char host[300];      /* the text for Host */
    nsec_t timeout;      /* span of one exchange */
    struct http_limits limits;
    bool numeric; /* `address` is known, no look-up is needed */
};

/* Checks a URL without touching the network: 0 or -EINVAL with a reason. */
NODISCARD int upstream_target_check(const char *url, struct error *err);

/* Whether this URL can only be asked through libcurl. */
bool upstream_target_wants_curl(const char *url);

/* A source address: 0 or -EINVAL with a reason. */
NODISCARD int upstream_target_check_bind(const char *address, struct error *err);

/* `config` as for upstream_new, whose texts must outlive the target. 0 or -errno with a reason. */
NODISCARD int upstream_target_init(struct upstream_target *t, const struct upstream_config *config,
                                   struct error *err);

/* The source address of connections; NULL leaves it to the kernel. */
const struct address *upstream_target_source(const struct upstream_target *t);

#endif
