/* SPDX-License-Identifier: MIT */
/* Hands TLS from the loop to models and back, and counts handshakes. */
#include "server/conn/channel.h"
#include "net/socket.h"
#include <errno.h>
#include <sys/socket.h>

int channel_open(struct channel *s, int fd, struct tls_context *context, bool begins_later) {
    int rc;

    *s = (struct channel){ .fd = fd, .begins_later = begins_later };
    rc = tls_new(context, NULL, &s->tls);
    if (rc == 0)
        tls_attach_socket(s->tls, fd);
    return rc;
}

ssize_t channel_recv(struct channel *s, void *data, size_t size) {
    return s->tls != NULL ? tls_recv(s->tls, data, size) : socket_recv(s->fd, data, size);
}

ssize_t channel_send(struct channel *s, const void *data, size_t size) {
    return s->tls != NULL ? tls_send(s->tls, data, size) : socket_send(s->fd, data, size);
}

unsigned channel_awaits(const struct channel *s, unsigned what) {
    return s->tls != NULL ? tls_awaits(s->tls, what) : what;
}

/* Encrypted bytes must be sent: those that stay behind would pass for the first of the next. */
ssize_t channel_send_now(struct channel *s, struct slice text) {
    struct pollfd room = { .fd = s->fd, .events = POLLOUT };
    ssize_t n;

    if (s->tls == NULL)
        return socket_send(s->fd, text.ptr, text.len);
    if (poll(&room, 1, 0) == 0)
        return -EAGAIN;
    n = tls_send(s->tls, text.ptr, text.len);
    if (n == -EAGAIN)
        shutdown(s->fd, SHUT_RDWR);
    return n;
}

void channel_lend(struct channel *s, struct watch *watch) {
    if (s->tls != NULL && !s->begins_later)
        watch_secure(watch, s->tls);
}

void channel_take_back(struct channel *s, struct watch *watch) {
    if (s->tls == NULL)
        return;
    watch_secure(watch, NULL);
    tls_attach_socket(s->tls, s->fd);
}

void channel_count(struct channel *s, struct stats *stats) {
    if (LIKELY(s->counted) || s->tls->state == TLS_HANDSHAKING)
        return;
    s->counted = true;
    if (!tls_is_open(s->tls)) {
        stats_add(stats, STATS_tls_failed, 1);
        return;
    }
    stats_add(stats, STATS_tls_handshakes, 1);
    if (tls_is_resumed(s->tls))
        stats_add(stats, STATS_tls_resumed, 1);
}

const char *channel_subject(const struct channel *s, char text[TLS_SUBJECT_BYTES]) {
    text[0] = '\0';
    return s->tls != NULL ? tls_subject(s->tls, text) : text;
}

bool channel_is_bare_http(struct channel *s) {
    if (s->tls == NULL || !tls_saw_http(s->tls))
        return false;
    tls_free(s->tls);
    s->tls = NULL;
    return true;
}

void channel_close(struct channel *s, struct watch *watch, struct stats *stats) {
    if (s->tls == NULL)
        return;
    if (!s->cut)
        (void)tls_shutdown(s->tls);
    if (watch != NULL && watch->tls != NULL)
        watch_secure(watch, NULL);
    if (!s->counted) /* the client left, or was too slow */
        stats_add(stats, STATS_tls_failed, 1);
    s->counted = true;
    s->begins_later = false;
    tls_free(s->tls);
    s->tls = NULL;
}
