/* SPDX-License-Identifier: MIT */
/* The master: forks the workers, waits for signals, replaces what dies, and stops them all. And the
 * worker's side: what a worker tells its master, in memory that both share. */
#include "proc/prefork.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "proc/child.h"
#include "proc/signals.h"
#include "proc/title.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUICK_STOP (1 * NSEC_PER_SEC)

/* --- in the worker -------------------------------------------------------------------------- */

/* A worker's row of the scoreboard. */
struct board_row {
    atomic_bool ready;
    atomic_bool replace;     /* the worker wants a successor */
    _Atomic(nsec_t) beat_at; /* time of the worker's last progress */
};

/* A worker's own row and master; the functions that tell have no argument to find them by. */
static struct board_row *own_row;
static pid_t own_master;

static void tell_news(atomic_bool *what) {
    atomic_store(what, true);
    if (kill(own_master, SIGNEWS) < 0 && errno != ESRCH)
        log_write(LOG_LEVEL_ERROR, "cannot tell the master error=\"%s\"", strerrordesc_np(errno));
}

void prefork_worker_ready(void) {
    prefork_worker_beat();
    if (own_row != NULL)
        tell_news(&own_row->ready);
}

void prefork_worker_replace(void) {
    if (own_row != NULL && !atomic_load(&own_row->replace))
        tell_news(&own_row->replace);
}

void prefork_worker_beat(void) {
    if (own_row != NULL)
        prefork_worker_beat_at(clock_now());
}

void prefork_worker_beat_at(nsec_t now) {
    if (own_row != NULL)
        atomic_store_explicit(&own_row->beat_at, now, memory_order_relaxed);
}

/* --- the master ----------------------------------------------------------------------------- */

enum master_phase {
    MASTER_SERVING,
    MASTER_DRAINING, /* workers got TERM, or RETIRE, and finish what they have */
    MASTER_QUITTING, /* workers got QUIT and leave at once */
};

/* One worker by its index. Not wanted with a pid: it was told to leave, or will be when its
 * successor is ready. */
struct slot {
    pid_t pid; /* 0: not running */
    bool wanted;
    pid_t predecessor; /* to be told to retire when this one is ready; 0: none */
    struct child_respawn respawn;
    nsec_t kill_at; /* the end of patience; NSEC_NEVER unless told to leave */
};

struct master {
    const struct prefork_config *config;
    struct slot slots[PREFORK_WORKERS_MAX];
    struct board_row *board; /* a row for each slot */
    sigset_t signals, old_signals;
    pid_t pid;
    enum master_phase phase;
    unsigned failed_starts; /* starts without success since a worker last became ready */
    bool gave_up, told_ready;
    bool asks;       /* whether workers may be replaced is not known yet */
    nsec_t stop_at;  /* the end of graceful_delay; NSEC_NEVER: it does not run */
    nsec_t look_at;  /* next look for stuck workers */
    nsec_t awake_at; /* begin of the time in which the master looks without a gap */
};

static unsigned slot_index(const struct master *m, const struct slot *slot) {
    return (unsigned)(slot - m->slots);
}

static unsigned count_wanted(const struct master *m) {
    unsigned count = 0;

    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++)
        count += m->slots[i].wanted;
    return count;
}

static unsigned count_running(const struct master *m) {
    unsigned count = 0;

    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++)
        count += m->slots[i].pid != 0;
    return count;
}

static void run_hook(const struct master *m, void (*hook)(void *arg)) {
    if (hook != NULL)
        hook(m->config->arg);
}

/* --- starting ------------------------------------------------------------------------------- */

static __attribute__((noreturn)) void be_worker(const struct master *m, unsigned index) {
    const struct prefork_config *config = m->config;
    char name[16];

    sigprocmask(SIG_SETMASK, &m->old_signals, NULL);
    own_row = &m->board[index];
    own_master = m->pid;

    snprintf(name, sizeof(name), "srv worker %u", index + 1);
    if (config->title != NULL)
        title_set(name, "%s: worker %u [%s]", config->name, index + 1, config->title);
    else
        title_set(name, "%s: worker %u", config->name, index + 1);
    exit(config->worker(config->arg, index));
}

