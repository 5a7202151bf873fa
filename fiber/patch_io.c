/* SPDX-License-Identifier: MIT */
/* The calls of libc that connect, accept, read and write, as applications have them.
 *
 * A descriptor stays as its owner made it. Sockets are tried with MSG_DONTWAIT, others are asked by
 * poll(2) first; only after EAGAIN it matters whether the owner wants to wait (O_NONBLOCK), and for
 * how long (SO_RCVTIMEO, SO_SNDTIMEO of socket(7)). */
#undef _FORTIFY_SOURCE   /* the inline functions of its headers have the names defined here */
#undef _FILE_OFFSET_BITS /* sendfile64(2) has a definition of its own */
#include "base/alloc.h"
#include "fiber/patch_hook.h"
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

ssize_t __read_chk(int fd, void *data, size_t size, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags,
                       __SOCKADDR_ARG address, socklen_t *len);

PATCH_ORIGINAL(poll)
PATCH_ORIGINAL(connect)
PATCH_ORIGINAL(accept)
PATCH_ORIGINAL(accept4)
PATCH_ORIGINAL(read)
PATCH_ORIGINAL(readv)
PATCH_ORIGINAL(recv)
PATCH_ORIGINAL(recvfrom)
PATCH_ORIGINAL(recvmsg)
PATCH_ORIGINAL(recvmmsg)
PATCH_ORIGINAL(__read_chk)
PATCH_ORIGINAL(__recv_chk)
PATCH_ORIGINAL(__recvfrom_chk)
PATCH_ORIGINAL(write)
PATCH_ORIGINAL(writev)
PATCH_ORIGINAL(send)
PATCH_ORIGINAL(sendto)
PATCH_ORIGINAL(sendmsg)
PATCH_ORIGINAL(sendmmsg)
PATCH_ORIGINAL(sendfile)
PATCH_ORIGINAL(sendfile64)

enum {
    WINDOW = 16,            /* pieces of a long message that go at once after its first part */
    COUNT_MAX = 0x7ffff000, /* bytes of one call: read(2) */
    FILE_PIECE_BYTES = 65536,
    NEVER_WAITS = MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE, /* flags of such calls */
};

/* --- one descriptor -------------------------------------------------------------------------- */

/* A call that waits for one descriptor. */
struct io_call {
    struct patch *p;
    struct pollfd fd; /* with what it waits for */
    nsec_t until;     /* once `asked`: SO_RCVTIMEO, SO_SNDTIMEO; NSEC_NEVER: none */
    bool asked;
    unsigned futile;
};

static struct io_call io_call(struct patch *p, int fd, short events) {
    return (struct io_call){ .p = p, .fd = { .fd = fd, .events = events } };
}

static nsec_t end_of_timeout(const struct io_call *c) {
    int option = c->fd.events == POLLIN ? SO_RCVTIMEO : SO_SNDTIMEO;
    struct timeval span = { 0 };
    socklen_t len = sizeof(span);

    if (getsockopt(c->fd.fd, SOL_SOCKET, option, &span, &len) < 0)
        return NSEC_NEVER; /* it is no socket */
    return timeout_after(clock_now(), span.tv_sec * NSEC_PER_SEC + span.tv_usec * NSEC_PER_USEC);
}

/* Parks after EAGAIN. 0: try again; -EAGAIN: so it stays; or another -errno. */
static int wait_for_it(struct io_call *c) {
    int flags, rc;

    if (!c->asked) {
        flags = fcntl(c->fd.fd, F_GETFL);
        if (flags < 0)
            return -errno;
        if (flags & O_NONBLOCK)
            return -EAGAIN;
        c->until = end_of_timeout(c);
        c->asked = true;
    }
    if (c->futile >= 2) { /* readiness is of no use: a full queue of another socket, a rival */
        unsigned looks = c->futile - 2;
        rc = patch_pause_between(c->p, &looks, c->until);
    } else {
        rc = patch_wait(c->p, &c->fd, c->until);
    }
    c->futile += rc > 0;
    return rc == -ETIMEDOUT ? -EAGAIN : rc < 0 ? rc : 0;
}

