/* SPDX-License-Identifier: MIT */
/* Starts the processes of a lane, changes them while they run, and asks them. */
#include "lab/lane.h"
#include "base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define START_NSEC      (15 * NSEC_PER_SEC)
#define AGAIN_NSEC      (500 * NSEC_PER_MSEC)
#define PATIENCE_NSEC   (2 * NSEC_PER_SEC) /* with a control endpoint */
#define LOAD_SECONDS    "86400"
#define UPSTREAM_TURNS  3 /* turns between two questions to the slow API */
#define RULES_BYTES_MAX 512
#define SIGNAL_NSEC     (50 * NSEC_PER_MSEC) /* until a signal shows in counters */
#define CONNECT_MSEC    2                    /* a connection on the loopback stands at once */
#define PIPE_BYTES      (1 << 20)
#define THREADS_NSEC    (200 * NSEC_PER_MSEC) /* between two looks at threads, at least */

static void on_stats(void *arg, int status, struct slice body) {
    struct lane *lane = arg;
    if (status == 200)
        figures_take_stats(&lane->figures, body);
}

static void on_requests(void *arg, int status, struct slice body) {
    struct lane *lane = arg;
    if (status == 200)
        figures_take_requests(&lane->figures, body, lane->upstream_port);
}

/* A change is over: says how long it took. */
static void change_done(struct lane *lane) {
    if (lane->change.ms < 0)
        lane->change.ms = (double)(clock_now() - lane->change.began) / (double)NSEC_PER_MSEC;
}

static void on_api(void *arg, int status, struct slice body) {
    struct lane *lane = arg;
    if (!lane->api_asked_rules) {
        if (status == 200)
            figures_take_upstream(&lane->figures, body);
        return;
    }
    lane->api_asked_rules = false;
    if (status != 200) {
        lane->rules_due = true; /* again, with the next turn */
        return;
    }
    lane->rules_known = true;
    if (lane->state == LANE_RUNNING && !lane->rules_due && !lane->workers_due)
        change_done(lane);
}

int lane_init(struct lane *lane, struct loop *loop, const char *srv) {
    *lane = (struct lane){ .loop = loop, .srv = srv, .ticks_fd = -1, .change = { .how = "" } };
    for (int i = 0; i < LANE_PROCESSES; i++)
        lane->processes[i].log_fd = -1;
    settings_init(&lane->settings);
    asker_init(&lane->stats, loop, on_stats, lane);
    asker_init(&lane->requests, loop, on_requests, lane);
    asker_init(&lane->api, loop, on_api, lane);
    lane->threads = mem_calloc(1, sizeof(*lane->threads));
    int rc = lane->threads != NULL ? sampler_open(&lane->sampler) : -ENOMEM;
    return rc == 0 ? figures_init(&lane->figures) : rc;
}

/* --- ending ----------------------------------------------------------------------------------- */

/* Kills a process with its group at once: it has nothing to lose. */
static void end_process(struct lane *lane, int which) {
    process_stop_all(&lane->processes[which], 1, clock_now());
    lane->processes[which] = (struct play_child){ .log_fd = -1 };
    if (which < LANE_ROWS) {
        const struct program_start *start = &lane->starts[which];
        if (start->process != NULL && program_of(start->process)->finish != NULL)
            program_of(start->process)->finish(&lane->starts[which]);
        lane->starts[which] = (struct program_start){ .process = NULL };
    }
}

static void end_load(struct lane *lane) {
    end_process(lane, LANE_LOAD);
    if (lane->ticks_fd >= 0)
        close(lane->ticks_fd);
    lane->ticks_fd = -1;
    lane->tick_len = 0;
    lane->tick_too_long = false;
    lane->load_again_at = 0;
    figures_forget_load(&lane->figures);
}

