/* SPDX-License-Identifier: MIT */
/* The kinds of faults: what each does, their rows, and their spelling. */
#include "slowapi/fault.h"
#include "base/buf.h"
#include "base/units.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>

#define ANSWER_PLACES (FAULT_AT_HEAD | FAULT_AT_BODY | FAULT_AT_PERCENT)
#define CUT_PLACES    (FAULT_AT_BYTES | FAULT_AT_TIME)
#define ALL_PLACES    (FAULT_AT_ACCEPT | ANSWER_PLACES | CUT_PLACES)
#define LINK_PLACES   (FAULT_AT_BODY | FAULT_AT_UPLOAD)
#define YEAR          (INT64_C(365) * 86400 * NSEC_PER_SEC)
#define CUT_BYTES_MAX (UINT64_C(1) << 40)

/* --- what they do ----------------------------------------------------------------------------- */

static void count_one(const struct fault *fault, struct injection *at) {
    _Atomic uint64_t *count = &at->counts[fault->kind];

    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void count_once(struct fault *fault, struct injection *at) {
    if (!fault->done)
        count_one(fault, at);
    fault->done = true;
}

static int inject_effect(struct fault *fault, struct injection *at, enum fault_effect effect) {
    count_once(fault, at);
    at->effect = effect;
    return 0;
}

static int inject_reset(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_RESETS);
}

static int inject_close(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_CLOSES);
}

static int inject_hang(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_WAITS);
}

/* The pace itself is kept by reply.c, and another certificate is shown by secure.c. */
static int inject_elsewhere(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_GOES_ON);
}

static int inject_badchunk(struct fault *fault, struct injection *at) {
    (void)inject_effect(fault, at, FAULT_CLOSES);
    return buf_append(at->out, SLICE("zz\r\n"));
}

static int append_fill(struct buf *out, int byte, int64_t size) {
    int rc = buf_reserve(out, (size_t)size);

    if (rc < 0)
        return rc;
    memset(buf_tail(out), byte, (size_t)size);
    buf_added(out, (size_t)size);
    return 0;
}

static int inject_garbage(struct fault *fault, struct injection *at) {
    (void)inject_effect(fault, at, FAULT_CLOSES);
    return append_fill(at->out, 0xfe, fault->arg);
}

static int inject_length(struct fault *fault, struct injection *at) {
    if (at->is_chunked)
        return 0;
    int64_t length = (int64_t)at->head->content_length + fault->arg;
    at->head->content_length = length > 0 ? (uint64_t)length : 0;
    return inject_effect(fault, at, FAULT_GOES_ON);
}

static int inject_nolength(struct fault *fault, struct injection *at) {
    at->head->has_content_length = false;
    at->is_unframed = true;
    return inject_effect(fault, at, FAULT_GOES_ON);
}

static int inject_hugeheader(struct fault *fault, struct injection *at) {
    (void)inject_effect(fault, at, FAULT_GOES_ON);
    int rc = buf_append(at->out, SLICE("X-Slowapi-Huge: "));
    if (rc == 0)
        rc = append_fill(at->out, 'x', fault->arg);
    return rc == 0 ? buf_append(at->out, SLICE("\r\n")) : rc;
}

static int inject_badheader(struct fault *fault, struct injection *at) {
    (void)inject_effect(fault, at, FAULT_GOES_ON);
    return buf_append(at->out, SLICE("this line is no header\r\n"));
}

/* Not to a client of HTTP/1.0, which knows no interim answers (RFC 9110 section 15.2). */
static int inject_interim(struct fault *fault, struct injection *at) {
    int rc = 0;

    if (at->version_minor == 0)
        return 0;
    (void)inject_effect(fault, at, FAULT_GOES_ON);
    for (int64_t i = 0; i < fault->arg && rc == 0; i++)
        rc = buf_append(at->out, SLICE("HTTP/1.1 103 Early Hints\r\n\r\n"));
    return rc;
}

static int inject_early(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_ANSWERS);
}

/* Rolls for every byte, and counts every byte. */
static int inject_corrupt(struct fault *fault, struct injection *at) {
    for (size_t i = 0; i < at->size; i++) {
        if (rng_unit(at->rng) >= fault->probability)
            continue;
        at->bytes[i] ^= 1;
        fault->done = true;
        count_one(fault, at);
    }
    return 0;
}

static int inject_break(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_BREAKS);
}

static int inject_cut(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_CUTS);
}

