/* SPDX-License-Identifier: MIT */
/* The built-in applications by name; and those of users, as objects: loads one, and says in one
 * line what is wrong with it. dlopen(3), dlsym(3). */
#include "server/app/app.h"
#include "base/alloc.h"
#include "base/attr.h"
#include "base/stream.h"
#include "fiber/patch_report.h"
#include "http/head.h"
#include "proc/child.h"
#include "proc/privileges.h"
#include "server/app/source.h"
#include "server/limits.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each is a file of examples/, compiled with another name for its srv_app. */
extern const struct srv_app srv_app_cpu, srv_app_curl, srv_app_db, srv_app_echo, srv_app_index,
    srv_app_self;

const struct app app_cpu = { .name = "cpu", .built_in = &srv_app_cpu };
const struct app app_curl = {
    .name = "curl", .built_in = &srv_app_curl, .library = "libcurl.so.4", .reads_config = true
};
const struct app app_db = { .name = "db", .built_in = &srv_app_db, .library = "libpq.so.5" };
const struct app app_echo = { .name = "echo", .built_in = &srv_app_echo };
const struct app app_index = { .name = "index", .built_in = &srv_app_index };
const struct app app_self = { .name = "self", .built_in = &srv_app_self };

const struct app *app_find(const char *name) {
    static const struct app *const apps[] = { &app_index, &app_db,   &app_cpu,
                                              &app_self,  &app_echo, &app_curl };

    for (size_t i = 0; i < ARRAY_LEN(apps); i++)
        if (strcmp(apps[i]->name, name) == 0)
            return apps[i];
    return NULL;
}

/* --- objects ------------------------------------------------------------- */

bool object_is_named(const char *app) {
    size_t len = strlen(app);

    return strchr(app, '/') != NULL || (len > 3 && strcmp(app + len - 3, ".so") == 0) ||
           source_is_named(app);
}

/* --- patterns ------------------------------------------------------------ */

/* Every byte that a path may have, undecoded: RFC 3986 section 3.3, and '%' as itself. */
static bool is_good_segment(struct slice segment, bool last) {
    if (slice_eq(segment, SLICE("**")))
        return last;
    return slice_eq(segment, SLICE("*")) || slice_find(segment, '*') == segment.len;
}

static bool is_good_path(struct slice path) {
    unsigned stars = 0;

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
        stars += segment.len > 0 && segment.ptr[0] == '*';
    }
    return stars <= SERVER_ROUTE_SEGMENTS_MAX;
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
                             "for a segment and '**' for the rest, %d stars at most",
                             r->pattern, SERVER_ROUTE_SEGMENTS_MAX);
        if (r->handle == NULL)
            return error_set(err, -EINVAL, "the route '%s' has no handler", r->pattern);
    }
    return 0;
}

/* --- loading ------------------------------------------------------------- */

/* What dlopen said, without the path that the caller names, and with its cause where that is ours.
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
    if (ret->flags & ~(SRV_STREAM_BODY | SRV_BLOCKS))
        return error_set(err, -EINVAL, "it needs a later srv: its srv_app has unknown flags");
    if (ret->handle == NULL && ret->routes == NULL)
        return error_set(err, -EINVAL, "its srv_app has neither a handler nor routes");
    return ret->handle == NULL ? check_routes(ret->routes, err) : 0;
}

/* Opening a FIFO would wait for somebody to write into it. */
static bool is_other_than_file(const char *path) {
    struct stat now;

    return stat(path, &now) == 0 && !S_ISREG(now.st_mode);
}

static int load(const char *path, struct srv_app *ret, struct error *err) {
    const struct srv_app *theirs;
    void *object;

    if (is_other_than_file(path))
        return error_set(err, -EINVAL, "it is not a regular file");
    object = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (object == NULL)
        return explain(path, dlerror(), err);
    theirs = dlsym(object, "srv_app");
    if (theirs == NULL)
        return error_set(err, -EINVAL, "it has no srv_app; SRV_APP(...) makes one");
    return take(theirs, ret, err);
}

/* Refuses an object that says that its handlers block, where the first would hold up all others. */
static int refuse_blocking(const struct app *app, const struct srv_app *loaded, struct error *err) {
    if (!app->one_thread || (loaded->flags & SRV_BLOCKS) == 0)
        return 0;
    return error_set(err, -EINVAL,
                     "'%s' blocks its thread (SRV_BLOCKS), and model green has one for all "
                     "requests: use --model pool",
                     app->name);
}

