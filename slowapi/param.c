/* SPDX-License-Identifier: MIT */
/* Parameters, from their values and the rows that parse them to the texts that name them. */
#include "slowapi/param.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/escape.h"
#include "base/units.h"
#include "http/chars.h"
#include "http/coding.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include "slowapi/profile.h"
#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* Parses the value of a parameter: by a function of its own, or into the member at `offset`. */
struct param_shape {
    /* Parses a value that is not empty. 0, or -EINVAL with a static text in *ret_why. */
    int (*parse)(struct spec *spec, struct slice value, const char **ret_why);
    enum { SHAPE_OWN, SHAPE_WHOLE, SHAPE_SHARE, SHAPE_SPAN, SHAPE_LAW } kind;
    size_t offset;
    int64_t min, max; /* SHAPE_WHOLE */
};

#define OWN(function) \
    { .parse = function }
#define WHOLE(member, low, high) \
    { NULL, SHAPE_WHOLE, offsetof(struct spec, member), low, high }
#define SHARE(member) \
    { NULL, SHAPE_SHARE, offsetof(struct spec, member), 0, 1 }
#define SPAN(member) \
    { NULL, SHAPE_SPAN, offsetof(struct spec, member), 0, 0 }
#define LAW(member) \
    { NULL, SHAPE_LAW, offsetof(struct spec, member), 0, 0 }

struct param {
    struct slice name;
    const char *allowed;
    struct param_shape shape;
    const char *help;
    bool repeats;
    bool is_text;    /* any, which may end with a comma */
    bool is_alias;   /* another name of the row before */
    bool is_of_path; /* has no effect but on routes that take it */
    bool is_list;    /* as long as it may be */
    bool is_kept;    /* the text is kept where it is, and decoded when it is used */
    /* Whether the other values give it something to do; NULL: it always has. */
    bool (*works)(const struct spec *spec);
};

/* --- values ----------------------------------------------------------------------------------- */

void param_begin_layer(struct spec *spec) {
    spec->given = 0;
    spec->fields_base = spec->fields_len;
}

static int parse_delay(struct spec *spec, struct slice value, const char **ret_why) {
    spec->has_delay = true;
    return dist_parse(value, spec->memory, &spec->delay, ret_why);
}

static int parse_status_value(struct slice text, int64_t *ret) {
    uint64_t status;

    if (slice_parse_u64(text, 599, &status) < 0 || status < 200)
        return -EINVAL;
    *ret = (int64_t)status;
    return 0;
}

static int parse_status(struct spec *spec, struct slice value, const char **ret_why) {
    return mix_parse(value, parse_status_value, MIX_PERCENTS, spec->memory, &spec->status, ret_why);
}

static int parse_weights(struct spec *spec, struct slice value, const char **ret_why) {
    return mix_parse(value, parse_status_value, MIX_WEIGHTS, spec->memory, &spec->status, ret_why);
}

static int parse_size_value(struct slice text, int64_t *ret) {
    uint64_t size = 0;

    if (units_parse_size(text, &size) < 0 || size > SLOWAPI_SIZE_MAX)
        return -EINVAL;
    *ret = (int64_t)size;
    return 0;
}

static int parse_size(struct spec *spec, struct slice value, const char **ret_why) {
    spec->has_body_size = true;
    spec->body.raw = spec->body_file.raw = (struct slice){ NULL, 0 };
    return mix_parse(value, parse_size_value, MIX_PERCENTS, spec->memory, &spec->size, ret_why);
}

static int parse_close(struct spec *spec, struct slice value, const char **ret_why) {
    *ret_why = "is neither true, false nor a percentage";
    if (slice_eq(value, SLICE("true")) || slice_eq(value, SLICE("false"))) {
        spec->close_share = slice_eq(value, SLICE("true")) ? 1 : 0;
        return 0;
    }
    return units_parse_percent(value, &spec->close_share);
}

static bool is_field(struct slice name, struct slice value) {
    return name.len > 0 && http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) == name.len &&
           http_span_value(value.ptr, value.len) == value.len;
}

