/* SPDX-License-Identifier: MIT */
/* The programs that need no files: srv, and any server of HTTP. */
#include "playground/program.h"
#include "base/path.h"
#include "playground/answer.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct program *program_of(const struct play_process *process) {
    return process->program != NULL ? process->program : &program_srv;
}

int program_find(const char *name, const char *package, char *path, size_t size,
                 struct error *err) {
    /* Debian's own first: a version manager's may lack the packages. Servers live in sbin, which is
     * not in everybody's PATH. */
    if (path_search("/usr/bin:/usr/sbin", name, path, size) ||
        path_search(getenv("PATH"), name, path, size))
        return 0;
    return error_set(err, -ENOPKG, "%s is not installed (Debian package %s)", name, package);
}

int program_free_port(void) {
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = 0;
    if (bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        rc = -errno;
    close(fd);
    return rc != 0 ? rc : ntohs(address.sin_port);
}

int program_ready_http(const struct program_start *start, int cancel_fd, nsec_t deadline,
                       struct error *err) {
    if (strncmp(start->url, "http://", strlen("http://")) != 0)
        return 0;
    int status = start->process->status != 0 ? start->process->status : 200;
    int rc = answer_expect(start->url, status, cancel_fd, deadline, err);
    return rc == -ECONNREFUSED ? -EAGAIN : rc;
}

/* {bind}, and the URL when the port is known. */
static void take_port(struct program_start *start, unsigned port) {
    snprintf(start->bind, sizeof(start->bind), "127.0.0.1:%u", port);
    start->values[0] = (struct argv_value){ "bind", start->bind };
    if (port != 0)
        snprintf(start->url, sizeof(start->url), "http://%s/", start->bind);
}

static int words(struct program_start *start, struct error *err) {
    argv_init(&start->argv);
    return argv_of_process(&start->argv, start->process, start->values, start->value_count, err);
}

/* {control}, where srv tells of itself: the port after its own, or any. */
static void add_control(struct program_start *start, unsigned port) {
    snprintf(start->control, sizeof(start->control), "127.0.0.1:%u", port);
    start->values[start->value_count++] = (struct argv_value){ "control", start->control };
}

static int explain(struct program_start *start, FILE *out, struct error *err) {
    char text[ARGV_TEXT_BYTES];
    take_port(start, start->port_by_hand);
    add_control(start, start->port_by_hand + 1u);
    int rc = words(start, err);
    if (rc == 0)
        fprintf(out, "  %s\n", argv_format(&start->argv, text, sizeof(text)));
    return rc;
}

static int prepare_srv_at(struct program_start *start, unsigned port, struct error *err) {
    take_port(start, port);
    add_control(start, 0);
    snprintf(start->path, sizeof(start->path), "%s", start->srv);
    return words(start, err);
}

static int prepare_srv(struct program_start *start, struct error *err) {
    return prepare_srv_at(start, 0, err);
}

const struct program program_srv = {
    .name = "srv",
    .is_srv = true,
    .prepare = prepare_srv,
    .ready = program_ready_http,
    .explain = explain,
};

/* In `*ret`, a port that nobody has now. 0 or -errno with a line. */
static int find_port(unsigned *ret, struct error *err) {
    int port = program_free_port();
    if (port < 0)
        return error_set(err, port, "no free port: %s", strerror(-port));
    *ret = (unsigned)port;
    return 0;
}

static int prepare_srv_at_port(struct program_start *start, struct error *err) {
    unsigned port = 0;
    int rc = find_port(&port, err);
    return rc != 0 ? rc : prepare_srv_at(start, port, err);
}

const struct program program_srv_at_port = {
    .name = "srv",
    .is_srv = true,
    .prepare = prepare_srv_at_port,
    .ready = program_ready_http,
    .explain = explain,
};

static int prepare_http(struct program_start *start, struct error *err) {
    const struct play_process *process = start->process;
    int rc =
        program_find(process->args[0], process->package, start->path, sizeof(start->path), err);
    if (rc != 0)
        return rc;
    unsigned port = 0;
    rc = find_port(&port, err);
    if (rc != 0)
        return rc;
    take_port(start, port);
    return words(start, err);
}

const struct program program_http = {
    .name = "http",
    .prepare = prepare_http,
    .ready = program_ready_http,
    .explain = explain,
};