/* Parks until poll(2) says that it is ready, or in error. An event does not say so: until this
 * fiber runs, another one may have taken what had come. 0; -EAGAIN: the call must not wait, or not
 * any longer; or another -errno. */
static int wait_until_ready(struct io_call *c) {
    int rc = 0;

    while (rc == 0) {
        rc = original_poll()(&c->fd, 1, 0);
        if (rc > 0) {
            c->futile = 0;
            return 0;
        }
        rc = rc < 0 ? -errno : wait_for_it(c);
    }
    return rc;
}

static size_t total_of(const struct iovec *iov, size_t count) {
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += iov[i].iov_len;
    return total;
}

/* --- messages -------------------------------------------------------------------------------- */

/* A message on its way. The first attempt is the call as it was made; a stream may take or give
 * only a part of it. */
struct transfer {
    struct io_call call;
    struct msghdr *message;
    size_t total, done;
    int flags;
    bool fills_message; /* recvmsg(2): its flags and the length of its control data are results */
};

static struct transfer transfer(struct patch *p, int fd, short events, struct msghdr *message,
                                int flags) {
    size_t total = total_of(message->msg_iov, message->msg_iovlen);

    return (struct transfer){ .call = io_call(p, fd, events),
                              .message = message,
                              .total = total < COUNT_MAX ? total : COUNT_MAX,
                              .flags = flags | MSG_DONTWAIT };
}

/* The pieces that are left, as far as there is room. */
static size_t rest_of(const struct transfer *t, struct iovec *window) {
    const struct iovec *iov = t->message->msg_iov;
    size_t skip = t->done, count = 0;

    for (size_t i = 0; i < t->message->msg_iovlen && count < WINDOW; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        window[count++] = (struct iovec){ .iov_base = (char *)iov[i].iov_base + skip,
                                          .iov_len = iov[i].iov_len - skip };
        skip = 0;
    }
    return count;
}

/* One piece without an address or control data goes by the call that is cheaper. */
static bool is_plain(const struct transfer *t) {
    return t->message->msg_iovlen == 1 && t->message->msg_control == NULL && !t->fills_message;
}

static ssize_t attempt_recv(struct transfer *t) {
    struct msghdr *m = t->message, rest = *m;
    struct iovec window[WINDOW];
    ssize_t n;

    if (t->done == 0 && is_plain(t))
        return patch_result(original_recvfrom()(t->call.fd.fd, m->msg_iov->iov_base,
                                                m->msg_iov->iov_len, t->flags,
                                                (__SOCKADDR_ARG){ .__sockaddr__ = m->msg_name },
                                                m->msg_name != NULL ? &m->msg_namelen : NULL));
    if (t->done == 0)
        return patch_result(original_recvmsg()(t->call.fd.fd, m, t->flags));
    rest.msg_iov = window;
    rest.msg_iovlen = rest_of(t, window);
    n = patch_result(original_recvmsg()(t->call.fd.fd, &rest, t->flags));
    m->msg_controllen = n > 0 ? rest.msg_controllen : 0;
    m->msg_flags |= n > 0 ? rest.msg_flags : 0;
    return n;
}

/* libc raises SIGPIPE only when nothing was sent. */
static ssize_t attempt_send(struct transfer *t) {
    const struct msghdr *m = t->message;
    struct msghdr rest = { .msg_name = m->msg_name, .msg_namelen = m->msg_namelen };
    struct iovec window[WINDOW];

    if (t->done == 0 && is_plain(t))
        return patch_result(original_sendto()(
            t->call.fd.fd, m->msg_iov->iov_base, m->msg_iov->iov_len, t->flags,
            (__CONST_SOCKADDR_ARG){ .__sockaddr__ = m->msg_name }, m->msg_namelen));
    if (t->done == 0)
        return patch_result(original_sendmsg()(t->call.fd.fd, m, t->flags));
    rest.msg_iov = window;
    rest.msg_iovlen = rest_of(t, window);
    return patch_result(original_sendmsg()(t->call.fd.fd, &rest, t->flags | MSG_NOSIGNAL));
}

static int socket_option(int fd, int option) {
    int value = 0;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : 0;
}