static int parse_header(struct spec *spec, struct slice value, const char **ret_why) {
    bool has_colon = slice_find(value, ':') < value.len;
    struct slice name = slice_cut(&value, ':');

    value = slice_trim(value);
    *ret_why = "is not NAME:VALUE";
    if (!has_colon || !is_field(name, value))
        return -EINVAL;
    *ret_why = "makes the headers longer than 512 bytes";
    return spec_add_line(spec, name, value) == 0 ? 0 : -EINVAL;
}

/* The percents of faults that were given together are rolled one by one. */
static int parse_fault(struct spec *spec, struct slice value, const char **ret_why) {
    spec->fault_count = 0;
    if (slice_eq(value, SLICE("none")))
        return 0;
    while (value.len > 0) {
        *ret_why = "names too many faults";
        if (spec->fault_count == SPEC_FAULTS_MAX)
            return -EINVAL;
        struct fault *fault = &spec->faults[spec->fault_count++];
        if (fault_parse(slice_cut(&value, ','), fault, ret_why) < 0)
            return -EINVAL;
        *ret_why = fault->place == FAULT_AT_ACCEPT
                       ? "strikes connections: only --params and --bind can ask for it"
                       : "strikes handshakes, which come before any request: only --params and "
                         "--bind can ask for it";
        if ((fault->place & FAULT_AT_CONNECTION) != 0 && spec->of_request)
            return -EINVAL;
    }
    return 0;
}

static int parse_seed(struct spec *spec, struct slice value, const char **ret_why) {
    *ret_why = "is out of range or not a whole number";
    spec->has_seed = true;
    return slice_parse_u64(value, UINT64_MAX, &spec->seed);
}

static int parse_seq(struct spec *spec, struct slice value, const char **ret_why) {
    int64_t status = 0;

    spec->seq_count = 0;
    while (value.len > 0) {
        *ret_why = "has too many steps";
        if (spec->seq_count == SPEC_SEQ_MAX)
            return -EINVAL;
        *ret_why = "has a step that is not a status from 200 to 599";
        if (parse_status_value(slice_cut(&value, ','), &status) < 0)
            return -EINVAL;
        spec->seq[spec->seq_count++] = (uint16_t)status;
    }
    return 0;
}

static int parse_whole(struct slice value, uint64_t min, uint64_t max, int64_t *ret,
                       const char **ret_why) {
    uint64_t number;

    *ret_why = "is out of range or not a whole number";
    if (slice_parse_u64(value, max, &number) < 0 || number < min)
        return -EINVAL;
    *ret = (int64_t)number;
    return 0;
}

static int parse_key(struct spec *spec, struct slice value, const char **ret_why UNUSED) {
    bool is_template = memmem(value.ptr, value.len, "{{", 2) != NULL;

    spec->has_key = true;
    spec->key = hash_bytes(HASH_SEED, value.ptr, value.len);
    spec->key_template = is_template ? spec->said : (struct spec_text){ .is_encoded = false };
    return 0;
}

static int parse_service(struct spec *spec, struct slice value, const char **ret_why) {
    if (spec->workers == 0)
        spec->workers = 1;
    return dist_parse(value, spec->memory, &spec->service, ret_why);
}

static int parse_span(struct slice value, nsec_t *ret, const char **ret_why) {
    int rc = units_parse_duration(value, ret);

    *ret_why = rc == -ERANGE ? "is more than ten years" : "is not a duration";
    return rc;
}

/* N/DURATION */
static int parse_limit(struct spec *spec, struct slice value, const char **ret_why) {
    struct slice number = slice_cut(&value, '/');
    const char *why;

    *ret_why = "is not a whole number from 1 to 1000000, and a duration from 1ms to a day behind /";
    if (parse_whole(number, 1, SLOWAPI_LIMIT_MAX, &spec->limit, &why) < 0 ||
        parse_span(value, &spec->limit_span, &why) < 0)
        return -EINVAL;
    bool is_span = spec->limit_span >= NSEC_PER_MSEC && spec->limit_span <= SLOWAPI_LIMIT_SPAN_MAX;
    return is_span ? 0 : -EINVAL;
}