static int inject_slowaccept(struct fault *fault, struct injection *at) {
    return inject_effect(fault, at, FAULT_PAUSES);
}

int fault_inject(struct fault *fault, struct injection *at) {
    return fault_infos[fault->kind].inject(fault, at);
}

int fault_inject_all(struct fault *faults, size_t count, enum fault_moment moment,
                     struct injection *at) {
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++)
        if (fault_infos[faults[i].kind].moment == moment && faults[i].place != FAULT_AT_UPLOAD &&
            (!faults[i].done || moment == FAULT_IN_PIECE))
            rc = fault_inject(&faults[i], at);
    return rc;
}

/* --- rows ------------------------------------------------------------------------------------- */

const struct fault_info fault_infos[FAULT_KINDS] = {
    [FAULT_RST] = { SLICE_INIT("rst"), FAULT_NO_ARG, 0, 0, ALL_PLACES, FAULT_AT_STOP, inject_reset,
                    "request", "the connection is reset (RST); @accept: per connection" },
    [FAULT_FIN] = { SLICE_INIT("fin"), FAULT_NO_ARG, 0, 0, ALL_PLACES, FAULT_AT_STOP, inject_close,
                    "request",
                    "the connection is closed (FIN), at @head with not a byte; @accept: per "
                    "connection" },
    [FAULT_TRUNCATE] = { SLICE_INIT("truncate"), FAULT_NO_ARG, 0, 0, FAULT_AT_PERCENT | CUT_PLACES,
                         FAULT_AT_STOP, inject_close, "request",
                         "the body ends early: as fin@50%" },
    [FAULT_HANG] = { SLICE_INIT("hang"), FAULT_SPAN, -1, YEAR, ALL_PLACES, FAULT_AT_STOP,
                     inject_hang, "request",
                     "nothing more comes for that long, without a time for ever; @accept: per "
                     "connection",
                     .waits = true },
    [FAULT_DRIP] = { SLICE_INIT("drip"), FAULT_SPAN, 100 * NSEC_PER_MSEC, YEAR, FAULT_AT_BODY,
                     FAULT_AT_PIECE, inject_elsewhere, "request",
                     "the body comes a byte (of a stream: an event) at a time, that far apart" },
    [FAULT_BANDWIDTH] = { SLICE_INIT("bandwidth"), FAULT_SIZE, 10240, INT64_C(1) << 40, LINK_PLACES,
                          FAULT_AT_PIECE, inject_elsewhere, "request",
                          "the body comes at that many bytes per second, events too; @upload: the "
                          "body of the request is read so" },
    [FAULT_SHARED_BANDWIDTH] = { SLICE_INIT("shared-bandwidth"), FAULT_SIZE, 10240,
                                 INT64_C(1) << 40, LINK_PLACES, FAULT_AT_PIECE, inject_elsewhere,
                                 "request",
                                 "that many bytes per second for all such requests together, or "
                                 "for those with one `key`; @upload, too" },
    [FAULT_BADCHUNK] = { SLICE_INIT("badchunk"), FAULT_NO_ARG, 0, 0,
                         FAULT_AT_BODY | FAULT_AT_PERCENT, FAULT_AT_STOP, inject_badchunk,
                         "request",
                         "a chunked body goes on with a chunk size that is none, and a close",
                         .chunked_places = FAULT_AT_BODY | FAULT_AT_PERCENT },
    [FAULT_GARBAGE] = { SLICE_INIT("garbage"), FAULT_SIZE, 64, 65536, FAULT_AT_HEAD | FAULT_AT_BODY,
                        FAULT_AT_STOP, inject_garbage, "request",
                        "that many bytes that are no HTTP, and a close; @body: after a chunked "
                        "head",
                        .chunked_places = FAULT_AT_BODY },
    [FAULT_LENGTH] = { SLICE_INIT("length"), FAULT_DELTA, 10, INT64_C(1) << 40, FAULT_AT_HEAD,
                       FAULT_IN_HEAD, inject_length, "request",
                       "Content-Length is off by that many bytes (+10, -3), and a close",
                       .ends_connection = true },
    [FAULT_NOLENGTH] = { SLICE_INIT("nolength"), FAULT_NO_ARG, 0, 0, FAULT_AT_HEAD, FAULT_IN_HEAD,
                         inject_nolength, "request",
                         "neither Content-Length nor chunks: the close ends the body",
                         .ends_connection = true },
    [FAULT_HUGEHEADER] = { SLICE_INIT("hugeheader"), FAULT_SIZE, 65536, 1 << 20, FAULT_AT_HEAD,
                           FAULT_IN_FIELDS, inject_hugeheader, "request",
                           "a header of that many bytes" },
    [FAULT_BADHEADER] = { SLICE_INIT("badheader"), FAULT_NO_ARG, 0, 0, FAULT_AT_HEAD,
                          FAULT_AFTER_FIELDS, inject_badheader, "request",
                          "a header line without a colon, and a close", .ends_connection = true },
    [FAULT_INTERIM] = { SLICE_INIT("interim"), FAULT_COUNT, 1, 1000, FAULT_AT_HEAD,
                        FAULT_BEFORE_HEAD, inject_interim, "request",
                        "that many 103 Early Hints before the answer" },
    [FAULT_EARLY] = { SLICE_INIT("early"), FAULT_NO_ARG, 0, 0, FAULT_AT_HEAD, FAULT_ON_REQUEST,
                      inject_early, "request",
                      "the answer comes before the request body was read" },
    [FAULT_STALE] = { SLICE_INIT("stale"), FAULT_NO_ARG, 0, 0, FAULT_AT_HEAD, FAULT_ON_REUSE,
                      inject_close, "request",
                      "an idle keep-alive connection closes as it is reused: per request that is "
                      "not its first" },
    [FAULT_CORRUPT] = { SLICE_INIT("corrupt"), FAULT_NO_ARG, 0, 0, FAULT_AT_BODY, FAULT_IN_PIECE,
                        inject_corrupt, "byte", "a byte of the body has its lowest bit flipped" },
    [FAULT_REFUSE] = { SLICE_INIT("refuse"), FAULT_NO_ARG, 0, 0, FAULT_AT_ACCEPT, FAULT_ON_ACCEPT,
                       inject_reset, "connection",
                       "reset as soon as it is accepted: as rst@accept" },
    [FAULT_SLOWACCEPT] = { SLICE_INIT("slowaccept"), FAULT_SPAN, NSEC_PER_SEC, YEAR,
                           FAULT_AT_ACCEPT, FAULT_ON_ACCEPT, inject_slowaccept, "connection",
                           "after this connection no worker accepts one for that long: they wait "
                           "in the "
                           "backlog",
                           .waits = true },
    [FAULT_TLS_EXPIRED] = { SLICE_INIT("tls-expired"), FAULT_NO_ARG, 0, 0, FAULT_AT_CERTIFICATE,
                            FAULT_ON_HANDSHAKE, inject_elsewhere, "connection",
                            "the certificate has expired", .needs_tls = true },
    [FAULT_TLS_SELF_SIGNED] = { SLICE_INIT("tls-self-signed"), FAULT_NO_ARG, 0, 0,
                                FAULT_AT_CERTIFICATE, FAULT_ON_HANDSHAKE, inject_elsewhere,
                                "connection",
                                "the certificate is signed by itself: nobody trusts it",
                                .needs_tls = true },
    [FAULT_TLS_WRONG_NAME] = { SLICE_INIT("tls-wrong-name"), FAULT_NO_ARG, 0, 0,
                               FAULT_AT_CERTIFICATE, FAULT_ON_HANDSHAKE, inject_elsewhere,
                               "connection", "the certificate is that of wrong.example",
                               .needs_tls = true },
    [FAULT_TLS_WRONG_PROTOCOL] = { SLICE_INIT("tls-wrong-protocol"), FAULT_NO_ARG, 0, 0,
                                   FAULT_AT_HELLO, FAULT_ON_HANDSHAKE, inject_early, "connection",
                                   "the hello is answered by plain HTTP, and a close",
                                   .needs_tls = true },
    [FAULT_TLS_DELAY] = { SLICE_INIT("tls-delay"), FAULT_SPAN, NSEC_PER_SEC, YEAR,
                          FAULT_AT_HANDSHAKE, FAULT_ON_HANDSHAKE, inject_hang, "connection",
                          "the handshake takes that much longer", .waits = true,
                          .needs_tls = true },
    [FAULT_TLS_HANG] = { SLICE_INIT("tls-hang"), FAULT_SPAN, -1, YEAR, FAULT_AT_HANDSHAKE,
                         FAULT_ON_HANDSHAKE, inject_hang, "connection",
                         "the handshake stops for that long, without a time for ever",
                         .waits = true, .needs_tls = true },
    [FAULT_TLS_RESET] = { SLICE_INIT("tls-reset"), FAULT_NO_ARG, 0, 0, FAULT_AT_HANDSHAKE,
                          FAULT_ON_HANDSHAKE, inject_reset, "connection",
                          "the connection is reset (RST) within the handshake", .needs_tls = true },
    [FAULT_TLS_CLOSE] = { SLICE_INIT("tls-close"), FAULT_NO_ARG, 0, 0,
                          FAULT_AT_HANDSHAKE | ANSWER_PLACES | CUT_PLACES, FAULT_AT_STOP,
                          inject_break, "request",
                          "the connection is closed (FIN) without close_notify; within the "
                          "handshake: per connection",
                          .needs_tls = true },
    [FAULT_TLS_CUT] = { SLICE_INIT("tls-cut"), FAULT_NO_ARG, 0, 0, ANSWER_PLACES | CUT_PLACES,
                        FAULT_AT_STOP, inject_cut, "request",
                        "the connection is closed (FIN) in the middle of a record",
                        .needs_tls = true },
};

