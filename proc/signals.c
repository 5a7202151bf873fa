/* SPDX-License-Identifier: MIT */
/* Signals as events of a loop. */
#include "proc/signals.h"

#include "base/alloc.h"
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define STOP_SECONDS 1 /* from "at once" to the end */

enum { WATCHED = 5 };
#define WATCHED_SIGNALS \
    { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGRETIRE } /* the last: no constant */

struct signals {
    struct event events[WATCHED];
    size_t count; /* events that were added */
    void (*on_signal)(void *arg, int signo);
    void *arg;
};

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
void signals_accept(void) {
    signal(SIGALRM, getpid() == 1 ? end_by_alarm : SIG_DFL);
    mask_watched(SIG_UNBLOCK);
}

void signals_ignore_foreign(void) {
    const int ignored[] = { SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGXFSZ, SIGPIPE };

    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    if (getpid() == 1)
        signals_defer();
}

void signals_bury_orphans(void) {
    if (getpid() == 1)
        signal(SIGCHLD, SIG_IGN);
}

/* --- at once means at once -------------------------------------------------------------- */

static void (*to_loop)(int signo); /* libevent's handler */

void signals_insist(int signo) {
    static atomic_bool asked, pressed; /* politely; at once, from when the second counts */

    if (signo == SIGTERM && !atomic_exchange(&asked, true))
        return;
    if (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT)
        return;
    if (!atomic_exchange(&pressed, true))
        alarm(STOP_SECONDS);
}

static void on_raw(int signo) {
    signals_insist(signo);
    to_loop(signo);
}

static void catch_raw(int signo) {
    struct sigaction action;

    if (sigaction(signo, NULL, &action) < 0)
        return;
    to_loop = action.sa_handler;
    action.sa_handler = on_raw;
    sigaction(signo, &action, NULL);
}

void signals_enforce(void) {
    catch_raw(SIGTERM);
    catch_raw(SIGINT);
    catch_raw(SIGQUIT);
}

/* --- on the loop ------------------------------------------------------------------------- */

static void on_event(evutil_socket_t signo, short what UNUSED, void *arg) {
    struct signals *s = arg;

    s->on_signal(s->arg, signo);
}

struct signals *signals_new(struct loop *loop, void (*on_signal)(void *arg, int signo), void *arg,
                            struct error *err) {
    const int watched[WATCHED] = WATCHED_SIGNALS;
    struct signals *s = mem_calloc(1, sizeof(*s));
    struct sigaction usr1;
    if (s == NULL) {
        error_set(err, -ENOMEM, "cannot watch signals: out of memory");
        return NULL;
    }

    s->on_signal = on_signal;
    s->arg = arg;
    for (; s->count < WATCHED; s->count++) {
        struct event *event = &s->events[s->count];
        if (event_assign(event, loop_base(loop), watched[s->count], EV_SIGNAL | EV_PERSIST,
                         on_event, s) != 0 ||
            event_add(event, NULL) != 0) {
            error_set(err, -ENOMEM, "cannot watch signal %d: %s", watched[s->count],
                      strerrordesc_np(errno));
            signals_free(s);
            return NULL;
        }
    }
    signal(SIGPIPE, SIG_IGN);
    if (sigaction(SIGUSR1, NULL, &usr1) == 0 && usr1.sa_handler == SIG_DFL)
        signal(SIGUSR1, SIG_IGN); /* "reopen your logs" must not kill who has none */
    signals_accept();
    return s;
}

/* A library's thread may still run, with a mask of its own. */
static void ignore_watched(void) {
    const int watched[WATCHED] = WATCHED_SIGNALS;

    for (size_t i = 0; i < WATCHED; i++)
        signal(watched[i], SIG_IGN);
}

static bool held; /* by signals_hold */

void signals_free(struct signals *s) {
    if (s == NULL)
        return;

    for (size_t i = 0; i < s->count; i++)
        event_del(&s->events[i]);
    alarm(0);
    if (held)
        ignore_watched(); /* libevent has put back what was there before */
    mem_free(s);
}

void signals_hold(void) {
    sigset_t all;

    held = true;
    ignore_watched();
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    alarm(0);
}
