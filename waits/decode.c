/* SPDX-License-Identifier: MIT */
/* Reads the arguments of the calls that threads wait in. */
#include "waits/decode.h"
#include "base/escape.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define POLLED_MAX      64  /* descriptors of a poll or select that are looked at */
#define LINK_BYTES      256 /* a longer path is cut */
#define EPOLL_COST      100 /* counting an epoll takes one in so many parts of the time */
#define EPOLL_BYTES_MAX (8u << 20)
#define LOCK_CONTENDED  2 /* the word of a mutex of libc with others that wait */

/* --- the process -------------------- */

/* 0, or -errno: nothing there, or not permitted. */
static int read_memory(pid_t pid, uint64_t address, void *ret, size_t size) {
    struct iovec to = { ret, size }, from = { (void *)(uintptr_t)address, size };
    ssize_t n = process_vm_readv(pid, &to, 1, &from, 1, 0);
    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EFAULT;
}

/* "anon_inode:[eventfd]" and "anon_inode:inotify" without their wrapping. */
static void put_anonymous(const char *name, char *text, size_t size) {
    size_t len = strlen(name);
    if (len > 2 && name[0] == '[' && name[len - 1] == ']') {
        name++;
        len -= 2;
    }
    escape_text(text, size, slice_of(name, len));
}

/* Pipes and what has no name are told by their kind, files by their path. */
static void put_file(const char *link, char *text, size_t size) {
    static const char anonymous[] = "anon_inode:";
    if (strncmp(link, "pipe:", strlen("pipe:")) == 0)
        snprintf(text, size, "pipe");
    else if (strncmp(link, anonymous, strlen(anonymous)) == 0)
        put_anonymous(link + strlen(anonymous), text, size);
    else
        escape_text(text, size, slice_str(link));
}

/* Reads what descriptor `fd` leads to, and has the table ask for a socket. False: the descriptor
 * is closed or not told, or memory is out. */
static bool look_up(const struct decode_process *p, int fd, short events, struct sock_table *table,
                    struct decode_file *ret) {
    char path[32], link[LINK_BYTES], protocol[SOCK_PROTOCOL_BYTES] = "";
    static const char socket_prefix[] = "socket:[";
    snprintf(path, sizeof(path), "fd/%d", fd);
    ssize_t len = readlinkat(p->proc_fd, path, link, sizeof(link) - 1);
    *ret = (struct decode_file){ .events = events };
    if (len <= 0)
        return false;
    link[len] = '\0';
    if (strncmp(link, socket_prefix, strlen(socket_prefix)) != 0) {
        put_file(link, ret->text, sizeof(ret->text));
        return true;
    }
    ret->inode = strtoull(link + strlen(socket_prefix), NULL, 10);
    if (!sock_table_knows(table, ret->inode)) {
        char whole[64];
        snprintf(whole, sizeof(whole), "/proc/%d/fd/%d", (int)p->pid, fd);
        ssize_t n = getxattr(whole, "system.sockprotoname", protocol, sizeof(protocol) - 1);
        protocol[n > 0 ? n : 0] = '\0';
    }
    return ret->inode != 0 && sock_table_want(table, p->net, ret->inode, protocol) == 0;
}

static bool is_on_disk(const struct decode_process *p, int fd) {
    char path[32];
    struct stat info;
    snprintf(path, sizeof(path), "fd/%d", fd);
    return fstatat(p->proc_fd, path, &info, 0) == 0 &&
           (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode) || S_ISBLK(info.st_mode));
}

/* --- calls about one descriptor -------------------- */

static void put_object(struct wait *w, const char *text) {
    snprintf(w->object, sizeof(w->object), "%s", text);
}

static void begin_transfer(const struct decode_process *p, const struct wait_call *call,
                           struct sock_table *table, struct decode_seen *seen) {
    struct wait *w = &seen->wait;
    bool reads = call->shape == CALL_READ;
    int fd = (int)call->args[0];
    struct decode_file *file = &seen->files[0];
    w->kind = reads ? WAIT_READ : WAIT_WRITE;
    if (!look_up(p, fd, reads ? POLLIN : POLLOUT, table, file))
        return;
    if (file->inode != 0) {
        w->kind = reads ? WAIT_RECV : WAIT_SEND;
        seen->file_count = 1;
    } else if (file->text[0] == '/' && is_on_disk(p, fd)) {
        w->kind = WAIT_DISK;
        snprintf(w->object, sizeof(w->object), "%s %.*s", call->name,
                 WAIT_OBJECT_BYTES - CALL_NAME_BYTES - 1, file->text);
    } else
        put_object(w, file->text);
}

