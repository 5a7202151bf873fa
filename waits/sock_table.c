/* SPDX-License-Identifier: MIT */
/* Asks sock_diag for TCP, UDP and unix sockets, in each network namespace that is met. */
#include "waits/sock_table.h"
#include "base/alloc.h"
#include "base/escape.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define REPLY_BYTES     32768 /* the most that the kernel sends in one go */
#define CAPACITY_MIN    256   /* a power of 2 */
#define FORGET_COUNT    4096  /* a table with more forgets sockets that nobody wanted of late */
#define FORGET_ROUNDS   8
#define ANSWER_MSEC     200 /* an answer is there at once */
#define UNIX_NAME_BYTES 108

/* --- the table -------------------- */

static size_t place_of(const struct sock_table *t, uint64_t inode) {
    size_t at = (size_t)(inode * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (t->capacity - 1);
    while (t->socks[at].inode != 0 && t->socks[at].inode != inode)
        at = (at + 1) & (t->capacity - 1);
    return at;
}

static struct sock *find(const struct sock_table *t, uint64_t inode) {
    struct sock *sock = inode != 0 ? &t->socks[place_of(t, inode)] : NULL;
    return sock != NULL && sock->inode == inode ? sock : NULL;
}

/* Moves the sockets that were wanted since round `oldest` to a table of that capacity. 0 or
 * -ENOMEM, and everything is as it was. */
static int rebuild(struct sock_table *t, size_t capacity, uint32_t oldest) {
    struct sock_table old = *t;
    struct sock *socks = mem_calloc(capacity, sizeof(*socks));
    if (socks == NULL)
        return -ENOMEM;
    t->socks = socks;
    t->capacity = capacity;
    t->count = 0;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.socks[i].inode != 0 && old.socks[i].round >= oldest) {
            t->socks[place_of(t, old.socks[i].inode)] = old.socks[i];
            t->count++;
        }
    mem_free(old.socks);
    return 0;
}

int sock_table_open(struct sock_table *t) {
    *t = (struct sock_table){ .round = 1 };
    t->reply = mem_alloc(REPLY_BYTES); /* aligned for any header */
    t->nets = mem_calloc(SOCK_NETS_MAX, sizeof(*t->nets));
    return t->reply == NULL || t->nets == NULL ? -ENOMEM : rebuild(t, CAPACITY_MIN, 0);
}

void sock_table_close(struct sock_table *t) {
    for (size_t i = 0; i < t->net_count; i++)
        if (t->nets[i].fd >= 0)
            close(t->nets[i].fd);
    mem_free(t->socks);
    mem_free(t->nets);
    mem_free(t->reply);
    *t = (struct sock_table){ .count = 0 };
}

void sock_table_begin(struct sock_table *t) {
    t->round++;
    /* Without memory for a smaller table the larger one serves. */
    if (t->count > FORGET_COUNT && t->round > FORGET_ROUNDS)
        (void)rebuild(t, t->capacity, t->round - FORGET_ROUNDS);
}

/* --- namespaces -------------------- */

static int diag_socket(void) {
    static const struct timeval patience = { .tv_usec = ANSWER_MSEC * 1000 };
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd < 0 ? -errno : fd;
}

/* A socket stays in the namespace that it was made in, whereas this thread comes back. */
static int diag_socket_in(int proc_fd) {
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = openat(proc_fd, "ns/net", O_RDONLY | O_CLOEXEC);
    int fd = home < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0 ? -errno : diag_socket();
    if (home >= 0 && setns(home, CLONE_NEWNET) != 0 && fd >= 0) {
        close(fd); /* not reached: who may leave may come back */
        fd = -errno;
    }
    if (home >= 0)
        close(home);
    if (there >= 0)
        close(there);
    return fd;
}

