/* SPDX-License-Identifier: MIT */
/* The life of one run: start, settle, load, watch, collect, stop. */
#include "playground/runner.h"
#include "base/alloc.h"
#include "playground/argv.h"
#include "playground/process.h"
#include "playground/program.h"
#include "playground/stats_client.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define START_NSEC        (15 * NSEC_PER_SEC) /* for one process to bind and answer */
#define SETTLE_NSEC       (2 * NSEC_PER_SEC)  /* at most, until the number of threads rests */
#define SETTLE_STEP_NSEC  (20 * NSEC_PER_MSEC)
#define SETTLE_EQUAL      5 /* samples in a row that make a rest */
#define SAMPLE_NSEC       (50 * NSEC_PER_MSEC)
#define SAMPLE_COST_RATIO 20 /* sampling takes 1/20 of a core, however many threads there are */
#define STATS_NSEC        (20 * NSEC_PER_MSEC)  /* for an answer that is usually there already */
#define LAST_STATS_NSEC   NSEC_PER_SEC          /* after the load, when nothing is disturbed */
#define LAST_BREATH_NSEC  (500 * NSEC_PER_MSEC) /* a server whose clients failed may die in it */
#define LAST_WORDS_NSEC   (500 * NSEC_PER_MSEC) /* for a line about an error that was seen */
#define OVERTIME_NSEC     (60 * NSEC_PER_SEC)   /* allowed on top of ten times the ideal */
#define STOP_NSEC         (2 * NSEC_PER_SEC)    /* for idle servers */
#define ABORT_NSEC        (200 * NSEC_PER_MSEC) /* for servers with requests in flight */
#define SERVE_TELLER      "srv control" /* the name of the process behind serve's --control */
#define TELLER_NSEC       (5 * NSEC_PER_SEC)
#define TELLER_LOOK_MSEC  2
#define BENCH_TIMEOUT_SEC 30 /* for one request, on top of the ideal time of all */

struct play_run {
    const struct runner *runner;
    const struct playground *row;
    struct play_result *result;
    struct play_child processes[PLAY_PROCESSES_MAX + 1]; /* the row's, then the load generator */
    size_t count;                                        /* started so far */
    struct program_start starts[PLAY_PROCESSES_MAX];
    uint16_t ports[PLAY_PROCESSES_MAX]; /* 0: none */
    size_t prepared;                    /* starts that `finish` is for */
    struct stats_client stats_clients[PLAY_PROCESSES_MAX];
    int report_fd; /* memory that the load generator writes its report to */
    int lines_fd;  /* memory for a line for each request, or -1 */
    nsec_t load_start;
    nsec_t cpu_before[PLAY_PROCESSES_MAX]; /* spent by each process of the row before the load */
    struct sampler *sampler;
    struct wait_sample *waits; /* the newest sample of it */
    nsec_t waits_due;          /* the time of the next one */
    /* The process of srv serve beside its workers that tells of them; by the process of the row. It
     * is there for us, and is left out of all figures. */
    pid_t tellers[PLAY_PROCESSES_MAX];
};

/* Lets the children talk until `until`, or until something happened. 0 or -ECANCELED. */
static int pump(struct play_run *run, nsec_t until) {
    struct pollfd fds[PLAY_PROCESSES_MAX + 2] = { { .fd = run->runner->cancel_fd,
                                                    .events = POLLIN } };
    for (size_t i = 0; i < run->count; i++)
        fds[i + 1] = (struct pollfd){ .fd = run->processes[i].log_fd, .events = POLLIN };
    nsec_t left = until - clock_now();
    if (left < 0)
        left = 0;
    struct timespec wait = { .tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC };
    ppoll(fds, run->count + 1, &wait, NULL);
    if (fds[0].revents != 0)
        return -ECANCELED;
    for (size_t i = 0; i < run->count; i++)
        process_read(&run->processes[i]);
    return 0;
}

/* 0 while every process of the row lives. */
static int check_alive(struct play_run *run, size_t servers, struct error *err) {
    for (size_t i = 0; i < servers; i++)
        if (process_ended(&run->processes[i]))
            return process_report_end(&run->processes[i], err);
    return 0;
}

