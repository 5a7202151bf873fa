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

bool http_trailer_is_forbidden(uint64_t name_hash, uint32_t name_len) {
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
        if (forbidden[i].len == name_len && hash_of(forbidden[i]) == name_hash)
            return true;
    }
    return false;
}