int sock_table_net(struct sock_table *t, int proc_fd) {
    struct stat ours, theirs;
    if (stat("/proc/self/ns/net", &ours) != 0)
        return -errno;
    bool told = fstatat(proc_fd, "ns/net", &theirs, 0) == 0;
    ino_t inode = told ? theirs.st_ino : ours.st_ino;
    size_t i = 0;
    while (i < t->net_count && t->nets[i].inode != inode)
        i++;
    if (i < t->net_count)
        return t->nets[i].fd >= 0 ? (int)i : t->nets[i].fd;
    if (i == SOCK_NETS_MAX)
        return -ENOSPC;
    int fd = inode == ours.st_ino ? diag_socket() : diag_socket_in(proc_fd);
    t->nets[i] = (struct sock_net){ .inode = inode, .fd = fd == -EPERM ? -EACCES : fd };
    t->net_count++;
    return t->nets[i].fd >= 0 ? (int)i : t->nets[i].fd;
}

/* --- addresses -------------------- */

static void put_ip(int family, const uint32_t ip[4], uint16_t port, char *text, size_t size) {
    char host[INET6_ADDRSTRLEN] = "";
    struct in6_addr v6;
    memcpy(&v6, ip, sizeof(v6));
    if (family == AF_INET)
        inet_ntop(AF_INET, ip, host, sizeof(host));
    else if (IN6_IS_ADDR_V4MAPPED(&v6))
        inet_ntop(AF_INET, &ip[3], host, sizeof(host));
    else
        inet_ntop(AF_INET6, &v6, host, sizeof(host));
    snprintf(text, size, strchr(host, ':') != NULL ? "[%s]:%u" : "%s:%u", host, port);
}

/* A name begins with NUL when it is no path. unix(7) */
void sock_put_name(struct slice name, char *text, size_t size) {
    char escaped[SOCK_TEXT_BYTES - sizeof("unix:@")];
    bool is_abstract = name.len > 0 && name.ptr[0] == '\0';
    if (!is_abstract)
        name.len = strnlen(name.ptr, name.len);
    escape_text(escaped, sizeof(escaped), slice_drop(name, is_abstract));
    snprintf(text, size, "unix:%s%s", is_abstract ? "@" : "", escaped);
}

/* --- TCP and UDP -------------------- */

#define TCP_STATES                                                                            \
    (1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_FIN_WAIT1 | 1u << TCP_FIN_WAIT2 | \
     1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK | 1u << TCP_CLOSING | 1u << TCP_LISTEN)

static const struct dump_row {
    uint8_t family, protocol;
    uint32_t states;
} dumps[SOCK_DUMPS] = {
    [SOCK_TCP4] = { AF_INET, IPPROTO_TCP, TCP_STATES },
    [SOCK_TCP6] = { AF_INET6, IPPROTO_TCP, TCP_STATES },
    [SOCK_UDP4] = { AF_INET, IPPROTO_UDP, UINT32_MAX },
    [SOCK_UDP6] = { AF_INET6, IPPROTO_UDP, UINT32_MAX },
};

static bool listens_at(const struct sock_net *net, uint16_t port) {
    return (net->listens[port / 8] >> (port % 8) & 1) != 0;
}

static void show(struct sock *s, int family, enum sock_side side, const uint32_t ip[4],
                 uint16_t port) {
    s->side = (uint8_t)side;
    s->port = port;
    put_ip(family, ip, port, s->text, sizeof(s->text));
}

static void fill_udp(struct sock *s, const struct inet_diag_msg *m) {
    char address[SOCK_TEXT_BYTES - sizeof("udp ")];
    bool connected = m->idiag_state == TCP_ESTABLISHED;
    s->datagram = true;
    s->side = connected ? SOCK_MADE : SOCK_PLAIN;
    s->port = ntohs(connected ? m->id.idiag_dport : m->id.idiag_sport);
    put_ip(m->idiag_family, connected ? m->id.idiag_dst : m->id.idiag_src, s->port, address,
           sizeof(address));
    snprintf(s->text, sizeof(s->text), "udp %s", address);
}