static void end_server(struct lane *lane) {
    end_load(lane);
    asker_close(&lane->stats);
    asker_close(&lane->requests);
    end_process(lane, LANE_SERVER);
    figures_forget_server(&lane->figures);
    if (lane->threads != NULL) /* a lane that was never made is ended as well */
        *lane->threads = (struct wait_sample){ .processes = 0 };
    lane->threads_at = 0;
}

/* A frozen process is killed as well as any. */
static void end_upstream(struct lane *lane) {
    asker_close(&lane->api);
    lane->api_asked_rules = false;
    lane->rules_known = lane->upstream_frozen = false;
    end_process(lane, LANE_UPSTREAM);
    figures_forget_upstream(&lane->figures);
}

static void end_all(struct lane *lane) {
    end_server(lane);
    end_upstream(lane);
    lane->upstream_down = false;
    lane->upstream_port = 0;
}

void lane_stop(struct lane *lane, const char *why) {
    end_all(lane);
    lane->state = LANE_STOPPED;
    snprintf(lane->why, sizeof(lane->why), "%s", why);
}

void lane_free(struct lane *lane) {
    lane_stop(lane, "");
    figures_free(&lane->figures);
    sampler_close(lane->sampler);
    mem_free(lane->threads);
}

/* Returns `rc`. */
static int fail(struct lane *lane, int rc, const struct error *err) {
    end_all(lane);
    lane->state = LANE_FAILED;
    snprintf(lane->why, sizeof(lane->why), "%s", err->text);
    return rc;
}

/* --- words ------------------------------------------------------------------------------------ */

/* Appends a word to the row of a process; too many are a mistake of this file, which execution
 * shows. */
