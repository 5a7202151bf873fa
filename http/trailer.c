/* SPDX-License-Identifier: MIT */
/* The list of fields that a trailer section must not hold. */
#include "http/trailer.h"
#include "base/slice.h"

#define NAME(literal) \
    { literal, sizeof(literal) - 1 }

static const struct slice forbidden[] = {
    NAME("age"),
    NAME("authorization"),
    NAME("cache-control"),
    NAME("connection"),
    NAME("content-encoding"),
    NAME("content-length"),
    NAME("content-range"),
    NAME("content-type"),
    NAME("cookie"),
    NAME("date"),
    NAME("expect"),
    NAME("expires"),
    NAME("host"),
    NAME("if-match"),
    NAME("if-modified-since"),
    NAME("if-none-match"),
    NAME("if-range"),
    NAME("if-unmodified-since"),
    NAME("keep-alive"),
    NAME("location"),
    NAME("max-forwards"),
    NAME("pragma"),
    NAME("proxy-authenticate"),
    NAME("proxy-authorization"),
    NAME("proxy-connection"),
    NAME("range"),
    NAME("retry-after"),
    NAME("set-cookie"),
    NAME("te"),
    NAME("trailer"),
    NAME("transfer-encoding"),
    NAME("upgrade"),
    NAME("vary"),
    NAME("warning"),
    NAME("www-authenticate"),
};

static uint64_t hash_of(struct slice name) {
    uint64_t hash = HTTP_TRAILER_HASH_START;
    for (size_t i = 0; i < name.len; i++)
        hash = http_trailer_hash(hash, name.ptr[i]);
    return hash;
}

static bool is_among(const struct slice *names, size_t count, uint64_t hash, uint32_t len) {
    for (size_t i = 0; i < count; i++) {
        if (names[i].len == len && hash_of(names[i]) == hash)
            return true;
    }
    return false;
}

bool http_trailer_is_forbidden(uint64_t name_hash, uint32_t name_len) {
    return is_among(forbidden, ARRAY_LEN(forbidden), name_hash, name_len);
}

bool http_trailer_is_framing(uint64_t name_hash, uint32_t name_len) {
    static const struct slice framing[] = { NAME("content-length"), NAME("transfer-encoding") };
    return is_among(framing, ARRAY_LEN(framing), name_hash, name_len);
}
