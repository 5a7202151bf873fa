/* SPDX-License-Identifier: MIT */
/* The built-in applications by name; and those of users, as objects: loads one, and says in one
 * line what is wrong with it. dlopen(3), dlsym(3). */
#include "server/app/app.h"
#include "base/alloc.h"
#include "base/attr.h"
#include "http/head.h"
#include "proc/privileges.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each is a file of examples/, compiled with another name for its srv_app. */
extern const struct srv_app srv_app_cpu, srv_app_db, srv_app_echo, srv_app_index, srv_app_self;

const struct app app_cpu = { .name = "cpu", .built_in = &srv_app_cpu };
const struct app app_db = { .name = "db", .built_in = &srv_app_db };
const struct app app_echo = { .name = "echo", .built_in = &srv_app_echo };
const struct app app_index = { .name = "index", .built_in = &srv_app_index };
const struct app app_self = { .name = "self", .built_in = &srv_app_self };

const struct app *app_find(const char *name) {
    static const struct app *const apps[] = { &app_index, &app_db, &app_cpu, &app_self, &app_echo };

    for (size_t i = 0; i < ARRAY_LEN(apps); i++)
        if (strcmp(apps[i]->name, name) == 0)
            return apps[i];
    return NULL;
}

/* --- objects ------------------------------------------------------------- */

bool object_is_named(const char *app) {
    size_t len = strlen(app);

    return strchr(app, '/') != NULL || (len > 3 && strcmp(app + len - 3, ".so") == 0);
}

/* --- patterns ------------------------------------------------------------ */

/* Every byte that a path may have, undecoded: RFC 3986 section 3.3, and '%' as itself. */
static bool is_good_segment(struct slice segment, bool last) {
    if (slice_eq(segment, SLICE("**")))
        return last;
    return slice_eq(segment, SLICE("*")) || slice_find(segment, '*') == segment.len;
}

static bool is_good_path(struct slice path) {
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < path.len; i++)
        if ((unsigned char)path.ptr[i] <= ' ' || path.ptr[i] == '?' || path.ptr[i] == '#')
            return false;
    slice_cut(&path, '/');
    while (path.len > 0) {
        struct slice segment = slice_cut(&path, '/');

        if (!is_good_segment(segment, path.len == 0))
            return false;
    }
    return true;
}

static bool is_good_pattern(const char *pattern) {
    struct slice path = slice_str(pattern);
    struct slice method;

    if (path.len > 0 && path.ptr[0] == '/')
        return is_good_path(path);
    method = slice_cut(&path, ' ');
    return http_method_of(method) != HTTP_METHOD_OTHER && is_good_path(path);
}

static int check_routes(const struct srv_route *routes, struct error *err) {
    for (const struct srv_route *r = routes; r->pattern != NULL; r++) {
        if (!is_good_pattern(r->pattern))
            return error_set(err, -EINVAL,
                             "the route '%s' is not allowed; '/path' or 'METHOD /path', with '*' "
                             "for a segment and '**' for the rest",
                             r->pattern);
        if (r->handle == NULL)
            return error_set(err, -EINVAL, "the route '%s' has no handler", r->pattern);
    }
    return 0;
}

/* --- loading ------------------------------------------------------------- */

/* Passes on dlopen's words, without the path that the caller names, or a cause that is ours.
 */
static int explain(const char *path, const char *said, struct error *err) {
    static const char undefined[] = "undefined symbol: ";
    const char *symbol = strstr(said, undefined);
    size_t len = strlen(path);

    if (strncmp(said, path, len) == 0 && strncmp(said + len, ": ", 2) == 0)
        said += len + 2;
    if (strstr(said, "invalid ELF header") != NULL || strstr(said, "file too short") != NULL)
        return error_set(err, -EINVAL, "it is not a shared object; cc -shared -fPIC makes one");
    if (symbol != NULL && strncmp(symbol + strlen(undefined), "srv_", 4) == 0)
        return error_set(err, -EINVAL, "it needs a later srv: this one has no %s",
                         symbol + strlen(undefined));
    return error_set(err, -EINVAL, "%s", said);
}

/* Objects of an older header know fewer members; one of a newer header may leave those zero that
 * are not known here. */
