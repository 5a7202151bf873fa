/* SPDX-License-Identifier: MIT */
/* Sorts out the protocols of the addresses that serve listens on. */
#include "cmd/serve_protocol.h"
#include <errno.h>

static enum protocol take_scheme(const char **address, enum protocol fallback) {
    static const char *const words[] = { "http", "https", "tls", "uwsgi", NULL };
    static const enum protocol meant[] = { PROTOCOL_HTTP, PROTOCOL_HTTPS, PROTOCOL_HTTPS,
                                           PROTOCOL_UWSGI };
    int scheme = listeners_take_scheme(address, words);

    return scheme >= 0 ? meant[scheme] : fallback;
}

/* A certificate that no address shows, or the other way round. */
static int check_tls(const struct serve_config *config, struct error *err) {
    bool has_certificate = config->tls.certificates.count > 0, speaks = false;

    for (size_t i = 0; i < config->binds.count; i++) {
        bool here = config->protocols[i] == PROTOCOL_HTTPS;

        if (here && !has_certificate)
            return error_set(err, -EINVAL, "--bind: 'https://%s' needs --certfile",
                             config->binds.items[i]);
        speaks |= here;
    }
    if (has_certificate && !speaks)
        return error_set(err, -EINVAL, "--certfile: no address speaks TLS; give one as https://");
    return tls_files_check(&config->tls, err);
}

int serve_protocol_apply(struct serve_config *config, int fallback, struct error *err) {
    bool secure = config->tls.certificates.count > 0 && fallback == PROTOCOL_HTTP;
    enum protocol without = secure ? PROTOCOL_HTTPS : (enum protocol)fallback;

    if (config->binds.count > LISTENERS_MAX)
        return error_set(err, -EINVAL, "--bind: %zu addresses are not allowed; %d are the most",
                         config->binds.count, LISTENERS_MAX);
    /* A service manager may pass more sockets than there are addresses. */
    for (size_t i = 0; i < LISTENERS_MAX; i++)
        config->protocols[i] = (uint8_t)without;
    for (size_t i = 0; i < config->binds.count; i++)
        config->protocols[i] = (uint8_t)take_scheme(&config->binds.items[i], without);
    return check_tls(config, err);
}
