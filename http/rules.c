/* SPDX-License-Identifier: MIT */
/* Judges a well-formed head: Host, target form, framing, Expect (RFC 9112 sections 3.2 and 6, RFC
 * 9110 section 10.1.1). */
#include "http/rules.h"
#include "http/authority.h"
#include "http/chars.h"
#include "http/error.h"
#include <assert.h>

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

    /* Of requests, and their value is no list (RFC 9110 section 5.3, RFC 6454 section 7): two lines
     * have two meanings, and whoever reads the other one is led astray. */
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
        why = judge_framing(known, false, head);
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

const char *http_rules_response(const struct http_known *known, const struct http_limits *limits,
                                struct http_head *head) {
    if (known->fields > limits->fields)
        return http_err_fields_many;
    head->expects_continue = false;
    head->framing = HTTP_FRAMING_CLOSE;
    return judge_framing(known, limits->usual != NULL, head);
}