static int spawn(struct play_run *run, const struct process_spec *spec, struct error *err) {
    int rc = process_spawn(&run->processes[run->count], spec, err);
    if (rc == 0)
        run->count++;
    return rc;
}

/* The reason of an answer stands in the server's log, perhaps a moment later. */
static int add_last_words(struct play_run *run, const struct play_child *p, int rc,
                          struct error *err) {
    nsec_t deadline = clock_now() + LAST_WORDS_NSEC;
    struct error why = *err;
    while (p->last_line[0] == '\0' && p->log_fd >= 0 && clock_now() < deadline)
        if (pump(run, clock_now() + SETTLE_STEP_NSEC) != 0)
            return -ECANCELED;
    if (p->last_line[0] == '\0')
        return rc;
    return error_set(err, rc, "%s; its log says: %s", why.text, p->last_line);
}

/* The newest process has begun; comes back when it serves, and start->url says where. */
static int await_ready(struct play_run *run, struct program_start *start, struct error *err) {
    struct play_child *started = &run->processes[run->count - 1];
    nsec_t deadline = deadline_after(clock_now(), START_NSEC);
    int rc = -EAGAIN;
    if (start->url[0] != '\0')
        memcpy(started->url, start->url, sizeof(started->url));
    while (rc == -EAGAIN) {
        if (clock_now() >= deadline)
            return add_last_words(run, started,
                                  error_set(err, -ETIMEDOUT,
                                            "%s did not say where it listens, or does not",
                                            started->name),
                                  err);
        rc = pump(run, nsec_min(deadline, clock_now() + SETTLE_STEP_NSEC));
        if (rc == 0)
            rc = check_alive(run, run->count, err);
        if (rc == 0 && started->url[0] == '\0')
            rc = -EAGAIN;
        if (rc != 0)
            continue;
        memcpy(start->url, started->url, sizeof(start->url));
        rc = program_of(start->process)->ready(start, run->runner->cancel_fd, deadline, err);
        if (rc != 0 && rc != -EAGAIN && rc != -ECANCELED)
            return add_last_words(run, started, rc, err);
    }
    return rc;
}

static int start_process(struct play_run *run, const struct play_process *process,
                         struct error *err) {
    const struct program *program = program_of(process);
    struct program_start *start = &run->starts[run->count];
    *start = (struct program_start){
        .process = process,
        .srv = run->runner->program,
        .cancel_fd = run->runner->cancel_fd,
        .pass_fd = -1,
    };
    start->value_count = run->count + 1;
    for (size_t i = 0; i < run->count; i++)
        start->values[i + 1] =
            (struct argv_value){ run->row->processes[i].name, run->starts[i].url };
    run->prepared++;
    int rc = program->prepare(start, err);
    if (rc != 0)
        return rc;

    struct process_spec spec = {
        .name = process->name,
        .path = start->path,
        .argv = start->argv.words,
        .pass_fd = start->pass_fd,
        .stop_signal = program->stop_signal,
        .tidies = program->tidies,
        .uid = start->uid,
        .gid = start->gid,
    };
    rc = spawn(run, &spec, err);
    if (rc == 0)
        rc = await_ready(run, start, err);
    if (rc == 0)
        run->ports[run->count - 1] = process_port(start->url);
    return rc;
}

static bool has_teller(const struct play_run *run, size_t i) {
    const char *command = run->row->processes[i].args[0];
    return run->processes[i].control_url[0] != '\0' && command != NULL &&
           strcmp(command, "serve") == 0;
}

/* The process behind serve's --control, which takes its name a moment after serve has said that it
 * listens; 0 when it does not. */
static pid_t await_teller(pid_t server) {
    nsec_t deadline = deadline_after(clock_now(), TELLER_NSEC);
    pid_t found;

    while ((found = procstat_find_child(server, SERVE_TELLER)) == 0 && clock_now() < deadline)
        poll(NULL, 0, TELLER_LOOK_MSEC);
    return found;
}

