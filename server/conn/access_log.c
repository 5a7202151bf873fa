/* SPDX-License-Identifier: MIT */
/* Compiles the format of the access log once, and writes a line per answer with it. */
#include "server/conn/access_log.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/escape.h"
#include "base/json.h"
#include "base/log.h"
#include "http/server_timing.h"
#include "http/url.h"
#include "server/conn/channel.h"
#include "server/conn/proxied.h"
#include "server/observe/stats.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PIECES_MAX = 64 };

/* Appends an atom's value; `-` when there is none. `name` is that of %({name}i)s. 0 or -errno as
 * buf_append. */
typedef int access_atom_fn(struct buf *out, const struct access_entry *e, struct slice name);

/* A stretch of the format: text to copy, or an atom. */
struct piece {
    struct slice text;    /* the literal, or the name in %({name}i)s */
    access_atom_fn *atom; /* NULL: literal */
};

struct access_log {
    struct logger logger;
    struct piece pieces[PIECES_MAX];
    size_t piece_count; /* 0: JSON */
    nsec_t slow;
};

/* --- atoms --------------------------------------------------------------------------- */

#define METHOD_BYTES_MAX 32 /* shown of a method that nobody knows */

/* Cuts what no line takes. */
static struct slice cut(struct slice text) {
    return slice_take(text, LOGGER_LINE_BYTES);
}

/* Escapes, so that a client cannot forge another atom, a line, or a terminal's commands. */
static int put_text(struct buf *out, struct slice text) {
    return escape_append(out, text.len > 0 ? cut(text) : SLICE("-"));
}

static int put_msec(struct buf *out, nsec_t span) {
    return buf_printf(out, "%lld.%03lld", (long long)(span / NSEC_PER_MSEC),
                      (long long)(span % NSEC_PER_MSEC / NSEC_PER_USEC));
}

static struct slice target_path(const struct access_entry *e) {
    struct slice path, query;

    http_target_split(e->head->target, &path, &query);
    return path;
}

static struct slice target_query(const struct access_entry *e) {
    struct slice path, query;

    http_target_split(e->head->target, &path, &query);
    return query;
}

static struct slice field(const struct access_entry *e, struct slice name) {
    struct slice value = SLICE("");

    return http_field_find(e->head, name, &value) ? value : SLICE("");
}

/* --- gunicorn's atoms ----------------------------------------------------------------- */

static int put_client(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    struct realip realip = realip_of(e->head, e->peer, &e->worker->config->forwarded_allow);
    char text[PEER_TEXT_BYTES];

    return put_text(out, slice_str(peer_format(&realip.client, text)));
}

static int put_nothing(struct buf *out, const struct access_entry *e UNUSED,
                       struct slice name UNUSED) {
    return put_text(out, SLICE(""));
}

