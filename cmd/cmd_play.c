/* SPDX-License-Identifier: MIT */
/* srv play: picks playgrounds by name, and lists, explains or runs them. */
#include "base/alloc.h"
#include "base/attr.h"
#include "base/units.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "playground/attach.h"
#include "playground/catalogue.h"
#include "playground/explain.h"
#include "playground/program.h"
#include "playground/run.h"
#include "server/upstream/db_conn.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DELAY_MAX  (30 * NSEC_PER_SEC)   /* well below the time-outs of serve and bench */
#define DELAY_TOUR (200 * NSEC_PER_MSEC) /* a row takes a couple of seconds */

#define PID_MAX      4194304 /* numbers are smaller; proc(5), /proc/sys/kernel/pid_max */
#define INTERVAL_MAX (3600 * NSEC_PER_SEC)

struct play_config {
    bool list, with_peers, keep, keep_alive;
    const char *explain;
    int64_t requests, concurrency; /* 0: as the playground says */
    bool has_delay;
    nsec_t delay;
    const char *json, *html, *db;
    int64_t attach;            /* 0: no process */
    nsec_t interval, duration; /* 0: not given */
    const char *control;
};

static int parse_delay(void *config, const char *value, struct error *err) {
    struct play_config *play = config;
    play->has_delay =
        units_parse_duration(slice_str(value), &play->delay) == 0 && play->delay <= DELAY_MAX;
    return play->has_delay ? 0 : error_set(err, -EINVAL, "a duration from 0 to 30s: 0.5, 200ms");
}

#define AT(member) offsetof(struct play_config, member)

static const struct option_row rows[] = {
    { .name = "list",
      .topic = "Catalogue",
      .help = "List the playgrounds (or those that are named) and leave.",
      .type = OPTION_FLAG,
      .offset = AT(list) },
    { .name = "explain",
      .topic = "Catalogue",
      .meta = "NAME",
      .help = "Say what NAME shows and print the commands that do the same by hand.",
      .type = OPTION_STRING,
      .offset = AT(explain) },
    { .name = "keep",
      .topic = "Load",
      .help = "Leave the playground running after its load and print the addresses; Ctrl-C ends "
              "it. For one playground.",
      .type = OPTION_FLAG,
      .offset = AT(keep) },
    { .name = "requests",
      .letter = 'n',
      .topic = "Load",
      .meta = "N",
      .help = "Send N requests in each playground, whatever it says itself.",
      .type = OPTION_INT,
      .offset = AT(requests),
      .min = 1,
      .max = 10000000 },
    { .name = "concurrency",
      .letter = 'c',
      .topic = "Load",
      .meta = "N",
      .help = "Have N requests in flight, whatever the playground says.",
      .type = OPTION_INT,
      .offset = AT(concurrency),
      .min = 1,
      .max = 100000 },
    { .name = "delay",
      .topic = "Load",
      .meta = "TIME",
      .help = "Let the slow API sleep TIME for every request, whatever the playground says.",
      .type = OPTION_CUSTOM,
      .parse = parse_delay },
    { .name = "keep-alive",
      .letter = 'k',
      .topic = "Load",
      .help = "Let clients keep their connections, where they make one for each request otherwise.",
      .type = OPTION_FLAG,
      .offset = AT(keep_alive) },
    { .name = "with-peers",
      .topic = "Catalogue",
      .help = "Run the original servers (Flask, gevent, Gunicorn, uWSGI, psycopg2), too, each "
              "after the row that is named after it.",
      .type = OPTION_FLAG,
      .offset = AT(with_peers) },
    { .name = "db",
      .topic = "Database",
      .meta = "CONNINFO",
      .help = "Use this PostgreSQL in the database playgrounds, as libpq takes it, instead of a "
              "private one; PGHOST, PGHOSTADDR and PGSERVICE do the same.",
      .type = OPTION_STRING,
      .offset = AT(db) },
    { .name = "attach",
      .topic = "Threads",
      .meta = "PID",
      .help = "Show what the threads of a running process, and of those below it, wait for; play "
              "nothing. It is not stopped or changed.",
      .type = OPTION_INT,
      .offset = AT(attach),
      .min = 1,
      .max = PID_MAX },
    { .name = "interval",
      .topic = "Threads",
      .meta = "TIME",
      .help = "With --attach, look each TIME, or less often when looking takes more than 1 % of a "
              "core; 1s unless given.",
      .type = OPTION_DURATION,
      .offset = AT(interval),
      .min = NSEC_PER_MSEC,
      .max = INTERVAL_MAX },
    { .name = "duration",
      .topic = "Threads",
      .meta = "TIME",
      .help = "With --attach, end after TIME; otherwise when the process ends, or on Ctrl-C.",
      .type = OPTION_DURATION,
      .offset = AT(duration),
      .min = NSEC_PER_MSEC,
      .max = INT64_MAX },
    { .name = "control",
      .topic = "Threads",
      .meta = "ADDR",
      .help = "With --attach, ask srv serve at its --control ADDR what its requests wait for, too: "
              "one thread may have many.",
      .type = OPTION_STRING,
      .offset = AT(control) },
    { .name = "json",
      .topic = "Results",
      .meta = "FILE",
      .help = "Write the results to FILE, too; - is stdout, and moves the table to stderr. With "
              "--attach, a line for each look.",
      .type = OPTION_STRING,
      .offset = AT(json) },
    { .name = "html",
      .topic = "Results",
      .meta = "FILE",
      .help = "Write a page with charts to FILE, which needs no other file; - is stdout, as for "
              "--json.",
      .type = OPTION_STRING,
      .offset = AT(html) },
};

