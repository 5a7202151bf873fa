/* SPDX-License-Identifier: MIT */
/* Applications that `srv serve APP` serves: those of examples/ that are compiled in, and objects.
 */
#ifndef SERVER_APP_H
#define SERVER_APP_H

#include "base/error.h"
#include "base/option.h"
#include "srv/app.h"

struct privileges;

/* The text of <srv/app.h>, as this program was built with it. */
extern const char app_header[];

struct app {
    const char *name;               /* path, for an object */
    const struct srv_app *built_in; /* NULL: an object */
};

extern const struct app app_cpu;
extern const struct app app_db;
extern const struct app app_echo;
extern const struct app app_index;
extern const struct app app_self;

/* A built-in one by name; NULL when there is none. */
const struct app *app_find(const char *name);

/* --- objects: each worker loads them after its fork, the master has none ---------- */

/* The worker of <srv/app.h>. */
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
NODISCARD int object_check(const char *path, const struct option_strings *config,
                           const struct privileges *user, struct error *err);

#endif