static void begin_accept(const struct decode_process *p, const struct wait_call *call,
                         struct sock_table *table, struct decode_seen *seen) {
    seen->wait.kind = WAIT_ACCEPT;
    seen->file_count = look_up(p, (int)call->args[0], POLLIN, table, &seen->files[0]);
}

static void begin_lock(const struct decode_process *p, const struct wait_call *call,
                       struct sock_table *table, struct decode_seen *seen) {
    seen->wait.kind = WAIT_FILE_LOCK;
    if (look_up(p, (int)call->args[0], 0, table, &seen->files[0]))
        put_object(&seen->wait, seen->files[0].text);
}

/* --- connecting -------------------- */

/* The address stands in the call, which says more than a socket that has no other end yet. */
static bool put_address(const struct sockaddr_storage *address, size_t len, struct wait *w,
                        uint16_t *ret_port) {
    char host[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const void *)address;
    const struct sockaddr_in6 *v6 = (const void *)address;
    const struct sockaddr_un *local = (const void *)address;
    *ret_port = 0;
    if (address->ss_family == AF_INET) {
        *ret_port = ntohs(v4->sin_port);
        snprintf(w->object, sizeof(w->object), "%s:%u",
                 inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host)), *ret_port);
    } else if (address->ss_family == AF_INET6) {
        *ret_port = ntohs(v6->sin6_port);
        snprintf(w->object, sizeof(w->object), "[%s]:%u",
                 inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host)), *ret_port);
    } else if (address->ss_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path)) {
        size_t name_len = len - offsetof(struct sockaddr_un, sun_path);
        sock_put_name(slice_of(local->sun_path, name_len), w->object, sizeof(w->object));
    } else
        return false;
    return true;
}

static void begin_connect(const struct decode_process *p, const struct wait_call *call,
                          struct sock_table *table, struct decode_seen *seen) {
    struct sockaddr_storage address = { 0 };
    size_t len = call->args[2] < sizeof(address) ? (size_t)call->args[2] : sizeof(address);
    struct wait *w = &seen->wait;
    w->kind = WAIT_CONNECT;
    if (len > sizeof(struct sockaddr_un))
        len = sizeof(struct sockaddr_un);
    if (read_memory(p->pid, call->args[1], &address, len) == 0 &&
        put_address(&address, len, w, &seen->port))
        return;
    seen->file_count = look_up(p, (int)call->args[0], POLLOUT, table, &seen->files[0]);
}

/* --- calls about several descriptors -------------------- */

/* Looks them up when they are few. */
static void begin_several(const struct decode_process *p, const struct pollfd *fds, size_t count,
                          struct sock_table *table, struct decode_seen *seen) {
    seen->wait.descriptors = (uint32_t)count;
    if (count > DECODE_FILES_MAX)
        return;
    for (size_t i = 0; i < count; i++)
        if (look_up(p, fds[i].fd, fds[i].events, table, &seen->files[seen->file_count]))
            seen->file_count++;
    if (seen->file_count < count) /* one is unknown: it may be the one that counts */
        seen->file_count = 0;
}

/* A negative descriptor is left out by poll(2). */
static void begin_poll(const struct decode_process *p, const struct wait_call *call,
                       struct sock_table *table, struct decode_seen *seen) {
    struct pollfd fds[POLLED_MAX];
    size_t count = (size_t)call->args[1], kept = 0;
    seen->wait.kind = count == 0 ? WAIT_SLEEP : WAIT_POLL;
    seen->wait.descriptors = (uint32_t)count;
    if (count == 0 || count > POLLED_MAX ||
        read_memory(p->pid, call->args[0], fds, count * sizeof(fds[0])) != 0)
        return;
    for (size_t i = 0; i < count; i++)
        if (fds[i].fd >= 0)
            fds[kept++] = fds[i];
    if (kept == 0)
        seen->wait.kind = WAIT_SLEEP;
    begin_several(p, fds, kept, table, seen);
}

/* Reads one of the sets of select(2); without memory or set it is empty. */
static void read_set(const struct decode_process *p, uint64_t address, size_t count, fd_set *ret) {
    FD_ZERO(ret);
    size_t size = (count + 63) / 64 * 8;
    if (address != 0 && read_memory(p->pid, address, ret, size) != 0)
        FD_ZERO(ret);
}

