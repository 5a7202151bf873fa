/* SPDX-License-Identifier: MIT */
/* Starts a foreign server in the folder of its app, after looking whether it is installed. */
#include "base/slice.h"
#include "playground/program.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIR_BY_HAND    "scripts/peers"
#define PEER_DIR_BYTES 512 /* more would not fit a command */

/* Every package of Debian brings this file (Debian policy, section 12.5), in slim images too. */
static bool is_installed(struct slice package) {
    char path[256];
    snprintf(path, sizeof(path), "/usr/share/doc/%.*s/copyright", (int)package.len, package.ptr);
    return access(path, R_OK) == 0;
}

static int check_packages(const char *packages, struct error *err) {
    char missing[256] = "";
    struct slice rest = slice_str(packages);
    while (rest.len > 0) {
        struct slice package = slice_cut(&rest, ' ');
        size_t used = strlen(missing);
        if (!is_installed(package))
            snprintf(missing + used, sizeof(missing) - used, " %.*s", (int)package.len,
                     package.ptr);
    }
    return missing[0] == '\0' ? 0 : error_set(err, -ENOPKG, "not installed:%s", missing);
}

/* The folder of the apps: where the program was built, three folders above it, or here. */
static int find_dir(char *dir, size_t size, struct error *err) {
    char self[PEER_DIR_BYTES], path[PEER_DIR_BYTES];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[len > 0 ? len : 0] = '\0';
    for (int up = 0; up < 4; up++) {
        char *slash = strrchr(self, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    snprintf(path, sizeof(path), "%.*s/" DIR_BY_HAND "/app.py", PEER_DIR_BYTES - 32, self);
    if (access(path, R_OK) != 0)
        snprintf(path, sizeof(path), DIR_BY_HAND "/app.py");
    char *slash = strrchr(path, '/');
    *slash = '\0';
    if (access(path, R_OK) != 0 || strlen(path) >= size)
        return error_set(err, -ENOPKG,
                         "no folder " DIR_BY_HAND " here: start it where srv's source is");
    memcpy(dir, path, strlen(path) + 1);
    return 0;
}

static bool is_theirs(const char *variable) {
    static const char *const begins[] = { "FLASK_", "GUNICORN_", "PYTHON", "UWSGI_",
                                          "WEB_CONCURRENCY=" };
    for (size_t i = 0; i < ARRAY_LEN(begins); i++)
        if (strncmp(variable, begins[i], strlen(begins[i])) == 0)
            return true;
    return false;
}

/* Takes the servers' own settings (FLASK_APP, WEB_CONCURRENCY, PYTHONPATH, ...) out of the
 * environment, which the process inherits. */
static void forget_settings(void) {
    for (size_t i = 0; environ[i] != NULL;) {
        const char *seen = environ[i];
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)strcspn(seen, "="), seen);
        if (is_theirs(seen))
            unsetenv(name); /* the others move up */
        i += environ[i] == seen;
    }
}

static bool speaks_uwsgi(const struct play_process *process) {
    for (size_t i = 0; process->args[i] != NULL; i++)
        if (strcmp(process->args[i], "--uwsgi-socket") == 0)
            return true;
    return false;
}

/* env(1) sets the variables and the folder, which makes it a command that a person can repeat. */
static int fill(struct program_start *start, const char *dir, unsigned port, struct error *err) {
    struct argv words;
    snprintf(start->bind, sizeof(start->bind), "127.0.0.1:%u", port);
    start->values[0] = (struct argv_value){ "bind", start->bind };
    size_t before = start->value_count;
    start->values[before] = (struct argv_value){ "port", strrchr(start->bind, ':') + 1 };
    start->value_count++;
    snprintf(start->url, sizeof(start->url), "%s://%s/",
             speaks_uwsgi(start->process) ? "uwsgi" : "http", start->bind);
    argv_init(&words);
    argv_init(&start->argv);
    int rc = argv_of_process(&words, start->process, start->values, start->value_count, err);
    if (rc != 0)
        return rc;
    rc = argv_add(&start->argv, "env");
    if (rc == 0)
        rc = argv_printf(&start->argv, "--chdir=%s", dir);
    if (rc == 0)
        rc =
            argv_printf(&start->argv, "PORT_API=%u", (unsigned)process_port(start->values[1].text));
    if (rc == 0)
        rc = argv_printf(&start->argv, "PORT_APP=%u", port);
    if (rc == 0)
        rc = argv_add(&start->argv, "PYTHONDONTWRITEBYTECODE=1");
    if (rc == 0) /* the proxy of a school or an office must not be asked for the slow API */
        rc = argv_add(&start->argv, "no_proxy=127.0.0.1");
    for (size_t i = 2; rc == 0 && i < before; i++)
        rc = argv_printf(&start->argv, "ADDRESS_OF_%s=%s", start->values[i].name,
                         start->values[i].text);
    for (size_t i = 0; rc == 0 && i < words.count; i++)
        rc = argv_add(&start->argv, words.words[i]);
    return rc == 0 ? 0
                   : error_set(err, rc, "the command of '%s' is too long", start->process->name);
}

static int peer_prepare(struct program_start *start, struct error *err) {
    char dir[PEER_DIR_BYTES];
    int rc = check_packages(start->process->package, err);
    if (rc == 0)
        rc = find_dir(dir, sizeof(dir), err);
    if (rc == 0)
        rc = program_find("env", "coreutils", start->path, sizeof(start->path), err);
    if (rc != 0)
        return rc;
    forget_settings();
    int port = program_free_port(err);
    if (port < 0)
        return port;
    return fill(start, dir, (unsigned)port, err);
}

static int peer_explain(struct program_start *start, FILE *out, struct error *err) {
    char text[ARGV_TEXT_BYTES];
    int rc = fill(start, DIR_BY_HAND, start->port_by_hand, err);
    if (rc == 0)
        fprintf(out, "  %s\n", argv_format(&start->argv, text, sizeof(text)));
    return rc;
}

const struct program program_peer = {
    .name = "peer",
    .prepare = peer_prepare,
    .ready = program_ready_http,
    .explain = peer_explain,
    .in_source = true,
};