static void add(struct lane *lane, int which, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(struct lane *lane, int which, const char *fmt, ...) {
    struct play_process *row = &lane->rows[which];
    size_t n = 0;
    while (n < PLAY_ARGS_MAX - 1 && row->args[n] != NULL)
        n++;
    if (n == PLAY_ARGS_MAX - 1)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(lane->words[which][n], LANE_WORD_BYTES, fmt, args);
    va_end(args);
    row->args[n] = lane->words[which][n];
}

/* Adds an option for a control that applies, and is not at `off`. */
static void add_option(struct lane *lane, enum setting which, const char *name, const char *unit,
                       int64_t off) {
    int64_t value = lane->settings.values[which];
    if (settings_apply(&lane->settings, which) && value != off)
        add(lane, LANE_SERVER, "--%s=%lld%s", name, (long long)value, unit);
}

static void write_upstream(struct lane *lane) {
    lane->rows[LANE_UPSTREAM] = (struct play_process){ .name = PLAY_SLOW_API };
    add(lane, LANE_UPSTREAM, "slowapi");
    add(lane, LANE_UPSTREAM, "--bind");
    if (lane->upstream_port != 0)
        add(lane, LANE_UPSTREAM, "127.0.0.1:%u", lane->upstream_port);
    else
        add(lane, LANE_UPSTREAM, "{bind}");
    add(lane, LANE_UPSTREAM, "--control");
    add(lane, LANE_UPSTREAM, "{control}");
    add(lane, LANE_UPSTREAM, "--max-delay=10m");
}

static void write_server(struct lane *lane) {
    const struct lab_settings *s = &lane->settings;
    const char *model = setting_rows[SETTING_MODEL].words[s->values[SETTING_MODEL]];
    const char *app = setting_rows[SETTING_APP].words[s->values[SETTING_APP]];
    bool has_slots =
        s->values[SETTING_MODEL] == LAB_MODEL_POOL || s->values[SETTING_ASYNC_CORES] > 0;
    lane->rows[LANE_SERVER] = (struct play_process){ .name = "server" };
    add(lane, LANE_SERVER, "serve");
    add(lane, LANE_SERVER, "--bind={bind}");
    add(lane, LANE_SERVER, "--control={control}");
    add(lane, LANE_SERVER, "--model=%s", model);
    add(lane, LANE_SERVER, "--workers=%lld", (long long)s->values[SETTING_WORKERS]);
    add(lane, LANE_SERVER, "--log-level=error");
    if (s->values[SETTING_MODEL] != LAB_MODEL_SINGLE)
        add(lane, LANE_SERVER, "--keep-alive=75s"); /* clients that think keep theirs */
    add_option(lane, SETTING_THREADS, "threads", "", 0);
    add_option(lane, SETTING_ASYNC_CORES, "async-cores", "", 0);
    if (has_slots) {
        add_option(lane, SETTING_MAX_QUEUE, "max-queue", "", -1);
        add_option(lane, SETTING_QUEUE_TIMEOUT, "queue-timeout", "ms", 0);
    }
    add_option(lane, SETTING_REQUEST_TIMEOUT, "request-timeout", "ms", 0);
    add_option(lane, SETTING_UPSTREAM_TIMEOUT, "upstream-timeout", "ms", 60000);
    add_option(lane, SETTING_UPSTREAM_MAX, "upstream-max", "", 0);
    if (settings_apply(s, SETTING_PATCH))
        add(lane, LANE_SERVER, "--patch=%s", s->values[SETTING_PATCH] != 0 ? "on" : "off");
    if (s->values[SETTING_APP] != LAB_APP_CURL)
        add(lane, LANE_SERVER, "--upstream={slowapi}");
    add(lane, LANE_SERVER, "%s", app);
    if (s->values[SETTING_APP] == LAB_APP_CURL)
        add(lane, LANE_SERVER, "url={slowapi}");
    lane->workers_due = false;
    lane->signalled_at = 0;
}

/* The command of the load generator. 0 or -ENOBUFS. */
static int write_load(const struct lane *lane, struct argv *argv) {
    const struct lab_settings *s = &lane->settings;
    double patience = (double)s->values[SETTING_PATIENCE] / 1e3;
    double delay = settings_service(s) - (double)s->values[SETTING_DELAY] / 1e3;
    static const char *const first[] = { "srv", "bench", "-q", "-r", "-k", "-t", LOAD_SECONDS };
    argv_init(argv);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(first); i++)
        rc = argv_add(argv, first[i]);
    if (rc == 0)
        rc = argv_printf(argv, "--ticks=/dev/fd/%d", PROCESS_PASSED_FD);
    if (rc == 0)
        rc = argv_printf(argv, "-s%.3f", patience);
    if (rc == 0 && s->values[SETTING_LOAD] == LAB_LOAD_OPEN)
        rc = argv_printf(argv, "--rate=%lld", (long long)s->values[SETTING_RATE]);
    if (rc == 0 && s->values[SETTING_LOAD] == LAB_LOAD_OPEN)
        rc = argv_add(argv, "--arrivals=poisson");
    if (rc == 0)
        rc = argv_printf(argv, "-c%lld",
                         s->values[SETTING_LOAD] == LAB_LOAD_OPEN
                             ? (long long)LAB_CONNECTIONS_MAX
                             : (long long)s->values[SETTING_CLIENTS]);
    if (rc == 0 && settings_apply(s, SETTING_THINK) && s->values[SETTING_THINK] > 0)
        rc = argv_printf(argv, "--think=exp:%lldms", (long long)s->values[SETTING_THINK]);
    if (rc == 0)
        rc = argv_printf(argv, "%s?delay=%.3f", lane->starts[LANE_SERVER].url, delay);
    return rc;
}

/* --- starting --------------------------------------------------------------------------------- */

