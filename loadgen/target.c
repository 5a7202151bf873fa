/* SPDX-License-Identifier: MIT */
/* From a URL to addresses and the text of Host. */
#include "loadgen/target.h"
#include <errno.h>
#include <stdio.h>

int target_parse(struct target *t, const char *text, struct error *err) {
    const char *why;
    if (http_url_parse(slice_str(text), &t->url, &why) != 0)
        return error_set(err, -EINVAL, "URL '%s' %s", text, why);
    if (slice_eq_nocase(t->url.scheme, SLICE("https")))
        return error_set(err, -EINVAL, "URL '%s': TLS is not in this build; use http://", text);
    if (!slice_eq_nocase(t->url.scheme, SLICE("http")))
        return error_set(err, -EINVAL, "URL '%s': the scheme must be http", text);
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
    return 0;
}

int target_resolve(struct target *t, nsec_t timeout, struct error *err) {
    struct endpoint endpoint = { .host = t->url.host, .port = t->url.port };
    struct io_block block;
    struct error why = { .text = "" };

    io_block_init(&block, -1);
    nsec_t deadline = deadline_after(clock_now(), timeout);
    int rc = resolve(&block.io, &endpoint, deadline, &t->addresses, &why);
    if (rc == 0)
        return 0;
    if (why.text[0] != '\0')
        return error_set(err, rc, "%s", why.text);
    return error_set(err, rc, "cannot look up '%s': %s", t->host, strerror(-rc));
}
