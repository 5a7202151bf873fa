/* SPDX-License-Identifier: MIT */
/* From a URL to addresses, the text of Host, and sockets. */
#include "loadgen/target.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

enum {
    PROXY_PORT = 80,
    HTTP_PORT = 80,
    TLS_PORT = 443,
    ONE_SEGMENT_BYTES = 1200, /* bytes that surely leave in one packet */
};

/* A URL keeps its own host for the Host field; a bare unix: one has none to offer. */
static int use_socket(struct target *t, struct slice path, struct error *err) {
    if (path.len == 0 || path.len >= sizeof(t->peer))
        return error_set(err, -EINVAL, "the path of the unix socket is empty or too long");
    t->connect_to = (struct endpoint){ .host = path, .is_unix = true };
    t->is_tcp = false;
    snprintf(t->peer, sizeof(t->peer), "%.*s", (int)path.len, path.ptr);
    if (t->host[0] == '\0') {
        snprintf(t->host, sizeof(t->host), "localhost");
        snprintf(t->authority, sizeof(t->authority), "localhost");
    }
    return 0;
}

/* RFC 9110 section 4.2.5: a fragment is for who reads the answer, and is not sent. */
static struct slice without_fragment(struct slice text) {
    return slice_starts_with(text, SLICE("unix:")) ? text : slice_take(text, slice_find(text, '#'));
}

int target_parse(struct target *t, const char *text, struct error *err) {
    const char *why;
    if (http_url_parse(without_fragment(slice_str(text)), &t->url, &why) != 0)
        return error_set(err, -EINVAL, "URL '%s' %s", text, why);
    *t = (struct target){ .url = t->url, .is_tcp = true };
    t->is_tls = slice_eq_nocase(t->url.scheme, SLICE("https"));
    if (slice_eq_nocase(t->url.scheme, SLICE("unix")))
        return use_socket(t, t->url.host, err);
    if (!t->is_tls && !slice_eq_nocase(t->url.scheme, SLICE("http")))
        return error_set(err, -EINVAL, "URL '%s': the scheme must be http, https or unix", text);
    if (t->url.userinfo.len > 0)
        return error_set(err, -EINVAL, "URL '%s': give credentials with -A USER:PASSWORD", text);

    int host_len = (int)t->url.host.len;
    if (host_len == 0 || t->url.host.len >= sizeof(t->host))
        return error_set(err, -EINVAL, "URL '%s': the host is empty or too long", text);
    snprintf(t->host, sizeof(t->host), "%.*s", host_len, t->url.host.ptr);

    const char *open = t->url.host_is_ipv6 ? "[" : "", *shut = t->url.host_is_ipv6 ? "]" : "";
    if (t->url.port == (t->is_tls ? TLS_PORT : HTTP_PORT))
        snprintf(t->authority, sizeof(t->authority), "%s%s%s", open, t->host, shut);
    else
        snprintf(t->authority, sizeof(t->authority), "%s%s%s:%u", open, t->host, shut, t->url.port);
    t->connect_to = (struct endpoint){ .host = t->url.host, .port = t->url.port };
    return 0;
}

int target_via(struct target *t, const char *proxy, const char *unix_path, struct error *err) {
    if (unix_path != NULL)
        return use_socket(t, slice_str(unix_path), err);
    if (proxy == NULL)
        return 0;
    if (!t->is_tcp)
        return error_set(err, -EINVAL, "--proxy and a unix socket exclude each other");
    struct error why = { .text = "" };
    if (endpoint_parse(slice_str(proxy), PROXY_PORT, &t->connect_to, &why) != 0 ||
        t->connect_to.is_unix)
        return error_set(err, -EINVAL, "--proxy '%s': expected HOST[:PORT]", proxy);
    t->through_proxy = true;
    snprintf(t->peer, sizeof(t->peer), "%.*s:%u", (int)t->connect_to.host.len,
             t->connect_to.host.ptr, t->connect_to.port);
    return 0;
}

static int check_override(const struct target *const *targets, size_t count, const char *override,
                          struct error *err) {
    const struct endpoint *to = &targets[0]->connect_to;
    struct error allowed = { .text = "" };
    if (resolve_check_override(override, &allowed) != 0)
        return error_set(err, -EINVAL, "--resolve: '%s' is not allowed; %s", override,
                         allowed.text);
    for (size_t i = 0; i < count; i++)
        if (resolve_override_is_for(override, &targets[i]->connect_to))
            return 0;
    if (count > 1)
        return error_set(err, -EINVAL, "--resolve '%s' is for none of the %zu hosts", override,
                         count);
    return error_set(err, -EINVAL, "--resolve '%s' is not for %.*s:%u, which is connected to",
                     override, (int)to->host.len, to->host.ptr, to->port);
}