static int parse_full(struct spec *spec, struct slice value, const char **ret_why) {
    int64_t status = 0;

    *ret_why = "is not a status from 200 to 599";
    if (parse_status_value(value, &status) < 0)
        return -EINVAL;
    spec->full = (uint16_t)status;
    return 0;
}

static int parse_linear(struct spec *spec, struct slice value, const char **ret_why) {
    nsec_t span = 0;

    int rc = parse_span(value, &span, ret_why);
    spec->linear = (double)span;
    return rc;
}

static int parse_collapse(struct spec *spec, struct slice value, const char **ret_why) {
    struct slice knee = slice_cut(&value, ',');

    *ret_why = "is not a number of requests above 0, and maybe a power";
    spec->collapse_power = 2;
    if (units_parse_number(knee, &spec->collapse_knee) < 0 || spec->collapse_knee <= 0)
        return -EINVAL;
    if (value.len > 0 && units_parse_number(value, &spec->collapse_power) < 0)
        return -EINVAL;
    return spec->collapse_power <= 10 ? 0 : -EINVAL;
}

static int parse_pause_span(struct slice value, nsec_t *ret) {
    if (*ret > 0 || units_parse_duration(value, ret) < 0)
        return -EINVAL;
    return *ret > 0 ? 0 : -EINVAL;
}

static int parse_pause_part(struct slice name, struct slice value, struct pause *ret,
                            const char **ret_why) {
    uint64_t status;

    *ret_why = "has a part that is not a duration above 0, or comes twice";
    if (slice_eq(name, SLICE("every")))
        return parse_pause_span(value, &ret->every);
    if (slice_eq(name, SLICE("for")))
        return parse_pause_span(value, &ret->span);
    if (slice_eq(name, SLICE("delay")))
        return parse_pause_span(value, &ret->delay);

    *ret_why = "has a part that is not every, for, delay or status";
    if (!slice_eq(name, SLICE("status")))
        return -EINVAL;
    *ret_why = "has a status that is not 200 to 599, or two";
    if (ret->status != 0 || slice_parse_u64(value, 599, &status) < 0 || status < 200)
        return -EINVAL;
    ret->status = (uint16_t)status;
    return 0;
}

/* `every=30s for=3s [status=503 | delay=2s]`, separated by spaces or commas. */
static int parse_pause(struct spec *spec, struct slice value, const char **ret_why) {
    struct pause *pause = &spec->pause;

    *pause = (struct pause){ 0 };
    while (value.len > 0) {
        struct slice words = slice_cut(&value, ',');
        while (words.len > 0) {
            struct slice part = slice_cut(&words, ' ');
            struct slice name = slice_cut(&part, '=');
            if (name.len > 0 && parse_pause_part(name, part, pause, ret_why) < 0)
                return -EINVAL;
        }
    }
    *ret_why = "has both a status and a delay";
    if (pause->status != 0 && pause->delay > 0)
        return -EINVAL;
    *ret_why = "needs every=D and for=D, not longer than every";
    return pause->span > 0 && pause->span <= pause->every ? 0 : -EINVAL;
}

/* `30s:20`: 20 times as long at the start. */
static int parse_warmup(struct spec *spec, struct slice value, const char **ret_why) {
    struct warmup *warmup = &spec->warmup;
    struct slice span = slice_cut(&value, ':');

    *ret_why = "is not a duration and a factor, such as 30s:20";
    if (units_parse_duration(span, &warmup->span) < 0 ||
        units_parse_number(value, &warmup->factor) < 0)
        return -EINVAL;
    *ret_why = "has a factor below 1 or above 1000000";
    return warmup->factor >= 1 && warmup->factor <= 1e6 ? 0 : -EINVAL;
}

static int parse_profile(struct spec *spec, struct slice value, const char **ret_why);

static int parse_numbytes(struct spec *spec, struct slice value, const char **ret_why) {
    *ret_why = "is not a number of bytes, or more than 1g";
    return parse_size_value(value, &spec->numbytes);
}

