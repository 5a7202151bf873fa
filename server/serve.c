/* SPDX-License-Identifier: MIT */
/* From a configuration to listening sockets to workers. */
#include "server/serve.h"
#include "base/alloc.h"
#include "base/log.h"
#include "net/crowd.h"
#include "proc/file_watch.h"
#include "proc/inherit.h"
#include "proc/notify.h"
#include "proc/pidfile.h"
#include "proc/prefork.h"
#include "proc/signals.h"
#include "proc/upgrade.h"
#include "server/app/app.h"
#include "server/app/crash.h"
#include "server/app/source.h"
#include "server/conn/access_log.h"
#include "server/conn/proxied.h"
#include "server/limits.h"
#include "server/model/model.h"
#include "server/observe/admin.h"
#include "server/observe/blocker.h"
#include "server/worker.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct serve {
    const struct serve_config *config;
    struct listeners listeners;
    int stats_fd;         /* stats_open's */
    atomic_bool *leaving; /* shared with workers and helpers: --graceful-delay has begun */
    struct crowd *crowd;  /* of the workers; NULL: one at the most */
    struct admin admin;
    struct access_log *access_log;
    struct logger *logger; /* access_log's; NULL: there is none */
    struct upgrade upgrade;
    struct contexts {
        struct tls_context *clients, *upstream; /* for https of both sides; NULL: none */
    } tls, next_tls;             /* new workers speak with them, and those after a reload */
    struct tls_tickets *tickets; /* for clients of all of them; NULL: none */
    struct file_watch *certificate_watch; /* the master has it; NULL: no file is watched */
    int64_t expires_s;                    /* end of the first certificate that ends, since 1970 */
    struct app app;                       /* new workers serve it */
    struct {
        char *compiled;            /* app.object, when it is not config's */
        struct object_file file;   /* the workers run it; path NULL: none */
        struct object_check check; /* before a reload */
        struct object_file next;   /* the check is about it */
        nsec_t until;              /* the end of patience with it */
        bool refused;              /* the last one was */
        struct file_watch *watch;  /* --reload; or NULL */
        nsec_t look_at;            /* the next look at the file; NSEC_NEVER: it was complained of */
    } object;
    char doing[4 * STATS_WHAT_BYTES + 64 + BLOCKER_TEXT_BYTES];
};

static int complain(const struct error *err) {
    log_say("srv serve: %s\n", err->text);
    return EXIT_CANNOT;
}

static void ready_alone(void) {
    notify_manager("READY=1");
}

/* Spread, so that workers that started together are not replaced together. */
static unsigned long long draw_quota(const struct serve_config *config) {
    unsigned long long jitter = 0;

    if (config->max_requests == 0)
        return 0;
    if (config->max_requests_jitter > 0 && getrandom(&jitter, sizeof(jitter), 0) > 0)
        jitter %= (unsigned long long)config->max_requests_jitter + 1;
    return (unsigned long long)config->max_requests + jitter;
}

/* A successor wrote itself into it, and has ended. */
static void restore_pid_file(const struct serve *s) {
    const struct serve_config *config = s->config;
    struct error err;

    if (pidfile_write(config->pid_path, 0, &config->privileges, &err) < 0)
        log_write(LOG_LEVEL_ERROR, "%s", err.text);
}

/* --- certificates ---------------------------------------------------------------------------- */

static void forget_certificates(struct contexts *tls) {
    tls_context_unref(tls->clients);
    tls_context_unref(tls->upstream);
    *tls = (struct contexts){ NULL };
}

/* Reads what certifies the upstream to our own client, and us to the upstream. NULL where nobody is
 * called over https so; objects call any server. */