static void begin_select(const struct decode_process *p, const struct wait_call *call,
                         struct sock_table *table, struct decode_seen *seen) {
    struct pollfd fds[POLLED_MAX];
    size_t count = (size_t)call->args[0], kept = 0;
    fd_set sets[3];
    if (count > FD_SETSIZE)
        count = FD_SETSIZE;
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        read_set(p, call->args[1 + i], count, &sets[i]);
    for (int fd = 0; fd < (int)count && kept < POLLED_MAX; fd++) {
        bool reads = FD_ISSET(fd, &sets[0]), writes = FD_ISSET(fd, &sets[1]);
        if (reads || writes || FD_ISSET(fd, &sets[2]))
            fds[kept++] =
                (struct pollfd){ .fd = fd,
                                 .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)) };
    }
    bool is_sleep = call->args[1] == 0 && call->args[2] == 0 && call->args[3] == 0;
    seen->wait.kind = is_sleep ? WAIT_SLEEP : WAIT_POLL;
    begin_several(p, fds, kept, table, seen);
}

/* A line that begins with "tfd:" for each, in /proc/PID/fdinfo/FD. proc(5) */
static uint32_t count_epoll(const struct decode_process *p, int fd) {
    char text[2048], path[32];
    uint32_t count = 0;
    size_t total = 0;
    bool at_begin = true;
    ssize_t n;
    snprintf(path, sizeof(path), "fdinfo/%d", fd);
    int file = openat(p->proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    while (total < EPOLL_BYTES_MAX && (n = read(file, text, sizeof(text))) > 0) {
        total += (size_t)n;
        for (ssize_t i = 0; i < n; i++) {
            count += at_begin && text[i] == 't';
            at_begin = text[i] == '\n';
        }
    }
    close(file);
    return count;
}

static void begin_epoll(const struct decode_process *p, const struct wait_call *call,
                        struct decode_epoll *epoll, struct decode_seen *seen) {
    int fd = (int)call->args[0];
    nsec_t now = clock_now();
    seen->wait.kind = WAIT_EPOLL;
    if (epoll->fd != fd || now >= epoll->until) {
        nsec_t spent = clock_thread_cpu();
        epoll->count = count_epoll(p, fd);
        epoll->fd = fd;
        epoll->until = now + (clock_thread_cpu() - spent) * EPOLL_COST;
    }
    seen->wait.descriptors = epoll->count;
}

/* --- futexes -------------------- */

static bool is_thread(const struct decode_process *p, uint64_t tid) {
    char path[32];
    snprintf(path, sizeof(path), "task/%" PRIu64, tid);
    return tid > 0 && tid < INT32_MAX && faccessat(p->proc_fd, path, F_OK, 0) == 0;
}

/* Tells locks and joins by the operation and by the value that the waiter found in the word. A
 * mutex of libc that is waited for holds LOCK_CONTENDED or the bit FUTEX_WAITERS. The word of a
 * join holds the number of the other thread, until the kernel clears the word when that thread
 * ends. Everything else is told as a condition. */
static enum wait_kind futex_kind(const struct decode_process *p, const struct wait_call *call) {
    int operation = (int)call->args[1] & FUTEX_CMD_MASK;
    bool is_private = ((int)call->args[1] & FUTEX_PRIVATE_FLAG) != 0;
    uint32_t value = (uint32_t)call->args[2];
    switch (operation) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return WAIT_LOCK;
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
        if (value == LOCK_CONTENDED || (value & FUTEX_WAITERS) != 0)
            return WAIT_LOCK;
        return !is_private && is_thread(p, value) ? WAIT_THREAD : WAIT_CONDITION;
    default:
        return WAIT_CONDITION;
    }
}

/* --- both steps -------------------- */

static void begin_other(const struct wait_call *call, struct decode_seen *seen) {
    static const enum wait_kind plain[] = {
        [CALL_RUNNING] = WAIT_RUNNING, [CALL_OUTSIDE] = WAIT_FAULT,     [CALL_ENDED] = WAIT_ENDED,
        [CALL_OTHER] = WAIT_OTHER,     [CALL_FUTEXES] = WAIT_CONDITION, [CALL_SLEEP] = WAIT_SLEEP,
        [CALL_CHILD] = WAIT_CHILD,     [CALL_SIGNAL] = WAIT_SIGNAL,     [CALL_DISK] = WAIT_DISK,
        [CALL_FCNTL] = WAIT_OTHER,
    };
    seen->wait.kind = plain[call->shape];
    if (seen->wait.kind == WAIT_OTHER || seen->wait.kind == WAIT_DISK)
        put_object(&seen->wait, call->name);
}

