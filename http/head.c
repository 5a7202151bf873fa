/* SPDX-License-Identifier: MIT */
/* Head parser: cuts the lines, checks their bytes, and leaves the meaning to the rules.
 *
 * A line is judged when its LF has arrived, and what needs more than one line when the head is
 * complete. So the answer depends on the bytes alone and never on how they were split. Only a limit
 * is judged earlier: when no LF can come in time any more.
 */
#include "http/head.h"
#include "http/authority.h"
#include "http/chars.h"
#include "http/error.h"

/* --- fields that decide framing and persistence --------------------------------------------- */

/* For tokens only: no other tchar becomes one of the letters or '-' of `lower` by setting this bit.
 * Word by word: the last one overlaps the one before it. */
static inline bool is_name(const char *name, const char *lower, size_t len) {
    uint64_t word, expected;
    uint32_t half, expected_half;

    for (size_t at = 0; at < len && len >= 8; at += 8) {
        size_t from = at + 8 > len ? len - 8 : at;
        memcpy(&word, name + from, 8);
        memcpy(&expected, lower + from, 8);
        if ((word | UINT64_C(0x2020202020202020)) != expected)
            return false;
    }
    for (size_t at = 0; at < len && len < 8; at += 4) {
        size_t from = at + 4 > len ? len - 4 : at;
        memcpy(&half, name + from, 4);
        memcpy(&expected_half, lower + from, 4);
        if ((half | UINT32_C(0x20202020)) != expected_half)
            return false;
    }
    return true;
}

static __attribute__((noinline)) void add_connection(struct http_head *head, struct slice value) {
    while (value.len > 0) {
        struct slice option = slice_trim(slice_cut(&value, ','));
        if (slice_eq_nocase(option, SLICE("close")))
            head->says_close = true;
        else if (slice_eq_nocase(option, SLICE("keep-alive")))
            head->says_keep_alive = true;
        else
            head->says_more = true;
    }
}

/* transfer-coding = token *( OWS ";" OWS parameter ); the parameters of a coding that is unknown
 * anyway are not looked at. */
static void add_coding(struct http_known *known, struct slice element) {
    size_t len = http_span(element.ptr, element.len, HTTP_CHAR_TOKEN);
    struct slice rest = slice_trim(slice_drop(element, len));
    bool is_chunked = slice_eq_nocase(slice_take(element, len), SLICE("chunked"));
    known->codings++;
    known->chunkeds += is_chunked;
    known->chunked_is_last = is_chunked;
    if (len == 0 || (rest.len > 0 && (is_chunked || rest.ptr[0] != ';')))
        known->coding_invalid = true;
}

/* Cuts by hand: an empty element, also at the end, must be seen to be refused. */
static __attribute__((noinline)) void add_codings(struct http_known *known, struct slice value) {
    for (;;) {
        size_t comma = slice_find(value, ',');
        add_coding(known, slice_trim(slice_take(value, comma)));
        if (comma == value.len)
            return;
        value = slice_drop(value, comma + 1);
    }
}

static __attribute__((noinline)) void add_expect(struct http_known *known, struct http_head *head,
                                                 struct slice value) {
    if (slice_eq_nocase(value, SLICE("100-continue")))
        head->expects_continue = true;
    else
        known->expects_other = true;
}

/* A decimal number, or a list of equal ones (RFC 9112 section 6.3). */
static bool parse_equal_lengths(struct slice value, uint64_t *ret) {
    size_t commas = 0;
    uint64_t length;
    for (bool is_last = false; !is_last; commas++) {
        size_t comma = slice_find(value, ',');
        is_last = comma == value.len;
        if (slice_parse_u64(slice_trim(slice_take(value, comma)), UINT64_MAX, &length) != 0 ||
            (commas > 0 && length != *ret))
            return false;
        *ret = length;
        value = slice_drop(value, comma + 1);
    }
    return true;
}

static __attribute__((noinline)) void add_length_again(struct http_known *known,
                                                       struct slice value) {
    uint64_t before, length;
    if (!parse_equal_lengths(known->content_length, &before) ||
        !parse_equal_lengths(value, &length) || before != length)
        known->lengths_differ = true;
    known->content_length = value;
}

/* Fields that mean something here. */
enum {
    FIELD_OTHER,
    FIELD_EXPECT,
    FIELD_CONNECTION,
    FIELD_TRANSFER_ENCODING,

