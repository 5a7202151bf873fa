/* SPDX-License-Identifier: MIT */
/* Calls that read and write, patched and not. */
#include "patch_rig.c"

/* --- receiving ----------------------------------------------------------- */

static void case_recv(struct out *o) {
    char data[16] = "";
    int ends[2];

    pair(ends, SOCK_STREAM);
    struct later l = WRITES(50, ends[1], "abc");
    begin(&l);
    CALL(o, recv(ends[0], data, 10, 0));
    end(&l);
    say(o, "%s\n", data);
    CALL(o, recv(ends[0], data, 10, MSG_DONTWAIT));
    limit(ends[0], SO_RCVTIMEO, 60);
    CALL(o, recv(ends[0], data, 10, 0));
    CALL(o, recv(ends[0], data, 10, MSG_OOB));
    CALL(o, recv(ends[0], data, 10, MSG_ERRQUEUE));
    CALL(o, read(ends[0], data, 10));
    CALL(o, read(ends[0], data, 0));
    l = (struct later){ .ms = 30, .fd = ends[1], .act = act_shutdown };
    limit(ends[0], SO_RCVTIMEO, 0);
    begin(&l);
    CALL(o, recv(ends[0], data, 10, 0));
    end(&l);
    CALL(o, recv(ends[0], (void *)1, 10, 0));
    close_both(ends);
    CALL(o, recv(-1, data, 10, 0));
    CALL(o, recv(ends[0], data, 10, 0));
    CALL(o, read(ends[0], data, 10));
    pair(ends, SOCK_STREAM);
    CALL(o, write(ends[1], "xyz", 3));
    CALL(o, recv(ends[0], (void *)1, 10, 0));
    CALL(o, recv(ends[0], data, 10, MSG_PEEK));
    CALL(o, recv(ends[0], data, 10, 0));
    unblock(ends[0]);
    CALL(o, recv(ends[0], data, 10, 0));
    CALL(o, read(ends[0], data, 10));
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    close_both(ends);
}

static void case_waitall(struct out *o) {
    char data[16] = "";
    int ends[2];

    pair(ends, SOCK_STREAM);
    struct later first = WRITES(30, ends[1], "ab"), second = WRITES(70, ends[1], "cd");
    begin(&first);
    begin(&second);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    end(&first);
    end(&second);
    say(o, "%s\n", data);

    limit(ends[0], SO_RCVTIMEO, 400);
    begin(&first);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    end(&first);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    limit(ends[0], SO_RCVTIMEO, 0);

    // A look does not wait for all: the rest comes after it, or the answer would hang on luck.
    begin(&first);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL | MSG_PEEK));
    end(&first);
    begin(&second);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    end(&second);

    second = (struct later){ .ms = 60, .fd = ends[1], .act = act_shutdown };
    begin(&first);
    begin(&second);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL | MSG_PEEK));
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    end(&first);
    end(&second);
    close_both(ends);

    pair(ends, SOCK_DGRAM);
    first.fd = ends[1];
    begin(&first);
    CALL(o, recv(ends[0], data, 4, MSG_WAITALL));
    end(&first);
    close_both(ends);
}

/* As above, where the kernel waits for all that is to be seen. */
static void case_peek_tcp(struct out *o) {
    struct sockaddr_in at;
    int listening = listener(&at, 1), from = socket(AF_INET, SOCK_STREAM, 0), to;
    char data[8];

    CALL(o, connect(from, (struct sockaddr *)&at, sizeof(at)));
    to = accept(listening, NULL, NULL);
    struct later first = WRITES(30, from, "ab"), second = WRITES(70, from, "cd");
    begin(&first);
    begin(&second);
    CALL(o, recv(to, data, 4, MSG_WAITALL | MSG_PEEK));
    end(&first);
    end(&second);
    CALL(o, recv(to, data, 8, 0));
    limit(to, SO_RCVTIMEO, 400);
    begin(&first);
    CALL(o, recv(to, data, 4, MSG_WAITALL | MSG_PEEK));
    end(&first);
    limit(to, SO_RCVTIMEO, 0);
    second = (struct later){ .ms = 40, .fd = from, .act = act_shutdown };
    begin(&second);
    CALL(o, recv(to, data, 4, MSG_WAITALL | MSG_PEEK));
    CALL(o, recv(to, data, 4, MSG_WAITALL));
    end(&second);
    close(from);
    close(to);
    close(listening);
}

