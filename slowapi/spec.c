/* SPDX-License-Identifier: MIT */
/* Values before any layer says otherwise; parameters that are texts, or header lines. */
#include "slowapi/spec.h"
#include "base/alloc.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include <errno.h>
#include <stdio.h>

void spec_init(struct spec *spec, nsec_t delay, struct arena *memory) {
    *spec = (struct spec){
        .delay = dist_fixed(delay),
        .memory = memory,
        .queue = SLOWAPI_QUEUE_WAITING,
        .full = 503,
        .count = -1,
        .duration = -1,
        .interval = -1,
        .numbytes = -1,
        .chunk_size = -1,
        .failure_rate = 0.5,
        .tokens = dist_fixed(SLOWAPI_TOKENS * NSEC_PER_SEC),
    };
}

/* --- texts ------------------------------------------------------------------------------------ */

char *spec_text_dup(const struct spec_text *text, bool *ret_bad) {
    char *copy = slice_dup(text->raw);

    *ret_bad = false;
    if (copy == NULL || !text->is_encoded)
        return copy;
    long len = http_percent_decode(text->raw, copy);
    if (len >= 0) {
        copy[len] = '\0';
        return copy;
    }
    *ret_bad = true;
    mem_free(copy);
    return NULL;
}

/* --- header lines ----------------------------------------------------------------------------- */

size_t spec_drop_lines(char *lines, size_t size, struct slice name) {
    struct slice rest = slice_of(lines, size);
    size_t kept = 0;

    while (rest.len > 0) {
        struct slice line = slice_take(rest, slice_find(rest, '\n') + 1);
        rest = slice_drop(rest, line.len);
        if (slice_eq_nocase(slice_take(line, slice_find(line, ':')), name))
            continue;
        memmove(lines + kept, line.ptr, line.len);
        kept += line.len;
    }
    return kept;
}

/* A later layer replaces the lines of an earlier one; lines of one layer add up. */
static void drop_earlier_lines(struct spec *spec, struct slice name) {
    size_t base = spec_drop_lines(spec->fields, spec->fields_base, name);

    memmove(spec->fields + base, spec->fields + spec->fields_base,
            (size_t)(spec->fields_len - spec->fields_base));
    spec->fields_len -= (uint16_t)(spec->fields_base - base);
    spec->fields_base = (uint16_t)base;
}

int spec_add_line(struct spec *spec, struct slice name, struct slice value) {
    drop_earlier_lines(spec, name);
    size_t room = sizeof(spec->fields) - spec->fields_len;
    if (name.len + value.len + 5 > room)
        return -ENOSPC;
    spec->fields_len += (uint16_t)snprintf(spec->fields + spec->fields_len, room, "%.*s: %.*s\r\n",
                                           (int)name.len, name.ptr, (int)value.len, value.ptr);
    return 0;
}