void decode_begin(const struct decode_process *process, const struct wait_call *call,
                  struct sock_table *table, struct decode_epoll *epoll, struct decode_seen *ret) {
    memset(ret, 0, sizeof(*ret));
    switch (call->shape) {
    case CALL_READ:
    case CALL_WRITE:
        begin_transfer(process, call, table, ret);
        break;
    case CALL_ACCEPT:
        begin_accept(process, call, table, ret);
        break;
    case CALL_CONNECT:
        begin_connect(process, call, table, ret);
        break;
    case CALL_EPOLL:
        begin_epoll(process, call, epoll, ret);
        break;
    case CALL_POLL:
        begin_poll(process, call, table, ret);
        break;
    case CALL_SELECT:
        begin_select(process, call, table, ret);
        break;
    case CALL_FUTEX:
        ret->wait.kind = futex_kind(process, call);
        break;
    case CALL_FLOCK:
        begin_lock(process, call, table, ret);
        break;
    case CALL_FCNTL:
        if (call->args[1] == F_SETLKW || call->args[1] == F_OFD_SETLKW) {
            begin_lock(process, call, table, ret);
            break;
        }
        begin_other(call, ret);
        break;
    case CALL_RUNNING:
    case CALL_OUTSIDE:
    case CALL_ENDED:
    case CALL_OTHER:
    case CALL_FUTEXES:
    case CALL_SLEEP:
    case CALL_CHILD:
    case CALL_SIGNAL:
    case CALL_DISK:
        begin_other(call, ret);
        break;
    }
}

/* --- roles -------------------- */

/* Servers whose ports everybody knows. /etc/services */
static const struct decode_role known_roles[] = {
    { "database", 5432 }, { "database", 6432 }, { "database", 3306 },  { "database", 27017 },
    { "cache", 6379 },    { "cache", 11211 },   { "name server", 53 },
};

static const char *find_role(const struct decode_role *roles, size_t count, uint16_t port) {
    for (size_t i = 0; i < count; i++)
        if (port != 0 && roles[i].port == port)
            return roles[i].name;
    return NULL;
}

static void put_role(const char *role, struct wait *w) {
    snprintf(w->role, sizeof(w->role), "%s", role);
}

/* The server at the other end of a connection that was made. */
static void put_server(struct wait *w, uint16_t port, bool datagram,
                       const struct decode_role *roles, size_t count) {
    const char *role = find_role(roles, count, port);
    if (role == NULL)
        role = find_role(known_roles, ARRAY_LEN(known_roles), port);
    if (role == NULL && strstr(w->object, "/.s.PGSQL.") != NULL)
        role = "database";
    if (role == NULL)
        role = datagram ? "" : "upstream";
    put_role(role, w);
}

static enum wait_kind kind_of_events(short events) {
    return (events & POLLIN) != 0 || (events & POLLOUT) == 0 ? WAIT_RECV : WAIT_SEND;
}

static void end_socket(struct wait *w, const struct sock *s, const struct decode_role *roles,
                       size_t count) {
    put_object(w, s->text);
    if (s->side == SOCK_LISTENING)
        w->kind = WAIT_ACCEPT;
    else if (s->side == SOCK_MAKING)
        w->kind = WAIT_CONNECT;
    else if (s->side == SOCK_ACCEPTED)
        put_role(WAIT_ROLE_CLIENT, w);
    if (s->side == SOCK_MADE || s->side == SOCK_MAKING)
        put_server(w, s->port, s->datagram, roles, count);
}

/* Whether bytes or room are waited for, rather than a hang-up alone, which poll(2) always tells. */
static bool waits_for_bytes(short events) {
    return (events & (POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM)) != 0;
}

/* The one that a poll is about: the only one with another end, beside pipes and the like by which
 * the thread is woken, and connections that are to stay open meanwhile; or the only one at all.
 * NULL: there are several. */
