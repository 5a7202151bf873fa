/* SPDX-License-Identifier: MIT */
/* Looks at a process now and then, and prints what its threads wait for. */
#include "playground/attach.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/json.h"
#include "base/stream.h"
#include "playground/run.h"
#include "playground/stats_client.h"
#include "waits/sampler.h"
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NAME_BYTES   64
#define CONTROL_NSEC NSEC_PER_SEC /* for an answer that is usually there at once */

struct attachment {
    const struct attach_config *config;
    char name[NAME_BYTES]; /* escaped */
    FILE *text, *json;     /* json: NULL, or one line for each look */
    int cancel_fd;
    struct sampler *sampler;
    struct wait_sample *sample;
    struct stats_client client; /* the control endpoint's */
    struct wait_tally *requests;
    bool knows_requests; /* the newest look was told them */
    nsec_t start;
    bool told_note, told_pace;
};

/* Names may have any bytes but NUL. */
static void read_name(struct attachment *a) {
    char path[40], name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)a->config->pid);
    FILE *file = fopen(path, "re");
    size_t len = file != NULL ? fread(name, 1, sizeof(name) - 1, file) : 0;
    if (file != NULL)
        fclose(file);
    if (len > 0 && name[len - 1] == '\n')
        len--;
    escape_text(a->name, sizeof(a->name), slice_of(name, len));
}

static const char *plural(uint32_t count, const char *one, const char *many) {
    return count == 1 ? one : many;
}

static void print_groups(const struct attachment *a, const struct wait_tally *tally,
                         const char *one, const char *many) {
    for (size_t i = 0; i < tally->count; i++) {
        const struct wait_group *group = &tally->groups[i];
        char text[WAIT_TEXT_BYTES];
        fprintf(a->text, "%6" PRIu32 " %s: %s\n", group->threads, plural(group->threads, one, many),
                wait_text(group, text));
    }
}

static void print_picture(const struct attachment *a, nsec_t now) {
    const struct wait_sample *s = a->sample;
    fprintf(a->text, "%.1f s: %s (%d), %" PRIu32 " %s, %" PRIu32 " %s\n",
            (double)(now - a->start) / NSEC_PER_SEC, a->name, (int)a->config->pid, s->processes,
            plural(s->processes, "process", "processes"), s->tally.threads,
            plural(s->tally.threads, "thread", "threads"));
    print_groups(a, &s->tally, "thread", "threads");
    if (a->knows_requests)
        print_groups(a, a->requests, "request", "requests");
}

/* {"count": N, "waits": [...]}; null when the control endpoint did not tell. */
static json_t *requests_json(const struct attachment *a) {
    if (!a->knows_requests)
        return json_null();
    return json_pack("{s:I, s:o}", "count", (json_int_t)a->requests->threads, "waits",
                     tally_json(a->requests, "requests"));
}

static int write_line(const struct attachment *a, nsec_t now) {
    const struct wait_sample *s = a->sample;
    bool ok = true;
    struct json_draft o = { json_object(), &ok };
    json_put_count(o, "elapsed_ms", (uint64_t)((now - a->start) / NSEC_PER_MSEC));
    json_put_count(o, "pid", (uint64_t)a->config->pid);
    json_put_text(o, "name", slice_str(a->name));
    json_put_count(o, "processes", s->processes);
    json_put_count(o, "threads", s->tally.threads);
    json_put(o, "waits", tally_json(&s->tally, "threads"));
    if (a->config->control != NULL)
        json_put(o, "requests", requests_json(a));
    json_put(o, "note",
             s->note[0] != '\0' ? json_text(slice_str(s->note), SAMPLER_NOTE_BYTES) : json_null());
    json_put_count(o, "cost_us", (uint64_t)(s->cost / NSEC_PER_USEC));
    if (!ok) {
        json_decref(o.json);
        return -ENOMEM;
    }
    int rc = json_write(a->json, o.json, true);
    return rc == 0 ? stream_flush(a->json) : rc;
}

/* Says what was not told, and that the interval cannot be kept: each once. */
static void tell_limits(struct attachment *a) {
    const struct wait_sample *s = a->sample;
    nsec_t pace = sampler_next(0, a->config->interval, s);
    if (s->note[0] != '\0' && !a->told_note)
        fprintf(stderr, "srv play: %s\n", s->note);
    a->told_note = a->told_note || s->note[0] != '\0';
    if (pace > a->config->interval && !a->told_pace) {
        fprintf(stderr,
                "srv play: a look takes %.1f ms of CPU time: one each %.2f s keeps that at %d %% "
                "of a core\n",
                (double)s->cost / NSEC_PER_MSEC, (double)pace / NSEC_PER_SEC,
                100 / SAMPLER_COST_RATIO);
        a->told_pace = true;
    }
}

