/* SPDX-License-Identifier: MIT */
/* Makes answers step by step and lets faults strike where they were planned. */
#include "slowapi/reply.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/units.h"
#include "http/chars.h"
#include "http/websocket.h"
#include "slowapi/chat.h"
#include "slowapi/limits.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* Bytes that were made, and the step that comes with them. */
struct reply_rest {
    struct buf bytes;
    uint64_t body_bytes;
    struct reply_step step;
};

/* --- the plain answer ------------------------------------------------------------------------- */

int reply_plain(struct http_conn *conn, uint16_t status, struct slice text, bool close,
                struct buf *out) {
    struct slice line_end = status == 200 ? SLICE("") : SLICE("\n");
    struct http_response_head head = {
        .status = status,
        .content_type = SLICE("text/plain"),
        .date = http_date_now(),
        .content_length = text.len + line_end.len,
        .has_content_length = true,
        .close = close,
    };
    bool sends_body;

    int rc = http_conn_answer(conn, out, &head, &sends_body);
    if (rc == 0 && sends_body)
        rc = buf_append(out, text);
    if (rc == 0 && sends_body)
        rc = buf_append(out, line_end);
    return rc;
}

struct reply *reply_new(uint16_t status) {
    struct reply *reply = mem_calloc(1, sizeof(*reply));

    if (reply != NULL) {
        reply->status = status;
        reply->file = -1;
        arena_init(&reply->memory, SLOWAPI_LIST_BYTES);
        reply->cut_at = NSEC_NEVER;
        reply->body = (struct body){ .type = "text/plain", .piece = SLOWAPI_PIECE_BYTES };
    }
    return reply;
}

void reply_free(struct reply *reply) {
    if (reply == NULL)
        return;
    arena_free(&reply->memory);
    mem_free(reply->text);
    mem_free(reply->fields);
    mem_free(reply->custom);
    mem_free(reply->rule);
    mem_free(reply->target);
    mem_free(reply->chosen);
    mem_free(reply->own_type);
    mem_free(reply->cors);
    mem_free(reply->trailers);
    mem_free(reply->reason);
    chat_free(reply->body.chat);
    if (reply->socket != NULL)
        websocket_free(reply->socket);
    mem_free(reply->socket);
    if (reply->rest != NULL)
        buf_free(&reply->rest->bytes);
    mem_free(reply->rest);
    if (reply->file >= 0)
        close(reply->file);
    mem_free(reply);
}

void reply_set_text(struct reply *reply, char *text, size_t size) {
    mem_free(reply->text);
    reply->text = text;
    reply->body.kind = BODY_TEXT;
    reply->body.text = slice_of(text, size);
    reply->body.units = size;
}

static int add_lines(char **lines, struct slice more) {
    struct slice old = slice_str(*lines);
    char *joined = mem_alloc(old.len + more.len + 1);

    if (joined == NULL)
        return -ENOMEM;
    if (old.len > 0)
        memcpy(joined, old.ptr, old.len);
    if (more.len > 0)
        memcpy(joined + old.len, more.ptr, more.len);
    joined[old.len + more.len] = '\0';
    mem_free(*lines);
    *lines = joined;
    return 0;
}

int reply_add_fields(struct reply *reply, const char *more) {
    return add_lines(&reply->fields, slice_str(more));
}

int reply_set_copy(struct reply *reply, const char *type, struct slice text) {
    char *copy = slice_dup(text);

    if (copy == NULL)
        return -ENOMEM;
    reply_set_text(reply, copy, text.len);
    reply->body.type = type;
    return 0;
}

