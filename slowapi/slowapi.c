/* SPDX-License-Identifier: MIT */
/* The service: opens the sockets, says where it listens, and runs workers; each of them accepts,
 * drains after TERM, and leaves when no connection waits any more. */
#include "slowapi/slowapi.h"
#include "base/alloc.h"
#include "base/log.h"
#include "net/control.h"
#include "net/listener.h"
#include "net/listeners.h"
#include "proc/logger.h"
#include "proc/prefork.h"
#include "proc/signals.h"
#include "slowapi/body.h"
#include "slowapi/conn.h"
#include "slowapi/control.h"
#include "slowapi/defaults.h"
#include "slowapi/journal.h"
#include "slowapi/recorded.h"
#include "slowapi/rule_list.h"
#include "slowapi/tcp.h"
#include "slowapi/upstream.h"
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* For a worker that ends its graceful stop by itself, before the master would kill it. */
#define LEAVE_TIME (1 * NSEC_PER_SEC)

/* Things that the workers are given, made before they are forked. */
struct slow_service {
    const struct slowapi_config *config;
    struct listeners listeners;
    struct listeners *tcp_listeners;  /* sockets of the proxies; NULL: there are none */
    struct slow_secure secure;        /* empty when no address speaks TLS */
    struct tls_context *upstream_tls; /* for an upstream of https; or NULL */
    struct shared *shared;
    struct crowd *crowd; /* numbers of the workers; NULL: it is one */
    int control_fd;      /* -1: none */
    struct address control_at;
    struct logger logger;
    bool logs; /* `logger` is open */
};

static void reload_rules(struct shared *shared, const char *path) {
    struct error err;

    if (path == NULL)
        return;
    if (rules_load(shared, path, &err) < 0)
        log_write(LOG_LEVEL_ERROR, "rules not reloaded error=\"%s\"", err.text);
    else
        log_write(LOG_LEVEL_INFO, "rules reloaded file=\"%s\"", path);
}

static void load_recorded(struct shared *shared) {
    struct error err;

    if (recorded_load(shared->recorded, shared->from, &err) < 0)
        log_write(LOG_LEVEL_ERROR, "laws not read again error=\"%s\"", err.text);
    else
        log_write(LOG_LEVEL_INFO, "laws read again files=%zu", shared->from->count);
}

/* Files may be long: a worker that has no master must not stop for them. Its child belongs to
 * nobody, so that nobody has to wait for it. */
static void reload_recorded(struct shared *shared, bool is_worker) {
    if (shared->recorded == NULL)
        return;
    pid_t child = is_worker ? fork() : 0;
    if (is_worker && child == 0) {
        if (fork() == 0)
            load_recorded(shared);
        _exit(0);
    }
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    else
        load_recorded(shared);
}

/* --- a worker accepts ------------------------------------------------------------------------- */

static void pause_until(struct slow_listener *listener, nsec_t at) {
    struct slow_worker *w = listener->acceptor.arg;

    if (timer_set(w->loop, &listener->resume, at) == 0)
        acceptor_pause(&listener->acceptor);
}

/* Makes all workers accept nothing on that listening address for `span`. */
static void pause_accepting(struct slow_worker *w, unsigned bind, nsec_t span) {
    _Atomic nsec_t *accept_at = &w->planner.shared->accept_at[bind];
    nsec_t at = deadline_after(clock_now(), span), before = atomic_load(accept_at);

    while (before < at && !atomic_compare_exchange_weak(accept_at, &before, at)) {
    }
    pause_until(&w->listeners[bind], nsec_max(before, at));
}

/* Another worker may have begun a pause of all. */
static bool may_accept(struct acceptor *a) {
    struct slow_worker *w = a->arg;
    struct slow_listener *listener = CONTAINER_OF(a, struct slow_listener, acceptor);
    nsec_t at = atomic_load(&w->planner.shared->accept_at[listener - w->listeners]);

    if (at == 0 || at <= clock_now())
        return true;
    pause_until(listener, at);
    return false;
}