static bool is_stream(int fd) {
    return socket_option(fd, SO_TYPE) == SOCK_STREAM;
}

static bool is_local(int fd) {
    return socket_option(fd, SO_DOMAIN) == AF_UNIX;
}

/* MSG_WAITALL wants more than it has got; descriptors that were sent along end a message. */
static bool wants_rest(const struct transfer *t) {
    return (t->flags & MSG_WAITALL) && t->done < t->total &&
           (t->message->msg_control == NULL || t->message->msg_controllen == 0) &&
           is_stream(t->call.fd.fd);
}

/* MSG_PEEK with MSG_WAITALL, which local sockets do not obey: what is there stays there, thus it is
 * no news. */
static ssize_t peek_all(struct transfer *t, ssize_t n) {
    struct pollfd hang_up = { .fd = t->call.fd.fd, .events = POLLRDHUP };
    struct io_call *c = &t->call;
    unsigned looks = 0;
    int flags = fcntl(c->fd.fd, F_GETFL);

    if (flags < 0 || (flags & O_NONBLOCK) || !is_stream(c->fd.fd) || is_local(c->fd.fd))
        return n;
    if (!c->asked)
        c->until = end_of_timeout(c);
    while (n > 0 && (size_t)n < t->total && original_poll()(&hang_up, 1, 0) == 0 &&
           patch_pause_between(c->p, &looks, c->until) == 0)
        n = attempt_recv(t);
    return n;
}

static ssize_t recv_parked(struct transfer *t) {
    for (;;) {
        ssize_t n = attempt_recv(t);

        if (n > 0 && (t->flags & MSG_PEEK) && (t->flags & MSG_WAITALL))
            return peek_all(t, n);
        if (n == -EAGAIN)
            n = wait_for_it(&t->call);
        else if (n >= 0) {
            t->done += (size_t)n;
            t->call.futile = 0;
            if (n == 0 || !wants_rest(t))
                return (ssize_t)t->done;
        }
        if (n < 0)
            return t->done > 0 ? (ssize_t)t->done : n;
    }
}

/* Parks until there is room. A local socket that breaks meanwhile tells its error, and raises no
 * SIGPIPE. */
static int wait_for_room(struct transfer *t) {
    int rc = wait_for_it(&t->call), error;

    if (rc < 0 || (t->flags & MSG_NOSIGNAL) || !is_local(t->call.fd.fd))
        return rc;
    t->flags |= MSG_NOSIGNAL;
    error = socket_option(t->call.fd.fd, SO_ERROR);
    return -error;
}

static ssize_t send_parked(struct transfer *t) {
    for (;;) {
        ssize_t n = attempt_send(t);

        if (n == -EAGAIN)
            n = wait_for_room(t);
        else if (n >= 0) {
            t->done += (size_t)n;
            t->call.futile = 0;
            if (n == 0 || t->done >= t->total)
                return (ssize_t)t->done;
        }
        if (n < 0)
            return t->done > 0 ? (ssize_t)t->done : n;
    }
}

/* --- files, pipes and other descriptors ------------------------------------------------------ */

/* Parks until a call on a descriptor that is no socket does not wait, or must not. 0 or -errno. */
static int wait_for_file(struct io_call *c) {
    int useless = c->fd.events == POLLIN ? O_WRONLY : O_RDONLY;
    int rc = original_poll()(&c->fd, 1, 0), flags;

    if (rc != 0)
        return rc < 0 ? -errno : 0;
    flags = fcntl(c->fd.fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == useless)
        return 0; /* libc says what is wrong */
    rc = wait_until_ready(c);
    return rc == -EAGAIN ? 0 : rc;
}

static bool is_pipe(int fd) {
    struct stat about;

    return fstat(fd, &about) == 0 && S_ISFIFO(about.st_mode);
}

