/* SPDX-License-Identifier: MIT */
/* The upstream, as the URL says where it is and how it is asked; and one request to it without its
 * socket, for every client: the straight one (server/upstream/upstream.c), the one of callbacks
 * (server/upstream/event.c), and libcurl's (server/upstream/curl.c).
 *
 *   exchange_init(&x, &target, &request, &arena)    once per request
 *   exchange_begin(&x, uses)                    once per connection that is tried
 *   exchange_request(&x, &out)                  then write `out`, and the body of the request
 *   exchange_room(&x), read, exchange_take(&x, n)   until that is not 0
 */
#ifndef SERVER_EXCHANGE_H
#define SERVER_EXCHANGE_H

#include "base/arena.h"
#include "fiber/resolve.h"
#include "http/conn.h"
#include "http/url.h"
#include "net/tls.h"

/* The upstream as the configuration has it. */
struct upstream_config {
    const char *url;            /* http[s]://host[:port][/path]; must outlive the upstream */
    bool bare;                  /* requests say the whole target, and unix:/path is a host, too */
    nsec_t timeout;             /* span of one exchange, from connect to the last byte */
    struct tls_context *tls;    /* for https, by our own client; NULL: it cannot */
    bool curl;                  /* through libcurl, which reads these itself (PEM): */
    const char *ca_path;        /* trusted certificates; NULL: the system's */
    const char *cert_path;      /* our certificate, for servers that ask; NULL: none */
    const char *key_path;       /* the key of it; NULL: in the same file */
    bool insecure;              /* any certificate will do */
    const char *bind;           /* numeric IP address to connect from; NULL: the kernel's choice */
    struct resolve_rules rules; /* for the host's name; its texts must outlive the upstream */
};

/* The URL, and what follows from it. */
struct upstream_target {
    struct http_url url;      /* slices into the configured text */
    struct endpoint endpoint; /* looked up when the address is not numeric */
    struct resolve_rules rules;
    struct address address;
    struct address from;     /* len 0: the kernel chooses */
    struct tls_context *tls; /* https by our own client; NULL: http, or libcurl */
    char name[256];          /* the host, for SNI, and demanded of its certificate */
    char host[300];          /* the text for Host */
    nsec_t timeout;          /* span of one exchange */
    struct http_limits limits;
    bool numeric; /* `address` is known, no look-up is needed */
};

/* A request. All zero but for `suffix`: a GET. Its texts must outlive the call. */
struct upstream_request {
    struct slice suffix; /* appended to the target of the URL */
    enum http_method method;
    struct slice method_text; /* HTTP_METHOD_OTHER's; else empty */
    struct slice host;        /* for Host, instead of the URL's; or empty */
    const struct http_field *fields;
    size_t field_count;
    struct slice body; /* ptr NULL: none, and no length is sent */
    nsec_t timeout;    /* span of the exchange; 0: the upstream's own */
    bool retries;      /* may be sent twice, whatever its method */
};

struct upstream_answer {
    uint16_t status;
    struct slice fields; /* raw field lines, in the arena: the receiver may write to them */
    struct slice body;   /* in the arena, with a NUL behind it; ptr is never NULL */
};

struct upstream_exchange {
    const struct upstream_target *target;
    const struct upstream_request *request;
    struct arena *arena; /* the request's */
    const char *why;     /* the failure in one line: static, or in the arena */
    struct http_conn http;
    struct buf in; /* received, not parsed yet */
    struct slice fields;
    char *body; /* gathered in the arena */
    size_t body_len, body_cap;
    uint64_t expected; /* bytes of the body, when they were announced; else 0 */
    uint32_t uses;     /* earlier requests on this connection */
    uint16_t status;
    bool got_bytes; /* the answer has begun */
};

struct serve_config;
/* The way of worker number `worker` (from 1) to the upstream; source addresses take turns among
 * workers. `tls` as the struct has it. */
struct upstream_config upstream_config_of(const struct serve_config *config, unsigned worker,
                                          struct tls_context *tls);

/* Checks of a URL and of a source address, without the network: 0 or -EINVAL with a reason. */
NODISCARD int upstream_target_check(const char *url, struct error *err);
NODISCARD int upstream_target_check_bind(const char *address, struct error *err);

/* Whether this URL is one of https. */
bool upstream_target_is_https(const char *url);

/* `config` as for upstream_new, whose texts must outlive the target. 0 or -errno with a reason. */
NODISCARD int upstream_target_init(struct upstream_target *t, const struct upstream_config *config,
                                   struct error *err);

/* The source address of connections; NULL leaves it to the kernel. */
const struct address *upstream_target_source(const struct upstream_target *t);

void exchange_init(struct upstream_exchange *x, const struct upstream_target *target,
                   const struct upstream_request *request, struct arena *arena);

/* A connection is there, used `uses` times before. */
void exchange_begin(struct upstream_exchange *x, uint32_t uses);

/* Encodes the head of the request into `out`. 0; -EINVAL: a part of it must not be sent; -EMSGSIZE:
 * it is larger than `out` may be; -ENOMEM. */
NODISCARD int exchange_request(struct upstream_exchange *x, struct buf *out);

/* Room for the next read into `in`. 0, or -errno as buf_reserve. */
NODISCARD int exchange_room(struct upstream_exchange *x);

/* Takes `size` bytes that were read into `in`; 0: the upstream has closed its side. 1 when the
 * answer is complete, 0 when more bytes are needed; -ECONNRESET, -EPROTO, -EMSGSIZE, -ENOMEM. */
NODISCARD int exchange_take(struct upstream_exchange *x, size_t size);

/* Copies the field lines of the answer into the arena, with room for a small body behind them;
 * before the body. 0, -ENOMEM. */
NODISCARD int exchange_keep_fields(struct upstream_exchange *x, struct slice fields);

/* Appends a piece of the body, whose room grows by doubling; outgrown room stays in the arena until
 * the request ends. exchange_take does this itself. 0, -ENOMEM, or -EMSGSIZE above
 * SERVER_UPSTREAM_BODY_BYTES_MAX. */
NODISCARD int exchange_append(struct upstream_exchange *x, struct slice piece);

/* After a complete answer: whether the connection may serve another request. */
bool exchange_keeps(struct upstream_exchange *x);

/* Whether a request may be sent once more when nobody knows what became of it: methods that are
 * idempotent (RFC 9110 section 9.2.2), and what the caller says so of. */
bool exchange_may_retry(const struct upstream_request *request);

/* Died before a byte came: on a reused connection that is the server's idle time-out racing with
 * us, and another connection may be tried if the request may (RFC 9112 section 9.3.1). */
bool exchange_was_stale(const struct upstream_exchange *x, int rc);

/* Puts "upstream WHAT: reason" into `why`, or that it did not answer in time, and returns rc. */
int exchange_fail(struct upstream_exchange *x, int rc, const char *what);

/* Says in `why` how a connection failed, which goes through `tls`; NULL, or one that is well: as
 * exchange_fail. Returns rc, but for an end that was not announced, which is as that of a
 * connection without TLS, or as a bad answer. */
int exchange_fail_within(struct upstream_exchange *x, int rc, const struct tls *tls,
                         const char *what);

/* Says in `why` that the answer is bad, or that there was none. -EPROTO; -EMSGSIZE for
 * http_err_body_large; -ECONNRESET. */
NODISCARD int exchange_refuse(struct upstream_exchange *x, const char *why);

struct upstream_answer exchange_answer(const struct upstream_exchange *x);

/* Gives the receive buffer back. */
void exchange_end(struct upstream_exchange *x);

#endif