static void spawn(struct master *m, struct slot *slot, nsec_t now) {
    static struct log_rate rate = { .per_second = 1 };
    unsigned index = slot_index(m, slot);

    atomic_store(&m->board[index].ready, false);
    atomic_store(&m->board[index].replace, false);
    pid_t pid = child_fork(SIGINT); /* not QUIT: before its handler that dumps core */
    if (pid == 0)
        be_worker(m, index);

    child_began(&slot->respawn, pid, now);
    if (pid < 0) {
        log_limited(&rate, LOG_LEVEL_ERROR, "fork failed worker=%u error=\"%s\"", index + 1,
                    strerrordesc_np(-pid));
        return;
    }
    slot->pid = pid;
    slot->kill_at = NSEC_NEVER;
    log_write(LOG_LEVEL_INFO, "worker started worker=%u pid=%d", index + 1, (int)pid);
}

/* --- stopping ------------------------------------------------------------------------------- */

static bool is_serving(const struct master *m, unsigned index) {
    return m->slots[index].pid != 0 && atomic_load(&m->board[index].ready);
}

static void tell(struct slot *slot, int signo, nsec_t kill_at) {
    if (slot->pid != 0 && kill(slot->pid, signo) == 0)
        slot->kill_at = nsec_min(slot->kill_at, kill_at);
}

/* A worker whose own patience has ended cancels what it does, and has a moment for that. */
static nsec_t patience_ends(const struct master *m, nsec_t now) {
    return deadline_after(deadline_after(now, m->config->graceful_timeout), QUICK_STOP);
}

static void stop_all(struct master *m, enum master_phase phase, nsec_t now) {
    bool graceful = phase == MASTER_DRAINING;
    nsec_t kill_at = graceful ? patience_ends(m, now) : deadline_after(now, QUICK_STOP);

    bool begins = m->phase == MASTER_SERVING;

    m->phase = phase;
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++)
        tell(&m->slots[i], graceful ? SIGTERM : SIGQUIT, kill_at);
    if (begins)
        run_hook(m, m->config->stopping);
}

/* After enough starts that never served, with nobody serving, more of the same will not help: the
 * configuration is wrong. Once all have served it is not, and what is short may come back. */
static void give_up_if_hopeless(struct master *m, nsec_t now) {
    bool many = m->failed_starts >= m->config->workers + 2;

    if (m->phase != MASTER_SERVING || m->told_ready || !many)
        return;
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        if (is_serving(m, i))
            return;
    }

    log_write(LOG_LEVEL_ERROR, "workers cannot start, giving up tries=%u", m->failed_starts);
    m->gave_up = true;
    stop_all(m, MASTER_QUITTING, now);
}

/* --- what happened -------------------------------------------------------------------------- */

static void log_death(const struct master *m, const struct slot *slot, int status) {
    unsigned index = slot_index(m, slot);
    bool left = WIFEXITED(status);
    bool expected = left ? WEXITSTATUS(status) == 0 : slot->kill_at != NSEC_NEVER;
    char end[CHILD_END_BYTES];

    log_write(expected ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "worker %s worker=%u pid=%d%s",
              left ? "left" : "died", index + 1, (int)slot->pid, child_end(status, end));
}

static void count_death(struct master *m, struct slot *slot, nsec_t now) {
    bool was_ready = atomic_load(&m->board[slot_index(m, slot)].ready);

    m->failed_starts = was_ready ? 0 : m->failed_starts + 1;
    child_died(&slot->respawn, was_ready, now);
    slot->pid = 0;
    slot->kill_at = NSEC_NEVER;
}

static void reap(struct master *m, nsec_t now) {
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        struct slot *slot = &m->slots[i];
        int status;

        if (slot->pid == 0 || !child_reap(slot->pid, &status))
            continue;
        log_death(m, slot, status);
        count_death(m, slot, now);
        give_up_if_hopeless(m, now);
    }
}

static bool is_ours(const struct master *m, pid_t pid) {
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        if (m->slots[i].pid == pid)
            return true;
    }
    return m->config->owns != NULL && m->config->owns(m->config->arg, pid);
}

