/* SPDX-License-Identifier: MIT */
/* Watches the folders of files, and waits until they are quiet. */
#include "proc/file_watch.h"
#include "base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* A file was written and closed, or a name has got another file. */
#define CHANGES (IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE)
/* The folder is none any more, or events were lost. */
#define LOSSES (IN_DELETE_SELF | IN_MOVE_SELF | IN_Q_OVERFLOW)

enum { FILES_MAX = 4096 };

/* A name in a folder. */
struct watched_file {
    int folder; /* inotify's number */
    char *name;
};

struct file_watch {
    int fd;
    struct watched_file *files;
    size_t count;
    nsec_t first_at, last_at; /* of changes that were not told yet; NSEC_NEVER: there are none */
};

static int listen_to(int fd) {
    if (fcntl(fd, F_SETOWN, getpid()) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) < 0)
        return -errno;
    return 0;
}

struct file_watch *file_watch_new(struct error *err) {
    struct file_watch *w = mem_calloc(1, sizeof(*w));
    int rc = -ENOMEM;

    if (w != NULL) {
        *w = (struct file_watch){ .fd = -1, .first_at = NSEC_NEVER, .last_at = NSEC_NEVER };
        w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        rc = w->fd < 0 ? -errno : listen_to(w->fd);
    }
    if (rc == 0)
        return w;
    file_watch_free(w);
    error_set(err, rc, "cannot watch files: %s", strerrordesc_np(-rc));
    return NULL;
}

void file_watch_free(struct file_watch *w) {
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->count; i++)
        mem_free(w->files[i].name);
    mem_free(w->files);
    if (w->fd >= 0)
        close(w->fd);
    mem_free(w);
}

/* --- adding ------------------------------------------------------------- */

static bool knows(const struct file_watch *w, int folder, const char *name) {
    for (size_t i = 0; i < w->count; i++)
        if (w->files[i].folder == folder && strcmp(w->files[i].name, name) == 0)
            return true;
    return false;
}

static int remember(struct file_watch *w, int folder, const char *name) {
    struct watched_file *more;
    size_t size = strlen(name) + 1;

    if (knows(w, folder, name))
        return 0;
    if (w->count == FILES_MAX)
        return -ENOSPC;
    more = mem_realloc(w->files, (w->count + 1) * sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    w->files = more;
    more[w->count] = (struct watched_file){ .folder = folder, .name = mem_alloc(size) };
    if (more[w->count].name == NULL)
        return -ENOMEM;
    memcpy(more[w->count++].name, name, size);
    return 0;
}

static int add(struct file_watch *w, const char *path) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *folder = len > 0 ? strndup(path, len) : strdup(".");
    int number;

    if (folder == NULL)
        return -ENOMEM;
    number = inotify_add_watch(w->fd, folder, CHANGES | LOSSES | IN_ONLYDIR);
    free(folder);
    return number < 0 ? -errno : remember(w, number, slash != NULL ? slash + 1 : path);
}

int file_watch_add(struct file_watch *w, const char *path, struct error *err) {
    char *real = realpath(path, NULL);
    int rc = add(w, path);

    if (rc == 0 && real != NULL)
        rc = add(w, real);
    free(real);
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot watch the folder of '%s': %s", path,
                               rc == -ENOSPC ? "too many files; see fs.inotify.max_user_watches"
                                             : strerrordesc_np(-rc));
}

/* --- changes ------------------------------------------------------------ */

void file_watch_touch(struct file_watch *w, nsec_t now) {
    if (w->first_at == NSEC_NEVER)
        w->first_at = now;
    w->last_at = now;
}

static bool counts(const struct file_watch *w, const struct inotify_event *event,
                   bool (*also)(const char *name)) {
    if ((event->mask & LOSSES) != 0)
        return true;
    if ((event->mask & CHANGES) == 0 || event->len == 0)
        return false;
    return knows(w, event->wd, event->name) || (also != NULL && also(event->name));
}

static void read_changes(struct file_watch *w, nsec_t now, bool (*also)(const char *name)) {
    _Alignas(struct inotify_event) char events[2048];
    const struct inotify_event *event;
    ssize_t n;

    while ((n = read(w->fd, events, sizeof(events))) > 0)
        for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*event) + event->len)) {
            event = (const struct inotify_event *)(const void *)(events + at);
            if (counts(w, event, also))
                file_watch_touch(w, now);
        }
}

nsec_t file_watch_tend(struct file_watch *w, nsec_t now, bool (*also)(const char *name),
                       bool *ret_due) {
    nsec_t due_at;

    *ret_due = false;
    read_changes(w, now, also);
    if (w->last_at == NSEC_NEVER)
        return NSEC_NEVER;
    due_at = nsec_min(deadline_after(w->last_at, FILE_WATCH_QUIET_NSEC),
                      deadline_after(w->first_at, FILE_WATCH_PATIENCE_NSEC));
    if (now < due_at)
        return due_at;
    w->first_at = w->last_at = NSEC_NEVER;
    *ret_due = true;
    return NSEC_NEVER;
}