static int start_processes(struct play_run *run, struct error *err) {
    size_t count = row_process_count(run->row);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = start_process(run, &run->row->processes[i], err);
        if (rc == 0 && has_teller(run, i))
            run->tellers[i] = await_teller(run->processes[i].pid);
    }
    return rc;
}

static void add_sample(struct procstat *total, const struct procstat *one) {
    total->processes += one->processes;
    total->threads += one->threads;
    total->running += one->running;
    total->sleeping += one->sleeping;
    total->cpu += one->cpu;
    total->rss_bytes += one->rss_bytes;
}

static int sample(struct play_run *run, struct series_point *ret, struct error *err) {
    *ret = (struct series_point){ .elapsed = clock_now() - run->load_start };
    size_t count = row_process_count(run->row);
    for (size_t i = 0; i < count; i++) {
        ret->in_flight[i] = PLAY_UNKNOWN;
        if (procstat_add(run->processes[i].pid, run->tellers[i], &ret->of[i]) != 0)
            return error_set(err, -ESRCH, "%s cannot be seen in /proc", run->processes[i].name);
        if (run->row->processes[i].measured)
            add_sample(&ret->total, &ret->of[i]);
    }
    return 0;
}

/* Workers and threads that are made at start need a moment; the sample before the load is taken
 * when they all stand. */
static int settle(struct play_run *run, struct series_point *ret, struct error *err) {
    nsec_t deadline = deadline_after(clock_now(), SETTLE_NSEC);
    uint32_t threads = 0;
    unsigned equal = 0;
    do {
        int rc = sample(run, ret, err);
        if (rc == 0)
            rc = pump(run, clock_now() + SETTLE_STEP_NSEC);
        if (rc != 0)
            return rc;
        equal = ret->total.threads == threads ? equal + 1 : 0;
        threads = ret->total.threads;
    } while (equal < SETTLE_EQUAL && clock_now() < deadline);
    run->result->threads_before = ret->total.threads;
    run->result->sleeping_before = ret->total.sleeping;
    return 0;
}

static void read_cpu(const struct play_run *run, nsec_t cpu[PLAY_PROCESSES_MAX]) {
    for (size_t i = 0; i < row_process_count(run->row); i++) {
        struct procstat sample = { 0 };
        cpu[i] =
            procstat_add(run->processes[i].pid, run->tellers[i], &sample) == 0 ? sample.cpu : 0;
    }
}

static int start_load(struct play_run *run, struct error *err) {
    const struct play_load *load = &run->result->load;
    const struct program_start *target = &run->starts[run->count - 1];
    nsec_t ideal_sec = run->result->ideal / NSEC_PER_SEC;
    struct argv argv;
    argv_init(&argv);
    int rc = argv_of_load(&argv, load, target->url, target->certificate);
    if (rc == 0)
        rc = argv_add(&argv, "-q");
    if (rc == 0) /* a failure that comes first must not say how long the others have to be */
        rc = argv_add(&argv, "--expect-status=200");
    if (rc == 0)
        rc = argv_printf(&argv, "-s%lld", (long long)(ideal_sec + BENCH_TIMEOUT_SEC));
    if (rc == 0)
        rc = argv_printf(&argv, "--json=/dev/fd/%d", PROCESS_PASSED_FD);
    if (rc == 0 && run->lines_fd >= 0)
        rc = argv_printf(&argv, "--csv=/proc/%d/fd/%d", (int)getpid(), run->lines_fd);
    if (rc != 0)
        return error_set(err, rc, "the command of srv bench is too long");
    read_cpu(run, run->cpu_before);
    run->load_start = clock_now();
    struct process_spec spec = {
        .name = "bench",
        .path = run->runner->program,
        .argv = argv.words,
        .pass_fd = run->report_fd,
    };
    return spawn(run, &spec, err);
}

/* The kernel's list is no snapshot: it may have a connection and the one that took its place. */
static uint32_t no_more_than(uint32_t most, uint32_t seen) {
    return seen < most ? seen : most;
}