/* Reaps orphans: PID 1 of a namespace inherits every process there whose parent has died. The
 * master's own children are left to who knows them: one that has just died has sent another
 * SIGCHLD. */
static void reap_orphans(const struct master *m) {
    siginfo_t info = { 0 };

    while (m->pid == 1 && waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid != 0 && !is_ours(m, info.si_pid)) {
        waitpid(info.si_pid, NULL, WNOHANG);
        info.si_pid = 0;
    }
}

/* Does what is due: replaces the dead, kills who had the time to leave. Returns when to come back.
 */
static nsec_t run_due(struct master *m, nsec_t now) {
    nsec_t next = NSEC_NEVER;

    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        struct slot *slot = &m->slots[i];
        bool vacant = slot->pid == 0 && slot->wanted && m->phase == MASTER_SERVING;

        if (vacant && slot->respawn.start_at <= now)
            spawn(m, slot, now);
        if (slot->pid != 0 && slot->kill_at <= now) {
            log_write(LOG_LEVEL_WARN, "worker did not leave in time worker=%u pid=%d", i + 1,
                      (int)slot->pid);
            kill(slot->pid, SIGKILL);
            slot->kill_at = deadline_after(now, QUICK_STOP); /* a task in D state: ask again */
        }
        if (slot->pid != 0)
            next = nsec_min(next, slot->kill_at);
        else if (vacant)
            next = nsec_min(next, slot->respawn.start_at);
    }
    return next;
}

/* ABRT leaves a core where those are wanted; a stopped process only takes KILL. */
static void kill_stuck(struct master *m, struct slot *slot, nsec_t silence, nsec_t now) {
    const struct prefork_config *config = m->config;
    unsigned index = slot_index(m, slot);
    const char *doing = config->doing != NULL ? config->doing(config->arg, index) : "";

    log_write(LOG_LEVEL_ERROR, "worker is stuck, killing it worker=%u pid=%d silent_for=%.1fs%s%s",
              index + 1, (int)slot->pid, (double)silence / NSEC_PER_SEC, *doing != '\0' ? " " : "",
              doing);
    tell(slot, SIGABRT, deadline_after(now, QUICK_STOP));
}

/* Kills stuck workers; one that was told to leave has its patience instead. After a suspended
 * machine, or a stopped process group, the master has slept, too: silence counts from then on. */
static nsec_t look_for_stuck(struct master *m, nsec_t now) {
    nsec_t timeout = m->config->timeout;

    if (timeout == 0)
        return NSEC_NEVER;
    if (now < m->look_at)
        return m->look_at;
    if (now - m->look_at > timeout / 2)
        m->awake_at = now;
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        struct slot *slot = &m->slots[i];
        nsec_t beat_at = atomic_load(&m->board[i].beat_at);
        nsec_t silence = now - (beat_at > m->awake_at ? beat_at : m->awake_at);

        if (is_serving(m, i) && slot->kill_at == NSEC_NEVER && silence > timeout)
            kill_stuck(m, slot, silence, now);
    }
    m->look_at = deadline_after(now, timeout / 4);
    return m->look_at;
}

/* Tells the predecessor, which may have died meanwhile, and its slot may serve another. */
static void retire_predecessor(struct master *m, struct slot *slot, nsec_t now) {
    for (unsigned i = 0; slot->predecessor != 0 && i < PREFORK_WORKERS_MAX; i++) {
        if (m->slots[i].pid == slot->predecessor)
            tell(&m->slots[i], SIGRETIRE, patience_ends(m, now));
    }
    slot->predecessor = 0;
}

static void add_worker(struct master *m, nsec_t now) {
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        struct slot *slot = &m->slots[i];
        if (slot->wanted)
            continue;

        slot->wanted = true; /* one that is still leaving is replaced when it has left */
        slot->respawn = (struct child_respawn){ .start_at = now };
        return;
    }
}

static void remove_worker(struct master *m, nsec_t now) {
    if (count_wanted(m) <= 1) {
        log_write(LOG_LEVEL_WARN, "the last worker stays");
        return;
    }

    struct slot *slot = &m->slots[PREFORK_WORKERS_MAX - 1];
    while (!slot->wanted)
        slot--;
    slot->wanted = false;
    retire_predecessor(m, slot, now);
    tell(slot, SIGRETIRE, patience_ends(m, now));
}