static const struct decode_file *file_that_counts(const struct decode_seen *seen,
                                                  const struct sock_table *table) {
    const struct decode_file *found = NULL;
    size_t ends = 0;
    for (size_t i = 0; i < seen->file_count; i++) {
        const struct sock *s = sock_table_find(table, seen->files[i].inode);
        bool has_end = seen->files[i].inode != 0 && (s == NULL || s->side != SOCK_PLAIN) &&
                       waits_for_bytes(seen->files[i].events);
        ends += has_end;
        if (has_end || found == NULL)
            found = &seen->files[i];
    }
    return ends == 1 || seen->file_count == 1 ? found : NULL;
}

static void end_poll(struct decode_seen *seen, const struct sock_table *table,
                     const struct decode_role *roles, size_t count) {
    const struct decode_file *file = file_that_counts(seen, table);
    struct wait *w = &seen->wait;
    if (file == NULL)
        return;
    w->polled = true;
    w->descriptors = 0;
    w->kind = kind_of_events(file->events);
    if (file->inode != 0) {
        const struct sock *s = sock_table_find(table, file->inode);
        if (s != NULL)
            end_socket(w, s, roles, count);
        return;
    }
    w->kind = w->kind == WAIT_RECV ? WAIT_READ : WAIT_WRITE;
    put_object(w, file->text);
}

void decode_end(struct decode_seen *seen, const struct sock_table *table,
                const struct decode_role *roles, size_t role_count) {
    struct wait *w = &seen->wait;
    if (w->kind == WAIT_POLL) {
        end_poll(seen, table, roles, role_count);
        return;
    }
    if (w->kind == WAIT_CONNECT && w->object[0] != '\0')
        put_server(w, seen->port, false, roles, role_count);
    const struct sock *s =
        seen->file_count == 1 ? sock_table_find(table, seen->files[0].inode) : NULL;
    if (s != NULL)
        end_socket(w, s, roles, role_count);
}

/* --- without calls -------------------- */

enum wait_kind decode_wchan(const char *function) {
    /* Names of Linux 4.19 to 6.18: parts of them, the more telling ones first. One that is slept in
     * for several reasons, as wait_woken for bytes and for room, tells nothing. */
    static const struct {
        const char *part;
        enum wait_kind kind;
    } rows[] = {
        { "ep_poll", WAIT_EPOLL },
        { "epoll_wait", WAIT_EPOLL },
        { "csk_accept", WAIT_ACCEPT },
        { "wait_for_connect", WAIT_CONNECT },
        { "wait_for_peer", WAIT_CONNECT },
        { "inet_stream_connect", WAIT_CONNECT },
        { "wait_memory", WAIT_SEND },
        { "sock_alloc_send", WAIT_SEND },
        { "sk_wait_data", WAIT_RECV },
        { "tcp_recvmsg", WAIT_RECV },
        { "unix_stream_data_wait", WAIT_RECV },
        { "unix_stream_read", WAIT_RECV },
        { "skb_wait_for_more", WAIT_RECV },
        { "skb_recv", WAIT_RECV },
        { "poll_schedule", WAIT_POLL },
        { "do_sys_poll", WAIT_POLL },
        { "do_poll", WAIT_POLL },
        { "do_select", WAIT_POLL },
        { "futex", WAIT_CONDITION },
        { "nanosleep", WAIT_SLEEP },
        { "do_wait", WAIT_CHILD },
        { "pipe_read", WAIT_READ },
        { "pipe_wait_readable", WAIT_READ },
        { "eventfd_read", WAIT_READ },
        { "n_tty_read", WAIT_READ },
        { "pipe_write", WAIT_WRITE },
        { "pipe_wait_writable", WAIT_WRITE },
        { "locks_lock", WAIT_FILE_LOCK },
        { "flock_lock", WAIT_FILE_LOCK },
        { "posix_lock", WAIT_FILE_LOCK },
        { "sigtimedwait", WAIT_SIGNAL },
        { "sigsuspend", WAIT_SIGNAL },
        { "sys_pause", WAIT_SIGNAL },
        { "do_signal_stop", WAIT_STOPPED },
        { "ptrace_stop", WAIT_STOPPED },
        { "io_schedule", WAIT_DISK },
        { "folio_wait", WAIT_DISK },
        { "wait_on_page", WAIT_DISK },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strstr(function, rows[i].part) != NULL)
            return rows[i].kind;
    return strcmp(function, "0") == 0 ? WAIT_UNKNOWN : WAIT_OTHER;
}