    /* Fields of requests whose value is no list (RFC 9110 section 5.3, RFC 6454 section 7): two
     * lines have two meanings, and a reader of the other one is led astray. */
    FIELD_HOST,
    FIELD_CONTENT_LENGTH,
    FIELD_FROM,
    FIELD_DATE,
    FIELD_RANGE,
    FIELD_ORIGIN,
    FIELD_REFERER,
    FIELD_IF_RANGE,
    FIELD_USER_AGENT,
    FIELD_CONTENT_TYPE,
    FIELD_MAX_FORWARDS,
    FIELD_AUTHORIZATION,
    FIELD_CONTENT_RANGE,
    FIELD_CONTENT_LOCATION,
    FIELD_IF_MODIFIED_SINCE,
    FIELD_IF_UNMODIFIED_SINCE,
    FIELD_PROXY_AUTHORIZATION,
};

/* By length first, which leaves one to three names to compare with. */
static inline __attribute__((always_inline)) int field_of(struct slice name) {
#define NAMED(text, field)                         \
    if (is_name(name.ptr, text, sizeof(text) - 1)) \
    return field
    switch (name.len) {
    case 4:
        NAMED("host", FIELD_HOST);
        NAMED("from", FIELD_FROM);
        NAMED("date", FIELD_DATE);
        break;
    case 5:
        NAMED("range", FIELD_RANGE);
        break;
    case 6:
        NAMED("expect", FIELD_EXPECT);
        NAMED("origin", FIELD_ORIGIN);
        break;
    case 7:
        NAMED("referer", FIELD_REFERER);
        break;
    case 8:
        NAMED("if-range", FIELD_IF_RANGE);
        break;
    case 10:
        NAMED("user-agent", FIELD_USER_AGENT);
        NAMED("connection", FIELD_CONNECTION);
        break;
    case 12:
        NAMED("content-type", FIELD_CONTENT_TYPE);
        NAMED("max-forwards", FIELD_MAX_FORWARDS);
        break;
    case 13:
        NAMED("authorization", FIELD_AUTHORIZATION);
        NAMED("content-range", FIELD_CONTENT_RANGE);
        break;
    case 14:
        NAMED("content-length", FIELD_CONTENT_LENGTH);
        break;
    case 16:
        NAMED("content-location", FIELD_CONTENT_LOCATION);
        break;
    case 17:
        NAMED("if-modified-since", FIELD_IF_MODIFIED_SINCE);
        NAMED("transfer-encoding", FIELD_TRANSFER_ENCODING);
        break;
    case 19:
        NAMED("if-unmodified-since", FIELD_IF_UNMODIFIED_SINCE);
        NAMED("proxy-authorization", FIELD_PROXY_AUTHORIZATION);
        break;
    default:
        break;
    }
#undef NAMED
    return FIELD_OTHER;
}

bool http_field_is_singleton(struct slice name) {
    return field_of(name) >= FIELD_HOST;
}

void http_known_add(struct http_known *known, struct http_head *head, struct slice name,
                    struct slice value) {
    int field = field_of(name);

    switch (field) {
    case FIELD_OTHER:
        break;
    case FIELD_EXPECT:
        add_expect(known, head, value);
        break;
    case FIELD_CONNECTION:
        add_connection(head, value);
        break;
    case FIELD_TRANSFER_ENCODING:
        add_codings(known, value);
        break;
    case FIELD_HOST:
        known->host = value;
        known->hosts++;
        break;
    case FIELD_CONTENT_LENGTH:
        if (UNLIKELY(known->content_lengths++ > 0))
            add_length_again(known, value);
        else
            known->content_length = value;
        break;
    default: /* the other singletons */
        known->singleton_twice |= known->singletons >> field & 1;
        known->singletons |= UINT32_C(1) << field;
        break;
    }
}

/* --- lines ---------------------------------------------------------------------------------- */

enum step { STEP_LINE, STEP_BLANK, STEP_MORE, STEP_BAD };

struct head_walk {
    const char *start, *at, *end; /* the head; the line to read; the end of the bytes */
    const struct http_limits *limits;
    struct http_head *head;
    const char *fields; /* the first field line, once the start line is walked */
    const char *why;    /* reason of STEP_BAD */
    struct http_known known;
    bool is_response;
    bool has_folds; /* lenient: lines go on with a value, so that known is of no use yet */
};