/* A pipe that is ready has room for PIPE_BUF bytes: pipe(7). */
static ssize_t write_to_pipe(struct io_call *c, const struct iovec *iov) {
    const char *data = iov->iov_base;
    size_t done = 0;

    while (done < iov->iov_len) {
        size_t piece = iov->iov_len - done < PIPE_BUF ? iov->iov_len - done : PIPE_BUF;
        int rc = wait_until_ready(c);
        ssize_t n;

        if (rc < 0 && rc != -EAGAIN)
            return done > 0 ? (ssize_t)done : rc;
        n = patch_result(original_write()(c->fd.fd, data + done, piece));
        if (n < 0)
            return done > 0 ? (ssize_t)done : n;
        done += (size_t)n;
        if (rc == -EAGAIN)
            break; /* the owner does not want to wait */
    }
    return (ssize_t)done;
}

static ssize_t write_file(struct io_call *c, const struct iovec *iov, size_t count) {
    size_t total = total_of(iov, count);
    ssize_t done = 0;
    int rc = wait_for_file(c);

    if (rc < 0)
        return rc;
    if (total <= PIPE_BUF || !is_pipe(c->fd.fd))
        return patch_result(original_writev()(c->fd.fd, iov, (int)count));
    for (size_t i = 0; i < count; i++) {
        ssize_t n = write_to_pipe(c, &iov[i]);

        if (n < 0)
            return done > 0 ? done : n;
        done += n;
        if ((size_t)n < iov[i].iov_len)
            break;
    }
    return done;
}

/* read(2) and write(2) are for sockets as well as for all others: the one that it is says so. */
static ssize_t read_parked(struct patch *p, const char *call, int fd, const struct iovec *iov,
                           size_t count) {
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count };
    struct transfer t = transfer(p, fd, POLLIN, &message, 0);
    ssize_t n;

    patch_begin(p, call, fd);
    n = recv_parked(&t);
    if (n == -ENOTSOCK) {
        n = wait_for_file(&t.call);
        if (n == 0)
            n = patch_result(original_readv()(fd, iov, (int)count));
    }
    return patch_end(p, n);
}

static ssize_t write_parked(struct patch *p, const char *call, int fd, const struct iovec *iov,
                            size_t count) {
    struct msghdr message = { .msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count };
    struct transfer t = transfer(p, fd, POLLOUT, &message, 0);
    ssize_t n;

    patch_begin(p, call, fd);
    n = send_parked(&t);
    if (n == -ENOTSOCK)
        n = write_file(&t.call, iov, count);
    return patch_end(p, n);
}

ssize_t read(int fd, void *data, size_t size) {
    PATCH_QUICKLY(read, fd, data, size);
    struct patch *p = PATCH_HERE;
    struct iovec iov = { .iov_base = data, .iov_len = size };

    if (p == NULL || size == 0)
        return original_read()(fd, data, size);
    return read_parked(p, "read", fd, &iov, 1);
}

ssize_t __read_chk(int fd, void *data, size_t size, size_t room) {
    PATCH_QUICKLY(__read_chk, fd, data, size, room);
    struct patch *p = PATCH_HERE;
    struct iovec iov = { .iov_base = data, .iov_len = size };

    if (p == NULL || size == 0 || size > room)
        return original___read_chk()(fd, data, size, room);
    return read_parked(p, "read", fd, &iov, 1);
}

/* Whether a vector has something in it, so that sockets treat it as messages do. */
static bool is_vector(const struct iovec *iov, int count) {
    return iov != NULL && count > 0 && count <= IOV_MAX && total_of(iov, (size_t)count) > 0;
}

ssize_t readv(int fd, const struct iovec *iov, int count) {
    PATCH_QUICKLY(readv, fd, iov, count);
    struct patch *p = PATCH_HERE;

    if (p == NULL || !is_vector(iov, count))
        return original_readv()(fd, iov, count);
    return read_parked(p, "readv", fd, iov, (size_t)count);
}

ssize_t write(int fd, const void *data, size_t size) {
    PATCH_QUICKLY(write, fd, data, size);
    struct patch *p = PATCH_HERE;
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };

    if (p == NULL || size == 0)
        return original_write()(fd, data, size);
    return write_parked(p, "write", fd, &iov, 1);
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
    PATCH_QUICKLY(writev, fd, iov, count);
    struct patch *p = PATCH_HERE;

    if (p == NULL || !is_vector(iov, count))
        return original_writev()(fd, iov, count);
    return write_parked(p, "writev", fd, iov, (size_t)count);
}