int reply_replace(struct reply *reply, uint16_t status, const char *text) {
    struct slice line = slice_str(text);
    char *copy = mem_alloc(line.len + 2);

    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, line.ptr, line.len);
    memcpy(copy + line.len, "\n", 2);
    mem_free(reply->fields);
    reply->fields = NULL;
    reply->has_status_fields = reply->has_date = false;
    reply->status = status;
    reply_take_faults(reply, NULL, 0);
    reply->making = 0;
    chat_free(reply->body.chat);
    reply->body = (struct body){ .type = "text/plain", .piece = SLOWAPI_PIECE_BYTES };
    reply_set_text(reply, copy, line.len + 1);
    return 0;
}

int reply_set_json(struct reply *reply, json_t *json) {
    char *text = json_dump_short(json, JSON_INDENT(2) | JSON_SORT_KEYS);

    json_decref(json);
    if (text == NULL)
        return -ENOMEM;
    reply_set_text(reply, text, strlen(text));
    reply->body.type = "application/json";
    return 0;
}

int reply_add_field(struct reply *reply, const char *name, struct slice value, struct error *why) {
    struct buf line;

    if (http_span_value(value.ptr, value.len) != value.len)
        return error_set(why, -EINVAL, "%s cannot have a value with control characters", name);
    buf_init(&line, strlen(name) + value.len + 8);
    int rc = buf_printf(&line, "%s: %.*s\r\n", name, (int)value.len, value.ptr);
    if (rc == 0)
        rc = reply_add_fields(reply, line.data);
    buf_free(&line);
    return rc;
}

/* A length that may be wrong cannot be followed by another answer. */
int reply_add_custom(struct reply *reply, char *lines, size_t size) {
    struct slice rest = slice_of(lines, size), name, value;
    bool is_chunked = false;

    while (http_field_next(&rest, &name, &value)) {
        bool frames = slice_eq_nocase(name, SLICE("Transfer-Encoding"));
        is_chunked |= frames && slice_eq_nocase(value, SLICE("chunked"));
        if ((slice_eq_nocase(name, SLICE("Connection")) &&
             slice_list_has_nocase(value, SLICE("close"))) ||
            slice_eq_nocase(name, SLICE("Content-Length")) || (frames && !is_chunked))
            reply->close = true;
    }
    reply->body.is_chunked |= is_chunked;
    if (is_chunked)
        size = spec_drop_lines(lines, size, SLICE("Transfer-Encoding"));
    return add_lines(&reply->custom, slice_of(lines, size));
}

