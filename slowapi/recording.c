/* SPDX-License-Identifier: MIT */
/* Reads latencies out of files of several formats. */
#include "slowapi/recording.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/json_scan.h"
#include "base/rng.h"
#include "base/safe_path.h"
#include "base/units.h"
#include "http/url.h"
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#define JSON_BYTES_MAX   (256u << 20)
#define PATH_BYTES_MAX   2048
#define PATHS_MAX        (1u << 20)
#define LATENCIES_MAX    (1u << 24)
#define LINE_BYTES_MAX   (4u << 20)
#define HISTOGRAM_BYTES  (16u << 20)
#define DEFAULT_FRACTION ((double)NSEC_PER_SEC) /* of times without a unit */

/* The reading of a file. */
struct reader {
    struct recording *r;
    const char *path;
    size_t line;            /* number of the one at hand */
    double unit;            /* ns, of values without one */
    int value_at, count_at; /* columns of a table */
    struct error *err;
};

static int fail(const struct reader *in, const char *what) {
    return in->line > 0
               ? error_set(in->err, -EINVAL, "--from '%s': line %zu: %s", in->path, in->line, what)
               : error_set(in->err, -EINVAL, "--from '%s': %s", in->path, what);
}

static int fail_memory(const struct reader *in) {
    return error_set(in->err, -ENOMEM, "--from '%s': out of memory", in->path);
}

/* --- samples ---------------------------------------------------------------------------------- */

static int add_sample(struct reader *in, double value, uint64_t count, uint32_t path,
                      uint16_t status) {
    struct recording *r = in->r;

    if (!(value >= 0) || value > 10 * 365 * 86400.0 * 1e9)
        return fail(in, "has a time that is below 0 or above ten years");
    if (r->count == LATENCIES_MAX)
        return fail(in, "is one of more than 16777216 latencies");
    if (r->count == r->room) {
        size_t room = r->room > 0 ? 2 * r->room : 4096;
        struct recorded_latency *more = mem_realloc(r->samples, room * sizeof(*more));
        if (more == NULL)
            return fail_memory(in);
        r->samples = more;
        r->room = room;
    }
    if (count > 0)
        r->samples[r->count++] = (struct recorded_latency){ (nsec_t)value, count, path, status };
    return 0;
}

/* Makes the table of places twice as large. */
static int grow_places(struct recording *r) {
    uint32_t bits = r->place_bits > 0 ? r->place_bits + 1 : 12, room = 1u << bits;
    uint32_t *places = mem_calloc(room, sizeof(*places));
    uint64_t *paths =
        places != NULL ? mem_realloc(r->paths, (room / 2 + 1) * sizeof(*paths)) : NULL;

    if (paths == NULL) {
        mem_free(places);
        return -ENOMEM;
    }
    for (uint32_t i = 1; i <= r->path_count; i++) {
        uint32_t at = (uint32_t)paths[i] & (room - 1);
        while (places[at] != 0)
            at = (at + 1) & (room - 1);
        places[at] = i;
    }
    mem_free(r->places);
    r->places = places;
    r->paths = paths;
    r->place_bits = bits;
    r->path_room = room / 2;
    return 0;
}

/* The place of a path as it stands in a request line; 0: of none, or of too many others. */
static int find_path(struct reader *in, struct slice target, uint32_t *ret) {
    struct recording *r = in->r;
    char room[PATH_BYTES_MAX];
    struct slice path, query;

    *ret = 0;
    http_target_split(target, &path, &query);
    long len = path.len > 0 && path.len <= sizeof(room) ? http_path_decode(path, room) : -1;
    if (len < 0 || path.ptr[0] != '/')
        return 0;
    if (r->path_count == r->path_room && (r->path_count >= PATHS_MAX || grow_places(r) < 0))
        return r->path_count >= PATHS_MAX ? 0 : fail_memory(in);

    uint64_t hash = hash_bytes(HASH_SEED, room, (size_t)len);
    uint32_t mask = (1u << r->place_bits) - 1, at = (uint32_t)hash & mask;
    while (r->places[at] != 0 && r->paths[r->places[at]] != hash)
        at = (at + 1) & mask;
    if (r->places[at] == 0) {
        r->places[at] = ++r->path_count;
        r->paths[r->path_count] = hash;
    }
    *ret = r->places[at];
    return 0;
}