/* --- replacing ------------------------------------------------------------------------------ */

static struct slot *vacant_slot(struct master *m) {
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        if (!m->slots[i].wanted && m->slots[i].pid == 0)
            return &m->slots[i];
    }
    return NULL;
}

/* Not the dead, who are replaced anyway, nor a successor that still starts: it is fresh, and its
 * predecessor waits for it. */
static void replace(struct master *m, struct slot *old, nsec_t now) {
    bool has_served = old->pid != 0 && old->predecessor == 0;
    struct slot *successor = has_served ? vacant_slot(m) : NULL;

    if (successor == NULL)
        return;
    old->wanted = false;
    *successor = (struct slot){
        .wanted = true, .predecessor = old->pid, .respawn.start_at = now, .kill_at = NSEC_NEVER
    };
}

static void replace_all(struct master *m, nsec_t now) {
    bool old[PREFORK_WORKERS_MAX];

    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++)
        old[i] = m->slots[i].wanted;
    for (unsigned i = 0; m->phase == MASTER_SERVING && i < PREFORK_WORKERS_MAX; i++) {
        if (old[i])
            replace(m, &m->slots[i], now);
    }
}

static void replace_all_if_allowed(struct master *m, bool anew, nsec_t now) {
    enum prefork_verdict verdict = PREFORK_REPLACE;

    if (m->config->may_replace != NULL && m->phase == MASTER_SERVING)
        verdict = m->config->may_replace(m->config->arg, anew);
    m->asks = verdict == PREFORK_WAIT;
    if (verdict == PREFORK_REPLACE)
        replace_all(m, now);
}

static void retire_all(struct master *m, nsec_t now) {
    if (m->phase != MASTER_SERVING)
        return;
    if (m->config->replaced != NULL && !m->config->replaced(m->config->arg))
        return;
    m->phase = MASTER_DRAINING;
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++)
        tell(&m->slots[i], SIGRETIRE, patience_ends(m, now));
}

static void tell_all_ready(struct master *m) {
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        if (m->slots[i].wanted && !is_serving(m, i))
            return;
    }
    if (!m->told_ready)
        run_hook(m, m->config->all_ready);
    m->told_ready = true;
}

static void read_board(struct master *m, nsec_t now) {
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++) {
        struct slot *slot = &m->slots[i];

        if (!is_serving(m, i))
            continue;
        retire_predecessor(m, slot, now);
        if (atomic_load(&m->board[i].replace) && slot->wanted && m->phase == MASTER_SERVING)
            replace(m, slot, now);
    }
    tell_all_ready(m);
}

static void leave(struct master *m, nsec_t now) {
    nsec_t delay = m->config->graceful_delay;

    if (m->phase != MASTER_SERVING || m->stop_at != NSEC_NEVER) {
        stop_all(m, MASTER_QUITTING, now);
    } else if (delay == 0) {
        stop_all(m, MASTER_DRAINING, now);
    } else {
        m->stop_at = deadline_after(now, delay);
        run_hook(m, m->config->leaving);
    }
}

static void on_signal(struct master *m, int signo, nsec_t now) {
    if (signo != SIGCHLD && signo != SIGNEWS && signo != SIGIO)
        log_write(LOG_LEVEL_INFO, "master got a signal signal=SIG%s",
                  signo == SIGRETIRE ? "RETIRE" : sigabbrev_np(signo));

    switch (signo) {
    case SIGCHLD:
        reap(m, now);
        break;
    case SIGTERM:
        leave(m, now);
        break;
    case SIGINT:
    case SIGQUIT:
        stop_all(m, MASTER_QUITTING, now);
        break;
    case SIGTTIN:
        if (m->phase == MASTER_SERVING)
            add_worker(m, now);
        break;
    case SIGTTOU:
        if (m->phase == MASTER_SERVING)
            remove_worker(m, now);
        break;
    case SIGHUP:
        if (m->config->reload != NULL)
            run_hook(m, m->config->reload);
        else
            replace_all_if_allowed(m, true, now);
        break;
    case SIGUSR1:
        run_hook(m, m->config->reopen_logs);
        break;
    case SIGIO: /* tend looks */
        break;
    case SIGUSR2:
        run_hook(m, m->phase == MASTER_SERVING ? m->config->upgrade : NULL);
        break;
    default: /* signals that are no constants */
        if (signo == SIGRETIRE)
            retire_all(m, now);
        else
            read_board(m, now);
        break;
    }
}

