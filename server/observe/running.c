/* SPDX-License-Identifier: MIT */
/* Says which request has the thread. */
#include "server/observe/running.h"
#include "base/escape.h"
#include <stdio.h>
#include <string.h>

void running_describe(char what[RUNNING_WHAT_BYTES], struct slice method, struct slice target) {
    size_t room = RUNNING_WHAT_BYTES - 2, head = method.len < room ? method.len : room;
    size_t tail = target.len < room - head ? target.len : room - head;

    memcpy(what, method.ptr, head);
    what[head] = ' ';
    memcpy(what + head + 1, target.ptr, tail);
    what[head + 1 + tail] = '\0';
}

void running_set(struct running *r, struct slice method, struct slice target, nsec_t now) {
    running_describe(r->what, method, target);
    atomic_store_explicit(&r->since, now, memory_order_release);
}

void running_print(const struct running *r, char *text, size_t size) {
    nsec_t since = atomic_load_explicit(&r->since, memory_order_acquire);
    char what[4 * RUNNING_WHAT_BYTES];

    escape_quoted(what, sizeof(what), slice_of(r->what, strnlen(r->what, RUNNING_WHAT_BYTES - 1)));
    if (since == 0)
        snprintf(text, size, "request=none");
    else
        snprintf(text, size, "request=\"%s\" for_seconds=%.1f", what,
                 (double)(clock_now() - since) / NSEC_PER_SEC);
}