static int read_upstream_certificates(const struct serve_config *config, struct tls_context **ret,
                                      struct error *err) {
    struct tls_files files = {
        .role = TLS_CLIENT,
        .certificates = { .items = { config->upstream_cert },
                          .count = config->upstream_cert != NULL },
        .keys = { .items = { config->upstream_key }, .count = config->upstream_key != NULL },
        .trust = config->upstream_ca,
        .verify = config->upstream_insecure ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED,
    };

    *ret = NULL;
    if (config->upstream_client == UPSTREAM_CURL ||
        (config->app->built_in != NULL && !config->upstream_is_https))
        return 0;
    *ret = tls_files_load(&files, TLS_ALPN_HTTP, err);
    return *ret != NULL ? 0 : -EINVAL;
}

/* Reads them, while this process may: as root before it has changed its user. 0, or -errno and
 * nothing. */
static int read_certificates(const struct serve *s, struct contexts *ret, struct error *err) {
    const struct serve_config *config = s->config;
    int rc = 0;

    *ret = (struct contexts){ NULL };
    if (config->tls.certificates.count > 0) {
        ret->clients = tls_files_load(&config->tls, TLS_ALPN_HTTP, err);
        rc = ret->clients != NULL ? 0 : -EINVAL;
        if (rc == 0 && s->tickets != NULL)
            tls_context_use_tickets(ret->clients, s->tickets);
    }
    if (rc == 0)
        rc = read_upstream_certificates(config, &ret->upstream, err);
    if (rc < 0)
        forget_certificates(ret);
    return rc;
}

/* Tells when each of them ends, and notes when the first one does. */
static void tell_expiry(struct serve *s) {
    const struct option_strings *files = &s->config->tls.certificates;
    int64_t now = clock_wall() / NSEC_PER_SEC;

    s->expires_s = 0;
    for (size_t i = 0; i < files->count; i++) {
        int64_t at = tls_context_expires(s->tls.clients, i), days = (at - now) / 86400;

        if (at <= now)
            log_write(LOG_LEVEL_WARN, "certificate has expired file=%s", files->items[i]);
        else
            log_write(days < SERVER_EXPIRY_DAYS ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
                      "certificate expires days=%lld file=%s", (long long)days, files->items[i]);
        if (i == 0 || at < s->expires_s)
            s->expires_s = at;
    }
}

/* A file that cannot be watched is told. */
static void watch_file(struct file_watch *watch, const char *path) {
    struct error err;

    if (file_watch_add(watch, path, &err) < 0)
        log_write(LOG_LEVEL_WARN, "%s", err.text);
}

static void watch_files(struct file_watch *watch, const struct option_strings *paths) {
    for (size_t i = 0; i < paths->count; i++)
        watch_file(watch, paths->items[i]);
}

/* A master reloads when one of the files changes: who renews certificates knows no pids. */
static int watch_certificates(struct serve *s, struct error *err) {
    const struct tls_files *tls = &s->config->tls;

    if (s->config->workers == 0 || tls->certificates.count == 0)
        return 0;
    s->certificate_watch = file_watch_new(err);
    if (s->certificate_watch == NULL)
        return -EIO;
    watch_files(s->certificate_watch, &tls->certificates);
    watch_files(s->certificate_watch, &tls->keys);
    watch_files(s->certificate_watch, &tls->responses);
    if (tls->trust != NULL)
        watch_file(s->certificate_watch, tls->trust);
    return 0;
}

static int open_certificates(struct serve *s, struct error *err) {
    if (watch_certificates(s, err) < 0) /* before they are read: no change is missed */
        return -EIO;
    if (s->config->tls.certificates.count > 0) {
        s->tickets = tls_tickets_new(clock_now());
        if (s->tickets == NULL)
            return error_set(err, -ENOMEM, "cannot make keys of tickets: out of memory");
    }
    return read_certificates(s, &s->tls, err);
}

/* Reads them for a reload. False when the old ones stay. */
static bool renew_certificates(struct serve *s) {
    struct error err;

    forget_certificates(&s->next_tls);
    if (read_certificates(s, &s->next_tls, &err) == 0)
        return true;
    log_write(LOG_LEVEL_WARN, "reload refused, the workers serve on: %s", err.text);
    return false;
}

