/* SPDX-License-Identifier: MIT */
/* Takes lines of requests and of logs apart. */
#include "loadgen/mix_line.h"
#include "base/units.h"
#include <errno.h>
#include <stdlib.h>

static int refuse(const char **ret_why, const char *why) {
    *ret_why = why;
    return -EINVAL;
}

static struct slice take_word(struct slice *rest) {
    size_t len = slice_find(*rest, ' ');
    len = slice_find(slice_take(*rest, len), '\t');
    struct slice word = slice_take(*rest, len);
    *rest = slice_trim(slice_drop(*rest, len));
    return word;
}

/* --- a URL ------------------------------------------------------------------------------------ */

static bool is_method(struct slice word) {
    static const struct slice methods[] = { SLICE_INIT("GET"),    SLICE_INIT("HEAD"),
                                            SLICE_INIT("POST"),   SLICE_INIT("PUT"),
                                            SLICE_INIT("PATCH"),  SLICE_INIT("DELETE"),
                                            SLICE_INIT("OPTIONS") };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_eq(word, methods[i]))
            return true;
    return false;
}

/* A body that begins with < names a file, as siege's do. */
static void set_plain_body(struct mix_line *m, struct slice body) {
    if (body.len == 0)
        return;
    bool is_file = body.ptr[0] == '<';
    m->body_kind = is_file ? MIX_BODY_FILE : MIX_BODY_FORM;
    m->body.raw = is_file ? slice_trim(slice_drop(body, 1)) : body;
}

static int parse_plain(struct slice rest, struct mix_line *m, const char **ret_why) {
    struct slice word = take_word(&rest);
    if (word.ptr[0] != '/' && is_method(word)) {
        m->method = word;
        if (rest.len == 0)
            return refuse(ret_why, "has a method without a URL");
        word = take_word(&rest);
    }
    m->url.raw = word;
    if (rest.len == 0)
        return 1;
    if (m->method.len == 0) {
        m->method = take_word(&rest);
        if (!is_method(m->method))
            return refuse(ret_why, "has more than a URL, and it is no method: expected "
                                   "URL [METHOD [BODY]]");
    }
    set_plain_body(m, rest);
    if (m->body_kind == MIX_BODY_FILE && m->body.raw.len == 0)
        return refuse(ret_why, "names no file behind <");
    return 1;
}

/* --- an object -------------------------------------------------------------------------------- */

static int set_text(struct mix_text *to, const struct json_member *v, const char *why,
                    const char **ret_why) {
    if (v->kind != JSON_KIND_STRING)
        return refuse(ret_why, why);
    *to = (struct mix_text){ v->value, v->has_escapes };
    return 0;
}

static int set_method(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    if (v->kind != JSON_KIND_STRING || v->has_escapes || v->value.len == 0)
        return refuse(ret_why, "has a method that is no word");
    m->method = v->value;
    return 0;
}

static int set_url(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    if (m->url.raw.ptr != NULL)
        return refuse(ret_why, "has both url and path, or one of them twice");
    return set_text(&m->url, v, "has a url that is no string", ret_why);
}

static int set_headers(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    if (v->kind != JSON_KIND_OBJECT)
        return refuse(ret_why, "has headers that are no object of names and values");
    m->headers = v->value;
    return 0;
}

/* "@file" names a file; "@@text" is text that begins with one @. */
static int set_body(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    struct mix_text text = { v->value, v->has_escapes };
    m->body_kind = MIX_BODY_TEXT;
    if (v->kind == JSON_KIND_OBJECT || v->kind == JSON_KIND_ARRAY)
        m->body_kind = MIX_BODY_JSON;
    else if (v->kind != JSON_KIND_STRING)
        return refuse(ret_why, "has a body that is no string, object or list");
    else if (slice_starts_with(text.raw, SLICE("@@")))
        text.raw = slice_drop(text.raw, 1);
    else if (slice_starts_with(text.raw, SLICE("@"))) {
        m->body_kind = MIX_BODY_FILE;
        text.raw = slice_drop(text.raw, 1);
    }
    if (m->body_kind == MIX_BODY_FILE && text.raw.len == 0)
        return refuse(ret_why, "names no file behind @");
    m->body = text;
    return 0;
}

static int set_weight(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    double weight = 0;
    if (v->kind == JSON_KIND_NUMBER && units_parse_number(v->value, &weight) == 0 && weight > 0 &&
        weight <= MIX_WEIGHT_MAX) {
        m->weight = weight;
        m->has_weight = true;
        return 0;
    }
    return refuse(ret_why, "has a weight that is no number above 0 and up to 1000000");
}

