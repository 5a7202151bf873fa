/* SPDX-License-Identifier: MIT */
/* srv slowapi: an upstream that is slow on purpose. */
#include "base/alloc.h"
#include "cmd/command.h"
#include "cmd/common.h"
#include "net/control.h"
#include "net/listeners.h"
#include "proc/prefork.h"
#include "relay/table.h"
#include "slowapi/defaults.h"
#include "slowapi/journal.h"
#include "slowapi/limits.h"
#include "slowapi/param.h"
#include "slowapi/profile.h"
#include "slowapi/route.h"
#include "slowapi/shared.h"
#include "slowapi/slowapi.h"
#include "slowapi/upstream.h"
#include <errno.h>
#include <string.h>

struct slowapi_options {
    struct slowapi_config config;
    char addresses[LISTENERS_MAX][ADDRESS_TEXT_BYTES]; /* binds without their parameters */
    int schemes[LISTENERS_MAX];                        /* places in `schemes`; -1: none was given */
};

/* Returns the start of PARAMS, a '?' or '&', or NULL without any. The mode of a unix socket is part
 * of its address: unix:/path?mode=0660&delay=1. */
static const char *find_params(const char *value) {
    const char *params = strchr(value, '?');

    if (params != NULL && strncmp(value, "unix:", 5) == 0 && strncmp(params, "?mode=", 6) == 0)
        return strchr(params, '&');
    return params;
}

static int parse_bind(void *config, const char *value, struct error *err);
static int parse_delay(void *config, const char *value, struct error *err);
static int parse_params(void *config, const char *value, struct error *err);
static int parse_profile(void *config, const char *value, struct error *err);
static int parse_pause(void *config, const char *value, struct error *err);
static int parse_control(void *config, const char *value, struct error *err);
static int parse_tcp(void *config, const char *value, struct error *err);
static int parse_cert_reqs(void *config, const char *value, struct error *err);
static int parse_ssl_versions(void *config, const char *value, struct error *err);
static int parse_upstream(void *config, const char *value, struct error *err);

#define MEMBER(name) offsetof(struct slowapi_options, config.name)
#define HOUR         (INT64_C(3600) * NSEC_PER_SEC)
#define DAY          (24 * HOUR)

static const char *const half_closes[] = {
    [HALF_CLOSE_GONE] = "gone",
    [HALF_CLOSE_WAIT] = "wait",
    NULL,
};

