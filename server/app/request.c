/* SPDX-License-Identifier: MIT */
/* A request from its begin to its answer, what its handler returned. */
#include "server/app/request.h"
#include "base/escape.h"
#include "base/log.h"
#include "http/error.h"
#include "http/url.h"
#include "net/socket.h"
#include <assert.h>
#include <errno.h>
#include <stdarg.h>

/* --- the request --------------------------------------------------------- */

bool request_arg(struct srv_request *rq, struct slice name, struct slice *ret) {
    struct slice raw;
    char *text;
    long len;

    if (!http_query_find(rq->query, name, &raw))
        return false;
    *ret = raw;
    if (slice_find(raw, '%') == raw.len && slice_find(raw, '+') == raw.len)
        return true;
    text = arena_alloc(rq->arena, raw.len);
    len = text != NULL ? http_percent_decode(raw, text) : -ENOMEM;
    if (len >= 0)
        *ret = slice_of(text, (size_t)len);
    return true;
}

/* --- memory and texts ---------------------------------------------------- */

const char *request_text(struct srv_request *rq, struct slice s) {
    const char *copy = arena_dup(rq->arena, s);

    if (copy == NULL)
        request_stick(rq, -ENOMEM);
    return copy != NULL ? copy : "";
}

void *request_alloc(struct srv_request *rq, size_t size_bytes) {
    void *memory = arena_alloc(rq->arena, size_bytes > 0 ? size_bytes : 1);

    if (memory == NULL)
        request_stick(rq, -ENOMEM);
    return memory;
}

enum {
    PIECES_MAX = 16,
    NUMBER_BYTES = 24, /* a sign and 20 digits, or what a width asks for */
};

/* A format that has texts and whole numbers only, which is most of them, is its pieces in a row. */
struct pieces {
    struct slice items[PIECES_MAX];
    size_t count, len;
    char numbers[PIECES_MAX][NUMBER_BYTES];
};

/* A va_list that functions can take their arguments from, one after the other. */
struct arguments {
    va_list list;
};

/* What stands between '%' and the letter of a whole number: "08l" in "%08lx". */
struct number_style {
    bool zeros;
    unsigned width;
    unsigned longs; /* 0: int, 1: long, 2: long long; size_t and intmax_t are longs here */
};

static_assert(sizeof(size_t) == sizeof(long) && sizeof(intmax_t) == sizeof(long),
              "a conversion with z or j takes a long");

static void add_piece(struct pieces *pieces, struct slice piece) {
    pieces->items[pieces->count++] = piece;
    pieces->len += piece.len;
}

/* Returns the letter's place. Flags and modifiers that are not read here are taken for it, and are
 * none. */
static const char *read_style(const char *at, struct number_style *ret) {
    *ret = (struct number_style){ .zeros = *at == '0' };
    while (*at >= '0' && *at <= '9' && ret->width < NUMBER_BYTES)
        ret->width = ret->width * 10 + (unsigned)(*at++ - '0');
    if (*at == 'z' || *at == 'j') {
        ret->longs = 1;
        return at + 1;
    }
    while (*at == 'l' && ret->longs < 2) {
        ret->longs++;
        at++;
    }
    return at;
}

static char *put_digits(char *at, uint64_t number, bool hex) {
    do {
        *--at = "0123456789abcdef"[hex ? number & 15 : number % 10];
        number = hex ? number >> 4 : number / 10;
    } while (number > 0);
    return at;
}

/* Fills `room`, of NUMBER_BYTES, from its end. */
static struct slice number_text(char *room, const struct number_style *style, uint64_t number,
                                bool negative, bool hex) {
    char *end = room + NUMBER_BYTES, *at = put_digits(end, number, hex);

    while (style->zeros && end - at + negative < style->width)
        *--at = '0';
    if (negative)
        *--at = '-';
    while (end - at < style->width)
        *--at = ' ';
    return slice_of(at, (size_t)(end - at));
}

static int64_t take_signed(struct arguments *args, unsigned longs) {
    if (longs == 0)
        return va_arg(args->list, int);
    return longs == 1 ? va_arg(args->list, long) : va_arg(args->list, long long);
}

static uint64_t take_unsigned(struct arguments *args, unsigned longs) {
    if (longs == 0)
        return va_arg(args->list, unsigned);
    return longs == 1 ? va_arg(args->list, unsigned long) : va_arg(args->list, unsigned long long);
}