static void on_accepted(struct acceptor *a, int fd, const struct address *peer) {
    struct slow_worker *w = a->arg;
    unsigned bind = (unsigned)(CONTAINER_OF(a, struct slow_listener, acceptor) - w->listeners);

    nsec_t pause = slow_conn_open(w, fd, bind, peer);
    if (pause > 0)
        pause_accepting(w, bind, pause);
}

static void on_resume(struct timer *timer) {
    acceptor_resume(&CONTAINER_OF(timer, struct slow_listener, resume)->acceptor);
}

static int start_accepting(struct slow_worker *w, struct error *err) {
    for (size_t i = 0; i < w->sockets->count; i++) {
        struct slow_listener *listener = &w->listeners[i];
        listener->resume.fire = on_resume;
        int rc = acceptor_open(&listener->acceptor, w->loop, w->sockets->fds[i],
                               SLOWAPI_ACCEPT_BURST, w->config->workers > 1, on_accepted, w);
        if (rc < 0)
            return error_set(err, rc, "cannot accept connections: %s", strerrordesc_np(-rc));
        listener->acceptor.may_accept = may_accept;
        listener->acceptor.place = w->place;
        w->listener_count++;
    }
    return 0;
}

static void stop_accepting(struct slow_worker *w) {
    for (size_t i = 0; i < w->listener_count; i++) {
        timer_cancel(w->loop, &w->listeners[i].resume);
        acceptor_close(&w->listeners[i].acceptor);
    }
    w->listener_count = 0;
    crowd_leave(w->place);
    if (w->relay != NULL)
        relay_table_close_sockets(w->planner.shared->tcp);
    listeners_close(w->sockets); /* clients would connect and wait for a service that leaves */
}

/* --- a worker's proxies ----------------------------------------------------------------------- */

static uint64_t roll_for_relay(void *arg) {
    return shared_roll(((struct slow_worker *)arg)->planner.shared);
}

static void count_relay(void *arg, int change) {
    worker_count(arg, change);
}

static void log_relay(void *arg, const struct relay_facts *facts) {
    struct slow_worker *w = arg;

    if (!slow_tcp_log(w->access_log, facts))
        slow_stats_count(&w->planner.stats, SLOW_LOG_DROPPED);
}

static int start_relay(struct slow_worker *w, unsigned index, struct error *err) {
    const struct relay_host host = {
        .arg = w,
        .roll = roll_for_relay,
        .count = count_relay,
        .log = w->access_log != NULL ? log_relay : NULL,
        .place = w->place,
        .shared = w->config->workers > 1,
    };

    if (w->planner.shared->tcp == NULL)
        return 0;
    w->relay = relay_worker_new(w->loop, w->planner.shared->tcp, index, &host, err);
    return w->relay != NULL ? 0 : -ENOMEM;
}

/* --- a worker drains and leaves --------------------------------------------------------------- */

static void on_grace_over(struct timer *timer) {
    struct slow_worker *w = CONTAINER_OF(timer, struct slow_worker, grace);

    log_write(LOG_LEVEL_WARN, "graceful stop took too long open=%zu", w->open_count);
    loop_stop(w->loop);
}

/* A worker that retires leaves its idle connections one more request: others serve on, and no
 * client is to notice. */
static void drain(struct slow_worker *w, bool retires) {
    nsec_t deadline = deadline_after(loop_now(w->loop), w->config->graceful_timeout);

    w->draining = true;
    w->retiring = retires;
    stop_accepting(w);
    if (!retires)
        slow_conn_drain_all(w);
    if (w->relay != NULL)
        relay_worker_drain(w->relay, !retires);
    if (w->open_count == 0 || timer_set(w->loop, &w->grace, deadline) < 0)
        loop_stop(w->loop);
}

static void on_signal(void *arg, int signo) {
    struct slow_worker *w = arg;

    switch (signo) {
    case SIGTERM:
        if (w->draining && !w->retiring)
            loop_stop(w->loop);
        else
            drain(w, false);
        break;
    case SIGINT:
    case SIGQUIT:
        loop_stop(w->loop);
        break;
    case SIGHUP: /* a worker that has no master */
        reload_rules(w->planner.shared, w->config->rules);
        reload_recorded(w->planner.shared, true);
        break;
    default:
        if (signo == SIGRETIRE && !w->draining)
            drain(w, true);
        break;
    }
}