static int spawn_row(struct lane *lane, int which, struct error *err) {
    struct program_start *start = &lane->starts[which];
    const struct program *program = program_of(&lane->rows[which]);
    *start = (struct program_start){ .process = &lane->rows[which],
                                     .srv = lane->srv,
                                     .cancel_fd = -1,
                                     .pass_fd = -1,
                                     .value_count = 1 };
    if (which == LANE_SERVER)
        start->values[start->value_count++] =
            (struct argv_value){ PLAY_SLOW_API, lane->starts[LANE_UPSTREAM].url };
    int rc = program->prepare(start, err);
    if (rc != 0)
        return rc;
    struct process_spec spec = { .name = lane->rows[which].name,
                                 .path = start->path,
                                 .argv = start->argv.words,
                                 .pass_fd = start->pass_fd,
                                 .stop_signal = program->stop_signal,
                                 .uid = start->uid,
                                 .gid = start->gid };
    return process_spawn(&lane->processes[which], &spec, err);
}

static int spawn_upstream(struct lane *lane, struct error *err) {
    write_upstream(lane);
    lane->rules_due = true;
    return spawn_row(lane, LANE_UPSTREAM, err);
}

/* The address of the slow API stays what it was, also while nobody listens there. */
static int spawn_server(struct lane *lane, struct error *err) {
    const struct playground *original = settings_original(&lane->settings);
    if (original != NULL)
        lane->rows[LANE_SERVER] = original->processes[LANE_SERVER];
    else
        write_server(lane);
    snprintf(lane->starts[LANE_UPSTREAM].url, PROCESS_URL_BYTES, "http://127.0.0.1:%u/",
             lane->upstream_port);
    lane->restarts++;
    return spawn_row(lane, LANE_SERVER, err);
}

static int spawn_load(struct lane *lane, struct error *err) {
    struct argv argv;
    int fds[2];
    int rc = write_load(lane, &argv);
    if (rc != 0)
        return error_set(err, rc, "the command of srv bench is too long");
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return error_set(err, -errno, "cannot make a pipe: %s", strerrordesc_np(errno));
    fcntl(fds[1], F_SETFL, 0); /* a load that nobody reads for a while waits instead of failing */
    fcntl(fds[1], F_SETPIPE_SZ, PIPE_BYTES);
    struct process_spec spec = {
        .name = "load", .path = lane->srv, .argv = argv.words, .pass_fd = fds[1]
    };
    rc = process_spawn(&lane->processes[LANE_LOAD], &spec, err);
    close(fds[1]);
    if (rc != 0) {
        close(fds[0]);
        return rc;
    }
    lane->ticks_fd = fds[0];
    lane->load_again_at = 0;
    return 0;
}

int lane_start(struct lane *lane, struct error *err) {
    if (lane->state == LANE_STARTING || lane->state == LANE_RUNNING)
        return 0;
    end_all(lane);
    lane->why[0] = '\0';
    lane->deadline = clock_now() + START_NSEC;
    int rc = spawn_upstream(lane, err);
    if (rc != 0)
        return fail(lane, rc, err);
    lane->state = LANE_STARTING;
    return 0;
}

/* The server starts again, with the load behind it; the slow API stays. */
static int restart_server(struct lane *lane, struct error *err) {
    if (lane->upstream_port == 0) /* the start has not come so far */
        return 0;
    end_server(lane);
    lane->state = LANE_STARTING;
    lane->deadline = clock_now() + START_NSEC;
    int rc = spawn_server(lane, err);
    return rc != 0 ? fail(lane, rc, err) : 0;
}

static void send_rules(struct lane *lane) {
    char params[256], text[RULES_BYTES_MAX];
    const char *url = lane->processes[LANE_UPSTREAM].control_url;
    if (!lane->rules_due || lane->upstream_frozen || url[0] == '\0' || lane->api.is_busy)
        return;
    int len =
        snprintf(text, sizeof(text), "[{\"name\": \"lab\", \"path\": \"/\", \"params\": \"%s\"}]",
                 settings_params(&lane->settings, params, sizeof(params)));
    lane->rules_due = false;
    lane->api_asked_rules = true;
    if (asker_ask(&lane->api, url, "PUT", "/rules", slice_of(text, (size_t)len)) != 0) {
        lane->api_asked_rules = false;
        lane->rules_due = true;
    }
}

