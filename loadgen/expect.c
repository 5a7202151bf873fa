/* SPDX-License-Identifier: MIT */
/* Sets of statuses, and a search in a stream. */
#include "loadgen/expect.h"
#include "base/alloc.h"
#include <errno.h>

static int bad_status(struct error *err) {
    return error_set(err, -EINVAL, "statuses from 100 to 599 or classes, such as 200,204 or 2xx");
}

static void allow(struct expect_status *e, unsigned first, unsigned last) {
    for (unsigned status = first; status <= last; status++)
        e->bits[status / 64] |= UINT64_C(1) << (status % 64);
    e->any_given = true;
}

static unsigned digit_of(char c) {
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : 10;
}

int expect_status_parse(const char *text, struct expect_status *ret, struct error *err) {
    struct slice rest = slice_str(text);
    do {
        struct slice word = slice_trim(slice_cut(&rest, ','));
        if (word.len != 3)
            return bad_status(err);
        unsigned hundreds = digit_of(word.ptr[0]), tens = digit_of(word.ptr[1]);
        unsigned ones = digit_of(word.ptr[2]);
        if (hundreds < 1 || hundreds > 5)
            return bad_status(err);
        if (slice_eq_nocase(slice_drop(word, 1), SLICE("xx")))
            allow(ret, hundreds * 100, hundreds * 100 + 99);
        else if (tens < 10 && ones < 10)
            allow(ret, hundreds * 100 + tens * 10 + ones, hundreds * 100 + tens * 10 + ones);
        else
            return bad_status(err);
    } while (rest.len > 0);
    return 0;
}

int expect_body_init(struct expect_body *e, const char *text) {
    *e = (struct expect_body){ .text = slice_str(text != NULL ? text : "") };
    if (e->text.len == 0)
        return 0;
    e->fallbacks = mem_calloc(e->text.len + 1, sizeof(*e->fallbacks));
    if (e->fallbacks == NULL)
        return -ENOMEM;
    uint32_t matched = 0;
    for (size_t i = 1; i < e->text.len; i++) {
        while (matched > 0 && e->text.ptr[i] != e->text.ptr[matched])
            matched = e->fallbacks[matched];
        if (e->text.ptr[i] == e->text.ptr[matched])
            matched++;
        e->fallbacks[i + 1] = matched;
    }
    return 0;
}

void expect_body_free(struct expect_body *e) {
    mem_free(e->fallbacks);
    e->fallbacks = NULL;
}

uint32_t expect_body_feed(const struct expect_body *e, uint32_t matched, struct slice piece) {
    for (size_t i = 0; i < piece.len && matched < e->text.len; i++) {
        while (matched > 0 && piece.ptr[i] != e->text.ptr[matched])
            matched = e->fallbacks[matched];
        if (piece.ptr[i] == e->text.ptr[matched])
            matched++;
    }
    return matched;
}
