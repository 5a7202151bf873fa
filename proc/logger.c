/* SPDX-License-Identifier: MIT */
/* The logger process: from a pipe to a file that can be rotated. */
#include "proc/logger.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/safe_path.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIPE_BYTES = 1048576, CHUNK_BYTES = 65536, NO_SIZE = -1 };

/* Text that the process has taken from the pipe and not yet written, for a successor:
 *
 *   0         done                     the first NUL: lines have none
 *   | written |     to be written      | NUL ...                         |
 *                ^ maybe already, if the file has grown beyond size_before
 *
 * The kernel copies into it, so what has left the pipe is here even if the process never learns. */
struct logger_progress {
    off_t size_before; /* file size before the write in progress; NO_SIZE: none, or no file */
    size_t done;
};

struct logger_memory {
    struct logger_progress progress[2];
    atomic_uint current;     /* index of the valid one: a process that is killed leaves one whole */
    bool torn;               /* the file ends within a line whose rest is lost */
    unsigned long long lost; /* lines that could not be written, and were not told of yet */
    char chunk[CHUNK_BYTES];
};

/* The descriptor for the signal handler, in the logger process and in those that pass USR1 on to
 * it. */
static int usr1_fd = -1;

static void on_usr1(int signo UNUSED) {
    int saved = errno;

    eventfd_write(usr1_fd, 1);
    errno = saved;
}

/* --- the file --------------------------------------------------------------------- */

/* A file that we make belongs to those who will open it again; one that was there is not ours to
 * give away. */
static int open_file(struct logger *l, const struct privileges *owner, struct error *why) {
    bool gives = owner != NULL && owner->changes_group;
    struct safe_path file;
    int fd = safe_path_find(&file, strcmp(l->path, "-") == 0 ? "/dev/stdout" : l->path,
                            SAFE_PATH_FOLLOW, why);

    if (fd == 0)
        fd = safe_path_append(&file, gives ? owner->uid : SAFE_PATH_ANY,
                              gives ? owner->gid : SAFE_PATH_ANY, why);
    l->is_descriptor = file.descriptor >= 0;
    safe_path_close(&file);
    return fd;
}

static off_t file_size(int fd) {
    struct stat is;

    return fstat(fd, &is) == 0 && S_ISREG(is.st_mode) ? is.st_size : NO_SIZE;
}

/* Opens the file anew. A path that stood for a descriptor of our parent has no name to open. */
static void reopen(int *fd, struct logger *l) {
    struct error why = { "" };
    int fresh;

    if (l->is_descriptor)
        return;
    fresh = open_file(l, NULL, &why);
    if (fresh < 0) {
        log_write(LOG_LEVEL_ERROR,
                  "cannot reopen the log, going on with the old one path=%s "
                  "error=\"%s\"",
                  l->path, why.text);
        return;
    }
    close(*fd);
    *fd = fresh;
    l->memory->torn = false;
}

/* --- the process ------------------------------------------------------------------ */

static unsigned long long count_lines(const char *text, size_t size) {
    unsigned long long count = 0;

    for (size_t i = 0; i < size; i++)
        count += text[i] == '\n';
    return count;
}

static void lose(const struct logger *l, unsigned long long lines) {
    static struct log_rate rate = { .per_second = 1 };

    l->memory->lost += lines;
    log_limited(&rate, LOG_LEVEL_ERROR,
                "cannot write the log, lines are lost path=%s error=\"%s\" lines=%llu", l->path,
                strerrordesc_np(errno), l->memory->lost);
}

static void tell_lost(const struct logger *l) {
    if (l->memory->lost > 0)
        log_write(LOG_LEVEL_WARN, "log lines were lost path=%s lines=%llu", l->path,
                  l->memory->lost);
    l->memory->lost = 0;
}

static void note(struct logger_memory *m, off_t size_before, size_t done) {
    unsigned next = !atomic_load(&m->current);

    m->progress[next] = (struct logger_progress){ .size_before = size_before, .done = done };
    atomic_store(&m->current, next);
}

/* Ends a line that could not be written whole, so that it does not spoil the next one. */
static bool mend(struct logger_memory *m, int fd) {
    if (m->torn && write(fd, "\n", 1) == 1)
        m->torn = false;
    return !m->torn;
}

/* The rest of the chunk, of which `size` bytes are filled and `done` are written. Lines are lost
 * while the disk is full; writing goes on when it is not. */
static void write_chunk(const struct logger *l, int fd, size_t size, size_t done) {
    struct logger_memory *m = l->memory;

    while (done < size) {
        ssize_t n = -1;

        if (mend(m, fd)) {
            note(m, file_size(fd), done);
            n = write(fd, m->chunk + done, size - done);
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            m->torn = m->torn || (done > 0 && m->chunk[done - 1] != '\n');
            lose(l, count_lines(m->chunk + done, size - done));
        } else {
            tell_lost(l);
        }
        done = n < 0 ? size : done + (size_t)n;
        note(m, NO_SIZE, done);
    }
    memset(m->chunk, 0, size); /* only then, and only with `done` behind it, is it forgotten */
    note(m, NO_SIZE, 0);
}

