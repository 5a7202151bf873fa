/* SPDX-License-Identifier: MIT */
/* Applications of users, as shared objects: checked before anything is bound, loaded by each worker
 * after its fork, so that workers that are replaced take new code and the master has none. */
#ifndef SERVER_OBJECT_H
#define SERVER_OBJECT_H

#include "base/error.h"
#include "base/option.h"
#include "srv/app.h"

/* What <srv/app.h> calls a worker. */
struct srv_worker {
    const struct option_strings *config; /* KEY=VALUE */
    unsigned number;                     /* from 1; 0 while it is only checked */
    void *data;                          /* the application's own */
};

/* True when APP names a file, not a built-in application: it has a slash, or ends in ".so". */
bool object_is_named(const char *app);

/* Loads the object for good: it is never unloaded, since threads may end in it. `ret` is made of
 * what the object says, with zeros for what it does not know of. 0, or -EINVAL with a reason. */
NODISCARD int object_load(const char *path, struct srv_app *ret, struct error *err);

/* Loads it in a process of its own, which ends afterwards, and has it check itself there: with the
 * given configuration, as `user` says (NULL: as this process). 0, or -EINVAL with a reason; -errno
 * when there was no process for it. */
struct privileges;
NODISCARD int object_check(const char *path, const struct option_strings *config,
                           const struct privileges *user, struct error *err);

/* True when the pattern is one that <srv/app.h> describes. */
bool object_pattern_is_good(const char *pattern);

#endif
