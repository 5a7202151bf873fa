/* SPDX-License-Identifier: MIT */
/* A subcommand: one file each, tied together by the table in main.c. */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

#include "base/option.h"

struct command {
    const char *name;
    const char *summary;
    const struct option_spec *options; /* docs and tests read them, too */
    /* argv[0] is the subcommand's name, argv[-1] the program. Returns the exit code. */
    int (*run)(int argc, char **argv);
};

extern const struct command cmd_slowapi;
extern const struct command cmd_serve;
extern const struct command cmd_bench;
extern const struct command cmd_play;
extern const struct command cmd_lab;

#endif
