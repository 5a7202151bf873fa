/* SPDX-License-Identifier: MIT */
/* Body decoder. The chunked one is a state per byte of framing; data is passed on as it lies in the
 * input. */
#include "http/body.h"
#include "http/chars.h"
#include "http/error.h"
#include <assert.h>

/* --- fields that must not come after the body ---------------------------------------------- */

/* A name is hashed byte by byte while it arrives, since the decoder keeps no text (64-bit FNV-1a,
 * case-blind). */
#define NAME_HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t name_hash_add(uint64_t hash, char c) {
    return (hash ^ (uint8_t)(c | 0x20)) * UINT64_C(0x100000001b3);
}

/* RFC 9110 section 6.5.1: framing, routing, authentication, request modifiers, response control,
 * content format. */
static const struct slice forbidden[] = {
    SLICE_INIT("age"),
    SLICE_INIT("authorization"),
    SLICE_INIT("cache-control"),
    SLICE_INIT("connection"),
    SLICE_INIT("content-encoding"),
    SLICE_INIT("content-length"),
    SLICE_INIT("content-range"),
    SLICE_INIT("content-type"),
    SLICE_INIT("cookie"),
    SLICE_INIT("date"),
    SLICE_INIT("expect"),
    SLICE_INIT("expires"),
    SLICE_INIT("host"),
    SLICE_INIT("if-match"),
    SLICE_INIT("if-modified-since"),
    SLICE_INIT("if-none-match"),
    SLICE_INIT("if-range"),
    SLICE_INIT("if-unmodified-since"),
    SLICE_INIT("keep-alive"),
    SLICE_INIT("location"),
    SLICE_INIT("max-forwards"),
    SLICE_INIT("pragma"),
    SLICE_INIT("proxy-authenticate"),
    SLICE_INIT("proxy-authorization"),
    SLICE_INIT("proxy-connection"),
    SLICE_INIT("range"),
    SLICE_INIT("retry-after"),
    SLICE_INIT("set-cookie"),
    SLICE_INIT("te"),
    SLICE_INIT("trailer"),
    SLICE_INIT("transfer-encoding"),
    SLICE_INIT("upgrade"),
    SLICE_INIT("vary"),
    SLICE_INIT("warning"),
    SLICE_INIT("www-authenticate"),
};

static uint64_t hash_of(struct slice name) {
    uint64_t hash = NAME_HASH_START;
    for (size_t i = 0; i < name.len; i++)
        hash = name_hash_add(hash, name.ptr[i]);
    return hash;
}

static bool is_among(const struct slice *names, size_t count, uint64_t hash, uint32_t len) {
    for (size_t i = 0; i < count; i++) {
        if (names[i].len == len && hash_of(names[i]) == hash)
            return true;
    }
    return false;
}

static bool is_forbidden(uint64_t name_hash, uint32_t name_len) {
    return is_among(forbidden, ARRAY_LEN(forbidden), name_hash, name_len);
}

static bool is_framing(uint64_t name_hash, uint32_t name_len) {
    static const struct slice framing[] = { SLICE_INIT("content-length"),
                                            SLICE_INIT("transfer-encoding") };
    return is_among(framing, ARRAY_LEN(framing), name_hash, name_len);
}

/* --- the decoder ---------------------------------------------------------------------------- */

enum chunk_state {
    CHUNK_SIZE_FIRST, /* the first digit of a size */
    CHUNK_SIZE,
    CHUNK_EXT, /* after a size or an extension and white space: only ';' may follow */
    CHUNK_EXT_NAME_FIRST,
    CHUNK_EXT_NAME,
    CHUNK_EXT_NAME_AFTER, /* white space between a name and '=' or ';' */
    CHUNK_EXT_VALUE_FIRST,
    CHUNK_EXT_VALUE,
    CHUNK_EXT_QUOTED,
    CHUNK_EXT_ESCAPE,
    CHUNK_EXT_AFTER, /* right behind the closing quote */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_CRLF, /* after data that ends with CR: LF alone may belong to that */
    CHUNK_DATA_LF,
    CHUNK_TRAILER_FIRST,
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_LAST_LF,
    CHUNK_DONE,
};