static nsec_t tend_certificates(struct serve *s, nsec_t now) {
    nsec_t next;
    bool due;

    if (s->certificate_watch == NULL)
        return NSEC_NEVER;
    next = file_watch_tend(s->certificate_watch, now, NULL, &due);
    if (due) {
        log_write(LOG_LEVEL_INFO, "certificates changed, reloading");
        kill(getpid(), SIGHUP);
    }
    return next;
}

/* One that is NULL now was NULL before, or was taken already. */
static void take_context(struct tls_context **now, struct tls_context **next) {
    if (*next == NULL)
        return;
    tls_context_unref(*now); /* connections have it as long as they live */
    *now = *next;
    *next = NULL;
}

static void serve_certificates(struct serve *s) {
    take_context(&s->tls.clients, &s->next_tls.clients);
    take_context(&s->tls.upstream, &s->next_tls.upstream);
    tell_expiry(s);
}

/* HUP without a master: new connections of clients to this very process get the new ones. */
static void reload_alone(struct worker *worker) {
    struct serve *s = worker->arg;

    if (!renew_certificates(s))
        return;
    take_context(&s->tls.clients, &s->next_tls.clients);
    worker->tls = s->tls.clients;
    tell_expiry(s);
    stats_set(worker->stats, STATS_tls_certificate_expiry_seconds, s->expires_s);
}

/* --- the object of a user -------------------------------------------------------------------- */

static void take_object(struct serve *s, struct object_file file, nsec_t now) {
    s->object.file = file;
    s->object.look_at = deadline_after(now, SERVER_OBJECT_LOOK_NSEC);
}

/* Objects of a cache are never overwritten. */
static bool is_source(const struct serve *s) {
    return source_is_named(s->app.name);
}

static void note_object(struct serve *s) {
    if (is_source(s))
        return;
    object_file_note(&s->object.next, s->app.name);
    take_object(s, s->object.next, clock_now());
}

/* Complains, once, of an object that was overwritten in place. */
static void look_at_object(struct serve *s, nsec_t now) {
    bool bad = s->object.look_at != NSEC_NEVER && object_file_overwritten(&s->object.file);

    if (s->object.look_at != NSEC_NEVER)
        s->object.look_at = bad ? NSEC_NEVER : deadline_after(now, SERVER_OBJECT_LOOK_NSEC);
    if (bad)
        log_write(LOG_LEVEL_WARN,
                  "the object was overwritten in place, under the workers that run it: install "
                  "objects by renaming object=%s",
                  s->object.file.path);
}

static void watch_input(void *arg, const char *path, bool same) {
    struct serve *s = arg;

    (void)same; /* the object that is served is about to be another one */
    watch_file(s->object.watch, path);
}

static void watch_and_compare(void *arg, const char *path, bool same) {
    struct serve *s = arg;

    watch_file(s->object.watch, path);
    if (!same) /* changed before it was watched */
        file_watch_touch(s->object.watch, clock_now());
}

/* --reload: watches for what the object is made of. */
static void watch_object(struct serve *s, void (*each)(void *arg, const char *path, bool same)) {
    if (s->object.watch == NULL)
        return;
    watch_file(s->object.watch, s->app.name);
    if (is_source(s))
        source_inputs(s->app.object, each, s);
}

static int open_watch(struct serve *s, struct error *err) {
    s->object.watch = file_watch_new(err);
    if (s->object.watch == NULL)
        return -EIO;
    if (file_watch_add(s->object.watch, s->app.name, err) < 0)
        return -EIO;
    watch_object(s, watch_and_compare);
    return 0;
}

/* While a source has an error, the file with the fault may be one that no object was made of. */
static nsec_t tend_watch(struct serve *s, nsec_t now) {
    bool any = s->object.refused && is_source(s), due;
    nsec_t next;

    if (s->object.watch == NULL)
        return NSEC_NEVER;
    next = file_watch_tend(s->object.watch, now, any ? source_may_include : NULL, &due);
    if (due) {
        log_write(LOG_LEVEL_INFO, "changed, reloading app=%s", s->app.name);
        kill(getpid(), SIGHUP);
    }
    return next;
}

