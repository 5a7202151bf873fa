/* SPDX-License-Identifier: MIT */
/* Calls that wait for several descriptors, for connections and for a time, patched and not. */
#include "patch_rig.c"
#include <sys/mman.h>
#include <sys/wait.h>

/* --- several descriptors ------------------------------------------------- */

static void say_poll(struct out *o, const struct pollfd *fds, int count) {
    for (int i = 0; i < count; i++)
        say(o, "%x ", (unsigned)fds[i].revents);
    say(o, "\n");
}

static void case_poll(struct out *o) {
    struct pollfd fds[16], *volatile nowhere = (struct pollfd *)8;
    int ends[2], quiet[2];
    double since;

    pair(ends, SOCK_STREAM);
    pair(quiet, SOCK_STREAM);
    struct later l = WRITES(40, ends[1], "a");
    fds[0] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    CALL(o, poll(fds, 1, 0));
    since = now();
    CALL(o, poll(fds, 1, 60));
    say(o, "waited %d\n", now() - since >= 0.06);
    begin(&l);
    CALL(o, poll(fds, 1, -1));
    say_poll(o, fds, 1);
    end(&l);
    CALL(o, poll(fds, 1, 100));
    fds[0].events = POLLIN | POLLOUT;
    CALL(o, poll(fds, 1, 100));
    say_poll(o, fds, 1);
    if (read(ends[0], &(char){ 0 }, 1) != 1)
        abort();

    fds[0] = (struct pollfd){ .fd = quiet[0], .events = POLLIN };
    fds[1] = (struct pollfd){ .fd = -1, .events = POLLIN, .revents = 77 };
    fds[2] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
    begin(&l);
    CALL(o, poll(fds, 3, 5000));
    say_poll(o, fds, 3);
    end(&l);
    CALL(o, poll(fds, 2, 30));
    fds[1].fd = 4000;
    CALL(o, poll(fds, 2, 30));
    say_poll(o, fds, 2);
    CALL(o, poll(NULL, 0, 30));
    CALL(o, poll(fds, 0, 0));
    CALL(o, poll(nowhere, 1, 30));
    if (read(ends[0], &(char){ 0 }, 1) != 1)
        abort();

    for (int i = 0; i < 12; i++)
        fds[i] = (struct pollfd){ .fd = i < 11 ? quiet[0] : ends[0],
                                  .events = i == 3 ? POLLPRI : POLLIN };
    begin(&l);
    CALL(o, poll(fds, 12, 5000));
    say_poll(o, fds, 12);
    end(&l);
    fds[0] = (struct pollfd){ .fd = quiet[0], .events = POLLPRI };
    fds[1] = (struct pollfd){ .fd = quiet[0], .events = POLLIN };
    struct later other = WRITES(40, quiet[1], "b");
    begin(&other);
    CALL(o, poll(fds, 2, 5000));
    say_poll(o, fds, 2);
    end(&other);
    fds[0] = (struct pollfd){ .fd = quiet[0], .events = 0 };
    other = (struct later){ .ms = 40, .fd = quiet[1], .act = act_close };
    begin(&other);
    CALL(o, poll(fds, 1, 5000));
    say_poll(o, fds, 1);
    end(&other);
    close(quiet[0]);
    close_both(ends);
}

