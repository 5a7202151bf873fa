/* SPDX-License-Identifier: MIT */
/* Parses toxics, from rows that also tell the docs of them. */
#include "relay/toxics.h"
#include "base/escape.h"
#include "base/units.h"
#include <errno.h>

#define YEAR            (INT64_C(365) * 24 * 3600 * NSEC_PER_SEC)
#define BUFFER_DEFAULT  (UINT64_C(1) << 20)
#define CONNECT_TIMEOUT (10 * NSEC_PER_SEC)
#define CONNECTIONS_MAX 1000000
#define BYTES_MAX       (UINT64_C(1) << 60)
#define SPAN_ALLOWED    "a duration such as 250ms"
#define RATE_ALLOWED    "bytes a second such as 512 or 64k, up to 1g; none: any"

/* The place of a value that was given. */
struct toxic_target {
    struct relay_toxics *toxics;
    struct relay_stream *way; /* way of a toxic of bytes */
};

struct toxic_row {
    struct slice name;
    const char *allowed;
    /* Parses a value that is not empty. 0, or -EINVAL with a static text in *ret_why. */
    int (*parse)(const struct toxic_target *to, struct slice value, const char **ret_why);
    bool has_ways; /* takes @up, @down and @both */
    const char *help;
};

/* --- values ----------------------------------------------------------------------------------- */

static int parse_span(struct slice text, nsec_t *ret, const char **ret_why) {
    *ret_why = "is not a duration, or is over a year";
    return units_parse_duration(text, ret) == 0 && *ret <= YEAR ? 0 : -EINVAL;
}

static int parse_bytes(struct slice text, uint64_t min, uint64_t max, uint64_t *ret,
                       const char **ret_why) {
    *ret_why = "is not a number of bytes, or is out of range";
    return units_parse_size(text, ret) == 0 && *ret >= min && *ret <= max ? 0 : -EINVAL;
}

static int parse_law(struct slice text, struct mix_item *items, struct dist *ret,
                     const char **ret_why) {
    if (dist_parse_into(text, items, RELAY_ITEMS_MAX, ret, ret_why) < 0)
        return -EINVAL;
    *ret_why = "is a law of HTTP only";
    return dist_is_named(ret) ? -EINVAL : 0;
}

static int parse_latency(const struct toxic_target *to, struct slice value, const char **ret_why) {
    to->way->has_latency = true;
    return parse_law(value, to->way->latencies, &to->way->latency, ret_why);
}

static int parse_jitter(const struct toxic_target *to, struct slice value, const char **ret_why) {
    return parse_span(value, &to->way->jitter, ret_why);
}

static int parse_rate(struct slice value, uint64_t *ret, const char **ret_why) {
    *ret = 0;
    if (slice_eq(value, SLICE("none")))
        return 0;
    return parse_bytes(value, 1, RELAY_BUFFER_MAX, ret, ret_why);
}

static int parse_bandwidth(const struct toxic_target *to, struct slice value,
                           const char **ret_why) {
    return parse_rate(value, &to->way->bandwidth, ret_why);
}

static int parse_shared(const struct toxic_target *to, struct slice value, const char **ret_why) {
    return parse_rate(value, &to->way->shared, ret_why);
}

static int parse_slice(const struct toxic_target *to, struct slice value, const char **ret_why) {
    struct slice sizes = slice_cut(&value, ','), high = sizes;
    struct slice low = slice_cut(&high, '-');
    uint64_t min = 0, max = 0;

    *ret_why = "has a size that is not from 1 to 1m";
    if (units_parse_size(low, &min) < 0 || min < 1 || min > (1u << 20))
        return -EINVAL;
    max = min;
    if (high.len > 0 && (units_parse_size(high, &max) < 0 || max < min || max > (1u << 20)))
        return -EINVAL;
    to->way->slice_min = (uint32_t)min;
    to->way->slice_max = (uint32_t)max;
    to->way->slice_pause = 0;
    return value.len > 0 ? parse_span(value, &to->way->slice_pause, ret_why) : 0;
}

static int parse_corrupt(const struct toxic_target *to, struct slice value, const char **ret_why) {
    *ret_why = "is not 0 to 100 percent";
    return units_parse_percent(value, &to->way->corrupt);
}

static int parse_close_delay(const struct toxic_target *to, struct slice value,
                             const char **ret_why) {
    to->way->delays_close = true;
    to->way->keeps_close = slice_eq(value, SLICE("never"));
    return to->way->keeps_close
               ? 0
               : parse_law(value, to->way->close_delays, &to->way->close_delay, ret_why);
}

