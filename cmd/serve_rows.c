/* SPDX-License-Identifier: MIT */
/* The options of srv serve as rows, in the order of --help. */
#include "cmd/serve_rows.h"
#include "cmd/common.h"
#include "server/conn/access_log.h"
#include "server/limits.h"
#include "server/model/model.h"
#include <errno.h>
#include <string.h>

static int parse_threads(void *config, const char *value, struct error *err);
static int parse_model(void *config, const char *value, struct error *err);
static int parse_forwarded_allow(void *config, const char *value, struct error *err);
static int parse_uwsgi_allow(void *config, const char *value, struct error *err);
static int parse_cert_reqs(void *config, const char *value, struct error *err);
static int parse_ssl_versions(void *config, const char *value, struct error *err);

#define THREADS_MAX    10000
#define CONFIG(member) offsetof(struct serve_options, config.member)

static const char *const db_mode_words[] = { "cooperative", "blocking", "patched",
                                             NULL };                   /* enum db_mode */
static const char *const db_prepare_words[] = { "auto", "off", NULL }; /* enum db_prepare */
static const char *const patch_words[] = { "auto", "on", "off", "report",
                                           NULL };                             /* enum patching */
static const char *const defer_words[] = { "auto", "on", "off", NULL };        /* defer_accept */
static const char *const protocol_words[] = { "http", "uwsgi", NULL };         /* enum protocol */
static const char *const header_map_words[] = { "drop", "refuse", NULL };      /* enum header_map */
static const char *const half_close_words[] = { "ask", "gone", "wait", NULL }; /* half_closing */
static const char *const spawn_words[] = { "lazy", "eager", NULL };            /* enum spawn */

static const char *const upstream_clients[] = { "native", "curl", NULL };
static const char *const upstream_families[] = { "any", "ipv4", "ipv6", NULL };

static const char *const model_words[] = { "green", "pool",   "threaded", "single",
                                           "event", "evhttp", NULL };

