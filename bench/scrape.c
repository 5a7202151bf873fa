/* SPDX-License-Identifier: MIT */
/* Asks one URL after the other, and waits for the answer. */
#include "bench/scrape.h"
#include "base/alloc.h"
#include "http/conn.h"
#include "http/encode.h"
#include "loadgen/secure.h"
#include "loadgen/target.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    TEXT_BYTES_MAX = 16 << 20,
    REQUEST_BYTES_MAX = 8192,
    READ_BYTES = 65536,
};

#define SCRAPE_PAUSE (20 * NSEC_PER_MSEC)
#define SCRAPE_SPAN  (10 * NSEC_PER_SEC) /* for one read: the look-up, and then the rest */

static const struct http_limits limits = HTTP_LIMITS_RESPONSE;

/* One read on its way. */
struct scrape {
    struct loadgen_config config; /* the run's, without what is said about its target */
    struct target target;
    struct secure secure;
    struct io_block block;
    struct tls *tls;
    struct buf in, text; /* received, and not parsed yet; the body */
    nsec_t deadline;
    int fd;
};

/* --- the exchange ----------------------------------------------------------------------------- */

static int connect_any(struct scrape *s) {
    int rc = -ENOENT;
    for (size_t i = 0; i < s->target.addresses.count; i++) {
        rc = io_connect(&s->block.io, &s->target.addresses.addresses[i], s->deadline);
        if (rc >= 0) {
            s->fd = rc;
            return 0;
        }
    }
    return rc;
}

static int shake_hands(struct scrape *s) {
    const struct tls_peer peer = { s->secure.name, s->secure.hides_name, NULL };
    int rc = tls_new(s->secure.context, &peer, &s->tls);
    if (rc == 0)
        rc = io_secure(&s->block.io, s->fd, s->tls);
    return rc == 0 ? io_handshake(&s->block.io, s->fd, s->deadline) : rc;
}

static int send_request(struct scrape *s) {
    const struct http_field accept = { SLICE("Accept"), SLICE("text/plain;version=0.0.4") };
    struct slice target = s->target.url.target;
    const struct http_request_head head = {
        .method = HTTP_METHOD_GET,
        .target = slice_eq(target, SLICE("/")) ? SLICE("/metrics") : target,
        .host = slice_str(s->target.authority),
        .fields = &accept,
        .field_count = 1,
        .close = true,
        .version_minor = 1,
    };
    struct buf out;
    buf_init(&out, REQUEST_BYTES_MAX);
    int rc = http_encode_request(&out, &head);
    struct slice bytes = buf_unread(&out);
    if (rc == 0)
        rc = io_write_all(&s->block.io, s->fd, bytes.ptr, bytes.len, s->deadline);
    buf_free(&out);
    return rc;
}

/* Feeds what has come. 1 at the end of the answer, 0 for more, or -errno. */
static int feed(struct scrape *s, struct http_conn *http, bool eof, struct error *err) {
    struct http_head head;
    struct http_event ev;
    int rc = 0;
    do {
        buf_consume(&s->in, http_conn_feed(http, buf_unread(&s->in), eof, &head, &ev));
        if (ev.kind == HTTP_EV_HEAD && head.status != 200)
            return error_set(err, -EPROTO, "it answers %u", head.status);
        if (ev.kind == HTTP_EV_BAD)
            return error_set(err, -EPROTO, "%s", ev.why);
        if (ev.kind == HTTP_EV_CLOSED)
            return error_set(err, -EPROTO, "it closes the connection without an answer");
        if (ev.kind == HTTP_EV_DATA)
            rc = buf_append(&s->text, ev.data);
    } while (rc == 0 && ev.kind != HTTP_EV_END && ev.kind != HTTP_EV_MORE);
    if (rc < 0)
        return error_set(err, rc, "its answer is too large");
    return ev.kind == HTTP_EV_END;
}

static int receive(struct scrape *s, struct error *err) {
    struct http_conn http;
    int rc = 0;
    http_conn_init(&http, HTTP_CLIENT, &limits);
    http_conn_sent(&http, HTTP_METHOD_GET, true);
    while (rc == 0) {
        rc = buf_reserve(&s->in, READ_BYTES);
        ssize_t n =
            rc == 0 ? io_read(&s->block.io, s->fd, buf_tail(&s->in), buf_room(&s->in), s->deadline)
                    : rc;
        if (n < 0)
            return (int)n;
        buf_added(&s->in, (size_t)n);
        rc = feed(s, &http, n == 0, err);
    }
    return rc < 0 ? rc : 0;
}

static int exchange(struct scrape *s, struct error *err) {
    int rc = connect_any(s);
    if (rc == 0 && s->secure.context != NULL)
        rc = shake_hands(s);
    if (rc == 0)
        rc = send_request(s);
    if (rc == 0)
        rc = receive(s, err);
    if (rc < 0 && err->text[0] == '\0')
        error_set(err, rc, "%s",
                  s->tls != NULL && tls_reason(s->tls) != NULL ? tls_reason(s->tls)
                                                               : strerrordesc_np(-rc));
    return rc;
}

static void leave(struct scrape *s) {
    if (s->fd >= 0)
        io_close(&s->block.io, s->fd);
    tls_free(s->tls);
    secure_free(&s->secure);
    buf_free(&s->in);
    buf_free(&s->text);
}

/* --- one URL ---------------------------------------------------------------------------------- */

/* The options about names, ways and versions are the target's; the certificates' hold here, too. */
static void begin(struct scrape *s, const struct loadgen_config *c, int cancel_fd) {
    s->config = *c;
    s->fd = -1;
    s->config.resolve.count = 0;
    s->config.ipv4 = s->config.ipv6 = false;
    s->config.timeout = SCRAPE_SPAN;
    s->config.tls_resume = LOADGEN_RESUME_OFF;
    io_block_init(&s->block, cancel_fd);
    buf_init(&s->in, TEXT_BYTES_MAX);
    buf_init(&s->text, TEXT_BYTES_MAX);
}