/* A number of "%d", "%i", "%u" or "%x" with modifiers. NULL: `at`, behind '%', begins none. */
static NOINLINE const char *add_number(struct pieces *pieces, const char *at,
                                       struct arguments *args) {
    char *room = pieces->numbers[pieces->count];
    struct number_style style;
    const char *letter = read_style(at, &style);
    bool is_signed = *letter == 'd' || *letter == 'i';
    uint64_t number;
    int64_t value;

    if ((!is_signed && *letter != 'u' && *letter != 'x') || style.width >= NUMBER_BYTES)
        return NULL;
    if (is_signed) {
        value = take_signed(args, style.longs);
        number = value < 0 ? -(uint64_t)value : (uint64_t)value;
        add_piece(pieces, number_text(room, &style, number, value < 0, false));
    } else {
        number = take_unsigned(args, style.longs);
        add_piece(pieces, number_text(room, &style, number, false, *letter == 'x'));
    }
    return letter + 1;
}

/* Adds what the conversion at `at`, behind its '%', stands for, and returns its end; or NULL. */
static inline const char *add_conversion(struct pieces *pieces, const char *at,
                                         struct arguments *args) {
    if (LIKELY(*at == 's')) {
        const char *text = va_arg(args->list, const char *);

        add_piece(pieces, text != NULL ? slice_str(text) : SLICE("(null)"));
        return at + 1;
    }
    if (*at != '%')
        return add_number(pieces, at, args);
    add_piece(pieces, SLICE("%"));
    return at + 1;
}

/* False for a format that needs more than that, or has too many. */
static bool cut_pieces(struct pieces *pieces, const char *format, struct arguments *args) {
    pieces->count = pieces->len = 0;
    while (*format != '\0' && pieces->count <= PIECES_MAX - 2) {
        const char *percent = strchrnul(format, '%');

        if (percent > format)
            add_piece(pieces, slice_of(format, (size_t)(percent - format)));
        if (*percent == '\0')
            return true;
        format = add_conversion(pieces, percent + 1, args);
        if (format == NULL)
            return false;
    }
    return *format == '\0';
}

static bool cut_format(struct pieces *pieces, const char *format, va_list args) {
    struct arguments own;
    bool simple;

    va_copy(own.list, args);
    simple = cut_pieces(pieces, format, &own);
    va_end(own.list);
    return simple;
}

/* Into room for them and a NUL. */
static void put_pieces(const struct pieces *pieces, char *out) {
    for (size_t i = 0; i < pieces->count; i++)
        out = mempcpy(out, pieces->items[i].ptr, pieces->items[i].len);
    *out = '\0';
}

static struct slice join(struct srv_request *rq, const struct pieces *pieces) {
    char *text = request_alloc(rq, pieces->len + 1);

    if (text == NULL)
        return SLICE("");
    put_pieces(pieces, text);
    return slice_of(text, pieces->len);
}

/* vsnprintf(3) takes hundreds of instructions for what is two copies, and a thousand for a number.
 */
struct slice request_vformat(struct srv_request *rq, const char *format, va_list args) {
    struct pieces pieces;
    char *text;

    if (cut_format(&pieces, format, args))
        return join(rq, &pieces);
    text = arena_vprintf(rq->arena, format, args);
    if (text == NULL)
        request_stick(rq, -ENOMEM);
    return text != NULL ? slice_str(text) : SLICE("");
}

/* Room for `more` bytes and a NUL. False, and a failure that sticks, without memory. */
static bool grow_printed(struct srv_request *rq, size_t more) {
    size_t wanted = rq->printed.len + more + 1, cap = rq->printed.cap * 2;
    char *text;

    if (wanted <= rq->printed.cap)
        return true;
    cap = cap > wanted ? cap : wanted + 256;
    text = request_alloc(rq, cap);
    if (text == NULL)
        return false;
    if (rq->printed.len > 0)
        memcpy(text, rq->printed.text, rq->printed.len);
    rq->printed.text = text;
    rq->printed.cap = cap;
    return true;
}

/* What fits into the room that is there is formatted once. */
PRINTF_LIKE(2, 0)
static void print_formatted(struct srv_request *rq, const char *format, va_list args) {
    size_t room = rq->printed.cap - rq->printed.len;
    va_list again;
    int len;

    va_copy(again, args);
    len = vsnprintf(room > 0 ? rq->printed.text + rq->printed.len : NULL, room, format, again);
    va_end(again);
    if (len > 0 && (size_t)len >= room) {
        if (!grow_printed(rq, (size_t)len))
            return;
        vsnprintf(rq->printed.text + rq->printed.len, (size_t)len + 1, format, args);
    }
    rq->printed.len += len > 0 ? (size_t)len : 0;
}

