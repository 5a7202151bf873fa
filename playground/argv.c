/* SPDX-License-Identifier: MIT */
/* Builds command lines from the catalogue's words, for execv and for people. */
#include "playground/argv.h"
#include "base/escape.h"
#include "base/slice.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void argv_init(struct argv *a) {
    a->count = 0;
    a->used = 0;
    a->words[0] = NULL;
}

/* Takes over the word of `len` bytes that was written at text + used. */
static int commit(struct argv *a, size_t len) {
    if (a->count + 1 >= ARGV_WORDS_MAX || len >= sizeof(a->text) - a->used)
        return -ENOBUFS;
    a->words[a->count++] = a->text + a->used;
    a->words[a->count] = NULL;
    a->used += len + 1;
    return 0;
}

int argv_printf(struct argv *a, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(a->text + a->used, sizeof(a->text) - a->used, fmt, args);
    va_end(args);
    return len < 0 ? -ENOBUFS : commit(a, (size_t)len);
}

int argv_add(struct argv *a, const char *word) {
    return argv_printf(a, "%s", word);
}

static const char *value_of(struct slice name, const struct argv_value *values,
                            size_t value_count) {
    for (size_t i = 0; i < value_count; i++)
        if (slice_eq(name, slice_str(values[i].name)))
            return values[i].text;
    return NULL;
}

/* One word, each {name} replaced. */
static int add_expanded(struct argv *a, const char *word, const struct argv_value *values,
                        size_t value_count, struct error *err) {
    char text[ARGV_TEXT_BYTES];
    size_t len = 0;
    struct slice rest = slice_str(word);
    while (rest.len > 0) {
        size_t open = slice_find(rest, '{');
        size_t close = slice_find(rest, '}');
        struct slice plain = slice_take(rest, open);
        struct slice value = slice_of("", 0);
        if (open < close && close < rest.len) {
            struct slice name = slice_of(rest.ptr + open + 1, close - open - 1);
            value = slice_str(value_of(name, values, value_count));
            if (value.ptr == NULL)
                return error_set(err, -ENOENT, "nothing stands for the {name} in '%s'", word);
            rest = slice_drop(rest, close + 1);
        } else {
            plain = rest;
            rest = slice_drop(rest, rest.len);
        }
        if (plain.len + value.len >= sizeof(text) - len)
            return -ENOBUFS;
        memcpy(text + len, plain.ptr, plain.len);
        memcpy(text + len + plain.len, value.ptr, value.len);
        len += plain.len + value.len;
    }
    text[len] = '\0';
    return argv_add(a, text);
}

int argv_of_process(struct argv *a, const struct play_process *process,
                    const struct argv_value *values, size_t value_count, struct error *err) {
    int rc = process->program == NULL ? argv_add(a, "srv") : 0;
    for (size_t i = 0; rc == 0 && i < PLAY_ARGS_MAX && process->args[i] != NULL; i++)
        rc = add_expanded(a, process->args[i], values, value_count, err);
    if (rc == -ENOBUFS)
        error_set(err, rc, "the command of '%s' is too long", process->name);
    return rc;
}

/* A decimal number without exponent: all that the `delay` parameter takes. */
static void format_seconds(nsec_t span, char *text, size_t size) {
    int len = snprintf(text, size, "%lld.%09lld", (long long)(span / NSEC_PER_SEC),
                       (long long)(span % NSEC_PER_SEC));
    while (len > 0 && text[len - 1] == '0')
        text[--len] = '\0';
    if (len > 0 && text[len - 1] == '.')
        text[len - 1] = '\0';
}

int argv_of_load(struct argv *a, const struct play_load *load, const char *url, const char *trust) {
    char delay[32];
    format_seconds(load->delay, delay, sizeof(delay));
    int rc = argv_add(a, "srv");
    if (rc == 0)
        rc = argv_add(a, "bench");
    if (rc == 0)
        rc = argv_add(a, "-r"); /* one refused connection must not end the run */
    if (rc == 0 && load->varied)
        rc = argv_add(a, "-l");
    if (rc == 0 && load->kept)
        rc = argv_add(a, "-k");
    if (rc == 0)
        rc = argv_add(a, "-n");
    if (rc == 0)
        rc = argv_printf(a, "%u", load->requests);
    if (rc == 0)
        rc = argv_add(a, "-c");
    if (rc == 0)
        rc = argv_printf(a, "%u", load->concurrency);
    if (rc == 0 && trust[0] != '\0')
        rc = argv_add(a, "--cacert");
    if (rc == 0 && trust[0] != '\0')
        rc = argv_add(a, trust);
    if (rc == 0)
        rc = argv_printf(a, "%s?delay=%s", url, delay);
    return rc;
}

const char *argv_format(const struct argv *a, char *text, size_t size) {
    struct buf words;
    int rc = 0;
    buf_init(&words, size);
    for (size_t i = 0; i < a->count && rc == 0; i++) {
        rc = i > 0 ? buf_append(&words, SLICE(" ")) : 0;
        if (rc == 0)
            rc = escape_word(&words, slice_str(a->words[i]));
    }
    struct slice all = slice_take(buf_unread(&words), size - 1);
    snprintf(text, size, "%.*s", (int)all.len, all.ptr);
    buf_free(&words);
    return text;
}