static const char *why_untold(int rc) {
    switch (-rc) {
    case EPROTO:
        return "it is no control endpoint of srv serve";
    case ENOTCONN:
        return "it cannot be reached";
    default:
        return strerrordesc_np(-rc);
    }
}

/* Asks srv serve for its requests; what it takes to read the answer is a part of looking. */
static void look_at_requests(struct attachment *a) {
    nsec_t spent = clock_thread_cpu();
    stats_client_ask_requests(&a->client, &a->config->control_address);
    int rc = stats_client_read_requests(&a->client, clock_now() + CONTROL_NSEC, a->requests);
    a->knows_requests = rc == 0;
    if (rc != 0 && a->sample->note[0] == '\0')
        snprintf(a->sample->note, sizeof(a->sample->note), "%.100s does not tell its requests: %s",
                 a->config->control, why_untold(rc));
    a->sample->cost += clock_thread_cpu() - spent;
}

/* 0, -ESRCH when it has ended, or another -errno. */
static int look(struct attachment *a) {
    const pid_t root = a->config->pid;
    const struct sampler_look all = { .roots = &root, .root_count = 1 };
    int rc = sampler_take(a->sampler, &all, a->sample);
    nsec_t now = clock_now();
    if (rc != 0)
        return rc;
    if (a->config->control != NULL)
        look_at_requests(a);
    print_picture(a, now);
    rc = stream_flush(a->text);
    if (rc == 0 && a->json != NULL)
        rc = write_line(a, now);
    tell_limits(a);
    return rc;
}

/* Waits until then. Whether it was told to end. */
static bool is_cancelled(const struct attachment *a, nsec_t until) {
    nsec_t left = nsec_max(until - clock_now(), 0);
    struct timespec wait = { .tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC };
    struct pollfd signals = { .fd = a->cancel_fd, .events = POLLIN };
    return ppoll(&signals, 1, &wait, NULL) > 0;
}

/* The process is looked at once at least. 0 or -errno. */
static int watch(struct attachment *a) {
    nsec_t end = timeout_after(a->start, a->config->duration), next;
    do {
        nsec_t now = clock_now(), spent = clock_thread_cpu();
        int rc = look(a);
        if (rc == -ESRCH) {
            fprintf(stderr, "srv play: process %d has ended\n", (int)a->config->pid);
            return 0;
        }
        if (rc != 0)
            return rc;
        a->sample->cost = clock_thread_cpu() - spent; /* writing included */
        next = sampler_next(now, a->config->interval, a->sample);
    } while (!is_cancelled(a, nsec_min(next, end)) && next < end);
    return 0;
}

/* A file of each thread stays open: as many as the system lets us. */
static void raise_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_all(struct attachment *a, struct error *err) {
    int rc = sampler_check(a->config->pid, err);
    if (rc != 0)
        return rc;
    const char *path = a->config->json_path;
    if (path != NULL && strcmp(path, "-") == 0)
        a->text = stderr;
    rc = path != NULL ? stream_create(&a->json, path, err) : 0;
    if (rc != 0)
        return rc;
    raise_files();
    read_name(a);
    a->cancel_fd = run_catch_signals();
    a->sample = mem_alloc(sizeof(*a->sample));
    a->requests = mem_alloc(sizeof(*a->requests));
    rc = a->cancel_fd < 0 ? -errno : 0;
    if (rc == 0 && (a->sample == NULL || a->requests == NULL))
        rc = -ENOMEM;
    if (rc == 0)
        rc = sampler_open(&a->sampler);
    return rc == 0 ? 0 : error_set(err, rc, "cannot start: %s", strerrordesc_np(-rc));
}

int attach_run(const struct attach_config *config) {
    struct attachment a = { .config = config, .text = stdout, .cancel_fd = -1 };
    struct error err;
    int rc = open_all(&a, &err);
    if (rc == 0) {
        a.start = clock_now();
        rc = watch(&a);
        if (rc != 0)
            error_set(&err, rc, "cannot write the picture: %s", strerrordesc_np(-rc));
    }
    int closed = stream_close(a.json);
    if (rc == 0 && closed != 0)
        rc = error_set(&err, closed, "cannot write %s: %s", config->json_path,
                       strerrordesc_np(-closed));
    if (rc != 0)
        fprintf(stderr, "srv play: %s\n", err.text);
    sampler_close(a.sampler);
    mem_free(a.sample);
    mem_free(a.requests);
    stats_client_close(&a.client);
    if (a.cancel_fd >= 0)
        close(a.cancel_fd);
    return rc == 0 ? EXIT_SUCCESS : EXIT_CANNOT;
}
