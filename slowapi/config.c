/* SPDX-License-Identifier: MIT */
/* Checks what option rows cannot: the addresses to listen on. */
#include "slowapi/config.h"
#include <errno.h>

/* PORT=4000 is how platforms name a port: loopback then, because only a written address opens the
 * service to other machines. */
static int parse_bind(struct slice text, struct endpoint *ret, struct error *err) {
    uint64_t port;

    if (slice_parse_u64(text, UINT16_MAX, &port) < 0)
        return endpoint_parse(text, 0, ret, err);

    *ret = (struct endpoint){ .host = SLICE("127.0.0.1"), .port = (uint16_t)port };
    return 0;
}

int slowapi_config_check(struct slowapi_config *config, struct error *err) {
    if (config->binds.count > SLOWAPI_BINDS_MAX)
        return error_set(err, -EINVAL, "--bind: given %zu times; %d at most", config->binds.count,
                         SLOWAPI_BINDS_MAX);

    config->endpoint_count = config->binds.count;
    for (size_t i = 0; i < config->binds.count; i++) {
        const char *text = config->binds.items[i];
        struct error why;

        if (parse_bind(slice_str(text), &config->endpoints[i], &why) < 0)
            return error_set(err, -EINVAL, "--bind (or PORT): %s", why.text);
    }
    return 0;
}