static const struct option_row rows[] = {
    {
        .name = "bind",
        .letter = 'b',
        .env = "PORT",
        .topic = "Listening",
        .meta = "ADDR",
        .help = "Listen on HOST:PORT, :PORT (all interfaces), [IPv6]:PORT, unix:/path, or PORT of "
                "127.0.0.1; https:// before it for TLS; ADDR?PARAMS gives requests there defaults "
                "of their own; repeatable.",
        .type = OPTION_CUSTOM,
        .parse = parse_bind,
        .fallback = "127.0.0.1:4000",
    },
    {
        .name = "backlog",
        .topic = "Listening",
        .meta = "N",
        .help = "Connections that may wait to be accepted.",
        .type = OPTION_INT,
        .offset = MEMBER(backlog),
        .min = 1,
        .max = 65535,
        .fallback = "2048",
    },
    {
        .name = "tcp",
        .topic = "Listening",
        .meta = "LISTEN=TARGET",
        .help = "Pass TCP connections to address LISTEN on to TARGET, with what PARAMS of "
                "LISTEN=TARGET?PARAMS do to them: latency=50ms&bandwidth=10k&fault=rst:1; "
                "repeatable.",
        .type = OPTION_CUSTOM,
        .parse = parse_tcp,
    },
    {
        .name = "certfile",
        .topic = "TLS",
        .meta = "FILE",
        .help =
            "Certificate chain in PEM: addresses without a scheme speak https; again for other "
            "names (default: made at the start, for localhost, its addresses and the host name).",
        .type = OPTION_STRINGS,
        .offset = MEMBER(tls.certificates),
    },
    {
        .name = "keyfile",
        .topic = "TLS",
        .meta = "FILE",
        .help = "Private key of --certfile in PEM, without a passphrase; one for each, in the same "
                "order (default: it stands in the same file).",
        .type = OPTION_STRINGS,
        .offset = MEMBER(tls.keys),
    },
    {
        .name = "tls-ca-out",
        .topic = "TLS",
        .meta = "FILE",
        .help = "Write the authority of certificates that are made to this file, for clients to "
                "trust: curl --cacert FILE.",
        .type = OPTION_STRING,
        .offset = MEMBER(ca_out),
    },
    {
        .name = "cert-reqs",
        .topic = "TLS",
        .meta = "WHEN",
        .help = "Whether clients show a certificate: none (0) is asked for, optional (1), or "
                "required (2).",
        .type = OPTION_CUSTOM,
        .fallback = "none",
        .parse = parse_cert_reqs,
    },
    {
        .name = "ca-certs",
        .topic = "TLS",
        .meta = "FILE",
        .help = "Authorities that certificates of clients are checked against, in PEM (default: "
                "those of the system).",
        .type = OPTION_STRING,
        .offset = MEMBER(tls.trust),
    },
    {
        .name = "ciphers",
        .topic = "TLS",
        .meta = "LIST",
        .help = "Ciphers, as openssl-ciphers(1) writes them, those of TLS 1.3 among them (default: "
                "OpenSSL's).",
        .type = OPTION_STRING,
        .offset = MEMBER(tls.ciphers),
    },
    {
        .name = "ssl-versions",
        .topic = "TLS",
        .meta = "LIST",
        .help = "Versions of TLS, separated by commas: TLSv1.2, TLSv1.3 or both.",
        .type = OPTION_CUSTOM,
        .fallback = "TLSv1.2,TLSv1.3",
        .parse = parse_ssl_versions,
    },
    {
        .name = "delay",
        .topic = "Answering",
        .meta = "DELAY",
        .help = "Delay of requests to / that do not say ?delay=; a duration or a law, as there.",
        .type = OPTION_CUSTOM,
        .parse = parse_delay,
        .fallback = "1",
    },
    {
        .name = "params",
        .topic = "Answering",
        .meta = "PARAMS",
        .help =
            "Parameters of all requests, such as 'status=503:10&fault=rst@body:1'; a request may "
            "say otherwise; repeatable.",
        .type = OPTION_CUSTOM,
        .parse = parse_params,
    },
    {
        .name = "profile",
        .topic = "Answering",
        .meta = "NAME",
        .help = "Named parameters: " PROFILE_NAMES "; those of other options win.",
        .type = OPTION_CUSTOM,
        .parse = parse_profile,
    },
    {
        .name = "pause",
        .topic = "Answering",
        .meta = "PAUSE",
        .help =
            "Stand still for the last part of each period: 'every=30s for=3s', with status=N or "
            "delay=D instead of standing still.",
        .type = OPTION_CUSTOM,
        .parse = parse_pause,
    },
    {
        .name = "max-delay",
        .topic = "Answering",
        .meta = "SECONDS",
        .help = "Longest exchange, from the end of the request to the end of the answer: a "
                "request for more gets 400, what chance or load add is cut; 0 takes any.",
        .type = OPTION_DURATION,
        .offset = MEMBER(delay_max),
        .max = 3650 * DAY,
        .fallback = "0",
    },
    {
        .name = "strict-params",
        .topic = "Answering",
        .help =
            "Refuse parameters of a request that are unknown or have no effect with 400, instead "
            "of naming them in X-Slowapi-Ignored and on stderr.",
        .type = OPTION_FLAG,
        .offset = MEMBER(strict_params),
    },
    {
        .name = "seed",
        .topic = "Answering",
        .meta = "N",
        .help = "Roll the same for the same requests in the same order, whichever worker gets "
                "them; 0 rolls anew each time.",
        .type = OPTION_INT,
        .offset = MEMBER(seed),
        .min = 0,
        .max = INT64_MAX,
        .fallback = "0",
    },
    {
        .name = "sequences",
        .topic = "Answering",
        .meta = "N",
        .help = "Keys, and clients with their paths, that seq, first and every can count; the one "
                "that was not used for longest goes.",
        .type = OPTION_INT,
        .offset = MEMBER(sequences),
        .min = 1,
        .max = SHARED_SEQUENCES_MAX,
        .fallback = "65536",
    },
    {
        .name = "queues",
        .topic = "Answering",
        .meta = "N",
        .help = "Queues of different workers, service, queue or key; the one that was not used for "
                "longest goes.",
        .type = OPTION_INT,
        .offset = MEMBER(queues),
        .min = 1,
        .max = SHARED_QUEUES_MAX,
        .fallback = "1024",
    },
    {
        .name = "rules",
        .topic = "Answering",
        .meta = "FILE",
        .help = "JSON rules (docs/slowapi-rules.md); read again on SIGHUP.",
        .type = OPTION_STRING,
        .offset = MEMBER(rules),
    },
    {
        .name = "from",
        .topic = "Answering",
        .meta = "[NAME=]FILE",
        .help = "Delays as a file of latencies has them (JSON or .hlog of srv bench, access log, "
                "lines of value,count), each path of a log its own; read again on SIGHUP; "
                "repeatable.",
        .type = OPTION_STRINGS,
        .offset = MEMBER(from),
    },
    {
        .name = "from-status",
        .topic = "Answering",
        .help = "Answer with the statuses of that log, too, as often as they came, each with its "
                "own latencies.",
        .type = OPTION_FLAG,
        .offset = MEMBER(from_status),
    },
    {
        .name = "files",
        .topic = "Answering",
        .meta = "DIR",
        .help = "Folder out of which body-file takes files; no link in it and no path leads out.",
        .type = OPTION_STRING,
        .offset = MEMBER(files),
    },
    {
        .name = "upstream",
        .topic = "In front of a service",
        .meta = "URL",
        .help =
            "Stand in front of this service, http[s]://HOST[:PORT][/PATH] or unix:/PATH[:/PATH]: "
            "all requests go there, and parameters come from options, rules and X-Slowapi.",
        .type = OPTION_CUSTOM,
        .parse = parse_upstream,
    },
    {
        .name = "upstream-ca",
        .topic = "In front of a service",
        .meta = "FILE",
        .help = "Trusted certificates for an https:// upstream, PEM (default: the system's).",
        .type = OPTION_STRING,
        .offset = MEMBER(upstream_ca),
    },
    {
        .name = "upstream-insecure",
        .topic = "In front of a service",
        .help = "Take any certificate of an https:// upstream, whoever has signed it.",
        .type = OPTION_FLAG,
        .offset = MEMBER(upstream_insecure),
    },
    {
        .name = "upstream-connect-timeout",
        .topic = "In front of a service",
        .meta = "SECONDS",
        .help = "How long a connection to the upstream may take, TLS included; then 504; 0: any.",
        .type = OPTION_DURATION,
        .offset = MEMBER(upstream_connect_timeout),
        .max = DAY,
        .fallback = "10",
    },
    {
        .name = "upstream-timeout",
        .topic = "In front of a service",
        .meta = "SECONDS",
        .help = "How long the upstream may take from the end of a request to the head of its "
                "answer; then 504; 0: any.",
        .type = OPTION_DURATION,
        .offset = MEMBER(upstream_timeout),
        .max = DAY,
        .fallback = "60",
    },
    {
        .name = "upstream-idle-timeout",
        .topic = "In front of a service",
        .meta = "SECONDS",
        .help = "How long the upstream may send nothing of an answer that has begun, or take "
                "nothing of a request; 0: any.",
        .type = OPTION_DURATION,
        .offset = MEMBER(upstream_idle_timeout),
        .max = DAY,
        .fallback = "60",
    },
    {
        .name = "upstream-keep-alive",
        .topic = "In front of a service",
        .meta = "SECONDS",
        .help = "How long an idle connection to the upstream is kept for the next request; 0: each "
                "has one of its own.",
        .type = OPTION_DURATION,
        .offset = MEMBER(upstream_keep_alive),
        .max = DAY,
        .fallback = "60",
    },
    {
        .name = "preserve-host",
        .topic = "In front of a service",
        .help = "Send the client's Host to the upstream, instead of the one in its URL.",
        .type = OPTION_FLAG,
        .offset = MEMBER(preserves_host),
    },
    {
        .name = "forwarded",
        .topic = "In front of a service",
        .help = "Tell the upstream the client in X-Forwarded-For, -Proto and -Host.",
        .type = OPTION_FLAG,
        .offset = MEMBER(tells_forwarded),
    },
    {
        .name = "lenient",
        .topic = "In front of a service",
        .help = "Pass on what is not quite in order but has one meaning: folded fields, lines that "
                "end in LF alone, repeated equal lengths, large heads.",
        .type = OPTION_FLAG,
        .offset = MEMBER(lenient),
    },
    {
        .name = "control",
        .topic = "Telling",
        .meta = "ADDR",
        .help =
            "Serve a page for people, /stats, /metrics, /requests, /rules, /faults, /tcp, /queues, "
            "/sequences, /reset, /openapi.json and /healthz there; without a host on 127.0.0.1 "
            "only.",
        .type = OPTION_CUSTOM,
        .parse = parse_control,
    },
    {
        .name = "journal",
        .topic = "Telling",
        .meta = "N",
        .help = "Keep the last N requests, each with 8 KiB of its target, header and body, for "
                "/requests of --control; 0: none.",
        .type = OPTION_INT,
        .offset = MEMBER(journal),
        .min = 0,
        .max = JOURNAL_ENTRIES_MAX,
        .fallback = "0",
    },
    {
        .name = "control-host",
        .topic = "Telling",
        .meta = "NAME",
        .help = "Host name that requests to the control endpoint may have, beside numeric ones "
                "and localhost, against pages in browsers; repeatable.",
        .type = OPTION_STRINGS,
        .offset = MEMBER(control_hosts),
    },
    {
        .name = "truth",
        .topic = "Telling",
        .help = "Send Server-Timing and X-Slowapi-* with plain answers too.",
        .type = OPTION_FLAG,
        .offset = MEMBER(truth),
    },
    {
        .name = "access-logfile",
        .topic = "Telling",
        .meta = "FILE",
        .help =
            "Log each request as a line of JSON; - is stdout. Written by a process of its own, so "
            "that nothing waits for a disk or a reader. USR1 opens it anew.",
        .type = OPTION_STRING,
        .offset = MEMBER(access_log),
    },
    {
        .name = "workers",
        .letter = 'w',
        .env = "WORKERS",
        .topic = "Processes",
        .meta = "N",
        .help = "Worker processes; with 1 there is no master.",
        .type = OPTION_INT,
        .offset = MEMBER(workers),
        .min = 1,
        .max = PREFORK_WORKERS_MAX,
        .fallback = "1",
    },
    {
        .name = "graceful-timeout",
        .topic = "Processes",
        .meta = "SECONDS",
        .help = "After SIGTERM, how long sleeping requests may take to be answered.",
        .type = OPTION_DURATION,
        .offset = MEMBER(graceful_timeout),
        .max = DAY,
        .fallback = "30",
    },
    {
        .name = "keep-alive",
        .topic = "Connections",
        .meta = "SECONDS",
        .help = "How long a connection may be idle; 0 closes it after each answer.",
        .type = OPTION_DURATION,
        .offset = MEMBER(keep_alive),
        .max = DAY,
        .fallback = "75",
    },
    {
        .name = "header-timeout",
        .topic = "Connections",
        .meta = "SECONDS",
        .help = "How long a request head may take from its first byte to its last; then 408.",
        .type = OPTION_DURATION,
        .offset = MEMBER(header_timeout),
        .min = NSEC_PER_MSEC,
        .max = DAY,
        .fallback = "10",
    },
    {
        .name = "send-timeout",
        .topic = "Connections",
        .meta = "SECONDS",
        .help = "How long a client may take nothing of its answer, counted by what it has "
                "acknowledged; then its connection is reset. 0 waits for ever.",
        .type = OPTION_DURATION,
        .offset = MEMBER(send_timeout),
        .max = DAY,
        .fallback = "30",
    },
    {
        .name = "half-close",
        .topic = "Connections",
        .meta = "MEANING",
        .help = "What to make of a client that closes its side while its request waits: it has "
                "gone, or it has only shut its sending side and waits for the answer.",
        .type = OPTION_CHOICE,
        .offset = MEMBER(half_close),
        .fallback = "gone",
        .choices = half_closes,
    },
    {
        .name = "log-level",
        .topic = "Talking",
        .meta = "LEVEL",
        .help = "How much is told on stderr.",
        .type = OPTION_CHOICE,
        .offset = MEMBER(log_level),
        .fallback = "info",
        .choices = cmd_log_levels,
    },
};