/* Takes in a reading of the slow API; the highest stays. */
static void note_calls_max(struct play_run *run, struct stats_reading reading) {
    if (reading.in_flight_max != PLAY_UNKNOWN && reading.in_flight_max > run->result->calls_max)
        run->result->calls_max = reading.in_flight_max;
}

/* Adds what the processes say themselves, and what only the clients know: the load generator opens
 * a connection for each request. To be called after the sample was taken: a process that is asked
 * does not sleep. */
static void count_traffic(struct play_run *run, struct series_point *point) {
    struct procstat_sockets sockets[PLAY_PROCESSES_MAX];
    size_t count = row_process_count(run->row);
    nsec_t deadline = clock_now() + STATS_NSEC;
    for (size_t i = 0; i < count; i++)
        if (run->tellers[i] == 0)
            stats_client_ask(&run->stats_clients[i], run->processes[i].control_url);
    procstat_count_sockets(run->ports, count, sockets);
    for (size_t i = 0; i < count; i++) {
        struct stats_reading reading = stats_client_read(&run->stats_clients[i], deadline);
        point->connections[i] = sockets[i].accepted;
        point->in_flight[i] = reading.in_flight;
        if (i == 0)
            note_calls_max(run, reading);
    }
    if (point->in_flight[count - 1] == PLAY_UNKNOWN)
        point->in_flight[count - 1] =
            no_more_than(run->result->load.concurrency, sockets[count - 1].made);
}

/* The process that a server connects to, by its job. */
static const char *role_of(const struct play_process *process) {
    if (strcmp(process->name, PLAY_SLOW_API) == 0)
        return "upstream";
    return process->program == &program_postgres ? "database" : process->name;
}

/* Chooses what to look at: the measured processes, and the names of those that they call. */
static void choose(const struct play_run *run, struct decode_role roles[PLAY_PROCESSES_MAX],
                   pid_t roots[PLAY_PROCESSES_MAX], struct sampler_look *ret) {
    *ret = (struct sampler_look){ .roots = roots, .roles = roles };
    for (size_t i = 0; i < row_process_count(run->row); i++) {
        const struct play_process *process = &run->row->processes[i];
        roles[ret->role_count++] = (struct decode_role){ role_of(process), run->ports[i] };
        if (!process->measured)
            continue;
        roots[ret->root_count++] = run->processes[i].pid;
        if (run->tellers[i] != 0)
            ret->except = run->tellers[i];
    }
}

/* Asks what the requests of srv serve wait for, of which one thread may have many. */
static int take_requests(struct play_run *run, nsec_t elapsed) {
    nsec_t deadline = clock_now() + STATS_NSEC, spent = clock_thread_cpu();
    struct address address;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < row_process_count(run->row); i++) {
        struct stats_client *client = &run->stats_clients[i];
        if (run->tellers[i] == 0 || process_address(run->processes[i].control_url, &address) != 0)
            continue;
        stats_client_ask_requests(client, &address);
        memset(run->waits, 0, sizeof(*run->waits));
        if (stats_client_read_requests(client, deadline, &run->waits->tally) == 0) {
            run->waits->cost = clock_thread_cpu() - spent;
            rc = result_add_waits(&run->result->request_waits, elapsed, run->waits);
        }
    }
    return rc;
}

/* Looks what the threads of the measured processes wait for, and their requests, as often as that
 * is cheap. To tell of requests costs the server about what it costs us to hear. */
static int take_waits(struct play_run *run, nsec_t elapsed) {
    struct decode_role roles[PLAY_PROCESSES_MAX];
    pid_t roots[PLAY_PROCESSES_MAX];
    struct sampler_look look;
    nsec_t now = clock_now(), spent = clock_thread_cpu();
    if (now < run->waits_due)
        return 0;
    choose(run, roles, roots, &look);
    int rc = sampler_take(run->sampler, &look, run->waits);
    if (rc != 0)
        return rc == -ESRCH ? 0 : rc; /* a death is found out by others */
    rc = result_add_waits(&run->result->waits, elapsed, run->waits);
    nsec_t looked = clock_thread_cpu();
    if (rc == 0)
        rc = take_requests(run, elapsed);
    run->waits->cost = looked - spent + 2 * (clock_thread_cpu() - looked);
    run->waits_due = sampler_next(now, SAMPLE_NSEC, run->waits);
    return rc;
}

