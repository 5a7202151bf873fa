/* SPDX-License-Identifier: MIT */
/* A child process of the runner that cannot outlive it.
 *
 * It leads a process group of its own (Ctrl-C reaches the runner alone, and workers can be stopped
 * with their master), gets SIGKILL (its stop signal, if it tidies) when the runner dies, and its
 * stderr is read here: the bound address and the last line are kept.
 *
 *   process_spawn -> process_read whenever log_fd is readable -> process_ended?
 *                 -> process_stop_all, which reaps
 */
#ifndef PLAYGROUND_PROCESS_H
#define PLAYGROUND_PROCESS_H

#include "base/clock.h"
#include "base/error.h"
#include "net/address.h"
#include <stdbool.h>
#include <sys/types.h>

#define PROCESS_LINE_BYTES 256
#define PROCESS_URL_BYTES  128
#define PROCESS_PASSED_FD  3 /* the child's number of the descriptor that is passed on */

struct process_spec {
    const char *name;  /* for messages; outlives the process */
    const char *path;  /* the program's file */
    char *const *argv; /* ended by NULL */
    int pass_fd;       /* a descriptor that the child gets as PROCESS_PASSED_FD, or -1 */
    int stop_signal;   /* asks it to end; 0: SIGTERM */
    bool tidies;       /* see struct program */
    uid_t uid;         /* to run as, when not 0; needs root */
    gid_t gid;
};

struct play_child {
    const char *name;
    /* 0 before process_spawn and after process_stop_all; its group has the same number. */
    pid_t pid;
    int stop_signal;
    bool tidies;
    int log_fd; /* read end of its stderr, -1 once that is closed */
    /* A zombie until process_stop_all: its number cannot be taken by another. */
    bool ended;
    int exit_code;               /* once ended: the code, or 128 + the signal */
    char url[PROCESS_URL_BYTES]; /* from the line "...: listening on URL", empty until that came */
    char control_url[PROCESS_URL_BYTES]; /* from a line "...: control on URL" before it */
    /* The newest complete line of stderr that was not one of those; after one that tells of an
     * error, the newest such. */
    char last_line[PROCESS_LINE_BYTES];
    char line[PROCESS_LINE_BYTES]; /* an incomplete one */
    size_t line_len;
};

/* Starts it with stdin and stdout on /dev/null and no signal blocked or ignored. From then on, the
 * orphans of a child that dies (workers of a master) become the caller's, to be stopped and reaped.
 * 0 or -errno with a line; a program that cannot be executed shows as an exit code of 127 and a
 * last line. */
NODISCARD int process_spawn(struct play_child *p, const struct process_spec *spec,
                            struct error *err);

/* Takes in what stderr has; never blocks. */
void process_read(struct play_child *p);

/* Whether the process itself (not its workers) has ended; never blocks. */
bool process_ended(struct play_child *p);

/* Says so of one that has ended: its name, exit code and last line. Returns -ECHILD. */
int process_report_end(const struct play_child *p, struct error *err);

/* Sends each its stop signal, waits until `deadline` for a graceful end (for those that tidy some
 * seconds more), then sends SIGKILL to their groups; reaps every one. */
void process_stop_all(struct play_child *list, size_t count, nsec_t deadline);

/* The address of http://HOST:PORT with a numeric host, as a process says it. 0 or -errno. */
NODISCARD int process_address(const char *url, struct address *ret);

/* The port at the end of a URL's authority; 0 when there is none. */
uint16_t process_port(const char *url);

#endif
