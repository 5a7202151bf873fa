/* SPDX-License-Identifier: MIT */
/* Two sides of TLS over wires in memory, which deliver in pieces, block, end or break as a test
 * wants. */
#ifndef TESTS_NET_TLS_RIG_H
#define TESTS_NET_TLS_RIG_H

#include "base/buf.h"
#include "net/tls.h"
#include "tests/unit/net/tls_pki.h"
#include <errno.h>

/* One direction. Bytes wait in `sent` until they are read. */
struct tls_pipe {
    struct buf sent;
    size_t taken;     /* bytes that were read so far */
    size_t stops_at;  /* bytes behind this one are not delivered; SIZE_MAX: all are */
    size_t piece_max; /* bytes of one read, 0: all; every second read says EAGAIN then */
    size_t room;      /* bytes that may wait in `sent`; SIZE_MAX: any number */
    bool pauses, ended;
    int send_error; /* what a write says; 0: it works */
    int error;      /* what a read says, once all is read; 0: EAGAIN, or the end */
};

/* One side: what it reads, and what it writes. */
struct tls_side {
    struct tls *tls;
    struct tls_pipe *in, *out;
};

struct tls_rig {
    struct tls_pipe to_server, to_client;
    struct tls_side client, server;
    struct tls_context *client_context, *server_context;
};

static inline ssize_t rig_wire_recv(void *arg, void *data, size_t size) {
    struct tls_pipe *p = ((struct tls_side *)arg)->in;
    size_t n = buf_unread(&p->sent).len;

    if (p->piece_max > 0) {
        p->pauses = !p->pauses;
        n = n < p->piece_max ? n : p->piece_max;
        n = p->pauses ? 0 : n;
    }
    if (n > p->stops_at - p->taken)
        n = p->stops_at - p->taken;
    if (n > size)
        n = size;
    if (n == 0 && (p->taken == p->stops_at || buf_unread(&p->sent).len == 0))
        return p->error != 0 ? p->error : p->ended ? 0 : -EAGAIN;
    if (n == 0)
        return -EAGAIN;
    memcpy(data, buf_unread(&p->sent).ptr, n);
    buf_consume(&p->sent, n);
    p->taken += n;
    return (ssize_t)n;
}

static inline ssize_t rig_wire_send(void *arg, const void *data, size_t size) {
    struct tls_pipe *p = ((struct tls_side *)arg)->out;
    size_t room = p->room - buf_unread(&p->sent).len;
    size_t n = size < room ? size : room;

    if (p->send_error != 0)
        return p->send_error;
    if (n == 0)
        return -EAGAIN;
    assert_int_equal(buf_append(&p->sent, slice_of(data, n)), 0);
    return (ssize_t)n;
}

static const struct tls_wire_ops rig_wire = { rig_wire_recv, rig_wire_send };

static inline void pipe_open(struct tls_pipe *p) {
    *p = (struct tls_pipe){ .stops_at = SIZE_MAX, .room = SIZE_MAX };
    buf_init(&p->sent, 64 << 20);
}

static inline void rig_connect(struct tls_rig *r, const struct tls_peer *peer) {
    pipe_open(&r->to_server);
    pipe_open(&r->to_client);
    r->client = (struct tls_side){ .in = &r->to_client, .out = &r->to_server };
    r->server = (struct tls_side){ .in = &r->to_server, .out = &r->to_client };
    assert_int_equal(tls_new(r->client_context, peer, &r->client.tls), 0);
    assert_int_equal(tls_new(r->server_context, NULL, &r->server.tls), 0);
    tls_attach(r->client.tls, &rig_wire, &r->client);
    tls_attach(r->server.tls, &rig_wire, &r->server);
}

static inline void rig_hang_up(struct tls_rig *r) {
    tls_free(r->client.tls);
    tls_free(r->server.tls);
    buf_free(&r->to_server.sent);
    buf_free(&r->to_client.sent);
}

/* Both go on until neither gets any further. */
static inline void rig_shake(struct tls_rig *r, int *client, int *server) {
    size_t before, after = SIZE_MAX;
    unsigned idle = 0;

    do {
        before = after;
        *client = tls_handshake(r->client.tls);
        *server = tls_handshake(r->server.tls);
        after = r->to_server.taken + r->to_client.taken;
        idle = after == before ? idle + 1 : 0;
    } while (idle < 3);
}

static inline void rig_open(struct tls_rig *r, struct tls_config client, struct tls_config server) {
    *r = (struct tls_rig){ .client_context = context_of(client),
                           .server_context = context_of(server) };
}

static inline void rig_close(struct tls_rig *r) {
    tls_context_unref(r->client_context);
    tls_context_unref(r->server_context);
}

#endif