static void case_poll_odd(struct out *o) {
    struct rlimit most;
    struct pollfd fd;
    int ends[2], high;
    double since;

    pair(ends, SOCK_STREAM);
    fill(ends[0]);
    shutdown(ends[1], SHUT_WR);
    fd = (struct pollfd){ .fd = ends[0], .events = POLLOUT };
    since = now();
    CALL(o, poll(&fd, 1, 80));
    say(o, "waited %d\n", now() - since >= 0.08);
    fd.events = POLLRDHUP;
    CALL(o, poll(&fd, 1, 80));
    say_poll(o, &fd, 1);
    close_both(ends);

    getrlimit(RLIMIT_NOFILE, &most);
    most.rlim_cur = most.rlim_max < 6000 ? most.rlim_max : 6000;
    setrlimit(RLIMIT_NOFILE, &most);
    pair(ends, SOCK_STREAM);
    high = fcntl(ends[0], F_DUPFD, 5000);
    say(o, "high %d\n", high);
    fd = (struct pollfd){ .fd = high, .events = POLLIN };
    struct later l = WRITES(40, ends[1], "a");
    begin(&l);
    CALL(o, poll(&fd, 1, 5000));
    say_poll(o, &fd, 1);
    end(&l);
    close(high);
    close_both(ends);

    fd = (struct pollfd){ .fd = open("/etc/passwd", O_RDONLY), .events = POLLIN };
    CALL(o, poll(&fd, 1, 30));
    fd.events = POLLPRI;
    CALL(o, poll(&fd, 1, 30));
    close(fd.fd);
    CALL(o, ppoll(&fd, 0, &(struct timespec){ .tv_nsec = 30000000 }, NULL));
    CALL(o, ppoll(&fd, 0, &(struct timespec){ .tv_nsec = -1 }, NULL));
    CALL(o, ppoll(&fd, 1, NULL, NULL));
    say_poll(o, &fd, 1);
}

static void set_bit(unsigned long *bits, int fd) {
    bits[fd / 64] |= 1UL << fd % 64;
}

/* As many descriptors as a process may have, with sets that have room for 1,024. */
static void case_select_small(struct out *o) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fd_set *in = (fd_set *)(void *)(memory + page - sizeof(fd_set));
    struct timeval t = { .tv_usec = 30000 };
    int ends[2];

    mprotect(memory + page, page, PROT_NONE);
    pair(ends, SOCK_STREAM);
    struct later l = WRITES(40, ends[1], "a");
    FD_SET(ends[0], in);
    CALL(o, select(65536, in, NULL, NULL, &t));
    FD_SET(ends[0], in);
    begin(&l);
    CALL(o, select(65536, in, NULL, NULL, NULL));
    end(&l);
    say(o, "%d\n", FD_ISSET(ends[0], in) != 0);
    close_both(ends);
    munmap(memory, 2 * page);
}

static void case_select(struct out *o) {
    fd_set in, out, except;
    struct timeval t = { .tv_usec = 50000 };
    unsigned long many[40] = { 0 };
    int ends[2], high;

    pair(ends, SOCK_STREAM);
    struct later l = WRITES(40, ends[1], "a");
    FD_ZERO(&in);
    FD_SET(ends[0], &in);
    CALL(o, select(ends[0] + 1, &in, NULL, NULL, &t));
    say(o, "%d %ld %ld\n", FD_ISSET(ends[0], &in) != 0, (long)t.tv_sec, (long)t.tv_usec);
    FD_SET(ends[0], &in);
    t = (struct timeval){ .tv_sec = 5 };
    begin(&l);
    CALL(o, select(FD_SETSIZE, &in, NULL, NULL, &t));
    say(o, "%d %ld\n", FD_ISSET(ends[0], &in) != 0, (long)t.tv_sec);
    end(&l);
    FD_ZERO(&out);
    FD_ZERO(&except);
    FD_SET(ends[0], &out);
    FD_SET(ends[0], &except);
    CALL(o, select(ends[0] + 1, &in, &out, &except, NULL));
    say(o, "%d %d %d\n", FD_ISSET(ends[0], &in) != 0, FD_ISSET(ends[0], &out) != 0,
        FD_ISSET(ends[0], &except) != 0);
    if (read(ends[0], &(char){ 0 }, 1) != 1)
        abort();
    FD_ZERO(&in);
    high = dup(ends[0]);
    close(high);
    FD_SET(high, &in);
    CALL(o, select(high + 1, &in, NULL, NULL, NULL));
    CALL(o, select(-1, &in, NULL, NULL, NULL));
    t = (struct timeval){ .tv_usec = 30000 };
    CALL(o, select(0, NULL, NULL, NULL, &t));
    t = (struct timeval){ .tv_usec = -1 };
    CALL(o, select(0, NULL, NULL, NULL, &t));
    high = fcntl(ends[0], F_DUPFD, 2000);
    set_bit(many, high);
    begin(&l);
    CALL(o, select(2400, (fd_set *)(void *)many, NULL, NULL, NULL));
    end(&l);
    say(o, "%d\n", many[high / 64] != 0);
    close(high);
    FD_SET(ends[1], &out);
    struct timespec span = { .tv_nsec = 40000000 };
    FD_ZERO(&in);
    FD_SET(ends[1], &in);
    CALL(o, pselect(ends[1] + 1, &in, NULL, NULL, &span, NULL));
    say(o, "%ld %d\n", span.tv_nsec, FD_ISSET(ends[1], &in) != 0);
    close_both(ends);
}