static int take(const struct srv_app *theirs, struct srv_app *ret, struct error *err) {
    size_t known = theirs->size < sizeof(*ret) ? theirs->size : sizeof(*ret);

    if (theirs->abi != SRV_ABI)
        return error_set(err, -EINVAL,
                         "it is built for version %u of <srv/app.h>, and this srv has version %d: "
                         "it has to be built again",
                         theirs->abi, SRV_ABI);
    if (theirs->size < offsetof(struct srv_app, check))
        return error_set(err, -EINVAL, "its srv_app says that it has %u bytes: SRV_APP sets that",
                         theirs->size);
    for (size_t i = sizeof(*ret); i < theirs->size; i++)
        if (((const char *)theirs)[i] != 0)
            return error_set(err, -EINVAL,
                             "it needs a later srv: its srv_app has members that this one does not "
                             "know");
    *ret = (struct srv_app){ .abi = SRV_ABI };
    memcpy(ret, theirs, known);
    if (ret->handle == NULL && ret->routes == NULL)
        return error_set(err, -EINVAL, "its srv_app has neither a handler nor routes");
    return ret->handle == NULL ? check_routes(ret->routes, err) : 0;
}

static int load(const char *path, struct srv_app *ret, struct error *err) {
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const struct srv_app *theirs;

    if (object == NULL)
        return explain(path, dlerror(), err);
    theirs = dlsym(object, "srv_app");
    if (theirs == NULL)
        return error_set(err, -EINVAL, "it has no srv_app; SRV_APP(...) makes one");
    return take(theirs, ret, err);
}

int object_load(const char *path, struct srv_app *ret, struct error *err) {
    bool beside = strchr(path, '/') == NULL; /* dlopen would search for it */
    size_t size = strlen(path) + sizeof("./");
    char *here = mem_alloc(size);
    struct error why = { "out of memory" };
    int rc = -ENOMEM;

    if (here != NULL) {
        snprintf(here, size, "%s%s", beside ? "./" : "", path);
        rc = load(here, ret, &why);
        mem_free(here);
    }
    return rc < 0 ? error_set(err, -EINVAL, "cannot load '%s': %s", path, why.text) : 0;
}

/* --- checking ------------------------------------------------------------ */

static int load_and_check(const char *path, const struct option_strings *config,
                          const struct privileges *user, struct error *err) {
    struct srv_worker worker = { .config = config };
    const char *why;
    struct srv_app app;
    int rc = user != NULL ? privileges_drop(user, err) : 0;

    if (rc == 0)
        rc = object_load(path, &app, err);
    if (rc < 0 || app.check == NULL)
        return rc;
    why = app.check(&worker);
    return why == NULL ? 0 : error_set(err, -EINVAL, "'%s' does not start: %s", path, why);
}

static void tell(int fd, const char *text) {
    for (size_t len = strlen(text); len > 0;) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

/* Loads and checks; stderr is the object's, as in a worker. */
static void run_child(int fd, const char *path, const struct option_strings *config,
                      const struct privileges *user) {
    struct error err = { "" };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (load_and_check(path, config, user, &err) < 0)
        tell(fd, err.text);
    else
        tell(fd, "+");
    _exit(0);
}

static size_t read_all(int fd, char *text, size_t size) {
    size_t len = 0;
    ssize_t n = 1;

    while (n != 0 && len < size) {
        n = read(fd, text + len, size - len);
        if (n < 0 && errno != EINTR)
            n = 0;
        len += n > 0 ? (size_t)n : 0;
    }
    return len;
}

static int explain_end(const char *path, int status, struct error *err) {
    if (WIFSIGNALED(status))
        return error_set(err, -EINVAL, "'%s' was ended by SIG%s while it was checked", path,
                         sigabbrev_np(WTERMSIG(status)));
    return error_set(err, -EINVAL, "'%s' has ended the process while it was checked, with code %d",
                     path, WEXITSTATUS(status));
}

int object_check(const char *path, const struct option_strings *config,
                 const struct privileges *user, struct error *err) {
    char text[sizeof(err->text)] = "";
    int fds[2], status = 0;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set(err, -errno, "cannot make a pipe: %s", strerrordesc_np(errno));
    pid = fork();
    if (pid == 0)
        run_child(fds[1], path, config, user);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return error_set(err, -errno, "cannot start a process: %s", strerrordesc_np(errno));
    }
    read_all(fds[0], text, sizeof(text) - 1);
    close(fds[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (text[0] == '\0' || status != 0)
        return explain_end(path, status, err);
    return text[0] == '+' ? 0 : error_set(err, -EINVAL, "%s", text);
}