static nsec_t tend_object(struct serve *s, nsec_t now) {
    if (s->object.file.path == NULL)
        return s->object.check.pid != 0 ? s->object.until : NSEC_NEVER;
    if (now >= s->object.look_at)
        look_at_object(s, now);
    return s->object.check.pid != 0 ? nsec_min(s->object.look_at, s->object.until)
                                    : s->object.look_at;
}

static void refuse_object(struct serve *s, const struct error *err) {
    s->object.refused = true;
    log_write(LOG_LEVEL_WARN, "reload refused, the workers serve on: %s", err->text);
}

static enum prefork_verdict begin_object_check(struct serve *s) {
    const struct srv_worker own = { .config = &s->config->app_config };
    nsec_t span = is_source(s) ? SERVER_COMPILE_NSEC : SERVER_OBJECT_CHECK_NSEC;
    struct error err;

    object_check_cancel(&s->object.check); /* the file may have changed since it began */
    watch_object(s, watch_input);          /* a folder may be another one */
    if (s->object.file.path != NULL)
        look_at_object(s, clock_now());
    object_file_note(&s->object.next, s->app.name);
    s->object.until = deadline_after(clock_now(), span);
    if (object_check_begin(&s->object.check, &s->app, &own, NULL, &err) == 0)
        return PREFORK_WAIT;
    refuse_object(s, &err);
    return PREFORK_KEEP;
}

/* Workers from now on load that object. */
static void serve_object(struct serve *s, char *object) {
    mem_free(s->object.compiled);
    s->object.compiled = object;
    s->app.object = object;
    s->object.refused = false;
    watch_object(s, watch_and_compare);
    if (!is_source(s))
        take_object(s, s->object.next, clock_now());
}

static enum prefork_verdict end_object_check(struct serve *s) {
    char *object;
    struct error err;
    int rc = object_check_ended(&s->object.check, &object, &err);

    if (rc == -EAGAIN && clock_now() < s->object.until)
        return PREFORK_WAIT;
    if (rc == -EAGAIN) {
        object_check_cancel(&s->object.check);
        error_set(
            &err, rc, "'%s' is not %s within %d s", s->app.name,
            is_source(s) ? "compiled and checked" : "checked",
            (int)((is_source(s) ? SERVER_COMPILE_NSEC : SERVER_OBJECT_CHECK_NSEC) / NSEC_PER_SEC));
    }
    if (rc < 0) {
        refuse_object(s, &err);
        return PREFORK_KEEP;
    }
    serve_object(s, object);
    return PREFORK_REPLACE;
}

/* New workers load what the path names now: it is checked before an old one is told to go. */
static enum prefork_verdict master_may_replace(void *arg, bool anew) {
    struct serve *s = arg;
    enum prefork_verdict verdict = PREFORK_REPLACE;

    if (anew && !renew_certificates(s))
        return PREFORK_KEEP;
    if (s->app.built_in == NULL)
        verdict = anew ? begin_object_check(s) : end_object_check(s);
    if (verdict == PREFORK_REPLACE)
        serve_certificates(s);
    return verdict;
}

/* --- processes beside the workers ------------------------------------------------------------ */

static nsec_t tend_helpers(void *arg, nsec_t now) {
    struct serve *s = arg;

    bool alone;
    nsec_t next = upgrade_tend(&s->upgrade, now, &alone);

    if (alone)
        restore_pid_file(s);
    if (s->logger != NULL)
        next = nsec_min(next, logger_tend(s->logger, now));
    if (s->tickets != NULL)
        next = nsec_min(next, tls_tickets_tend(s->tickets, now));
    next = nsec_min(next, tend_object(s, now));
    next = nsec_min(next, tend_watch(s, now));
    next = nsec_min(next, tend_certificates(s, now));
    return nsec_min(next, admin_tend(&s->admin, now));
}

