/* SPDX-License-Identifier: MIT */
/* The same GETs as server/upstream/upstream.c through libcurl: https, HTTP/2 where offered, proxies
 * from the environment. Written over `io` like everything else: it parks a fiber or blocks a
 * thread. */
#ifndef SERVER_UPSTREAM_CURL_H
#define SERVER_UPSTREAM_CURL_H

#include "server/upstream/curl_lane.h"

struct upstream_curl;

struct upstream_curl_config {
    struct curl_lane_config lane; /* what it points to must outlive the client */
    unsigned idle_count_max;      /* idle connections kept; the oldest leave */
    nsec_t idle_span_max;         /* close after this long idle (a span) */
};

/* Call the first one before there are threads (curl_global_init(3)). NULL when out of memory. */
NODISCARD struct upstream_curl *upstream_curl_new(const struct upstream_curl_config *config);

/* No request may be running; before the io of the last requests is freed. */
void upstream_curl_free(struct upstream_curl *client);

/* As upstream_get, with an absolute deadline, and as strict. Certificates are checked. Connections
 * are kept as in net/idle_pool.h: each request takes the one that was given back last,
 * nothing having come on it meanwhile, and the oldest leave first. */
NODISCARD int upstream_curl_get(struct upstream_curl *client, struct io *io, struct arena *arena,
                                struct slice suffix, nsec_t deadline, struct upstream_answer *ret,
                                const char **ret_why);

#endif
