/* SPDX-License-Identifier: MIT */
/* srv lab: one page on which servers, their slow API and their load are moved while they run. */
#include "base/attr.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "lab/lab.h"
#include "net/control.h"
#include <errno.h>
#include <string.h>

#define DEFAULT_ADDRESS "127.0.0.1:8000"
#define WORD_BYTES_MAX  64

/* A token stands in an address as it is. */
static int parse_token(void *config, const char *value, struct error *err) {
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    struct lab_config *lab = config;
    size_t len = strlen(value);
    lab->token = value;
    if (len >= LAB_TOKEN_BYTES_MIN && len <= WORD_BYTES_MAX && strspn(value, allowed) == len)
        return 0;
    return error_set(err, -EINVAL, "%d to %d letters, digits, - and _", LAB_TOKEN_BYTES_MIN,
                     WORD_BYTES_MAX);
}

#define AT(member) offsetof(struct lab_config, member)

static const struct option_row rows[] = {
    { .name = "allow-remote",
      .topic = "Access",
      .help =
          "Listen on an ADDR that other machines reach: who has the token starts processes here.",
      .type = OPTION_FLAG,
      .offset = AT(allow_remote) },
    { .name = "token",
      .env = "SRV_LAB_TOKEN",
      .topic = "Access",
      .meta = "TEXT",
      .help =
          "The token of the page's address, at least 16 letters and digits (default: a random one "
          "for each run).",
      .type = OPTION_CUSTOM,
      .parse = parse_token },
    { .name = "idle",
      .topic = "Lanes",
      .meta = "TIME",
      .help = "Stop lanes when no page and no program has looked for so long.",
      .type = OPTION_DURATION,
      .offset = AT(idle),
      .min = NSEC_PER_SEC,
      .max = 24 * 3600 * NSEC_PER_SEC,
      .fallback = "60s" },
};

static const struct option_spec spec = {
    .usage = "srv lab [options] [ADDR]",
    .summary =
        "Serve a page on which up to three servers run side by side, each with a slow API and a "
        "load, and are changed while they run. ADDR is " DEFAULT_ADDRESS " unless given.",
    .epilog = "The address with its token goes to stderr; open that. Nothing is left running when "
              "the lab\n"
              "ends, however it ends.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .positional = "ADDR",
    .positional_max = 1,
};

static int run(int argc, char **argv) {
    struct lab_config config = { 0 };
    struct option_strings words = { .count = 0 };
    struct error err = { "" }, why = { "" };
    int exit_code;
    if (cmd_parse(&spec, argc, argv, &config, &words, &exit_code) != 0)
        return exit_code;
    config.bind = words.count > 0 ? words.items[0] : DEFAULT_ADDRESS;
    config.program = "/proc/self/exe";
    if (strncmp(config.bind, "unix:", strlen("unix:")) == 0 ||
        control_check(config.bind, &why) != 0) {
        error_set(&err, -EINVAL,
                  "ADDR '%s' is not allowed; HOST:PORT with a numeric host, :PORT or "
                  "PORT (of 127.0.0.1), or [IPv6]:PORT",
                  config.bind);
        return cmd_fail("lab", EXIT_USAGE, &err);
    }
    cmd_forget_defaults(cmd_slowapi.options);
    cmd_forget_defaults(cmd_serve.options);
    cmd_forget_defaults(cmd_bench.options);
    cmd_forget_defaults(&spec);
    return lab_run(&config);
}

const struct command cmd_lab = {
    .name = "lab",
    .summary = "move servers, their slow API and their load on a page",
    .options = &spec,
    .run = run,
};