static const struct option_spec options_spec = {
    .usage = "srv slowapi [options]",
    .summary = "An upstream that is slow on purpose: GET /?delay=SECONDS answers 200 "
               "\"slow api response\" that much later.",
    .epilog = "SIGTERM answers what sleeps and leaves; a second one, SIGINT or SIGQUIT leave\n"
              "at once.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
};

static int check_params(struct slice text, struct error *err) {
    struct arena memory;
    struct spec spec;

    arena_init(&memory, SLOWAPI_LIST_BYTES);
    spec_init(&spec, 0, &memory);
    int rc = param_parse_text(&spec, text, err);
    arena_free(&memory);
    return rc;
}

static const char *const schemes[] = { "http", "https", "tls", NULL };

static int parse_bind(void *config, const char *value, struct error *err) {
    struct slowapi_options *o = config;
    struct option_strings *binds = &o->config.binds;
    int scheme = listeners_take_scheme(&value, schemes);
    const char *params = find_params(value);
    struct slice address =
        slice_of(value, params != NULL ? (size_t)(params - value) : strlen(value));
    struct endpoint endpoint;

    if (binds->count == LISTENERS_MAX)
        return error_set(err, -EINVAL, "%d addresses at most", LISTENERS_MAX);
    if (params != NULL && check_params(slice_str(params + 1), err) < 0)
        return -EINVAL;

    char *text = o->addresses[binds->count];
    if (address.len >= sizeof(o->addresses[0]) || endpoint_parse(address, 0, &endpoint, NULL) < 0)
        return error_set(err, -EINVAL,
                         "HOST:PORT, :PORT, [IPv6]:PORT, unix:/path, or a port of 127.0.0.1, and "
                         "maybe ?PARAMS");
    snprintf(text, sizeof(o->addresses[0]), "%.*s", (int)address.len, address.ptr);
    o->config.bind_params[binds->count] = params != NULL ? params + 1 : NULL;
    o->schemes[binds->count] = scheme;
    binds->items[binds->count++] = text;
    return 0;
}