/* --- a model ---------------------------------------------------------------------------------- */

static int parse_tokens(struct spec *spec, struct slice value, const char **ret_why) {
    return dist_parse_counts(value, SLOWAPI_TOKENS_MAX, spec->memory, &spec->tokens, ret_why);
}

/* --- bodies ----------------------------------------------------------------------------------- */

/* The last layer that chooses a body wins, however it does. */
static int parse_body(struct spec *spec, struct slice value UNUSED, const char **ret_why UNUSED) {
    spec->body = spec->said;
    spec->body_file.raw = (struct slice){ NULL, 0 };
    spec->has_body_size = false;
    return 0;
}

static int parse_body_file(struct spec *spec, struct slice value UNUSED,
                           const char **ret_why UNUSED) {
    spec->body_file = spec->said;
    spec->body.raw = (struct slice){ NULL, 0 };
    spec->has_body_size = false;
    return 0;
}

static int parse_type(struct spec *spec, struct slice value, const char **ret_why) {
    struct slice type = slice_trim(slice_take(value, slice_find(value, ';')));
    size_t slash = slice_find(type, '/');
    struct slice subtype = slice_drop(type, slash + 1);

    *ret_why = "is no media type";
    if (slash == 0 || subtype.len == 0 || http_span(type.ptr, slash, HTTP_CHAR_TOKEN) != slash ||
        http_span(subtype.ptr, subtype.len, HTTP_CHAR_TOKEN) != subtype.len ||
        http_span_value(value.ptr, value.len) != value.len)
        return -EINVAL;
    spec->type = spec->said;
    return 0;
}

static int parse_bool(struct slice value, bool *ret, const char **ret_why) {
    *ret_why = "is neither true nor false";
    *ret = slice_eq(value, SLICE("true"));
    return *ret || slice_eq(value, SLICE("false")) ? 0 : -EINVAL;
}

static int parse_template(struct spec *spec, struct slice value, const char **ret_why) {
    spec->has_template = true;
    return parse_bool(value, &spec->is_template, ret_why);
}

static int parse_encoding(struct spec *spec, struct slice value, const char **ret_why) {
    enum http_coding coding = HTTP_CODING_IDENTITY;

    *ret_why = "is not known";
    spec->is_auto_encoded = slice_eq(value, SLICE("auto"));
    if (!spec->is_auto_encoded && !http_coding_find(value, &coding))
        return -EINVAL;
    spec->has_encoding = true;
    spec->encoding = (uint8_t)coding;
    return 0;
}

/* --- what gives a parameter something to do --------------------------------------------------- */

static bool counts(const struct spec *spec) {
    return spec->seq_count > 0 || spec->first > 0 || spec->every > 0;
}

static bool takes_time(const struct dist *law) {
    return law->kind != DIST_FIXED || law->a > 0;
}

static bool is_busy(const struct spec *spec) {
    return takes_time(&spec->service);
}

static bool queues(const struct spec *spec) {
    return spec->workers > 0 && is_busy(spec);
}

static bool shares(const struct spec *spec) {
    for (size_t i = 0; i < spec->fault_count; i++)
        if (spec->faults[i].kind == FAULT_SHARED_BANDWIDTH)
            return true;
    return counts(spec) || queues(spec) || spec->tpm > 0 || spec->rpm > 0 || spec->limit > 0;
}

static bool is_delayed(const struct spec *spec) {
    return takes_time(&spec->delay) || spec->linear > 0 || queues(spec);
}

static bool has_outcome(const struct spec *spec) {
    return spec->status.count > 0 || spec->fault_count > 0;
}

/* --- rows ------------------------------------------------------------------------------------- */

#define SPAN_ALLOWED   "a duration such as 0.25, 250ms or 2m"
#define LAW_ALLOWED    DIST_ALLOWED "; recorded, or recorded:NAME, of --from"
#define STATUS_ALLOWED "a status from 200 to 599, or STATUS:PERCENT,..."

