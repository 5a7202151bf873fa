/* SPDX-License-Identifier: MIT */
/* Head parser: cuts the lines, checks their bytes, and leaves the meaning to the rules.
 *
 * A line is judged when its LF has arrived, and what needs more than one line when the head is
 * complete. So the answer depends on the bytes alone and never on how they were split. Only a limit
 * is judged earlier: when no LF can come in time any more.
 */
#include "http/head.h"
#include "http/chars.h"
#include "http/error.h"
#include "http/rules.h"

enum step { STEP_LINE, STEP_BLANK, STEP_MORE, STEP_BAD };

struct walk {
    const char *start, *at, *end; /* of the head; of the line to read; of the bytes there are */
    const struct http_limits *limits;
    struct http_head *head;
    const char *fields; /* the first field line, once the start line is walked */
    const char *why;    /* of STEP_BAD */
    struct http_known known;
    bool is_response;
};

static enum step bad(struct walk *w, const char *why) {
    w->why = why;
    return STEP_BAD;
}

/* The line at w->at has no LF yet. */
static enum step incomplete(struct walk *w) {
    bool can_end = (size_t)(w->end - w->start) < w->limits->head_bytes;
    return can_end ? STEP_MORE : bad(w, http_err_head_large);
}

/* The line at w->at is wrong: refuses it if it is complete. */
static enum step refuse_line(struct walk *w, const char *why) {
    const char *lf = memchr(w->at, '\n', (size_t)(w->end - w->at));
    if (lf == NULL)
        return incomplete(w);
    return bad(w, (size_t)(lf - w->start) < w->limits->head_bytes ? why : http_err_head_large);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
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
static const char *long_start_line(const struct walk *w, size_t len) {
    if (w->is_response)
        return http_err_status_line;
    size_t method_len = http_span(w->at, len, HTTP_CHAR_TOKEN);
    if (method_len == 0 || method_len == len || w->at[method_len] != ' ')
        return http_err_method;
    return http_err_target_long;
}

/* How many bytes of a head must hold the LF of its start line. */
static size_t start_line_cap(const struct http_limits *limits) {
    size_t cap = (size_t)limits->start_line_bytes + 2;
    return cap < limits->head_bytes ? cap : limits->head_bytes;
}

static enum step start_line(struct walk *w) {
    size_t have = (size_t)(w->end - w->at);
    size_t cap = start_line_cap(w->limits);
    const char *lf = memchr(w->at, '\n', have < cap ? have : cap);
    if (lf == NULL && have < cap)
        return STEP_MORE;
    if (lf == NULL)
        return bad(w, cap == w->limits->head_bytes ? http_err_head_large : long_start_line(w, cap));
    if (lf == w->at || lf[-1] != '\r')
        return bad(w, http_err_line_end);