static void case_epoll(struct out *o) {
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 42 }, got[4];
    int ends[2], set = epoll_create1(0), outer = epoll_create1(0);

    pair(ends, SOCK_STREAM);
    CALL(o, epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
    CALL(o, epoll_ctl(outer, EPOLL_CTL_ADD, set, &event));
    CALL(o, epoll_wait(set, got, 4, 0));
    CALL(o, epoll_wait(set, got, 4, 40));
    struct later l = WRITES(40, ends[1], "a");
    begin(&l);
    CALL(o, epoll_wait(set, got, 4, -1));
    say(o, "%x %llu\n", got[0].events, (unsigned long long)got[0].data.u64);
    end(&l);
    CALL(o, epoll_pwait(set, got, 4, 1000, NULL));
    CALL(o, epoll_wait(outer, got, 4, 1000));
    if (read(ends[0], &(char){ 0 }, 1) != 1)
        abort();
    begin(&l);
    CALL(o, epoll_wait(outer, got, 4, -1));
    end(&l);
    if (read(ends[0], &(char){ 0 }, 1) != 1)
        abort();
    CALL(o, epoll_pwait2(set, got, 4, &(struct timespec){ .tv_nsec = 30000000 }, NULL));
    CALL(o, epoll_wait(set, got, 0, 30));
    CALL(o, epoll_wait(-1, got, 1, 30));
    CALL(o, epoll_wait(ends[0], got, 1, 30));
    close(set);
    close(outer);
    close_both(ends);
}

/* A mask lets a signal in that waits already, and one that comes. */
static void case_masks(struct out *o) {
    int signo = SIGRTMIN + 3, set = epoll_create1(0);
    struct timespec long_time = { .tv_sec = 5 };
    struct epoll_event got;
    sigset_t one, before, none;

    catch (signo);
    sigemptyset(&none);
    sigemptyset(&one);
    sigaddset(&one, signo);
    pthread_sigmask(SIG_BLOCK, &one, &before);
    sigdelset(&before, signo);
    pthread_kill(pthread_self(), signo);
    CALL(o, ppoll(NULL, 0, &long_time, &before));
    say(o, "%d\n", atomic_load(&signals_seen));
    pthread_kill(pthread_self(), signo);
    CALL(o, pselect(0, NULL, NULL, NULL, &long_time, &before));
    say(o, "%d\n", atomic_load(&signals_seen));
    pthread_kill(pthread_self(), signo);
    CALL(o, epoll_pwait(set, &got, 1, 5000, &before));
    say(o, "%d\n", atomic_load(&signals_seen));
    pthread_kill(pthread_self(), signo);
    long_time = (struct timespec){ .tv_nsec = 60000000 };
    CALL(o, ppoll(NULL, 0, &long_time, &one));
    say(o, "%d\n", atomic_load(&signals_seen));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    say(o, "%d\n", atomic_load(&signals_seen));
    close(set);
}

/* --- connections --------------------------------------------------------- */

