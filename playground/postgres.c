/* SPDX-License-Identifier: MIT */
/* Finds PostgreSQL's programs, makes a cluster, and starts it. */
#include "base/alloc.h"
#include "playground/program.h"
#include "playground/tempdir.h"
#include "server/upstream/db_conn.h"
#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <unistd.h>

#define INITDB_NSEC     (60 * NSEC_PER_SEC)
#define INITDB_POLL_MS  5
#define BINARIES        "/usr/lib/postgresql/*/bin/initdb" /* Debian's, version by version */
#define PACKAGE         "postgresql"
#define LOCK_FILE_BYTES 1024
#define SHMEM_LINE      7 /* in postmaster.pid, from 1: PostgreSQL's src/include/utils/pidfile.h */

static int postgres_prepare(struct program_start *start, struct error *err);
static int postgres_ready(const struct program_start *start, int cancel_fd, nsec_t deadline,
                          struct error *err);
static void postgres_finish(struct program_start *start);
static int postgres_explain(struct program_start *start, FILE *out, struct error *err);

const struct program program_postgres = {
    .name = "postgres",
    .stop_signal = SIGQUIT, /* immediate: the data is thrown away anyhow */
    .tidies = true,         /* System V memory outlives every process */
    .prepare = postgres_prepare,
    .ready = postgres_ready,
    .finish = postgres_finish,
    .explain = postgres_explain,
};

/* --- where things are -------------------- */

/* Whether libpq's environment names a server. */
static bool has_server(void) {
    static const char *const variables[] = { "PGHOST", "PGHOSTADDR", "PGSERVICE" };

    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const char *value = getenv(variables[i]);

        if (value != NULL && value[0] != '\0')
            return true;
    }
    return false;
}