/* An override that is for something else is a slip of the pen, and silently loads the wrong one. A
 * unix socket is that of all targets. */
int target_check(const struct target *const *targets, size_t count, const struct loadgen_config *c,
                 struct error *err) {
    bool is_tcp = targets[0]->is_tcp;
    if (!is_tcp && (c->resolve.count > 0 || c->ipv4 || c->ipv6))
        return error_set(err, -EINVAL, "--resolve, -4 and -6 say nothing about a unix socket");
    if (!is_tcp && c->sources != NULL)
        return error_set(err, -EINVAL, "--source: a unix socket is connected to from nowhere");
    int rc = 0;
    for (size_t i = 0; i < c->resolve.count && rc == 0; i++)
        rc = check_override(targets, count, c->resolve.items[i], err);
    return rc;
}

int target_resolve(struct target *t, const struct loadgen_config *c, struct error *err) {
    struct io_block block;
    struct error why = { .text = "" };
    struct resolve_rules rules = { .overrides = c->resolve.items,
                                   .override_count = c->resolve.count,
                                   .family = c->ipv4   ? AF_INET
                                             : c->ipv6 ? AF_INET6
                                                       : AF_UNSPEC };
    io_block_init(&block, -1);
    nsec_t start = clock_now(), deadline = deadline_after(start, c->timeout);
    int rc = resolve_with_rules(&block.io, &t->connect_to, &rules, deadline, &t->addresses, &why);
    t->resolve_span = clock_now() - start;
    if (rc == 0)
        return 0;
    if (why.text[0] != '\0')
        return error_set(err, rc, "%s", why.text);
    return error_set(err, rc, "cannot look up '%s': %s", t->host, strerrordesc_np(-rc));
}

/* Counts the addresses that are not left out: at least one. */
static size_t addresses_in_use(const struct target_dialer *d) {
    size_t count = 0;
    for (size_t i = 0; i < d->target->addresses.count; i++)
        count += d->addresses[i].left_out == 0;
    return count;
}

/* Connections of all workers together take the addresses in use in turns. */
static uint8_t next_address(struct target_dialer *d) {
    size_t turn = (d->turn++ * d->share.count + d->share.index) % addresses_in_use(d);
    for (uint8_t i = 0;; i++)
        if (d->addresses[i].left_out == 0 && turn-- == 0)
            return i;
}

bool target_leave_out(struct target_dialer *d, uint8_t address, int error) {
    struct answers_address *one = &d->addresses[address];
    if (one->left_out != 0)
        return true;
    if (one->connections > 0 || addresses_in_use(d) < 2)
        return false;
    one->left_out = error;
    return true;
}

/* Sets what most runs do not need, and what therefore does not cost them a system call. */
static int set_options(const struct target_dialer *d, int fd) {
    const struct loadgen_config *config = d->config;
    int on = 1, bytes = (int)config->window_bytes;
    /* A request of one segment is never held back by Nagle's algorithm, since the response that
     * came before it acknowledged everything: only larger ones need the extra system call. */
    if (d->request_bytes > ONE_SEGMENT_BYTES && d->target->is_tcp &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        return -errno;
    if (bytes > 0 && (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) != 0 ||
                      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) != 0))
        return -errno;
    return 0;
}

/* The port is left to connect(2), which knows the destination: each source address then has all
 * ports for it (ip(7), IP_BIND_ADDRESS_NO_PORT). */
static int bind_source(struct target_dialer *d, int fd) {
    const struct loadgen_sources *sources = d->sources;
    if (sources == NULL)
        return 0;
    const struct address *from = &sources->addresses[d->source++ % sources->count];
    int on = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) != 0 ||
        bind(fd, &from->any, from->len) != 0)
        return -errno;
    return 0;
}

int target_dial(struct target_dialer *d, uint8_t *ret_address) {
    *ret_address = next_address(d);
    const struct address *to = &d->target->addresses.addresses[*ret_address];
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;

    int rc = set_options(d, fd);
    if (rc == 0)
        rc = bind_source(d, fd);
    if (rc == 0 && connect(fd, &to->any, to->len) != 0 && errno != EINPROGRESS)
        rc = -errno;
    if (rc != 0)
        close(fd);
    return rc == 0 ? fd : rc;
}