/* --- sockets --------------------------------------------------------------------------------- */

static ssize_t recv_into(struct patch *p, const char *call, int fd, void *data, size_t size,
                         int flags, struct sockaddr *address, socklen_t *len) {
    struct iovec iov = { .iov_base = data, .iov_len = size };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = address };
    struct transfer t = transfer(p, fd, POLLIN, &message, flags);
    ssize_t n;

    if (address != NULL && len != NULL)
        message.msg_namelen = *len;
    patch_begin(p, call, fd);
    n = recv_parked(&t);
    if (n >= 0 && address != NULL && len != NULL)
        *len = message.msg_namelen;
    return patch_end(p, n);
}

ssize_t recv(int fd, void *data, size_t size, int flags) {
    PATCH_QUICKLY(recv, fd, data, size, flags);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & NEVER_WAITS))
        return original_recv()(fd, data, size, flags);
    return recv_into(p, "recv", fd, data, size, flags, NULL, NULL);
}

ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & NEVER_WAITS) || size > room)
        return original___recv_chk()(fd, data, size, room, flags);
    return recv_into(p, "recv", fd, data, size, flags, NULL, NULL);
}

ssize_t recvfrom(int fd, void *data, size_t size, int flags, __SOCKADDR_ARG address,
                 socklen_t *len) {
    PATCH_QUICKLY(recvfrom, fd, data, size, flags, address, len);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & NEVER_WAITS))
        return original_recvfrom()(fd, data, size, flags, address, len);
    return recv_into(p, "recvfrom", fd, data, size, flags, address.__sockaddr__, len);
}

ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags,
                       __SOCKADDR_ARG address, socklen_t *len) {
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & NEVER_WAITS) || size > room)
        return original___recvfrom_chk()(fd, data, size, room, flags, address, len);
    return recv_into(p, "recvfrom", fd, data, size, flags, address.__sockaddr__, len);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    PATCH_QUICKLY(recvmsg, fd, message, flags);
    struct patch *p = PATCH_HERE;
    struct transfer t;

    if (p == NULL || (flags & NEVER_WAITS) || message == NULL || message->msg_iovlen > IOV_MAX)
        return original_recvmsg()(fd, message, flags);
    patch_begin(p, "recvmsg", fd);
    t = transfer(p, fd, POLLIN, message, flags);
    t.fills_message = true;
    return patch_end(p, recv_parked(&t));
}

/* As the kernel does it: the time-out is looked at after each message, and only then. */
int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
             struct timespec *timeout) {
    struct patch *p = PATCH_HERE;
    struct io_call c = io_call(p, fd, POLLIN);
    nsec_t until = NSEC_NEVER, left;
    unsigned got = 0;
    int n = 0;

    if (p == NULL || (flags & NEVER_WAITS) || count == 0)
        return original_recvmmsg()(fd, messages, count, flags, timeout);
    if (timeout != NULL)
        until = deadline_after(clock_now(), timeout->tv_sec * NSEC_PER_SEC + timeout->tv_nsec);
    patch_begin(p, "recvmmsg", fd);
    while (got < count && n >= 0) {
        n = (int)patch_result(
            original_recvmmsg()(fd, messages + got, count - got, flags | MSG_DONTWAIT, NULL));
        got += n > 0 ? (unsigned)n : 0;
        if (got > 0 && ((flags & MSG_WAITFORONE) || clock_now() >= until))
            break;
        if (n == -EAGAIN)
            n = wait_for_it(&c);
        else
            c.futile = 0;
    }
    left = nsec_max(0, until - clock_now());
    if (timeout != NULL && got > 0)
        *timeout =
            (struct timespec){ .tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC };
    return (int)patch_end(p, got > 0 ? (int)got : n);
}