static int set_name(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    return set_text(&m->name, v, "has a name that is no string", ret_why);
}

static int set_expect(struct mix_line *m, const struct json_member *v, const char **ret_why) {
    struct json_scan scan;
    struct json_member member;
    int rc = v->kind == JSON_KIND_OBJECT ? json_scan_begin(&scan, v->value) : -EINVAL;
    if (rc != 0)
        return refuse(ret_why, "has an expect that is no object of status and body");
    while ((rc = json_scan_next(&scan, &member)) > 0) {
        bool is_status = slice_eq(member.key, SLICE("status"));
        if (is_status && (member.kind == JSON_KIND_STRING || member.kind == JSON_KIND_NUMBER))
            m->expect_status = member.value;
        else if (slice_eq(member.key, SLICE("body")) && member.kind == JSON_KIND_STRING)
            m->expect_body = (struct mix_text){ member.value, member.has_escapes };
        else
            return refuse(ret_why, "expects something else than a status (200, \"2xx,304\") and a "
                                   "body (text)");
    }
    return rc;
}

static const struct member {
    struct slice key;
    int (*set)(struct mix_line *, const struct json_member *, const char **);
} members[] = {
    { SLICE_INIT("url"), set_url },         { SLICE_INIT("path"), set_url },
    { SLICE_INIT("method"), set_method },   { SLICE_INIT("name"), set_name },
    { SLICE_INIT("headers"), set_headers }, { SLICE_INIT("body"), set_body },
    { SLICE_INIT("weight"), set_weight },   { SLICE_INIT("expect"), set_expect },
};

static const struct member *find_member(struct slice key) {
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (slice_eq(members[i].key, key))
            return &members[i];
    return NULL;
}

static int parse_object(struct slice text, struct mix_line *m, const char **ret_why) {
    struct json_scan scan;
    struct json_member v;
    int rc = json_scan_begin(&scan, text);
    while (rc == 0 && (rc = json_scan_next(&scan, &v)) > 0) {
        const struct member *member = find_member(v.key);
        if (member == NULL)
            return refuse(ret_why, "has a member that is none of url, path, method, headers, body, "
                                   "weight, expect and name");
        rc = member->set(m, &v, ret_why);
        if (rc != 0)
            return rc;
    }
    if (rc != 0)
        return refuse(ret_why, scan.why);
    return m->url.raw.len > 0 ? 1 : refuse(ret_why, "has no url");
}

int mix_line_parse(struct slice text, struct mix_line *ret, const char **ret_why) {
    *ret = (struct mix_line){ .weight = 1 };
    text = slice_trim(text);
    if (text.len == 0 || text.ptr[0] == '#')
        return 0;
    if (memchr(text.ptr, '\0', text.len) != NULL) /* as behind the end of a file that shrank */
        return refuse(ret_why, "has a NUL");
    return text.ptr[0] == '{' ? parse_object(text, ret, ret_why) : parse_plain(text, ret, ret_why);
}

/* --- times ------------------------------------------------------------------------------------ */

enum { TIME_BYTES = 48 };

static bool take_char(struct slice *rest, char c) {
    if (rest->len == 0 || rest->ptr[0] != c)
        return false;
    *rest = slice_drop(*rest, 1);
    return true;
}

/* 2026-11-23T01:02:03.456Z (RFC 3339) */
static bool parse_iso_time(struct slice text, nsec_t *ret) {
    char copy[TIME_BYTES];
    if (text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return clock_parse(copy, ret) == 0;
}

/* 10/Oct/2000:13:55:36 -0700, which is 2000-10-10T13:55:36-0700 */
static bool parse_clf_time(struct slice text, nsec_t *ret) {
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct slice day = slice_cut(&text, '/'), name = slice_cut(&text, '/');
    struct slice year = slice_cut(&text, ':'), of_day = slice_cut(&text, ' ');
    char iso[TIME_BYTES] = "0000-00-00T";
    enum { DATE_BYTES = 11 };
    unsigned month = 0;
    while (month < 12 && !slice_eq(name, slice_of(&months[month * 3], 3)))
        month++;
    if (month == 12 || day.len != 2 || year.len != 4 ||
        of_day.len + text.len >= TIME_BYTES - DATE_BYTES)
        return false;
    memcpy(iso, year.ptr, 4);
    iso[5] = (char)('0' + (month + 1) / 10);
    iso[6] = (char)('0' + (month + 1) % 10);
    memcpy(iso + 8, day.ptr, 2);
    memcpy(iso + DATE_BYTES, of_day.ptr, of_day.len);
    memcpy(iso + DATE_BYTES + of_day.len, text.ptr, text.len);
    return clock_parse(iso, ret) == 0;
}

/* --- a log ------------------------------------------------------------------------------------ */

static int leave_out(enum mix_unplayable *ret_why, enum mix_unplayable why) {
    *ret_why = why;
    return -EINVAL;
}

/* A target of another kind belongs to proxies, or to OPTIONS *. Escapes of a log stand for bytes
 * that no target has. */
static int judge_target(const struct mix_line *m, enum mix_unplayable *ret_why) {
    struct slice target = m->url.raw;
    if (target.len == 0 || (m->method.len == 0 && slice_eq(target, SLICE("-"))))
        return leave_out(ret_why, MIX_UNPLAYABLE_NO_REQUEST);
    if (target.ptr[0] != '/')
        return leave_out(ret_why, slice_eq(target, SLICE("-")) ? MIX_UNPLAYABLE_NO_REQUEST
                                                               : MIX_UNPLAYABLE_CONNECT);
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.ptr[i] <= ' ' || target.ptr[i] == 0x7f || target.ptr[i] == '\\')
            return leave_out(ret_why, MIX_UNPLAYABLE_MALFORMED);
    return 1;
}

