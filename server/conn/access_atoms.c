/* SPDX-License-Identifier: MIT */
/* What each atom of the access log says about an answer. */
#include "server/conn/access_atoms.h"
#include "base/escape.h"
#include "http/url.h"
#include "proc/logger.h"
#include "server/conn/realip.h"
#include "server/conn/session.h"
#include "server/model/model.h"
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define METHOD_BYTES_MAX 32 /* shown of a method that nobody knows */

/* A line takes no more of it. */
static struct slice cut(struct slice text) {
    return slice_take(text, LOGGER_LINE_BYTES);
}

/* Whoever sent it must not be able to forge another atom, a line, or a terminal's commands. */
static int put_text(struct buf *out, struct slice text) {
    return escape_append(out, text.len > 0 ? cut(text) : SLICE("-"));
}

static int put_msec(struct buf *out, nsec_t span) {
    return buf_printf(out, "%lld.%03lld", (long long)(span / NSEC_PER_MSEC),
                      (long long)(span % NSEC_PER_MSEC / NSEC_PER_USEC));
}

static struct slice target_path(const struct session *s) {
    struct slice path, query;

    http_target_split(s->head.target, &path, &query);
    return path;
}

static struct slice target_query(const struct session *s) {
    struct slice path, query;

    http_target_split(s->head.target, &path, &query);
    return query;
}

static struct slice field(const struct session *s, struct slice name) {
    struct slice value = SLICE("");

    return http_field_find(&s->head, name, &value) ? value : SLICE("");
}

/* --- gunicorn's ----------------------------------------------------------------- */

static int put_client(struct buf *out, const struct session *s, nsec_t now UNUSED,
                      struct slice name UNUSED) {
    struct realip origin = realip_of(s);
    char text[PEER_TEXT_BYTES];

    return put_text(out, slice_str(peer_format(&origin.client, text)));
}

static int put_nothing(struct buf *out, const struct session *s UNUSED, nsec_t now UNUSED,
                       struct slice name UNUSED) {
    return put_text(out, SLICE(""));
}

/* [10/Oct/2000:13:55:36 +0000] */
static int put_time(struct buf *out, const struct session *s UNUSED, nsec_t now UNUSED,
                    struct slice name UNUSED) {
    static _Thread_local time_t cached_second = -1;
    static _Thread_local char text[40];
    static _Thread_local size_t len;
    time_t seconds = time(NULL);
    struct tm parts;

    if (seconds != cached_second) { /* all threads share the C library's lock of time zones */
        localtime_r(&seconds, &parts);
        len = strftime(text, sizeof(text), "[%d/%b/%Y:%H:%M:%S %z]", &parts);
        cached_second = seconds;
    }
    return buf_append(out, slice_of(text, len));
}

static int put_protocol(struct buf *out, const struct session *s, nsec_t now UNUSED,
                        struct slice name UNUSED) {
    if (s->head.protocol.len > 0)
        return put_text(out, s->head.protocol);
    return buf_printf(out, "HTTP/1.%u", s->head.version_minor);
}

/* Without a head that could be read there is none to show. */
static int put_request(struct buf *out, const struct session *s, nsec_t now, struct slice name) {
    struct slice parts[] = { s->head.method_text, SLICE(" "), s->head.target, SLICE(" ") };
    int rc = 0;

    if (s->head.method_text.len == 0)
        return put_nothing(out, s, now, name);
    for (size_t i = 0; i < ARRAY_LEN(parts) && rc == 0; i++)
        rc = escape_append(out, cut(parts[i]));
    return rc < 0 ? rc : put_protocol(out, s, now, name);
}

static int put_method(struct buf *out, const struct session *s, nsec_t now UNUSED,
                      struct slice name UNUSED) {
    return put_text(out, s->head.method_text);
}

static int put_path(struct buf *out, const struct session *s, nsec_t now UNUSED,
                    struct slice name UNUSED) {
    return put_text(out, target_path(s));
}

static int put_query(struct buf *out, const struct session *s, nsec_t now UNUSED,
                     struct slice name UNUSED) {
    return escape_append(out, cut(target_query(s)));
}

static int put_status(struct buf *out, const struct session *s, nsec_t now UNUSED,
                      struct slice name UNUSED) {
    return buf_printf(out, "%u", s->status);
}