static void fill_tcp(struct sock *s, const struct inet_diag_msg *m, const struct sock_net *net) {
    uint16_t own = ntohs(m->id.idiag_sport), other = ntohs(m->id.idiag_dport);
    if (m->idiag_state == TCP_LISTEN)
        show(s, m->idiag_family, SOCK_LISTENING, m->id.idiag_src, own);
    else if (m->idiag_state == TCP_SYN_SENT)
        show(s, m->idiag_family, SOCK_MAKING, m->id.idiag_dst, other);
    else if (listens_at(net, own))
        show(s, m->idiag_family, SOCK_ACCEPTED, m->id.idiag_src, own);
    else
        show(s, m->idiag_family, SOCK_MADE, m->id.idiag_dst, other);
}

/* Listeners come first in an answer: fill_tcp knows their ports when connections follow. */
static void take_inet(struct sock_table *t, struct sock_net *net, uint8_t protocol,
                      const struct inet_diag_msg *m) {
    uint16_t own = ntohs(m->id.idiag_sport);
    if (protocol == IPPROTO_TCP && m->idiag_state == TCP_LISTEN)
        net->listens[own / 8] |= (uint8_t)(1u << (own % 8));
    struct sock *s = find(t, m->idiag_inode);
    if (s == NULL || s->round != t->round)
        return;
    if (protocol == IPPROTO_TCP)
        fill_tcp(s, m, net);
    else
        fill_udp(s, m);
}

int sock_diag_ask(int fd, uint8_t family, uint8_t protocol, uint32_t states) {
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } request = {
        .head = { .nlmsg_len = sizeof(request),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        .body = { .sdiag_family = family, .sdiag_protocol = protocol, .idiag_states = states },
    };
    return send(fd, &request, sizeof(request), 0) == sizeof(request) ? 0 : -errno;
}

static void look_through(struct sock_table *t, struct sock_net *net, const struct dump_row *row) {
    if (sock_diag_ask(net->fd, row->family, row->protocol, row->states) != 0)
        return;
    for (;;) {
        ssize_t n = recv(net->fd, t->reply, REPLY_BYTES, 0);
        size_t len = n < 0 ? 0 : (size_t)n;
        struct nlmsghdr *head = (struct nlmsghdr *)(void *)t->reply;
        if (len == 0)
            return;
        for (; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
            if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
                return; /* NLMSG_DONE or NLMSG_ERROR */
            take_inet(t, net, row->protocol, NLMSG_DATA(head));
        }
    }
}

/* --- unix sockets, which are asked for by inode -------------------- */

struct unix_sock {
    uint8_t state;
    uint32_t peer; /* the inode of the other end; 0: none */
    char name[UNIX_NAME_BYTES];
    size_t name_len;
};

static void take_unix(struct nlmsghdr *head, struct unix_sock *ret) {
    struct unix_diag_msg *m = NLMSG_DATA(head);
    struct rtattr *attr = (struct rtattr *)(void *)(m + 1);
    int len = (int)NLMSG_PAYLOAD(head, sizeof(*m));
    ret->state = m->udiag_state;
    for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
        size_t size = RTA_PAYLOAD(attr);
        if (attr->rta_type == UNIX_DIAG_PEER && size >= sizeof(ret->peer))
            memcpy(&ret->peer, RTA_DATA(attr), sizeof(ret->peer));
        if (attr->rta_type != UNIX_DIAG_NAME)
            continue;
        ret->name_len = size < sizeof(ret->name) ? size : sizeof(ret->name);
        memcpy(ret->name, RTA_DATA(attr), ret->name_len);
    }
}

/* Whether there is one. */
static bool ask_unix(struct sock_table *t, const struct sock_net *net, uint32_t inode,
                     struct unix_sock *ret) {
    struct {
        struct nlmsghdr head;
        struct unix_diag_req body;
    } request = {
        .head = { .nlmsg_len = sizeof(request),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST },
        .body = { .sdiag_family = AF_UNIX,
                  .udiag_states = UINT32_MAX,
                  .udiag_ino = inode,
                  .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_PEER,
                  .udiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } },
    };
    *ret = (struct unix_sock){ .peer = 0 };
    if (send(net->fd, &request, sizeof(request), 0) != sizeof(request))
        return false;
    ssize_t n = recv(net->fd, t->reply, REPLY_BYTES, 0);
    size_t len = n < 0 ? 0 : (size_t)n;
    struct nlmsghdr *head = (struct nlmsghdr *)(void *)t->reply;
    if (len == 0 || !NLMSG_OK(head, len) || head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    take_unix(head, ret);
    return true;
}