/* The process that serves has no master, and looks after them itself: a look is two system calls.
 */
static nsec_t tend_helpers_often(void *arg, nsec_t now) {
    struct serve *s = arg;
    nsec_t next = tend_helpers(s, now);

    if (s->admin.fd < 0 && s->logger == NULL)
        return next;
    return nsec_min(next, deadline_after(now, SERVER_TEND_NSEC));
}

/* A successor that stops before it has taken over is none of the manager's business; its sockets,
 * and those of who has a successor, are others', too. New clients are refused at once: they would
 * wait in the backlog for nothing until the last request is answered. */
static void serve_stopping(void *arg) {
    struct serve *s = arg;

    if (s->upgrade.predecessor != 0)
        return;
    notify_manager("STOPPING=1");
    if (s->upgrade.successor == 0)
        listeners_refuse(&s->listeners);
}

/* Opens the application; an object starts here. 0 or -errno with a reason. */
static int open_app(const struct app *app, struct srv_worker *own, struct srv_app *ret,
                    struct error *err) {
    int rc = 0;

    if (app->built_in != NULL)
        *ret = *app->built_in;
    else
        rc = object_load(app, ret, err);
    if (rc == 0 && app->built_in == NULL)
        crash_watch(app->name, app->object, ret);
    if (rc < 0 || ret->start == NULL)
        return rc;
    rc = ret->start(own);
    return rc == 0 ? 0
                   : error_set(err, -ECANCELED, "'%s' cannot start: its start returned %d",
                               app->name, rc);
}

static int run_worker(struct serve *s, unsigned index, void (*ready)(void)) {
    struct error err;
    struct stats *stats = stats_map(s->stats_fd, index, &err);
    struct worker_quota quota = { .limit = draw_quota(s->config) };
    struct request_ids ids;
    struct srv_worker own = { .config = &s->config->app_config,
                              .number = index,
                              .background.lock = PTHREAD_MUTEX_INITIALIZER };
    struct srv_app app;
    struct crowd_place place;
    struct worker worker = {
        .config = s->config,
        .app = &app,
        .own = &own,
        .index = index,
        .listen_fds = s->listeners.fds,
        .listen_count = s->listeners.count,
        .listen_borrowed = s->listeners.borrowed,
        .tls = s->tls.clients,
        .upstream_tls = s->tls.upstream,
        .quota = &quota,
        .ids = &ids,
        .access_log = s->access_log,
        .stats = stats + index - 1,
        .place = s->crowd != NULL ? &place : NULL,
        .leaving = s->leaving,
        .ready = ready,
        .stopping = s->config->workers == 0 ? serve_stopping : NULL,
        .tend = s->config->workers == 0 ? tend_helpers_often : NULL,
        .reload = s->config->workers == 0 && s->tls.clients != NULL ? reload_alone : NULL,
        .arg = s,
    };
    int code;

    if (stats == NULL || open_app(&s->app, &own, &app, &err) < 0)
        return complain(&err);
    request_ids_open(&ids, s->config->request_id_header, &s->config->forwarded_allow);
    stats_start(worker.stats, s->config->control != NULL);
    stats_set(worker.stats, STATS_tls_certificate_expiry_seconds, s->expires_s);
    if (s->crowd != NULL)
        crowd_enter(&place, s->crowd, index - 1);
    code = s->config->model->run(&worker, &err) < 0 ? complain(&err) : 0;
    if (app.stop != NULL)
        app.stop(&own);
    return code;
}

static int prefork_worker(void *arg, unsigned index) {
    struct serve *s = arg;

    file_watch_free(s->object.watch);
    file_watch_free(s->certificate_watch);
    return run_worker(arg, index + 1, prefork_worker_ready);
}

/* --- the master ----------------------------------------------------------------- */

