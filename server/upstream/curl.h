/* SPDX-License-Identifier: MIT */
/* Requests to the upstream through libcurl: https, HTTP/2 where offered, proxies from the
 * environment. Written over `io`: a call parks a fiber or blocks a thread. */
#ifndef SERVER_UPSTREAM_CURL_H
#define SERVER_UPSTREAM_CURL_H

#include "server/upstream/exchange.h"

struct upstream_curl;

struct upstream_curl_config {
    const struct upstream_target *target; /* must outlive the client, as all that is pointed to */
    struct slice url;                     /* to which a suffix is appended */
    const char *ca_path;                  /* NULL: the system's */
    const char *cert_path, *key_path;     /* NULL: none; the key may stand with the certificate */
    bool insecure;                        /* certificates are not checked */
    const char *bind;                     /* NULL: the kernel's choice */
    struct io_fiber *fiber_io;            /* NULL: shared between threads */
    unsigned idle_count_max;              /* idle connections kept; the oldest leave */
    nsec_t idle_span_max;                 /* an idle one is closed after this long */
};

/* Call the first one before there are threads (curl_global_init(3)). NULL when out of memory. */
NODISCARD struct upstream_curl *upstream_curl_new(const struct upstream_curl_config *config);

/* No request may be running; before the io of the last requests is freed. */
void upstream_curl_free(struct upstream_curl *client);

/* One request, with an absolute deadline, otherwise as upstream_ask, and as strict. Certificates
 * are checked. A look-up that has not ended with the call goes on behind its back, in a thread of
 * libcurl's that cleans up after itself. */
NODISCARD int upstream_curl_ask(struct upstream_curl *client, struct io *io, struct arena *arena,
                                const struct upstream_request *request, nsec_t deadline,
                                struct upstream_answer *ret, const char **ret_why);

#endif
