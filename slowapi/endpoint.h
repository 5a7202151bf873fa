/* SPDX-License-Identifier: MIT */
/* The paths of httpbin and go-httpbin that are neither slow nor faulty by themselves: each fills in
 * an answer, as struct route says. */
#ifndef SLOWAPI_ENDPOINT_H
#define SLOWAPI_ENDPOINT_H

#include "slowapi/reply.h"
#include "slowapi/request.h"

#define ENDPOINT_OF(name)                                                       \
    NODISCARD int endpoint_##name(struct reply *reply, const struct spec *spec, \
                                  const struct slow_request *request, struct error *why)

ENDPOINT_OF(anything);
ENDPOINT_OF(headers);
ENDPOINT_OF(get);
ENDPOINT_OF(ip);
ENDPOINT_OF(user_agent);
ENDPOINT_OF(echo);
ENDPOINT_OF(dump);
ENDPOINT_OF(uuid);
ENDPOINT_OF(hostname);
ENDPOINT_OF(page);
ENDPOINT_OF(image);
ENDPOINT_OF(links);
ENDPOINT_OF(base64_decode);
ENDPOINT_OF(base64_encode);
ENDPOINT_OF(gzip);
ENDPOINT_OF(deflate);
ENDPOINT_OF(brotli);
ENDPOINT_OF(redirect);
ENDPOINT_OF(relative_redirect);
ENDPOINT_OF(absolute_redirect);
ENDPOINT_OF(redirect_to);
ENDPOINT_OF(response_headers);
ENDPOINT_OF(trailers);
ENDPOINT_OF(cache);
ENDPOINT_OF(cache_for);
ENDPOINT_OF(etag);
ENDPOINT_OF(cookies);
ENDPOINT_OF(cookies_set);
ENDPOINT_OF(cookies_delete);
ENDPOINT_OF(cookies_set_one);
ENDPOINT_OF(websocket);

#undef ENDPOINT_OF

#endif