static void case_messages(struct out *o) {
    volatile int negative = -1, too_many = 2000;
    char data[8] = "", control[64];
    struct iovec iov[2] = { { data, 2 }, { data + 2, 6 } };
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };
    int ends[2], other[2];

    pair(ends, SOCK_DGRAM);
    struct later l = WRITES(30, ends[1], "0123456789");
    begin(&l);
    CALL(o, recvmsg(ends[0], &m, 0));
    end(&l);
    say(o, "%d %zu %.8s\n", m.msg_flags == MSG_TRUNC, (size_t)m.msg_controllen, data);
    begin(&l);
    CALL(o, recv(ends[0], data, 4, MSG_TRUNC));
    end(&l);
    begin(&l);
    CALL(o, readv(ends[0], iov, 2));
    end(&l);
    CALL(o, readv(ends[0], iov, 0));
    CALL(o, readv(ends[0], iov, negative));
    CALL(o, writev(ends[0], iov, too_many));
    close_both(ends);

    pair(ends, SOCK_STREAM);
    pair(other, SOCK_STREAM);
    struct later slow = WRITES(60, ends[1], "cd");
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } c = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
                      .cmsg_level = SOL_SOCKET,
                      .cmsg_type = SCM_RIGHTS } };
    memcpy(CMSG_DATA(&c.head), &other[0], sizeof(int));
    struct iovec one = { (char[]){ "ab" }, 2 };
    struct msghdr sent = {
        .msg_iov = &one, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)
    };
    CALL(o, sendmsg(ends[1], &sent, 0));
    begin(&slow);
    m = (struct msghdr){
        .msg_iov = iov, .msg_iovlen = 2, .msg_control = control, .msg_controllen = sizeof(control)
    };
    CALL(o, recvmsg(ends[0], &m, MSG_WAITALL | MSG_CMSG_CLOEXEC));
    say(o, "%d %zu\n", m.msg_flags == MSG_CMSG_CLOEXEC, (size_t)m.msg_controllen);
    int got;
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
    CALL(o, close(got));
    end(&slow);
    CALL(o, recv(ends[0], data, 8, 0));
    close_both(ends);
    close_both(other);
}