/* --- spelling --------------------------------------------------------------------------------- */

static int parse_number(const struct fault_info *info, struct slice text, int64_t *ret) {
    uint64_t size = 0;
    bool minus = slice_starts_with(text, SLICE("-"));
    bool sign = minus || slice_starts_with(text, SLICE("+")) || slice_starts_with(text, SLICE(" "));

    if (sign && info->arg != FAULT_DELTA)
        return -EINVAL;
    if (units_parse_size(slice_drop(text, sign), &size) < 0 || size > (uint64_t)info->arg_max)
        return -EINVAL;
    *ret = minus ? -(int64_t)size : (int64_t)size;
    return size > 0 ? 0 : -EINVAL;
}

static int parse_arg(const struct fault_info *info, struct slice text, int64_t *ret,
                     const char **ret_why) {
    *ret_why = "has a value for a fault that takes none";
    if (info->arg == FAULT_NO_ARG)
        return -EINVAL;
    *ret_why = "has a value that is not a duration, or is over a year";
    if (info->arg == FAULT_SPAN)
        return units_parse_duration(text, ret) == 0 && *ret <= info->arg_max ? 0 : -EINVAL;
    *ret_why = "has a value that is not a number above 0, or is too large";
    return parse_number(info, text, ret);
}

static const struct {
    struct slice name;
    uint16_t place;
} place_names[] = {
    { SLICE_INIT("accept"), FAULT_AT_ACCEPT },
    { SLICE_INIT("head"), FAULT_AT_HEAD },
    { SLICE_INIT("body"), FAULT_AT_BODY },
    { SLICE_INIT("hello"), FAULT_AT_HELLO },
    { SLICE_INIT("certificate"), FAULT_AT_CERTIFICATE },
    { SLICE_INIT("finished"), FAULT_AT_FINISHED },
    { SLICE_INIT("upload"), FAULT_AT_UPLOAD },
};

