/* SPDX-License-Identifier: MIT */
/* Paths that ask for credentials: basic (RFC 7617), bearer (RFC 6750) and digest (RFC 7616). Each
 * fills in an answer, as struct route says; the argument names who is let in. */
#ifndef SLOWAPI_AUTH_H
#define SLOWAPI_AUTH_H

#include "slowapi/reply.h"
#include "slowapi/request.h"

NODISCARD int auth_basic(struct reply *reply, const struct spec *spec,
                         const struct slow_request *request, struct error *why);

/* Does as if there were no such path, unless the credentials are right. */
NODISCARD int auth_hidden(struct reply *reply, const struct spec *spec,
                          const struct slow_request *request, struct error *why);

NODISCARD int auth_bearer(struct reply *reply, const struct spec *spec,
                          const struct slow_request *request, struct error *why);
NODISCARD int auth_digest(struct reply *reply, const struct spec *spec,
                          const struct slow_request *request, struct error *why);

#endif