static void case_datagrams(struct out *o) {
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
                       from;
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), to = socket(AF_INET, SOCK_DGRAM, 0);
    static char big[100000];
    char data[4][8];
    struct iovec iov[4];
    struct mmsghdr many[4];

    CALL(o, bind(fd, (struct sockaddr *)&at, len));
    getsockname(fd, (struct sockaddr *)&at, &len);
    CALL(o, connect(to, (struct sockaddr *)&at, len));
    struct later l = WRITES(30, to, "abc"), again = WRITES(70, to, "d");
    begin(&l);
    CALL(o, recvfrom(fd, data, 8, 0, (struct sockaddr *)&from, &len));
    say(o, "%u %d\n", len, from.sin_family);
    end(&l);
    CALL(o, sendto(to, "x", 1, 0, NULL, 0));
    CALL(o, recvfrom(fd, data, 8, 0, NULL, NULL));
    CALL(o, send(to, "", 0, 0));
    CALL(o, recv(fd, data, 8, 0));
    CALL(o, sendto(to, big, sizeof(big), 0, (struct sockaddr *)&at, len));
    limit(fd, SO_RCVTIMEO, 50);
    CALL(o, recvfrom(fd, data, 8, 0, NULL, NULL));
    limit(fd, SO_RCVTIMEO, 0);

    memset(many, 0, sizeof(many));
    for (int i = 0; i < 4; i++) {
        iov[i] = (struct iovec){ data[i], 8 };
        many[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
    }
    CALL(o, write(to, "ab", 2));
    begin(&l);
    begin(&again);
    CALL(o, recvmmsg(fd, many, 3, 0, NULL));
    end(&l);
    end(&again);
    say(o, "%u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    CALL(o, write(to, "ab", 2));
    CALL(o, recvmmsg(fd, many, 3, MSG_WAITFORONE, NULL));
    begin(&l);
    begin(&again);
    struct timespec t = { .tv_nsec = 1000000 };
    CALL(o, recvmmsg(fd, many, 3, 0, &t));
    say(o, "%ld\n", (long)t.tv_sec);
    end(&l);
    end(&again);
    CALL(o, recv(fd, data, 8, 0));
    limit(fd, SO_RCVTIMEO, 50);
    CALL(o, recvmmsg(fd, many, 3, 0, NULL));
    for (int i = 0; i < 4; i++)
        iov[i].iov_len = (size_t)i + 1;
    CALL(o, sendmmsg(to, many, 3, 0));
    say(o, "%u %u %u\n", many[0].msg_len, many[1].msg_len, many[2].msg_len);
    close(to);
    close(fd);
}

/* A queue that is full does not show on a socket that is not connected to it. */
static void case_full_queue(struct out *o) {
    struct sockaddr_un local;
    int fd = unix_socket(&local, SOCK_DGRAM, "full"), to = socket(AF_UNIX, SOCK_DGRAM, 0);

    while (sendto(to, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&local, sizeof(local)) == 1)
        continue;
    struct later l = { .ms = 40, .fd = dup(fd), .act = act_read_some };
    begin(&l);
    CALL(o, sendto(to, "x", 1, 0, (struct sockaddr *)&local, sizeof(local)));
    end(&l);
    limit(to, SO_SNDTIMEO, 50);
    CALL(o, sendto(to, "x", 1, 0, (struct sockaddr *)&local, sizeof(local)));
    close(to);
    close(fd);
}

static void case_files(struct out *o) {
    int ends[2], fd;
    char data[16] = "";
    uint64_t count = 0;

    if (pipe(ends) < 0)
        abort();
    struct later l = WRITES(40, ends[1], "abc");
    begin(&l);
    CALL(o, read(ends[0], data, 10));
    end(&l);
    CALL(o, read(ends[0], data, 0));
    CALL(o, read(ends[1], data, 10));
    CALL(o, write(ends[0], data, 10));
    CALL(o, recv(ends[0], data, 10, 0));
    CALL(o, read(ends[0], (void *)1, 0));
    unblock(ends[0]);
    CALL(o, read(ends[0], data, 10));
    l = (struct later){ .ms = 30, .fd = ends[1], .act = act_close };
    fcntl(ends[0], F_SETFL, 0);
    begin(&l);
    CALL(o, read(ends[0], data, 10));
    end(&l);
    close(ends[0]);

    fd = eventfd(0, 0);
    l = (struct later){ .ms = 30, .fd = fd, .act = act_write, .text = "\1\1\1\1\1\1\1\1" };
    begin(&l);
    CALL(o, read(fd, &count, 8));
    end(&l);
    say(o, "%llx\n", (unsigned long long)count);
    close(fd);
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    timerfd_settime(fd, 0, &(struct itimerspec){ .it_value.tv_nsec = 40000000 }, NULL);
    CALL(o, read(fd, &count, 8));
    close(fd);
    fd = open("/", O_RDONLY);
    CALL(o, read(fd, data, 10));
    close(fd);
    fd = open("/dev/zero", O_RDWR);
    CALL(o, read(fd, data, 10));
    CALL(o, write(fd, data, 10));
    close(fd);
    fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    CALL(o, write(fd, "hello", 5));
    CALL(o, read(fd, data, 10));
    CALL(o, lseek(fd, 0, SEEK_SET));
    CALL(o, read(fd, data, 3));
    CALL(o, readv(fd, &(struct iovec){ data, 10 }, 1));
    close(fd);

    int tty = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(tty);
    unlockpt(tty);
    fd = open(ptsname(tty), O_RDWR | O_NOCTTY);
    l = (struct later)WRITES(40, tty, "line\n");
    begin(&l);
    CALL(o, read(fd, data, 10));
    end(&l);
    CALL(o, write(fd, "answer", 6));
    close(fd);
    close(tty);
}

/* --- sending ------------------------------------------------------------- */

enum { BIG = 4 * 1024 * 1024 };

static char *pattern(void) {
    char *data = malloc(BIG);

    for (size_t i = 0; i < BIG; i++)
        data[i] = (char)(i * 7 + i / 251);
    return data;
}

static void case_writes(struct out *o) {
    char *data = pattern();
    struct iovec iov[40];
    int ends[2];

    for (size_t i = 0; i < 40; i++)
        iov[i] = (struct iovec){ data + i * (BIG / 40), BIG / 40 };
    for (int round = 0; round < 6; round++) {
        int is_pipe = round == 4 || round == 5;

        if (is_pipe && pipe(ends) < 0)
            abort();
        if (!is_pipe)
            pair(ends, SOCK_STREAM);
        struct later l = { .ms = 20, .fd = is_pipe ? ends[0] : ends[1], .act = act_drain };
        int fd = is_pipe ? ends[1] : ends[0];
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = 40 };
        begin(&l);
        if (round == 0)
            CALL(o, write(fd, data, BIG));
        if (round == 1)
            CALL(o, send(fd, data, BIG, 0));
        if (round == 2)
            CALL(o, writev(fd, iov, 40));
        if (round == 3)
            CALL(o, sendmsg(fd, &m, 0));
        if (round == 4)
            CALL(o, write(fd, data, 300000));
        if (round == 5)
            CALL(o, writev(fd, iov, 3));
        close(fd);
        end(&l);
        say(o, "%ld\n", l.done);
        close(is_pipe ? ends[0] : ends[1]);
    }
    free(data);
}