static void master_ready(void *arg) {
    struct serve *s = arg;
    struct error err;
    char state[64];

    if (s->upgrade.predecessor != 0 && admin_start(&s->admin, &err) < 0)
        log_write(LOG_LEVEL_ERROR, "%s", err.text);
    upgrade_complete(&s->upgrade);
    snprintf(state, sizeof(state), "MAINPID=%d\nREADY=1", (int)getpid());
    notify_manager(state);
}

static void master_reopen_logs(void *arg) {
    struct serve *s = arg;

    if (s->logger != NULL)
        logger_reopen(s->logger);
}

static void master_upgrade(void *arg) {
    struct serve *s = arg;

    upgrade_start(&s->upgrade, &s->listeners, s->admin.fd, s->admin.borrowed);
}

static bool master_replaced(void *arg) {
    struct serve *s = arg;

    if (!upgrade_accept(&s->upgrade))
        return false;
    admin_rest(&s->admin);
    return true;
}

static bool owns(void *arg, pid_t pid) {
    const struct serve *s = arg;

    return pid == s->admin.helper.pid || (s->logger != NULL && pid == s->logger->helper.pid) ||
           pid == s->upgrade.successor || pid == s->object.check.pid;
}

static void master_leaving(void *arg) {
    struct serve *s = arg;

    atomic_store(s->leaving, true);
}

/* Tells the log about a worker that is stuck. */
static const char *master_doing(void *arg, unsigned index) {
    struct serve *s = arg;
    struct stats *stats = stats_map(s->stats_fd, index + 1, NULL);

    if (stats == NULL)
        return "";
    stats_current_print(&stats[index], s->doing, sizeof(s->doing) - BLOCKER_TEXT_BYTES);
    blocker_ask(atomic_load(&stats[index].pid), s->doing + strlen(s->doing));
    stats_unmap(stats, index + 1);
    return s->doing;
}

static int run_workers(struct serve *s) {
    struct prefork_config prefork = {
        .name = "srv serve",
        .title = s->config->model->name,
        .workers = (unsigned)s->config->workers,
        .graceful_timeout = s->config->graceful_timeout,
        .graceful_delay = s->config->graceful_delay,
        .worker = prefork_worker,
        .all_ready = master_ready,
        .reopen_logs = master_reopen_logs,
        .may_replace = master_may_replace,
        .upgrade = master_upgrade,
        .replaced = master_replaced,
        .leaving = master_leaving,
        .stopping = serve_stopping,
        .tend = tend_helpers,
        .owns = owns,
        .timeout = s->config->timeout,
        .doing = master_doing,
        .arg = s,
    };

    return prefork_run(&prefork);
}

/* --- start and end ------------------------------------------------------------------ */

/* Opens what the processes share. 0 or -errno with a reason. */
static int open_shared(struct serve *s, struct error *err) {
    s->stats_fd = stats_open(err);
    if (s->stats_fd < 0)
        return s->stats_fd;
    s->leaving = mem_share(sizeof(*s->leaving));
    if (s->config->workers > 1)
        s->crowd = crowd_new(PREFORK_WORKERS_MAX);
    if (s->leaving == NULL || (s->crowd == NULL && s->config->workers > 1))
        return error_set(err, -ENOMEM, "cannot map shared memory");
    return 0;
}

/* With its control endpoint beside it. */
static int serve(struct serve *s, const struct inherited *inherited, struct error *err) {
    int code;

    s->admin = (struct admin){ .config = s->config,
                               .fd = -1,
                               .inherited_fd = inherited->control_fd,
                               .borrowed = inherited->control_borrowed };
    if (open_shared(s, err) < 0)
        return complain(err);
    s->admin.stats_fd = s->stats_fd;
    s->admin.leaving = s->leaving;
    if (admin_open(&s->admin, err) < 0 || privileges_drop(&s->config->privileges, err) < 0 ||
        (s->config->reload && open_watch(s, err) < 0) ||
        (s->logger != NULL && logger_start(s->logger, "srv serve", err) < 0) ||
        (s->upgrade.predecessor == 0 && admin_start(&s->admin, err) < 0)) {
        admin_stop(&s->admin);
        return complain(err);
    }
    signals_defer();
    listeners_defer(&s->listeners, s->config->defer_accept == DEFER_ACCEPT_ON,
                    s->config->defer_accept != DEFER_ACCEPT_AUTO);
    listeners_announce(&s->listeners, "srv serve");
    tell_expiry(s);
    if (s->config->workers == 0)
        signals_bury_orphans();
    if (s->config->app->built_in == NULL)
        note_object(s);
    code = s->config->workers > 0 ? run_workers(s) : run_worker(s, 1, ready_alone);
    object_check_cancel(&s->object.check);
    admin_stop(&s->admin);
    return code;
}