static int take_point(struct play_run *run, struct error *err) {
    struct series_point seen;
    int rc = sample(run, &seen, err);
    if (rc == 0 && take_waits(run, seen.elapsed) != 0)
        rc = error_set(err, -ENOMEM, "out of memory");
    if (rc == 0)
        count_traffic(run, &seen);
    if (rc == 0 && result_add_point(run->result, &seen) != 0)
        rc = error_set(err, -ENOMEM, "out of memory");
    if (rc == 0 && run->runner->on_sample != NULL)
        run->runner->on_sample(run->runner->arg, run->result, &seen);
    return rc;
}

/* Samples until the load generator ends. */
static int watch(struct play_run *run, struct error *err) {
    struct play_child *bench = &run->processes[run->count - 1];
    nsec_t ideal = run->result->ideal;
    nsec_t allowed =
        ideal > (NSEC_NEVER - OVERTIME_NSEC) / 10 ? NSEC_NEVER : 10 * ideal + OVERTIME_NSEC;
    nsec_t deadline = deadline_after(run->load_start, allowed);
    nsec_t next = run->load_start + SAMPLE_NSEC;
    while (!process_ended(bench)) {
        int rc = pump(run, next);
        if (rc == 0)
            rc = check_alive(run, run->count - 1, err);
        if (rc != 0)
            return rc;
        nsec_t now = clock_now(), spent = clock_thread_cpu();
        if (now >= deadline)
            return error_set(err, -ETIMEDOUT,
                             "gave up: the load takes more than ten times its ideal");
        if (now < next)
            continue;

        rc = take_point(run, err);
        if (rc != 0)
            return rc;
        nsec_t pause = (clock_thread_cpu() - spent) * SAMPLE_COST_RATIO;
        next = now + (pause > SAMPLE_NSEC ? pause : SAMPLE_NSEC);
    }
    return 0;
}

/* The newest line that a server logged: the likely reason of failures. */
static void keep_last_words(struct play_run *run) {
    for (size_t i = 0; i < run->count - 1; i++) {
        process_read(&run->processes[i]);
        if (run->processes[i].last_line[0] != '\0')
            snprintf(run->result->last_words, sizeof(run->result->last_words), "%s: %s",
                     run->processes[i].name, run->processes[i].last_line);
    }
}

/* A process that dies closes its sockets first, and can be waited for a while later: its clients
 * may see the failure, and end, before that. */
static int check_alive_for(struct play_run *run, nsec_t span, struct error *err) {
    nsec_t until = clock_now() + span;
    int rc = check_alive(run, run->count - 1, err);
    while (rc == 0 && clock_now() < until) {
        rc = pump(run, clock_now() + SETTLE_STEP_NSEC);
        if (rc == 0)
            rc = check_alive(run, run->count - 1, err);
    }
    return rc;
}

static int collect(struct play_run *run, const struct series_point *before, struct error *err) {
    const struct play_child *bench = &run->processes[run->count - 1];
    struct series_point after;
    int rc = check_alive_for(run, bench->exit_code != 0 ? LAST_BREATH_NSEC : 0, err);
    if (rc == 0)
        rc = sample(run, &after, err);
    if (rc != 0)
        return rc;
    run->result->cpu = after.total.cpu - before->total.cpu;
    read_cpu(run, run->result->process_cpu);
    for (size_t i = 0; i < PLAY_PROCESSES_MAX; i++)
        run->result->process_cpu[i] -= run->cpu_before[i];
    if (run->result->samples == 0 && /* shorter than the time between two samples */
        result_add_point(run->result, &after) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < run->count - 1; i++)
        if (run->row->processes[i].measured)
            run->result->memory_peak_bytes +=
                procstat_memory_peak(run->processes[i].pid, run->tellers[i]);

    keep_last_words(run);
    stats_client_ask(&run->stats_clients[0], run->processes[0].control_url);
    note_calls_max(run, stats_client_read(&run->stats_clients[0], clock_now() + LAST_STATS_NSEC));

    /* With failed requests its exit code is not 0, yet the report is there and says more. */
    rc = result_read(run->result, run->report_fd, run->lines_fd, err);
    if (rc == -EPROTO && bench->exit_code != 0)
        return process_report_end(bench, err);
    return rc;
}

