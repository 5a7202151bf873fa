/* SPDX-License-Identifier: MIT */
/* The same GETs as server/upstream.c through libcurl: https, HTTP/2 where offered, proxies from the
 * environment. Written over `io` like everything else: it parks a fiber or blocks a thread. */
#ifndef SERVER_UPSTREAM_CURL_H
#define SERVER_UPSTREAM_CURL_H

#include "server/upstream.h"

struct curl_client;

/* `url`, and the texts of `config`, must outlive the client. Call the first one before there are
 * threads (curl_global_init(3)). NULL when out of memory. */
NODISCARD struct curl_client *curl_client_new(const char *url,
                                              const struct upstream_config *config);

/* No request may be running; before the io of the last requests is freed. */
void curl_client_free(struct curl_client *client);

/* As upstream_get, with an absolute deadline. Certificates are checked. Connections are kept: each
 * request takes the handle that was given back last, and with it that handle's connection. */
NODISCARD int curl_client_get(struct curl_client *client, struct io *io, struct arena *arena,
                              struct slice suffix, nsec_t deadline, struct upstream_answer *ret,
                              const char **ret_why);

#endif
