/* SPDX-License-Identifier: MIT */
/* Counts what responses were like, and tells it in text and JSON. */
#include "loadgen/answers.h"
#include "base/escape.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key, *text;
} lenience_rows[HTTP_LENIENCE_COUNT] = {
#define LENIENCE_ROW(name, key, text) { key, text },
    HTTP_LENIENCES(LENIENCE_ROW)
#undef LENIENCE_ROW
};

/* --- counting ----------------------------------------------------------------------------------
 */

static void add_reason(struct answers *a, const char *text, uint64_t count) {
    size_t i = 0;
    while (i < ANSWERS_REASONS - 1 && a->reasons[i].count > 0 &&
           strcmp(a->reasons[i].text, text) != 0)
        i++;
    if (a->reasons[i].count == 0)
        snprintf(a->reasons[i].text, sizeof(a->reasons[i].text), "%s", text);
    a->reasons[i].count += count;
}

static void keep_first(struct answers *a, struct slice bytes) {
    if (a->first_len > 0 || bytes.len == 0)
        return;
    a->first_len = bytes.len < sizeof(a->first) ? bytes.len : sizeof(a->first);
    memcpy(a->first, bytes.ptr, a->first_len);
}

void answers_add_malformed(struct answers *a, const char *why, struct slice bytes) {
    add_reason(a, why, 1);
    keep_first(a, bytes);
}

uint64_t answers_count(const struct answers *a, int first, int last) {
    uint64_t sum = 0;
    for (int i = first; i <= last; i++)
        sum += a->statuses[i];
    return sum;
}

static uint64_t count_2xx(const struct answers *a) {
    return answers_count(a, 200, 299);
}

void answers_add_length(struct answers *a, uint64_t body_bytes) {
    if (body_bytes < a->shortest || count_2xx(a) == 1)
        a->shortest = body_bytes;
    if (body_bytes > a->longest)
        a->longest = body_bytes;
}

void answers_add_lenient(struct answers *a, unsigned noted) {
    a->lenient++;
    for (unsigned i = 0; i < HTTP_LENIENCE_COUNT; i++)
        a->leniences[i] += noted >> i & 1;
}

/* Before the statuses are added. */
static void merge_lengths(struct answers *to, uint64_t shortest, uint64_t longest) {
    if (shortest < to->shortest || count_2xx(to) == 0)
        to->shortest = shortest;
    if (longest > to->longest)
        to->longest = longest;
}

void answers_merge(struct answers *to, const struct answers *from) {
    if (count_2xx(from) > 0)
        merge_lengths(to, from->shortest, from->longest);
    for (int i = 0; i < ANSWERS_STATUSES; i++)
        to->statuses[i] += from->statuses[i];
    to->lenient += from->lenient;
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        to->leniences[i] += from->leniences[i];
    to->overrun += from->overrun;
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (from->reasons[i].count > 0)
            add_reason(to, from->reasons[i].text, from->reasons[i].count);
    keep_first(to, slice_of(from->first, from->first_len));
    for (int i = 0; i < RESOLVE_MAX; i++) {
        to->addresses[i].connections += from->addresses[i].connections;
        to->addresses[i].responses += from->addresses[i].responses;
        if (to->addresses[i].left_out == 0)
            to->addresses[i].left_out = from->addresses[i].left_out;
    }
}

void answers_restart(struct answers *a) {
    struct answers_address addresses[RESOLVE_MAX];
    memcpy(addresses, a->addresses, sizeof(addresses));
    memset(a, 0, sizeof(*a));
    memcpy(a->addresses, addresses, sizeof(addresses));
    for (int i = 0; i < RESOLVE_MAX; i++)
        a->addresses[i].responses = 0;
}

/* --- text --------------------------------------------------------------------------------------
 */

const char *answers_show_statuses(const struct answers *a, char *text, size_t size) {
    size_t len = 0;
    text[0] = '\0';
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char one[40];
        if (a->statuses[i] == 0)
            continue;
        int n =
            snprintf(one, sizeof(one), "%s%d: %" PRIu64, len > 0 ? ", " : "", i, a->statuses[i]);
        if (len + (size_t)n + sizeof(", ...") > size) {
            memcpy(text + len, ", ...", sizeof(", ..."));
            return text;
        }
        memcpy(text + len, one, (size_t)n + 1);
        len += (size_t)n;
    }
    return text;
}

static void print_lenient(FILE *out, const struct answers *a) {
    fprintf(out, "\nResponses that only a lenient client accepts: %" PRIu64 " (--strict refuses)\n",
            a->lenient);
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        if (a->leniences[i] > 0)
            fprintf(out, "%9" PRIu64 "  %s\n", a->leniences[i], lenience_rows[i].text);
}

static void print_malformed(FILE *out, const struct answers *a) {
    char text[ANSWERS_FIRST_BYTES * 2];
    fprintf(out, "\nMalformed responses\n");
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (a->reasons[i].count > 0)
            fprintf(out, "%9" PRIu64 "  %s\n", a->reasons[i].count, a->reasons[i].text);
    if (a->first_len == 0)
        return;
    escape_bytes(text, sizeof(text), slice_of(a->first, a->first_len));
    fprintf(out, "The first one: %s\n", text);
}

void answers_print(FILE *out, const struct answers *a) {
    if (a->shortest < a->longest)
        fprintf(out, "\nBody lengths: %" PRIu64 " to %" PRIu64 " bytes (of 2xx responses)\n",
                a->shortest, a->longest);
    if (a->reasons[0].count > 0)
        print_malformed(out, a);
    if (a->lenient > 0)
        print_lenient(out, a);
    if (a->overrun > 0)
        fprintf(out,
                "\nResponses followed by bytes that nobody asked for: %" PRIu64
                "; their connections were closed and not reused\n",
                a->overrun);
}