/* The path with a slash: dlopen would search for one without. mem_free; NULL: out of memory. */
static char *path_for_dlopen(const char *object) {
    bool beside = strchr(object, '/') == NULL;
    size_t size = strlen(object) + sizeof("./");
    char *path = mem_alloc(size);

    if (path != NULL)
        snprintf(path, size, "%s%s", beside ? "./" : "", object);
    return path;
}

int object_load(const struct app *app, struct srv_app *ret, struct error *err) {
    char *path = path_for_dlopen(app->object);
    struct error why = { "out of memory" };
    int rc = path != NULL ? load(path, ret, &why) : -ENOMEM;

    mem_free(path);
    if (rc < 0)
        return error_set(err, -EINVAL, "cannot load '%s': %s", app->name, why.text);
    return refuse_blocking(app, ret, err);
}

/* --- checking ------------------------------------------------------------ */

int app_check(const char *name, const struct srv_app *app, const struct srv_worker *own,
              struct error *err) {
    const char *why = app->check != NULL ? app->check(own) : NULL;

    return why == NULL ? 0 : error_set(err, -EINVAL, "'%s' does not start: %s", name, why);
}

static int check_itself(const struct app *object, const struct srv_worker *own, struct error *err) {
    struct srv_app app;
    int rc = object_load(object, &app, err);

    return rc < 0 ? rc : app_check(object->name, &app, own, err);
}

/* Prints what of the loaded object patching covers. */
static int print_report(const struct app *object) {
    char *path = path_for_dlopen(object->object);
    void *handle = path != NULL ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL;
    int rc = handle != NULL ? patch_report(stdout, handle, object->name) : -ENOMEM;

    mem_free(path);
    return rc;
}

/* A reader that has seen enough (head) is no error. */
static int report_itself(const struct app *object, struct error *err) {
    struct srv_app app;
    int rc = object_load(object, &app, err);

    if (rc < 0)
        return rc;
    signal(SIGPIPE, SIG_IGN);
    rc = print_report(object);
    if (rc == 0 && (app.flags & SRV_BLOCKS) != 0)
        printf("\nThe object says that it blocks (SRV_BLOCKS): green refuses it.\n");
    if (rc == 0)
        rc = stream_flush(stdout);
    if (rc == 0 || rc == -EPIPE)
        return 0;
    return error_set(err, rc, "cannot print the report: %s", strerrordesc_np(-rc));
}

/* The verdict, '+' and the path of the object or a reason, is shorter than what a pipe takes at
 * once. */
static int tell_verdict(int fd, char first, const char *text) {
    const struct iovec parts[] = { { &first, 1 }, { (char *)(uintptr_t)text, strlen(text) } };

    return writev(fd, parts, ARRAY_LEN(parts)) < 0 ? EXIT_CANNOT : 0;
}

/* Checks the object, or without a worker reports on it. Who becomes another user is that one
 * for the compiler, too: objects that only the former could read would be of no use. */
static int check_in_child(int fd, const struct app *app, const struct srv_worker *own,
                          const struct privileges *user, pid_t parent) {
    struct app object = { .name = app->name, .object = app->name, .one_thread = app->one_thread };
    struct error err = { "" };
    char *compiled = NULL;
    int rc = user != NULL ? privileges_drop(user, &err) : 0;

    child_die_with_parent(SIGKILL, parent); /* who changes its user has lost that wish */
    if (rc == 0 && source_is_named(app->name)) {
        rc = source_object(app->name, &compiled, &err);
        object.object = compiled;
    }
    if (rc == 0)
        rc = own != NULL ? check_itself(&object, own, &err) : report_itself(&object, &err);
    rc = rc == 0 ? tell_verdict(fd, '+', object.object) : tell_verdict(fd, '-', err.text);
    mem_free(compiled);
    return rc;
}

/* Output of the object goes to stderr as that of a worker would. A master has its signals
 * blocked. */
static __attribute__((noreturn)) void run_child(int fd, const struct app *app,
                                                const struct srv_worker *own,
                                                const struct privileges *user) {
    pid_t parent = getppid();
    sigset_t none;

    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    _exit(check_in_child(fd, app, own, user, parent));
}