/* Whether the server has said where it listens, or an original does listen. Clients that come
 * before its workers wait in its backlog. */
static bool server_is_ready(struct lane *lane) {
    struct program_start *start = &lane->starts[LANE_SERVER];
    const struct play_child *server = &lane->processes[LANE_SERVER];
    struct address at;
    bool is_pending = true;
    if (settings_original(&lane->settings) == NULL) {
        memcpy(start->url, server->url, PROCESS_URL_BYTES);
        return server->url[0] != '\0';
    }
    int fd = process_address(start->url, &at) == 0 ? socket_connect(&at, &is_pending) : -1;
    struct pollfd connected = { .fd = fd, .events = POLLOUT };
    bool is_there = fd >= 0 && poll(&connected, 1, CONNECT_MSEC) == 1 && socket_error(fd) == 0;
    if (fd >= 0)
        close(fd);
    return is_there;
}

/* Goes on with a start as far as the processes are. 0, or -errno with a line. */
static int go_on(struct lane *lane, struct error *err) {
    struct play_child *upstream = &lane->processes[LANE_UPSTREAM];
    struct play_child *server = &lane->processes[LANE_SERVER];
    if (lane->upstream_port == 0 && upstream->url[0] != '\0')
        lane->upstream_port = process_port(upstream->url);
    if (lane->upstream_port == 0)
        return 0;
    if (server->pid == 0)
        return spawn_server(lane, err);
    if (!(lane->rules_known || lane->upstream_down) || !server_is_ready(lane))
        return 0;
    int rc = spawn_load(lane, err);
    if (rc != 0)
        return rc;
    lane->state = LANE_RUNNING;
    change_done(lane);
    return 0;
}

/* --- while it runs ---------------------------------------------------------------------------- */

static void take_ticks(struct lane *lane) {
    for (;;) {
        size_t room = sizeof(lane->tick) - lane->tick_len;
        ssize_t n =
            lane->ticks_fd < 0 ? 0 : read(lane->ticks_fd, lane->tick + lane->tick_len, room);
        if (n <= 0)
            return;
        lane->tick_len += (size_t)n;
        char *begin = lane->tick, *end = lane->tick + lane->tick_len, *newline;
        while ((newline = memchr(begin, '\n', (size_t)(end - begin))) != NULL) {
            if (!lane->tick_too_long)
                figures_take_tick(&lane->figures, slice_of(begin, (size_t)(newline - begin)));
            lane->tick_too_long = false;
            begin = newline + 1;
        }
        lane->tick_len = (size_t)(end - begin);
        memmove(lane->tick, begin, lane->tick_len);
        if (lane->tick_len == sizeof(lane->tick)) {
            lane->tick_len = 0;
            lane->tick_too_long = true;
        }
    }
}

/* Ends of processes that nobody asked for. 0, or -errno with a line. */
static int look_for_ends(struct lane *lane, struct error *err) {
    struct play_child *load = &lane->processes[LANE_LOAD];
    for (int i = 0; i < LANE_LOAD; i++)
        if (lane->processes[i].pid != 0 && process_ended(&lane->processes[i]))
            return process_report_end(&lane->processes[i], err);
    if (load->pid != 0 && process_ended(load)) {
        end_load(lane);
        lane->load_again_at = clock_now() + AGAIN_NSEC;
    }
    if (lane->load_again_at != 0 && clock_now() >= lane->load_again_at)
        return spawn_load(lane, err);
    return 0;
}

/* One worker more or less at a time: TTIN or TTOU, and the next one when the server has told how
 * many there are since. Two of the same that were pending at once would be one. */
