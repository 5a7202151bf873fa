/* SPDX-License-Identifier: MIT */
/* A private PostgreSQL for one run: made in a temporary folder, on loopback alone, with no
 * durability, and gone with the run; what the user has set for libpq (PGSSLMODE, ...) is not for
 * it, and is taken out of the environment. When PGHOST, PGHOSTADDR or PGSERVICE is set (`srv play
 * --db` sets them), the server that they name is used instead, and nothing is made. */
#ifndef PLAYGROUND_POSTGRES_H
#define PLAYGROUND_POSTGRES_H

#include "playground/program.h"

/* args: "postgres" alone. Others reach it under a connection string of libpq. As root it runs as
 * the user `postgres`, or as `nobody`, since PostgreSQL refuses root. */
extern const struct program program_postgres;

#endif