static int parse_toxicity(const struct toxic_target *to, struct slice value, const char **ret_why) {
    *ret_why = "is not 0 to 100 percent";
    return units_parse_percent(value, &to->toxics->toxicity);
}

static int parse_connect_delay(const struct toxic_target *to, struct slice value,
                               const char **ret_why) {
    to->toxics->delays_connect = true;
    return parse_law(value, to->toxics->connect_delays, &to->toxics->connect_delay, ret_why);
}

static int parse_connect_timeout(const struct toxic_target *to, struct slice value,
                                 const char **ret_why) {
    if (parse_span(value, &to->toxics->connect_timeout, ret_why) < 0)
        return -EINVAL;
    *ret_why = "is 0, in which nothing connects";
    return to->toxics->connect_timeout > 0 ? 0 : -EINVAL;
}

static int parse_connections(const struct toxic_target *to, struct slice value,
                             const char **ret_why) {
    uint64_t count;

    *ret_why = "is out of range or not a whole number";
    if (slice_parse_u64(value, CONNECTIONS_MAX, &count) < 0)
        return -EINVAL;
    to->toxics->connections = (int64_t)count;
    return 0;
}

static int parse_buffer(const struct toxic_target *to, struct slice value, const char **ret_why) {
    return parse_bytes(value, 1, RELAY_BUFFER_MAX, &to->toxics->buffer, ret_why);
}

static int parse_enabled(const struct toxic_target *to, struct slice value, const char **ret_why) {
    *ret_why = "is neither true nor false";
    to->toxics->enabled = slice_eq(value, SLICE("true"));
    return to->toxics->enabled || slice_eq(value, SLICE("false")) ? 0 : -EINVAL;
}

static int parse_name(const struct toxic_target *to, struct slice value, const char **ret_why) {
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";

    *ret_why = "is too long, or has characters that are none of A-Z a-z 0-9 - . _";
    if (value.len >= RELAY_NAME_BYTES)
        return -EINVAL;
    memcpy(to->toxics->name, value.ptr, value.len);
    to->toxics->name[value.len] = '\0';
    return strspn(to->toxics->name, allowed) == value.len ? 0 : -EINVAL;
}

/* --- faults ----------------------------------------------------------------------------------- */

const struct relay_fault_info relay_fault_infos[RELAY_FAULT_KINDS] = {
    [RELAY_RST] = { SLICE_INIT("rst"), false, "both sides are reset (RST)" },
    [RELAY_RST_UP] = { SLICE_INIT("rst-up"), false, "the target is reset, the client closed" },
    [RELAY_RST_DOWN] = { SLICE_INIT("rst-down"), false, "the client is reset, the target closed" },
    [RELAY_FIN] = { SLICE_INIT("fin"), false, "both sides are closed (FIN)" },
    [RELAY_FIN_UP] = { SLICE_INIT("fin-up"), false,
                       "the target gets an end (FIN) and nothing more; what it sends flows on" },
    [RELAY_FIN_DOWN] = { SLICE_INIT("fin-down"), false,
                         "the client gets an end (FIN) and nothing more; what it sends flows on" },
    [RELAY_HANG] = { SLICE_INIT("hang"), true,
                     "nothing is passed on either way: with a time bytes wait for its end, without "
                     "one they are taken and thrown away for ever" },
    [RELAY_HANG_UP] = { SLICE_INIT("hang-up"), true,
                        "the same of what the client sends; the other way flows on" },
    [RELAY_HANG_DOWN] = { SLICE_INIT("hang-down"), true,
                          "the same of what the target sends; the other way flows on" },
    [RELAY_REFUSE] = { SLICE_INIT("refuse"), false,
                       "reset as soon as it is accepted, and the target is not asked" },
};

/* Cuts `rest` at the delimiter. False: there is one, and nothing after it. */
static bool cut_part(struct slice *rest, char delimiter, struct slice *ret_before) {
    size_t size = rest->len;

    *ret_before = slice_cut(rest, delimiter);
    return rest->len > 0 || ret_before->len == size;
}

static int parse_at_bytes(struct slice text, struct relay_fault *fault) {
    bool has_b = text.len > 1 && text.ptr[text.len - 1] == 'b';
    uint64_t bytes = 0;

    if (units_parse_size(slice_take(text, text.len - has_b), &bytes) < 0 || bytes > BYTES_MAX)
        return -EINVAL;
    fault->at = (int64_t)bytes;
    return 0;
}