static void move_workers(struct lane *lane) {
    const struct figures *f = &lane->figures;
    uint32_t wanted = (uint32_t)lane->settings.values[SETTING_WORKERS];
    nsec_t known_from = deadline_after(lane->signalled_at, SIGNAL_NSEC);
    if (!lane->workers_due || f->stats_at <= known_from)
        return;
    if (f->serving == wanted) {
        lane->workers_due = false;
        if (!lane->rules_due && !lane->api_asked_rules)
            change_done(lane);
        return;
    }
    kill(lane->processes[LANE_SERVER].pid, f->serving < wanted ? SIGTTIN : SIGTTOU);
    lane->signalled_at = clock_now();
}

void lane_poll(struct lane *lane) {
    struct error err = { "" };
    int rc = 0;
    if (lane->state != LANE_STARTING && lane->state != LANE_RUNNING)
        return;
    for (int i = 0; i < LANE_PROCESSES; i++)
        process_read(&lane->processes[i]);
    take_ticks(lane);
    rc = look_for_ends(lane, &err);
    if (rc == 0)
        send_rules(lane);
    if (rc == 0 && lane->state == LANE_RUNNING)
        move_workers(lane);
    if (rc == 0 && lane->state == LANE_STARTING && clock_now() > lane->deadline)
        rc = error_set(&err, -ETIMEDOUT, "the processes were not ready in time");
    if (rc == 0 && lane->state == LANE_STARTING)
        rc = go_on(lane, &err);
    if (rc != 0)
        fail(lane, rc, &err);
}

bool lane_is_restless(const struct lane *lane) {
    bool can_end = !lane->upstream_down && !lane->upstream_frozen; /* rules wait for the slow API */
    return lane->state == LANE_STARTING ||
           (lane->state == LANE_RUNNING && lane->change.ms < 0 && can_end);
}

/* The threads of the workers, as seldom as it takes to cost little (SAMPLER_COST_RATIO). */
static void look_at_threads(struct lane *lane) {
    const struct decode_role role = { "slow API", lane->upstream_port };
    bool is_ours = settings_original(&lane->settings) == NULL;
    const struct sampler_look look = {
        .roots = is_ours ? lane->figures.workers : &lane->processes[LANE_SERVER].pid,
        .root_count = is_ours ? lane->figures.worker_count : 1,
        .roles = &role,
        .role_count = 1,
    };
    nsec_t now = clock_now();
    if (look.root_count == 0 || now < lane->threads_at)
        return;
    if (sampler_take(lane->sampler, &look, lane->threads) != 0)
        *lane->threads = (struct wait_sample){ .processes = 0 };
    lane->threads_at = sampler_next(now, THREADS_NSEC, lane->threads);
}

static void ask_server(struct lane *lane) {
    const struct play_child *server = &lane->processes[LANE_SERVER];
    if (settings_original(&lane->settings) == NULL) {
        asker_give_up(&lane->stats, PATIENCE_NSEC);
        asker_give_up(&lane->requests, PATIENCE_NSEC);
        (void)!asker_ask(&lane->stats, server->control_url, "GET", "/stats", SLICE(""));
        (void)!asker_ask(&lane->requests, server->control_url, "GET", "/requests", SLICE(""));
        return;
    }
    struct procstat sample = { .at = 0 };
    if (procstat_add(server->pid, 0, &sample) == 0)
        figures_take_processes(&lane->figures, &sample);
}

void lane_ask(struct lane *lane) {
    const char *upstream = lane->processes[LANE_UPSTREAM].control_url;
    if (lane->state != LANE_RUNNING)
        return;
    asker_give_up(&lane->api, PATIENCE_NSEC);
    ask_server(lane);
    if (++lane->turns % UPSTREAM_TURNS == 0 && !lane->upstream_down && !lane->upstream_frozen &&
        !lane->rules_due)
        (void)!asker_ask(&lane->api, upstream, "GET", "/stats", SLICE(""));
    look_at_threads(lane);
}

/* --- changes ---------------------------------------------------------------------------------- */