/* `512b`, `10k`, `1g`; and `500ms`, `2s`, `1h`. A bare number is a percentage, and `m` says too
 * little. */
static int parse_cut(struct slice text, struct fault *fault, const char **ret_why) {
    char unit = text.len > 0 ? text.ptr[text.len - 1] : 'm';
    uint64_t bytes = 0;

    *ret_why = "has a place in m, which is minutes or mebibytes: write 60s or 1024k";
    if (unit == 'm' || unit == 'M')
        return -EINVAL;
    *ret_why =
        "has a place that is not accept, head, body, upload, a percentage of the body, bytes "
        "such as 512b or 10k, a time such as 500ms, or, of TLS, hello, certificate or "
        "finished";
    if (units_parse_size(unit == 'b' ? slice_take(text, text.len - 1) : text, &bytes) == 0) {
        fault->at = (int64_t)bytes;
        fault->place = FAULT_AT_BYTES;
        bool has_unit = unit < '0' || unit > '9';
        return has_unit && bytes <= CUT_BYTES_MAX ? 0 : -EINVAL;
    }
    fault->place = FAULT_AT_TIME;
    bool has_unit = unit == 's' || unit == 'h';
    return has_unit && units_parse_duration(text, &fault->at) == 0 && fault->at <= YEAR ? 0
                                                                                        : -EINVAL;
}

