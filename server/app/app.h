/* SPDX-License-Identifier: MIT */
/* Applications that `srv serve APP` serves: those of examples/ that are compiled in, and objects.
 */
#ifndef SERVER_APP_H
#define SERVER_APP_H

#include "base/error.h"
#include "base/option.h"
#include "srv/app.h"
#include <sys/types.h>
#include <time.h>

struct privileges;
struct srv_worker;

struct app {
    const char *name;               /* path, for an object or its source */
    const struct srv_app *built_in; /* NULL: an object */
    const char *library;            /* the one that it calls itself; NULL: an object, or none */
    const char *object;             /* path of the object: NAME, or what was compiled of it */
    bool one_thread;   /* all requests of a worker share it: an object with SRV_BLOCKS is refused */
    bool reads_config; /* a built-in one that takes KEY=VALUE, as objects do */
};

extern const struct app app_cpu;
extern const struct app app_curl;
extern const struct app app_db;
extern const struct app app_echo;
extern const struct app app_index;
extern const struct app app_self;

/* A built-in one by name; NULL when there is none. */
const struct app *app_find(const char *name);

/* Has the application check itself, in this process, with what `own` is configured with. 0, or
 * -EINVAL with a reason. */
NODISCARD int app_check(const char *name, const struct srv_app *app, const struct srv_worker *own,
                        struct error *err);

/* Prints to stdout what of the application and its libraries patching covers. An object, which may
 * be a source, is loaded in a process of its own, as `user` says (NULL: as this process), and its
 * check is not run. 0, or -errno with a reason. */
NODISCARD int app_report(const struct app *app, const struct privileges *user, struct error *err);

/* --- objects: each worker loads them after its fork, the master has none ---------- */

/* True when APP names a file, not a built-in application: it has a slash, or ends as objects and
 * sources do. */
bool object_is_named(const char *app);

/* Loads the object for good: it is never unloaded, since threads may end in it. `ret` is made of
 * what the object says, with zeros for what it does not know of. 0, or -EINVAL with a reason. */
NODISCARD int object_load(const struct app *app, struct srv_app *ret, struct error *err);

/* Compiles a source, loads the object in a process of its own, which ends afterwards, and has it
 * check itself there: as app_check, as `user` says (NULL: as this process). *object
 * is the path of what is to be loaded then, by the same user: mem_free. 0, or -EINVAL with a
 * reason; -errno when there was no process for it. app->object is not looked at. */
NODISCARD int object_check(const struct app *app, const struct srv_worker *own,
                           const struct privileges *user, char **object, struct error *err);

/* Checks it as object_check, without waiting. After 0 from object_check_begin: SIGCHLD says that
 * the check has ended, or until then object_check_cancel gives it up. */
struct object_check {
    const struct app *app;
    pid_t pid; /* 0: none is on its way */
    int fd;    /* source of the verdict */
};
NODISCARD int object_check_begin(struct object_check *c, const struct app *app,
                                 const struct srv_worker *own, const struct privileges *user,
                                 struct error *err);

/* Returns what object_check does, or -EAGAIN: it is still on its way. */
NODISCARD int object_check_ended(struct object_check *c, char **object, struct error *err);
void object_check_cancel(struct object_check *c);

/* The file that a path has led to. One that is overwritten in place pulls the code from under those
 * that run it; one that is replaced by renaming does not. */
struct object_file {
    const char *path;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
};
void object_file_note(struct object_file *file, const char *path);
bool object_file_overwritten(const struct object_file *file);

#endif