static int put_bytes(struct buf *out, const struct session *s, nsec_t now UNUSED,
                     struct slice name UNUSED) {
    return buf_printf(out, "%llu", (unsigned long long)s->body_bytes);
}

static int put_bytes_or_dash(struct buf *out, const struct session *s, nsec_t now,
                             struct slice name) {
    return s->body_bytes > 0 ? put_bytes(out, s, now, name) : put_nothing(out, s, now, name);
}

static int put_referer(struct buf *out, const struct session *s, nsec_t now UNUSED,
                       struct slice name UNUSED) {
    return put_text(out, field(s, SLICE("Referer")));
}

static int put_agent(struct buf *out, const struct session *s, nsec_t now UNUSED,
                     struct slice name UNUSED) {
    return put_text(out, field(s, SLICE("User-Agent")));
}

static int put_seconds(struct buf *out, const struct session *s, nsec_t now,
                       struct slice name UNUSED) {
    return buf_printf(out, "%lld", (long long)((now - s->ready_at) / NSEC_PER_SEC));
}

static int put_whole_msec(struct buf *out, const struct session *s, nsec_t now,
                          struct slice name UNUSED) {
    return buf_printf(out, "%lld", (long long)((now - s->ready_at) / NSEC_PER_MSEC));
}

static int put_usec(struct buf *out, const struct session *s, nsec_t now,
                    struct slice name UNUSED) {
    return buf_printf(out, "%lld", (long long)((now - s->ready_at) / NSEC_PER_USEC));
}

static int put_seconds_exact(struct buf *out, const struct session *s, nsec_t now,
                             struct slice name UNUSED) {
    nsec_t span = now - s->ready_at;

    return buf_printf(out, "%lld.%06lld", (long long)(span / NSEC_PER_SEC),
                      (long long)(span % NSEC_PER_SEC / NSEC_PER_USEC));
}

static int put_pid(struct buf *out, const struct session *s UNUSED, nsec_t now UNUSED,
                   struct slice name UNUSED) {
    return buf_printf(out, "<%d>", (int)getpid());
}

int access_atom_field(struct buf *out, const struct session *s, nsec_t now UNUSED,
                      struct slice name) {
    return put_text(out, field(s, name));
}

int access_atom_variable(struct buf *out, const struct session *s UNUSED, nsec_t now UNUSED,
                         struct slice name) {
    char text[128];

    if (name.len >= sizeof(text))
        return put_text(out, SLICE(""));
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return put_text(out, slice_str(getenv(text)));
}

/* --- ours ------------------------------------------------------------------------- */

static int put_queue(struct buf *out, const struct session *s, nsec_t now UNUSED,
                     struct slice name UNUSED) {
    return put_msec(out, s->spent.queue);
}

static int put_upstream(struct buf *out, const struct session *s, nsec_t now UNUSED,
                        struct slice name UNUSED) {
    return put_msec(out, s->spent.upstream);
}

static int put_database(struct buf *out, const struct session *s, nsec_t now UNUSED,
                        struct slice name UNUSED) {
    return put_msec(out, s->spent.database);
}

static int put_worker(struct buf *out, const struct session *s, nsec_t now UNUSED,
                      struct slice name UNUSED) {
    return buf_printf(out, "%u", s->worker->index);
}

static int put_model(struct buf *out, const struct session *s, nsec_t now UNUSED,
                     struct slice name UNUSED) {
    return buf_append(out, slice_str(s->worker->config->model->name));
}

/* --- by name ----------------------------------------------------------------------- */

