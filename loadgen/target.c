/* SPDX-License-Identifier: MIT */
/* From a URL to addresses and the text of Host. */
#include "loadgen/target.h"
#include <errno.h>
#include <stdio.h>

enum { PROXY_PORT = 80 };

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
    if (slice_eq_nocase(t->url.scheme, SLICE("https")))
        return error_set(err, -EINVAL, "URL '%s': TLS is not in this build; use http://", text);
    *t = (struct target){ .url = t->url, .is_tcp = true };
    if (slice_eq_nocase(t->url.scheme, SLICE("unix")))
        return use_socket(t, t->url.host, err);
    if (!slice_eq_nocase(t->url.scheme, SLICE("http")))
        return error_set(err, -EINVAL, "URL '%s': the scheme must be http or unix", text);
    if (t->url.userinfo.len > 0)
        return error_set(err, -EINVAL, "URL '%s': give credentials with -A USER:PASSWORD", text);

    int host_len = (int)t->url.host.len;
    if (host_len == 0 || t->url.host.len >= sizeof(t->host))
        return error_set(err, -EINVAL, "URL '%s': the host is empty or too long", text);
    snprintf(t->host, sizeof(t->host), "%.*s", host_len, t->url.host.ptr);

    const char *open = t->url.host_is_ipv6 ? "[" : "", *shut = t->url.host_is_ipv6 ? "]" : "";
    if (t->url.port == 80)
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

/* An override that is for something else is a slip of the pen, and silently loads the wrong one. */
int target_check(const struct target *t, const struct loadgen_config *c, struct error *err) {
    if (!t->is_tcp && (c->resolve.count > 0 || c->ipv4 || c->ipv6))
        return error_set(err, -EINVAL, "--resolve, -4 and -6 say nothing about a unix socket");
    if (!t->is_tcp && c->sources != NULL)
        return error_set(err, -EINVAL, "--source: a unix socket is connected to from nowhere");
    for (size_t i = 0; i < c->resolve.count; i++) {
        struct error allowed = { .text = "" };
        if (resolve_check_override(c->resolve.items[i], &allowed) != 0)
            return error_set(err, -EINVAL, "--resolve: '%s' is not allowed; %s",
                             c->resolve.items[i], allowed.text);
        if (!resolve_override_is_for(c->resolve.items[i], &t->connect_to))
            return error_set(err, -EINVAL,
                             "--resolve '%s' is not for %.*s:%u, which is connected to",
                             c->resolve.items[i], (int)t->connect_to.host.len,
                             t->connect_to.host.ptr, t->connect_to.port);
    }
    return 0;
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
    return error_set(err, rc, "cannot look up '%s': %s", t->host, strerror(-rc));
}