static int explain_end(const char *path, int status, struct error *err) {
    if (WIFSIGNALED(status))
        return error_set(err, -EINVAL, "'%s' was ended by SIG%s while it was checked", path,
                         sigabbrev_np(WTERMSIG(status)));
    return error_set(err, -EINVAL, "'%s' has ended the process while it was checked, with code %d",
                     path, WEXITSTATUS(status));
}

/* The verdict of a child that has ended, which stands in the pipe. A process that the object has
 * left behind may keep the other end open. */
static int take_verdict(struct object_check *c, int status, char **object, struct error *err) {
    char *text = mem_calloc(1, PIPE_BUF + 1);
    ssize_t n = text != NULL ? read(c->fd, text, PIPE_BUF) : 0;
    int rc = 0;

    close(c->fd);
    c->pid = 0;
    *object = NULL;
    if (text == NULL)
        rc = error_set(err, -ENOMEM, "out of memory");
    else if (n <= 0 || status != 0)
        rc = explain_end(c->app->name, status, err);
    else if (text[0] != '+')
        rc = error_set(err, -EINVAL, "%s", text + 1);
    if (rc == 0)
        *object = memmove(text, text + 1, (size_t)n); /* with its NUL */
    else
        mem_free(text);
    return rc;
}

int object_check_begin(struct object_check *c, const struct app *app, const struct srv_worker *own,
                       const struct privileges *user, struct error *err) {
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set(err, -errno, "cannot make a pipe: %s", strerrordesc_np(errno));
    pid = child_fork(SIGKILL);
    if (pid == 0)
        run_child(fds[1], app, own, user);
    close(fds[1]);
    *c = (struct object_check){ .app = app, .pid = pid > 0 ? pid : 0, .fd = fds[0] };
    if (pid > 0)
        return 0;
    close(fds[0]);
    return error_set(err, pid, "cannot start a process: %s", strerrordesc_np(-pid));
}

int object_check_ended(struct object_check *c, char **object, struct error *err) {
    int status;

    return child_reap(c->pid, &status) ? take_verdict(c, status, object, err) : -EAGAIN;
}

void object_check_cancel(struct object_check *c) {
    if (c->pid == 0)
        return;
    kill(c->pid, SIGKILL);
    (void)child_wait(c->pid);
    close(c->fd);
    c->pid = 0;
}

int object_check(const struct app *app, const struct srv_worker *own, const struct privileges *user,
                 char **object, struct error *err) {
    struct object_check check;
    int rc = object_check_begin(&check, app, own, user, err);

    return rc < 0 ? rc : take_verdict(&check, child_wait(check.pid), object, err);
}

/* A library of the program itself is loaded already. */
static int report_built_in(const struct app *app, struct error *err) {
    void *library = app->library != NULL ? dlopen(app->library, RTLD_NOW | RTLD_NOLOAD) : NULL;
    int rc = 0;

    if (library == NULL) {
        printf("%s is built in: it waits in calls of <srv/app.h> alone, which park anyway.\n",
               app->name);
    } else {
        printf("%s is built in, and calls this library itself:\n\n", app->name);
        rc = patch_report(stdout, library, app->library);
        dlclose(library);
    }
    if (rc == 0)
        rc = stream_flush(stdout);
    return rc == 0 ? 0 : error_set(err, rc, "cannot print the report: %s", strerrordesc_np(-rc));
}

int app_report(const struct app *app, const struct privileges *user, struct error *err) {
    char *object = NULL;
    int rc;

    if (app->built_in != NULL)
        return report_built_in(app, err);
    rc = object_check(app, NULL, user, &object, err);
    mem_free(object);
    return rc;
}

/* --- the file --------------------------------------------------------------------------------- */

void object_file_note(struct object_file *file, const char *path) {
    struct stat now;

    *file = (struct object_file){ .path = path };
    if (stat(path, &now) == 0)
        *file = (struct object_file){ .path = path,
                                      .dev = now.st_dev,
                                      .ino = now.st_ino,
                                      .size = now.st_size,
                                      .mtime = now.st_mtim };
}

bool object_file_overwritten(const struct object_file *file) {
    struct stat now;

    if (stat(file->path, &now) < 0 || now.st_dev != file->dev || now.st_ino != file->ino)
        return false;
    return now.st_size != file->size || now.st_mtim.tv_sec != file->mtime.tv_sec ||
           now.st_mtim.tv_nsec != file->mtime.tv_nsec;
}