/* An accepted socket has the name of the listener; the one that was connected has none as a rule.
 */
static void fill_unix(struct sock_table *t, const struct sock_net *net, struct sock *s) {
    struct unix_sock own, peer = { .peer = 0 };
    if (!ask_unix(t, net, (uint32_t)s->inode, &own))
        return;
    bool has_peer = own.peer != 0 && ask_unix(t, net, own.peer, &peer);
    if (own.state == TCP_LISTEN)
        s->side = SOCK_LISTENING;
    else if (peer.name_len > 0)
        s->side = SOCK_MADE;
    else if (own.name_len > 0)
        s->side = SOCK_ACCEPTED;
    else if (has_peer)
        s->side = SOCK_PLAIN;
    else
        return; /* not connected yet, or not any more */
    if (s->side == SOCK_PLAIN)
        snprintf(s->text, sizeof(s->text), "socket pair");
    else if (s->side == SOCK_MADE)
        sock_put_name(slice_of(peer.name, peer.name_len), s->text, sizeof(s->text));
    else
        sock_put_name(slice_of(own.name, own.name_len), s->text, sizeof(s->text));
}

/* --- what is wanted -------------------- */

static bool is_settled(const struct sock *s) {
    return s->side != SOCK_UNKNOWN && s->side != SOCK_MAKING;
}

bool sock_table_knows(const struct sock_table *t, uint64_t inode) {
    const struct sock *s = find(t, inode);
    return s != NULL && is_settled(s);
}

/* Asks at once where that is cheap; whole tables have to wait for sock_table_ask. */
static void fill(struct sock_table *t, struct sock_net *net, struct sock *s, const char *protocol) {
    if (strcmp(protocol, "TCP") == 0)
        net->wants[SOCK_TCP4] = true;
    else if (strcmp(protocol, "TCPv6") == 0)
        net->wants[SOCK_TCP6] = true;
    else if (strcmp(protocol, "UDP") == 0)
        net->wants[SOCK_UDP4] = true;
    else if (strcmp(protocol, "UDPv6") == 0)
        net->wants[SOCK_UDP6] = true;
    else if (strncmp(protocol, "UNIX", strlen("UNIX")) == 0)
        fill_unix(t, net, s);
    else if (protocol[0] != '\0') {
        s->side = SOCK_PLAIN;
        snprintf(s->text, sizeof(s->text), "%s socket", protocol);
    }
}

int sock_table_want(struct sock_table *t, int net, uint64_t inode, const char *protocol) {
    struct sock *s = find(t, inode);
    if (s == NULL) {
        if (3 * t->count >= 2 * t->capacity && rebuild(t, 2 * t->capacity, 0) != 0)
            return -ENOMEM;
        s = &t->socks[place_of(t, inode)];
        *s = (struct sock){ .inode = inode };
        t->count++;
    }
    bool is_asked = s->round == t->round;
    s->round = t->round;
    if (is_settled(s) || is_asked || net < 0)
        return 0;
    fill(t, &t->nets[net], s, protocol);
    return 0;
}

void sock_table_ask(struct sock_table *t) {
    for (size_t i = 0; i < t->net_count; i++)
        for (size_t d = 0; d < SOCK_DUMPS; d++)
            if (t->nets[i].wants[d]) {
                t->nets[i].wants[d] = false;
                look_through(t, &t->nets[i], &dumps[d]);
            }
}

const struct sock *sock_table_find(const struct sock_table *t, uint64_t inode) {
    return find(t, inode);
}