static const struct param params[] = {
    { SLICE_INIT("delay"), LAW_ALLOWED, OWN(parse_delay),
      "from the end of the request to the answer", .is_list = true },
    { SLICE_INIT("status"), STATUS_ALLOWED, OWN(parse_status), "answered instead of 200",
      .is_list = true },
    { SLICE_INIT("code"), STATUS_ALLOWED, OWN(parse_status), "the same, httpbin's name",
      .is_alias = true, .is_list = true },
    { SLICE_INIT("weights"), "STATUS:WEIGHT,... of any sum", OWN(parse_weights), "as in /status/",
      .is_alias = true, .is_list = true },
    { SLICE_INIT("size"), "bytes such as 512 or 64k up to 1g, or SIZE:PERCENT,...", OWN(parse_size),
      "a body of that many pseudo-random letters", .is_list = true },
    { SLICE_INIT("body"), "any text", OWN(parse_body),
      "the body, in which `{{...}}` stands for parts of the request; see Bodies", .is_text = true,
      .is_kept = true },
    { SLICE_INIT("body-file"), "a path below --files", OWN(parse_body_file),
      "the body, out of a file; its name gives the type", .is_text = true, .is_kept = true },
    { SLICE_INIT("type"), "a media type such as application/json", OWN(parse_type),
      "Content-Type of the answer", .is_text = true },
    { SLICE_INIT("template"), "true or false", OWN(parse_template),
      "whether `{{...}}` is replaced: unless said in `body`, and not in `body-file`",
      .works = spec_chooses_body },
    { SLICE_INIT("encoding"), "gzip, deflate, br, identity or auto", OWN(parse_encoding),
      "codes the body; auto, the rule for `body` and `body-file`, as Accept-Encoding asks for" },
    { SLICE_INIT("close"), "true, false or a percentage", OWN(parse_close),
      "`Connection: close` after the answer" },
    { SLICE_INIT("header"), "NAME:VALUE, 512 bytes in all", OWN(parse_header),
      "a header, instead of what would be sent under that name; may be repeated", .repeats = true,
      .is_text = true },
    { SLICE_INIT("fault"), "KIND[=ARG][@PLACE][:PERCENT],... or none", OWN(parse_fault),
      "faults, each rolled on its own; see below" },
    { SLICE_INIT("seed"), "a whole number, 0 or more", OWN(parse_seed),
      "the same seed rolls the same for every request" },
    { SLICE_INIT("seq"), "statuses, such as 503,503,200", OWN(parse_seq),
      "one after the other, and again; per client or key" },
    { SLICE_INIT("first"), "a whole number, 1 or more", WHOLE(first, 1, INT64_MAX),
      "`status` and `fault` hold for the first N only; per client or key", .works = has_outcome },
    { SLICE_INIT("every"), "a whole number, 1 or more", WHOLE(every, 1, INT64_MAX),
      "`status` and `fault` hold for each Nth only; per client or key", .works = has_outcome },
    { SLICE_INIT("key"), "any text, with {{header.NAME}}, {{query.NAME}}, {{method}} and {{path}}",
      OWN(parse_key),
      "alone decides what seq, first, every and limit count together, and parts queues, budgets "
      "and bandwidths",
      .is_text = true, .works = shares },
    { SLICE_INIT("workers"), "a whole number from 1 to 256",
      WHOLE(workers, 1, SLOWAPI_QUEUE_WORKERS),
      "a queue with that many servers; takes `service` for the time", .works = is_busy },
    { SLICE_INIT("service"), LAW_ALLOWED, OWN(parse_service),
      "how long one of the workers is busy with a request", .is_list = true },
    { SLICE_INIT("queue"), "a whole number from 0 to 10000", WHOLE(queue, 0, SLOWAPI_QUEUE_WAITING),
      "how many may wait for a worker", .works = queues },
    { SLICE_INIT("full"), "a status from 200 to 599", OWN(parse_full),
      "answered at once when the queue is full, with Retry-After; 503 unless given",
      .works = queues },
    { SLICE_INIT("limit"), "N/DURATION, such as 100/1m", OWN(parse_limit),
      "only N in each window of that time get their answer, the rest 429; per client or key" },
    { SLICE_INIT("linear"), SPAN_ALLOWED, OWN(parse_linear),
      "that much longer for each request in flight" },
    { SLICE_INIT("collapse"), "KNEE[,POWER], POWER 10 at most", OWN(parse_collapse),
      "beyond KNEE in flight delay times (in flight / KNEE) ^ POWER; 2 unless given",
      .works = is_delayed },
    { SLICE_INIT("pause"), "every=D,for=D[,status=N|,delay=D]", OWN(parse_pause),
      "stands still (or answers N, or is slower) for the last part of each period" },
    { SLICE_INIT("warmup"), "DURATION:FACTOR", OWN(parse_warmup),
      "FACTOR times slower at the start of the server, then less", .works = is_delayed },
    { SLICE_INIT("profile"), PROFILE_NAMES, OWN(parse_profile), "named parameters; see below" },
    { SLICE_INIT("count"), "a whole number, 0 or more", WHOLE(count, 0, INT64_MAX),
      "events of /sse and /jsonl", .is_of_path = true },
    { SLICE_INIT("duration"), SPAN_ALLOWED, SPAN(duration),
      "of /drip, /range, /sse and /jsonl, from first to last piece", .is_of_path = true },
    { SLICE_INIT("interval"), SPAN_ALLOWED, SPAN(interval),
      "between two events; beside a duration the longer counts", .is_of_path = true },
    { SLICE_INIT("jitter"), "a share from 0 to 1", SHARE(jitter),
      "each interval is longer or shorter by up to that share", .is_of_path = true },
    { SLICE_INIT("numbytes"), "bytes such as 512 or 64k, up to 1g", OWN(parse_numbytes),
      "of /drip and /bytes", .is_of_path = true },
    { SLICE_INIT("chunk_size"), "a whole number from 1 to 16384",
      WHOLE(chunk_size, 1, SLOWAPI_PIECE_BYTES), "bytes per piece of /stream-bytes and /range",
      .is_of_path = true },
    { SLICE_INIT("failure_rate"), "a share from 0 to 1", SHARE(failure_rate), "of /unstable",
      .is_of_path = true },
    { SLICE_INIT("ttft"), DIST_ALLOWED, LAW(ttft),
      "of a model, from the begin of its answer to the first token", .is_of_path = true,
      .is_list = true },
    { SLICE_INIT("gap"), DIST_ALLOWED, LAW(gap), "of a model, between two tokens",
      .is_of_path = true, .is_list = true },
    { SLICE_INIT("tokens"),
      "a number up to 131072, or a law of them: 100, 50-400, lognormal:150,600", OWN(parse_tokens),
      "of a model, tokens of an answer; max_tokens of the request may cut it", .is_of_path = true,
      .is_list = true },
    { SLICE_INIT("tpm"), "a whole number, 0 for any", WHOLE(tpm, 0, SLOWAPI_BUDGET_MAX),
      "tokens that a key may use in a minute; then 429 with Retry-After", .is_of_path = true },
    { SLICE_INIT("rpm"), "a whole number, 0 for any", WHOLE(rpm, 0, SLOWAPI_BUDGET_MAX),
      "requests to a model that a key may make in a minute; then 429", .is_of_path = true },
};

