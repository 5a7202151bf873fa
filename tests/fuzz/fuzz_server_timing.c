/* SPDX-License-Identifier: MIT */
/* Server-Timing: parts inside the text, every metric shorter than what was left, and durations that
 * are written as they were read. */
#include "http/server_timing.h"
#include "tests/fuzz/fuzz.h"

static void check_inside(struct slice part, struct slice whole) {
    ASSERT(part.len == 0 ||
           (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len));
}

static void check_written(int64_t usec) {
    char text[1 + SERVER_TIMING_PUT_BYTES];
    char *end = server_timing_put(text, true, SLICE("a"), usec);
    struct slice rest = slice_of(text, (size_t)(end - text));
    struct server_timing again;
    ASSERT(rest.len <= sizeof(text));
    ASSERT(server_timing_next(&rest, &again) == SERVER_TIMING_SPAN && again.usec == usec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_of((const char *)data, size), rest = text;
    struct server_timing t;
    enum server_timing_kind kind;
    size_t left = rest.len;
    while ((kind = server_timing_next(&rest, &t)) != SERVER_TIMING_END) {
        ASSERT(rest.len < left);
        left = rest.len;
        ASSERT((t.name.len > 0) == (kind != SERVER_TIMING_MALFORMED));
        check_inside(t.name, text);
        check_inside(t.desc, text);
        if (kind != SERVER_TIMING_SPAN)
            continue;
        ASSERT(t.usec >= 0 && t.usec <= SERVER_TIMING_USEC_MAX);
        check_written(t.usec);
    }
    ASSERT(rest.len == 0);
    return 0;
}