static const struct option_spec spec = {
    .usage = "srv play [options] [NAME... | all | --attach PID]",
    .summary = "Start the processes of a playground, load them, and show what happened. Without "
               "names: a tour of all of them, with short delays.",
    .epilog = "Progress goes to stderr, the table to stdout. The exit code is 1 when a\n"
              "playground could not run, had failed requests, or was named and is skipped for\n"
              "what is not installed; 130 when it was interrupted. Nothing is left running.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .positional = "NAME",
    .positional_max = OPTION_STRINGS_MAX,
};

/* The rows to play, each once. */
struct selection {
    const struct playground **rows; /* with room for all there are */
    bool *wanted;                   /* one per row: a word named it, not `all` alone */
    size_t count;
    bool with_peers; /* each is followed by its peers, the originals that do the same job */
};

static void add(struct selection *s, const struct playground *row, bool wanted) {
    for (size_t i = 0; i < s->count; i++)
        if (s->rows[i] == row) {
            s->wanted[i] = s->wanted[i] || wanted;
            return;
        }
    s->wanted[s->count] = wanted;
    s->rows[s->count++] = row;
    for (size_t p = 0; s->with_peers && p < peer_count; p++)
        if (strcmp(peers[p].peer_of, row->name) == 0)
            add(s, &peers[p], false);
}

/* Adds the rows that `word` means. 0, or EXIT_USAGE after telling that it means none. */
static int select_rows(struct selection *s, const char *word) {
    const struct playground *found[CATALOGUE_FOUND_MAX];
    const char *closest;
    size_t count = catalogue_find(word, found, &closest);
    for (size_t i = 0; i < count; i++)
        add(s, found[i], strcmp(word, PLAY_ALL) != 0);
    if (count > 0)
        return 0;
    fprintf(stderr, "srv play: unknown playground '%s'; %s%s%ssrv play --list shows all\n", word,
            closest != NULL ? "did you mean '" : "", closest != NULL ? closest : "",
            closest != NULL ? "'? " : "");
    return EXIT_USAGE;
}

/* Tells a user who copies a command where the program is: a fresh build is in no PATH yet. */
static void say_where_srv_is(void) {
    char path[256], self[512];
    struct error ignored;
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0 || program_find("srv", "", path, sizeof(path), &ignored) == 0)
        return;
    self[len] = '\0';
    printf("\nsrv is %s here, which is not in PATH.\n", self);
}

static int explain(const struct play_overrides *overrides, const struct playground *const *chosen,
                   size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct play_load load = row_load(chosen[i], overrides);
        struct error err;
        if (i > 0)
            putchar('\n');
        if (explain_row(chosen[i], &load, stdout, &err) != 0)
            return cmd_fail("play", EXIT_CANNOT, &err);
    }
    say_where_srv_is();
    return EXIT_SUCCESS;
}

static int run_chosen(const struct play_config *config, const struct option_strings *words,
                      const struct playground **chosen, bool *wanted) {
    struct selection selection = {
        .rows = chosen,
        .wanted = wanted,
        .with_peers = config->with_peers,
    };
    if (config->explain != NULL && select_rows(&selection, config->explain) != 0)
        return EXIT_USAGE;
    for (size_t i = 0; i < words->count; i++)
        if (select_rows(&selection, words->items[i]) != 0)
            return EXIT_USAGE;
    size_t count = selection.count;

    struct play_overrides overrides = {
        .requests = (uint32_t)config->requests,
        .concurrency = (uint32_t)config->concurrency,
        .has_delay = config->has_delay,
        .delay = config->delay,
        .kept = config->keep_alive,
    };
    if (config->list) {
        explain_list(chosen, count, stdout);
        return EXIT_SUCCESS;
    }
    if (config->keep && count != 1) {
        fprintf(stderr, "srv play: --keep is for one playground, not for %zu\n", count);
        return EXIT_USAGE;
    }
    if (config->explain != NULL)
        return explain(&overrides, chosen, count);
    cmd_forget_defaults(cmd_slowapi.options);
    cmd_forget_defaults(cmd_serve.options);
    cmd_forget_defaults(cmd_bench.options);
    struct run_config chosen_run = {
        .rows = chosen,
        .row_count = count,
        .wanted = wanted,
        .overrides = overrides,
        .program = "/proc/self/exe",
        .json_path = config->json,
        .html_path = config->html,
        .keep = config->keep,
    };
    return run_playgrounds(&chosen_run);
}