static const struct param *find(struct slice name) {
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        if (slice_eq(params[i].name, name))
            return &params[i];
    return NULL;
}

bool param_exists(struct slice name) {
    return find(name) != NULL;
}

static int complain(const struct param *param, struct slice value, const char *reason,
                    struct error *why) {
    char shown[64];

    escape_text(shown, sizeof(shown), value);
    return error_set(why, -EINVAL, "%s=%s %s; allowed: %s", param->name.ptr, shown, reason,
                     param->allowed);
}

static_assert(ARRAY_LEN(params) <= 64, "a bit for each parameter");

/* Finds the row of a name that stands in the source. */
static const struct param *row_of(struct slice name) {
    const struct param *param = find(name);

    ASSERT(param != NULL);
    return param;
}

/* Aliases share a bit. */
static uint64_t bit_of(const struct param *param) {
    while (param->is_alias)
        param--;
    return UINT64_C(1) << (param - params);
}

/* False: this layer has given it already, and the first counts. */
static bool take_place(struct spec *spec, const struct param *param) {
    uint64_t bit = bit_of(param);

    if (!param->repeats && (spec->given & bit) != 0)
        return false;
    spec->given |= bit;
    return true;
}

static int parse_shape(const struct param_shape *shape, struct spec *spec, struct slice value,
                       const char **ret_why) {
    void *member = (char *)spec + shape->offset;
    double *share = member;

    switch (shape->kind) {
    case SHAPE_OWN:
        break;
    case SHAPE_WHOLE:
        return parse_whole(value, (uint64_t)shape->min, (uint64_t)shape->max, member, ret_why);
    case SHAPE_SHARE:
        *ret_why = "is out of range or not a number";
        return units_parse_number(value, share) == 0 && *share <= 1 ? 0 : -EINVAL;
    case SHAPE_SPAN:
        return parse_span(value, member, ret_why);
    case SHAPE_LAW:
        if (dist_parse(value, spec->memory, member, ret_why) < 0)
            return -EINVAL;
        *ret_why = "is a law of delay and service only";
        return dist_is_named(member) ? -EINVAL : 0;
    }
    return shape->parse(spec, value, ret_why);
}

