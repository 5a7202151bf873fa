/* SPDX-License-Identifier: MIT */
/* Sorts out the protocols of the addresses that serve listens on. */
#include "cmd/serve_protocol.h"
#include <errno.h>
#include <string.h>

static enum protocol take_scheme(const char **address, int fallback) {
    static const struct {
        const char *prefix;
        enum protocol protocol;
    } schemes[] = { { "http://", PROTOCOL_HTTP }, { "uwsgi://", PROTOCOL_UWSGI } };

    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i].prefix);

        if (strncmp(*address, schemes[i].prefix, len) != 0)
            continue;
        *address += len;
        return schemes[i].protocol;
    }
    return (enum protocol)fallback;
}

int serve_protocol_apply(struct serve_config *config, int fallback, struct error *err) {
    if (config->binds.count > LISTENERS_MAX)
        return error_set(err, -EINVAL, "--bind: %zu addresses are not allowed; %d are the most",
                         config->binds.count, LISTENERS_MAX);
    /* A service manager may pass more sockets than there are addresses. */
    for (size_t i = 0; i < LISTENERS_MAX; i++)
        config->protocols[i] = (uint8_t)fallback;
    for (size_t i = 0; i < config->binds.count; i++) {
        enum protocol protocol = take_scheme(&config->binds.items[i], fallback);

        config->protocols[i] = (uint8_t)protocol;
    }
    return 0;
}
