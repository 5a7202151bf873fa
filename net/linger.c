/* SPDX-License-Identifier: MIT */
/* Shuts a connection for sending, and reads it to its end. */
#include "net/linger.h"
#include "net/socket.h"
#include <errno.h>
#include <sys/socket.h>

bool linger_begin(struct linger_state *l, int fd) {
    l->bytes = 0;
    return shutdown(fd, SHUT_WR) == 0;
}

/* Reads until a read says no, or one of the limits; the result of the last read decides. */
static enum linger_step read_some(struct linger_state *l,
                                  ssize_t (*read)(void *arg, void *data, size_t size), void *arg) {
    unsigned burst = LINGER_BURST;
    char scratch[2048];
    ssize_t n;

    do {
        n = read(arg, scratch, sizeof(scratch));
        if (n > 0)
            l->bytes += (uint32_t)n;
    } while (n > 0 && l->bytes < LINGER_BYTES_MAX && --burst > 0);
    if (n == -EAGAIN)
        return LINGER_DRY;
    return n > 0 && l->bytes < LINGER_BYTES_MAX ? LINGER_TIRED : LINGER_OVER;
}

static ssize_t read_watch(void *arg, void *data, size_t size) {
    return watch_recv(arg, data, size);
}

enum linger_step linger_read(struct linger_state *l, struct watch *w) {
    return read_some(l, read_watch, w);
}

static ssize_t read_fd(void *arg, void *data, size_t size) {
    const int *fd = arg;

    return socket_recv(*fd, data, size);
}

enum linger_step linger_read_fd(struct linger_state *l, int fd) {
    return read_some(l, read_fd, &fd);
}

void linger_wait(int fd, ssize_t (*read)(void *arg, void *data, size_t size), void *arg) {
    struct linger_state l;

    if (!linger_begin(&l, fd))
        return;
    while (read_some(&l, read, arg) == LINGER_TIRED)
        ;
}