void answers_print_addresses(FILE *out, const struct answers *a, const struct resolved *addresses) {
    char text[ADDRESS_TEXT_BYTES];
    if (addresses->count < 2)
        return;
    fprintf(out, "\nAddresses, in turns\n");
    for (size_t i = 0; i < addresses->count; i++) {
        const struct answers_address *one = &a->addresses[i];
        fprintf(out, "  %-24s %9" PRIu64 " responses, %" PRIu64 " connections",
                address_format(&addresses->addresses[i], text), one->responses, one->connections);
        if (one->left_out != 0)
            fprintf(out, "; left out: %s", strerror(one->left_out));
        fputc('\n', out);
    }
}

/* --- JSON --------------------------------------------------------------------------------------
 */

/* Sets `key` to `value`, which may be NULL for want of memory. */
static void put(json_t *object, const char *key, json_t *value, int *rc) {
    if (json_object_set_new(object, key, value) != 0)
        *rc = -ENOMEM;
}

static json_t *count_json(uint64_t value) {
    return json_integer((json_int_t)value);
}

static json_t *statuses_json(const struct answers *a, int *rc) {
    json_t *object = json_object();
    for (int i = 0; i < ANSWERS_STATUSES; i++) {
        char key[8];
        if (a->statuses[i] == 0)
            continue;
        snprintf(key, sizeof(key), "%d", i);
        put(object, key, count_json(a->statuses[i]), rc);
    }
    return object;
}

static json_t *lenient_json(const struct answers *a, int *rc) {
    json_t *object = json_object();
    put(object, "responses", count_json(a->lenient), rc);
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        put(object, lenience_rows[i].key, count_json(a->leniences[i]), rc);
    return object;
}

static json_t *malformed_json(const struct answers *a, int *rc) {
    json_t *object = json_object(), *reasons = json_object();
    char text[ANSWERS_FIRST_BYTES * 4 + 1];
    if (a->reasons[0].count == 0) {
        json_decref(object);
        json_decref(reasons);
        return json_null();
    }
    put(object, "reasons", reasons, rc);
    for (int i = 0; i < ANSWERS_REASONS; i++)
        if (a->reasons[i].count > 0)
            put(reasons, a->reasons[i].text, count_json(a->reasons[i].count), rc);
    escape_bytes(text, sizeof(text), slice_of(a->first, a->first_len));
    put(object, "first", json_string(text), rc);
    return object;
}

static json_t *addresses_json(const struct answers *a, const struct resolved *addresses, int *rc) {
    json_t *list = json_array();
    for (size_t i = 0; i < addresses->count; i++) {
        const struct answers_address *one = &a->addresses[i];
        char text[ADDRESS_TEXT_BYTES];
        json_t *item = json_object();
        put(item, "address", json_string(address_format(&addresses->addresses[i], text)), rc);
        put(item, "connections", count_json(one->connections), rc);
        put(item, "responses", count_json(one->responses), rc);
        put(item, "left_out",
            one->left_out != 0 ? json_string(strerror(one->left_out)) : json_null(), rc);
        if (json_array_append_new(list, item) != 0)
            *rc = -ENOMEM;
    }
    return list;
}

int answers_put(json_t *root, const struct answers *a, const struct resolved *addresses) {
    int rc = 0;
    put(root, "statuses", statuses_json(a, &rc), &rc);
    put(root, "body_lengths",
        count_2xx(a) > 0 ? json_pack("[I,I]", (json_int_t)a->shortest, (json_int_t)a->longest)
                         : json_null(),
        &rc);
    put(root, "lenient", lenient_json(a, &rc), &rc);
    put(root, "overrun", count_json(a->overrun), &rc);
    put(root, "malformed", malformed_json(a, &rc), &rc);
    put(root, "addresses", addresses_json(a, addresses, &rc), &rc);
    return rc;
}

static uint64_t count_of(const json_t *value) {
    json_int_t count = json_integer_value(value);
    return count > 0 ? (uint64_t)count : 0;
}

void answers_add_json(struct answers *a, const json_t *root) {
    json_t *statuses = json_object_get(root, "statuses");
    json_t *lengths = json_object_get(root, "body_lengths");
    json_t *lenient = json_object_get(root, "lenient");
    json_t *malformed = json_object_get(root, "malformed");
    json_t *value;
    const char *key;

    if (json_array_size(lengths) == 2)
        merge_lengths(a, count_of(json_array_get(lengths, 0)),
                      count_of(json_array_get(lengths, 1)));
    json_object_foreach(statuses, key, value) {
        long status = strtol(key, NULL, 10);
        if (status >= 0 && status < ANSWERS_STATUSES)
            a->statuses[status] += count_of(value);
    }
    a->lenient += count_of(json_object_get(lenient, "responses"));
    for (int i = 0; i < HTTP_LENIENCE_COUNT; i++)
        a->leniences[i] += count_of(json_object_get(lenient, lenience_rows[i].key));
    a->overrun += count_of(json_object_get(root, "overrun"));
    json_object_foreach(json_object_get(malformed, "reasons"), key, value)
        add_reason(a, key, count_of(value));
    const char *first = json_string_value(json_object_get(malformed, "first"));
    if (first != NULL)
        keep_first(a, slice_str(first));
}