/* [10/Oct/2000:13:55:36 +0000] */
static int put_time(struct buf *out, const struct access_entry *e UNUSED,
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

static int put_protocol(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    if (e->head->protocol.len > 0)
        return put_text(out, e->head->protocol);
    return buf_printf(out, "HTTP/1.%u", e->head->version_minor);
}

/* Without a head that could be read there is none to show. */
static int put_request(struct buf *out, const struct access_entry *e, struct slice name) {
    struct slice parts[] = { e->head->method_text, SLICE(" "), e->head->target, SLICE(" ") };
    int rc = 0;

    if (e->head->method_text.len == 0)
        return put_nothing(out, e, name);
    for (size_t i = 0; i < ARRAY_LEN(parts) && rc == 0; i++)
        rc = escape_append(out, cut(parts[i]));
    return rc < 0 ? rc : put_protocol(out, e, name);
}

static int put_method(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_text(out, e->head->method_text);
}

static int put_path(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_text(out, target_path(e));
}

static int put_query(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return escape_append(out, cut(target_query(e)));
}

static int put_status(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_printf(out, "%u", e->status);
}

static int put_bytes(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_printf(out, "%llu", (unsigned long long)e->body_bytes);
}

static int put_bytes_or_dash(struct buf *out, const struct access_entry *e, struct slice name) {
    return e->body_bytes > 0 ? put_bytes(out, e, name) : put_nothing(out, e, name);
}

static int put_referer(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_text(out, field(e, SLICE("Referer")));
}

static int put_agent(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_text(out, field(e, SLICE("User-Agent")));
}

static int put_seconds(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_printf(out, "%lld", (long long)((e->ended_at - e->ready_at) / NSEC_PER_SEC));
}

static int put_whole_msec(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_printf(out, "%lld", (long long)((e->ended_at - e->ready_at) / NSEC_PER_MSEC));
}

static int put_usec(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_printf(out, "%lld", (long long)((e->ended_at - e->ready_at) / NSEC_PER_USEC));
}

static int put_seconds_exact(struct buf *out, const struct access_entry *e,
                             struct slice name UNUSED) {
    nsec_t span = e->ended_at - e->ready_at;

    return buf_printf(out, "%lld.%06lld", (long long)(span / NSEC_PER_SEC),
                      (long long)(span % NSEC_PER_SEC / NSEC_PER_USEC));
}

static int put_pid(struct buf *out, const struct access_entry *e UNUSED, struct slice name UNUSED) {
    return buf_printf(out, "<%d>", (int)getpid());
}

static int put_field(struct buf *out, const struct access_entry *e, struct slice name) {
    return put_text(out, field(e, name));
}

static int put_variable(struct buf *out, const struct access_entry *e UNUSED, struct slice name) {
    char text[128];

    if (name.len >= sizeof(text))
        return put_text(out, SLICE(""));
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    return put_text(out, slice_str(getenv(text)));
}

/* --- atoms of our own ------------------------------------------------------------------------- */

static int put_queue(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_msec(out, e->spent.queue);
}

static int put_upstream(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_msec(out, e->spent.upstream);
}

static int put_database(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_msec(out, e->spent.database);
}

static int put_worker(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_printf(out, "%u", e->worker->index);
}

static int put_model(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return buf_append(out, slice_str(e->worker->config->model->name));
}

static int put_id(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    return put_text(out, e->request_id);
}

static int put_subject(struct buf *out, const struct access_entry *e, struct slice name UNUSED) {
    char text[TLS_SUBJECT_BYTES];

    return put_text(out, slice_str(channel_subject(e->channel, text)));
}

/* --- atoms by name ----------------------------------------------------------------------- */

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
    { SLICE_INIT("i"), put_field },
    { SLICE_INIT("e"), put_variable },
    { SLICE_INIT("queue"), put_queue },
    { SLICE_INIT("upstream"), put_upstream },
    { SLICE_INIT("database"), put_database },
    { SLICE_INIT("worker"), put_worker },
    { SLICE_INIT("model"), put_model },
    { SLICE_INIT("id"), put_id },
    { SLICE_INIT("subject"), put_subject },
};

static access_atom_fn *find_atom(struct slice name) {
    for (size_t i = 0; i < ARRAY_LEN(atoms); i++)
        if (slice_eq(atoms[i].name, name))
            return atoms[i].atom;
    return NULL;
}

/* --- JSON ------------------------------------------------------------------------------ */

static double msec(nsec_t span) {
    return (double)(span / NSEC_PER_USEC) / 1000.0;
}

