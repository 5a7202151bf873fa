/* SPDX-License-Identifier: MIT */
/* Compiles the format of the access log once, and writes a line per answer with it. */
#include "server/conn/access_log.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/escape.h"
#include "base/log.h"
#include "server/conn/access_atoms.h"
#include "server/conn/session.h"
#include "server/observe/stats.h"
#include <errno.h>
#include <string.h>

enum { PIECES_MAX = 64 };

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

/* --- the format ------------------------------------------------------------------- */

static int add_piece(struct access_log *log, struct piece piece, struct error *err) {
    if (log->piece_count == PIECES_MAX)
        return error_set(err, -EINVAL, "--access-logformat: at most %d atoms and texts",
                         PIECES_MAX);
    log->pieces[log->piece_count++] = piece;
    return 0;
}

/* What stands between "%(" and ")s". */
static int add_atom(struct access_log *log, struct slice name, struct error *err) {
    struct piece piece = { .atom = access_atom_find(name) };

    if (name.len > 3 && name.ptr[0] == '{' && name.ptr[name.len - 2] == '}') {
        piece.text = slice_of(name.ptr + 1, name.len - 3);
        piece.atom = access_atom_find(slice_of(name.ptr + name.len - 1, 1));
        if (piece.atom != access_atom_field && piece.atom != access_atom_variable)
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

int access_log_start(struct access_log *log, struct error *err) {
    return log != NULL ? logger_start(&log->logger, "srv serve", err) : 0;
}

nsec_t access_log_tend(struct access_log *log, nsec_t now) {
    return log != NULL ? logger_tend(&log->logger, now) : NSEC_NEVER;
}

pid_t access_log_pid(const struct access_log *log) {
    return log != NULL ? log->logger.helper.pid : 0;
}

void access_log_close(struct access_log *log) {
    if (log == NULL)
        return;
    logger_close(&log->logger);
    mem_free(log);
}

void access_log_reopen(struct access_log *log) {
    if (log != NULL)
        logger_reopen(&log->logger);
}

/* --- a line --------------------------------------------------------------------------- */

/* What is longer is cut, however much longer it would be. */
static int put_line(const struct access_log *log, struct buf *out, const struct session *s,
                    nsec_t now) {
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < log->piece_count && buf_unread(out).len < LOGGER_LINE_BYTES;
         i++) {
        const struct piece *piece = &log->pieces[i];

        rc = piece->atom != NULL ? piece->atom(out, s, now, piece->text)
                                 : buf_append(out, piece->text);
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
static bool write_line(const struct access_log *log, const struct session *s, nsec_t now) {
    bool written = false;
    struct buf out;
    int rc;

    /* A line, and one atom of three texts more, each byte of which is spelled with four */
    buf_init(&out, 16 * LOGGER_LINE_BYTES);
    rc = log->piece_count > 0 ? put_line(log, &out, s, now) : access_json(&out, s, now);
    if (rc == 0)
        written = logger_write(&log->logger, fit(&out));
    buf_free(&out);
    return written;
}

void access_log_write(struct access_log *log, const struct session *s, nsec_t now) {
    static struct log_rate rate = { .per_second = 1 };

    if (log == NULL || now - s->ready_at < log->slow || write_line(log, s, now))
        return;
    stats_add(s->worker->stats, STATS_log_dropped, 1);
    log_limited(&rate, LOG_LEVEL_WARN, "access log lines were dropped worker=%u count=%llu",
                s->worker->index, stats_get(s->worker->stats, STATS_log_dropped));
}
