/* SPDX-License-Identifier: MIT */
/* Reads and maps files. */
#include "loadgen/input.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 65536 };

static int read_all(FILE *file, struct buf *to) {
    for (;;) {
        int rc = buf_reserve(to, READ_BYTES);
        if (rc != 0)
            return rc;
        size_t n = fread(buf_tail(to), 1, buf_room(to), file);
        buf_added(to, n);
        if (n == 0)
            return ferror(file) ? -EIO : 0;
    }
}

static int cannot_read(const char *path, int rc, struct error *err) {
    return error_set(err, rc, "cannot read %s: %s", path, strerrordesc_np(-rc));
}

int input_read(const char *path, struct buf *to, struct error *err) {
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "re");
    int rc = file != NULL ? read_all(file, to) : -errno;
    if (file != NULL && !is_stdin)
        fclose(file);
    if (rc == -ENOBUFS)
        return error_set(err, rc, "cannot take %s: it has more than %zu bytes", path, to->max);
    return rc != 0 ? cannot_read(path, rc, err) : 0;
}

/* --- files that shrink ------------------------------------------------------------------------ */

static atomic_bool has_shrunk; /* written by the signal's handler */

/* A page behind the end of a mapped file (mmap(2)) becomes one of NULs, so that the reader goes on
 * and can tell. No other files are mapped that anybody shortens. Any other SIGBUS ends the process
 * when its instruction is tried again. */
static void on_sigbus(int signo, siginfo_t *info, void *context) {
    int before = errno;
    uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *page = (void *)((uintptr_t)info->si_addr & ~(size - 1));
    (void)context;
    if (info->si_code == BUS_ADRERR &&
        mmap(page, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
        atomic_store(&has_shrunk, true);
    else
        signal(signo, SIG_DFL);
    errno = before;
}

bool input_has_shrunk(void) {
    return atomic_load_explicit(&has_shrunk, memory_order_relaxed);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* 1 when it is mapped, 0 when it cannot be, or -errno. */
static int map(struct input *in, const char *path) {
    int fd = strcmp(path, "-") != 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat facts;
    int rc = fd < 0 && strcmp(path, "-") != 0 ? -errno : 0;
    if (fd >= 0 && fstat(fd, &facts) != 0)
        rc = -errno;
    else if (fd >= 0 && S_ISDIR(facts.st_mode))
        rc = -EISDIR;
    if (rc == 0 && fd >= 0 && S_ISREG(facts.st_mode) && facts.st_size > 0) {
        size_t size = (size_t)facts.st_size;
        struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
        void *at = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
        rc = at != MAP_FAILED && sigaction(SIGBUS, &action, NULL) == 0 ? 1 : -errno;
        if (at != MAP_FAILED)
            in->mapped = slice_of(at, size);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Spreadsheets and editors of Windows write the mark (RFC 3629 section 6). */
static struct slice without_mark(struct slice text) {
    return slice_starts_with(text, SLICE("\xef\xbb\xbf")) ? slice_drop(text, 3) : text;
}

int input_open(struct input *in, const char *path, struct error *err) {
    *in = (struct input){ .text = { NULL, 0 } };
    buf_init(&in->own, INPUT_PIPE_BYTES_MAX);
    int rc = map(in, path);
    if (rc < 0)
        return cannot_read(path, rc, err);
    bool is_mapped = rc > 0;
    rc = is_mapped ? 0 : input_read(path, &in->own, err);
    in->text = without_mark(is_mapped ? in->mapped : buf_unread(&in->own));
    return rc;
}

void input_close(struct input *in) {
    if (in->mapped.len > 0)
        munmap((void *)(uintptr_t)in->mapped.ptr, in->mapped.len);
    if (in->own.data != NULL)
        buf_free(&in->own);
    in->text = in->mapped = slice_of(NULL, 0);
}
