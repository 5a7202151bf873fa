/* SPDX-License-Identifier: MIT */
/* Cancel requests of a database, made one after the other on a thread of their own: they block, and
 * nobody waits for them. */
#ifndef SERVER_UPSTREAM_DB_CANCELS_H
#define SERVER_UPSTREAM_DB_CANCELS_H

#include "base/attr.h"
#include "base/clock.h"

struct db_cancels;

/* NULL when out of memory. */
NODISCARD struct db_cancels *db_cancels_new(void);

/* Takes a request of a connection (a db_conn's), from any thread; `cancels` is a db_cancels. */
void db_cancels_add(void *cancels, void *request);

/* Lets them finish until then. Requests that still wait after that are dropped, and one that still
 * runs is left to its thread, which cleans up. NULL-safe. */
void db_cancels_free(struct db_cancels *c, nsec_t until);

#endif