static void case_broken(struct out *o) {
    char *data = pattern();
    int ends[2];
    long n;

    catch (SIGPIPE);
    pair(ends, SOCK_STREAM);
    limit(ends[0], SO_SNDTIMEO, 60);
    n = write(ends[0], data, BIG);
    say(o, "part %d\n", n > 0 && n < BIG);
    CALL(o, write(ends[0], data, BIG));
    CALL(o, send(ends[0], data, 1, MSG_DONTWAIT));
    limit(ends[0], SO_SNDTIMEO, 0);
    struct later l = { .ms = 40, .fd = ends[1], .act = act_read_some };
    begin(&l);
    n = send(ends[0], data, BIG, 0);
    say(o, "part %d signals %d\n", n > 0 && n < BIG, atomic_load(&signals_seen));
    end(&l);
    CALL(o, send(ends[0], data, 1, 0));
    say(o, "signals %d\n", atomic_load(&signals_seen));
    CALL(o, send(ends[0], data, 1, MSG_NOSIGNAL));
    say(o, "signals %d\n", atomic_load(&signals_seen));
    close(ends[0]);

    pair(ends, SOCK_STREAM);
    unblock(ends[0]);
    n = write(ends[0], data, BIG);
    say(o, "part %d\n", n > 0 && n < BIG);
    CALL(o, write(ends[0], data, 1000000));
    close_both(ends);

    if (pipe(ends) < 0)
        abort();
    unblock(ends[1]);
    n = write(ends[1], data, BIG);
    say(o, "pipe %ld\n", n);
    CALL(o, write(ends[1], data, 1));
    CALL(o, write(ends[1], data, 10000));
    close(ends[0]);
    CALL(o, write(ends[1], data, 1));
    say(o, "signals %d\n", atomic_load(&signals_seen));
    close(ends[1]);
    CALL(o, write(ends[1], data, 1));
    CALL(o, send(ends[1], data, 1, 0));
    free(data);
}

static void case_sendfile(struct out *o) {
    char *data = pattern();
    int file = open("/tmp", O_TMPFILE | O_RDWR, 0600), ends[2];
    off_t at = 100;

    if (write(file, data, 1000000) != 1000000)
        abort();
    pair(ends, SOCK_STREAM);
    struct later l = { .ms = 20, .fd = ends[1], .act = act_drain };
    begin(&l);
    CALL(o, sendfile(ends[0], file, &at, 2000000));
    say(o, "%ld\n", (long)at);
    CALL(o, sendfile(ends[0], file, &at, 10));
    CALL(o, lseek(file, 5, SEEK_SET));
    CALL(o, sendfile(ends[0], file, NULL, 700000));
    CALL(o, lseek(file, 0, SEEK_CUR));
    CALL(o, sendfile(ends[0], file, NULL, 0));
    CALL(o, sendfile(ends[0], -1, NULL, 10));
    CALL(o, sendfile(-1, file, NULL, 10));
    close(ends[0]);
    end(&l);
    say(o, "%ld\n", l.done);
    close(ends[1]);
    pair(ends, SOCK_STREAM);
    limit(ends[0], SO_SNDTIMEO, 60);
    at = 0;
    long n = sendfile(ends[0], file, &at, 1000000);
    say(o, "part %d %d\n", n > 0 && n < 1000000, at == n);
    CALL(o, sendfile(ends[0], file, &at, 100000));
    close_both(ends);
    close(file);
    free(data);
}

/* --- the application ----------------------------------------------------- */

static const struct a_case cases[] = {
    { "recv", case_recv },
    { "waitall", case_waitall },
    { "peek-tcp", case_peek_tcp },
    { "messages", case_messages },
    { "datagrams", case_datagrams },
    { "full-queue", case_full_queue },
    { "files", case_files },
    { "writes", case_writes },
    { "broken", case_broken },
    { "sendfile", case_sendfile },
    { NULL, NULL },
};

static int page(srv_request *rq) {
    return run_case(rq, cases);
}

SRV_APP(.routes = (const srv_route[]){ { "/case/*", page }, { NULL, NULL } })
