/* SPDX-License-Identifier: MIT */
/* srv slowapi: an upstream that is slow on purpose. */
#include "cmd/command.h"
#include "cmd/common.h"
#include "net/binds.h"
#include "net/prefork.h"
#include "slowapi/slowapi.h"
#include <errno.h>

struct slowapi_options {
    struct slowapi_config config;
    char ports[BINDS_MAX][sizeof("127.0.0.1:65535")]; /* binds that were given as a port only */
};

static int parse_bind(void *config, const char *value, struct error *err);

#define MEMBER(name) offsetof(struct slowapi_options, config.name)
#define HOUR         (INT64_C(3600) * NSEC_PER_SEC)
#define DAY          (24 * HOUR)

static const struct option_row rows[] = {
    {
        .name = "bind",
        .letter = 'b',
        .env = "PORT",
        .topic = "Listening",
        .meta = "ADDR",
        .help = "Listen on HOST:PORT, :PORT (all interfaces), [IPv6]:PORT, unix:/path, or PORT of "
                "127.0.0.1; port 0 takes a free one; may be given several times.",
        .type = OPTION_CUSTOM,
        .parse = parse_bind,
        .fallback = "127.0.0.1:4000",
    },
    {
        .name = "backlog",
        .topic = "Listening",
        .meta = "N",
        .help = "Connections that may wait to be accepted.",
        .type = OPTION_INT,
        .offset = MEMBER(backlog),
        .min = 1,
        .max = 65535,
        .fallback = "2048",
    },
    {
        .name = "delay",
        .topic = "Answering",
        .meta = "SECONDS",
        .help = "Delay of requests that do not say ?delay=SECONDS.",
        .type = OPTION_DURATION,
        .offset = MEMBER(delay),
        .max = 365 * DAY,
        .fallback = "1",
    },
    {
        .name = "workers",
        .letter = 'w',
        .env = "WORKERS",
        .topic = "Processes",
        .meta = "N",
        .help = "Worker processes; with 1 there is no master.",
        .type = OPTION_INT,
        .offset = MEMBER(workers),
        .min = 1,
        .max = PREFORK_WORKERS_MAX,
        .fallback = "1",
    },
    {
        .name = "graceful-timeout",
        .topic = "Processes",
        .meta = "SECONDS",
        .help = "After SIGTERM, how long sleeping requests may take to be answered.",
        .type = OPTION_DURATION,
        .offset = MEMBER(graceful_timeout),
        .max = DAY,
        .fallback = "30",
    },
    {
        .name = "keep-alive",
        .topic = "Connections",
        .meta = "SECONDS",
        .help = "How long a connection may be idle; 0 closes it after each answer.",
        .type = OPTION_DURATION,
        .offset = MEMBER(keep_alive),
        .max = DAY,
        .fallback = "75",
    },
    {
        .name = "header-timeout",
        .topic = "Connections",
        .meta = "SECONDS",
        .help = "How long a request head may take from its first byte to its last; then 408.",
        .type = OPTION_DURATION,
        .offset = MEMBER(header_timeout),
        .min = NSEC_PER_MSEC,
        .max = DAY,
        .fallback = "10",
    },
    {
        .name = "log-level",
        .topic = "Talking",
        .meta = "LEVEL",
        .help = "How much is told on stderr.",
        .type = OPTION_CHOICE,
        .offset = MEMBER(log_level),
        .fallback = "info",
        .choices = cmd_log_levels,
    },
};

static const struct option_spec spec = {
    .usage = "srv slowapi [options]",
    .summary = "An upstream that is slow on purpose: GET /?delay=SECONDS answers 200 "
               "\"slow api response\" that much later.",
    .epilog = "SIGTERM answers what sleeps and leaves; a second one, SIGINT or SIGQUIT leave at "
              "once.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
};

/* PORT=4000 is how platforms name a port: loopback then, because only a written address opens the
 * service to other machines. */
static int parse_bind(void *config, const char *value, struct error *err) {
    struct slowapi_options *o = config;
    struct option_strings *binds = &o->config.binds;
    struct endpoint endpoint;
    uint64_t port;

    if (binds->count == BINDS_MAX)
        return error_set(err, -EINVAL, "%d addresses at most", BINDS_MAX);

    if (slice_parse_u64(slice_str(value), UINT16_MAX, &port) == 0) {
        char *text = o->ports[binds->count];
        snprintf(text, sizeof(o->ports[0]), "127.0.0.1:%u", (unsigned)port);
        value = text;
    } else if (endpoint_parse(slice_str(value), 0, &endpoint, NULL) < 0) {
        return error_set(err, -EINVAL,
                         "HOST:PORT, :PORT, [IPv6]:PORT, unix:/path, or a port of 127.0.0.1");
    }
    binds->items[binds->count++] = value;
    return 0;
}

static int run(int argc, char **argv) {
    struct slowapi_options options = { .config = { .workers = 0 } };
    struct error err = { .text = "" };
    int code;

    if (cmd_parse(&spec, argc, argv, &options, NULL, &code) < 0)
        return code;

    log_set_level(options.config.log_level);
    code = slowapi_run(&options.config, &err);
    return code < 0 ? cmd_fail("slowapi", EXIT_CANNOT, &err) : code;
}

const struct command cmd_slowapi = {
    .name = "slowapi",
    .summary = "an upstream that is slow on purpose",
    .options = &spec,
    .run = run,
};