static enum step bad(struct head_walk *w, const char *why) {
    w->why = why;
    return STEP_BAD;
}

/* The line at w->at has no LF yet. */
static enum step incomplete(struct head_walk *w) {
    bool can_end = (size_t)(w->end - w->start) < w->limits->head_bytes;
    return can_end ? STEP_MORE : bad(w, http_err_head_large);
}

/* The line at w->at is wrong: refuses it if it is complete. */
static enum step refuse_line(struct head_walk *w, const char *why) {
    const char *lf = memchr(w->at, '\n', (size_t)(w->end - w->at));
    if (lf == NULL)
        return incomplete(w);
    return bad(w, (size_t)(lf - w->start) < w->limits->head_bytes ? why : http_err_head_large);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static bool is_lenient(const struct head_walk *w) {
    return w->limits->usual != NULL;
}

static void note(struct head_walk *w, enum http_lenience what) {
    w->head->noted |= (uint8_t)(1U << what);
}

/* The LF of the line end at `at`; NULL when none is there. */
static const char *line_end_at(struct head_walk *w, const char *at) {
    if (LIKELY(w->end - at >= 2 && at[0] == '\r' && at[1] == '\n'))
        return at + 1;
    if (!is_lenient(w) || at == w->end || *at != '\n')
        return NULL;
    note(w, HTTP_LENIENCE_BARE_LF);
    return at;
}

/* HTTP/1.DIGIT; a higher minor is served as 1.1 (RFC 9110 section 2.5). */
static const char *parse_version(struct slice text, uint8_t *ret_minor) {
    if (text.len != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || text.ptr[6] != '.')
        return http_err_version;
    char major = text.ptr[5], minor = text.ptr[7];
    if (major < '1' || major > '9' || minor < '0' || minor > '9')
        return http_err_version;
    *ret_minor = minor > '0';
    return major == '1' ? NULL : http_err_version_unsupported;
}

/* All of it goes into the head, or nothing. */
static const char *parse_request_line(struct slice line, struct http_head *head) {
    size_t method_len = http_span(line.ptr, line.len, HTTP_CHAR_TOKEN);
    if (method_len == 0 || (method_len < line.len && line.ptr[method_len] != ' '))
        return http_err_method;

    struct slice rest = slice_drop(line, method_len + 1);
    size_t target_len = http_span_target(rest.ptr, rest.len);
    if (target_len < rest.len && rest.ptr[target_len] != ' ')
        return http_err_target;
    struct slice version = slice_drop(rest, target_len + 1);
    if (target_len == 0 || version.len == 0 || slice_find(version, ' ') < version.len)
        return http_err_request_line;
    const char *why = parse_version(version, &head->version_minor);
    if (why != NULL)
        return why;

    head->method_text = slice_take(line, method_len);
    head->method = http_method_of(head->method_text);
    head->target = slice_take(rest, target_len);
    return NULL;
}

/* The reason may be absent, with or without the space before it. */
static const char *parse_status_line(struct slice line, struct http_head *head) {
    if (line.len < 12 || memcmp(line.ptr, "HTTP/", 5) != 0 || line.ptr[8] != ' ')
        return http_err_status_line;
    const char *why = parse_version(slice_take(line, 8), &head->version_minor);
    uint64_t status;
    if (why != NULL)
        return why;
    if (slice_parse_u64(slice_of(line.ptr + 9, 3), 999, &status) != 0 || status < 100)
        return http_err_status_line;
    head->status = (uint16_t)status;
    if (line.len > 12 && line.ptr[12] != ' ')
        return http_err_status_line;
    head->reason = slice_drop(line, 13);
    if (http_span_value(head->reason.ptr, head->reason.len) < head->reason.len)
        return http_err_status_line;
    return NULL;
}

/* A start line is over its limit: is it the target that is too long, or was it never a request? */
static const char *long_start_line(const struct head_walk *w, size_t len) {
    if (w->is_response)
        return http_err_status_line;
    size_t method_len = http_span(w->at, len, HTTP_CHAR_TOKEN);
    if (method_len == 0 || method_len == len || w->at[method_len] != ' ')
        return http_err_method;
    return http_err_target_long;
}

/* The number of bytes of a head within which the LF of its start line must come. */
static size_t start_line_cap(const struct http_limits *limits) {
    size_t cap = (size_t)limits->start_line_bytes + 2;
    return cap < limits->head_bytes ? cap : limits->head_bytes;
}

static enum step start_line(struct head_walk *w) {
    size_t have = (size_t)(w->end - w->at);
    size_t cap = start_line_cap(w->limits);
    const char *lf = memchr(w->at, '\n', have < cap ? have : cap);
    if (lf == NULL && have < cap)
        return STEP_MORE;
    if (lf == NULL)
        return bad(w, cap == w->limits->head_bytes ? http_err_head_large : long_start_line(w, cap));
    const char *end = lf - 1;
    if (UNLIKELY(lf == w->at || *end != '\r')) {
        end = lf;
        if (line_end_at(w, end) == NULL)
            return bad(w, http_err_line_end);
    }