/* Cuts "..." with backslashes before quotes. */
static bool cut_quoted(struct slice *rest, struct slice *ret) {
    if (!take_char(rest, '"'))
        return false;
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != '"')
        len += rest->ptr[len] == '\\' ? 2 : 1;
    if (len >= rest->len)
        return false;
    *ret = slice_take(*rest, len);
    *rest = slice_drop(*rest, len + 1);
    return true;
}

static int parse_combined(struct slice text, struct mix_line *m, enum mix_unplayable *ret_why) {
    struct slice rest = slice_drop(text, slice_find(text, '['));
    struct slice time, request;
    if (!take_char(&rest, '['))
        return leave_out(ret_why, MIX_UNPLAYABLE_MALFORMED);
    time = slice_cut(&rest, ']');
    if (!parse_clf_time(time, &m->when) || !take_char(&rest, ' ') || !cut_quoted(&rest, &request))
        return leave_out(ret_why, MIX_UNPLAYABLE_MALFORMED);
    if (request.len == 0 || slice_eq(request, SLICE("-")))
        return leave_out(ret_why, MIX_UNPLAYABLE_NO_REQUEST);
    m->method = slice_cut(&request, ' ');
    m->url.raw = slice_cut(&request, ' ');
    if (m->url.raw.len == 0 || memchr(request.ptr, ' ', request.len) != NULL)
        return leave_out(ret_why, MIX_UNPLAYABLE_MALFORMED);
    return judge_target(m, ret_why);
}

/* The time of such a line is that of its end: `ms` or `total_ms` before it the request came. */
static int parse_json_log(struct slice text, struct mix_line *m, enum mix_unplayable *ret_why) {
    struct json_scan scan;
    struct json_member v;
    bool has_time = false;
    double ms = 0;
    int rc = json_scan_begin(&scan, text);
    while (rc == 0 && (rc = json_scan_next(&scan, &v)) > 0) {
        rc = 0;
        if (slice_eq(v.key, SLICE("time")))
            has_time = v.kind == JSON_KIND_STRING && parse_iso_time(v.value, &m->when);
        else if (slice_eq(v.key, SLICE("method")))
            m->method = v.kind == JSON_KIND_STRING ? v.value : m->method;
        else if (slice_eq(v.key, SLICE("target")) || slice_eq(v.key, SLICE("url")))
            m->url.raw = v.kind == JSON_KIND_STRING ? v.value : m->url.raw;
        else if ((slice_eq(v.key, SLICE("ms")) || slice_eq(v.key, SLICE("total_ms"))) &&
                 units_parse_number(v.value, &ms) != 0)
            ms = 0;
    }
    if (rc != 0 || !has_time || !(ms >= 0 && ms < 1e9))
        return leave_out(ret_why, MIX_UNPLAYABLE_MALFORMED);
    m->when -= (nsec_t)(ms * (double)NSEC_PER_MSEC);
    return judge_target(m, ret_why);
}

int mix_line_parse_log(struct slice text, struct mix_line *ret, enum mix_unplayable *ret_why) {
    *ret = (struct mix_line){ .weight = 1, .is_logged = true };
    text = slice_trim(text);
    if (text.len == 0)
        return 0;
    return text.ptr[0] == '{' ? parse_json_log(text, ret, ret_why)
                              : parse_combined(text, ret, ret_why);
}