static int bind_sockets(struct serve *s, struct error *err) {
    const struct serve_config *config = s->config;
    int rc = listeners_open(&s->listeners, &config->binds, (int)config->backlog, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < s->listeners.count; i++)
        rc = privileges_give(&config->privileges, &s->listeners.bound[i], err);
    if (rc < 0)
        listeners_close(&s->listeners);
    return rc;
}

static const char *const protocol_words[] = {
    [PROTOCOL_HTTP] = "http",
    [PROTOCOL_UWSGI] = "uwsgi",
    [PROTOCOL_HTTPS] = "https",
};

/* Sockets that were passed to us win over --bind: whoever passed them has bound them for us. */
static int open_sockets(struct serve *s, const struct inherited *inherited, struct error *err) {
    const struct serve_config *config = s->config;

    if (!inherit_listeners(inherited, &config->binds, &s->listeners) && bind_sockets(s, err) < 0)
        return -EIO;
    for (size_t i = 0; i < s->listeners.count; i++)
        s->listeners.schemes[i] = protocol_words[config->protocols[i]];
    return 0;
}

static int open_and_serve(struct serve *s, struct error *err) {
    const char *pid_path = s->config->pid_path;
    struct inherited inherited;
    int code;

    s->logger = access_log_logger(s->access_log);
    if (inherit_take(&inherited, err) < 0 || open_sockets(s, &inherited, err) < 0)
        return complain(err);
    if (pidfile_write(pid_path, s->upgrade.predecessor, &s->config->privileges, err) < 0) {
        code = complain(err);
    } else {
        code = serve(s, &inherited, err);
        pidfile_remove(pid_path);
    }
    listeners_close(&s->listeners);
    return code;
}

int serve_run(const struct serve_config *config) {
    struct serve *s = mem_calloc(1, sizeof(*s)); /* large for a stack */
    struct error err = { "out of memory" };
    int code;

    if (s == NULL)
        return complain(&err);
    s->config = config;
    s->app = *config->app;
    signals_ignore_foreign();
    listeners_raise_descriptor_limit();
    signal(SIGCHLD, SIG_DFL); /* ignored, by whoever started us, nobody could be waited for */
    if (upgrade_init(&s->upgrade, config->argv, config->timeout,
                     config->graceful_timeout + SERVER_LEAVE_NSEC, &err) < 0 ||
        access_log_open(&config->access_log, &config->privileges, &s->access_log, &err) < 0)
        code = complain(&err);
    else if (open_certificates(s, &err) < 0)
        code = complain(&err);
    else
        code = open_and_serve(s, &err);
    forget_certificates(&s->tls);
    forget_certificates(&s->next_tls);
    tls_tickets_free(s->tickets);
    file_watch_free(s->object.watch);
    file_watch_free(s->certificate_watch);
    mem_free(s->object.compiled);
    access_log_close(s->access_log);
    upgrade_free(&s->upgrade);
    mem_free(s);
    return code;
}

int serve_check(const struct serve_config *config, struct error *err) {
    const struct serve s = { .config = config };
    struct contexts tls = { NULL };
    struct access_log *log;
    int rc = access_log_open(&config->access_log, &config->privileges, &log, err);

    access_log_close(log);
    if (rc == 0)
        rc = read_certificates(&s, &tls, err);
    forget_certificates(&tls);
    return rc;
}