/* For free(3); NULL when out of memory. */
static char *line_of(const struct access_entry *e, size_t text_max) {
    struct realip realip = realip_of(e->head, e->peer, &e->worker->config->forwarded_allow);
    char peer[PEER_TEXT_BYTES], when[CLOCK_TEXT_BYTES], subject[TLS_SUBJECT_BYTES];
    struct slice certified = slice_str(channel_subject(e->channel, subject));

    return json_line(json_pack(
        "{s:s, s:s, s:o, s:o, s:i, s:I, s:o, s:o, s:f, s:f, s:f, s:f, s:i, s:s, s:i, s:o, s:o*}",
        "time", clock_format(clock_wall(), when), "client", peer_format(&realip.client, peer),
        "method", json_text(e->head->method_text, METHOD_BYTES_MAX), "target",
        json_text(e->head->target, text_max), "status", (int)e->status, "bytes",
        (json_int_t)e->body_bytes, "referer", json_text(field(e, SLICE("Referer")), text_max),
        "agent", json_text(field(e, SLICE("User-Agent")), text_max), "ms",
        msec(e->ended_at - e->ready_at), "queue_ms", msec(e->spent.queue), "upstream_ms",
        msec(e->spent.upstream), "database_ms", msec(e->spent.database), "worker",
        (int)e->worker->index, "model", e->worker->config->model->name, "pid", (int)getpid(), "id",
        json_text(e->request_id, e->request_id.len), "subject",
        certified.len > 0 ? json_text(certified, text_max) : NULL));
}

/* Cuts texts until the line fits, for a cut object is none. A quote takes two bytes, a character
 * that is not ASCII up to six: three for each byte of UTF-8, or six for one of Latin-1. */
static int put_json(struct buf *out, const struct access_entry *e) {
    static const size_t shares[] = { 4, 12, 32 };
    char *text = NULL;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        free(text);
        text = line_of(e, LOGGER_LINE_BYTES / shares[i]);
        if (text == NULL || strlen(text) + sizeof("\n") <= LOGGER_LINE_BYTES)
            break;
    }
    rc = text != NULL ? buf_printf(out, "%s\n", text) : -ENOMEM;
    free(text);
    return rc;
}

/* --- the format ------------------------------------------------------------------- */

static int add_piece(struct access_log *log, struct piece piece, struct error *err) {
    if (log->piece_count == PIECES_MAX)
        return error_set(err, -EINVAL, "--access-logformat: at most %d atoms and texts",
                         PIECES_MAX);
    log->pieces[log->piece_count++] = piece;
    return 0;
}

/* Adds the atom whose `name` stands between "%(" and ")s". */
static int add_atom(struct access_log *log, struct slice name, struct error *err) {
    struct piece piece = { .atom = find_atom(name) };

    if (name.len > 3 && name.ptr[0] == '{' && name.ptr[name.len - 2] == '}') {
        piece.text = slice_of(name.ptr + 1, name.len - 3);
        piece.atom = find_atom(slice_of(name.ptr + name.len - 1, 1));
        if (piece.atom != put_field && piece.atom != put_variable)
            piece.atom = NULL;
    }
    if (piece.atom == NULL)
        return error_set(err, -EINVAL, "--access-logformat: '%%(%.*s)s' is not an atom",
                         (int)name.len, name.ptr);
    return add_piece(log, piece, err);
}

static int add_literal(struct access_log *log, struct slice text, struct error *err) {
    return text.len == 0 ? 0 : add_piece(log, (struct piece){ .text = text }, err);
}

static int compile(struct access_log *log, const char *format, struct error *err) {
    struct slice rest = slice_str(format);
    int rc = 0;

    log->piece_count = 0;
    if (strcmp(format, "json") == 0)
        return 0;
    while (rest.len > 0 && rc == 0) {
        const char *start = strstr(rest.ptr, "%(");
        const char *end = start != NULL ? strstr(start, ")s") : NULL;

        if (start == NULL)
            return add_literal(log, rest, err);
        if (end == NULL)
            return error_set(err, -EINVAL, "--access-logformat: '%s' does not end in ')s'", start);
        rc = add_literal(log, slice_take(rest, (size_t)(start - rest.ptr)), err);
        if (rc == 0)
            rc = add_atom(log, slice_of(start + 2, (size_t)(end - start - 2)), err);
        rest = slice_drop(rest, (size_t)(end + 2 - rest.ptr));
    }
    return rc;
}