    struct slice line = slice_of(w->at, (size_t)(end - w->at));
    const char *why =
        w->is_response ? parse_status_line(line, w->head) : parse_request_line(line, w->head);
    if (why != NULL)
        return bad(w, memchr(line.ptr, '\r', line.len) != NULL ? http_err_line_end : why);
    w->at = w->fields = lf + 1;
    return STEP_LINE;
}

/* Tells why the line at w->at, whose name ends at `name_end`, is no `name:`. */
static const char *name_fault(const struct head_walk *w, const char *name_end) {
    if (name_end == w->end)
        return http_err_field_name;
    if (name_end == w->at && is_space(*name_end)) {
        const char *start_line_end = memchr(w->start, '\n', (size_t)(w->at - w->start));
        return start_line_end + 1 == w->at ? http_err_field_space : http_err_field_fold;
    }
    if (*name_end == '\n' || (*name_end == '\r' && name_end + 1 < w->end && name_end[1] != '\n'))
        return http_err_line_end;
    return is_space(*name_end) ? http_err_field_space : http_err_field_name;
}

static bool is_blank(const struct head_walk *w) {
    return w->at < w->end && (*w->at == '\r' || (*w->at == '\n' && is_lenient(w)));
}

static enum step blank_line(struct head_walk *w) {
    if (*w->at == '\r' && w->end - w->at < 2)
        return incomplete(w);
    const char *lf = line_end_at(w, w->at);
    if (lf == NULL)
        return refuse_line(w, http_err_line_end);
    if ((size_t)(lf - w->start) >= w->limits->head_bytes)
        return bad(w, http_err_head_large);
    w->head->fields = slice_of(w->fields, (size_t)(w->at - w->fields));
    w->at = lf + 1;
    return STEP_BLANK;
}

/* Whether the field at w->at may be so long; `stop` and `lf` are the end of its value and line. */
static const char *size_fault(const struct head_walk *w, const char *line, const char *stop,
                              const char *lf) {
    if ((size_t)(lf - w->start) >= w->limits->head_bytes)
        return http_err_head_large;
    return (size_t)(stop - line) > w->limits->field_bytes ? http_err_field_long : NULL;
}

/* The value before `stop` does not end as a line must. */
static enum step bad_value(struct head_walk *w, const char *stop) {
    bool is_line_end = stop < w->end && (*stop == '\r' || *stop == '\n');
    w->at = stop;
    return refuse_line(w, is_line_end ? http_err_line_end : http_err_field_value);
}

/* The start of the field, or of the start line, that the byte before `seen` belongs to. */
static const char *line_start(const struct head_walk *w, const char *seen) {
    const char *lf = memrchr(w->start, '\n', (size_t)(seen - w->start));
    while (lf != NULL && is_lenient(w) && is_space(lf[1]))
        lf = memrchr(w->start, '\n', (size_t)(lf - w->start));
    return lf != NULL ? lf + 1 : w->start;
}

/* All lines at w->at that go on with the value of the field before them. */
static enum step walk_folds(struct head_walk *w) {
    const char *line = line_start(w, w->at), *end = w->end;
    w->has_folds = true;
    while (w->at < end && is_space(*w->at)) {
        const char *stop = w->at + http_span_value(w->at, (size_t)(end - w->at));
        const char *lf = line_end_at(w, stop);
        if (lf == NULL)
            return bad_value(w, stop);
        const char *why = size_fault(w, line, stop, lf);
        if (why != NULL)
            return bad(w, why);
        w->at = lf + 1;
    }
    return STEP_LINE;
}

/* The line at w->at, whose name ends at `name_end`, is neither `name:` nor blank. */
static __attribute__((noinline)) enum step other_line(struct head_walk *w, const char *name_end) {
    if (w->at == w->end)
        return incomplete(w);
    if (is_lenient(w) && is_space(*w->at) && w->at != w->fields)
        return walk_folds(w);
    return refuse_line(w, name_fault(w, name_end));
}

static enum step field_line(struct head_walk *w) {
    const char *line = w->at, *end = w->end;
    const char *colon = line + http_span(line, (size_t)(end - line), HTTP_CHAR_TOKEN);
    if (UNLIKELY(colon == end || *colon != ':' || colon == line))
        return is_blank(w) ? blank_line(w) : other_line(w, colon);
    const char *value = colon + 1;
    while (value < end && is_space(*value))
        value++;
    const char *stop = value + http_span_value(value, (size_t)(end - value));
    const char *lf = line_end_at(w, stop);
    if (UNLIKELY(lf == NULL))
        return bad_value(w, stop);
    const char *why = size_fault(w, line, stop, lf);
    if (UNLIKELY(why != NULL))
        return bad(w, why);