static void change_begins(struct lane *lane, const char *what, const char *how) {
    snprintf(lane->change.what, sizeof(lane->change.what), "%s", what);
    lane->change.how = how;
    lane->change.began = clock_now();
    lane->change.ms = -1;
    lane->change.count++;
}

static int restart_load(struct lane *lane, struct error *err) {
    end_load(lane);
    int rc = spawn_load(lane, err);
    return rc != 0 ? fail(lane, rc, err) : 0;
}

int lane_change(struct lane *lane, const json_t *changes, struct error *err) {
    unsigned scopes;
    enum setting last = SETTING_APP;
    int rc = settings_take(&lane->settings, changes, &scopes, &last, err);
    if (rc != 0 || scopes == 0)
        return rc;
    if (lane->state != LANE_STARTING && lane->state != LANE_RUNNING)
        return 0;
    bool restarts =
        (scopes & (SCOPE_SERVER | (lane->state == LANE_STARTING ? SCOPE_WORKERS : 0))) != 0;
    change_begins(lane, setting_rows[last].label,
                  restarts                 ? "the server restarted"
                  : scopes & SCOPE_LOAD    ? "the load restarted"
                  : scopes & SCOPE_WORKERS ? "signals to the master"
                                           : "rules of the slow API");
    if (scopes & SCOPE_RULES)
        lane->rules_due = true;
    if (restarts)
        return restart_server(lane, err);
    if (scopes & SCOPE_WORKERS)
        lane->workers_due = true;
    if ((scopes & SCOPE_LOAD) && lane->state == LANE_RUNNING)
        rc = restart_load(lane, err);
    if (rc == 0 && lane->state == LANE_RUNNING && !(scopes & (SCOPE_RULES | SCOPE_WORKERS)))
        change_done(lane);
    return rc;
}

/* The pid comes from the server's own counters: it is killed only if it is still of its group. */
static int kill_worker(struct lane *lane, struct error *err) {
    const struct figures *f = &lane->figures;
    pid_t group = lane->processes[LANE_SERVER].pid;
    for (uint32_t i = 0; i < f->worker_count; i++) {
        pid_t pid = f->workers[i];
        if (pid > 1 && pid != group && getpgid(pid) == group && kill(pid, SIGKILL) == 0) {
            change_begins(lane, "kill a worker", "SIGKILL; the master starts another one");
            change_done(lane);
            return 0;
        }
    }
    return error_set(err, -ESRCH, "no worker is known yet");
}

static int stop_upstream(struct lane *lane, bool freezes, struct error *err) {
    if (lane->upstream_down || lane->upstream_frozen)
        return error_set(err, -EALREADY, "the slow API is stopped already");
    change_begins(lane, freezes ? "freeze the slow API" : "stop the slow API",
                  freezes ? "SIGSTOP" : "SIGKILL");
    if (freezes) {
        kill(-lane->processes[LANE_UPSTREAM].pid, SIGSTOP);
        lane->upstream_frozen = true;
    } else {
        end_upstream(lane);
        lane->upstream_down = true;
    }
    change_done(lane);
    return 0;
}

static int start_upstream(struct lane *lane, struct error *err) {
    if (!lane->upstream_down && !lane->upstream_frozen)
        return error_set(err, -EALREADY, "the slow API runs");
    change_begins(lane, "start the slow API", lane->upstream_frozen ? "SIGCONT" : "a new process");
    if (lane->upstream_frozen) {
        kill(-lane->processes[LANE_UPSTREAM].pid, SIGCONT);
        lane->upstream_frozen = false;
        change_done(lane);
        return 0;
    }
    lane->upstream_down = false;
    int rc = spawn_upstream(lane, err);
    return rc != 0 ? fail(lane, rc, err) : 0;
}