static ssize_t send_from(struct patch *p, const char *call, int fd, const void *data, size_t size,
                         int flags, const struct sockaddr *address, socklen_t len) {
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_name = (void *)(uintptr_t)address, .msg_namelen = len
    };
    struct transfer t = transfer(p, fd, POLLOUT, &message, flags);

    patch_begin(p, call, fd);
    return patch_end(p, send_parked(&t));
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    PATCH_QUICKLY(send, fd, data, size, flags);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & NEVER_WAITS & ~MSG_OOB))
        return original_send()(fd, data, size, flags);
    return send_from(p, "send", fd, data, size, flags, NULL, 0);
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, __CONST_SOCKADDR_ARG address,
               socklen_t len) {
    PATCH_QUICKLY(sendto, fd, data, size, flags, address, len);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & NEVER_WAITS & ~MSG_OOB))
        return original_sendto()(fd, data, size, flags, address, len);
    return send_from(p, "sendto", fd, data, size, flags, address.__sockaddr__, len);
}

/* Sends one message of sendmsg(2) or sendmmsg(2). */
static ssize_t send_message(struct patch *p, int fd, struct msghdr *message, int flags) {
    struct transfer t = transfer(p, fd, POLLOUT, message, flags);

    return send_parked(&t);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    PATCH_QUICKLY(sendmsg, fd, message, flags);
    struct patch *p = PATCH_HERE;

    if (p == NULL || (flags & MSG_DONTWAIT) || message == NULL || message->msg_iovlen > IOV_MAX)
        return original_sendmsg()(fd, message, flags);
    patch_begin(p, "sendmsg", fd);
    return patch_end(p, send_message(p, fd, (struct msghdr *)(uintptr_t)message, flags));
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) {
    struct patch *p = PATCH_HERE;
    unsigned sent = 0;
    ssize_t n = 0;

    if (p == NULL || (flags & MSG_DONTWAIT) || count == 0)
        return original_sendmmsg()(fd, messages, count, flags);
    patch_begin(p, "sendmmsg", fd);
    for (; sent < count && sent < IOV_MAX; sent++) {
        n = send_message(p, fd, &messages[sent].msg_hdr, flags);
        if (n < 0)
            break;
        messages[sent].msg_len = (unsigned)n;
    }
    return (int)patch_end(p, sent > 0 ? (ssize_t)sent : n);
}

/* --- files into sockets ---------------------------------------------------------------------- */

/* Sends pieces of a file, from *at on. The bytes that were sent, or -errno. */
static ssize_t send_file(struct patch *p, int out, int in, off_t *at, size_t count, char *piece) {
    size_t done = 0;

    while (done < count) {
        size_t size = count - done < FILE_PIECE_BYTES ? count - done : FILE_PIECE_BYTES;
        ssize_t n = patch_result(pread(in, piece, size, *at));
        struct iovec iov = { .iov_base = piece, .iov_len = n > 0 ? (size_t)n : 0 };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n > 0)
            n = send_message(p, out, &message, 0);
        if (n <= 0)
            return done > 0 ? (ssize_t)done : n;
        done += (size_t)n;
        *at += n;
        if ((size_t)n < iov.iov_len)
            break;
    }
    return (ssize_t)done;
}

/* sendfile(2) cannot be told not to wait: a file into a socket that its owner lets wait goes piece
 * by piece. */
static ssize_t sendfile_parked(struct patch *p, int out, int in, off_t *at, size_t count) {
    char *piece = mem_alloc(FILE_PIECE_BYTES);
    off_t own = at == NULL ? lseek(in, 0, SEEK_CUR) : 0;
    ssize_t n;

    if (piece == NULL || own < 0) {
        mem_free(piece);
        return piece == NULL ? -ENOMEM : -errno;
    }
    n = send_file(p, out, in, at != NULL ? at : &own, count, piece);
    if (at == NULL && n > 0)
        lseek(in, own, SEEK_SET);
    mem_free(piece);
    return n;
}

static bool waits_for_room(int out, int in) {
    struct stat from, to;
    int flags = fcntl(out, F_GETFL);

    return flags >= 0 && !(flags & O_NONBLOCK) && fstat(out, &to) == 0 && S_ISSOCK(to.st_mode) &&
           fstat(in, &from) == 0 && S_ISREG(from.st_mode);
}