    struct slice line = slice_of(w->at, (size_t)(lf - 1 - w->at));
    const char *why =
        w->is_response ? parse_status_line(line, w->head) : parse_request_line(line, w->head);
    if (why != NULL)
        return bad(w, memchr(line.ptr, '\r', line.len) != NULL ? http_err_line_end : why);
    w->at = w->fields = lf + 1;
    return STEP_LINE;
}

/* Why the line at w->at, whose name ends at `name_end`, is no `name:`. */
static const char *name_fault(const struct walk *w, const char *name_end) {
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

static enum step blank_line(struct walk *w) {
    if (w->end - w->at < 2)
        return incomplete(w);
    if (w->at[1] != '\n')
        return refuse_line(w, http_err_line_end);
    if ((size_t)(w->at + 1 - w->start) >= w->limits->head_bytes)
        return bad(w, http_err_head_large);
    w->at += 2;
    return STEP_BLANK;
}

static enum step field_line(struct walk *w) {
    const char *line = w->at, *end = w->end;
    if (line == end)
        return incomplete(w);
    if (*line == '\r')
        return blank_line(w);

    const char *colon = line + http_span(line, (size_t)(end - line), HTTP_CHAR_TOKEN);
    if (UNLIKELY(colon == end || *colon != ':' || colon == line))
        return refuse_line(w, name_fault(w, colon));
    const char *value = colon + 1;
    while (value < end && is_space(*value))
        value++;
    const char *stop = value + http_span_value(value, (size_t)(end - value));
    if (UNLIKELY(end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')) {
        bool is_line_end = stop < end && (*stop == '\r' || *stop == '\n');
        return refuse_line(w, is_line_end ? http_err_line_end : http_err_field_value);
    }
    if ((size_t)(stop + 1 - w->start) >= w->limits->head_bytes)
        return bad(w, http_err_head_large);
    if ((size_t)(stop - line) > w->limits->field_bytes)
        return bad(w, http_err_field_long);

    w->at = stop + 2;
    while (stop > value && is_space(stop[-1]))
        stop--;
    w->known.fields++;
    http_known_add(&w->known, w->head, slice_of(line, (size_t)(colon - line)),
                   slice_of(value, (size_t)(stop - value)));
    return STEP_LINE;
}

static struct http_parse result(const struct walk *w, enum step step, const char *input) {
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
static enum step walk_lines(struct walk *w) {
    enum step step = w->at == w->start ? start_line(w) : STEP_LINE;
    while (step == STEP_LINE)
        step = field_line(w);
    return step;
}

/* Judges only what came after the first `scanned` bytes, which an earlier call has walked.
 * STEP_BLANK: the head is complete. */
static enum step walk_news(struct walk w, const char *input, size_t scanned, const char **ret_why) {
    struct http_head scratch = { 0 };
    const char *seen = input + scanned;
    size_t cap = start_line_cap(w.limits);
    enum step step;
    w.head = &scratch;
    if (memchr(seen, '\n', (size_t)(w.end - seen)) != NULL) {
        const char *lf = memrchr(w.start, '\n', (size_t)(seen - w.start));
        w.at = lf != NULL ? lf + 1 : w.start;
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
static const char *first_byte_fault(const struct walk *w) {
    if (w->at == w->end || *w->at == '\r')
        return NULL;
    if (w->is_response)
        return *w->at != 'H' ? http_err_status_line : NULL;
    return !http_char_is(*w->at, HTTP_CHAR_TOKEN) ? http_err_method : NULL;
}

static struct http_parse parse_head(struct slice input, size_t scanned, struct walk *w) {
    w->at = w->start;
    w->end = input.ptr + input.len;
    if (w->why == NULL)
        w->why = first_byte_fault(w);
    if (w->why != NULL)
        return result(w, STEP_BAD, input.ptr);
    if (scanned > (size_t)(w->start - input.ptr)) {
        enum step news = walk_news(*w, input.ptr, scanned, &w->why);
        if (news != STEP_BLANK)
            return result(w, news, input.ptr);
    }

    *w->head = (struct http_head){ .method = HTTP_METHOD_OTHER };
    enum step step = walk_lines(w);
    if (step == STEP_BLANK) {
        w->head->fields = slice_of(w->fields, (size_t)(w->at - 2 - w->fields));
        w->why = w->is_response ? http_rules_response(&w->known, w->limits, w->head)
                                : http_rules_request(&w->known, w->limits, w->head);
        if (w->why != NULL)
            step = STEP_BAD;
    }
    return result(w, step, input.ptr);
}

struct http_parse http_parse_request(struct slice input, size_t scanned,
                                     const struct http_limits *limits, struct http_head *ret) {
    struct walk w = { .limits = limits, .head = ret };
    w.start = input.ptr + leading_lines(input, &w.why);
    return parse_head(input, scanned, &w);
}

struct http_parse http_parse_response(struct slice input, size_t scanned,
                                      const struct http_limits *limits, struct http_head *ret) {
    struct walk w = { .start = input.ptr, .limits = limits, .head = ret, .is_response = true };
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