static int check_one(const char *name, const char *value, const char **ret, struct error *err) {
    struct arena memory;
    struct spec spec;

    arena_init(&memory, SLOWAPI_LIST_BYTES);
    spec_init(&spec, 0, &memory);
    *ret = value;
    int rc = param_set(&spec, slice_str(name), slice_str(value), err);
    arena_free(&memory);
    return rc;
}

static int parse_delay(void *config, const char *value, struct error *err) {
    return check_one("delay", value, &((struct slowapi_options *)config)->config.delay, err);
}

static int parse_profile(void *config, const char *value, struct error *err) {
    return check_one("profile", value, &((struct slowapi_options *)config)->config.profile, err);
}

static int parse_pause(void *config, const char *value, struct error *err) {
    return check_one("pause", value, &((struct slowapi_options *)config)->config.pause, err);
}

static int parse_params(void *config, const char *value, struct error *err) {
    struct option_strings *params = &((struct slowapi_options *)config)->config.params;

    if (params->count == OPTION_STRINGS_MAX)
        return error_set(err, -EINVAL, "%d times at most", OPTION_STRINGS_MAX);
    params->items[params->count++] = value;
    return check_params(slice_str(value), err);
}

static int parse_tcp(void *config, const char *value, struct error *err) {
    struct option_strings *tcp = &((struct slowapi_options *)config)->config.tcp;

    if (tcp->count == LISTENERS_MAX)
        return error_set(err, -EINVAL, "%d proxies at most", LISTENERS_MAX);
    tcp->items[tcp->count++] = value;
    return relay_table_check(value, err);
}