static uint16_t status_of(struct slice text) {
    uint64_t status = 0;

    return slice_parse_u64(text, 599, &status) == 0 && status >= 200 ? (uint16_t)status : 0;
}

/* `GET /path HTTP/1.1` */
static struct slice target_of(struct slice request) {
    (void)slice_cut(&request, ' ');
    return slice_cut(&request, ' ');
}

/* --- lines of JSON ---------------------------------------------------------------------------- */

/* Names of times, the better first; a unit behind `_` says what they count. */
static const struct {
    struct slice name;
    double unit;
} times[] = {
    { SLICE_INIT("ms"), 1e6 },
    { SLICE_INIT("upstream_ms"), 1e6 },
    { SLICE_INIT("actual_ms"), 1e6 },
    { SLICE_INIT("request_time"), 1e9 },
    { SLICE_INIT("upstream_response_time"), 1e9 },
    { SLICE_INIT("request_time_ms"), 1e6 },
    { SLICE_INIT("duration_ms"), 1e6 },
    { SLICE_INIT("latency_ms"), 1e6 },
    { SLICE_INIT("response_time_ms"), 1e6 },
    { SLICE_INIT("elapsed_ms"), 1e6 },
    { SLICE_INIT("time_ms"), 1e6 },
    { SLICE_INIT("duration_us"), 1e3 },
    { SLICE_INIT("latency_us"), 1e3 },
    { SLICE_INIT("request_time_us"), 1e3 },
    { SLICE_INIT("elapsed_us"), 1e3 },
    { SLICE_INIT("latency_ns"), 1 },
    { SLICE_INIT("duration_ns"), 1 },
    { SLICE_INIT("duration_s"), 1e9 },
    { SLICE_INIT("latency_s"), 1e9 },
    { SLICE_INIT("duration"), 1e9 },
    { SLICE_INIT("latency"), 1e9 },
    { SLICE_INIT("response_time"), 1e9 },
    { SLICE_INIT("elapsed"), 1e9 },
    { SLICE_INIT("total_ms"), 1e6 },
};

#define TIME_NAMES "request_time, duration_ms, latency_us, actual_ms or the like"

/* The rank of a name among the times; ARRAY_LEN(times): it is none. */
static size_t rank_of(struct slice name) {
    size_t i = 0;

    while (i < ARRAY_LEN(times) && !slice_eq(times[i].name, name))
        i++;
    return i;
}

struct log_line {
    size_t rank;       /* of the time, in `times` */
    struct slice time; /* text of the time */
    struct slice target;
    uint16_t status;
};

static void take_json_member(struct log_line *line, const struct json_member *m) {
    size_t rank = rank_of(m->key);

    if (rank < line->rank && m->kind != JSON_KIND_WORD && m->value.len > 0) {
        line->rank = rank;
        line->time = m->value;
    }
    if (slice_eq(m->key, SLICE("status")))
        line->status = status_of(m->value);
    if (m->kind != JSON_KIND_STRING)
        return;
    if (slice_eq(m->key, SLICE("url")) || slice_eq(m->key, SLICE("uri")) ||
        slice_eq(m->key, SLICE("request_uri")) || slice_eq(m->key, SLICE("path")) ||
        slice_eq(m->key, SLICE("target")))
        line->target = m->value;
    if (slice_eq(m->key, SLICE("request")))
        line->target = target_of(m->value);
}

/* Adds what a line of a log tells; `-` is no time, and such a line is left out. */
static int add_line(struct reader *in, const struct log_line *line, double unit) {
    struct slice time = line->time, first = slice_cut(&time, ',');
    double value;
    uint32_t path;

    if (slice_eq(first, SLICE("-")) || first.len == 0)
        return 0;
    if (units_parse_number(slice_trim(first), &value) < 0)
        return fail(in, "has a time that is no number");
    int rc = find_path(in, line->target, &path);
    return rc < 0 ? rc : add_sample(in, value * unit, 1, path, line->status);
}

