/* SPDX-License-Identifier: MIT */
/* srv: dispatches to the subcommand named by the first argument. */
#include "base/attr.h"
#include "base/error.h"
#include "base/stream.h"
#include "cmd/command.h"
#include "proc/title.h"
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static const struct command *const commands[] = {
    &cmd_slowapi, &cmd_serve, &cmd_bench, &cmd_play, &cmd_lab,
};

static void print_usage(FILE *out) {
    fprintf(out, "usage: srv COMMAND [options]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\nsrv COMMAND --help tells more, srv --version which one this is.\n");
}

/* Returns the exit code. */
static int run(int argc, char **argv) {
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        print_usage(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        printf("srv %s\n", SRV_VERSION);
        return 0;
    }
    fprintf(stderr, "srv: unknown command '%s'; expected slowapi, serve, bench, play or lab\n",
            argv[1]);
    return EXIT_USAGE;
}

/* Opens those of the descriptors 0 to 2 that the program was started without: else the next file or
 * socket takes the number, and gets what is meant for stderr. Writing fails as without them. */
static void fill_standard_descriptors(void) {
    int fd;

    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* A child whose parent ignores SIGCHLD leaves no trace of its end, and ignoring is inherited from
 * whoever started the program. */
static void heed_children(void) {
    signal(SIGCHLD, SIG_DFL);
}

/* Runs the subcommand. Output that did not reach its reader is a failure, unless one was told. */
int main(int argc, char **argv) {
    fill_standard_descriptors();
    heed_children();
    int exit_code = run(argc, title_init(argc, argv));
    int rc = exit_code == 0 ? stream_flush(stdout) : 0;
    if (rc == 0)
        return exit_code;
    fprintf(stderr, "srv: cannot write: %s\n", strerrordesc_np(-rc));
    return EXIT_CANNOT;
}