/* --- the life of a worker --------------------------------------------------------------------- */

/* A logger process that died leaves no event here: the worker looks for it. */
static void on_supervise(struct timer *timer) {
    struct slow_worker *w = CONTAINER_OF(timer, struct slow_worker, supervise);
    nsec_t now = loop_now(w->loop);
    nsec_t next =
        nsec_min(logger_tend(w->access_log, now), deadline_after(now, SLOWAPI_SUPERVISE_TIME));

    if (timer_set(w->loop, timer, next) < 0)
        log_write(LOG_LEVEL_ERROR, "nobody looks after the logger error=\"out of memory\"");
}

static bool open_upstream(struct slow_worker *w, struct tls_context *tls, struct error *err) {
    const struct slowapi_config *config = w->config;
    const struct slow_upstream_options options = {
        .url = config->upstream,
        .tls = tls,
        .connect_timeout = config->upstream_connect_timeout,
        .answer_timeout = config->upstream_timeout,
        .idle_timeout = config->upstream_idle_timeout,
        .keep_alive = config->upstream_keep_alive,
        .preserves_host = config->preserves_host,
        .is_lenient = config->lenient,
    };

    w->upstream = slow_upstream_new(&options, SLICE("X-Slowapi"), w->loop, err);
    return w->upstream != NULL;
}

static int start_worker(struct slow_worker *w, struct slow_service *s, unsigned index,
                        struct error *err) {
    int rc = planner_init(&w->planner, s->config, s->shared, index, err);
    if (rc < 0)
        return rc;

    w->loop = loop_new(err);
    if (w->loop == NULL)
        return -ENOMEM;

    w->signals = signals_new(w->loop, on_signal, w, err);
    if (w->signals == NULL)
        return -ENOMEM;
    signals_enforce();

    if (buf_reserve(&w->out, SLOWAPI_ANSWER_BYTES) < 0)
        return error_set(err, -ENOMEM, "cannot start: out of memory");

    if (w->config->upstream != NULL && !open_upstream(w, s->upstream_tls, err))
        return -EINVAL;
    if (w->access_log != NULL && w->config->workers == 1)
        on_supervise(&w->supervise);
    if (s->control_fd >= 0) {
        w->control =
            slow_control_new(w->loop, s->control_fd, s->shared, &s->config->control_hosts, err);
        if (w->control == NULL)
            return -ENOMEM;
    }
    rc = start_relay(w, index, err);
    return rc == 0 ? start_accepting(w, err) : rc;
}

static void stop_worker(struct slow_worker *w) {
    stop_accepting(w);
    slow_conn_close_all(w);
    relay_worker_free(w->relay);
    slow_upstream_free(w->upstream);
    control_free(w->control);
    signals_hold();
    signals_free(w->signals);
    if (w->loop != NULL)
        loop_free(w->loop);
    buf_free(&w->out);
    planner_free(&w->planner);
    mem_free(w);
}

/* A service behind may take bodies of any length, and heads that are not quite in order. */
static void set_limits(struct slow_worker *w) {
    w->usual = (struct http_limits)HTTP_LIMITS_DEFAULT;
    w->usual.body_bytes = w->config->upstream != NULL ? UINT64_MAX : SLOWAPI_BODY_BYTES;
    w->limits = w->usual;
    if (w->config->lenient)
        w->limits = (struct http_limits)HTTP_LIMITS_LENIENT(&w->usual);
}

/* Serves until a signal ends it, and closes the listening sockets then; not before fork. `ready` is
 * called once, when it can serve; it may be NULL. 0, or -errno with a reason. */
