/* SPDX-License-Identifier: MIT */
/* Checks and takes apart what the configuration says of the upstream. */
#include "server/upstream/target.h"
#include "server/limits.h"
#include <errno.h>
#include <stdio.h>

static int parse_url(const char *text, bool bare, struct http_url *ret, struct error *err) {
    const char *why = NULL;

    if (http_url_parse(slice_str(text), ret, &why) < 0)
        return error_set(err, -EINVAL, "'%s' %s; http://HOST[:PORT][/PATH] is expected", text, why);
    if (bare && slice_eq(ret->scheme, SLICE("unix")))
        return 0;
    if (!slice_eq(ret->scheme, SLICE("http")) && !slice_eq(ret->scheme, SLICE("https")))
        return error_set(err, -EINVAL, "'%s' is not an http:// or https:// URL", text);
    if (ret->userinfo.len > 0)
        return error_set(err, -EINVAL, "'%s' holds a user name, which is not sent", text);
    if (ret->host.len > 255)
        return error_set(err, -EINVAL, "the host name of '%.40s...' is too long", text);
    return 0;
}

int upstream_target_check(const char *url, struct error *err) {
    struct http_url parsed;

    return parse_url(url, false, &parsed, err);
}

static int parse_source(const char *address, struct address *ret, struct error *err) {
    if (address_parse_source(slice_str(address), ret) == 0)
        return 0;
    return error_set(
        err, -EINVAL,
        "'%.100s' is not allowed; an IPv4 or IPv6 address of this host, without a port", address);
}

int upstream_target_check_bind(const char *address, struct error *err) {
    struct address from;

    return parse_source(address, &from, err);
}

bool upstream_target_wants_curl(const char *url) {
    struct http_url parsed;

    return parse_url(url, false, &parsed, NULL) == 0 && slice_eq(parsed.scheme, SLICE("https"));
}

static void format_host(struct upstream_target *t) {
    const char *open = t->url.host_is_ipv6 ? "[" : "", *close = t->url.host_is_ipv6 ? "]" : "";
    char port[8] = "";

    if (t->url.has_port)
        snprintf(port, sizeof(port), ":%u", t->url.port);
    snprintf(t->host, sizeof(t->host), "%s%.*s%s%s", open, (int)t->url.host.len, t->url.host.ptr,
             close, port);
}

/* After the address is known. */
static int set_source(struct upstream_target *t, const char *bind, struct error *err) {
    if (bind == NULL)
        return 0;
    if (parse_source(bind, &t->from, err) < 0)
        return -EINVAL;
    if (t->numeric && t->from.any.sa_family != t->address.any.sa_family)
        return error_set(err, -EAFNOSUPPORT, "no connection leads from '%s' to '%s'", bind,
                         t->host);
    return 0;
}

/* Whether the host is its one address, and the user says nothing else. */
static bool is_numeric(struct upstream_target *t) {
    for (size_t i = 0; i < t->rules.override_count; i++)
        if (resolve_override_is_for(t->rules.overrides[i], &t->endpoint))
            return false;
    return address_of_endpoint(&t->endpoint, false, &t->address) == 0 &&
           (t->rules.family == AF_UNSPEC || t->rules.family == t->address.any.sa_family);
}

int upstream_target_init(struct upstream_target *t, const struct upstream_config *config,
                         struct error *err) {
    int rc;

    *t = (struct upstream_target){ .timeout = config->timeout,
                                   .limits = (struct http_limits)HTTP_LIMITS_RESPONSE };
    t->limits.body_bytes = SERVER_UPSTREAM_BODY_BYTES_MAX;
    rc = parse_url(config->url, config->bare, &t->url, err);
    if (rc < 0)
        return rc;
    if (config->bare)
        t->url.target = SLICE("");
    t->endpoint = (struct endpoint){ .host = t->url.host,
                                     .port = t->url.port,
                                     .is_unix = slice_eq(t->url.scheme, SLICE("unix")) };
    t->rules = config->rules;
    if (t->endpoint.is_unix) {
        t->rules.family = AF_UNSPEC;
        snprintf(t->host, sizeof(t->host), "localhost");
    } else {
        format_host(t);
    }
    t->numeric = is_numeric(t);
    return set_source(t, config->bind, err);
}

const struct address *upstream_target_source(const struct upstream_target *t) {
    return t->from.len > 0 ? &t->from : NULL;
}