static const struct option_row serve_rows[] = {
    { .name = "bind",
      .letter = 'b',
      .topic = "Listening",
      .meta = "ADDR",
      .help =
          "Address to listen on: HOST:PORT, :PORT, [v6]:PORT, unix:/path, or PORT of 127.0.0.1, "
          "with http://, https:// or uwsgi:// before it if not as --protocol and --certfile say "
          "(default: 3000, or PORT_APP).",
      .type = OPTION_STRINGS,
      .offset = CONFIG(binds) },
    { .name = "backlog",
      .topic = "Listening",
      .meta = "N",
      .help = "Connections that the kernel may queue before they are accepted.",
      .type = OPTION_INT,
      .offset = CONFIG(backlog),
      .min = 1,
      .max = 1048576,
      .fallback = "2048" },
    { .name = "defer-accept",
      .topic = "Listening",
      .meta = "WHEN",
      .help = "Whether TCP connections wait in the kernel for their first bytes, a second at most: "
              "on, off, or auto (with several --workers, while connections bring requests along).",
      .type = OPTION_CHOICE,
      .offset = CONFIG(defer_accept),
      .fallback = "auto",
      .choices = defer_words },
    { .name = "certfile",
      .topic = "TLS",
      .meta = "FILE",
      .help =
          "Certificate and those that lead to its authority, PEM: addresses without a scheme "
          "speak https. Repeatable: SNI chooses, else the first one serves. HUP reads it again.",
      .type = OPTION_STRINGS,
      .offset = CONFIG(tls.certificates) },
    { .name = "keyfile",
      .topic = "TLS",
      .meta = "FILE",
      .help = "Private key of --certfile in PEM, without a passphrase; one for each, in the same "
              "order (default: it stands in the same file).",
      .type = OPTION_STRINGS,
      .offset = CONFIG(tls.keys) },
    { .name = "ocsp-file",
      .topic = "TLS",
      .meta = "FILE",
      .help = "What an OCSP responder says of a --certfile, DER: sent with it to clients that ask, "
              "until it expires. Repeatable. HUP reads it again.",
      .type = OPTION_STRINGS,
      .offset = CONFIG(tls.responses) },
    { .name = "cert-reqs",
      .topic = "TLS",
      .meta = "WHEN",
      .help = "Whether clients show a certificate: none (0) is asked for, optional (1), or "
              "required (2).",
      .type = OPTION_CUSTOM,
      .fallback = "none",
      .parse = parse_cert_reqs },
    { .name = "ca-certs",
      .topic = "TLS",
      .meta = "FILE",
      .help = "Authorities that certificates of clients are checked against, in PEM (default: "
              "those of the system).",
      .type = OPTION_STRING,
      .offset = CONFIG(tls.trust) },
    { .name = "ciphers",
      .topic = "TLS",
      .meta = "LIST",
      .help = "Ciphers, as openssl-ciphers(1) writes them, those of TLS 1.3 among them (default: "
              "OpenSSL's).",
      .type = OPTION_STRING,
      .offset = CONFIG(tls.ciphers) },
    { .name = "ssl-versions",
      .topic = "TLS",
      .meta = "LIST",
      .help = "Versions of TLS, separated by commas: TLSv1.2, TLSv1.3 or both.",
      .type = OPTION_CUSTOM,
      .fallback = "TLSv1.2,TLSv1.3",
      .parse = parse_ssl_versions },
    { .name = "protocol",
      .env = "PROTOCOL",
      .topic = "Behind a proxy",
      .meta = "NAME",
      .help =
          "What the addresses speak: http, or uwsgi, the binary protocol of nginx's uwsgi_pass.",
      .type = OPTION_CHOICE,
      .offset = offsetof(struct serve_options, protocol),
      .fallback = "http",
      .choices = protocol_words },
    { .name = "uwsgi-allow-from",
      .topic = "Behind a proxy",
      .meta = "LIST",
      .help =
          "Peers that may speak uwsgi, as ADDRESS, ADDRESS/BITS, unix or *, separated by commas; "
          "others get 403.",
      .type = OPTION_CUSTOM,
      .fallback = "127.0.0.0/8,::1,unix",
      .parse = parse_uwsgi_allow },
    { .name = "forwarded-allow-ips",
      .env = "FORWARDED_ALLOW_IPS",
      .topic = "Behind a proxy",
      .meta = "LIST",
      .help = "Peers whose X-Forwarded-For, X-Forwarded-Proto, Forwarded, X-Real-IP and PROXY "
              "headers are believed; written as --uwsgi-allow-from.",
      .type = OPTION_CUSTOM,
      .fallback = "127.0.0.0/8,::1,unix",
      .parse = parse_forwarded_allow },
    { .name = "request-id-header",
      .topic = "Behind a proxy",
      .meta = "NAME",
      .help = "Field with the id of a request, such as X-Request-ID: taken from the peers of "
              "--forwarded-allow-ips, and sent to the upstream; empty: each request has an id of "
              "its own, and no field.",
      .type = OPTION_STRING,
      .offset = CONFIG(request_id_header),
      .fallback = "" },
    { .name = "proxy-protocol",
      .topic = "Behind a proxy",
      .help = "Every connection begins with a PROXY header, version 1 or 2, from a peer in "
              "--forwarded-allow-ips.",
      .type = OPTION_FLAG,
      .offset = CONFIG(proxy_protocol) },
    { .name = "header-map",
      .topic = "Behind a proxy",
      .meta = "HOW",
      .help = "What to do with header fields that have an underscore in their names, which "
              "pass for others: drop them, or refuse the request with 400.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(header_map),
      .fallback = "drop",
      .choices = header_map_words },
    { .name = "model",
      .letter = 'k',
      .topic = "Concurrency",
      .meta = "MODEL",
      .help =
          "How requests wait: green (a fiber each), pool (a number of threads), threaded (a thread "
          "per connection), single (one at a time), event (callbacks) or evhttp (libevent's own "
          "server).",
      .type = OPTION_CUSTOM,
      .choices = model_words,
      .fallback = "green",
      .parse = parse_model },
    { .name = "workers",
      .letter = 'w',
      .env = "WORKERS",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Worker processes under a master; 0 serves in this process, without a master.",
      .type = OPTION_INT,
      .offset = CONFIG(workers),
      .min = 0,
      .max = 1000,
      .fallback = "0" },
    { .name = "threads",
      .env = "THREADS",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Threads of one pool worker, 1 to 10000: requests that it serves at once. In the "
              "environment also with or without, for --model threaded or single unless --model "
              "says another.",
      .type = OPTION_CUSTOM,
      .parse = parse_threads,
      .fallback = "50" },
    { .name = "spawn",
      .topic = "Concurrency",
      .meta = "WHEN",
      .help = "When a pool makes its threads: lazy (on demand) or eager (all at start).",
      .type = OPTION_CHOICE,
      .offset = CONFIG(spawn),
      .fallback = "lazy",
      .choices = spawn_words },
    { .name = "async-cores",
      .env = "ASYNC_CORES",
      .topic = "Concurrency",
      .meta = "N",
      .help =
          "Requests in progress of one green or event worker; 0 is no limit. More wait, first in "
          "first out; of several workers a full one stops accepting.",
      .type = OPTION_INT,
      .offset = CONFIG(async_cores),
      .min = 0,
      .max = 30000,
      .fallback = "0" },
    { .name = "max-queue",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Requests of one pool, green or event worker that may wait for a slot; beyond that "
              "503 at once; -1 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(max_queue),
      .min = -1,
      .max = 1000000,
      .fallback = "-1" },
    { .name = "queue-timeout",
      .topic = "Concurrency",
      .meta = "TIME",
      .help = "Longest time that a request waits for a slot, for a call of the upstream "
              "(--upstream-max), or for a database connection; then 503; 0 is no limit.",
      .type = OPTION_DURATION,
      .offset = CONFIG(queue_timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "max-threads",
      .topic = "Concurrency",
      .meta = "N",
      .help = "Connections that the threaded model serves at once; more get 503; 0 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(max_threads),
      .min = 0,
      .max = 30000,
      .fallback = "0" },
    { .name = "upstream",
      .topic = "Upstream",
      .meta = "URL",
      .help = "The slow API that handlers call (default: http://127.0.0.1:4000/, or the port in "
              "PORT_API).",
      .type = OPTION_STRING,
      .offset = CONFIG(upstream_url) },
    { .name = "upstream-client",
      .topic = "Upstream",
      .meta = "CLIENT",
      .help = "Client that calls the upstream: native, or curl (libcurl: HTTP/2 where "
              "offered, proxies from the environment).",
      .type = OPTION_CHOICE,
      .offset = CONFIG(upstream_client),
      .fallback = "native",
      .choices = upstream_clients },
    { .name = "upstream-ca",
      .topic = "Upstream",
      .meta = "FILE",
      .help = "Trusted certificates for https:// upstreams, PEM (default: the system's).",
      .type = OPTION_STRING,
      .offset = CONFIG(upstream_ca) },
    { .name = "upstream-insecure",
      .topic = "Upstream",
      .help = "Take any certificate of https:// upstreams, whoever has signed it.",
      .type = OPTION_FLAG,
      .offset = CONFIG(upstream_insecure) },
    { .name = "upstream-cert",
      .topic = "Upstream",
      .meta = "FILE",
      .help = "Our certificate for https:// upstreams that ask for one, PEM, with those that lead "
              "to its authority.",
      .type = OPTION_STRING,
      .offset = CONFIG(upstream_cert) },
    { .name = "upstream-key",
      .topic = "Upstream",
      .meta = "FILE",
      .help = "Key of --upstream-cert, PEM (default: it stands in the same file).",
      .type = OPTION_STRING,
      .offset = CONFIG(upstream_key) },
    { .name = "upstream-resolve",
      .topic = "Upstream",
      .meta = "HOST:PORT:ADDRESS[,...]",
      .help = "Take these addresses for the name instead of looking it up; repeatable. All "
              "addresses of a name are used in turns.",
      .type = OPTION_STRINGS,
      .offset = CONFIG(upstream_resolve) },
    { .name = "upstream-family",
      .topic = "Upstream",
      .help = "Connect to addresses of this family only.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(upstream_family),
      .fallback = "any",
      .choices = upstream_families },
    { .name = "upstream-bind",
      .topic = "Upstream",
      .meta = "IP",
      .help = "Address of this host that connections to the upstream come from; repeated, the "
              "workers take turns: each address has ports of its own.",
      .type = OPTION_STRINGS,
      .offset = CONFIG(upstream_binds) },
    { .name = "upstream-timeout",
      .topic = "Upstream",
      .meta = "TIME",
      .help = "Longest time of one call, from connecting to the last byte; then 504.",
      .type = OPTION_DURATION,
      .offset = CONFIG(upstream_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "60s" },
    { .name = "upstream-max",
      .topic = "Upstream",
      .meta = "N",
      .help =
          "Calls in progress of one worker, to each server by itself; more wait in turn, and get "
          "503 after --queue-timeout; 0 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(upstream_max),
      .min = 0,
      .max = 1000000,
      .fallback = "0" },
    { .name = "db",
      .topic = "Database",
      .meta = "CONNINFO",
      .help = "PostgreSQL of the app db, as libpq takes it: 'host=... dbname=...' or "
              "postgresql://...; PG* variables fill in what is missing.",
      .type = OPTION_STRING,
      .offset = CONFIG(db.conninfo),
      .fallback = "" },
    { .name = "db-mode",
      .topic = "Database",
      .help = "How libpq waits: cooperative lets others run, blocking stops the thread (all of a "
              "green worker), patched lets blocking code park. MODULE=app, MODULE=patched mean "
              "blocking, cooperative.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(db.mode),
      .fallback = "cooperative",
      .choices = db_mode_words },
    { .name = "db-pool",
      .topic = "Database",
      .meta = "N",
      .help = "Connections of one worker; requests beyond them wait, first in first out.",
      .type = OPTION_INT,
      .offset = CONFIG(db.pool),
      .min = 1,
      .max = 10000,
      .fallback = "10" },
    { .name = "db-connect-per-request",
      .topic = "Database",
      .help = "Open a connection for each statement and close it, instead of keeping a pool.",
      .type = OPTION_FLAG,
      .offset = CONFIG(db.per_request) },
    { .name = "db-timeout",
      .topic = "Database",
      .meta = "TIME",
      .help = "Longest time for connecting and running one statement; then 504; blocking mode "
              "keeps it only while connecting.",
      .type = OPTION_DURATION,
      .offset = CONFIG(db.timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "60s" },
    { .name = "db-prepare",
      .topic = "Database",
      .help = "Prepare each statement once per connection: auto gives it up when the database "
              "loses them, as behind a pooler in transaction mode; off never does.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(db.prepare),
      .fallback = "auto",
      .choices = db_prepare_words },
    { .name = "db-idle",
      .topic = "Database",
      .meta = "TIME",
      .help = "Close a connection that was idle for this long; 0 is never.",
      .type = OPTION_DURATION,
      .offset = CONFIG(db.idle),
      .min = 0,
      .max = 30 * 86400 * NSEC_PER_SEC,
      .fallback = "600s" },
    { .name = "db-lifetime",
      .topic = "Database",
      .meta = "TIME",
      .help = "Close an idle connection of this age, or up to a tenth younger; 0 is never.",
      .type = OPTION_DURATION,
      .offset = CONFIG(db.lifetime),
      .min = 0,
      .max = 30 * 86400 * NSEC_PER_SEC,
      .fallback = "3600s" },
    { .name = "db-reset",
      .topic = "Database",
      .meta = "SQL",
      .help = "Run this when a connection is given back ('DISCARD ALL'), within a second; it is "
              "closed when that fails.",
      .type = OPTION_STRING,
      .offset = CONFIG(db.reset),
      .fallback = "" },
    { .name = "db-result-max",
      .topic = "Database",
      .meta = "BYTES",
      .help = "Largest result of a statement, with 16 bytes for each value; then 500, and the "
              "statement is cancelled.",
      .type = OPTION_SIZE,
      .offset = CONFIG(db.result_bytes_max),
      .min = 1024,
      .max = SERVER_ARENA_BYTES_MAX,
      .fallback = "32m" },
    { .name = "header-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest time for a request's head to arrive; then 408.",
      .type = OPTION_DURATION,
      .offset = CONFIG(header_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "10s" },
    { .name = "body-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest silence while a request's body arrives; then 408.",
      .type = OPTION_DURATION,
      .offset = CONFIG(body_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "body-rate",
      .topic = "Clients",
      .meta = "BYTES",
      .help = "Bytes per second that a request's body must bring on average, after a first "
              "--body-timeout; then 408; 0 is no bound.",
      .type = OPTION_SIZE,
      .offset = CONFIG(body_rate),
      .min = 0,
      .max = 1073741824,
      .fallback = "240" },
    { .name = "half-close",
      .topic = "Clients",
      .help = "What to make of a client that closes its sending side while its request waits: "
              "ask it after 2 s, or sooner while others wait for a slot; or take it as gone; "
              "or wait.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(half_close),
      .fallback = "ask",
      .choices = half_close_words },
    { .name = "send-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest time for a client to take its answer; then the connection is closed.",
      .type = OPTION_DURATION,
      .offset = CONFIG(send_timeout),
      .min = NSEC_PER_MSEC,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "keep-alive",
      .topic = "Clients",
      .meta = "TIME",
      .help = "How long an idle connection is kept for the next request; 0 closes after each.",
      .type = OPTION_DURATION,
      .offset = CONFIG(keep_alive),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "5s" },
    { .name = "keep-alive-requests",
      .topic = "Clients",
      .meta = "N",
      .help = "Requests served on one connection before it is closed; 0 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(keep_alive_requests),
      .min = 0,
      .max = UINT32_MAX,
      .fallback = "0" },
    { .name = "request-timeout",
      .topic = "Clients",
      .meta = "TIME",
      .help = "Longest time from a complete request to its answer, queueing included; then 504 for "
              "this request alone; 0 is no limit.",
      .type = OPTION_DURATION,
      .offset = CONFIG(request_timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "limit-request-line",
      .topic = "Limits",
      .meta = "BYTES",
      .help = "Longest request line; then 414.",
      .type = OPTION_INT,
      .offset = offsetof(struct serve_options, request_line),
      .min = 16,
      .max = 65536,
      .fallback = "8190" },
    { .name = "limit-request-fields",
      .topic = "Limits",
      .meta = "N",
      .help = "Header fields of one request; then 431.",
      .type = OPTION_INT,
      .offset = offsetof(struct serve_options, request_fields),
      .min = 1,
      .max = 32768,
      .fallback = "100" },
    { .name = "limit-request-field-size",
      .topic = "Limits",
      .meta = "BYTES",
      .help =
          "Longest header field, name and value; then 431. A whole head may have 64 KiB, or one "
          "request line and one field when these may be longer.",
      .type = OPTION_INT,
      .offset = offsetof(struct serve_options, field_size),
      .min = 16,
      .max = 262144,
      .fallback = "8190" },
    { .name = "limit-request-body",
      .topic = "Limits",
      .meta = "SIZE",
      .help = "Largest request body; then 413.",
      .type = OPTION_SIZE,
      .offset = offsetof(struct serve_options, request_body),
      .min = 0,
      .max = 1073741824,
      .fallback = "1m" },
    { .name = "health-path",
      .env = "HEALTH_PATH",
      .topic = "Operating",
      .meta = "PATH",
      .help =
          "Answer GET of this path with 200 (503 once a stop has begun) without a slot, the app "
          "or the upstream.",
      .type = OPTION_STRING,
      .offset = CONFIG(health_path) },
    { .name = "check-config",
      .topic = "Operating",
      .help = "Check the options, and the application by its own check, and exit: 0 when all is "
              "good, 2 with the reason when it is not. Nothing is bound.",
      .type = OPTION_FLAG,
      .offset = offsetof(struct serve_options, check_config) },
    { .name = "pid",
      .topic = "Operating",
      .meta = "FILE",
      .help = "File to write the process to signal into (the master, when there is one).",
      .type = OPTION_STRING,
      .offset = CONFIG(pid_path) },
    { .name = "user",
      .topic = "Operating",
      .meta = "NAME",
      .help = "User to become once the sockets and the pid file are open, with its groups.",
      .type = OPTION_STRING,
      .offset = CONFIG(user) },
    { .name = "group",
      .topic = "Operating",
      .meta = "NAME",
      .help = "Group to become (default: the user's own, with --user).",
      .type = OPTION_STRING,
      .offset = CONFIG(group) },
    { .name = "max-requests",
      .topic = "Operating",
      .meta = "N",
      .help = "Answers that a worker gives before a fresh one replaces it, without loss; needs "
              "--workers; 0 is no limit.",
      .type = OPTION_INT,
      .offset = CONFIG(max_requests),
      .min = 0,
      .max = INT32_MAX,
      .fallback = "0" },
    { .name = "max-requests-jitter",
      .topic = "Operating",
      .meta = "N",
      .help = "Adds a random number up to this to each worker's --max-requests, so that they are "
              "not replaced all at once.",
      .type = OPTION_INT,
      .offset = CONFIG(max_requests_jitter),
      .min = 0,
      .max = INT32_MAX,
      .fallback = "0" },
    { .name = "graceful-timeout",
      .topic = "Operating",
      .meta = "TIME",
      .help = "How long SIGTERM lets running requests finish, and idle connections send one more.",
      .type = OPTION_DURATION,
      .offset = CONFIG(graceful_timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "graceful-delay",
      .topic = "Operating",
      .meta = "TIME",
      .help = "How long to go on accepting after SIGTERM, while /readyz and --health-path "
              "answer 503, so that load balancers notice.",
      .type = OPTION_DURATION,
      .offset = CONFIG(graceful_delay),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "timeout",
      .topic = "Operating",
      .meta = "TIME",
      .help = "Kill and replace a worker that makes no progress for this long; needs "
              "--workers; 0 is never.",
      .type = OPTION_DURATION,
      .offset = CONFIG(timeout),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "30s" },
    { .name = "access-logfile",
      .topic = "Seeing",
      .meta = "FILE",
      .help = "Write a line per answer to FILE, or - for standard output; written by a process of "
              "its own, so that nothing waits for a disk. USR1 opens it anew.",
      .type = OPTION_STRING,
      .offset = CONFIG(access_log.path) },
    { .name = "access-logformat",
      .topic = "Seeing",
      .meta = "FORMAT",
      .help = "gunicorn's atoms, and %(queue)s %(upstream)s %(database)s (milliseconds), "
              "%(worker)s, %(model)s, %(id)s, %(subject)s; or json.",
      .type = OPTION_STRING,
      .offset = CONFIG(access_log.format),
      .fallback = ACCESS_LOG_FORMAT },
    { .name = "access-log-slow",
      .topic = "Seeing",
      .meta = "TIME",
      .help = "Log only answers that took at least this long.",
      .type = OPTION_DURATION,
      .offset = CONFIG(access_log.slow),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "loop-lag-warn",
      .topic = "Seeing",
      .meta = "TIME",
      .help = "Log a warning when a turn of a worker's loop takes so long, with the request and "
              "the system call that held it up; 0 is off.",
      .type = OPTION_DURATION,
      .offset = CONFIG(loop_lag_warn),
      .min = 0,
      .max = 86400 * NSEC_PER_SEC,
      .fallback = "0" },
    { .name = "server-timing",
      .topic = "Seeing",
      .help = "Tell each client in Server-Timing how long its request took: queue, handler, "
              "upstream and db, in milliseconds. It tells strangers, too.",
      .type = OPTION_FLAG,
      .offset = CONFIG(server_timing) },
    { .name = "control",
      .topic = "Seeing",
      .meta = "ADDR",
      .help = "Address of the control endpoint: /metrics, /stats, /requests, /healthz, /readyz.",
      .type = OPTION_STRING,
      .offset = CONFIG(control) },
    { .name = "control-host",
      .topic = "Seeing",
      .meta = "NAME",
      .help = "Host name that requests to the control endpoint may have, beside numeric ones "
              "and localhost, against pages in browsers; repeatable.",
      .type = OPTION_STRINGS,
      .offset = CONFIG(control_hosts) },
    { .name = "control-queries",
      .topic = "Seeing",
      .help = "Let /requests show the query strings of targets, which may hold secrets.",
      .type = OPTION_FLAG,
      .offset = CONFIG(control_queries) },
    { .name = "log-level",
      .topic = "Seeing",
      .meta = "LEVEL",
      .help = "What goes to stderr.",
      .type = OPTION_CHOICE,
      .offset = offsetof(struct serve_options, log_level),
      .fallback = "info",
      .choices = cmd_log_levels },
    { .name = "new",
      .topic = "Your own handler",
      .meta = "NAME",
      .help = "Make the folder NAME with an application, its build and its test, say what to type "
              "next, and end.",
      .type = OPTION_STRING,
      .offset = offsetof(struct serve_options, new_name) },
    { .name = "patch",
      .env = "SRV_PATCH",
      .topic = "Your own handler",
      .meta = "WHEN",
      .help =
          "Under the green model let waits of unmodified libraries (poll, recv, sleep, ...) park "
          "instead of blocking: auto (with objects and sources), on, off; or only report what "
          "of APP and its libraries parks.",
      .type = OPTION_CHOICE,
      .offset = CONFIG(patch),
      .fallback = "auto",
      .choices = patch_words },
    { .name = "reload",
      .topic = "Your own handler",
      .help = "For development: take new code when the object, or the source and what it includes, "
              "changes; with one worker, unless --workers says more.",
      .type = OPTION_FLAG,
      .offset = CONFIG(reload) },
    { .name = "print-header",
      .topic = "Your own handler",
      .help = "Print <srv/app.h>, with which objects of your own are built, and end.",
      .type = OPTION_FLAG,
      .offset = offsetof(struct serve_options, print_header) },
};

const struct option_spec serve_spec = {
    .usage = "srv serve [options] [APP [KEY=VALUE...]]",
    .summary = "An app server: one handler, every concurrency model.",
    .epilog = "APP is one of\n"
              "  index  GET /?delay=S answers 'Hi there! ' and what the upstream said after S\n"
              "         seconds (default, unless MODULE names another)\n"
              "  db     the same with half of S there and half in PostgreSQL\n"
              "  cpu    the same with half of S there and half computing\n"
              "  self   asks this very server, which --upstream has to name; the answer takes S\n"
              "  echo   answers with what it saw of the request\n"
              "  curl   as index, by libcurl's blocking call; url=URL is what it asks (--patch)\n"
              "or your own (docs/handlers.md): a shared object, ./app.so, or its source, app.c,\n"
              "which is compiled with $CC and $CFLAGS (.cc, .cpp, .cxx: $CXX and $CXXFLAGS). It\n"
              "reads the KEY=VALUE behind it, or else SRV_APP_KEY of the environment.\n\n"
              "SIGTERM answers what is here and leaves; a second one, SIGINT or SIGQUIT leave\n"
              "at once. With --workers, SIGHUP replaces the workers and SIGUSR2 the program; no\n"
              "request is lost.",
    .rows = serve_rows,
    .row_count = ARRAY_LEN(serve_rows),
    .positional = "APP",
    .positional_max = OPTION_STRINGS_MAX,
};

/* Reads THREADS. The tutorial starts Flask's server with THREADS=with or THREADS=without: these
 * words choose the model here when --model does not. */
static int parse_threads(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;
    uint64_t count;

    if (strcmp(value, "with") == 0)
        o->threads_model = &model_threaded;
    else if (strcmp(value, "without") == 0)
        o->threads_model = &model_single;
    else if (slice_parse_u64(slice_str(value), THREADS_MAX, &count) == 0 && count > 0)
        o->config.threads = (int64_t)count;
    else
        return error_set(err, -EINVAL,
                         "a whole number from 1 to %d, or in the environment with or "
                         "without",
                         THREADS_MAX);
    return 0;
}

static int parse_model(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    o->config.model = model_find(value);
    if (o->config.model == NULL)
        return error_set(err, -EINVAL, "green, pool, threaded, single, event or evhttp");
    return 0;
}

static int parse_forwarded_allow(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    return cidr_list_parse(value, &o->config.forwarded_allow, err);
}

static int parse_cert_reqs(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    return tls_files_parse_verify(value, &o->config.tls.verify, err);
}

static int parse_ssl_versions(void *config, const char *value, struct error *err) {
    struct tls_files *tls = &((struct serve_options *)config)->config.tls;

    return tls_files_parse_versions(value, &tls->version_min, &tls->version_max, err);
}

static int parse_uwsgi_allow(void *config, const char *value, struct error *err) {
    struct serve_options *o = config;

    return cidr_list_parse(value, &o->config.uwsgi_allow, err);
}