static int run_worker(struct slow_service *s, unsigned index, void (*ready)(void),
                      struct error *err) {
    struct slow_worker *w = mem_calloc(1, sizeof(*w));
    struct crowd_place place;

    if (w == NULL)
        return error_set(err, -ENOMEM, "cannot start: out of memory");
    if (s->crowd != NULL) {
        crowd_enter(&place, s->crowd, index);
        w->place = &place;
    }

    w->config = s->config;
    w->sockets = &s->listeners;
    w->secure = &s->secure;
    w->access_log = s->logs ? &s->logger : NULL;
    set_limits(w);
    w->grace.fire = on_grace_over;
    w->supervise.fire = on_supervise;
    buf_init(&w->out, SLOWAPI_OUT_BYTES);

    int rc = start_worker(w, s, index, err);
    if (rc == 0 && ready != NULL)
        ready();
    if (rc == 0) {
        rc = loop_run(w->loop);
        if (rc < 0)
            error_set(err, rc, "the event loop failed: %s", strerrordesc_np(-rc));
    }
    stop_worker(w);
    return rc;
}

/* --- the master ------------------------------------------------------------------------------- */

static int run_forked(void *arg, unsigned index) {
    struct error err;

    if (run_worker(arg, index, prefork_worker_ready, &err) == 0)
        return 0;
    log_write(LOG_LEVEL_ERROR, "worker failed error=\"%s\"", err.text);
    return EXIT_CANNOT;
}

/* The rules are shared by the workers: none has to be replaced, and no client notices. */
static void reload(void *arg) {
    struct slow_service *s = arg;

    reload_rules(s->shared, s->config->rules);
    reload_recorded(s->shared, false);
}

/* The master's own copies would keep the sockets open until the last worker has left. */
static void refuse(void *arg) {
    struct slow_service *s = arg;

    listeners_refuse(&s->listeners);
    relay_table_refuse(s->shared->tcp);
}

static void reopen_log(void *arg) {
    const struct slow_service *s = arg;

    logger_reopen(&s->logger);
}

static nsec_t supervise_logger(void *arg, nsec_t now) {
    struct slow_service *s = arg;

    return logger_tend(&s->logger, now);
}

static bool owns(void *arg, pid_t pid) {
    const struct slow_service *s = arg;

    return pid == s->logger.helper.pid;
}

static int serve(struct slow_service *s, struct error *err) {
    const struct prefork_config prefork = {
        .name = "srv slowapi",
        .workers = (unsigned)s->config->workers,
        .graceful_timeout = s->config->graceful_timeout + LEAVE_TIME,
        .worker = run_forked,
        .reload = reload,
        .stopping = refuse,
        .reopen_logs = s->logs ? reopen_log : NULL,
        .tend = s->logs ? supervise_logger : NULL,
        .owns = s->logs ? owns : NULL,
        .arg = s,
    };

    if (s->config->workers == 1) {
        signals_bury_orphans();
        return run_worker(s, 0, NULL, err);
    }
    return prefork_run(&prefork);
}

/* --- the service ------------------------------------------------------------------------------ */

static int open_log(struct slow_service *s, struct error *err) {
    const struct privileges as_it_is = { .changes_user = false };

    s->logs = true;
    int rc = logger_open(&s->logger, s->config->access_log, &as_it_is, err);
    return rc == 0 ? logger_start(&s->logger, "srv slowapi", err) : rc;
}

