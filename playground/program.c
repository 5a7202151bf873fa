/* SPDX-License-Identifier: MIT */
/* Starts srv, with a certificate where it speaks TLS, and asks any server whether it serves. */
#include "playground/program.h"
#include "base/alloc.h"
#include "base/path.h"
#include "fiber/io.h"
#include "http/conn.h"
#include "net/tls.h"
#include "net/tls_files.h"
#include "net/tls_make.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int program_find(const char *name, const char *package, char *path, size_t size,
                 struct error *err) {
    /* Debian's own first: a version manager's may lack the packages. Servers live in sbin, which is
     * not in everybody's PATH. */
    if (path_search("/usr/bin:/usr/sbin", name, path, size) ||
        path_search(getenv("PATH"), name, path, size))
        return 0;
    return error_set(err, -ENOPKG, "%s is not installed (Debian package %s)", name, package);
}

int program_free_port(struct error *err) {
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        rc = error_set(err, -errno, "no free port: %s", strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    return rc != 0 ? rc : ntohs(address.sin_port);
}

/* --- a folder with a certificate -------------------- */

/* Where --explain's commands make and read them. */
#define CERTIFICATE_BY_HAND "/tmp/srv-cert.pem"
#define KEY_BY_HAND         "/tmp/srv-key.pem"

const char *program_scheme(const struct program_start *start) {
    return start->process->speaks_tls ? "https" : "http";
}

static void add_value(struct program_start *start, const char *name, const char *text) {
    start->values[start->value_count++] = (struct argv_value){ name, text };
}

static void add_certificate(struct program_start *start) {
    add_value(start, "certificate", start->certificate);
    add_value(start, "key", start->key);
}

static int certify(struct program_start *start, struct error *err) {
    static const struct tls_make want = { .common_name = "127.0.0.1", .names = "IP:127.0.0.1" };
    struct tls_made made;
    int rc = tls_make(&want, &made, err);
    if (rc == 0)
        rc = tempdir_write(start->state, "cert.pem", buf_unread(&made.chain), start->certificate,
                           err);
    if (rc == 0)
        rc = tempdir_write(start->state, "key.pem", buf_unread(&made.key), start->key, err);
    tls_made_free(&made);
    add_certificate(start);
    return rc;
}

int program_open_folder(struct program_start *start, struct error *err) {
    start->state = mem_calloc(1, sizeof(struct tempdir));
    if (start->state == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    int rc = tempdir_open(start->state, "srv-play", NULL, err);
    return rc == 0 && start->process->speaks_tls ? certify(start, err) : rc;
}

void program_close_folder(struct program_start *start) {
    if (start->state != NULL)
        tempdir_close(start->state);
    mem_free(start->state);
    start->state = NULL;
}

void program_explain_certificate(struct program_start *start, FILE *out) {
    if (!start->process->speaks_tls)
        return;
    snprintf(start->certificate, sizeof(start->certificate), CERTIFICATE_BY_HAND);
    snprintf(start->key, sizeof(start->key), KEY_BY_HAND);
    add_certificate(start);
    fprintf(out,
            "  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc \\\n"
            "      -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \\\n"
            "      -keyout %s -out %s\n",
            start->key, start->certificate);
}

/* --- whether it serves -------------------- */

#define PROBE_BYTES_MAX     65536 /* for an answer's head */
#define PROBE_READ_BYTES    4096
#define PROBE_PAUSE_NSEC    (50 * NSEC_PER_MSEC)
#define PROBE_PATIENCE_NSEC (5 * NSEC_PER_SEC) /* with a proxy whose server is not up yet */

static const struct http_limits probe_limits = HTTP_LIMITS_RESPONSE;

/* Reads up to the end of the answer's head. 0 or -errno. */
static int read_status(struct io *io, int fd, struct buf *in, int *ret_status, nsec_t deadline) {
    struct http_conn conn;
    struct http_head head;
    struct http_event event;
    bool eof = false;
    http_conn_init(&conn, HTTP_CLIENT, &probe_limits);
    http_conn_sent(&conn, HTTP_METHOD_GET, true);
    for (;;) {
        buf_consume(in, http_conn_feed(&conn, buf_unread(in), eof, &head, &event));
        if (event.kind == HTTP_EV_HEAD) {
            *ret_status = head.status;
            return 0;
        }
        if (event.kind == HTTP_EV_CLOSED)
            return -ECONNRESET;
        if (event.kind == HTTP_EV_BAD)
            return -EPROTO;
        if (event.kind != HTTP_EV_MORE)
            continue;
        int rc = buf_reserve(in, PROBE_READ_BYTES);
        if (rc != 0)
            return rc;
        ssize_t n = io_read(io, fd, buf_tail(in), buf_room(in), deadline);
        if (n < 0)
            return (int)n;
        eof = n == 0;
        buf_added(in, (size_t)n);
    }
}

static int exchange(struct io *io, int fd, const char *host, int *ret_status, nsec_t deadline) {
    char request[256];
    struct buf in;
    int len = snprintf(request, sizeof(request),
                       "GET /?delay=0 HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    int rc = io_write_all(io, fd, request, (size_t)len, deadline);
    buf_init(&in, PROBE_BYTES_MAX);
    if (rc == 0)
        rc = read_status(io, fd, &in, ret_status, deadline);
    buf_free(&in);
    return rc;
}

/* Speaks TLS with the context's trust, or none. 0 or -errno; `*ret` is the caller's. */
static int secure(struct io *io, int fd, struct tls_context *context, struct tls **ret) {
    static const struct tls_peer peer = { .name = "127.0.0.1" };
    int rc = context != NULL ? tls_new(context, &peer, ret) : 0;
    return rc == 0 && *ret != NULL ? io_secure(io, fd, *ret) : rc;
}

static int probe(const char *url, struct tls_context *context, struct io *io, nsec_t deadline,
                 int *ret_status, struct error *err) {
    struct tls *tls = NULL;
    struct address address;
    char host[ADDRESS_TEXT_BYTES];
    int rc = process_address(url, &address);
    if (rc != 0)
        return error_set(err, rc, "'%s' is not an address that can be loaded", url);

    int fd = io_connect(io, &address, deadline);
    if (fd < 0)
        return error_set(err, fd, "cannot connect to %s: %s", url, strerrordesc_np(-fd));
    rc = secure(io, fd, context, &tls);
    if (rc == 0)
        rc = exchange(io, fd, address_format(&address, host), ret_status, deadline);
    io_close(io, fd);
    tls_free(tls);
    return rc != 0 ? error_set(err, rc, "%s does not answer: %s", url, strerrordesc_np(-rc)) : 0;
}

/* What a client needs; it trusts the certificate of the run alone. NULL with a line. */
static struct tls_context *trust(const struct program_start *start, struct error *err) {
    const struct tls_files files = { .role = TLS_CLIENT,
                                     .trust = start->certificate,
                                     .verify = TLS_VERIFY_REQUIRED };
    return tls_files_load(&files, TLS_ALPN_HTTP, err);
}

/* A proxy may be up before the server behind it: it says 502 until then. */
static int await_status(const struct program_start *start, struct tls_context *context,
                        int cancel_fd, nsec_t deadline, struct error *err) {
    nsec_t patience = nsec_min(deadline, deadline_after(clock_now(), PROBE_PATIENCE_NSEC));
    struct io_block block;
    int status = 0, rc;

    io_block_init(&block, cancel_fd);
    while ((rc = probe(start->url, context, &block.io, deadline, &status, err)) == 0 &&
           status == 502 && clock_now() < patience) {
        rc = io_sleep(&block.io, deadline_after(clock_now(), PROBE_PAUSE_NSEC));
        if (rc != 0)
            return error_set(err, rc, "interrupted");
    }
    if (rc == 0 && status != row_process_status(start->process))
        return error_set(err, -EPROTO, "%s answers %d to the first request", start->url, status);
    return rc == -ECONNREFUSED ? -EAGAIN : rc;
}

int program_ready_http(const struct program_start *start, int cancel_fd, nsec_t deadline,
                       struct error *err) {
    bool is_https = strncmp(start->url, "https://", strlen("https://")) == 0;
    if (!is_https && strncmp(start->url, "http://", strlen("http://")) != 0)
        return 0;
    struct tls_context *context = is_https ? trust(start, err) : NULL;
    if (is_https && context == NULL)
        return -EINVAL;
    int rc = await_status(start, context, cancel_fd, deadline, err);
    tls_context_unref(context);
    return rc;
}

/* --- srv -------------------- */

/* {bind}, and the URL when the port is known. */
static void take_port(struct program_start *start, unsigned port) {
    snprintf(start->bind, sizeof(start->bind), "127.0.0.1:%u", port);
    start->values[0] = (struct argv_value){ "bind", start->bind };
    if (port != 0)
        snprintf(start->url, sizeof(start->url), "%s://%s/", program_scheme(start), start->bind);
}

static int words(struct program_start *start, struct error *err) {
    argv_init(&start->argv);
    return argv_of_process(&start->argv, start->process, start->values, start->value_count, err);
}

/* {control}, where srv tells of itself: the port after its own, or any. */
static void add_control(struct program_start *start, unsigned port) {
    snprintf(start->control, sizeof(start->control), "127.0.0.1:%u", port);
    add_value(start, "control", start->control);
}

static int explain(struct program_start *start, FILE *out, struct error *err) {
    char text[ARGV_TEXT_BYTES];
    take_port(start, start->port_by_hand);
    add_control(start, start->port_by_hand + 1u);
    program_explain_certificate(start, out);
    int rc = words(start, err);
    if (rc == 0)
        fprintf(out, "  %s\n", argv_format(&start->argv, text, sizeof(text)));
    return rc;
}

static int prepare_srv(struct program_start *start, struct error *err) {
    int port = start->process->names_port ? program_free_port(err) : 0;
    if (port < 0)
        return port;
    take_port(start, (unsigned)port);
    add_control(start, 0);
    snprintf(start->path, sizeof(start->path), "%s", start->srv);
    int rc = start->process->speaks_tls ? program_open_folder(start, err) : 0;
    return rc == 0 ? words(start, err) : rc;
}

static const struct program program_srv = {
    .name = "srv",
    .prepare = prepare_srv,
    .ready = program_ready_http,
    .finish = program_close_folder,
    .explain = explain,
};

const struct program *program_of(const struct play_process *process) {
    return process->program != NULL ? process->program : &program_srv;
}