static void case_connect(struct out *o) {
    struct sockaddr_in at, gone;
    int listening = listener(&at, 10), fd = listener(&gone, 1);
    socklen_t len = sizeof(at);

    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    CALL(o, fcntl(fd, F_GETFL) & O_NONBLOCK);
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    CALL(o, connect(fd, &(struct sockaddr){ .sa_family = AF_UNSPEC }, sizeof(struct sockaddr)));
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CALL(o, connect(fd, (struct sockaddr *)&gone, len));
    CALL(o, connect(fd, (struct sockaddr *)&gone, len));
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    CALL(o, connect(fd, (struct sockaddr *)&at, 3));
    CALL(o, connect(fd, NULL, 0));
    close(fd);
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    CALL(o, connect(0, (struct sockaddr *)&at, len));
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    CALL(o, (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    close(fd);
    close(listening);

    int queued[4];
    listening = listener(&at, 0);
    for (int i = 0; i < 4; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(queued[i], (struct sockaddr *)&at, len);
    }
    fd = socket(AF_INET, SOCK_STREAM, 0);
    limit(fd, SO_SNDTIMEO, 60);
    CALL(o, connect(fd, (struct sockaddr *)&at, len));
    CALL(o, fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    for (int i = 0; i < 4; i++)
        close(queued[i]);
    close(listening);
}

static void case_connect_unix(struct out *o) {
    struct sockaddr_un at, gone;
    int listening = unix_socket(&at, SOCK_STREAM, "listens"),
        fd = unix_socket(&gone, SOCK_STREAM, "gone"), first;

    close(fd);
    listen(listening, 0);
    first = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL(o, connect(first, (struct sockaddr *)&at, sizeof(at)));
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    limit(fd, SO_SNDTIMEO, 50);
    CALL(o, connect(fd, (struct sockaddr *)&at, sizeof(at)));
    limit(fd, SO_SNDTIMEO, 0);
    struct later l = { .ms = 40, .fd = listening, .act = act_accept };
    begin(&l);
    CALL(o, connect(fd, (struct sockaddr *)&at, sizeof(at)));
    end(&l);
    CALL(o, fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CALL(o, connect(fd, (struct sockaddr *)&gone, sizeof(gone)));
    close(fd);
    close(first);
    close(listening);
}

static void case_accept(struct out *o) {
    struct sockaddr_in at, from;
    int fd = listener(&at, 10), got;
    socklen_t len = sizeof(at);

    struct later l = { .ms = 40, .act = act_connect, .address = &at, .len = len };
    begin(&l);
    errno = 0;
    got = accept(fd, (struct sockaddr *)&from, &len);
    say(o, "%d %d %u %d\n", got >= 0, errno, len, from.sin_family);
    end(&l);
    close(got);
    begin(&l);
    got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    say(o, "%d\n", (fcntl(got, F_GETFL) & O_NONBLOCK) != 0);
    end(&l);
    close(got);
    limit(fd, SO_RCVTIMEO, 50);
    CALL(o, accept(fd, NULL, NULL));
    CALL(o, accept4(fd, NULL, NULL, 0x12345));
    unblock(fd);
    CALL(o, accept(fd, NULL, NULL));
    close(fd);
    CALL(o, accept(fd, NULL, NULL));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    CALL(o, accept(fd, NULL, NULL));
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    CALL(o, accept(fd, NULL, NULL));
    close(fd);
    CALL(o, accept(0, NULL, NULL));
}

/* --- sleeping; calls of programs that are built with _FORTIFY_SOURCE ------ */

static void case_sleep(struct out *o) {
    struct timespec t = { .tv_nsec = 40000000 }, left = { .tv_sec = 9 },
                    bad = { .tv_nsec = 2000000000 }, at;
    double since = now();

    CALL(o, usleep(40000));
    CALL(o, nanosleep(&t, &left));
    CALL(o, clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL));
    CALL(o, thrd_sleep(&t, &left));
    say(o, "slept %d %ld\n", now() - since >= 0.16, (long)left.tv_sec);
    CALL(o, usleep(0));
    CALL(o, sleep(0));
    CALL(o, nanosleep(&bad, NULL));
    CALL(o, nanosleep(&(struct timespec){ .tv_sec = -1 }, NULL));
    CALL(o, clock_nanosleep(CLOCK_REALTIME, 0, &bad, NULL));
    CALL(o, clock_nanosleep(12345, 0, &t, NULL));
    CALL(o, clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL));
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec++;
    since = now();
    CALL(o, clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, NULL));
    say(o, "slept %d\n", now() - since >= 0.9);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t room);
ssize_t __read_chk(int fd, void *data, size_t size, size_t room);
ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags);
ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags, struct sockaddr *,
                       socklen_t *);