void request_vprint(struct srv_request *rq, const char *format, va_list args) {
    struct pieces pieces;

    if (!cut_format(&pieces, format, args)) {
        print_formatted(rq, format, args);
    } else if (grow_printed(rq, pieces.len)) {
        put_pieces(&pieces, rq->printed.text + rq->printed.len);
        rq->printed.len += pieces.len;
    }
}

char *request_format(struct srv_request *rq, const char *fmt, ...) {
    va_list args;
    char *text;

    va_start(args, fmt);
    text = arena_vprintf(rq->arena, fmt, args);
    va_end(args);
    return text;
}

/* --- waiting ------------------------------------------------------------- */

void request_does(struct srv_request *rq, enum stats_doing doing, nsec_t now) {
    if (!rq->is_part && rq->session->entry != NULL)
        session_set_doing(rq->session, doing, now);
}

static void count_call(struct stats *stats, int rc) {
    stats_add(stats, STATS_upstream_calls, 1);
    stats_add(stats, STATS_upstream_waiting, -1);
    if (rc == -ETIMEDOUT)
        stats_add(stats, STATS_upstream_late, 1);
    else if (rc < 0 && rc != -ECANCELED && rc != -ENOMEM)
        stats_add(stats, STATS_upstream_failed, 1);
}

void request_waits_for_upstream(struct srv_request *rq) {
    rq->asked_at = request_now(rq);
    rq->detail = NULL;
    request_does(rq, STATS_UPSTREAM, rq->asked_at);
}

void request_has_waited(struct srv_request *rq) {
    nsec_t now = request_now(rq);

    if (!rq->is_part)
        rq->session->spent.upstream += now - rq->asked_at;
    request_does(rq, STATS_CPU, now);
}

nsec_t request_queues(struct srv_request *rq) {
    const struct worker *worker = rq->session->worker;

    stats_add(worker->stats, STATS_upstream_queued, 1);
    return nsec_min(timeout_after(io_now(rq->io), worker->config->queue_timeout), rq->deadline);
}

void request_queued(struct srv_request *rq, int rc) {
    stats_add(rq->session->worker->stats, STATS_upstream_queued, -1);
    rq->status = rc < 0 ? 503 : 0;
    rq->why = rc < 0 ? "too many calls of the upstream are in progress" : NULL;
    if (rc < 0)
        request_has_waited(rq);
}

void request_asks(struct srv_request *rq) {
    stats_add(rq->session->worker->stats, STATS_upstream_waiting, 1);
}

/* Clients need not know which hosts and libraries are behind. */
static const char *upstream_sentence(int rc) {
    switch (-rc) {
    case ENOMEM:
        return "out of memory";
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return "this server is short of connections to the upstream";
    case ETIMEDOUT:
        return "upstream did not answer in time";
    case ENOENT:
        return "the name of the upstream is unknown";
    case EKEYREJECTED:
        return "the certificate of the upstream is not accepted";
    case ECONNRESET:
    case EPIPE:
        return "upstream closed the connection without an answer";
    case EPROTO:
        return "upstream answered badly";
    case EMSGSIZE:
        return "the answer of the upstream is too large";
    case EINVAL:
        return "the handler made a call that cannot be sent";
    default:
        return "upstream cannot be reached";
    }
}

/* A detail for the log, in which the reason cannot end the value. NULL without a reason. */
static const char *detail_of(struct srv_request *rq, const char *why) {
    size_t cap = why != NULL ? 4 * strlen(why) + 8 : 0;
    char *text = why != NULL ? request_alloc(rq, cap) : NULL;

    if (text == NULL)
        return NULL;
    escape_quoted(text, cap, slice_str(why));
    return request_format(rq, "error=\"%s\"", text);
}

/* Descriptors or buffers: the upstream may be well. */
static bool is_short(int rc) {
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS;
}

static uint16_t upstream_status(int rc) {
    if (rc == 0 || rc == -ETIMEDOUT || rc == -ENOMEM)
        return 0; /* like any call that fails so */
    if (rc == -EINVAL)
        return 500;
    return is_short(rc) ? 503 : 502;
}

void request_asked(struct srv_request *rq, int rc, const char *why) {
    count_call(rq->session->worker->stats, rc);
    rq->why = rc < 0 ? upstream_sentence(rc) : NULL;
    rq->detail = rc < 0 && rc != -ECANCELED ? detail_of(rq, why) : NULL;
    rq->status = upstream_status(rc);
    request_has_waited(rq);
}

struct slice request_id_of(const struct srv_request *rq, char text[REQUEST_ID_BYTES]) {
    struct session *s = rq->session;

    return request_id_text(&s->id, s->worker->ids, &s->head, &s->peer, text);
}