static int read_json_line(struct reader *in, struct slice text) {
    struct log_line line = { .rank = ARRAY_LEN(times) };
    struct json_member member;
    struct json_scan scan;
    int rc = json_scan_begin(&scan, text);

    while (rc == 0 && (rc = json_scan_next(&scan, &member)) > 0) {
        take_json_member(&line, &member);
        rc = 0;
        continue;
    }
    if (rc < 0)
        return fail(in, "is no object of JSON");
    bool has_null = memmem(text.ptr, text.len, "null", 4) != NULL; /* a request that had no time */
    if (line.rank == ARRAY_LEN(times))
        return has_null ? 0 : fail(in, "has no time: " TIME_NAMES);
    return add_line(in, &line, times[line.rank].unit);
}

/* --- lines of the combined format ------------------------------------------------------------- */

/* Cuts a quoted text; `rest` begins behind the opening quote. */
static struct slice cut_quoted(struct slice *rest) {
    size_t i = 0;

    while (i < rest->len && rest->ptr[i] != '"')
        i += rest->ptr[i] == '\\' ? 2 : 1;
    struct slice inner = slice_take(*rest, i);
    *rest = slice_drop(*rest, i + 1);
    return inner;
}

/* `0.123`, and `rt=0.123` or `rt="0.123"`: seconds; a whole number: microseconds. */
static void take_token(struct log_line *line, struct slice token, double *unit) {
    struct slice value = token, name = slice_cut(&value, '=');
    bool is_named = name.len < token.len;
    size_t rank = is_named ? rank_of(name) : 1;
    double number;

    if (is_named && (slice_eq(name, SLICE("rt")) || slice_eq(name, SLICE("time"))))
        rank = 0;
    if (is_named && (slice_eq(name, SLICE("urt")) || slice_eq(name, SLICE("D"))))
        rank = 2;
    if (!is_named)
        value = token;
    if (value.len > 1 && value.ptr[0] == '"')
        value = slice_take(slice_drop(value, 1), value.len - 2);
    if (rank >= line->rank ||
        (units_parse_number(value, &number) < 0 && !(is_named && slice_eq(value, SLICE("-")))))
        return;
    bool is_whole = slice_find(value, '.') == value.len;
    if (is_whole && !is_named) /* as a length may be: seconds have a point */
        rank = 3;
    if (rank >= line->rank)
        return;
    *unit = is_named && rank_of(name) < ARRAY_LEN(times) ? times[rank_of(name)].unit
            : is_whole                                   ? 1e3
                                                         : 1e9;
    line->rank = rank;
    line->time = value;
}

static int read_combined_line(struct reader *in, struct slice text) {
    struct log_line line = { .rank = SIZE_MAX };
    struct slice rest = text;
    double unit = 1e9;

    (void)slice_cut(&rest, '"');
    line.target = target_of(cut_quoted(&rest));
    rest = slice_trim(rest);
    struct slice status = slice_cut(&rest, ' '), size = slice_cut(&rest, ' ');
    line.status = status_of(status);
    if (line.status == 0 && status.len != 3)
        return fail(in, "is no line of the combined format: no status behind the request");
    (void)size;
    while (rest.len > 0) {
        struct slice token = rest;
        if (rest.ptr[0] == '"') {
            rest = slice_drop(rest, 1);
            take_token(&line, cut_quoted(&rest), &unit);
            rest = slice_drop(rest, rest.len > 0 && rest.ptr[0] == ' ');
            continue;
        }
        token = slice_cut(&rest, ' ');
        if (token.len > 0)
            take_token(&line, token, &unit);
    }
    if (line.rank == SIZE_MAX)
        return fail(in, "has no time behind it, such as nginx's $request_time or Apache's %D");
    return add_line(in, &line, unit);
}

/* --- tables ----------------------------------------------------------------------------------- */

/* The column of that number, trimmed, without its quotes. */
static struct slice column(struct slice line, int number) {
    struct slice cell = SLICE("");
    char separator = slice_find(line, ',') < line.len   ? ','
                     : slice_find(line, ';') < line.len ? ';'
                                                        : '\t';

