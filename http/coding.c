/* SPDX-License-Identifier: MIT */
/* Chooses content codings and codes whole texts, over zlib and brotli. */
#include "http/coding.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <assert.h>
#include <brotli/decode.h>
#include <brotli/encode.h>
#include <errno.h>
#define ZLIB_CONST /* or zlib would want to write what it reads */
#include <zlib.h>

/* Bodies are coded while other connections wait: speed counts more than the last byte. */
#define BROTLI_LEVEL 4

/* In the order of preference, the least one first. */
static const struct {
    struct slice name;
    enum http_coding coding;
} names[] = {
    { SLICE_INIT("identity"), HTTP_CODING_IDENTITY },
    { SLICE_INIT("deflate"), HTTP_CODING_DEFLATE },
    { SLICE_INIT("x-gzip"), HTTP_CODING_GZIP }, /* RFC 9110 section 8.4.1.3 */
    { SLICE_INIT("gzip"), HTTP_CODING_GZIP },
    { SLICE_INIT("br"), HTTP_CODING_BR },
};

struct slice http_coding_name(enum http_coding coding) {
    size_t i = ARRAY_LEN(names) - 1;

    while (names[i].coding != coding)
        i--;
    return names[i].name;
}

bool http_coding_find(struct slice name, enum http_coding *ret) {
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!slice_eq_nocase(names[i].name, name))
            continue;
        *ret = names[i].coding;
        return true;
    }
    return false;
}

/* --- the choice ------------------------------------------------------------------------------- */

/* Weights in thousandths; -1: not named. */
struct weights {
    int of[ARRAY_LEN(names)], any;
};

/* `0.5` is 500. What is no qvalue (RFC 9110 section 12.4.2) counts as 0: it asks for nothing. */
static int parse_weight(struct slice text) {
    int weight = 0, digit = 100;

    if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1') ||
        (text.len > 1 && text.ptr[1] != '.'))
        return 0;
    for (size_t i = 2; i < text.len; i++, digit /= 10) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
        weight += (text.ptr[i] - '0') * digit;
    }
    if (text.ptr[0] == '1')
        return weight == 0 ? 1000 : 0;
    return weight;
}

static int weight_of(struct slice parameters) {
    while (parameters.len > 0) {
        struct slice value = slice_trim(slice_cut(&parameters, ';'));
        struct slice name = slice_trim(slice_cut(&value, '='));
        if (slice_eq_nocase(name, SLICE("q")))
            return parse_weight(slice_trim(value));
    }
    return 1000;
}

static void take_element(struct weights *weights, struct slice element) {
    struct slice name = slice_trim(slice_cut(&element, ';'));
    int weight = weight_of(element);

    if (slice_eq(name, SLICE("*")))
        weights->any = weight;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq_nocase(names[i].name, name))
            weights->of[i] = weight;
}

enum http_coding http_coding_choose(const struct http_head *head) {
    struct weights weights = { .of = { -1, -1, -1, -1, -1 }, .any = -1 };
    struct slice rest = head->fields, name, value;
    enum http_coding best = HTTP_CODING_IDENTITY;
    int most = 0;

    static_assert(ARRAY_LEN(names) == 5, "a weight for each name");
    while (http_field_next(&rest, &name, &value)) {
        if (!slice_eq_nocase(name, SLICE("Accept-Encoding")))
            continue;
        while (value.len > 0)
            take_element(&weights, slice_trim(slice_cut(&value, ',')));
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        int weight = weights.of[i] >= 0 ? weights.of[i] : weights.any;
        if (weight <= 0 || weight < most)
            continue;
        most = weight;
        best = names[i].coding;
    }
    return best;
}

/* --- the coding ------------------------------------------------------------------------------- */

/* Bits of the window; 16 more ask zlib for gzip's wrapping. */
static int append_zlib(int window_bits, struct slice plain, struct buf *out) {
    z_stream stream = { .avail_in = (uInt)plain.len };

    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window_bits, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    size_t room = deflateBound(&stream, plain.len);
    int rc = buf_reserve(out, room);
    if (rc == 0) {
        stream.next_in = (const Bytef *)plain.ptr;
        stream.next_out = (Bytef *)buf_tail(out);
        stream.avail_out = (uInt)room;
        int end = deflate(&stream, Z_FINISH);
        ASSERT(end == Z_STREAM_END); /* the bound holds */
        buf_added(out, room - stream.avail_out);
    }
    deflateEnd(&stream);
    return rc;
}