/* --- the body, piece by piece out of the session's `in` -------------------- */

enum { SKIP_BYTES_MAX = 65536 };

/* Feeds no more than `size`, for data is never more than its input. Returns as request_body_take;
 * -EINTR: nothing came of it, and there is more. */
static ssize_t feed(struct session *s, void *data, size_t size, const char **ret_why) {
    struct slice all = buf_unread(&s->in), input = slice_take(all, size);
    struct http_event ev;
    size_t used = http_conn_feed(&s->http, input, s->eof && input.len == all.len, &s->head, &ev);

    if (ev.kind == HTTP_EV_DATA && data != NULL)
        memcpy(data, ev.data.ptr, ev.data.len);
    buf_consume(&s->in, used);
    if (ev.kind == HTTP_EV_DATA)
        return (ssize_t)ev.data.len;
    if (ev.kind == HTTP_EV_END)
        return 0;
    if (ev.kind == HTTP_EV_MORE)
        return used < all.len ? -EINTR : -EAGAIN;
    *ret_why = ev.why;
    return ev.why == http_err_truncated ? -ECANCELED : -EBADMSG;
}

ssize_t request_body_take(struct session *s, void *data, size_t size, const char **ret_why) {
    ssize_t n;

    do
        n = feed(s, data, size, ret_why);
    while (n == -EINTR);
    return n;
}

/* False when nothing has come. */
static bool receive(struct session *s) {
    return !s->eof && session_reserve(s) == 0 && session_recv_body(s) >= 0;
}

/* Throws away what is left of a body and at hand, or a call of recv(2) away, without waiting: what
 * is small keeps its connection so. A client that waits for 100 Continue sends no body. */
static void body_skip(struct session *s) {
    size_t left = SKIP_BYTES_MAX;
    const char *why;

    while (session_in_body(s) && !s->http.wants_continue && left > 0) {
        ssize_t n = request_body_take(s, NULL, left, &why);

        if (n == -EAGAIN ? !receive(s) : n <= 0)
            return;
        left -= n > 0 ? (size_t)n : 0;
    }
}

/* --- the answer ---------------------------------------------------------- */

int request_add_field(struct srv_request *rq, struct slice name, struct slice value) {
    if (rq->fields == NULL)
        rq->fields = request_alloc(rq, SERVER_REPLY_FIELDS_MAX * sizeof(*rq->fields));
    if (rq->fields == NULL)
        return -ENOMEM;
    if (rq->field_count == SERVER_REPLY_FIELDS_MAX)
        return -ENOSPC;
    rq->fields[rq->field_count++] = (struct http_field){ .name = name, .value = value };
    return 0;
}

/* Threads learn of a stop that came while they were busy by this. */
static bool is_last_answer(const struct session *s) {
    return s->last || atomic_load(&s->worker->stats->life) == STATS_STOPPING;
}

int request_head(struct srv_request *rq, uint16_t status, struct slice content_type,
                 const uint64_t *length, bool *ret_sends_body) {
    struct session *s = rq->session;
    char timing[ACCESS_TIMING_BYTES];
    struct http_response_head head = {
        .status = status,
        .content_type = content_type,
        .date = http_date_now(),
        .timing = access_timing(s->worker, &s->spent, s->ready_at, timing),
        .fields = rq->fields,
        .field_count = rq->field_count,
        .content_length = length != NULL ? *length : 0,
        .has_content_length = length != NULL,
        .close = is_last_answer(s),
    };

    if (s->http.answered)
        return -EALREADY;
    if (length != NULL)
        body_skip(s); /* a stream may still read while it writes */
    s->status = status;
    s->body_bytes = 0;
    return http_conn_answer(&s->http, &s->out, &head, ret_sends_body);
}

/* Nothing of it was sent: another may take its place. */
static void take_back(struct srv_request *rq) {
    buf_free(&rq->session->out);
    file_part_close(&rq->session->file);
    rq->session->body_bytes = 0;
    rq->session->http.answered = false;
}

int request_reply(struct srv_request *rq, uint16_t status, struct slice content_type,
                  struct slice body) {
    struct session *s = rq->session;
    uint64_t length = body.len;
    bool sends_body;
    int rc = request_head(rq, status, content_type, &length, &sends_body);

    if (rc < 0 || !sends_body)
        return rc;
    s->body_bytes = body.len;
    rc = buf_append(&s->out, body);
    if (rc < 0)
        take_back(rq);
    return rc;
}

/* `late`: the request's own deadline has passed, whatever it was waiting for. */
static uint16_t failure_status(const struct srv_request *rq, int rc, bool late) {
    if (late)
        return 504;
    if (rq->status != 0)
        return rq->status;
    return rc == -ETIMEDOUT ? 504 : 500;
}