/* `value` is not empty, unless it is kept; `shown` is how it was spelled, and whether
 * percent-encoded. */
static int apply(const struct param *param, struct spec *spec, struct slice value,
                 struct slice shown, bool is_encoded, struct error *why) {
    const char *reason = "ends with a comma";

    if (!param->is_text && value.ptr[value.len - 1] == ',')
        return complain(param, shown, reason, why);
    spec->said = (struct spec_text){ .raw = shown, .is_encoded = is_encoded };
    return parse_shape(&param->shape, spec, value, &reason) == 0
               ? 0
               : complain(param, shown, reason, why);
}

int param_set(struct spec *spec, struct slice name, struct slice value, struct error *why) {
    const struct param *param = row_of(name);

    if (value.len == 0 && !param->is_kept)
        return complain(param, value, "is empty", why);
    spec->given |= bit_of(param);
    return apply(param, spec, value, value, false, why);
}

bool param_is_given(const struct spec *spec, struct slice name) {
    return (spec->given & bit_of(row_of(name))) != 0;
}

/* --- whole texts ------------------------------------------------------------------------------ */

void param_names_add(struct param_names *names, struct slice name) {
    char shown[40];

    if (names == NULL)
        return;
    escape_text(shown, sizeof(shown), name);
    if (names->len > 0 && names->len < sizeof(names->text))
        names->len +=
            (size_t)snprintf(names->text + names->len, sizeof(names->text) - names->len, ", ");
    if (names->len < sizeof(names->text))
        names->len += (size_t)snprintf(names->text + names->len, sizeof(names->text) - names->len,
                                       "%s", shown);
}

static int apply_encoded(const struct param *param, struct spec *spec, struct slice raw,
                         struct error *why) {
    char room[SLOWAPI_TEXT_BYTES], *decoded = room;

    if (param->is_kept)
        return apply(param, spec, raw, raw, true, why);
    if (!param->is_list && raw.len > (param->is_text ? SLOWAPI_TEXT_BYTES : SLOWAPI_VALUE_BYTES))
        return complain(param, raw, "is too long", why);
    if (raw.len > sizeof(room))
        decoded = mem_alloc(raw.len);
    if (decoded == NULL)
        return complain(param, raw, "is too long: out of memory", why);

    long len = http_percent_decode(raw, decoded);
    int rc = len < 0 ? complain(param, raw, "has a bad percent-escape", why)
                     : apply(param, spec, slice_of(decoded, (size_t)len), raw, true, why);
    if (decoded != room)
        mem_free(decoded);
    return rc;
}