static bool is_stdout(const char *path) {
    return path != NULL && strcmp(path, "-") == 0;
}

/* An option that says how to look at a process says nothing of a playground, and the other way
 * round. 0 or -EINVAL with a line. */
static int check_attach(const struct play_config *c, const struct option_strings *words,
                        struct error *err) {
    const struct {
        const char *name;
        bool given;
    } others[] = {
        { "--list", c->list },
        { "--explain", c->explain != NULL },
        { "--keep", c->keep },
        { "--requests", c->requests != 0 },
        { "--concurrency", c->concurrency != 0 },
        { "--delay", c->has_delay },
        { "--keep-alive", c->keep_alive },
        { "--with-peers", c->with_peers },
        { "--db", c->db != NULL },
        { "--html", c->html != NULL },
        { "the name of a playground", words->count > 0 },
    };
    if (c->attach == 0 && (c->interval != 0 || c->duration != 0 || c->control != NULL))
        return error_set(err, -EINVAL, "%s is for --attach alone",
                         c->interval != 0   ? "--interval"
                         : c->duration != 0 ? "--duration"
                                            : "--control");
    for (size_t i = 0; c->attach != 0 && i < ARRAY_LEN(others); i++)
        if (others[i].given)
            return error_set(err, -EINVAL, "--attach plays nothing, and does not go with %s",
                             others[i].name);
    return 0;
}

/* Reads the address to ask: numeric or a unix socket, as --control of srv serve takes it. */
static int parse_control(const char *text, struct address *ret, struct error *err) {
    struct endpoint endpoint;
    struct error why = { "the path is too long" };
    int rc = endpoint_parse(slice_str(text), 0, &endpoint, &why);
    if (rc == 0)
        rc = address_of_endpoint(&endpoint, false, ret);
    if (rc == -ENOENT)
        return error_set(err, rc, "--control: '%s' is a name, and not a numeric address", text);
    return rc == 0 ? 0 : error_set(err, rc, "--control: %s", why.text);
}

static int run_attach(const struct play_config *c) {
    struct attach_config config = {
        .pid = (pid_t)c->attach,
        .interval = c->interval != 0 ? c->interval : ATTACH_INTERVAL_DEFAULT,
        .duration = c->duration,
        .control = c->control,
        .json_path = c->json,
    };
    struct error err;
    if (c->control != NULL && parse_control(c->control, &config.control_address, &err) != 0)
        return cmd_fail("play", EXIT_USAGE, &err);
    return attach_run(&config);
}

static int run(int argc, char **argv) {
    struct play_config config = { 0 };
    struct option_strings words = { .count = 0 };
    int exit_code;
    if (cmd_parse(&spec, argc, argv, &config, &words, &exit_code) != 0)
        return exit_code;
    struct error wrong;
    if (check_attach(&config, &words, &wrong) != 0)
        return cmd_fail("play", EXIT_USAGE, &wrong);
    if (config.attach != 0)
        return run_attach(&config);
    struct error err, why = { "" };
    if (config.db != NULL && db_conninfo_export(config.db, &why) != 0) {
        error_set(&err, -EINVAL, "--db: %s", why.text);
        return cmd_fail("play", EXIT_USAGE, &err);
    }
    if (is_stdout(config.json) && is_stdout(config.html)) {
        error_set(&err, -EINVAL, "--json and --html cannot both be stdout");
        return cmd_fail("play", EXIT_USAGE, &err);
    }
    if (words.count == 0 && config.explain == NULL) {
        words = (struct option_strings){ .items = { PLAY_ALL }, .count = 1 };
        if (!config.has_delay)
            config.delay = DELAY_TOUR;
        config.has_delay = true;
    }
    const struct playground **chosen =
        mem_calloc(catalogue_count + peer_count, sizeof(struct playground *));
    bool *wanted = mem_calloc(catalogue_count + peer_count, sizeof(*wanted));
    if (chosen != NULL && wanted != NULL)
        exit_code = run_chosen(&config, &words, chosen, wanted);
    else
        exit_code = EXIT_CANNOT;
    mem_free(wanted);
    mem_free(chosen);
    return exit_code;
}

const struct command cmd_play = {
    .name = "play",
    .summary = "run the playgrounds and show what happened",
    .options = &spec,
    .run = run,
};