/* As faults of requests have them: `512b`, `10k`, `1g` to the client, and `500ms`, `2s`, `1h`. */
static int parse_cut(struct slice text, struct relay_fault *fault, const char **ret_why) {
    char unit = text.ptr[text.len - 1];

    if (unit == 's' || unit == 'h') {
        fault->place = RELAY_AT_TIME;
        return units_parse_duration(text, &fault->at);
    }
    if (unit == 'm' || unit == 'M')
        *ret_why = "has a place in m, which is minutes or mebibytes: write time=1m or down=1m";
    fault->place = RELAY_AT_DOWN;
    return strchr("bkKgG", unit) != NULL ? parse_at_bytes(text, fault) : -EINVAL;
}

static int parse_place(struct slice text, struct relay_fault *fault, const char **ret_why) {
    struct slice value = text, name;

    *ret_why = "has a place that is not accept, up[=BYTES], down[=BYTES] or time=DURATION, nor "
               "bytes such as 512b or 10k or a time such as 500ms";
    if (!cut_part(&value, '=', &name))
        return -EINVAL;
    if (slice_eq(name, SLICE("accept")) && value.len == 0)
        fault->place = RELAY_AT_ACCEPT;
    else if (slice_eq(name, SLICE("time")) && units_parse_duration(value, &fault->at) == 0)
        fault->place = RELAY_AT_TIME;
    else if (slice_eq(name, SLICE("up")) || slice_eq(name, SLICE("down")))
        fault->place = slice_eq(name, SLICE("up")) ? RELAY_AT_UP : RELAY_AT_DOWN;
    else if (value.len > 0 || parse_cut(text, fault, ret_why) < 0)
        return -EINVAL;
    if (fault->place >= RELAY_AT_UP && value.len > 0 && parse_at_bytes(value, fault) < 0)
        return -EINVAL;
    *ret_why = "has a place where this fault cannot strike";
    return fault->kind == RELAY_REFUSE && fault->place != RELAY_AT_ACCEPT ? -EINVAL : 0;
}

static int parse_one(struct slice text, struct relay_fault *ret, const char **ret_why) {
    struct slice percent = text, place, arg, name;
    const struct relay_fault_info *info = relay_fault_infos;

    *ret_why = "has nothing after a =, @ or :";
    if (!cut_part(&percent, ':', &place) || !cut_part(&place, '@', &arg) ||
        !cut_part(&arg, '=', &name))
        return -EINVAL;
    *ret_why = "names a fault that is not known";
    while (info < relay_fault_infos + RELAY_FAULT_KINDS && !slice_eq(info->name, name))
        info++;
    if (info == relay_fault_infos + RELAY_FAULT_KINDS)
        return -EINVAL;

    *ret = (struct relay_fault){
        .kind = (uint8_t)(info - relay_fault_infos),
        .place = RELAY_AT_ACCEPT,
        .probability = 1,
        .span = -1,
    };
    *ret_why = "has a value for a fault that takes none";
    if (arg.len > 0 && !info->takes_span)
        return -EINVAL;
    if (arg.len > 0 && parse_span(arg, &ret->span, ret_why) < 0)
        return -EINVAL;
    if (place.len > 0 && parse_place(place, ret, ret_why) < 0)
        return -EINVAL;
    *ret_why = "has a probability that is not 0 to 100 percent";
    return percent.len == 0 ? 0 : units_parse_percent(percent, &ret->probability);
}

static int parse_fault(const struct toxic_target *to, struct slice value, const char **ret_why) {
    struct relay_toxics *toxics = to->toxics;

    toxics->fault_count = 0;
    if (slice_eq(value, SLICE("none")))
        return 0;
    while (value.len > 0) {
        *ret_why = "names too many faults";
        if (toxics->fault_count == RELAY_FAULTS_MAX)
            return -EINVAL;
        if (parse_one(slice_cut(&value, ','), &toxics->faults[toxics->fault_count++], ret_why) < 0)
            return -EINVAL;
    }
    return 0;
}

const char *relay_fault_format(const struct relay_fault *fault, char *text) {
    char span[UNITS_TEXT_BYTES + 1] = "", at[UNITS_TEXT_BYTES] = "";
    static const char *const places[] = { "accept", "time=", "up=", "down=" };

    if (fault->span >= 0) {
        span[0] = '=';
        units_format_duration(fault->span, span + 1);
    }
    if (fault->place == RELAY_AT_TIME)
        units_format_duration(fault->at, at);
    else if (fault->place != RELAY_AT_ACCEPT)
        units_format_size((uint64_t)fault->at, at);
    snprintf(text, RELAY_FAULT_TEXT, "%s%s@%s%s", relay_fault_infos[fault->kind].name.ptr, span,
             places[fault->place], at);
    return text;
}

