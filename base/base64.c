/* SPDX-License-Identifier: MIT */
/* Encodes bytes as base64, and decodes them. */
#include "base/base64.h"
#include <errno.h>

static const char alphabets[][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

size_t base64_encode(struct slice in, enum base64_alphabet alphabet, char *out) {
    const char *digits = alphabets[alphabet];
    size_t used = 0;

    for (size_t i = 0; i < in.len; i += 3) {
        size_t have = in.len - i < 3 ? in.len - i : 3;
        uint32_t group = 0;
        for (size_t k = 0; k < 3; k++)
            group = group << 8 | (k < have ? (unsigned char)in.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            out[used++] = k <= have ? digits[group >> (18 - 6 * k) & 63] : '=';
    }
    return used;
}

/* -1: none. */
static int digit_of(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

long base64_decode(struct slice in, char *out) {
    size_t padding = 0, len = 0;
    unsigned bits = 0, held = 0;

    while (padding < 2 && in.len > 0 && in.ptr[in.len - 1] == '=') {
        in.len--;
        padding++;
    }
    if (in.len % 4 == 1 || (padding > 0 && (in.len + padding) % 4 != 0))
        return -EINVAL;
    for (size_t i = 0; i < in.len; i++) {
        int digit = digit_of(in.ptr[i]);
        if (digit < 0)
            return -EINVAL;
        held = (held << 6 | (unsigned)digit) & 0xffff;
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        out[len++] = (char)(held >> bits);
    }
    return (long)len;
}