/* Each worker opens the folder itself. */
static int check_files(const struct slowapi_config *config, struct error *err) {
    int fd = config->files != NULL ? body_open_files(config->files, err) : -1;

    if (config->files != NULL && fd < 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return 0;
}

static bool speaks_tls(const struct slowapi_config *config) {
    for (size_t i = 0; i < config->binds.count; i++)
        if (config->secure[i])
            return true;
    return false;
}

static int open_proxies(struct slow_service *s, struct error *err) {
    s->tcp_listeners = mem_calloc(1, sizeof(*s->tcp_listeners));
    if (s->tcp_listeners == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    return relay_table_open(&s->shared->tcp, s->tcp_listeners, &s->config->tcp, PREFORK_WORKERS_MAX,
                            (int)s->config->backlog, err);
}

/* Reads what certifies an upstream of https. */
static NOINLINE int read_upstream_certificates(struct slow_service *s, struct error *err) {
    const struct tls_files files = {
        .role = TLS_CLIENT,
        .trust = s->config->upstream_ca,
        .verify = s->config->upstream_insecure ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED,
    };
    bool is_secure = false;

    if (s->config->upstream == NULL ||
        slow_upstream_check(s->config->upstream, &is_secure, err) < 0 || !is_secure)
        return 0;
    s->upstream_tls = tls_files_load(&files, TLS_ALPN_HTTP, err);
    return s->upstream_tls != NULL ? 0 : -EINVAL;
}

/* Opens what the options ask for beside the listening sockets. */
static int open_rest(struct slow_service *s, struct error *err) {
    const struct slowapi_config *config = s->config;
    int rc = 0;

    s->shared = shared_new((uint32_t)config->sequences, (uint32_t)config->queues, err);
    if (s->shared == NULL)
        return -ENOMEM;
    if (config->workers > 1 && (s->crowd = crowd_new(PREFORK_WORKERS_MAX)) == NULL)
        return error_set(err, -ENOMEM, "cannot map shared memory");
    s->shared->check_rule = defaults_check_rule;
    s->shared->delay_max = config->delay_max;
    s->shared->files = config->files;
    s->shared->from = &config->from;
    if (config->journal > 0)
        s->shared->journal = journal_new((uint32_t)config->journal, err);
    if (config->journal > 0 && s->shared->journal == NULL)
        return -ENOMEM;
    if (config->from.count > 0 && (s->shared->recorded = recorded_new()) == NULL)
        return error_set(err, -ENOMEM, "cannot map shared memory");
    rc = check_files(config, err);
    if (rc == 0 && config->from.count > 0)
        rc = recorded_load(s->shared->recorded, &config->from, err);
    if (rc == 0 && speaks_tls(config))
        rc = slow_secure_make(&s->secure, &config->tls, config->ca_out, err);
    if (rc == 0)
        rc = read_upstream_certificates(s, err);
    if (rc == 0 && config->rules != NULL)
        rc = rules_load(s->shared, config->rules, err);
    if (rc == 0 && config->access_log != NULL)
        rc = open_log(s, err);
    if (rc == 0 && config->tcp.count > 0)
        rc = open_proxies(s, err);
    if (rc == 0 && config->control != NULL) {
        s->control_fd = control_listen("--control", config->control, &s->control_at, err);
        rc = s->control_fd < 0 ? s->control_fd : 0;
    }
    return rc;
}

static void announce(struct slow_service *s) {
    char text[ADDRESS_TEXT_BYTES];

    if (s->config->control != NULL)
        log_say("srv slowapi: control on %s%s\n",
                s->control_at.any.sa_family == AF_UNIX ? "" : "http://",
                address_format(&s->control_at, text));
    if (s->shared->tcp != NULL)
        relay_table_announce(s->shared->tcp, "srv slowapi");
    signals_defer();
    for (size_t i = 0; i < s->listeners.count; i++)
        if (s->config->secure[i])
            s->listeners.schemes[i] = "https";
    listeners_announce(&s->listeners, "srv slowapi");
}

int slowapi_run(const struct slowapi_config *config, struct error *err) {
    struct slow_service service = { .config = config, .control_fd = -1 };

    signals_ignore_foreign();
    listeners_raise_descriptor_limit();
    int rc = open_rest(&service, err);
    if (rc == 0)
        rc = listeners_open(&service.listeners, &config->binds, (int)config->backlog, err);
    if (rc == 0) {
        announce(&service);
        rc = serve(&service, err);
        listeners_close(&service.listeners);
    }
    if (service.control_fd >= 0)
        listener_close(service.control_fd, &service.control_at);
    if (service.logs)
        logger_close(&service.logger);
    slow_secure_free(&service.secure);
    tls_context_unref(service.upstream_tls);
    crowd_free(service.crowd);
    if (service.shared != NULL) {
        journal_free(service.shared->journal);
        relay_table_free(service.shared->tcp);
    }
    mem_free(service.tcp_listeners);
    if (service.shared != NULL)
        recorded_free(service.shared->recorded);
    shared_free(service.shared);
    return rc;
}