/* Leaves everything running until the user has seen enough. */
static int keep(struct play_run *run, struct error *err) {
    struct runner_address addresses[PLAY_PROCESSES_MAX];
    size_t count = row_process_count(run->row);
    for (size_t i = 0; i < count; i++)
        addresses[i] = (struct runner_address){ .name = run->row->processes[i].name,
                                                .url = run->starts[i].url,
                                                .control_url = run->processes[i].control_url,
                                                .lists_requests = run->tellers[i] != 0 };
    run->runner->on_keep(run->runner->arg, run->result, addresses, count);
    int rc = 0;
    while (rc == 0) {
        rc = pump(run, clock_now() + NSEC_PER_SEC);
        if (rc == 0)
            rc = check_alive(run, count, err);
    }
    return rc == -ECANCELED ? 0 : rc;
}

static int run_steps(struct play_run *run, struct error *err) {
    struct series_point before;
    int rc = start_processes(run, err);
    if (rc == 0)
        rc = settle(run, &before, err);
    if (rc == 0)
        rc = start_load(run, err);
    if (rc == 0)
        rc = watch(run, err);
    if (rc == 0)
        rc = collect(run, &before, err);
    if (rc == 0 && run->runner->on_keep != NULL)
        rc = keep(run, err);
    return rc;
}

static void finish_programs(struct play_run *run) {
    for (size_t i = 0; i < PLAY_PROCESSES_MAX; i++)
        stats_client_close(&run->stats_clients[i]);
    for (size_t i = run->prepared; i-- > 0;) {
        const struct program *program = program_of(run->starts[i].process);
        if (program->finish != NULL)
            program->finish(&run->starts[i]);
    }
}

/* Memory, descriptors and the sampler. 0 or -errno with a line; close_run in both cases. */
static int open_run(struct play_run *run, struct error *err) {
    run->report_fd = memfd_create("report", MFD_CLOEXEC);
    int rc = run->report_fd < 0 ? -errno : 0;
    run->lines_fd = run->result->load.requests <= LATENCIES_REQUESTS_MAX
                        ? memfd_create("requests", MFD_CLOEXEC)
                        : -1;
    if (rc != 0)
        return error_set(err, rc, "cannot make room for a report: %s", strerrordesc_np(-rc));
    run->waits = mem_alloc(sizeof(*run->waits));
    if (run->waits == NULL || sampler_open(&run->sampler) != 0)
        return error_set(err, -ENOMEM, "out of memory");
    return 0;
}

static void close_run(struct play_run *run) {
    if (run->report_fd >= 0)
        close(run->report_fd);
    if (run->lines_fd >= 0)
        close(run->lines_fd);
    sampler_close(run->sampler);
    mem_free(run->waits);
    mem_free(run);
}

int runner_run(const struct runner *runner, const struct playground *row,
               const struct play_load *load, struct play_result *ret, struct error *err) {
    *ret = (struct play_result){ .row = row, .load = *load, .ideal = row_ideal(row, load) };
    struct play_run *run = mem_calloc(1, sizeof(*run));
    if (run == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    run->runner = runner;
    run->row = row;
    run->result = ret;

    int rc = open_run(run, err);
    if (rc == 0)
        rc = run_steps(run, err);

    nsec_t patience = rc == 0 ? STOP_NSEC : ABORT_NSEC;
    process_stop_all(run->processes, run->count, deadline_after(clock_now(), patience));
    finish_programs(run);
    close_run(run);
    if (rc != 0)
        result_free(ret);
    return rc;
}