/* The next signal, or 0 when `until` came first. */
static int wait_signal(const struct master *m, nsec_t until) {
    nsec_t left = until - clock_now();
    struct timespec span = { .tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC };

    if (until == NSEC_NEVER)
        return sigwaitinfo(&m->signals, NULL);
    if (left <= 0)
        span = (struct timespec){ 0 };

    int signo = sigtimedwait(&m->signals, NULL, &span);
    return signo > 0 ? signo : 0;
}

static void supervise(struct master *m) {
    for (;;) {
        if (m->phase == MASTER_SERVING && m->stop_at <= clock_now())
            stop_all(m, MASTER_DRAINING, clock_now());
        if (m->asks)
            replace_all_if_allowed(m, false, clock_now());
        nsec_t look_at = look_for_stuck(m, clock_now());
        nsec_t next = nsec_min(run_due(m, clock_now()), look_at);
        if (m->phase != MASTER_SERVING && count_running(m) == 0)
            return;
        if (m->phase == MASTER_SERVING)
            next = nsec_min(next, m->stop_at);
        if (m->config->tend != NULL)
            next = nsec_min(next, m->config->tend(m->config->arg, clock_now()));
        reap_orphans(m);

        int signo = wait_signal(m, next);
        if (signo > 0)
            on_signal(m, signo, clock_now());
    }
}

/* --- the whole ------------------------------------------------------------------------------ */

static struct master *master_new(const struct prefork_config *config) {
    const int awaited[] = { SIGTERM, SIGINT,  SIGQUIT, SIGCHLD,   SIGHUP,  SIGUSR1,
                            SIGUSR2, SIGTTIN, SIGTTOU, SIGRETIRE, SIGNEWS, SIGIO };
    struct master *m = mem_calloc(1, sizeof(*m));
    if (m == NULL)
        return NULL;

    m->board = mem_share(PREFORK_WORKERS_MAX * sizeof(*m->board));
    if (m->board == NULL) {
        mem_free(m);
        return NULL;
    }

    m->config = config;
    m->pid = getpid();
    m->look_at = m->awake_at = clock_now();
    m->stop_at = NSEC_NEVER;
    sigemptyset(&m->signals);
    for (size_t i = 0; i < ARRAY_LEN(awaited); i++)
        sigaddset(&m->signals, awaited[i]);
    for (unsigned i = 0; i < PREFORK_WORKERS_MAX; i++)
        m->slots[i] = (struct slot){ .wanted = i < config->workers, .kill_at = NSEC_NEVER };
    return m;
}

static void master_free(struct master *m) {
    mem_unshare(m->board, PREFORK_WORKERS_MAX * sizeof(*m->board));
    mem_free(m);
}

int prefork_run(const struct prefork_config *config) {
    ASSERT(config->workers >= 1 && config->workers <= PREFORK_WORKERS_MAX);
    struct sigaction plain = { .sa_handler = SIG_DFL }, old_child_action;

    struct master *m = master_new(config);
    if (m == NULL) {
        log_write(LOG_LEVEL_ERROR, "cannot start workers error=\"out of memory\"");
        return PREFORK_EXIT_NO_START;
    }

    title_set("srv master", "%s: master", config->name);
    sigprocmask(SIG_BLOCK, &m->signals, &m->old_signals);
    /* SIGCHLD ignored would leave nobody to wait for. */
    sigaction(SIGCHLD, &plain, &old_child_action);
    supervise(m);
    sigaction(SIGCHLD, &old_child_action, NULL);
    /* The master's signals stay blocked: one more TERM now would change the exit code. */

    int code = m->gave_up ? PREFORK_EXIT_NO_START : 0;
    master_free(m);
    return code;
}
