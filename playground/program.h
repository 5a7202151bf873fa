/* SPDX-License-Identifier: MIT */
/* The programs of a playground's processes: srv itself, or another one with hooks of its own.
 *
 *   prepare -> spawn -> ready? until 0 -> the load -> stop_signal, SIGKILL -> finish
 *
 * A program that forks must see to it that nothing outlives its first process: that one gets
 * SIGKILL when the runner dies, the others get nothing.
 */
#ifndef PLAYGROUND_PROGRAM_H
#define PLAYGROUND_PROGRAM_H

#include "playground/argv.h"
#include "playground/process.h"
#include "playground/tempdir.h"
#include <stdio.h>
#include <sys/types.h>

/* One process of a run, or of --explain. The caller fills the first part and zeroes the rest. */
struct program_start {
    const struct play_process *process;
    const char *srv;       /* path of srv */
    int cancel_fd;         /* becomes readable when the run is to end; for `prepare` that waits */
    uint16_t port_by_hand; /* --explain: where to listen; 0: on a free port */
    /* Texts for {NAME}: values[0] is {bind}, which the program fills in; then the addresses of the
     * processes before this one. */
    struct argv_value values[PLAY_PROCESSES_MAX + 3]; /* three of the program's own */
    size_t value_count;

    struct argv argv; /* the words that are executed */
    char path[256];   /* the program's file */
    char bind[64];    /* the text for {bind} */
    char control[64]; /* the text for {control}, in the words of srv */
    /* The text for {NAME} in later processes. Empty after prepare: the process says "listening on
     * URL" on its stderr. */
    char url[PROCESS_URL_BYTES];
    /* Of one that speaks TLS: files of PEM. Its clients trust the certificate. Else empty. */
    char certificate[TEMPDIR_FILE_BYTES], key[TEMPDIR_FILE_BYTES];
    int pass_fd; /* a descriptor that the process gets, or -1 */
    uid_t uid;   /* to run as, when not 0 */
    gid_t gid;
    void *state; /* the program's own, from prepare to finish */
};

struct program {
    const char *name;
    int stop_signal; /* ends it within a second, quietly; 0: SIGTERM */
    bool tidies;     /* Killed, it would leave things outside of its folder: it is sent stop_signal,
                        and given time, where others get SIGKILL. */

    bool in_source; /* explain's commands are for the folder of srv's source */

    /* Fills path, argv, and what else it needs: files, a port. 0; -ENOPKG with a line that names
     * the missing package, which skips the row; -ECANCELED; or another -errno with a line. What it
     * made until then is for `finish`, which is called in every case. */
    int (*prepare)(struct program_start *start, struct error *err);

    /* Whether it serves under start->url. 0; -EAGAIN: not yet, asked again some milliseconds later
     * while the process lives; or another -errno with a line. */
    int (*ready)(const struct program_start *start, int cancel_fd, nsec_t deadline,
                 struct error *err);

    /* Takes away what prepare made; the process is gone. NULL: nothing to do. */
    void (*finish)(struct program_start *start);

    /* Prints the lines, indented by two blanks, that do the same by hand on port_by_hand, and fills
     * url. Makes nothing. 0 or -errno with a line. */
    int (*explain)(struct program_start *start, FILE *out, struct error *err);
};

/* The real nginx, unprivileged, in a temporary folder, as a proxy. args: "nginx", the protocol
 * towards the upstream (`http` or `uwsgi`), and the upstream's URL. */
extern const struct program program_nginx;

/* A private PostgreSQL for one run: made in a temporary folder, on loopback alone, with no
 * durability, and gone with the run; settings of the user for libpq (PGSSLMODE, ...) are not for
 * it, and are taken out of the environment. When PGHOST, PGHOSTADDR or PGSERVICE is set (`srv play
 * --db` sets them), the server that they name is used instead, and nothing is made.
 *
 * args: "postgres" alone. Others reach it under a connection string of libpq. As root it runs as
 * the user `postgres`, or as `nobody`, since PostgreSQL refuses root. */
extern const struct program program_postgres;

/* One of the servers whose job srv does, with the small apps of scripts/peers/: started as its
 * users do, loaded as ours are. args are the words of the server, as in a shell; {port} is its own
 * port. `package` lists, with blanks between, the Debian packages that it needs. It runs in the
 * folder of the apps, with PORT_APP and PORT_API in its environment, and without the servers' own
 * settings (FLASK_APP, WEB_CONCURRENCY, PYTHONPATH, ...). Its URL is http://, or uwsgi:// when args
 * have --uwsgi-socket. */
extern const struct program program_peer;

/* The program of a process; srv when it names none. */
const struct program *program_of(const struct play_process *process);

/* Finds `name` in PATH and the system's own folders. 0, or -ENOPKG with a line that asks for
 * `package`. */
NODISCARD int program_find(const char *name, const char *package, char *path, size_t size,
                           struct error *err);

/* Makes a folder for what the process needs, as `state`. For one that speaks TLS a certificate of
 * 127.0.0.1 is in it, and {certificate} and {key} are among the values. 0 or -errno with a line.
 * program_close_folder in any case. */
NODISCARD int program_open_folder(struct program_start *start, struct error *err);
void program_close_folder(struct program_start *start);

/* Prints how a person makes the certificate, when the process speaks TLS, and fills in where. */
void program_explain_certificate(struct program_start *start, FILE *out);

/* "https" or "http", as the process speaks. */
const char *program_scheme(const struct program_start *start);

/* A TCP port of 127.0.0.1 that was free a moment ago, or -errno with a line. */
NODISCARD int program_free_port(struct error *err);

/* `ready` of servers that speak HTTP, and -EAGAIN while they refuse connections. Addresses that are
 * neither http:// nor https:// are taken as ready. */
NODISCARD int program_ready_http(const struct program_start *start, int cancel_fd, nsec_t deadline,
                                 struct error *err);

#endif