int access_log_check(const char *format, struct error *err) {
    struct access_log log;

    return compile(&log, format, err);
}

/* --- life ---------------------------------------------------------------------------- */

int access_log_open(const struct access_log_config *config, const struct privileges *owner,
                    struct access_log **ret, struct error *err) {
    struct access_log *log;
    int rc;

    *ret = NULL;
    if (config->path == NULL)
        return 0;
    log = mem_calloc(1, sizeof(*log));
    if (log == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    log->slow = config->slow;
    rc = compile(log, config->format, err);
    if (rc == 0) {
        rc = logger_open(&log->logger, config->path, owner, err);
        if (rc < 0)
            logger_close(&log->logger);
    }
    if (rc < 0)
        mem_free(log);
    else
        *ret = log;
    return rc;
}

struct logger *access_log_logger(struct access_log *log) {
    return log != NULL ? &log->logger : NULL;
}

void access_log_close(struct access_log *log) {
    if (log == NULL)
        return;
    logger_close(&log->logger);
    mem_free(log);
}

/* --- a line --------------------------------------------------------------------------- */

/* Stops at the length of a line, however much longer it would be. */
static int put_line(const struct access_log *log, struct buf *out, const struct access_entry *e) {
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < log->piece_count && buf_unread(out).len < LOGGER_LINE_BYTES;
         i++) {
        const struct piece *piece = &log->pieces[i];

        rc = piece->atom != NULL ? piece->atom(out, e, piece->text) : buf_append(out, piece->text);
    }
    return rc == 0 ? buf_append(out, SLICE("\n")) : rc;
}

/* Ends in "..." where it is cut. */
static struct slice fit(struct buf *line) {
    static const struct slice end = SLICE_INIT("...\n");
    struct slice whole = buf_unread(line);
    size_t len;

    if (whole.len < LOGGER_LINE_BYTES)
        return whole;
    len = escape_cut(whole, LOGGER_LINE_BYTES - 1 - end.len);
    memcpy(buf_tail(line) - whole.len + len, end.ptr, end.len);
    return slice_take(whole, len + end.len);
}

/* False when the line is lost. */
static bool write_line(const struct access_log *log, const struct access_entry *e) {
    bool written = false;
    struct buf out;
    int rc;

    /* A line, and one atom of three texts more, each byte of which is spelled with four */
    buf_init(&out, 16 * LOGGER_LINE_BYTES);
    rc = log->piece_count > 0 ? put_line(log, &out, e) : put_json(&out, e);
    if (rc == 0)
        written = logger_write(&log->logger, fit(&out));
    buf_free(&out);
    return written;
}

void access_log_write(const struct access_log *log, const struct access_entry *e) {
    static struct log_rate rate = { .per_second = 1 };
    struct stats *stats = e->worker->stats;

    if (e->ended_at - e->ready_at < log->slow || write_line(log, e))
        return;
    stats_add(stats, STATS_log_dropped, 1);
    log_limited(&rate, LOG_LEVEL_WARN, "access log lines were dropped worker=%u count=%llu",
                e->worker->index, stats_get(stats, STATS_log_dropped));
}

/* --- Server-Timing ---------------------------------------------------------------------------- */

/* The handler has what is left of the time, so that the parts add up to the whole. */
struct slice access_format_timing(const struct access_spent *spent, nsec_t ready_at,
                                  char text[ACCESS_TIMING_BYTES]) {
    nsec_t own = clock_now() - ready_at - spent->queue - spent->upstream - spent->database;
    char *at = server_timing_put(text, true, SLICE("queue"), spent->queue / NSEC_PER_USEC);

    at = server_timing_put(at, false, SLICE("handler"), own / NSEC_PER_USEC);
    at = server_timing_put(at, false, SLICE("upstream"), spent->upstream / NSEC_PER_USEC);
    at = server_timing_put(at, false, SLICE("db"), spent->database / NSEC_PER_USEC);
    return slice_of(text, (size_t)(at - text));
}