    for (int i = 0; i <= number; i++)
        cell = slice_cut(&line, separator);
    cell = slice_trim(cell);
    return cell.len > 1 && cell.ptr[0] == '"' ? slice_take(slice_drop(cell, 1), cell.len - 2)
                                              : cell;
}

static bool has_word(struct slice text, const char *word) {
    return memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

/* Names of columns: which one has the times, in which unit, and which counts. */
static int read_names(struct reader *in, struct slice line) {
    static const char *const words[] = { "latency", "time", "duration", "value", "elapsed", "ms" };

    in->value_at = in->count_at = -1;
    for (int i = 0; i < 32; i++) {
        struct slice name = column(line, i);
        bool is_time = false;
        if (has_word(name, "count") || slice_eq(name, SLICE("n")))
            in->count_at = i;
        for (size_t w = 0; w < ARRAY_LEN(words); w++)
            is_time |= has_word(name, words[w]);
        if (!is_time || in->value_at >= 0 || has_word(name, "stamp") || has_word(name, "start"))
            continue;
        in->value_at = i;
        in->unit = has_word(name, "us") || has_word(name, "micro")   ? 1e3
                   : has_word(name, "ns") || has_word(name, "nano")  ? 1
                   : has_word(name, "ms") || has_word(name, "milli") ? 1e6
                                                                     : 1e9;
    }
    return in->value_at >= 0 ? 0 : fail(in, "is neither a duration nor names a column of times");
}

static int read_table_line(struct reader *in, struct slice line) {
    struct slice value = column(line, in->value_at), count = column(line, in->count_at);
    uint64_t number = 1;
    double bare;
    nsec_t span;

    if (in->line == 1 && value.len > 0 && !isdigit((unsigned char)value.ptr[0]) &&
        value.ptr[0] != '.')
        return read_names(in, line);
    if (in->count_at >= 0 && count.len > 0 && slice_parse_u64(count, INT64_MAX, &number) < 0)
        return fail(in, "has a count that is no whole number");
    if (units_parse_number(value, &bare) == 0)
        return add_sample(in, bare * in->unit, number, 0, 0);
    if (units_parse_duration(value, &span) < 0)
        return fail(in, "has a value that is no duration, such as 0.25 or 250ms");
    return add_sample(in, (double)span, number, 0, 0);
}

/* --- HdrHistogram's logs ---------------------------------------------------------------------- */

#define HDR_WORDS         UINT32_C(0xf0) /* the size of words, which V2 does not have */
#define HDR_V2            UINT32_C(0x1c849303)
#define HDR_V2_COMPRESSED UINT32_C(0x1c849304)
#define HDR_HEAD_BYTES    40

static uint32_t be32(const unsigned char *at) {
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

/* A number of ZigZag LEB128, of nine bytes at most; *at moves behind it. False: it is cut. */
static bool next_number(const unsigned char **at, const unsigned char *end, int64_t *ret) {
    uint64_t value = 0;
    unsigned shift = 0;

    for (; *at < end; shift += 7) {
        unsigned char byte = *(*at)++;
        if (shift == 56) {
            value |= (uint64_t)byte << shift;
            break;
        }
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            break;
        if (*at == end)
            return false;
    }
    *ret = (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
    return true;
}

/* The middle of what the bucket at `index` counts, in its histogram's unit. */
static double bucket_value(uint64_t index, unsigned half_bits) {
    uint64_t half = UINT64_C(1) << half_bits, bucket = index >> half_bits;

    if (bucket > 0)
        bucket--;
    uint64_t sub = index - bucket * half;
    return ldexp((double)sub + (bucket > 0 ? 0.5 : 0), (int)bucket);
}

/* What is left of a histogram that is decoded. */
struct counts {
    const unsigned char *at, *end;
    uint64_t index; /* of the next bucket */
};

/* 1 with the next bucket that counts something, 0 behind the last one, -EINVAL when it is cut. */
static int next_bucket(struct counts *c, uint64_t *ret_index, uint64_t *ret_count) {
    int64_t count = 0;

    while (c->at < c->end) {
        if (!next_number(&c->at, c->end, &count) || count < -INT32_MAX)
            return -EINVAL;
        *ret_index = c->index;
        *ret_count = (uint64_t)count;
        c->index += count < 0 ? (uint64_t)-count : 1;
        if (count > 0)
            return 1;
    }
    return 0;
}

/* `most_ms` is the largest value as the log tells it: values are nanoseconds, or microseconds. */
static int add_histogram(struct reader *in, const unsigned char *bytes, size_t size,
                         double most_ms) {
    size_t payload = size >= HDR_HEAD_BYTES ? be32(bytes + 4) : 0;
    uint64_t index = 0, count = 0, last = 0;
    int rc;

    if (size < HDR_HEAD_BYTES || (be32(bytes) & ~HDR_WORDS) != HDR_V2 ||
        payload > size - HDR_HEAD_BYTES || be32(bytes + 12) > 5)
        return fail(in, "has a histogram that is not encoded as V2");
    unsigned half_bits = (unsigned)ceil(log2(2 * pow(10, be32(bytes + 12)))) - 1;
    const struct counts all = { .at = bytes + HDR_HEAD_BYTES,
                                .end = bytes + HDR_HEAD_BYTES + payload };
    struct counts c = all;
    while ((rc = next_bucket(&c, &index, &count)) > 0)
        last = index;
    if (rc < 0)
        return fail(in, "has a histogram that is cut");
    double unit = bucket_value(last, half_bits) > 3e4 * most_ms ? 1 : 1e3;
    c = all;
    while ((rc = next_bucket(&c, &index, &count)) > 0) {
        rc = add_sample(in, bucket_value(index, half_bits) * unit, count, 0, 0);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int inflate_histogram(struct reader *in, const unsigned char *bytes, size_t size,
                             double most_ms) {
    uLongf room = HISTOGRAM_BYTES;
    size_t packed = size >= 8 ? be32(bytes + 4) : 0;

    if (size < 8 || (be32(bytes) & ~HDR_WORDS) != HDR_V2_COMPRESSED || packed > size - 8)
        return fail(in, "has a histogram that is not encoded as V2, compressed");
    unsigned char *out = mem_alloc(room);
    if (out == NULL)
        return fail_memory(in);
    int rc = uncompress(out, &room, bytes + 8, packed) == Z_OK
                 ? add_histogram(in, out, room, most_ms)
                 : fail(in, "has a histogram that cannot be inflated");
    mem_free(out);
    return rc;
}

/* `[Tag=...,]start,length,max,histogram`; what begins with # or a quote is about the log. */
static int read_hdr_line(struct reader *in, struct slice line) {
    struct slice rest = line, start, span, max;
    double most = 0;

    if (line.ptr[0] == '#' || line.ptr[0] == '"')
        return 0;
    if (slice_starts_with(line, SLICE("Tag=")))
        (void)slice_cut(&rest, ',');
    start = slice_cut(&rest, ',');
    span = slice_cut(&rest, ',');
    max = slice_cut(&rest, ',');
    if (start.len == 0 || span.len == 0 || units_parse_number(max, &most) < 0)
        return fail(in, "is no line of an HdrHistogram log");
    unsigned char *bytes = mem_alloc(rest.len + 4);
    if (bytes == NULL)
        return fail_memory(in);
    long size = base64_decode(rest, (char *)bytes);
    int rc = size >= 0 ? inflate_histogram(in, bytes, (size_t)size, most)
                       : fail(in, "has a histogram that is no base64");
    mem_free(bytes);
    return rc;
}

/* --- the JSON of srv bench -------------------------------------------------------------------- */

static int add_pairs(struct reader *in, const json_t *pairs) {
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *pair = json_array_get(pairs, i);
        json_t *usec = json_array_get(pair, 0), *count = json_array_get(pair, 1);
        if (!json_is_number(usec) || !json_is_integer(count) || json_integer_value(count) < 0)
            return fail(in, "has a histogram that is not [[microseconds, count], ...]");
        int rc = add_sample(in, json_number_value(usec) * 1e3, (uint64_t)json_integer_value(count),
                            0, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_bench(struct reader *in, FILE *file) {
    json_error_t why;
    json_t *json = json_loadf(file, 0, &why), *pairs;

    in->line = 0;
    if (json == NULL) {
        in->line = (size_t)(why.line > 0 ? why.line : 1);
        return fail(in, why.text);
    }
    pairs = json_object_get(json_object_get(json, "histograms"), "latency_us");
    int rc = json_is_array(pairs) ? add_pairs(in, pairs)
                                  : fail(in, "is JSON, but not of srv bench: no histograms of "
                                             "latency_us");
    json_decref(json);
    return rc;
}

/* --- files ------------------------------------------------------------------------------------ */

/* Whether the line is one whole object, and not a report that stands in one line. */
static bool is_json_line(struct slice line) {
    struct json_member member;
    struct json_scan scan;
    int rc = json_scan_begin(&scan, line);

    while (rc == 0 && (rc = json_scan_next(&scan, &member)) > 0) {
        if (slice_eq(member.key, SLICE("schema")))
            return false;
        rc = 0;
        continue;
    }
    return rc == 0;
}

typedef int (*read_line_fn)(struct reader *in, struct slice line);

/* NULL: the whole is one JSON. */
static read_line_fn format_of(struct slice line) {
    if (line.ptr[0] == '{')
        return is_json_line(line) ? read_json_line : NULL;
    if (line.ptr[0] == '#' || slice_starts_with(line, SLICE("\"StartTimestamp\"")) ||
        slice_starts_with(line, SLICE("Tag="))) {
        return read_hdr_line;
    }
    return has_word(line, "\"") && slice_find(line, ' ') < slice_find(line, '"')
               ? read_combined_line
               : read_table_line;
}

/* Reads into the room that the line has. What it ended at: a byte, or EOF. */
static int fill_line(FILE *file, struct buf *line) {
    char *at = buf_tail(line), *begin = at, *end = at + buf_room(line);
    int c = 0;

    while (at < end && (c = getc_unlocked(file)) != EOF && c != '\n')
        *at++ = (char)c;
    buf_added(line, (size_t)(at - begin));
    return c;
}

/* Reads a line without its end. 1, 0 at the end of the file, or -errno with a reason. */
static int next_line(struct reader *in, FILE *file, struct buf *line) {
    int c = 0, rc = 0;

    in->line++;
    buf_consume(line, buf_unread(line).len);
    while (rc == 0 && c != EOF && c != '\n') {
        rc = buf_reserve(line, 1);
        if (rc == 0)
            c = fill_line(file, line);
    }
    if (rc == -ENOBUFS)
        return fail(in, "is longer than 4m");
    if (rc < 0)
        return fail_memory(in);
    if (ferror(file))
        return fail(in, "cannot be read");
    return c != EOF || buf_unread(line).len > 0;
}

static int read_lines(struct reader *in, FILE *file) {
    read_line_fn read_line = NULL;
    struct buf text;
    int rc;

    buf_init(&text, LINE_BYTES_MAX);
    while ((rc = next_line(in, file, &text)) > 0) {
        struct slice line = buf_unread(&text);
        while (line.len > 0 && line.ptr[line.len - 1] == '\r')
            line.len--;
        line = slice_trim(line);
        if (line.len == 0)
            continue;
        if (read_line == NULL)
            read_line = format_of(line);
        if (read_line == NULL) {
            rewind(file);
            rc = read_bench(in, file);
            break;
        }
        rc = read_line(in, line);
        if (rc < 0)
            break;
    }
    buf_free(&text);
    in->line = 0;
    return rc == 0 && in->r->count == 0 ? fail(in, "has no latency in it") : rc;
}

int recording_read(const char *path, struct recording *ret, struct error *err) {
    struct reader in = {
        .r = ret, .path = path, .unit = DEFAULT_FRACTION, .count_at = 1, .err = err
    };
    struct error why = { .text = "" };

    *ret = (struct recording){ .samples = NULL };
    int fd = safe_path_open_to_read(path, &why);
    if (fd < 0)
        return error_set(err, fd, "--from '%s': %s", path, why.text);
    FILE *file = fdopen(fd, "r");
    if (file == NULL) {
        close(fd);
        return fail_memory(&in);
    }
    int rc = read_lines(&in, file);
    fclose(file);
    return rc;
}

void recording_free(struct recording *r) {
    mem_free(r->samples);
    mem_free(r->paths);
    mem_free(r->places);
}
