/* SPDX-License-Identifier: MIT */
/* Keeps points in a growing array, thinned out when a run is long. */
#include "playground/series.h"
#include "base/alloc.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#define FIRST_POINTS 64
#define REPLY_BYTES  32768 /* what the kernel fills at most in one go */

/* Drops every second point; from now on only half as many are taken. */
static void thin_out(struct series *s) {
    for (size_t i = 0; i < s->count / 2; i++)
        s->points[i] = s->points[2 * i];
    s->count /= 2;
    s->stride *= 2;
}

int series_add(struct series *s, const struct series_point *point) {
    if (s->stride == 0)
        s->stride = 1;
    if (s->count > 0 && ++s->skipped < s->stride)
        return 0;
    s->skipped = 0;
    if (s->count == SERIES_POINTS_MAX)
        thin_out(s);
    if (s->count == s->capacity) {
        size_t capacity = s->capacity == 0 ? FIRST_POINTS : 2 * s->capacity;
        struct series_point *points = mem_realloc(s->points, capacity * sizeof(*points));
        if (points == NULL)
            return -ENOMEM;
        s->points = points;
        s->capacity = capacity;
    }
    s->points[s->count++] = *point;
    return 0;
}

void series_free(struct series *s) {
    mem_free(s->points);
    *s = (struct series){ 0 };
}

/* In these a client's request is without its whole answer. After CLOSE_WAIT it has closed, too. */
#define CLIENT_STATES (1u << TCP_SYN_SENT | 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT)

/* Asks for these states alone: /proc/net/tcp would list those in TIME_WAIT, too, and can take
 * 100 ms. */
static int ask(int fd) {
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } request = {
        .head = { .nlmsg_len = sizeof(request),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        .body = { .sdiag_family = AF_INET,
                  .sdiag_protocol = IPPROTO_TCP,
                  .idiag_states = CLIENT_STATES },
    };
    return send(fd, &request, sizeof(request), 0) == sizeof(request) ? 0 : -errno;
}

static void count_socket(const struct inet_diag_msg *message, const uint16_t *ports, size_t count,
                         struct series_sockets *ret) {
    for (size_t i = 0; i < count; i++) {
        ret[i].accepted += ports[i] != 0 && htons(ports[i]) == message->id.idiag_sport &&
                           message->idiag_state == TCP_ESTABLISHED;
        ret[i].made += ports[i] != 0 && htons(ports[i]) == message->id.idiag_dport;
    }
}

/* Counts what one datagram tells. False when it was the last. */
static bool count_reply(struct nlmsghdr *head, size_t len, const uint16_t *ports, size_t count,
                        struct series_sockets *ret) {
    for (; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
        if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
            return false; /* NLMSG_DONE or NLMSG_ERROR */
        count_socket(NLMSG_DATA(head), ports, count, ret);
    }
    return true;
}

void series_count_sockets(const uint16_t *ports, size_t count, struct series_sockets *ret) {
    char *reply = mem_alloc(REPLY_BYTES); /* aligned for any header */
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct series_sockets){ 0 };
    int fd = reply == NULL ? -1 : socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd >= 0 && ask(fd) == 0) {
        ssize_t n;
        do
            n = recv(fd, reply, REPLY_BYTES, 0);
        while (n > 0 &&
               count_reply((struct nlmsghdr *)(void *)reply, (size_t)n, ports, count, ret));
    }
    if (fd >= 0)
        close(fd);
    mem_free(reply);
}