/* --- rows ------------------------------------------------------------------------------------- */

static const struct toxic_row rows[] = {
    { SLICE_INIT("latency"), DIST_ALLOWED, parse_latency, true,
      "each piece is passed on so much later, in its order" },
    { SLICE_INIT("jitter"), SPAN_ALLOWED, parse_jitter, true,
      "the latency of each piece is longer or shorter by up to that" },
    { SLICE_INIT("bandwidth"), RATE_ALLOWED, parse_bandwidth, true, "of each connection" },
    { SLICE_INIT("shared-bandwidth"), RATE_ALLOWED, parse_shared, true,
      "of all connections of the proxy together" },
    { SLICE_INIT("slice"), "SIZE or MIN-MAX bytes, from 1 to 1m, and maybe ,PAUSE", parse_slice,
      true, "bytes are passed on in pieces of that size, with the pause between them" },
    { SLICE_INIT("corrupt"), "a percentage", parse_corrupt, true,
      "that share of the bytes has its lowest bit flipped" },
    { SLICE_INIT("close-delay"), "never, or " DIST_ALLOWED, parse_close_delay, true,
      "an end (FIN) is passed on so much later than the last byte" },
    { SLICE_INIT("toxicity"), "a percentage", parse_toxicity, false,
      "the share of connections to which all of the above is done" },
    { SLICE_INIT("fault"), "KIND[=ARG][@PLACE][:PERCENT],..., or none", parse_fault, false,
      "strikes a connection once, at its place; see below" },
    { SLICE_INIT("connect-delay"), DIST_ALLOWED, parse_connect_delay, false,
      "the target is connected to so much later" },
    { SLICE_INIT("connect-timeout"), SPAN_ALLOWED ", above 0", parse_connect_timeout, false,
      "so long a connection to the target may take (10s); then the client is reset" },
    { SLICE_INIT("connections"), "a whole number up to 1000000, 0 for any", parse_connections,
      false, "one more than that at the same time is reset" },
    { SLICE_INIT("buffer"), "bytes such as 64k, up to 1g", parse_buffer, false,
      "so much of a way is held (1m) for a latency or a hang; beyond that the sender waits" },
    { SLICE_INIT("enabled"), "true or false", parse_enabled, false,
      "false: connections are refused, as if nobody listened, and those that are open are reset" },
    { SLICE_INIT("name"), "letters, digits and - . _", parse_name, false,
      "of the proxy in /tcp, /metrics and the log, else its address; on the command line only" },
};

static const struct toxic_row *find_row(struct slice name) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_eq(rows[i].name, name))
            return &rows[i];
    return NULL;
}

/* Bits of the ways that a value is for, and takes them off it. */
static unsigned cut_ways(const struct toxic_row *row, struct slice *value) {
    static const struct {
        struct slice suffix;
        unsigned ways;
    } suffixes[] = {
        { SLICE_INIT("@up"), 1u << RELAY_UP },
        { SLICE_INIT("@down"), 1u << RELAY_DOWN },
        { SLICE_INIT("@both"), 1u << RELAY_UP | 1u << RELAY_DOWN },
    };

    if (!row->has_ways)
        return 1u << RELAY_DOWN;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        struct slice suffix = suffixes[i].suffix;
        if (value->len < suffix.len ||
            !slice_eq(slice_drop(*value, value->len - suffix.len), suffix))
            continue;
        value->len -= suffix.len;
        return suffixes[i].ways;
    }
    return 1u << RELAY_DOWN;
}

static int complain(const struct toxic_row *row, struct slice value, const char *reason,
                    struct error *why) {
    char shown[64];

    escape_text(shown, sizeof(shown), value);
    return error_set(why, -EINVAL, "%s=%s %s; allowed: %s%s", row->name.ptr, shown, reason,
                     row->allowed, row->has_ways ? ", and @up, @down or @both behind it" : "");
}

static int no_row(struct slice name, struct error *why) {
    char shown[64];

    escape_text(shown, sizeof(shown), name);
    return error_set(why, -EINVAL, "%s is not a parameter of --tcp; see srv slowapi --print-params",
                     shown);
}