    w->at = lf + 1;
    while (stop > value && is_space(stop[-1]))
        stop--;
    w->known.fields++;
    http_known_add(&w->known, w->head, slice_of(line, (size_t)(colon - line)),
                   slice_of(value, (size_t)(stop - value)));
    return STEP_LINE;
}

/* --- rules for a complete head, RFC 9112 sections 3.2 and 6, RFC 9110 section 10.1.1 -------- */

/* RFC 9112 section 6.1: chunked once and last. Another coding before it is well framed but nothing
 * we can decode. */
static const char *judge_codings(const struct http_known *known, uint8_t version_minor) {
    if (version_minor == 0)
        return http_err_coding_http10;
    if (known->content_lengths > 0)
        return http_err_length_and_coding;
    if (known->coding_invalid || known->chunkeds != 1 || !known->chunked_is_last)
        return http_err_coding;
    return known->codings > 1 ? http_err_coding_unknown : NULL;
}

/* RFC 9112 section 6.3. Lists of equal lengths and repeated lines may be refused, and are unless
 * `lenient`. */
static const char *judge_length(const struct http_known *known, bool lenient,
                                struct http_head *head) {
    if (known->content_lengths == 1 &&
        slice_parse_u64(known->content_length, UINT64_MAX, &head->content_length) == 0)
        return NULL;
    if (known->content_lengths > 1 && (!lenient || known->lengths_differ))
        return http_err_length_many;
    if (!lenient || !parse_equal_lengths(known->content_length, &head->content_length))
        return http_err_length;
    head->noted |= 1U << HTTP_LENIENCE_LENGTH_REPEATED;
    return NULL;
}

static const char *judge_framing(const struct http_known *known, bool lenient,
                                 struct http_head *head) {
    if (known->codings > 0) {
        head->chunked = true;
        head->framing = HTTP_FRAMING_CHUNKED;
        return judge_codings(known, head->version_minor);
    }
    if (known->content_lengths == 0)
        return NULL;
    const char *why = judge_length(known, lenient, head);
    if (why != NULL)
        return why;
    head->has_content_length = true;
    head->framing = HTTP_FRAMING_LENGTH;
    return NULL;
}

static bool is_host(struct slice text, bool needs_port) {
    struct http_authority authority;
    return http_authority_parse(text, &authority) && (authority.has_port || !needs_port);
}

/* The authority of http://authority/path, empty when this is not one. */
static struct slice absolute_authority(struct slice target) {
    size_t skip = slice_eq_nocase(slice_take(target, 7), SLICE("http://"))    ? 7
                  : slice_eq_nocase(slice_take(target, 8), SLICE("https://")) ? 8
                                                                              : target.len;
    struct slice authority = slice_drop(target, skip);
    authority = slice_take(authority, slice_find(authority, '/'));
    return slice_take(authority, slice_find(authority, '?'));
}

/* The four forms of RFC 9112 section 3.2; in absolute-form the authority overrides Host. */
static const char *judge_target(struct http_head *head) {
    if (head->method == HTTP_METHOD_CONNECT)
        return is_host(head->target, true) ? NULL : http_err_target;
    if (head->target.ptr[0] == '/')
        return NULL;
    if (head->method == HTTP_METHOD_OPTIONS && slice_eq(head->target, SLICE("*")))
        return NULL;
    struct slice authority = absolute_authority(head->target);
    if (!is_host(authority, false))
        return http_err_target;
    head->host = authority;
    return NULL;
}

static const char *judge_host(const struct http_known *known, struct http_head *head) {
    if (known->hosts > 1)
        return http_err_host_many;
    if (known->hosts == 0)
        return head->version_minor > 0 ? http_err_host_missing : NULL;
    head->host = known->host;
    return is_host(known->host, false) ? NULL : http_err_host;
}

const char *http_rules_request(const struct http_known *known, const struct http_limits *limits,
                               struct http_head *head) {
    if (known->fields > limits->fields)
        return http_err_fields_many;
    const char *why = judge_host(known, head);
    if (why == NULL)
        why = judge_target(head);
    if (why == NULL)
        why = judge_framing(known, limits->usual != NULL, head);
    if (why == NULL && known->singleton_twice)
        why = http_err_field_twice;
    if (why != NULL)
        return why;
    if (head->version_minor == 0)
        head->expects_continue = false;
    else if (known->expects_other)
        return http_err_expect;
    return NULL;
}

static const char *judge_response(const struct http_known *known, const struct http_limits *limits,
                                  struct http_head *head) {
    if (known->fields > limits->fields)
        return http_err_fields_many;
    head->expects_continue = false;
    head->framing = HTTP_FRAMING_CLOSE;
    return judge_framing(known, limits->usual != NULL, head);
}

/* --- the whole ------------------------------------------------------------------------------ */

static struct http_parse result(const struct head_walk *w, enum step step, const char *input) {
    switch (step) {
    case STEP_BLANK:
        return (struct http_parse){ .kind = HTTP_PARSE_DONE, .used = (size_t)(w->at - input) };
    case STEP_BAD:
        return (struct http_parse){ .kind = HTTP_PARSE_BAD, .why = w->why };
    case STEP_LINE:
    case STEP_MORE:
        break;
    }
    return (struct http_parse){ .kind = HTTP_PARSE_MORE };
}

/* All lines from w->at on. */
static enum step walk_lines(struct head_walk *w) {
    enum step step = w->at == w->start ? start_line(w) : STEP_LINE;
    while (step == STEP_LINE)
        step = field_line(w);
    return step;
}

/* Judges only what came after the first `scanned` bytes, which an earlier call has walked.
 * STEP_BLANK: the head is complete. */
static __attribute__((noinline)) enum step
walk_news(const struct head_walk *whole, const char *input, size_t scanned, const char **ret_why) {
    struct http_head scratch = { 0 };
    struct head_walk w = *whole;
    const char *seen = input + scanned;
    size_t cap = start_line_cap(w.limits);
    enum step step;
    w.head = &scratch;
    if (memchr(seen, '\n', (size_t)(w.end - seen)) != NULL) {
        w.at = line_start(&w, seen);
        step = walk_lines(&w);
    } else {
        /* No line was completed, but a limit may have been crossed. */
        bool crosses = (size_t)(seen - w.start) < cap && (size_t)(w.end - w.start) >= cap;
        step = crosses ? start_line(&w) : STEP_LINE;
        if (step != STEP_BAD)
            step = incomplete(&w);
    }
    *ret_why = w.why;
    return step;
}

/* RFC 9112 section 2.2: empty lines before a request are skipped. The length of them; *ret_why when
 * they are broken. */
static size_t leading_lines(struct slice input, const char **ret_why) {
    size_t skip = 0;
    while (skip + 1 < input.len && input.ptr[skip] == '\r' && input.ptr[skip + 1] == '\n')
        skip += 2;
    bool is_broken = skip < input.len &&
                     (input.ptr[skip] == '\n' || (input.ptr[skip] == '\r' && skip + 1 < input.len));
    if (skip > 2 * HTTP_LEADING_LINES_MAX)
        *ret_why = http_err_request_line;
    else if (is_broken)
        *ret_why = http_err_line_end;
    return skip;
}

/* Junk (a TLS handshake, say) is refused by its first byte instead of when a line end happens to
 * come along. */
static const char *first_byte_fault(const struct head_walk *w) {
    if (w->at == w->end || *w->at == '\r')
        return NULL;
    if (w->is_response)
        return *w->at != 'H' ? http_err_status_line : NULL;
    return !http_char_is(*w->at, HTTP_CHAR_TOKEN) ? http_err_method : NULL;
}

/* RFC 9112 section 5.2: a fold is replaced by blanks before the value is looked at. */
static void unfold(const struct head_walk *w) {
    char *fields = (char *)(uintptr_t)w->fields;
    for (size_t i = 1; i + 1 < w->head->fields.len; i++) {
        if (fields[i] != '\n' || !is_space(fields[i + 1]))
            continue;
        fields[i] = ' ';
        if (fields[i - 1] == '\r')
            fields[i - 1] = ' ';
    }
}

/* A complete head that holds folds, once more without them. */
static __attribute__((noinline)) enum step walk_unfolded(struct head_walk *w) {
    unfold(w);
    *w->head = (struct http_head){ .method = HTTP_METHOD_OTHER };
    w->known = (struct http_known){ .fields = 0 };
    w->at = w->start;
    note(w, HTTP_LENIENCE_FOLD);
    return walk_lines(w);
}

static void note_size(struct head_walk *w) {
    const struct http_limits *usual = w->limits->usual;
    struct slice rest = w->head->fields;
    size_t bytes = (size_t)(w->at - w->start);
    if (LIKELY(bytes <= usual->field_bytes && bytes <= usual->start_line_bytes &&
               bytes <= usual->head_bytes && w->known.fields <= usual->fields))
        return;
    bool is_large = bytes > usual->head_bytes || w->known.fields > usual->fields ||
                    (size_t)(w->fields - w->start) > (size_t)usual->start_line_bytes + 2;
    while (!is_large && rest.len > usual->field_bytes)
        is_large = slice_cut(&rest, '\n').len > (size_t)usual->field_bytes + 1;
    if (is_large)
        note(w, HTTP_LENIENCE_LARGE);
}

static struct http_parse parse_head(struct slice input, size_t scanned, struct head_walk *w) {
    w->at = w->start;
    w->end = input.ptr + input.len;
    if (w->why == NULL)
        w->why = first_byte_fault(w);
    if (w->why != NULL)
        return result(w, STEP_BAD, input.ptr);
    if (scanned > (size_t)(w->start - input.ptr)) {
        enum step news = walk_news(w, input.ptr, scanned, &w->why);
        if (news != STEP_BLANK)
            return result(w, news, input.ptr);
    }