static int read_one(struct scrape *s, const char *url, struct error *err) {
    int rc = target_parse(&s->target, url, err);
    if (rc == 0)
        rc = secure_init(&s->secure, &s->config, &s->target, err);
    if (rc == 0)
        rc = target_resolve(&s->target, &s->config, err);
    s->deadline = deadline_after(clock_now(), SCRAPE_SPAN);
    return rc == 0 ? exchange(s, err) : rc;
}

/* Reads one source, unless cancel_fd becomes readable. 0 or -errno with the reason. */
static int scrape(const struct loadgen_config *c, struct server_source *source,
                  enum server_moment moment, int cancel_fd, struct error *err) {
    struct scrape *s = mem_calloc(1, sizeof(*s)); /* large for a stack */
    if (s == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    begin(s, c, cancel_fd);
    err->text[0] = '\0';
    int rc = read_one(s, source->url, err);
    if (rc == 0)
        server_source_read(source, buf_unread(&s->text), c->server.metrics_match, moment);
    leave(s);
    mem_free(s);
    return rc;
}

/* --- all of them ------------------------------------------------------------------------------ */

static int scrape_all(const struct loadgen_config *c, struct server_metrics *m, struct error *err) {
    struct error why;
    int rc = 0;
    for (size_t i = 0; i < c->server.metrics.count && rc == 0; i++) {
        const char *url = c->server.metrics.items[i];
        struct server_source *source = server_metrics_source(m, url);
        if (source == NULL)
            return error_set(err, -ENOMEM, "out of memory for metrics");
        rc = scrape(c, source, SERVER_BEFORE, -1, &why);
        if (rc == 0 && source->count == 0)
            rc = error_set(&why, -ENODATA, "there is no counter in its answer");
        if (rc < 0)
            return error_set(err, rc, "--server-metrics: cannot read '%s': %s", url, why.text);
    }
    return rc;
}

int scrape_before(const struct loadgen_config *c, struct server_metrics **ret, struct error *err) {
    *ret = NULL;
    if (c->server.metrics.count == 0)
        return 0;
    struct server_metrics *m = server_metrics_new();
    int rc = m != NULL ? scrape_all(c, m, err) : error_set(err, -ENOMEM, "out of memory");
    if (rc == 0)
        *ret = m;
    else
        server_metrics_free(m);
    return rc;
}

static bool lags_behind(const struct server_source *s, uint64_t ended) {
    double count;
    return server_source_requests(s, &count) != NULL && count < (double)ended;
}

static void read_after(const struct loadgen_config *c, struct server_source *s, uint64_t ended,
                       int cancel_fd) {
    struct io_block block;
    struct error why = { .text = "" };
    nsec_t until = deadline_after(clock_now(), SCRAPE_PATIENCE);
    io_block_init(&block, cancel_fd);
    int rc = scrape(c, s, SERVER_AFTER, cancel_fd, &why);
    while (rc == 0 && lags_behind(s, ended) && clock_now() < until) {
        rc = io_sleep(&block.io, deadline_after(clock_now(), SCRAPE_PAUSE));
        if (rc == 0)
            rc = scrape(c, s, SERVER_AFTER, cancel_fd, &why);
    }
    if (rc != 0)
        snprintf(s->error, sizeof(s->error), "%.*s", SERVER_METRICS_ERROR_BYTES - 1, why.text);
}

/* Signals to stop come by a descriptor from here on; -1: they come as before. */
static int hold_signals(sigset_t *ret_before) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd >= 0)
        pthread_sigmask(SIG_BLOCK, &set, ret_before);
    return fd;
}

/* Returns the first one that came; 0: none. */
static int release_signals(int fd, const sigset_t *before) {
    struct signalfd_siginfo info;
    int first = 0;
    while (fd >= 0 && read(fd, &info, sizeof(info)) == sizeof(info))
        first = first == 0 ? (int)info.ssi_signo : first;
    if (fd >= 0) {
        pthread_sigmask(SIG_SETMASK, before, NULL);
        close(fd);
    }
    return first;
}

int scrape_after(const struct loadgen_config *c, struct server_metrics *m, uint64_t ended) {
    sigset_t before;
    if (m == NULL)
        return 0;
    int fd = hold_signals(&before);
    for (size_t i = 0; i < m->count; i++)
        read_after(c, &m->sources[i], i == 0 ? ended : 0, fd);
    return release_signals(fd, &before);
}

static int check_one(const struct loadgen_config *c, size_t i, struct error *err) {
    const char *url = c->server.metrics.items[i];
    struct error why;
    if (strlen(url) >= SERVER_METRICS_URL_BYTES)
        return error_set(err, -EINVAL, "--server-metrics: the URL is longer than %d bytes",
                         SERVER_METRICS_URL_BYTES - 1);
    for (size_t k = 0; k < i; k++)
        if (strcmp(url, c->server.metrics.items[k]) == 0)
            return error_set(err, -EINVAL, "--server-metrics: '%s' is given twice", url);
    struct target *target = mem_alloc(sizeof(*target)); /* large for a stack */
    int rc = target != NULL ? target_parse(target, url, &why)
                            : error_set(&why, -ENOMEM, "out of memory");
    mem_free(target);
    return rc == 0 ? 0 : error_set(err, rc, "--server-metrics: %s", why.text);
}

int scrape_check(const struct loadgen_config *c, struct error *err) {
    int rc = 0;
    for (size_t i = 0; i < c->server.metrics.count && rc == 0; i++)
        rc = check_one(c, i, err);
    return rc;
}