static void log_failure(struct srv_request *rq, unsigned status, const char *why) {
    static struct log_rate rate = { .per_second = 10 };
    char target[256], reason[1024], text[REQUEST_ID_BYTES];
    struct slice id = request_id_of(rq, text);

    escape_quoted(target, sizeof(target), rq->session->head.target);
    escape_quoted(reason, sizeof(reason), slice_str(why));
    log_limited(&rate, LOG_LEVEL_WARN,
                "request failed status=%u target=%s reason=\"%s\"%s%s id=%.*s", status, target,
                reason, rq->detail != NULL ? " " : "", rq->detail != NULL ? rq->detail : "",
                (int)id.len, id.ptr);
}

/* The handler gave up: one line to the client, the same one to the log. */
static int answer_failure(struct srv_request *rq, int rc) {
    bool late = rc == -ETIMEDOUT && io_now(rq->io) >= rq->deadline;
    uint16_t status = failure_status(rq, rc, late);
    const char *why = rq->why;
    const char *text;

    if (late || (rc == -ETIMEDOUT && why == NULL))
        why = "the request took too long";
    if (late || (rc == -ETIMEDOUT && status == 503))
        stats_add(rq->session->worker->stats, STATS_expired, 1);
    if (why == NULL)
        why = rc == -ENOMEM ? "the request takes too much memory" : "the handler failed";
    if (status >= 500) /* below 500 the client is at fault */
        log_failure(rq, status, why);
    if (rq->session->stream != SESSION_WHOLE)
        return rc; /* it has begun: the client can only be told by a cut */
    if (rq->session->http.answered)
        take_back(rq); /* the handler has changed its mind */
    if (status == 503 &&
        request_add_field(rq, SLICE("Retry-After"), SLICE(SERVER_RETRY_AFTER_SECONDS)) == -ENOMEM)
        return -ENOMEM;
    text = request_format(rq, "%s\n", why);
    return text == NULL ? -ENOMEM : request_reply(rq, status, SLICE("text/plain"), slice_str(text));
}

/* With the methods that handlers are asked for. */
static int answer_allow(struct srv_request *rq, uint16_t status, struct slice type,
                        struct slice body) {
    struct slice allowed = SLICE("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    int rc = request_add_field(rq, SLICE("Allow"), allowed);

    return rc < 0 ? rc : request_reply(rq, status, type, body);
}

static int answer_method(struct srv_request *rq) {
    if (rq->session->head.method == HTTP_METHOD_OTHER)
        return request_reply(rq, 501, SLICE("text/plain"), SLICE("method is not implemented\n"));
    return answer_allow(rq, 405, SLICE("text/plain"), SLICE("method is not allowed\n"));
}

/* OPTIONS * is about the server as a whole (RFC 9110 section 9.3.7): no handler knows that one. The
 * parser lets no other method ask for it. */
static bool asks_server(const struct srv_request *rq) {
    return slice_eq(rq->session->head.target, SLICE("*"));
}

static bool method_is_served(enum http_method method) {
    return method != HTTP_METHOD_OTHER && method != HTTP_METHOD_CONNECT &&
           method != HTTP_METHOD_TRACE;
}

int request_admit(struct srv_request *rq) {
    int rc;

    if (!method_is_served(rq->session->head.method)) {
        rc = answer_method(rq);
        return rc < 0 ? rc : 1;
    }
    if (asks_server(rq)) {
        rc = answer_allow(rq, 200, SLICE(""), SLICE(""));
        return rc < 0 ? rc : 1;
    }
    if (rq->deadline != NSEC_NEVER && io_now(rq->io) >= rq->deadline)
        return -ETIMEDOUT; /* the wait for a slot took too long */
    return 0;
}

int request_answer(struct srv_request *rq, int rc) {
    if (rq->failed < 0 && (rq->streams || !rq->session->http.answered))
        rc = rq->failed; /* the first failure, whatever the handler made of it */
    if (rc == -ECANCELED)
        return rc;
    if (rc < 0 || !rq->session->http.answered)
        return answer_failure(rq, rc);
    return 0;
}

void request_init(struct srv_request *rq, struct session *s, struct io *io) {
    *rq = (struct srv_request){
        .session = s, .arena = &s->arena, .io = io, .deadline = session_deadline(s)
    };
    http_target_split(s->head.target, &rq->path, &rq->query);
}

int request_stick(struct srv_request *rq, int rc) {
    if (rc < 0 && rq->failed == 0)
        rq->failed = rc;
    return rq->failed;
}
