/* SPDX-License-Identifier: MIT */
/* The chunked decoder: the same body, end and fault however the bytes arrive. */
#include "http/body.h"
#include "tests/fuzz/fuzz.h"

static const struct http_limits strict = { .chunk_ext_bytes = 40, .body_bytes = 200 };
static const struct http_limits lenient = { .chunk_ext_bytes = 40,
                                            .body_bytes = 200,
                                            .usual = &strict };

struct outcome {
    enum http_body_kind kind;
    const char *why;
    size_t used, len;
    unsigned noted;
    char text[200];
};

static void take(struct outcome *o, struct http_body_step step, struct slice unread) {
    ASSERT(step.used <= unread.len);
    o->kind = step.kind;
    o->why = step.why;
    o->used += step.used;
    if (step.kind != HTTP_BODY_DATA)
        return;
    ASSERT(step.data.len > 0 && o->len + step.data.len <= sizeof(o->text));
    ASSERT(step.data.ptr + step.data.len == unread.ptr + step.used && step.data.ptr >= unread.ptr);
    memcpy(o->text + o->len, step.data.ptr, step.data.len);
    o->len += step.data.len;
}

static struct outcome decode(const struct http_limits *limits, struct slice input,
                             struct slice steps, bool at_once) {
    struct outcome o = { .kind = HTTP_BODY_MORE };
    struct http_body body;
    size_t arrived = at_once ? input.len : 0;
    http_body_init(&body, HTTP_FRAMING_CHUNKED, 0);
    for (size_t turn = 0;; turn++) {
        do {
            struct slice unread = slice_of(input.ptr + o.used, arrived - o.used);
            take(&o, http_body_next(&body, unread, false, limits), unread);
        } while (o.kind == HTTP_BODY_DATA);
        ASSERT(body.decoded == o.len);
        o.noted = body.noted;
        if (o.kind != HTTP_BODY_MORE || arrived == input.len)
            return o;
        ASSERT(o.used == arrived);
        size_t left = input.len - arrived, step = fuzz_step(steps, turn);
        arrived += step < left ? step : left;
    }
}

/* The outcome, which is the same for all splits. */
static struct outcome check_splits(const struct http_limits *limits, struct slice input,
                                   struct slice steps) {
    struct outcome whole = decode(limits, input, steps, true);
    struct outcome parts[] = { decode(limits, input, steps, false),
                               decode(limits, input, SLICE(""), false) };
    ASSERT((whole.kind == HTTP_BODY_BAD) == (whole.why != NULL));
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        ASSERT(parts[i].kind == whole.kind && parts[i].why == whole.why);
        ASSERT(parts[i].used == whole.used && parts[i].len == whole.len);
        ASSERT(memcmp(parts[i].text, whole.text, whole.len) == 0);
        ASSERT(parts[i].noted == whole.noted);
    }
    return whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_of((const char *)data, size);
    struct slice steps = fuzz_cut_steps(&input);
    struct outcome strictly = check_splits(&strict, input, steps);
    struct outcome leniently = check_splits(&lenient, input, steps);
    ASSERT(strictly.noted == 0);
    if (strictly.kind != HTTP_BODY_BAD || leniently.noted == 0) {
        ASSERT(leniently.kind == strictly.kind && leniently.why == strictly.why);
        ASSERT(leniently.used == strictly.used && leniently.noted == 0);
    }
    return 0;
}