static const struct {
    struct slice name;
    access_atom_fn *atom;
} atoms[] = {
    { SLICE_INIT("h"), put_client },
    { SLICE_INIT("l"), put_nothing },
    { SLICE_INIT("u"), put_nothing },
    { SLICE_INIT("t"), put_time },
    { SLICE_INIT("r"), put_request },
    { SLICE_INIT("m"), put_method },
    { SLICE_INIT("U"), put_path },
    { SLICE_INIT("q"), put_query },
    { SLICE_INIT("H"), put_protocol },
    { SLICE_INIT("s"), put_status },
    { SLICE_INIT("B"), put_bytes },
    { SLICE_INIT("b"), put_bytes_or_dash },
    { SLICE_INIT("f"), put_referer },
    { SLICE_INIT("a"), put_agent },
    { SLICE_INIT("T"), put_seconds },
    { SLICE_INIT("M"), put_whole_msec },
    { SLICE_INIT("D"), put_usec },
    { SLICE_INIT("L"), put_seconds_exact },
    { SLICE_INIT("p"), put_pid },
    { SLICE_INIT("i"), access_atom_field },
    { SLICE_INIT("e"), access_atom_variable },
    { SLICE_INIT("queue"), put_queue },
    { SLICE_INIT("upstream"), put_upstream },
    { SLICE_INIT("database"), put_database },
    { SLICE_INIT("worker"), put_worker },
    { SLICE_INIT("model"), put_model },
};

access_atom_fn *access_atom_find(struct slice name) {
    for (size_t i = 0; i < ARRAY_LEN(atoms); i++)
        if (slice_eq(atoms[i].name, name))
            return atoms[i].atom;
    return NULL;
}

/* --- JSON ------------------------------------------------------------------------------ */

static double msec(nsec_t span) {
    return (double)(span / NSEC_PER_USEC) / 1000.0;
}

static json_t *json_cut(struct slice text, bool cut) {
    return json_sprintf("%.*s%s", (int)text.len, text.ptr != NULL ? text.ptr : "",
                        cut ? "..." : "");
}

/* At most `max` bytes, and "..." for the rest. Bytes that are no UTF-8 cannot stand in JSON; they
 * are shown as '?'. */
static json_t *json_text(struct slice text, size_t max) {
    bool cut = text.len > max;
    json_t *value;
    char *copy;

    while (cut && max > 0 && ((unsigned char)text.ptr[max] & 0xc0) == 0x80)
        max--; /* within a character */
    text = slice_take(text, max);
    value = json_cut(text, cut);
    copy = value == NULL ? slice_dup(text) : NULL;
    for (size_t i = 0; copy != NULL && i < text.len; i++)
        if (copy[i] < ' ' || copy[i] > '~')
            copy[i] = '?';
    if (copy != NULL)
        value = json_cut(slice_of(copy, text.len), cut);
    free(copy);
    return value;
}

/* For free(3); NULL when out of memory. */
static char *json_line(const struct session *s, nsec_t now, size_t text_max) {
    struct realip origin = realip_of(s);
    char peer[PEER_TEXT_BYTES], when[CLOCK_TEXT_BYTES];
    char *text;
    json_t *line = json_pack(
        "{s:s, s:s, s:o, s:o, s:i, s:I, s:o, s:o, s:f, s:f, s:f, s:f, s:i, s:s, s:i}", "time",
        clock_format(clock_wall(), when), "client", peer_format(&origin.client, peer), "method",
        json_text(s->head.method_text, METHOD_BYTES_MAX), "target",
        json_text(s->head.target, text_max), "status", (int)s->status, "bytes",
        (json_int_t)s->body_bytes, "referer", json_text(field(s, SLICE("Referer")), text_max),
        "agent", json_text(field(s, SLICE("User-Agent")), text_max), "ms", msec(now - s->ready_at),
        "queue_ms", msec(s->spent.queue), "upstream_ms", msec(s->spent.upstream), "database_ms",
        msec(s->spent.database), "worker", (int)s->worker->index, "model",
        s->worker->config->model->name, "pid", (int)getpid());

    text = line != NULL
               ? json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9))
               : NULL;
    json_decref(line);
    return text;
}

/* The line must stay whole: a cut object is none. Quotes and the like take two bytes each, and
 * characters that are not ASCII three for each byte: some of them end lines, or drive terminals. */
int access_json(struct buf *out, const struct session *s, nsec_t now) {
    char *text = json_line(s, now, LOGGER_LINE_BYTES / 4);
    int rc;

    if (text != NULL && strlen(text) + sizeof("\n") > LOGGER_LINE_BYTES) {
        free(text);
        text = json_line(s, now, LOGGER_LINE_BYTES / 12);
    }
    rc = text != NULL ? buf_printf(out, "%s\n", text) : -ENOMEM;
    free(text);
    return rc;
}
