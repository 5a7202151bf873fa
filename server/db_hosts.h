/* SPDX-License-Identifier: MIT */
/* The names in a connection string as addresses, so that libpq has nothing to look up, which would
 * stop a loop. */
#ifndef SERVER_DB_HOSTS_H
#define SERVER_DB_HOSTS_H

#include "base/arena.h"
#include "net/io.h"

/* The lists that libpq takes, comma-separated and equally long, in the arena; a name with several
 * addresses stands there once for each. All NULL when there is nothing to replace. */
struct db_hosts {
    const char *host, *hostaddr, *port;
};

/* `hosts` and `ports` as in a connection string: comma-separated, one port for all or one each;
 * NULL or empty for libpq's defaults. Unix socket folders and numeric addresses stay as they are.
 * 0; -ENOENT (a name is unknown) with one line in *ret_why; -EINVAL (as many ports as hosts);
 * -ETIMEDOUT, -ECANCELED, -ENOMEM, -EAGAIN. */
NODISCARD int db_hosts_find(const char *hosts, const char *ports, struct io *io,
                            struct arena *arena, nsec_t deadline, struct db_hosts *ret,
                            const char **ret_why);

#endif