void http_body_init(struct http_body *b, enum http_framing framing, uint64_t content_length) {
    *b = (struct http_body){
        .left = framing == HTTP_FRAMING_LENGTH ? content_length : 0,
        .state = CHUNK_SIZE_FIRST,
        .framing = (uint8_t)framing & 3U,
    };
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

static uint64_t hex_value(char c) {
    return (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static_assert(HTTP_LENIENCE_COUNT <= 6 && HTTP_FRAMING_CLOSE <= 3, "both fit their bits");

static void note(struct http_body *b, enum http_lenience what) {
    b->noted = (uint8_t)(b->noted | 1U << what) & 0x3fU;
}

static const char *go(struct http_body *b, enum chunk_state state) {
    b->state = (uint8_t)state;
    return NULL;
}

/* Goes to where this byte leads outside of a quoted string, or tells why it may not stand there. */
static const char *ext_next(struct http_body *b, char c, const char *why) {
    if (c == ';')
        return go(b, CHUNK_EXT_NAME_FIRST);
    return c == '\r' ? go(b, CHUNK_SIZE_LF) : why;
}

static const char *size_byte(struct http_body *b, char c) {
    if (http_char_is(c, HTTP_CHAR_HEX)) {
        if (++b->line > HTTP_CHUNK_DIGITS_MAX)
            return http_err_chunk_size;
        b->left = b->left << 4 | hex_value(c);
        return go(b, CHUNK_SIZE);
    }
    if (b->state == CHUNK_SIZE_FIRST)
        return http_err_chunk_size;
    b->overhead += c == ';';
    return is_space(c) ? go(b, CHUNK_EXT) : ext_next(b, c, http_err_chunk_size);
}

/* After CRLF of the chunk-size line: `c` is its LF. */
static const char *size_done(struct http_body *b, char c, const struct http_limits *limits) {
    if (c != '\n')
        return http_err_line_end;
    b->line = 0;
    if (b->left == 0)
        return go(b, CHUNK_TRAILER_FIRST);
    if (b->left > limits->body_bytes - b->decoded)
        return http_err_body_large;
    return go(b, CHUNK_DATA);
}

/* chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ), RFC 9112 section 7.1.1
 */
static const char *ext_byte(struct http_body *b, enum chunk_state state, char c) {
    bool is_token = http_char_is(c, HTTP_CHAR_TOKEN);
    const char *why = http_err_chunk_ext;
    if (state == CHUNK_EXT)
        return is_space(c) ? NULL : c == ';' ? go(b, CHUNK_EXT_NAME_FIRST) : why;
    if (state == CHUNK_EXT_NAME_FIRST)
        return is_space(c) ? NULL : is_token ? go(b, CHUNK_EXT_NAME) : why;
    if (state == CHUNK_EXT_NAME && is_token)
        return NULL;
    if ((state == CHUNK_EXT_NAME || state == CHUNK_EXT_NAME_AFTER) && c == '=')
        return go(b, CHUNK_EXT_VALUE_FIRST);
    if (state == CHUNK_EXT_NAME_AFTER)
        return is_space(c) ? NULL : c == ';' ? go(b, CHUNK_EXT_NAME_FIRST) : why;
    if (state == CHUNK_EXT_NAME && is_space(c))
        return go(b, CHUNK_EXT_NAME_AFTER);
    if (state == CHUNK_EXT_VALUE_FIRST)
        return is_space(c) ? NULL
               : c == '"'  ? go(b, CHUNK_EXT_QUOTED)
               : is_token  ? go(b, CHUNK_EXT_VALUE)
                           : why;
    if (state == CHUNK_EXT_VALUE && is_token)
        return NULL;
    return is_space(c) ? go(b, CHUNK_EXT) : ext_next(b, c, why);
}

static const char *quoted_byte(struct http_body *b, enum chunk_state state, char c) {
    if (!http_char_is(c, HTTP_CHAR_VALUE))
        return http_err_chunk_ext;
    if (state == CHUNK_EXT_ESCAPE)
        return go(b, CHUNK_EXT_QUOTED);
    return c == '"' ? go(b, CHUNK_EXT_AFTER) : c == '\\' ? go(b, CHUNK_EXT_ESCAPE) : NULL;
}

/* `left` holds the hash of the name, `line` its length, which stays until the next name. */
static const char *trailer_byte(struct http_body *b, enum chunk_state state, char c,
                                bool is_lenient) {
    if (state == CHUNK_TRAILER_FIRST && c == '\r')
        return go(b, CHUNK_LAST_LF);
    if (state == CHUNK_TRAILER_FIRST && is_lenient && is_space(c) && b->line > 0) {
        note(b, HTTP_LENIENCE_FOLD);
        return go(b, CHUNK_TRAILER_VALUE);
    }
    if (state == CHUNK_TRAILER_FIRST) {
        b->left = NAME_HASH_START;
        b->line = 0;
    }
    if (state == CHUNK_TRAILER_VALUE)
        return c == '\r'                          ? go(b, CHUNK_TRAILER_LF)
               : http_char_is(c, HTTP_CHAR_VALUE) ? NULL
                                                  : http_err_trailer;
    if (http_char_is(c, HTTP_CHAR_TOKEN)) {
        b->left = name_hash_add(b->left, c);
        b->line++;
        return go(b, CHUNK_TRAILER_NAME);
    }
    if (c != ':' || b->line == 0)
        return http_err_trailer;
    if (is_forbidden(b->left, b->line)) {
        /* Lenient: nobody merges it, so it is read past, unless it speaks of the framing. */
        if (!is_lenient || is_framing(b->left, b->line))
            return http_err_trailer;
        note(b, HTTP_LENIENCE_TRAILER);
    }
    return go(b, CHUNK_TRAILER_VALUE);
}

static const char *expect_byte(struct http_body *b, char c, char expected, enum chunk_state next,
                               const char *why) {
    return c == expected ? go(b, next) : why;
}

/* Extensions and trailers: what a sender can make us read without getting any body across. */
static const char *count_overhead(struct http_body *b, char c, const struct http_limits *limits) {
    b->overhead += c != '\r';
    return b->overhead > limits->chunk_ext_bytes ? http_err_chunk_ext_large : NULL;
}

/* One byte of framing. NULL, or why it is refused. */
static const char *framing_byte(struct http_body *b, char c, const struct http_limits *limits) {
    enum chunk_state state = (enum chunk_state)b->state;
    const char *why;
    switch (state) {
    case CHUNK_SIZE_FIRST:
    case CHUNK_SIZE:
        return size_byte(b, c);
    case CHUNK_SIZE_LF:
        return size_done(b, c, limits);
    case CHUNK_DATA_CR:
    case CHUNK_DATA_CRLF:
        return expect_byte(b, c, '\r', CHUNK_DATA_LF, http_err_chunk_end);
    case CHUNK_DATA_LF:
        return expect_byte(b, c, '\n', CHUNK_SIZE_FIRST, http_err_chunk_end);
    case CHUNK_TRAILER_LF:
        return expect_byte(b, c, '\n', CHUNK_TRAILER_FIRST, http_err_line_end);
    case CHUNK_LAST_LF:
        return expect_byte(b, c, '\n', CHUNK_DONE, http_err_line_end);
    case CHUNK_EXT:
    case CHUNK_EXT_NAME_FIRST:
    case CHUNK_EXT_NAME:
    case CHUNK_EXT_NAME_AFTER:
    case CHUNK_EXT_VALUE_FIRST:
    case CHUNK_EXT_VALUE:
    case CHUNK_EXT_AFTER:
        why = count_overhead(b, c, limits);
        return why != NULL ? why : ext_byte(b, state, c);
    case CHUNK_EXT_QUOTED:
    case CHUNK_EXT_ESCAPE:
        why = count_overhead(b, c, limits);
        return why != NULL ? why : quoted_byte(b, state, c);
    case CHUNK_TRAILER_FIRST:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
        why = count_overhead(b, c, limits);
        return why != NULL ? why : trailer_byte(b, state, c, limits->usual != NULL);
    case CHUNK_DATA:
    case CHUNK_DONE:
        break;
    }
    return NULL;
}

/* Lenient: what a strict reader would have been sent in place of this byte goes first. */
static const char *forgive(struct http_body *b, char c, const struct http_limits *limits) {
    enum chunk_state state = (enum chunk_state)b->state;
    bool after_cr = state == CHUNK_SIZE_LF || state == CHUNK_DATA_LF || state == CHUNK_DATA_CRLF ||
                    state == CHUNK_TRAILER_LF || state == CHUNK_LAST_LF;
    if (state == CHUNK_EXT && (c == '\r' || c == '\n')) {
        note(b, HTTP_LENIENCE_CHUNK_BLANKS);
        go(b, CHUNK_SIZE);
    }
    if (c != '\n' || after_cr)
        return NULL;
    note(b, HTTP_LENIENCE_BARE_LF);
    return framing_byte(b, '\r', limits);
}

static struct http_body_step bad(size_t used, const char *why) {
    return (struct http_body_step){ .kind = HTTP_BODY_BAD, .used = used, .why = why };
}

/* Nothing is left of the input. */
static struct http_body_step more(size_t used, bool eof) {
    if (eof)
        return bad(used, http_err_truncated);
    return (struct http_body_step){ .kind = HTTP_BODY_MORE, .used = used };
}

static struct http_body_step done(size_t used) {
    return (struct http_body_step){ .kind = HTTP_BODY_DONE, .used = used };
}

/* `used` bytes of framing, then data up to `most`. */
static struct http_body_step data(struct http_body *b, struct slice input, size_t used,
                                  uint64_t most) {
    struct slice piece = slice_drop(input, used);
    if (piece.len > most)
        piece.len = (size_t)most;
    b->decoded += piece.len;
    return (
        struct http_body_step){ .kind = HTTP_BODY_DATA, .used = used + piece.len, .data = piece };
}

static struct http_body_step next_of_length(struct http_body *b, struct slice input, bool eof,
                                            const struct http_limits *limits) {
    if (b->left == 0)
        return done(0);
    if (b->left > limits->body_bytes - b->decoded)
        return bad(0, http_err_body_large);
    if (input.len == 0)
        return more(0, eof);
    struct http_body_step step = data(b, input, 0, b->left);
    b->left -= step.data.len;
    return step;
}

static struct http_body_step next_of_chunked(struct http_body *b, struct slice input, bool eof,
                                             const struct http_limits *limits) {
    size_t used = 0;
    while (b->state != CHUNK_DONE) {
        if (used == input.len)
            return more(used, eof);
        if (b->state == CHUNK_DATA) {
            struct http_body_step step = data(b, input, used, b->left);
            b->left -= step.data.len;
            if (b->left == 0)
                b->state = input.ptr[step.used - 1] == '\r' ? CHUNK_DATA_CRLF : CHUNK_DATA_CR;
            return step;
        }
        const char *why = NULL;
        if (limits->usual != NULL)
            why = forgive(b, input.ptr[used], limits);
        if (why == NULL)
            why = framing_byte(b, input.ptr[used], limits);
        if (why != NULL)
            return bad(used, why);
        used++;
    }
    return done(used);
}

static struct http_body_step next_until_close(struct http_body *b, struct slice input, bool eof,
                                              const struct http_limits *limits) {
    if (input.len == 0)
        return eof ? done(0) : more(0, false);
    uint64_t most = limits->body_bytes - b->decoded;
    return most == 0 ? bad(0, http_err_body_large) : data(b, input, 0, most);
}

struct http_body_step http_body_next(struct http_body *b, struct slice input, bool eof,
                                     const struct http_limits *limits) {
    switch ((enum http_framing)b->framing) {
    case HTTP_FRAMING_LENGTH:
        return next_of_length(b, input, eof, limits);
    case HTTP_FRAMING_CHUNKED:
        return next_of_chunked(b, input, eof, limits);
    case HTTP_FRAMING_CLOSE:
        return next_until_close(b, input, eof, limits);
    case HTTP_FRAMING_NONE:
        break;
    }
    return done(0);
}