static int parse_control(void *config, const char *value, struct error *err) {
    ((struct slowapi_options *)config)->config.control = value;
    return control_check(value, err);
}

static int parse_upstream(void *config, const char *value, struct error *err) {
    bool is_secure;

    ((struct slowapi_options *)config)->config.upstream = value;
    return slow_upstream_check(value, &is_secure, err);
}

static int parse_cert_reqs(void *config, const char *value, struct error *err) {
    struct slowapi_options *o = config;

    return tls_files_parse_verify(value, &o->config.tls.verify, err);
}

static int parse_ssl_versions(void *config, const char *value, struct error *err) {
    struct tls_files *tls = &((struct slowapi_options *)config)->config.tls;

    return tls_files_parse_versions(value, &tls->version_min, &tls->version_max, err);
}

/* Options that say how a service is stood in front of need one: 0 or -EINVAL with a line. */
static int settle_upstream(struct slowapi_options *o, int argc, char **argv, struct error *err) {
    static const char *const wants[] = { "upstream-ca",
                                         "upstream-insecure",
                                         "upstream-connect-timeout",
                                         "upstream-timeout",
                                         "upstream-idle-timeout",
                                         "upstream-keep-alive",
                                         "preserve-host",
                                         "forwarded",
                                         "lenient" };
    bool is_secure = false;

    for (size_t i = 0; i < ARRAY_LEN(wants) && o->config.upstream == NULL; i++)
        if (option_in_arguments(&options_spec, argc, argv, wants[i]))
            return error_set(err, -EINVAL, "--%s: needs --upstream", wants[i]);
    if (o->config.upstream == NULL)
        return 0;
    if (slow_upstream_check(o->config.upstream, &is_secure, err) < 0)
        return -EINVAL;
    if (!is_secure && (o->config.upstream_ca != NULL || o->config.upstream_insecure))
        return error_set(err, -EINVAL, "--upstream-%s: the upstream does not speak TLS",
                         o->config.upstream_ca != NULL ? "ca" : "insecure");
    return 0;
}

