/* SPDX-License-Identifier: MIT */
/* Checks that a connection tells the same story however its bytes arrive. */
#include "tests/fuzz/connection.h"
#include <stdlib.h>

#define NARROW                                                                \
    .start_line_bytes = 24, .field_bytes = 26, .fields = 3, .head_bytes = 80, \
    .chunk_ext_bytes = 6, .body_bytes = 9

static const struct http_limits tiny = {
    .start_line_bytes = 16, .field_bytes = 12, .fields = 1, .head_bytes = 40
};
static const struct http_limits limits[] = {
    HTTP_LIMITS_DEFAULT,
    { NARROW },
    HTTP_LIMITS_LENIENT(&tiny),
    { NARROW, .usual = &tiny },
};

enum { LENIENT_FROM = 2 /* of `limits`: not for servers */ };

/* Each feed sees its bytes at an address of their own, so that a sanitizer guards both ends. */
static struct slice place(void *arg, struct slice unread) {
    char **last = arg;
    free(*last);
    *last = malloc(unread.len > 0 ? unread.len : 1);
    ASSERT(*last != NULL);
    if (unread.len > 0)
        memcpy(*last, unread.ptr, unread.len);
    return slice_of(*last, unread.len);
}

void connection_check(struct drive *plan, struct slice steps, struct slice input) {
    const struct slice splits[] = { SLICE(""), steps, SLICE("\0") };
    char first[sizeof(plan->text)];
    char *last = NULL;
    plan->place = place;
    plan->place_arg = &last;
    size_t count = plan->role == HTTP_CLIENT ? ARRAY_LEN(limits) : LENIENT_FROM;
    for (size_t l = 0; l < count; l++) {
        plan->limits = &limits[l];
        for (size_t s = 0; s < 2 * ARRAY_LEN(splits); s++) {
            plan->steps = splits[s / 2];
            plan->eof_at_once = s % 2 == 1;
            drive_run(plan, input);
            if (s == 0)
                memcpy(first, plan->text, plan->len + 1);
            ASSERT(strcmp(first, plan->text) == 0);
        }
    }
    free(last);
}
