/* SPDX-License-Identifier: MIT */
/* The body of a request whose handler runs before it has come: SRV_STREAM_BODY. */
#ifndef SERVER_BODY_H
#define SERVER_BODY_H

#include "server/conn/session.h"

/* Takes at most `size` (1 or more) decoded bytes of what was received; NULL throws them away. Their
 * number; 0 at the end of the body; -EAGAIN: more has to be received; -ECANCELED: the client has
 * closed its side in the middle; -EBADMSG with the parser's reason. */
NODISCARD ssize_t body_take(struct session *s, void *data, size_t size, const char **ret_why);

/* Throws away what is left of a body and at hand, or a call of recv(2) away, without waiting: what
 * is small keeps its connection so. */
void body_skip(struct session *s);

#endif
