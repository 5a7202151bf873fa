/* SPDX-License-Identifier: MIT */
/* Runs the chosen rows one after the other, survives failures of single ones, and never leaves
 * anything behind. */
#include "playground/run.h"
#include "base/alloc.h"
#include "base/attr.h"
#include "base/stream.h"
#include "base/terminal.h"
#include "playground/progress.h"
#include "playground/report.h"
#include "playground/runner.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

static bool is_ignored(int signo) {
    struct sigaction action;
    return sigaction(signo, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int run_catch_signals(void) {
    static const int of_terminal[] = { SIGINT, SIGQUIT, SIGHUP };
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    for (size_t i = 0; i < ARRAY_LEN(of_terminal); i++)
        if (!is_ignored(of_terminal[i]))
            sigaddset(&set, of_terminal[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* 0 or -errno: a table that did not reach its reader is a failure, too. */
static int print_results(const struct play_result *results, size_t count, FILE *out) {
    if (count == 0)
        return 0;
    report_print(results, count, terminal_size(out).columns, out);
    return stream_flush(out);
}

/* A file that was asked for: opened before anything runs, so that a mistake is told at once. */
struct play_output {
    const char *path; /* NULL: not wanted; "-": stdout */
    enum report_format format;
    FILE *file;
};

/* Opens what was asked for. 0 or -errno after telling why. */
static int open_outputs(struct play_output *outputs, size_t count) {
    struct error err;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (outputs[i].path == NULL)
            continue;
        rc = stream_create(&outputs[i].file, outputs[i].path, &err);
        if (rc != 0)
            fprintf(stderr, "srv play: %s\n", err.text);
    }
    return rc;
}

static int finish_output(struct play_output *output, const struct play_result *results,
                         size_t count) {
    int rc = report_write(results, count, output->format, output->file);
    int closed = stream_close(output->file);
    output->file = NULL;
    return rc != 0 ? rc : closed;
}

static void close_outputs(struct play_output *outputs, size_t count) {
    for (size_t i = 0; i < count; i++)
        (void)stream_close(outputs[i].file);
}

/* The exit code, unless there is a more telling one already. */
static int cannot_write(const char *what, int rc, int exit_code) {
    fprintf(stderr, "srv play: cannot write %s: %s\n", what, strerrordesc_np(-rc));
    return exit_code == EXIT_SUCCESS ? EXIT_CANNOT : exit_code;
}

/* Prints and writes what was seen. The exit code. */
static int report(const struct play_result *results, size_t count, struct play_output *outputs,
                  size_t output_count, int exit_code) {
    FILE *text = stdout;
    for (size_t i = 0; i < output_count; i++)
        text = outputs[i].file == stdout ? stderr : text;
    int rc = print_results(results, count, text);
    if (rc != 0)
        exit_code = cannot_write("the table", rc, exit_code);
    for (size_t i = 0; i < output_count; i++) {
        if (outputs[i].path == NULL)
            continue;
        rc = finish_output(&outputs[i], results, count);
        if (rc != 0)
            exit_code = cannot_write(outputs[i].path, rc, exit_code);
    }
    return exit_code;
}

/* A run of srv play, for the callbacks of its rows. */
struct play_session {
    struct play_progress progress;
    struct play_output outputs[2];
    bool reported;
    int exit_code;
};

static void on_sample(void *arg, const struct play_result *so_far, const struct series_point *now) {
    struct play_session *session = arg;
    progress_sample(&session->progress, so_far, now);
}

static void on_keep(void *arg, const struct play_result *result,
                    const struct runner_address *addresses, size_t count) {
    struct play_session *session = arg;
    progress_end(&session->progress, result);
    session->exit_code =
        report(result, 1, session->outputs, ARRAY_LEN(session->outputs), EXIT_SUCCESS);
    session->reported = true;
    fprintf(stderr, "srv play: %s is kept running; Ctrl-C ends it\n", result->row->name);
    for (size_t i = 0; i < count; i++) {
        const struct runner_address *at = &addresses[i];
        bool tells = at->control_url[0] != '\0' && !at->lists_requests;
        fprintf(stderr, "srv play: %s: %s%s%s%s\n", at->name, at->url,
                tells ? " (what is in flight: " : "", tells ? at->control_url : "",
                tells ? "/stats)" : "");
        if (at->lists_requests) /* its URL ends in a slash */
            fprintf(stderr, "srv play: %s tells what its requests wait for: %srequests\n", at->name,
                    at->control_url);
    }
}

/* Runs one row and says how it went. 0 (also when it was skipped), -ECANCELED, or another -errno
 * after telling why. */
static int run_row(const struct runner *runner, struct play_session *session,
                   const struct playground *row, const struct play_load *load,
                   struct play_result *ret) {
    struct error err;
    int rc = runner_run(runner, row, load, ret, &err);
    if (rc == 0) {
        if (!session->reported)
            progress_end(&session->progress, ret);
        return 0;
    }

    progress_end(&session->progress, NULL);
    if (rc == -ECANCELED)
        fprintf(stderr, "srv play: interrupted in %s; everything is stopped\n", row->name);
    else if (rc == -ENOPKG)
        fprintf(stderr, "srv play: %s is skipped: %s\n", row->name, err.text);
    else
        fprintf(stderr, "srv play: %s: %s\n", row->name, err.text);
    if (rc == -ENOPKG) {
        snprintf(ret->skipped, sizeof(ret->skipped), "%.159s", err.text);
        return 0;
    }
    return rc;
}

/* Whether its requests were answered as the row says; where it shows a failure, none is served. */
static bool went_well(const struct play_result *result) {
    const struct playground *row = result->row;
    uint16_t status = row_process_status(&row->processes[row_process_count(row) - 1]);
    uint64_t wanted = status == 200 ? 0 : result->load.requests;
    return result->skipped[0] != '\0' || result->failed == wanted;
}

/* Runs all rows; fills `results` with the ones that ran. The exit code. */
static int run_rows(const struct run_config *config, struct play_session *session, int cancel_fd,
                    struct play_result *results, size_t *ret_count) {
    struct runner runner = {
        .program = config->program,
        .cancel_fd = cancel_fd,
        .on_sample = on_sample,
        .on_keep = config->keep ? on_keep : NULL,
        .arg = session,
    };
    int exit_code = EXIT_SUCCESS;
    size_t played = 0;
    for (size_t i = 0; i < config->row_count; i++) {
        struct play_load load = row_load(config->rows[i], &config->overrides);
        struct play_result *result = &results[*ret_count];
        progress_start(&session->progress, stderr, i + 1, config->row_count, config->rows[i],
                       &load);
        int rc = run_row(&runner, session, config->rows[i], &load, result);
        if (rc == -ECANCELED)
            return EXIT_INTERRUPTED;
        bool skipped = rc == 0 && result->skipped[0] != '\0';
        if (rc != 0 || !went_well(result) || (skipped && config->wanted[i]))
            exit_code = EXIT_CANNOT;
        if (rc == 0)
            (*ret_count)++;
        played += rc == 0 && !skipped;
    }
    return played > 0 ? exit_code : EXIT_CANNOT;
}

int run_playgrounds(const struct run_config *config) {
    struct play_session session = {
        .outputs = { { .path = config->json_path, .format = REPORT_JSON },
                     { .path = config->html_path, .format = REPORT_PAGE } },
    };
    if (open_outputs(session.outputs, ARRAY_LEN(session.outputs)) != 0) {
        close_outputs(session.outputs, ARRAY_LEN(session.outputs));
        return EXIT_CANNOT;
    }
    struct play_result *results = mem_calloc(config->row_count, sizeof(*results));
    int cancel_fd = run_catch_signals();
    if (results == NULL || cancel_fd < 0) {
        fprintf(stderr, "srv play: cannot start: %s\n", strerrordesc_np(errno));
        close_outputs(session.outputs, ARRAY_LEN(session.outputs));
        mem_free(results);
        return EXIT_CANNOT;
    }

    size_t count = 0;
    int exit_code = run_rows(config, &session, cancel_fd, results, &count);
    if (!session.reported)
        exit_code = report(results, count, session.outputs, ARRAY_LEN(session.outputs), exit_code);
    else if (exit_code == EXIT_SUCCESS)
        exit_code = session.exit_code;
    close(cancel_fd);
    for (size_t i = 0; i < count; i++)
        result_free(&results[i]);
    mem_free(results);
    return exit_code;
}