/* The newest initdb, or -ENOPKG. */
static int find_initdb(char *path, size_t size, struct error *err) {
    const char *newest = NULL;
    glob_t found;
    int rc = 0;

    if (glob(BINARIES, 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc; i++)
            if (newest == NULL || strverscmp(found.gl_pathv[i], newest) > 0)
                newest = found.gl_pathv[i];
    if (newest != NULL)
        snprintf(path, size, "%s", newest);
    else
        rc = program_find("initdb", PACKAGE, path, size, err);
    globfree(&found);
    return rc;
}

/* start->path becomes the server, which lies beside initdb. */
static void name_server(struct program_start *start, const char *initdb) {
    int folder = (int)(strrchr(initdb, '/') - initdb);

    snprintf(start->path, sizeof(start->path), "%.*s/postgres", folder, initdb);
}

/* --- its lock file, postmaster.pid -------------------- */

/* Reads the first bytes of the lock file as a string; false when there is none, as after an orderly
 * end. */
static bool read_lock_file(const char *folder, char *text, size_t size) {
    char path[TEMPDIR_PATH_BYTES + 32];
    size_t len;
    FILE *in;

    snprintf(path, sizeof(path), "%s/data/postmaster.pid", folder);
    in = fopen(path, "re");
    if (in == NULL)
        return false;
    len = fread(text, 1, size - 1, in);
    text[len] = '\0';
    fclose(in);
    return true;
}

/* System V memory outlives every process. A server that was killed, or one of initdb's, has left
 * its own, and a lock file that begins with its number (negative for initdb's) and tells the
 * segment's key and id. shmctl(2) */
static void drop_shared_memory(const char *folder) {
    char text[LOCK_FILE_BYTES];
    const char *line = text;
    struct shmid_ds segment;
    int maker, id;

    if (!read_lock_file(folder, text, sizeof(text)))
        return;
    for (int i = 1; line != NULL && i < SHMEM_LINE; i++) {
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    if (line == NULL || sscanf(line, "%*u %d", &id) != 1 || sscanf(text, "%d", &maker) != 1)
        return;
    if (shmctl(id, IPC_STAT, &segment) == 0 && segment.shm_cpid == abs(maker))
        shmctl(id, IPC_RMID, NULL);
}

/* --- making it -------------------- */

/* Gives the folder to whom the server runs as. */
static int choose_user(struct program_start *start, const struct tempdir *folder,
                       struct error *err) {
    const struct passwd *user;

    if (geteuid() != 0)
        return 0;
    user = getpwnam("postgres");
    if (user == NULL)
        user = getpwnam("nobody");
    if (user == NULL)
        return error_set(err, -ENOENT, "no user `postgres` or `nobody` to run PostgreSQL as");
    start->uid = user->pw_uid;
    start->gid = user->pw_gid;
    if (chown(folder->path, user->pw_uid, user->pw_gid) == 0)
        return 0;
    return error_set(err, -errno, "cannot give %s to %s: %s", folder->path, user->pw_name,
                     strerrordesc_np(errno));
}

static int run_to_end(const struct process_spec *spec, int cancel_fd, struct error *err) {
    nsec_t deadline = deadline_after(clock_now(), INITDB_NSEC);
    struct pollfd cancel = { .fd = cancel_fd, .events = POLLIN };
    struct play_child p;
    int rc = process_spawn(&p, spec, err);

    if (rc < 0)
        return rc;
    while (!process_ended(&p) && clock_now() < deadline && cancel.revents == 0) {
        process_read(&p);
        poll(&cancel, 1, INITDB_POLL_MS);
    }
    if (cancel.revents != 0)
        rc = error_set(err, -ECANCELED, "interrupted");
    else if (!process_ended(&p))
        rc = error_set(err, -ETIMEDOUT, "%s takes too long", spec->name);
    else if (p.exit_code != 0)
        rc = process_report_end(&p, err);
    process_stop_all(&p, 1, clock_now());
    return rc;
}

/* PostgreSQL's programs find each other beside their own path, which is the first word. */
static int make_cluster(const struct program_start *start, const char *initdb,
                        const struct tempdir *folder, struct error *err) {
    char program[sizeof(start->path)], data[TEMPDIR_PATH_BYTES + 8];
    char *words[] = { program,
                      (char[]){ "-D" },
                      data,
                      (char[]){ "-Upostgres" },
                      (char[]){ "-Atrust" },
                      (char[]){ "-EUTF8" },
                      (char[]){ "--locale=C" },
                      (char[]){ "--no-sync" },
                      (char[]){ "--no-clean" }, /* the lock file tells what initdb has left */
                      NULL };
    struct process_spec spec = {
        .name = "initdb",
        .path = initdb,
        .argv = words,
        .pass_fd = folder->keep_fd,
        .stop_signal = SIGTERM, /* initdb ends after its step: a server that is killed */
        .tidies = true,         /* in one leaves memory in /dev/shm, whatever the settings say */
        .uid = start->uid,
        .gid = start->gid,
    };

    snprintf(program, sizeof(program), "%s", initdb);
    snprintf(data, sizeof(data), "%s/data", folder->path);
    return run_to_end(&spec, start->cancel_fd, err);
}

/* Dynamic shared memory as files in the folder: nothing is left in /dev/shm after a crash. */
static int fill_command(struct program_start *start, const struct tempdir *folder, int port) {
    static const char *const settings[] = {
        "-cfsync=off",
        "-csynchronous_commit=off",
        "-cmax_connections=100",
        "-clisten_addresses=127.0.0.1",
        "-cunix_socket_directories=",
        "-cdynamic_shared_memory_type=mmap",
        "-clog_min_messages=fatal",
    };
    int rc;

    argv_init(&start->argv);
    rc = argv_add(&start->argv, start->path);
    if (rc == 0)
        rc = argv_printf(&start->argv, "-D%s/data", folder->path);
    if (rc == 0)
        rc = argv_printf(&start->argv, "-cport=%d", port);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(settings); i++)
        rc = argv_add(&start->argv, settings[i]);
    return rc;
}

static void name_url(struct program_start *start, int port) {
    snprintf(start->url, sizeof(start->url), "postgresql://postgres@127.0.0.1:%d/postgres", port);
}

/* Something to watch in place of the server that is there already; libpq finds that by itself. */
static int prepare_nothing(struct program_start *start, struct error *err) {
    int rc = program_find("sleep", "coreutils", start->path, sizeof(start->path), err);

    if (rc < 0)
        return rc;
    snprintf(start->url, sizeof(start->url), "application_name=srv-play");
    argv_init(&start->argv);
    rc = argv_add(&start->argv, "sleep");
    return rc == 0 ? argv_add(&start->argv, "infinity") : rc;
}

static int postgres_prepare(struct program_start *start, struct error *err) {
    struct tempdir *folder;
    char initdb[sizeof(start->path)];
    int rc, port;

    if (has_server())
        return prepare_nothing(start, err);
    if (db_conninfo_forget() < 0)
        return error_set(err, -ENOMEM, "out of memory");
    rc = find_initdb(initdb, sizeof(initdb), err);
    if (rc < 0)
        return rc;
    name_server(start, initdb);
    folder = start->state = mem_calloc(1, sizeof(*folder));
    if (folder == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    rc = tempdir_open(folder, "srv-play", drop_shared_memory, err);
    start->pass_fd = folder->keep_fd;
    if (rc == 0)
        rc = choose_user(start, folder, err);
    if (rc == 0)
        rc = make_cluster(start, initdb, folder, err);
    if (rc < 0)
        return rc;
    port = program_free_port(err);
    if (port < 0)
        return port;
    name_url(start, port);
    rc = fill_command(start, folder, port);
    return rc < 0 ? error_set(err, rc, "the command of postgres is too long") : 0;
}

/* --- its life -------------------- */

/* The lock file ends with a line about how the server is; until that says `ready`, clients are
 * refused. */
static int postgres_ready(const struct program_start *start, int cancel_fd UNUSED,
                          nsec_t deadline UNUSED, struct error *err UNUSED) {
    const struct tempdir *folder = start->state;
    char text[LOCK_FILE_BYTES];

    if (folder == NULL)
        return 0;
    if (!read_lock_file(folder->path, text, sizeof(text)))
        return -EAGAIN;
    return strstr(text, "\nready") != NULL ? 0 : -EAGAIN;
}

static void postgres_finish(struct program_start *start) {
    if (start->state != NULL)
        tempdir_close(start->state);
    mem_free(start->state);
    start->state = NULL;
}

static int postgres_explain(struct program_start *start, FILE *out, struct error *err UNUSED) {
    unsigned port = start->port_by_hand;

    if (has_server()) {
        fprintf(out, "  # PostgreSQL: yours; export PGHOST and its like where srv serve starts\n");
        snprintf(start->url, sizeof(start->url), "application_name=srv-play");
        return 0;
    }
    fprintf(out, "  # PostgreSQL's programs refuse root; initdb is for the first time alone\n");
    fprintf(out, "  \"$(pg_config --bindir)\"/initdb -D /tmp/srv-db -Upostgres -Atrust\n");
    fprintf(out,
            "  \"$(pg_config --bindir)\"/postgres -D /tmp/srv-db -cport=%u "
            "-cunix_socket_directories=\n",
            port);
    name_url(start, (int)port);
    return 0;
}
