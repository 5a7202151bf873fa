/* SPDX-License-Identifier: MIT */
/* The atoms of the access log's format. Private to access_log.c. */
#ifndef SERVER_ACCESS_ATOMS_H
#define SERVER_ACCESS_ATOMS_H

#include "base/buf.h"
#include "base/clock.h"

struct session;

/* Appends its value; `-` when there is none. `name` is that of %({name}i)s. 0 or -errno as
 * buf_append. */
typedef int access_atom_fn(struct buf *out, const struct session *s, nsec_t now, struct slice name);

/* NULL when there is none with that name. */
access_atom_fn *access_atom_find(struct slice name);

access_atom_fn access_atom_field, access_atom_variable;

/* All of it as one JSON object and a newline. */
NODISCARD int access_json(struct buf *out, const struct session *s, nsec_t now);

#endif
