/* SPDX-License-Identifier: MIT */
/* Encodes a histogram per row: counts as ZigZag LEB128, runs of empty buckets as one negative
 * number, all of it compressed and in base64. */
#include "bench/hlog.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/buf.h"
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define COOKIE            UINT32_C(0x1c849313) /* encoding V2, with words of LEB128 */
#define COOKIE_COMPRESSED UINT32_C(0x1c849314)
#define DIGITS            3

enum {
    SUB_BUCKETS_HALF_BITS = 10, /* of three digits: 2048 buckets, then 1024 for each doubling */
    HEADER_BYTES = 40,
    WORD_BYTES = 9, /* of LEB128 at most */
    COUNTS_MAX = 23552,
};

/* The place of a value among the counts of an HdrHistogram. */
static uint32_t index_of(int64_t usec) {
    unsigned bits = 64 - (unsigned)__builtin_clzll((uint64_t)usec | 2047);
    unsigned shift = bits - SUB_BUCKETS_HALF_BITS - 1;
    return (uint32_t)((shift << SUB_BUCKETS_HALF_BITS) + (uint64_t)(usec >> shift));
}

/* Seven bits a byte, the lowest first; the ninth byte has eight. */
static int put_word(struct buf *b, int64_t number) {
    uint64_t word = (uint64_t)number << 1 ^ (uint64_t)(number >> 63);
    char bytes[WORD_BYTES];
    size_t len = 0;
    while (word > 0x7f && len < WORD_BYTES - 1) {
        bytes[len++] = (char)(word | 0x80);
        word >>= 7;
    }
    bytes[len++] = (char)word;
    return buf_append(b, slice_of(bytes, len));
}

static int put_counts(struct buf *b, const struct hist *h) {
    uint32_t cursor = 0, next = 0;
    int64_t usec;
    uint64_t count;
    int rc = 0;
    while (rc == 0 && hist_next(h, &cursor, &usec, &count)) {
        uint32_t empty = index_of(usec) - next;
        if (empty > 0)
            rc = put_word(b, empty == 1 ? 0 : -(int64_t)empty);
        if (rc == 0)
            rc = put_word(b, (int64_t)count);
        next = index_of(usec) + 1;
    }
    return rc;
}

/* All numbers are big-endian. */
static void fill_header(char *at, uint32_t payload_bytes) {
    double ratio = 1; /* of integers to the values that they stand for */
    uint64_t ratio_bits;
    memcpy(&ratio_bits, &ratio, sizeof(ratio_bits));
    const uint32_t words[] = { htobe32(COOKIE), htobe32(payload_bytes), 0, htobe32(DIGITS) };
    const uint64_t longs[] = { htobe64(1), htobe64(HIST_MAX_USEC), htobe64(ratio_bits) };
    memcpy(at, words, sizeof(words));
    memcpy(at + sizeof(words), longs, sizeof(longs));
}

static int encode(struct buf *b, const struct hist *h) {
    int rc = buf_reserve(b, HEADER_BYTES);
    if (rc != 0)
        return rc;
    buf_added(b, HEADER_BYTES);
    rc = put_counts(b, h);
    if (rc == 0)
        fill_header(b->data, (uint32_t)(buf_unread(b).len - HEADER_BYTES));
    return rc;
}

/* Writes the compressed form, whose own header is its cookie and its length. 0 or -ENOMEM. */
static int put_compressed(FILE *out, struct slice plain) {
    uLongf len = compressBound(plain.len);
    const size_t head = 2 * sizeof(uint32_t);
    char *bytes = mem_alloc(head + len), *text;
    if (bytes == NULL)
        return -ENOMEM;
    int rc = compress2((Bytef *)bytes + head, &len, (const Bytef *)plain.ptr, plain.len,
                       Z_DEFAULT_COMPRESSION);
    const uint32_t words[] = { htobe32(COOKIE_COMPRESSED), htobe32((uint32_t)len) };
    memcpy(bytes, words, head);
    text = rc == Z_OK ? mem_alloc(base64_size(head + len)) : NULL;
    if (text != NULL)
        fwrite(text, 1, base64_encode(slice_of(bytes, head + len), BASE64_STANDARD, text), out);
    mem_free(bytes);
    rc = text != NULL ? 0 : -ENOMEM;
    mem_free(text);
    return rc;
}

static void put_header(FILE *out, nsec_t started_wall) {
    double seconds = (double)started_wall / (double)NSEC_PER_SEC;
    time_t whole = (time_t)(started_wall / NSEC_PER_SEC);
    struct tm parts;
    char text[64] = "";
    if (gmtime_r(&whole, &parts) != NULL)
        strftime(text, sizeof(text), "%a %b %d %H:%M:%S UTC %Y", &parts);
    fprintf(out,
            "#[Latencies in microseconds, logged by srv bench " SRV_VERSION "]\n"
            "#[Histogram log format version 1.3]\n"
            "#[StartTime: %.3f (seconds since epoch), %s]\n"
            "#[BaseTime: %.3f (seconds since epoch)]\n"
            "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_"
            "Histogram\"\n",
            seconds, text, seconds);
}

static void on_row(struct live_watcher *watcher, const struct live *l, const struct live_row *row) {
    struct hlog *h = CONTAINER_OF(watcher, struct hlog, watcher);
    struct buf plain;
    if (!h->has_header)
        put_header(h->out, clock_wall() - (clock_now() - l->measure_from));
    h->has_header = true;
    buf_init(&plain, HEADER_BYTES + COUNTS_MAX * WORD_BYTES);
    int rc = encode(&plain, l->row.latency);
    if (rc == 0) {
        fprintf(h->out, "%.3f,%.3f,%.3f,", row->second - row->length, row->length,
                (double)row->max_us / 1000);
        rc = put_compressed(h->out, buf_unread(&plain));
        fputc('\n', h->out);
    }
    buf_free(&plain);
    h->rc = h->rc != 0 ? h->rc : rc;
}

void hlog_init(struct hlog *h, FILE *out) {
    *h = (struct hlog){ .watcher = { .on_row = on_row }, .out = out };
}