const char *reply_uuid(struct reply *reply, char text[static UUID_TEXT_BYTES]) {
    uint64_t high = rng_next(&reply->rng), low = rng_next(&reply->rng);

    high = (high & ~UINT64_C(0xf000)) | 0x4000; /* version 4 */
    low = (low & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63;
    snprintf(text, UUID_TEXT_BYTES, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
             (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff), (unsigned)(low >> 48),
             (unsigned long long)(low & 0xffffffffffff));
    return text;
}

int64_t reply_append_units(const struct reply *reply, uint64_t from, uint64_t count,
                           struct buf *out) {
    return content_append(&reply->body, from, count, out);
}

/* --- faults ----------------------------------------------------------------------------------- */

static_assert(FAULT_KINDS <= 64, "sets of kinds are bits");

uint64_t reply_struck(const struct reply *reply) {
    uint64_t kinds = 0;

    for (size_t i = 0; i < reply->fault_count; i++)
        if (reply->faults[i].done)
            kinds |= UINT64_C(1) << reply->faults[i].kind;
    return kinds;
}

static struct injection injection_of(_Atomic uint64_t *counts, struct buf *out) {
    return (struct injection){ .counts = counts, .out = out };
}

static int inject(struct reply *reply, enum fault_moment moment, struct injection *at) {
    return fault_inject_all(reply->faults, reply->fault_count, moment, at);
}

/* The one that was rolled, whether it has struck or not; NULL when there is none of that kind for
 * the upload, or for the answer. */
static struct fault *rolled(struct reply *reply, enum fault_kind kind, bool is_upload) {
    for (size_t i = 0; i < reply->fault_count; i++)
        if (reply->faults[i].kind == kind &&
            is_upload == (reply->faults[i].place == FAULT_AT_UPLOAD))
            return &reply->faults[i];
    return NULL;
}

/* The unit before which it strikes. */
static uint64_t position(const struct reply *reply, const struct fault *fault) {
    if (fault->place != FAULT_AT_PERCENT)
        return 0;
    uint64_t units = reply->body.known > 0 ? reply->body.known : reply->body.units;
    return (uint64_t)((double)units * fault->share);
}

/* The next to stop at: *ret_at is where, or the end of the body. */
static struct fault *next_stop(struct reply *reply, uint64_t *ret_at) {
    struct fault *next = NULL;

    *ret_at = reply->body.units;
    for (size_t i = 0; i < reply->fault_count; i++) {
        struct fault *fault = &reply->faults[i];
        bool is_here = (fault->place == FAULT_AT_HEAD) == (reply->phase == REPLY_HEAD) &&
                       fault->place != FAULT_AT_BYTES && fault->place != FAULT_AT_TIME;
        if (fault->done || fault_infos[fault->kind].moment != FAULT_AT_STOP || !is_here)
            continue;
        if (next == NULL || position(reply, fault) < *ret_at) {
            next = fault;
            *ret_at = position(reply, fault);
        }
    }
    return next;
}

/* Injects the fault that the answer stops at, for a while or for good. */
static int stop_at(struct reply *reply, struct fault *fault, _Atomic uint64_t *counts,
                   struct buf *out, struct reply_step *ret) {
    struct injection at = injection_of(counts, out);

    int rc = fault_inject(fault, &at);
    ret->act = at.effect == FAULT_RESETS ? REPLY_RST : REPLY_FIN;
    ret->breaks = at.effect == FAULT_BREAKS;
    ret->cuts = at.effect == FAULT_CUTS;
    if (at.effect == FAULT_WAITS) {
        nsec_t from = fault->place == FAULT_AT_TIME ? deadline_after(reply->begun_at, fault->at)
                                                    : clock_now();
        ret->act = fault->arg < 0 ? REPLY_HANG : REPLY_WAIT;
        ret->until = deadline_after(from, fault->arg);
        reply->due = nsec_max(reply->due, ret->until);
    }
    return rc;
}

void reply_take_faults(struct reply *reply, const struct fault *faults, uint8_t count) {
    reply->fault_count = count;
    reply->cut_at = NSEC_NEVER;
    reply->paces_upload = false;
    for (size_t i = 0; i < count; i++) {
        reply->faults[i] = faults[i];
        reply->paces_upload |= faults[i].place == FAULT_AT_UPLOAD;
        if (faults[i].place == FAULT_AT_TIME && faults[i].kind != FAULT_HANG)
            reply->cut_at = nsec_min(reply->cut_at, deadline_after(reply->begun_at, faults[i].at));
    }
}

void reply_cut(struct reply *reply, _Atomic uint64_t *counts, struct reply_step *ret) {
    *ret = (struct reply_step){ .act = REPLY_FIN };
    for (size_t i = 0; i < reply->fault_count; i++) {
        struct fault *fault = &reply->faults[i];
        if (fault->place == FAULT_AT_TIME && fault->kind != FAULT_HANG &&
            deadline_after(reply->begun_at, fault->at) == reply->cut_at) {
            (void)stop_at(reply, fault, counts, NULL, ret); /* ends need no memory */
            return;
        }
    }
}

/* --- head ------------------------------------------------------------------------------------- */

static int append_truth(const struct reply *reply, struct buf *out) {
    char span[UNITS_TEXT_BYTES], text[FAULT_TEXT_BYTES];
    nsec_t actual = clock_now() - reply->begun_at;

    int rc =
        buf_printf(out,
                   "Server-Timing: planned;dur=%.3f, queue;dur=%.3f, delay;dur=%.3f, "
                   "actual;dur=%.3f\r\n"
                   "X-Slowapi-Delay: %s\r\nX-Slowapi-Seed: %llu\r\n",
                   (double)reply->delay / 1e6, (double)reply->queued / 1e6,
                   (double)nsec_max(reply->delay - reply->queued, 0) / 1e6, (double)actual / 1e6,
                   units_format_duration(reply->delay, span), (unsigned long long)reply->seed);
    for (size_t i = 0; i < reply->fault_count && rc == 0; i++)
        rc = buf_printf(out, "%s%s%s", i == 0 ? "X-Slowapi-Fault: " : ", ",
                        fault_format(&reply->faults[i], text),
                        i + 1 == reply->fault_count ? "\r\n" : "");
    if (rc == 0 && reply->rule != NULL)
        rc = buf_printf(out, "X-Slowapi-Rule: %s\r\n", reply->rule);
    return rc;
}

/* Lines that were asked for replace all others of their names in the head that begins at `at`. A
 * connection that will be closed says so nevertheless. */
static int append_custom(struct reply *reply, struct buf *out, size_t at, bool closes) {
    struct slice rest, name, value;
    size_t len = strlen(reply->custom);
    char *lines = out->data + out->start + at;

    if (closes && !reply->close)
        len = spec_drop_lines(reply->custom, len, SLICE("Connection"));
    rest = slice_of(reply->custom, len);
    while (http_field_next(&rest, &name, &value))
        out->end = (size_t)(lines - out->data) +
                   spec_drop_lines(lines, (size_t)(out->data + out->end - lines), name);
    return buf_append(out, slice_of(reply->custom, len));
}

/* The field that an answer with such a status must have (RFC 9110 sections 15.5.2, 15.5.6, 15.5.8,
 * 15.5.22). */
static struct slice field_of_status(uint16_t status) {
    switch (status) {
    case 401:
        return SLICE("WWW-Authenticate: Basic realm=\"slowapi\"\r\n");
    case 405:
        return SLICE("Allow: GET, HEAD, POST, PUT\r\n");
    case 407:
        return SLICE("Proxy-Authenticate: Basic realm=\"slowapi\"\r\n");
    case 426:
        return SLICE("Upgrade: HTTP/2.0\r\nConnection: Upgrade\r\n");
    default:
        return SLICE("");
    }
}

/* Appends our own lines between the encoder's and the empty one. The head begins at `at`. */
static int append_fields(struct reply *reply, struct injection *faults, size_t at, bool closes) {
    struct buf *out = faults->out;

    out->end -= strlen("\r\n");
    int rc = reply->has_status_fields ? 0 : buf_append(out, field_of_status(reply->status));
    if (rc == 0 && reply->fields != NULL)
        rc = buf_append(out, slice_str(reply->fields));
    if (rc == 0 && reply->cors != NULL)
        rc = buf_append(out, slice_str(reply->cors));
    if (rc == 0 && reply->shows_truth)
        rc = append_truth(reply, out);
    if (rc == 0)
        rc = inject(reply, FAULT_IN_FIELDS, faults);
    if (rc == 0 && reply->custom != NULL)
        rc = append_custom(reply, out, at, closes);
    if (rc == 0)
        rc = inject(reply, FAULT_AFTER_FIELDS, faults);
    return rc == 0 ? buf_append(out, SLICE("\r\n")) : rc;
}

/* Some faults are seen in chunks only. */
static bool wants_chunks(const struct reply *reply) {
    for (size_t i = 0; i < reply->fault_count; i++) {
        const struct fault *fault = &reply->faults[i];
        if ((fault_infos[fault->kind].chunked_places & fault->place) != 0)
            return true;
    }
    return reply->body.is_chunked;
}

static int append_head(struct reply *reply, struct http_conn *conn, _Atomic uint64_t *counts,
                       bool last, struct buf *out) {
    if (reply->status == 205) /* has no content (RFC 9110 section 15.3.6) */
        reply->body.units = 0;
    bool sends_body = conn->method != HTTP_METHOD_HEAD;
    struct http_response_head head = {
        .status = reply->status,
        .reason = slice_str(reply->reason),
        .content_type = slice_str(reply->body.type),
        .date = reply->has_date ? SLICE("") : http_date_now(),
        .content_length = reply->body.units,
        .has_content_length = !wants_chunks(reply),
        .close = last || reply->close,
        .version_minor = 1,
    };
    struct injection faults = injection_of(counts, out);
    size_t at = buf_unread(out).len;

    faults.head = &head;
    faults.is_chunked = reply->body.is_chunked;
    int rc = inject(reply, FAULT_IN_HEAD, &faults);
    if (reply->socket != NULL || reply->switches) { /* frames of its own follow */
        faults.is_unframed = true;
        head.has_content_length = head.close = conn->persists = false;
    }
    if (rc == 0 && faults.is_unframed)
        rc = http_encode_response(out, &head);
    else if (rc == 0)
        rc = http_conn_answer(conn, out, &head, &sends_body);
    reply->is_chunked = head.chunked;
    reply->is_bodyless = !sends_body;
    return rc == 0 ? append_fields(reply, &faults, at, head.close) : rc;
}

/* --- pace: a piece comes when the last of all paces says -------------------------------------- */

static nsec_t jittered(struct reply *reply) {
    const struct body *body = &reply->body;

    if (body->kind == BODY_CHAT)
        return chat_pause(body->chat);
    if (body->jitter <= 0)
        return body->interval;
    return (nsec_t)((double)body->interval * (1 + body->jitter * (2 * rng_unit(&reply->rng) - 1)));
}

static nsec_t time_of(uint64_t bytes, const struct fault *bandwidth) {
    return (nsec_t)((double)bytes * (double)NSEC_PER_SEC / (double)bandwidth->arg);
}

/* A piece is due so much later than the one before. Lateness is not handed on, but what was missed
 * for long is not made up for either. */
static void add_pause(struct reply *reply, nsec_t pause) {
    nsec_t floor = clock_now() - SLOWAPI_PACE_DEBT;

    reply->due = deadline_after(reply->due > floor ? reply->due : floor, pause);
}

/* Tells when a shared link has carried so many bytes, of which none came before `from`. */
static nsec_t carry(const struct reply *reply, const struct fault *link, uint64_t bytes,
                    nsec_t from) {
    const int64_t parts[] = { (int64_t)reply->link, link->arg, link->place };
    uint64_t key = hash_bytes(HASH_SEED, parts, sizeof(parts));

    return reply->carry(reply->shared, key, (uint64_t)link->arg, bytes,
                        nsec_max(from, clock_now() - SLOWAPI_PACE_DEBT));
}

/* The last byte of a piece arrives when a link of that bandwidth has carried the piece. How long an
 * event is shows when it is made: whatever comes next pays for it. */
static uint64_t bytes_on_link(struct reply *reply) {
    uint64_t owed = reply->owed_bytes;

    reply->owed_bytes = 0;
    return content_is_events(&reply->body) ? owed : reply->planned;
}

/* Bytes that a link carries at once; UINT64_MAX: all. */
static uint64_t portion_of(const struct fault *bandwidth, const struct fault *shared) {
    uint64_t portion = UINT64_MAX, least;

    if (bandwidth != NULL)
        portion = (uint64_t)bandwidth->arg / SLOWAPI_PORTIONS_PER_SECOND + 1;
    least = shared != NULL ? (uint64_t)shared->arg / SLOWAPI_SHARES_PER_SECOND + 1 : portion;
    return least < portion ? least : portion;
}

/* Events and drips come one by one, a bandwidth in portions. */
void reply_set_pace(struct reply *reply) {
    uint64_t piece_max = portion_of(rolled(reply, FAULT_BANDWIDTH, false),
                                    rolled(reply, FAULT_SHARED_BANDWIDTH, false));

    if (content_is_events(&reply->body) || rolled(reply, FAULT_DRIP, false) != NULL)
        piece_max = 1;
    content_spread(&reply->body, piece_max);
}

/* The rest of a piece that a fault has cut in two comes with its first part. */
static nsec_t own_pause(struct reply *reply) {
    if (reply->sent == 0 && reply->body.kind == BODY_CHAT)
        return chat_spend(reply->body.chat, reply->body.lead);
    if (reply->sent == 0)
        return reply->body.lead;
    return reply->sent % reply->body.piece == 0 ? jittered(reply) : 0;
}

/* Links carry the bytes before the next piece is due, which is `pause` after the last one. */
static void pass_links(struct reply *reply, uint64_t bytes, nsec_t pause) {
    const struct fault *bandwidth = rolled(reply, FAULT_BANDWIDTH, false),
                       *shared = rolled(reply, FAULT_SHARED_BANDWIDTH, false);
    nsec_t from = reply->due;

    if (bandwidth != NULL)
        pause = nsec_max(pause, time_of(bytes, bandwidth));
    if (pause > 0)
        add_pause(reply, pause);
    if (shared != NULL && bytes > 0)
        reply->due = nsec_max(reply->due, carry(reply, shared, bytes, from));
}

/* Decides how many of the units that are left come next, and when. */
static int plan_piece(struct reply *reply, _Atomic uint64_t *counts, uint64_t left) {
    const struct fault *drip = rolled(reply, FAULT_DRIP, false);
    struct injection faults = injection_of(counts, NULL);
    nsec_t pause = own_pause(reply);

    reply->planned = reply->body.piece < left ? reply->body.piece : left;
    if (drip != NULL)
        pause = nsec_max(pause, reply->sent == 0 ? 0 : drip->arg);
    pass_links(reply, bytes_on_link(reply), pause);
    return inject(reply, FAULT_AT_PIECE, &faults);
}

/* The end of a stream comes when the link has carried its last event. */
static void plan_end(struct reply *reply) {
    pass_links(reply, reply->owed_bytes, 0);
    reply->owed_bytes = 0;
}

/* --- the body of the request ------------------------------------------------------------------ */

size_t reply_upload_portion(struct reply *reply) {
    uint64_t portion = portion_of(rolled(reply, FAULT_BANDWIDTH, true),
                                  rolled(reply, FAULT_SHARED_BANDWIDTH, true));

    return portion < SLOWAPI_RECV_BYTES ? portion : SLOWAPI_RECV_BYTES;
}

void reply_upload(struct reply *reply, _Atomic uint64_t *counts, size_t bytes) {
    nsec_t now = clock_now(), from = nsec_max(reply->upload_at, now - SLOWAPI_PACE_DEBT);

    if (bytes == 0 || reply->upload_at == 0)
        from = reply->upload_at = nsec_max(reply->upload_at, now);
    for (size_t i = 0; i < reply->fault_count && bytes > 0; i++) {
        struct fault *fault = &reply->faults[i];
        struct injection at = injection_of(counts, NULL);
        if (fault->place != FAULT_AT_UPLOAD || fault_inject(fault, &at) < 0)
            continue;
        nsec_t end = fault->kind == FAULT_BANDWIDTH ? deadline_after(from, time_of(bytes, fault))
                                                    : carry(reply, fault, bytes, from);
        reply->upload_at = nsec_max(reply->upload_at, end);
    }
}

/* --- pieces ----------------------------------------------------------------------------------- */

static int append_piece(struct reply *reply, _Atomic uint64_t *counts, struct buf *out) {
    struct buf *piece = out, chunk;

    buf_init(&chunk, 2 * SLOWAPI_PIECE_BYTES);
    if (reply->is_chunked)
        piece = &chunk;
    size_t before = buf_unread(piece).len;

    int64_t made = content_append(&reply->body, reply->sent, reply->planned, piece);
    int rc = made < 0 ? (int)made : 0;
    if (made == 0 && reply->body.kind == BODY_SOURCE) {
        reply->body.units = reply->sent;
        reply->planned = 0;
    } else if (rc == 0) {
        size_t size = buf_unread(piece).len - before;
        reply->sent += (uint64_t)made;
        reply->planned -= (uint64_t)made;
        reply->body_bytes += size;
        reply->owed_bytes = content_is_events(&reply->body) ? size : 0;
        struct injection faults = injection_of(counts, NULL);
        faults.bytes = piece->data + piece->start + before;
        faults.size = size;
        faults.rng = &reply->rng;
        rc = inject(reply, FAULT_IN_PIECE, &faults);
    }
    if (rc == 0 && reply->is_chunked && buf_unread(&chunk).len > 0)
        rc = http_encode_chunk(out, buf_unread(&chunk));
    buf_free(&chunk);
    return rc;
}

static int end_body(struct reply *reply, struct buf *out, struct reply_step *ret) {
    reply->phase = REPLY_END;
    ret->act = reply->socket != NULL ? REPLY_WS : REPLY_KEEP;
    for (size_t i = 0; i < reply->fault_count; i++)
        if (fault_infos[reply->faults[i].kind].ends_connection)
            ret->act = REPLY_FIN;
    if (!reply->is_chunked || reply->is_bodyless)
        return 0;
    int rc = buf_append(out, SLICE("0\r\n"));
    if (rc == 0 && reply->trailers != NULL)
        rc = buf_append(out, slice_str(reply->trailers));
    return rc == 0 ? buf_append(out, SLICE("\r\n")) : rc;
}

static int step_body(struct reply *reply, _Atomic uint64_t *counts, struct buf *out,
                     struct reply_step *ret) {
    uint64_t end;
    struct fault *stop = next_stop(reply, &end);
    int rc = 0;

    if (stop != NULL && end <= reply->sent)
        return stop_at(reply, stop, counts, out, ret);
    if (reply->sent == reply->body.units)
        plan_end(reply);
    else if (reply->planned == 0)
        rc = plan_piece(reply, counts, end - reply->sent);

    if (rc == 0 && reply->due > clock_now()) {
        ret->act = REPLY_WAIT;
        ret->until = reply->due;
        return 0;
    }
    if (rc < 0)
        return rc;
    if (reply->planned == 0)
        return end_body(reply, out, ret);
    rc = append_piece(reply, counts, out);
    if (rc == -EAGAIN)
        ret->act = REPLY_AWAIT;
    return rc == -EAGAIN ? 0 : rc;
}

static int step_head(struct reply *reply, struct http_conn *conn, _Atomic uint64_t *counts,
                     bool last, struct buf *out, struct reply_step *ret) {
    struct injection faults = injection_of(counts, out);
    uint64_t end;

    faults.version_minor = conn->version_minor;
    int rc = inject(reply, FAULT_BEFORE_HEAD, &faults);
    struct fault *stop = next_stop(reply, &end);
    if (rc < 0 || stop != NULL)
        return rc < 0 ? rc : stop_at(reply, stop, counts, out, ret);

    rc = append_head(reply, conn, counts, last, out);
    if (rc < 0)
        return rc;
    reply->phase = REPLY_BODY;
    reply->due = clock_now();
    return reply->is_bodyless ? end_body(reply, out, ret) : 0;
}

static int step(struct reply *reply, struct http_conn *conn, _Atomic uint64_t *counts, bool last,
                struct buf *out, struct reply_step *ret) {
    return reply->phase == REPLY_HEAD ? step_head(reply, conn, counts, last, out, ret)
                                      : step_body(reply, counts, out, ret);
}

/* --- cuts: after so many bytes, or so much time ----------------------------------------------- */

/* The first that has not struck; NULL: none. */
static struct fault *next_cut(struct reply *reply, enum fault_place place) {
    struct fault *next = NULL;

    for (size_t i = 0; i < reply->fault_count; i++) {
        struct fault *fault = &reply->faults[i];
        if (fault->place == place && !fault->done && (next == NULL || fault->at < next->at))
            next = fault;
    }
    return next;
}

/* An end comes by the clock (reply->cut_at), a hang here: before it anything comes again. */
static struct fault *due_hang(struct reply *reply) {
    for (size_t i = 0; i < reply->fault_count; i++) {
        struct fault *fault = &reply->faults[i];
        if (fault->place == FAULT_AT_TIME && fault->kind == FAULT_HANG && !fault->done &&
            deadline_after(reply->begun_at, fault->at) <= clock_now())
            return fault;
    }
    return NULL;
}

/* Gives what a hang has held back. */
static int give_rest(struct reply *reply, struct buf *out, struct reply_step *ret) {
    struct reply_rest *rest = reply->rest;
    int rc = buf_append(out, buf_unread(&rest->bytes));

    reply->rest = NULL;
    reply->body_bytes += rest->body_bytes;
    *ret = rest->step;
    buf_free(&rest->bytes);
    mem_free(rest);
    return rc;
}

/* Keeps `bytes` for after a hang. */
static int keep_rest(struct reply *reply, struct slice bytes, uint64_t body_bytes,
                     const struct reply_step *after) {
    struct reply_rest *rest = mem_calloc(1, sizeof(*rest));

    if (rest == NULL)
        return -ENOMEM;
    *rest = (struct reply_rest){ .body_bytes = body_bytes, .step = *after };
    buf_init(&rest->bytes, SLOWAPI_OUT_BYTES);
    reply->rest = rest;
    return buf_append(&rest->bytes, bytes);
}

/* Lets the fault strike within the last `made` bytes of `out`, of which the body has `piece`. */
static int cut_within(struct reply *reply, struct fault *cut, _Atomic uint64_t *counts,
                      struct buf *out, size_t made, uint64_t piece, struct reply_step *ret) {
    size_t keep = (size_t)((uint64_t)cut->at - reply->wire), drop = made - keep;
    size_t before = made - piece - (piece > 0 && reply->is_chunked ? 2 : 0); /* a chunk ends CRLF */
    uint64_t sent = keep > before ? keep - before : 0;
    struct reply_step after = *ret;
    int rc = 0;

    sent = sent < piece ? sent : piece;
    reply->body_bytes -= piece - sent;
    reply->wire += keep;
    if (cut->kind == FAULT_HANG)
        rc = keep_rest(reply, slice_drop(buf_unread(out), buf_unread(out).len - drop), piece - sent,
                       &after);
    out->end -= drop;
    *ret = (struct reply_step){ .act = REPLY_NEXT };
    return rc < 0 ? rc : stop_at(reply, cut, counts, out, ret);
}

int reply_step(struct reply *reply, struct http_conn *conn, _Atomic uint64_t *counts, bool last,
               struct buf *out, struct reply_step *ret) {
    struct fault *cut = next_cut(reply, FAULT_AT_BYTES), *hang = due_hang(reply);
    size_t before = buf_unread(out).len;
    uint64_t body_before = reply->body_bytes;

    *ret = (struct reply_step){ .act = REPLY_NEXT };
    if (hang != NULL)
        return stop_at(reply, hang, counts, out, ret);
    if (cut != NULL && reply->wire >= (uint64_t)cut->at)
        return stop_at(reply, cut, counts, out, ret);
    int rc = reply->rest != NULL ? give_rest(reply, out, ret)
                                 : step(reply, conn, counts, last, out, ret);
    size_t made = buf_unread(out).len - before;
    if (rc == 0 && cut != NULL && reply->wire + made >= (uint64_t)cut->at)
        return cut_within(reply, cut, counts, out, made, reply->body_bytes - body_before, ret);
    reply->wire += made;
    return rc;
}