int lane_do(struct lane *lane, const char *word, struct error *err) {
    if (strcmp(word, "start") == 0)
        return lane_start(lane, err);
    if (strcmp(word, "stop") == 0) {
        lane_stop(lane, "");
        return 0;
    }
    static const char *const others[] = { "kill-worker", "reload", "stop-upstream",
                                          "freeze-upstream", "start-upstream" };
    size_t i = 0;
    while (i < ARRAY_LEN(others) && strcmp(word, others[i]) != 0)
        i++;
    if (i == ARRAY_LEN(others))
        return error_set(err, -EINVAL,
                         "do is start, stop, kill-worker, reload, stop-upstream, "
                         "freeze-upstream or start-upstream");
    if (lane->state != LANE_RUNNING)
        return error_set(err, -EAGAIN, "the lane does not run");
    if (i < 2 && settings_original(&lane->settings) != NULL)
        return error_set(err, -ENOTSUP, "workers of originals are left alone");
    switch (i) {
    case 0:
        return kill_worker(lane, err);
    case 1:
        change_begins(lane, "reload", "HUP: successors first");
        kill(lane->processes[LANE_SERVER].pid, SIGHUP);
        change_done(lane);
        return 0;
    case 2:
        return stop_upstream(lane, false, err);
    case 3:
        return stop_upstream(lane, true, err);
    default:
        return start_upstream(lane, err);
    }
}

/* --- as JSON ---------------------------------------------------------------------------------- */

static const char *const state_names[] = {
    [LANE_STOPPED] = "stopped",
    [LANE_STARTING] = "starting",
    [LANE_RUNNING] = "running",
    [LANE_FAILED] = "failed",
};

static json_t *process_json(const struct play_child *p) {
    if (p->pid == 0)
        return json_null();
    return json_pack("{s:I, s:s, s:s, s:s}", "pid", (json_int_t)p->pid, "url", p->url, "control",
                     p->control_url, "last_line", p->last_line);
}

static enum figures_upstream upstream_of(const struct lane *lane) {
    return lane->upstream_down     ? UPSTREAM_DOWN
           : lane->upstream_frozen ? UPSTREAM_FROZEN
                                   : UPSTREAM_UP;
}

static json_t *change_json(const struct lane_change *c) {
    if (c->how[0] == '\0')
        return json_null();
    return json_pack("{s:s, s:s, s:o, s:I}", "what", c->what, "how", c->how, "ms",
                     c->ms < 0 ? json_null() : json_real(c->ms), "count", (json_int_t)c->count);
}

json_t *lane_json(const struct lane *lane, unsigned number) {
    static const char *const upstreams[] = { "up", "down", "frozen" };
    json_t *o = json_object();
    json_object_set_new(o, "lane", json_integer(number));
    json_object_set_new(o, "state", json_string(state_names[lane->state]));
    json_object_set_new(o, "why", json_string(lane->why));
    json_object_set_new(o, "upstream", json_string(upstreams[upstream_of(lane)]));
    json_object_set_new(o, "settings", settings_json(&lane->settings));
    json_object_set_new(o, "applies", settings_applying_json(&lane->settings));
    json_object_set_new(o, "change", change_json(&lane->change));
    json_object_set_new(o, "server_starts", json_integer((json_int_t)lane->restarts));
    json_object_set_new(o, "processes",
                        json_pack("{s:o, s:o, s:o}", "slowapi",
                                  process_json(&lane->processes[LANE_UPSTREAM]), "server",
                                  process_json(&lane->processes[LANE_SERVER]), "load",
                                  process_json(&lane->processes[LANE_LOAD])));
    if (lane->state == LANE_RUNNING)
        json_object_set_new(o, "figures",
                            figures_json(&lane->figures, &lane->settings, upstream_of(lane)));
    else
        json_object_set_new(o, "figures", json_null());
    json_object_set_new(o, "threads", tally_json(&lane->threads->tally, "threads"));
    json_object_set_new(o, "threads_note", json_string(lane->threads->note));
    return o;
}