ssize_t sendfile(int out, int in, off_t *at, size_t count) {
    PATCH_QUICKLY(sendfile, out, in, at, count);
    struct patch *p = PATCH_HERE;

    if (p == NULL || count == 0 || (at != NULL && *at < 0) || !waits_for_room(out, in))
        return original_sendfile()(out, in, at, count);
    patch_begin(p, "sendfile", out);
    return patch_end(p, sendfile_parked(p, out, in, at, count < COUNT_MAX ? count : COUNT_MAX));
}

static_assert(sizeof(off_t) == sizeof(off64_t), "both calls are the same");

ssize_t sendfile64(int out, int in, off64_t *at, size_t count) {
    PATCH_QUICKLY(sendfile64, out, in, at, count);
    struct patch *p = PATCH_HERE;

    if (p == NULL || count == 0 || (at != NULL && *at < 0) || !waits_for_room(out, in))
        return original_sendfile64()(out, in, at, count);
    patch_begin(p, "sendfile", out);
    return patch_end(p, sendfile_parked(p, out, in, at, count < COUNT_MAX ? count : COUNT_MAX));
}

/* --- connections ----------------------------------------------------------------------------- */

/* Begins to connect: connect(2) can be told not to wait by O_NONBLOCK alone, which the descriptor
 * has for this one call. */
static int connect_at_once(int fd, int flags, __CONST_SOCKADDR_ARG address, socklen_t len) {
    int rc;

    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    rc = (int)patch_result(original_connect()(fd, address, len));
    if (fcntl(fd, F_SETFL, flags) < 0 && rc == 0)
        rc = -errno;
    return rc;
}

static int connect_parked(struct patch *p, int fd, int flags, __CONST_SOCKADDR_ARG address,
                          socklen_t len) {
    struct io_call c = io_call(p, fd, POLLOUT);
    unsigned looks = 0;
    int rc;

    for (;;) { /* a unix listener whose backlog is full says EAGAIN, and tells nobody of room */
        rc = connect_at_once(fd, flags, address, len);
        if (rc != -EAGAIN || address.__sockaddr__->sa_family != AF_UNIX)
            break;
        if (looks == 0)
            c.until = end_of_timeout(&c);
        rc = patch_pause_between(p, &looks, c.until);
        if (rc < 0)
            return rc == -ETIMEDOUT ? -EAGAIN : rc;
    }
    if (rc != -EINPROGRESS && rc != -EALREADY)
        return rc;
    rc = wait_until_ready(&c);
    if (rc < 0)
        return rc == -EAGAIN ? -EINPROGRESS : rc;
    return (int)patch_result(original_connect()(fd, address, len)); /* tells how it ended */
}

int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len) {
    PATCH_QUICKLY(connect, fd, address, len);
    struct patch *p = PATCH_HERE;
    int flags = p != NULL ? fcntl(fd, F_GETFL) : -1;

    if (p == NULL || flags < 0 || (flags & O_NONBLOCK))
        return original_connect()(fd, address, len);
    patch_begin(p, "connect", -1);
    return (int)patch_end(p, connect_parked(p, fd, flags, address, len));
}

/* Whether a connection may come in here; elsewhere accept(2) fails at once. */
static bool is_listening(int fd) {
    return socket_option(fd, SO_ACCEPTCONN) != 0;
}

static int accept_parked(struct patch *p, const char *call, int fd, __SOCKADDR_ARG address,
                         socklen_t *len, int flags) {
    struct io_call c = io_call(p, fd, POLLIN);
    int rc = 0;

    patch_begin(p, call, -1);
    if (is_listening(fd) && (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == 0)
        rc = wait_until_ready(&c);
    if (rc == 0)
        rc = (int)patch_result(flags == 0 ? original_accept()(fd, address, len)
                                          : original_accept4()(fd, address, len, flags));
    return (int)patch_end(p, rc);
}

int accept(int fd, __SOCKADDR_ARG address, socklen_t *len) {
    PATCH_QUICKLY(accept, fd, address, len);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_accept()(fd, address, len);
    return accept_parked(p, "accept", fd, address, len, 0);
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags) {
    PATCH_QUICKLY(accept4, fd, address, len, flags);
    struct patch *p = PATCH_HERE;

    if (p == NULL)
        return original_accept4()(fd, address, len, flags);
    return accept_parked(p, "accept4", fd, address, len, flags);
}