static int parse_pair(struct relay_toxics *toxics, struct slice pair, struct error *why) {
    struct slice name = slice_cut(&pair, '='), value = pair;
    const struct toxic_row *row = find_row(name);
    const char *reason = "ends with a comma";

    if (row == NULL)
        return no_row(name, why);
    unsigned ways = cut_ways(row, &value);
    if (value.len == 0)
        return complain(row, pair, "is empty", why);
    if (value.ptr[value.len - 1] == ',')
        return complain(row, pair, reason, why);
    for (unsigned way = 0; way < RELAY_WAYS; way++) {
        const struct toxic_target to = { toxics, &toxics->ways[way] };
        if ((ways & 1u << way) != 0 && row->parse(&to, value, &reason) < 0)
            return complain(row, pair, reason, why);
    }
    return 0;
}

int relay_toxics_parse(struct slice text, struct relay_toxics *ret, struct error *why) {
    *ret = (struct relay_toxics){
        .enabled = true,
        .connect_timeout = CONNECT_TIMEOUT,
        .buffer = BUFFER_DEFAULT,
        .toxicity = 1,
    };
    if (text.len >= RELAY_TOXICS_TEXT)
        return error_set(why, -EINVAL, "%zu bytes of parameters; %d are the most", text.len,
                         RELAY_TOXICS_TEXT - 1);
    while (text.len > 0) {
        struct slice pair = slice_trim(slice_cut(&text, '&'));
        if (pair.len > 0 && parse_pair(ret, pair, why) < 0)
            return -EINVAL;
    }
    return 0;
}

/* --- changes ---------------------------------------------------------------------------------- */

/* Bits of the ways of `row` that the change speaks of. */
static unsigned changed_ways(struct slice change, const struct toxic_row *row) {
    unsigned ways = 0;

    while (change.len > 0) {
        struct slice value = slice_trim(slice_cut(&change, '&'));
        if (!slice_eq(slice_cut(&value, '='), row->name))
            continue;
        bool is_bare = row->has_ways && value.len == 0;
        ways |= is_bare ? 1u << RELAY_UP | 1u << RELAY_DOWN : cut_ways(row, &value);
    }
    return ways;
}

static const char *const ways_text[] = { [1u << RELAY_UP] = "@up", [1u << RELAY_DOWN] = "@down" };

static bool add_pair(char *ret, struct slice name, struct slice value, const char *way) {
    size_t len = strlen(ret);

    return snprintf(ret + len, RELAY_TOXICS_TEXT - len, "%s%.*s=%.*s%s", len > 0 ? "&" : "",
                    (int)name.len, name.ptr, (int)value.len, value.ptr,
                    way) < (int)(RELAY_TOXICS_TEXT - len);
}

int relay_toxics_change(struct slice text, struct slice change, char *ret, struct error *why) {
    bool fits = true;

    ret[0] = '\0';
    for (struct slice rest = text; rest.len > 0;) {
        struct slice whole = slice_trim(slice_cut(&rest, '&')), name = slice_cut(&whole, '=');
        struct slice value = whole;
        const struct toxic_row *row = find_row(name);
        if (row == NULL)
            continue;
        unsigned ways = cut_ways(row, &value), left = ways & ~changed_ways(change, row);
        if (left == ways)
            fits &= add_pair(ret, name, whole, "");
        else if (left != 0)
            fits &= add_pair(ret, name, value, ways_text[left]);
    }
    for (struct slice rest = change; rest.len > 0;) {
        struct slice pair = slice_trim(slice_cut(&rest, '&')), value = pair;
        struct slice name = slice_cut(&value, '=');
        const struct toxic_row *row = find_row(name);
        if (pair.len == 0)
            continue;
        if (row == NULL)
            return no_row(name, why);
        struct slice bare = value;
        (void)cut_ways(row, &bare);
        if (bare.len > 0)
            fits &= add_pair(ret, name, value, "");
    }
    return fits ? 0
                : error_set(why, -EINVAL, "the parameters are too long; %d bytes are the most",
                            RELAY_TOXICS_TEXT - 1);
}

void relay_toxics_print_rows(FILE *out) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        fprintf(out, "toxic|%s|%s%s|%s\n", rows[i].name.ptr, rows[i].allowed,
                rows[i].has_ways ? "; @up, @down, @both" : "", rows[i].help);
    for (size_t i = 0; i < RELAY_FAULT_KINDS; i++)
        fprintf(out, "toxic-fault|%s|%s|%s\n", relay_fault_infos[i].name.ptr,
                relay_fault_infos[i].takes_span ? "DURATION" : "", relay_fault_infos[i].help);
}