/* NULL when it is none; *ret_name is what it decodes to, `room` has SLOWAPI_NAME_BYTES. */
static const struct param *find_encoded(struct slice raw, char *room, struct slice *ret_name) {
    long len = raw.len <= SLOWAPI_NAME_BYTES ? http_percent_decode(raw, room) : -1;

    *ret_name = len < 0 ? raw : slice_of(room, (size_t)len);
    return len < 0 ? NULL : find(*ret_name);
}

int param_parse_query(struct spec *spec, struct slice query, struct param_names *unknown,
                      struct error *why) {
    struct slice raw, value, name;
    char room[SLOWAPI_NAME_BYTES];

    param_begin_layer(spec);
    while (http_query_next(&query, &raw, &value)) {
        const struct param *param = find_encoded(raw, room, &name);
        bool is_default = value.len == 0 && slice_eq(name, SLICE("delay"));
        if (param == NULL || (value.len == 0 && !is_default && !param->is_kept))
            param_names_add(unknown, name);
        else if (!is_default && take_place(spec, param) &&
                 apply_encoded(param, spec, value, why) < 0)
            return -EINVAL;
    }
    return 0;
}

static int parse_pair(struct spec *spec, struct slice pair, struct error *why) {
    struct slice name = slice_cut(&pair, '=');
    const struct param *param = find(name);
    char shown[64];

    if (name.len == 0)
        return 0;
    escape_text(shown, sizeof(shown), name);
    if (param == NULL)
        return error_set(why, -EINVAL, "%s is not a parameter; see srv slowapi --print-params",
                         shown);
    if (pair.len == 0 && !param->is_kept)
        return complain(param, pair, "is empty", why);
    return take_place(spec, param) ? apply(param, spec, pair, pair, false, why) : 0;
}

int param_parse_text(struct spec *spec, struct slice text, struct error *why) {
    while (text.len > 0)
        if (parse_pair(spec, slice_trim(slice_cut(&text, '&')), why) < 0)
            return -EINVAL;
    return 0;
}

void param_name_idle(const struct spec *spec, uint64_t given, struct slice takes, struct slice said,
                     struct param_names *idle) {
    uint64_t said_bit = said.len > 0 ? bit_of(row_of(said)) : 0;

    if (given == 0)
        return;
    for (const struct param *param = params; param < params + ARRAY_LEN(params); param++) {
        struct slice words = takes;
        uint64_t bit = UINT64_C(1) << (param - params);
        bool is_taken = !param->is_of_path;
        if ((given & bit) == 0)
            continue;
        while (!is_taken && words.len > 0)
            is_taken = slice_eq(slice_cut(&words, ' '), param->name);
        if (!is_taken || bit == said_bit || (param->works != NULL && !param->works(spec)))
            param_names_add(idle, param->name);
    }
}

/* --- profiles --------------------------------------------------------------------------------- */

/* A parameter that the layer itself gives wins, before or after: a profile takes no place. */
static int take_profile(struct spec *spec, const struct profile *profile) {
    uint64_t given = spec->given;

    int rc = param_parse_text(spec, slice_str(profile->params), NULL);
    spec->given = given;
    return rc;
}

static int parse_profile(struct spec *spec, struct slice value, const char **ret_why) {
    const struct profile *profile = profile_find(value);

    *ret_why = "is not known";
    return profile != NULL ? take_profile(spec, profile) : -EINVAL;
}

/* --- rows, printed ---------------------------------------------------------------------------- */

void param_print_rows(FILE *out) {
    for (size_t i = 0; i < ARRAY_LEN(params); i++)
        fprintf(out, "param|%s|%s|%s\n", params[i].name.ptr, params[i].allowed, params[i].help);
    for (size_t i = 0; i < FAULT_KINDS; i++)
        fprintf(out, "fault|%s|%s|%s\n", fault_infos[i].name.ptr, fault_infos[i].rolls,
                fault_infos[i].help);
    for (size_t i = 0; i < profile_count; i++)
        fprintf(out, "profile|%s|%s|%s\n", profiles[i].name.ptr, profiles[i].params,
                profiles[i].help);
}