/* Which addresses speak TLS, and whether options of TLS have one: 0 or -EINVAL with a line. */
static int settle_tls(struct slowapi_options *o, int argc, char **argv, struct error *err) {
    static const char *const wants[] = { "certfile", "keyfile", "tls-ca-out",  "cert-reqs",
                                         "ca-certs", "ciphers", "ssl-versions" };
    bool speaks = false;

    for (size_t i = 0; i < o->config.binds.count; i++) {
        o->config.secure[i] =
            o->schemes[i] > 0 || (o->schemes[i] < 0 && o->config.tls.certificates.count > 0);
        speaks |= o->config.secure[i];
    }
    for (size_t i = 0; i < ARRAY_LEN(wants) && !speaks; i++)
        if (option_in_arguments(&options_spec, argc, argv, wants[i]))
            return error_set(err, -EINVAL, "--%s: no address speaks TLS; give one as https://",
                             wants[i]);
    if (o->config.tls.trust != NULL && o->config.tls.verify == TLS_VERIFY_NONE)
        return error_set(err, -EINVAL,
                         "--ca-certs: needs --cert-reqs optional or required: no client is asked "
                         "for a certificate");
    return tls_files_check(&o->config.tls, err);
}

static int parse_and_run(int argc, char **argv, struct slowapi_options *options) {
    struct error err = { .text = "" };
    int code;

    if (cmd_parse(&options_spec, argc, argv, options, NULL, &code) < 0)
        return code;

    if (!option_in_arguments(&options_spec, argc, argv, "delay"))
        options->config.delay = NULL; /* a profile may give one */
    if (settle_tls(options, argc, argv, &err) < 0 ||
        settle_upstream(options, argc, argv, &err) < 0 ||
        defaults_check(&options->config, &err) < 0 ||
        control_hosts_check(&options->config.control_hosts, &err) < 0)
        return cmd_fail("slowapi", EXIT_USAGE, &err);

    if (options->config.from_status && options->config.from.count == 0) {
        error_set(&err, -EINVAL, "--from-status: needs --from, whose statuses come again");
        return cmd_fail("slowapi", EXIT_USAGE, &err);
    }
    if (options->config.journal > 0 && options->config.control == NULL) {
        error_set(&err, -EINVAL, "--journal: needs --control, which is asked for what it keeps");
        return cmd_fail("slowapi", EXIT_USAGE, &err);
    }

    log_set_level(options->config.log_level);
    code = slowapi_run(&options->config, &err);
    return code < 0 ? cmd_fail("slowapi", EXIT_CANNOT, &err) : code;
}

static int run(int argc, char **argv) {
    struct slowapi_options *options; /* more than a frame may hold */
    int code;

    if (argc == 2 && strcmp(argv[1], "--print-params") == 0) {
        route_print_rows(stdout);
        param_print_rows(stdout);
        relay_toxics_print_rows(stdout);
        return 0;
    }
    options = mem_calloc(1, sizeof(*options));
    if (options == NULL)
        return cmd_fail("slowapi", EXIT_CANNOT, &(struct error){ "out of memory" });
    code = parse_and_run(argc, argv, options);
    mem_free(options);
    return code;
}

const struct command cmd_slowapi = {
    .name = "slowapi",
    .summary = "an upstream that is slow on purpose",
    .options = &options_spec,
    .run = run,
};
