/* SPDX-License-Identifier: MIT */
/* Applications that try patched calls include this, and print what came of them: result, errno,
 * effects. With and without patching the text is the same (test_patch_libc.py). Peers are threads,
 * which are never patched. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <srv/app.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* --- what a case prints -------------------------------------------------- */

struct out {
    char text[8192];
    size_t len;
};

static inline struct out *out_of(srv_request *rq) {
    struct out *o = srv_alloc(rq, sizeof(*o));

    o->len = 0;
    o->text[0] = '\0';
    return o;
}

static inline void say(struct out *o, const char *format, ...) {
    va_list args;

    va_start(args, format);
    o->len += (size_t)vsnprintf(o->text + o->len, sizeof(o->text) - o->len, format, args);
    va_end(args);
}

/* errno is told after successes, too. */
#define CALL(o, expression)                                                                   \
    do {                                                                                      \
        long rc_;                                                                             \
        errno = 0;                                                                            \
        rc_ = (long)(expression);                                                             \
        say(o, "%s = %ld %s\n", #expression, rc_, errno != 0 ? strerrorname_np(errno) : "-"); \
    } while (0)

static inline double now(void) {
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- peers --------------------------------------------------------------- */

/* Does something in a while, on a thread. */
struct later {
    int ms, fd;
    void (*act)(struct later *);
    const char *text;
    const void *address;
    socklen_t len;
    long done;
    pthread_t thread;
};

static inline void *run_later(void *arg) {
    struct later *l = arg;

    usleep((useconds_t)l->ms * 1000);
    l->act(l);
    return NULL;
}

static inline void begin(struct later *l) {
    pthread_create(&l->thread, NULL, run_later, l);
}

static inline void end(struct later *l) {
    pthread_join(l->thread, NULL);
}

static inline void act_write(struct later *l) {
    l->done = write(l->fd, l->text, strlen(l->text));
}

static inline void act_shutdown(struct later *l) {
    l->done = shutdown(l->fd, SHUT_WR);
}

static inline void act_close(struct later *l) {
    l->done = close(l->fd);
}

/* Reads to the end, with pauses; the sum depends on the order of the bytes. */
static inline void act_drain(struct later *l) {
    static _Thread_local unsigned char piece[65536];
    unsigned long sum = 0;
    ssize_t n;

    while ((n = read(l->fd, piece, sizeof(piece))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + piece[i];
        usleep(500);
    }
    l->done = (long)(sum % 1000000007);
}

static inline void act_read_some(struct later *l) {
    static _Thread_local char piece[65536];

    l->done = read(l->fd, piece, sizeof(piece));
    close(l->fd);
}

static inline void act_connect(struct later *l) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    l->done = connect(fd, l->address, l->len);
    close(fd);
}

static inline void act_accept(struct later *l) {
    int fd = accept(l->fd, NULL, NULL);

    l->done = fd >= 0;
    close(fd);
}

#define WRITES(delay, to, what) \
    { .ms = (delay), .fd = (to), .act = act_write, .text = (what) }

/* --- rigs ---------------------------------------------------------------- */

static inline void pair(int ends[2], int type) {
    if (socketpair(AF_UNIX, type, 0, ends) < 0)
        abort();
}

static inline void close_both(int ends[2]) {
    close(ends[0]);
    close(ends[1]);
}

static inline void limit(int fd, int option, int ms) {
    struct timeval t = { .tv_usec = ms * 1000 };

    setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t));
}

static inline void unblock(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static inline int listener(struct sockaddr_in *at, int backlog) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t len = sizeof(*at);

    *at = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (bind(fd, (struct sockaddr *)at, len) < 0 ||
        getsockname(fd, (struct sockaddr *)at, &len) < 0)
        abort();
    listen(fd, backlog);
    return fd;
}

static inline int unix_socket(struct sockaddr_un *at, int type, const char *what) {
    static atomic_int number;
    int fd = socket(AF_UNIX, type, 0);

    *at = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(at->sun_path + 1, sizeof(at->sun_path) - 1, "patch-%s-%d-%d", what, (int)getpid(),
             (int)atomic_fetch_add(&number, 1));
    if (bind(fd, (struct sockaddr *)at, sizeof(*at)) < 0)
        abort();
    return fd;
}

static inline void fill(int fd) {
    static const char piece[4096];

    while (send(fd, piece, sizeof(piece), MSG_DONTWAIT) > 0)
        continue;
    while (send(fd, piece, 1, MSG_DONTWAIT) > 0)
        continue;
}

static atomic_int signals_seen;

static inline void on_signal(int signo) {
    (void)signo;
    atomic_fetch_add(&signals_seen, 1);
}

static inline void catch (int signo) {
    struct sigaction a = { .sa_handler = on_signal };

    atomic_store(&signals_seen, 0);
    sigaction(signo, &a, NULL);
}

/* --- the application ----------------------------------------------------- */

/* A function that prints what a call does. */
struct a_case {
    const char *name;
    void (*run)(struct out *);
};

static inline int run_case(srv_request *rq, const struct a_case *cases) {
    struct out *o = out_of(rq);

    for (; cases->name != NULL; cases++)
        if (strcmp(srv_segment(rq, 0), cases->name) == 0)
            cases->run(o);
    return srv_reply(rq, 200, "%s", o->text);
}
