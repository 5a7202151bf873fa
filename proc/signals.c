/* SPDX-License-Identifier: MIT */
/* Signals as events of a loop, or as calls on whichever thread they hit.
 *
 * A handler of our own, and not signalfd(2), catches them: a process whose threads are all stuck in
 * calls that nothing interrupts would never read a descriptor, and must end all the same
 * (signals_enforce). */
#include "proc/signals.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define STOP_SECONDS 1 /* from "at once" to the end */

enum { WATCHED = 5 };
#define WATCHED_SIGNALS \
    { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGRETIRE } /* the last: no constant */

struct signals {
    void (*in_handler)(void *arg, int signo); /* of signals_catch; NULL: they go to the loop */
    void (*on_signal)(void *arg, int signo);
    void *arg;
    struct event event; /* of `fd`, which the handler makes readable */
    int fd;
    atomic_uint caught[WATCHED]; /* each as often as the handler ran since the loop looked */
    struct sigaction before[WATCHED];
    atomic_bool enforced, asked, pressed; /* politely; at once, from when the second counts */
    bool held;
};

/* The handler of a process has no argument to find this by, and outlives whoever installs it. */
static struct signals process = { .fd = -1 };

static void mask_watched(int how) {
    const int watched[WATCHED] = WATCHED_SIGNALS;
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < WATCHED; i++)
        sigaddset(&set, watched[i]);
    if (how == SIG_UNBLOCK)
        sigaddset(&set, SIGALRM);
    pthread_sigmask(how, &set, NULL);
}

void signals_defer(void) {
    mask_watched(SIG_BLOCK);
}

/* Ends with the exit code that a shell would tell. */
static void end_by_alarm(int signo) {
    _exit(128 + signo);
}

/* The kernel gives PID 1 no default actions. */
static void accept_watched(void) {
    signal(SIGALRM, getpid() == 1 ? end_by_alarm : SIG_DFL);
    mask_watched(SIG_UNBLOCK);
}

void signals_ignore_foreign(void) {
    const int ignored[] = { SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGXFSZ, SIGPIPE, SIGIO };

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    if (getpid() == 1)
        signals_defer();
}

void signals_bury_orphans(void) {
    if (getpid() == 1)
        signal(SIGCHLD, SIG_IGN);
}

/* --- the handler ------------------------------------------------------------------------- */

/* At once means at once: gives a stuck process a second. */
static void insist(int signo) {
    if (signo == SIGTERM && !atomic_exchange(&process.asked, true))
        return;
    if (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT)
        return;
    if (!atomic_exchange(&process.pressed, true))
        alarm(STOP_SECONDS);
}

static void tell_loop(int signo) {
    const int watched[WATCHED] = WATCHED_SIGNALS;

    for (size_t i = 0; i < WATCHED; i++)
        if (watched[i] == signo)
            atomic_fetch_add(&process.caught[i], 1);
    eventfd_write(process.fd, 1);
}

static void on_raw(int signo) {
    int saved = errno;

    if (atomic_load(&process.enforced))
        insist(signo);
    if (process.in_handler != NULL)
        process.in_handler(process.arg, signo);
    else
        tell_loop(signo);
    errno = saved;
}

static void install(int flags) {
    const int watched[WATCHED] = WATCHED_SIGNALS;
    struct sigaction action = { .sa_handler = on_raw, .sa_flags = flags };

    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < WATCHED; i++)
        sigaction(watched[i], &action, &process.before[i]);
    signal(SIGPIPE, SIG_IGN);
}

void signals_catch(void (*on_signal)(void *arg, int signo), void *arg) {
    process.arg = arg;
    process.in_handler = on_signal;
    install(0);
    signal(SIGHUP, SIG_IGN); /* the master may hand it on, and it must not kill */
    accept_watched();
}

void signals_enforce(void) {
    atomic_store(&process.enforced, true);
}

/* --- on the loop ------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what UNUSED, void *arg) {
    const int watched[WATCHED] = WATCHED_SIGNALS;
    struct signals *s = arg;
    eventfd_t times;

    (void)eventfd_read(fd, &times);
    for (size_t i = 0; i < WATCHED; i++)
        for (unsigned left = atomic_exchange(&s->caught[i], 0); left > 0; left--)
            s->on_signal(s->arg, watched[i]);
}

struct signals *signals_new(struct loop *loop, void (*on_signal)(void *arg, int signo), void *arg,
                            struct error *err) {
    struct signals *s = &process;
    struct sigaction usr1;

    s->on_signal = on_signal;
    s->arg = arg;
    s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->fd < 0 ||
        event_assign(&s->event, loop_base(loop), s->fd, EV_READ | EV_PERSIST, on_readable, s) < 0 ||
        event_add(&s->event, NULL) < 0) {
        error_set(err, -errno, "cannot watch signals: %s", strerrordesc_np(errno));
        if (s->fd >= 0)
            close(s->fd);
        s->fd = -1;
        return NULL;
    }
    install(SA_RESTART);
    if (sigaction(SIGUSR1, NULL, &usr1) == 0 && usr1.sa_handler == SIG_DFL)
        signal(SIGUSR1, SIG_IGN); /* "reopen your logs" must not kill who has none */
    accept_watched();
    return s;
}

/* Ignores what is watched: a library's thread may still run, with a mask of its own. */
static void ignore_watched(void) {
    const int watched[WATCHED] = WATCHED_SIGNALS;

    for (size_t i = 0; i < WATCHED; i++)
        signal(watched[i], SIG_IGN);
}

void signals_free(struct signals *s) {
    const int watched[WATCHED] = WATCHED_SIGNALS;

    if (s == NULL)
        return;

    for (size_t i = 0; !s->held && i < WATCHED; i++)
        sigaction(watched[i], &s->before[i], NULL);
    alarm(0);
    event_del(&s->event);
    close(s->fd);
    s->fd = -1;
}

void signals_hold(void) {
    sigset_t all;

    process.held = true;
    ignore_watched();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    alarm(0);
}