    *w->head = (struct http_head){ .method = HTTP_METHOD_OTHER };
    enum step step = walk_lines(w);
    if (step == STEP_BLANK && UNLIKELY(w->has_folds))
        step = walk_unfolded(w);
    if (step == STEP_BLANK) {
        if (is_lenient(w))
            note_size(w);
        w->why = w->is_response ? judge_response(&w->known, w->limits, w->head)
                                : http_rules_request(&w->known, w->limits, w->head);
        if (w->why != NULL)
            step = STEP_BAD;
    }
    return result(w, step, input.ptr);
}

struct http_parse http_parse_request(struct slice input, size_t scanned,
                                     const struct http_limits *limits, struct http_head *ret) {
    struct head_walk w = { .limits = limits, .head = ret };
    w.start = input.ptr + leading_lines(input, &w.why);
    return parse_head(input, scanned, &w);
}

struct http_parse http_parse_response(struct slice input, size_t scanned,
                                      const struct http_limits *limits, struct http_head *ret) {
    struct head_walk w = { .start = input.ptr, .limits = limits, .head = ret, .is_response = true };
    return parse_head(input, scanned, &w);
}

enum http_framing http_response_framing(const struct http_head *response,
                                        enum http_method request_method) {
    bool is_tunnel = request_method == HTTP_METHOD_CONNECT && response->status / 100 == 2;
    if (request_method == HTTP_METHOD_HEAD || response->status / 100 == 1 ||
        response->status == 204 || response->status == 304 || is_tunnel)
        return HTTP_FRAMING_NONE;
    return response->framing;
}