static void case_fortified(struct out *o) {
    struct timespec t = { .tv_nsec = 40000000 };
    char data[16];
    int ends[2];

    pair(ends, SOCK_STREAM);
    struct pollfd fd = { .fd = ends[0], .events = POLLIN };
    struct later l = WRITES(30, ends[1], "abc");
    CALL(o, __poll_chk(&fd, 1, 30, sizeof(fd)));
    CALL(o, __ppoll_chk(&fd, 1, &t, NULL, sizeof(fd)));
    begin(&l);
    CALL(o, __read_chk(ends[0], data, 10, 16));
    end(&l);
    begin(&l);
    CALL(o, __recv_chk(ends[0], data, 10, 16, 0));
    end(&l);
    begin(&l);
    CALL(o, __recvfrom_chk(ends[0], data, 10, 16, 0, NULL, NULL));
    end(&l);
    close_both(ends);
}

/* Calls that are like others, which test_patch_lock.py and test_patch_names.py play. */
static void case_kin(struct out *o) {
    char name[] = "/tmp/patch-kin-XXXXXX";
    pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
    struct timespec past = { 0 };
    struct flock lock = { .l_type = F_WRLCK };
    struct rusage usage;
    off64_t at = 1;
    int ends[2], file = mkstemp(name), status = 0;
    pid_t pid;
    mtx_t m;
    cnd_t c;

    CALL(o, pthread_rwlock_timedrdlock(&rw, &past));
    CALL(o, pthread_rwlock_clockrdlock(&rw, CLOCK_MONOTONIC, &past));
    CALL(o, pthread_rwlock_clockwrlock(&rw, CLOCK_MONOTONIC, &past));
    CALL(o, pthread_rwlock_unlock(&rw));
    CALL(o, pthread_rwlock_unlock(&rw));
    CALL(o, pthread_rwlock_clockwrlock(&rw, CLOCK_REALTIME, &past));
    CALL(o, pthread_rwlock_unlock(&rw));
    mtx_init(&m, mtx_plain);
    cnd_init(&c);
    CALL(o, mtx_trylock(&m));
    CALL(o, cnd_broadcast(&c));
    CALL(o, mtx_unlock(&m));

    pair(ends, SOCK_STREAM);
    struct later l = WRITES(50, ends[1], "a");
    begin(&l);
    CALL(o, pthread_clockjoin_np(l.thread, NULL, CLOCK_MONOTONIC, &past));
    end(&l);
    pid = fork();
    if (pid == 0)
        _exit(3);
    CALL(o, wait4(pid, &status, 0, &usage) == pid);
    CALL(o, wait4(pid, &status, 0, &usage));
    say(o, "%d\n", WEXITSTATUS(status));
    pid = fork();
    if (pid == 0)
        _exit(4);
    CALL(o, wait3(&status, 0, &usage) == pid);
    CALL(o, wait3(&status, 0, &usage));
    say(o, "%d\n", WEXITSTATUS(status));

    unlink(name);
    CALL(o, write(file, "abcd", 4));
    CALL(o, lockf64(file, F_LOCK, 0));
    CALL(o, fcntl64(file, F_SETLKW, &lock));
    CALL(o, fcntl64(-1, F_SETLKW, &lock));
    CALL(o, sendfile64(ends[0], file, &at, 2));
    say(o, "%d\n", (int)at);
    close(file);
    close_both(ends);
}

/* --- the application ----------------------------------------------------- */

static const struct a_case cases[] = {
    { "poll", case_poll },
    { "poll-odd", case_poll_odd },
    { "select", case_select },
    { "select-small", case_select_small },
    { "epoll", case_epoll },
    { "masks", case_masks },
    { "connect", case_connect },
    { "connect-unix", case_connect_unix },
    { "accept", case_accept },
    { "sleep", case_sleep },
    { "fortified", case_fortified },
    { "kin", case_kin },
    { NULL, NULL },
};

static int page(srv_request *rq) {
    return run_case(rq, cases);
}

SRV_APP(.routes = (const srv_route[]){ { "/case/*", page }, { NULL, NULL } })