static int append_brotli(struct slice plain, struct buf *out) {
    size_t size = BrotliEncoderMaxCompressedSize(plain.len);

    int rc = size > 0 ? buf_reserve(out, size) : -ENOBUFS;
    if (rc < 0)
        return rc;
    if (!BrotliEncoderCompress(BROTLI_LEVEL, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC, plain.len,
                               (const uint8_t *)plain.ptr, &size, (uint8_t *)buf_tail(out)))
        return -ENOMEM;
    buf_added(out, size);
    return 0;
}

int http_coding_append(enum http_coding coding, struct slice plain, struct buf *out) {
    switch (coding) {
    case HTTP_CODING_GZIP:
        return append_zlib(MAX_WBITS + 16, plain, out);
    case HTTP_CODING_DEFLATE:
        return append_zlib(MAX_WBITS, plain, out);
    case HTTP_CODING_BR:
        return append_brotli(plain, out);
    case HTTP_CODING_IDENTITY:
        break;
    }
    return buf_append(out, plain);
}

/* --- the way back ----------------------------------------------------------------------------- */

int http_decoder_begin(struct http_decoder *d, enum http_coding coding) {
    http_decoder_end(d);
    d->coding = coding;
    if (coding == HTTP_CODING_BR)
        d->state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
    else
        d->state = mem_calloc(1, sizeof(z_stream));
    return d->state != NULL ? 0 : -ENOMEM;
}

/* zlib's first byte has 8 in its lower half and at most 7 in the upper one (RFC 1950 section 2.2).
 * A bare stream's has 8 only when it begins with a stored block whose padding is not zero. */
static int begin_zlib(struct http_decoder *d, unsigned char first) {
    bool has_header = (first & 0x0f) == Z_DEFLATED && first >> 4 <= 7;
    int bits = d->coding == HTTP_CODING_GZIP ? MAX_WBITS + 16 : has_header ? MAX_WBITS : -MAX_WBITS;

    d->begun = true;
    return inflateInit2((z_stream *)d->state, bits) == Z_OK ? 0 : -ENOMEM;
}

static int next_zlib(struct http_decoder *d, struct slice *input, char *room, size_t size,
                     struct slice *ret) {
    z_stream *stream = d->state;
    if (!d->begun && begin_zlib(d, (unsigned char)input->ptr[0]) < 0)
        return -ENOMEM;
    if (d->done && (d->coding != HTTP_CODING_GZIP || inflateReset(stream) != Z_OK))
        return -EINVAL; /* something stands behind the end */
    d->done = false;
    stream->next_in = (const Bytef *)input->ptr;
    stream->avail_in = input->len < UINT32_MAX ? (uInt)input->len : UINT32_MAX;
    stream->next_out = (Bytef *)room;
    stream->avail_out = (uInt)size;
    int rc = inflate(stream, Z_NO_FLUSH);
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
        return rc == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
    d->done = rc == Z_STREAM_END;
    *input = slice_drop(*input, (size_t)((const char *)stream->next_in - input->ptr));
    *ret = slice_of(room, size - stream->avail_out);
    return ret->len > 0 || input->len > 0;
}

static int next_brotli(struct http_decoder *d, struct slice *input, char *room, size_t size,
                       struct slice *ret) {
    const uint8_t *in = (const uint8_t *)input->ptr;
    uint8_t *out = (uint8_t *)room;
    size_t in_len = input->len, out_len = size;
    if (d->done)
        return -EINVAL;
    d->begun = true;
    BrotliDecoderResult rc =
        BrotliDecoderDecompressStream(d->state, &in_len, &in, &out_len, &out, NULL);
    if (rc == BROTLI_DECODER_RESULT_ERROR)
        return -EINVAL;
    d->done = rc == BROTLI_DECODER_RESULT_SUCCESS;
    *input = slice_drop(*input, input->len - in_len);
    *ret = slice_of(room, size - out_len);
    return ret->len > 0 || input->len > 0;
}

int http_decoder_next(struct http_decoder *d, struct slice *input, char *room, size_t size,
                      struct slice *ret) {
    if (input->len == 0 && !(d->begun && !d->done))
        return 0;
    if (d->coding == HTTP_CODING_BR)
        return next_brotli(d, input, room, size, ret);
    return next_zlib(d, input, room, size, ret);
}

bool http_decoder_is_done(const struct http_decoder *d) {
    return d->done || !d->begun;
}

void http_decoder_end(struct http_decoder *d) {
    if (d->state != NULL && d->coding == HTTP_CODING_BR) {
        BrotliDecoderDestroyInstance(d->state);
    } else if (d->state != NULL) {
        if (d->begun)
            inflateEnd(d->state);
        mem_free(d->state);
    }
    *d = (struct http_decoder){ .coding = HTTP_CODING_IDENTITY };
}