static int parse_place(const struct fault_info *info, struct slice text, struct fault *fault,
                       const char **ret_why) {
    for (size_t i = 0; i < ARRAY_LEN(place_names); i++)
        if (slice_eq(text, place_names[i].name))
            fault->place = place_names[i].place;
    if (fault->place == 0 && units_parse_percent(text, &fault->share) == 0)
        fault->place = FAULT_AT_PERCENT;
    if (fault->place == 0 && parse_cut(text, fault, ret_why) < 0)
        return -EINVAL;

    *ret_why = "has a place where this fault cannot strike";
    return (info->places & fault->place) != 0 ? 0 : -EINVAL;
}

static const struct fault_info *find(struct slice name) {
    for (size_t i = 0; i < FAULT_KINDS; i++)
        if (slice_eq(fault_infos[i].name, name))
            return &fault_infos[i];
    return NULL;
}

/* The first place of the row, but of those that come in an answer when there is one. */
static uint16_t default_place(const struct fault_info *info) {
    unsigned places = info->places & ANSWER_PLACES ? info->places & ANSWER_PLACES : info->places;

    return (uint16_t)(places & -places);
}

/* Cuts `rest` at the delimiter. False: there is one, and nothing after it. */
static bool cut_part(struct slice *rest, char delimiter, struct slice *ret_before) {
    size_t size = rest->len;

    *ret_before = slice_cut(rest, delimiter);
    return rest->len > 0 || ret_before->len == size;
}

int fault_parse(struct slice text, struct fault *ret, const char **ret_why) {
    struct slice percent = text, place, arg, name;

    *ret_why = "has nothing after a =, @ or :";
    if (!cut_part(&percent, ':', &place) || !cut_part(&place, '@', &arg) ||
        !cut_part(&arg, '=', &name))
        return -EINVAL;
    const struct fault_info *info = find(name);

    *ret_why = "names a fault that is not known";
    if (info == NULL)
        return -EINVAL;
    *ret = (struct fault){
        .kind = (uint8_t)(info - fault_infos),
        .share = 0.5,
        .probability = 1,
        .arg = info->arg_default,
    };
    if (arg.len > 0 && parse_arg(info, arg, &ret->arg, ret_why) < 0)
        return -EINVAL;
    if (place.len > 0 && parse_place(info, place, ret, ret_why) < 0)
        return -EINVAL;
    if (place.len == 0)
        ret->place = default_place(info);
    *ret_why = "has a probability that is not 0 to 100 percent";
    return percent.len == 0 ? 0 : units_parse_percent(percent, &ret->probability);
}

/* Spells the place so that parse_cut takes it back: without m. */
static void format_cut(const struct fault *fault, char *place) {
    bool is_bytes = fault->place == FAULT_AT_BYTES;
    long long at = fault->at, large = is_bytes ? 1024 : NSEC_PER_SEC;

    if (at > 0 && at % large == 0)
        snprintf(place, UNITS_TEXT_BYTES, "%lld%c", at / large, is_bytes ? 'k' : 's');
    else if (is_bytes)
        snprintf(place, UNITS_TEXT_BYTES, "%lldb", at);
    else if (at % NSEC_PER_MSEC == 0)
        snprintf(place, UNITS_TEXT_BYTES, "%lldms", at / NSEC_PER_MSEC);
    else
        snprintf(place, UNITS_TEXT_BYTES, "%.3fus", (double)at / 1000);
}

const char *fault_format(const struct fault *fault, char *text) {
    const struct fault_info *info = &fault_infos[fault->kind];
    char arg[UNITS_TEXT_BYTES + 1] = "", place[UNITS_TEXT_BYTES];

    if (info->arg == FAULT_SPAN && fault->arg >= 0) {
        arg[0] = '=';
        units_format_duration(fault->arg, arg + 1);
    } else if (info->arg == FAULT_DELTA || (info->arg != FAULT_NO_ARG && fault->arg >= 0)) {
        snprintf(arg, sizeof(arg), info->arg == FAULT_DELTA ? "=%+lld" : "=%lld",
                 (long long)fault->arg);
    }
    if (fault->place == FAULT_AT_BYTES || fault->place == FAULT_AT_TIME)
        format_cut(fault, place);
    else
        snprintf(place, sizeof(place), "%.4g%%", fault->share * 100);
    for (size_t i = 0; i < ARRAY_LEN(place_names); i++)
        if (fault->place == place_names[i].place)
            snprintf(place, sizeof(place), "%s", place_names[i].name.ptr);
    snprintf(text, FAULT_TEXT_BYTES, "%s%s@%s", info->name.ptr, arg, place);
    return text;
}
