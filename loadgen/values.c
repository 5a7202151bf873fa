/* SPDX-License-Identifier: MIT */
/* Parses the values that only bench has. */
#include "loadgen/values.h"
#include "base/units.h"
#include "http/head.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RATE_MAX  1e7
#define SPEED_MIN 1e-3
#define SPEED_MAX 1e6

int loadgen_parse_rate(const char *text, double *ret, struct error *err) {
    char *end;
    double value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : 0;
    double seconds = 1;
    if (value > 0 && (*end == 'k' || *end == 'K')) {
        value *= 1000;
        end++;
    }
    if (value > 0 && strcmp(end, "/m") == 0)
        seconds = 60;
    else if (value > 0 && *end != '\0' && strcmp(end, "/s") != 0)
        value = 0;
    value /= seconds;
    if (!(value > 0 && value <= RATE_MAX))
        return error_set(err, -EINVAL,
                         "a rate above 0 and up to %.0f per second, such as 500, "
                         "0.5/s, 90/m or 2k",
                         RATE_MAX);
    *ret = value;
    return 0;
}

int loadgen_parse_stages(const char *text, struct load_shape *ret, struct error *err) {
    struct shape_limits limits = { .rate = RATE_MAX, .connections = LOADGEN_CONCURRENCY_MAX };
    return shape_parse(text, limits, ret, err);
}

int loadgen_parse_burst(const char *text, struct load_burst *ret, struct error *err) {
    struct slice rest = slice_str(text), count = slice_cut(&rest, '/');
    double number = 0, factor = 1;
    if (count.len > 1 && (count.ptr[count.len - 1] == 'k' || count.ptr[count.len - 1] == 'K')) {
        count.len--;
        factor = 1000;
    }
    if (units_parse_number(count, &number) == 0 && units_parse_duration(rest, &ret->every) == 0 &&
        number * factor >= 1 && number * factor <= LOADGEN_BURST_MAX &&
        ret->every >= NSEC_PER_MSEC) {
        ret->count = (uint32_t)(number * factor);
        if (ret->count == number * factor)
            return 0;
    }
    return error_set(err, -EINVAL,
                     "a whole number of requests from 1 to %d and an interval from 1ms on, such as "
                     "100/10s",
                     LOADGEN_BURST_MAX);
}

int loadgen_parse_think(const char *text, struct arena *memory, struct dist *ret,
                        struct error *err) {
    const char *why = "names a law of srv slowapi";
    if (dist_parse(slice_str(text), memory, ret, &why) < 0 || dist_is_named(ret))
        return error_set(err, -EINVAL, "it %s; write %s", why, DIST_ALLOWED);
    return 0;
}

int loadgen_parse_speed(const char *text, double *ret, struct error *err) {
    struct slice factor = slice_str(text);
    if (factor.len > 1 && factor.ptr[factor.len - 1] == 'x')
        factor.len--;
    if (units_parse_number(factor, ret) == 0 && *ret >= SPEED_MIN && *ret <= SPEED_MAX)
        return 0;
    return error_set(err, -EINVAL, "a number from 0.001 to 1000000, such as 2");
}

int loadgen_parse_methods(const char *text, const char **ret, struct error *err) {
    struct slice rest = slice_str(text);
    bool ok = rest.len > 0;
    while (ok && rest.len > 0) {
        enum http_method method = http_method_of(slice_trim(slice_cut(&rest, ',')));
        ok = method != HTTP_METHOD_OTHER && method != HTTP_METHOD_CONNECT;
    }
    *ret = text;
    return ok ? 0 : error_set(err, -EINVAL, "methods such as GET,HEAD,DELETE");
}

int loadgen_parse_percentiles(const char *text, struct loadgen_percentiles *ret,
                              struct error *err) {
    struct slice rest = slice_str(text);
    ret->count = 0;
    while (rest.len > 0 && ret->count < LOADGEN_PERCENTILES_MAX) {
        struct slice word = slice_trim(slice_cut(&rest, ','));
        char *end = NULL;
        double value =
            word.len > 0 && word.ptr[0] >= '0' && word.ptr[0] <= '9' ? strtod(word.ptr, &end) : -1;
        if (!(value >= 0 && value <= 100) || end != word.ptr + word.len)
            break;
        ret->values[ret->count++] = value;
        if (rest.len == 0)
            return 0;
    }
    return error_set(err, -EINVAL, "up to %d numbers from 0 to 100, such as 50,99,99.9",
                     LOADGEN_PERCENTILES_MAX);
}

/* The words are ab's; OpenSSL 3 has the oldest no more, and nobody should use those in between. */
int loadgen_parse_tls_version(const char *text, enum tls_version *ret, struct error *err) {
    static const struct {
        const char *word;
        bool is_offered;
        enum tls_version version;
    } words[] = {
        { "ALL", true, TLS_VERSION_ANY },     { "TLS1.2", true, TLS_VERSION_1_2 },
        { "TLS1.3", true, TLS_VERSION_1_3 },  { "SSL2", false, TLS_VERSION_ANY },
        { "SSL3", false, TLS_VERSION_ANY },   { "TLS1", false, TLS_VERSION_ANY },
        { "TLS1.0", false, TLS_VERSION_ANY }, { "TLS1.1", false, TLS_VERSION_ANY },
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcasecmp(text, words[i].word) != 0)
            continue;
        *ret = words[i].version;
        if (words[i].is_offered)
            return 0;
        return error_set(err, -EINVAL,
                         "TLS1.2, TLS1.3 or ALL, which is both: older ones are broken");
    }
    return error_set(err, -EINVAL, "TLS1.2, TLS1.3 or ALL");
}

int loadgen_parse_sources(const char *text, struct loadgen_sources *ret, struct error *err) {
    struct slice rest = slice_str(text);
    ret->count = 0;
    while (rest.len > 0 && ret->count < LOADGEN_SOURCES_MAX) {
        struct slice host = slice_trim(slice_cut(&rest, ','));
        if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
            host = slice_of(host.ptr + 1, host.len - 2);
        struct endpoint endpoint = { .host = host };
        if (host.len == 0 || address_of_endpoint(&endpoint, false, &ret->addresses[ret->count]))
            break;
        ret->count++;
        if (rest.len == 0)
            return 0;
    }
    return error_set(err, -EINVAL, "up to %d IP addresses, such as 127.0.0.2,127.0.0.3",
                     LOADGEN_SOURCES_MAX);
}