/* Writes the text that a killed predecessor had taken from the pipe. */
static void write_legacy(const struct logger *l, int fd) {
    struct logger_memory *m = l->memory;
    struct logger_progress was = m->progress[atomic_load(&m->current)];
    size_t held = strnlen(m->chunk, CHUNK_BYTES);
    off_t grown = was.size_before == NO_SIZE ? 0 : file_size(fd) - was.size_before;

    write_chunk(l, fd, held, was.done + (grown > 0 ? (size_t)grown : 0));
    memset(m->chunk, 0, CHUNK_BYTES); /* the predecessor may have died while it cleared */
}

/* Ends when the last writer has closed the pipe. */
static int copy_lines(struct logger *l, int *out) {
    struct pollfd fds[] = { { .fd = l->in_fd, .events = POLLIN },
                            { .fd = l->reopen_fd, .events = POLLIN } };
    eventfd_t times;
    ssize_t n;

    for (;;) {
        if (poll(fds, ARRAY_LEN(fds), -1) < 0) {
            if (errno == EINTR)
                continue;
            return EXIT_CANNOT;
        }
        if (fds[1].revents != 0 && eventfd_read(l->reopen_fd, &times) == 0)
            reopen(out, l);
        if (fds[0].revents == 0)
            continue;
        n = read(l->in_fd, l->memory->chunk, CHUNK_BYTES);
        if (n <= 0)
            return n == 0 ? 0 : EXIT_CANNOT;
        write_chunk(l, *out, (size_t)n, 0);
    }
}

static int run(void *arg) {
    struct logger *l = arg;
    struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
    struct error why = { "" };
    int out = l->out_fd >= 0 ? l->out_fd : open_file(l, NULL, &why);
    int code;

    if (out < 0) {
        log_write(LOG_LEVEL_ERROR, "cannot open the log path=%s error=\"%s\"", l->path, why.text);
        return EXIT_CANNOT;
    }
    sigaction(SIGUSR1, &action, NULL);
    write_legacy(l, out);
    code = copy_lines(l, &out);
    tell_lost(l);
    close(out);
    return code;
}

/* --- its parent, and those who write --------------------------------------------------- */

static int make_channels(struct logger *l) {
    int fds[2];

    l->memory = mem_share(sizeof(*l->memory));
    if (l->memory == NULL)
        return -ENOMEM;
    note(l->memory, NO_SIZE, 0);
    l->reopen_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->reopen_fd < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    l->in_fd = fds[0];
    l->pipe_fd = fds[1];
    if (fcntl(l->pipe_fd, F_SETPIPE_SZ, PIPE_BYTES) < 0)
        log_write(LOG_LEVEL_DEBUG, "the log pipe stays small error=\"%s\"", strerrordesc_np(errno));
    return fcntl(l->pipe_fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int logger_open(struct logger *l, const char *path, const struct privileges *owner,
                struct error *err) {
    struct error why = { "" };
    int rc;

    *l = (struct logger){ .path = path, .in_fd = -1, .pipe_fd = -1, .reopen_fd = -1 };
    l->out_fd = open_file(l, owner, &why);
    if (l->out_fd < 0)
        return error_set(err, l->out_fd, "cannot open the log '%s': %s", path, why.text);
    rc = make_channels(l);
    if (rc < 0)
        return error_set(err, rc, "cannot make a pipe for the log: %s", strerrordesc_np(-rc));
    return 0;
}

int logger_start(struct logger *l, const char *program, struct error *err) {
    struct sigaction action = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
    int rc;

    l->helper = (struct helper){ .program = program,
                                 .name = "log",
                                 .run = run,
                                 .arg = l,
                                 .fds = { l->in_fd, l->reopen_fd, l->out_fd },
                                 .fd_count = 3,
                                 .outlives = true };
    usr1_fd = l->reopen_fd;
    rc = helper_start(&l->helper);
    if (rc < 0)
        return error_set(err, rc, "cannot start the logger: %s", strerrordesc_np(-rc));
    if (!l->is_descriptor) {
        close(l->out_fd);
        l->out_fd = -1;
        l->helper.fd_count = 2;
    }
    sigaction(SIGUSR1, &action, NULL);
    return 0;
}

nsec_t logger_tend(struct logger *l, nsec_t now) {
    return helper_tend(&l->helper, now);
}

bool logger_write(const struct logger *l, struct slice line) {
    ssize_t n;

    do
        n = write(l->pipe_fd, line.ptr, line.len);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)line.len;
}

void logger_reopen(const struct logger *l) {
    eventfd_write(l->reopen_fd, 1);
}

/* Whether a killed process has left lines. */
static bool has_lines(const struct logger *l) {
    int left = 0;

    if (l->helper.run == NULL)
        return false;
    return (ioctl(l->in_fd, FIONREAD, &left) == 0 && left > 0) || l->memory->chunk[0] != '\0';
}

void logger_close(struct logger *l) {
    int *fds[] = { &l->pipe_fd, &l->in_fd, &l->reopen_fd, &l->out_fd };

    signal(SIGUSR1, SIG_IGN);
    if (l->pipe_fd >= 0)
        close(l->pipe_fd);
    l->pipe_fd = -1;
    if (helper_stop(&l->helper, LOGGER_DRAIN_NSEC) && has_lines(l)) {
        (void)helper_tend(&l->helper, NSEC_NEVER); /* now or never */
        (void)helper_stop(&l->helper, LOGGER_DRAIN_NSEC);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (*fds[i] >= 0)
            close(*fds[i]);
    mem_unshare(l->memory, sizeof(*l->memory));
}
