/* SPDX-License-Identifier: MIT */
/* Drives libcurl, and lets our own codec judge what it brings. */
#include "server/upstream/curl_lane.h"
#include "base/alloc.h"
#include "server/limits.h"
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static_assert(sizeof(((struct curl_lane *)0)->error_text) >= CURL_ERROR_SIZE,
              "curl writes so much into it");

/* The loop may watch it: it must forget the number before the kernel gives it to another. */
static void forget(const struct curl_lane *lane, int fd) {
    if (lane->config->fiber_io != NULL)
        io_fiber_io(lane->config->fiber_io)->ops->forget(io_fiber_io(lane->config->fiber_io), fd);
}

/* --- what curl calls ------------------------------------------------------------- */

static int on_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg, void *own UNUSED) {
    struct curl_lane *lane = arg;
    unsigned i = 0;

    while (i < lane->socket_count && lane->sockets[i].fd != fd)
        i++;
    if (what == CURL_POLL_REMOVE) {
        if (i < lane->socket_count)
            lane->sockets[i] = lane->sockets[--lane->socket_count];
        if (fd != lane->kept) /* else on_close says when; others curl may close by itself */
            forget(lane, fd);
        return 0;
    }
    if (i == CURL_LANE_SOCKETS_MAX)
        return -1;
    lane->sockets[i].fd = fd;
    lane->sockets[i].what =
        ((what & CURL_POLL_IN) ? IO_READ : 0u) | ((what & CURL_POLL_OUT) ? IO_WRITE : 0u);
    if (i == lane->socket_count)
        lane->socket_count++;
    return 0;
}

static int on_timer(CURLM *multi UNUSED, long timeout_ms, void *arg) {
    struct curl_lane *lane = arg;

    lane->timer = timeout_ms < 0 ? NSEC_NEVER
                                 : deadline_after(clock_now(), (nsec_t)timeout_ms * NSEC_PER_MSEC);
    return 0;
}

/* Of the connection of the transfer in progress; NULL: it has none, or not OpenSSL's. */
static SSL *tls_of(const struct curl_lane *lane) {
    struct curl_tlssessioninfo *tls = NULL;

    if (curl_easy_getinfo(lane->easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL ||
        tls->backend != CURLSSLBACKEND_OPENSSL)
        return NULL;
    return tls->internals;
}

/* Behind an answer, where no socket shows it. */
static bool tls_holds_more(const struct curl_lane *lane) {
    const SSL *tls = lane->multiplexed ? NULL : tls_of(lane);

    return tls != NULL && SSL_pending(tls) > 0;
}

/* As was agreed with the connection, whatever an answer says of itself (RFC 9113 section 3.2). */
static bool speaks_http2(const struct curl_lane *lane) {
    const SSL *tls = tls_of(lane);
    const unsigned char *name = NULL;
    unsigned len = 0;

    if (tls != NULL)
        SSL_get0_alpn_selected(tls, &name, &len);
    return slice_eq(slice_of((const char *)name, len), SLICE("h2"));
}

/* curl forgives answers that may mean two things; our codec does not. False: no more of it. */
static bool feed(struct curl_lane *lane, struct slice data) {
    struct upstream_exchange *x = &lane->exchange;

    for (; data.len > 0 && lane->fed == 0; data = slice_drop(data, SERVER_RECV_BYTES)) {
        struct slice piece = slice_take(data, SERVER_RECV_BYTES);

        lane->fed = exchange_room(x);
        if (lane->fed < 0) {
            exchange_fail(x, lane->fed, "failed");
            return false;
        }
        memcpy(buf_tail(&x->in), piece.ptr, piece.len);
        lane->fed = exchange_take(x, piece.len);
    }
    lane->excess |= data.len > 0 || (lane->fed == 1 && tls_holds_more(lane));
    return lane->fed >= 0;
}

/* One line of a head, as it came; of HTTP/2, which only https speaks, as HTTP/1 would say it. What
 * comes after the head are trailers of HTTP/2. */
static size_t on_header(char *data, size_t size, size_t count, void *arg) {
    struct curl_lane *lane = arg;
    struct slice line = slice_of(data, size * count), version = SLICE("HTTP/2");
    bool https = slice_eq(lane->config->target->url.scheme, SLICE("https"));

    if (lane->exchange.http.phase != HTTP_PHASE_HEAD)
        return line.len;
    if (https && speaks_http2(lane) && line.len > version.len &&
        memcmp(line.ptr, "HTTP/2 ", version.len + 1) == 0) {
        lane->multiplexed = true;
        if (!feed(lane, SLICE("HTTP/1.1")))
            return 0;
        data += version.len;
    }
    return feed(lane, slice_of(data, (size_t)(line.ptr + line.len - data))) ? line.len : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    return feed(arg, slice_of(data, size * count)) ? size * count : 0;
}

static void leave_place(struct curl_lane *lane) {
    if (lane->place != NULL)
        gate_leave(lane->place);
    lane->place = NULL;
}

/* As libcurl does it, but it does not tell why this failed. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose UNUSED, struct curl_sockaddr *at) {
    struct curl_lane *lane = arg;
    int fd = socket(at->family, at->socktype | SOCK_CLOEXEC, at->protocol);

    if (fd < 0)
        lane->socket_error = errno;
    return fd >= 0 ? fd : CURL_SOCKET_BAD;
}

/* There is an address to connect to. */
static int on_connect(void *arg, curl_socket_t fd UNUSED, curlsocktype why UNUSED) {
    struct curl_lane *lane = arg;

    lane->looking_up = false;
    leave_place(lane);
    return CURL_SOCKOPT_OK;
}

static int on_close(void *arg, curl_socket_t fd) {
    struct curl_lane *lane = arg;

    if (fd == lane->kept)
        lane->kept = -1;
    forget(lane, fd);
    return close(fd);
}

/* --- life ------------------------------------------------------------------------- */

bool curl_lane_global_init(void) {
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

void curl_lane_global_free(void) {
    curl_global_cleanup();
}

void curl_lane_free(struct curl_lane *lane) {
    if (lane == NULL)
        return;
    if (lane->easy != NULL)
        curl_easy_cleanup(lane->easy);
    if (lane->multi != NULL)
        curl_multi_cleanup(lane->multi);
    curl_slist_free_all(lane->overrides);
    mem_free(lane);
}

/* Each lane begins with one of the addresses at random: libcurl has no turns. */
static bool choose_addresses(struct curl_lane *lane, const struct resolve_rules *rules) {
    long family = rules->family == AF_INET    ? CURL_IPRESOLVE_V4
                  : rules->family == AF_INET6 ? CURL_IPRESOLVE_V6
                                              : CURL_IPRESOLVE_WHATEVER;

    for (size_t i = 0; i < rules->override_count; i++) {
        struct curl_slist *list = curl_slist_append(lane->overrides, rules->overrides[i]);

        if (list == NULL)
            return false;
        lane->overrides = list;
    }
    return curl_easy_setopt(lane->easy, CURLOPT_RESOLVE, lane->overrides) == CURLE_OK &&
           curl_easy_setopt(lane->easy, CURLOPT_IPRESOLVE, family) == CURLE_OK &&
           curl_easy_setopt(lane->easy, CURLOPT_DNS_SHUFFLE_ADDRESSES, 1L) == CURLE_OK;
}

static bool lane_configure(struct curl_lane *lane, const struct curl_lane_config *config) {
    CURL *e = lane->easy;

    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, 1L);
    if (config->ca_path != NULL && curl_easy_setopt(e, CURLOPT_CAINFO, config->ca_path) != CURLE_OK)
        return false;
    if (config->bind != NULL && curl_easy_setopt(e, CURLOPT_INTERFACE, config->bind) != CURLE_OK)
        return false;
    if (!choose_addresses(lane, &config->target->rules))
        return false;
    return curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, lane) == CURLE_OK &&
           /* not what the proxy says before the upstream does; chunks as they come */
           curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_TRANSFER_DECODING, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_connect) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SOCKOPTDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, lane->error_text) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           /* else the end of a call waits for the thread that looks its name up */
           curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, 0x7fffffffL) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
}

struct curl_lane *curl_lane_new(const struct curl_lane_config *config) {
    struct curl_lane *lane = mem_calloc(1, sizeof(*lane));

    if (lane == NULL)
        return NULL;
    lane->config = config;
    lane->kept = -1;
    lane->multi = curl_multi_init();
    lane->easy = curl_easy_init();
    if (lane->multi == NULL || lane->easy == NULL || !lane_configure(lane, config)) {
        curl_lane_free(lane);
        return NULL;
    }
    return lane;
}

bool curl_lane_is_spent(const struct curl_lane *lane) {
    char byte;
    ssize_t n = recv(lane->kept, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (n < 0)
        return errno != EAGAIN && errno != EINTR;
    return n == 0 || !lane->multiplexed;
}

/* --- one transfer ------------------------------------------------------------------- */

/* What cannot be waited for together is looked at in turns. */
static nsec_t wait_until(const struct curl_lane *lane, nsec_t deadline) {
    nsec_t until = nsec_min(deadline, lane->timer);

    if (lane->socket_count > 1)
        until = nsec_min(until, deadline_after(clock_now(), 10 * NSEC_PER_MSEC));
    return until;
}

/* That a socket has news, or (CURL_SOCKET_TIMEOUT) that its time has come. */
static void tell_curl(struct curl_lane *lane, curl_socket_t socket) {
    int running; /* one, until lane_result says how it ended */

    curl_multi_socket_action(lane->multi, socket, 0, &running);
}

/* Waits for curl's next news and tells it. 0, or -ETIMEDOUT at the deadline, -ECANCELED, -errno. */
static int lane_step(struct curl_lane *lane, nsec_t deadline) {
    struct curl_lane_socket sockets[CURL_LANE_SOCKETS_MAX];
    unsigned count = lane->socket_count;
    nsec_t until = wait_until(lane, deadline);
    int rc;

    memcpy(sockets, lane->sockets, sizeof(sockets));
    rc = count > 0 ? io_wait_level(lane->io, sockets[0].fd, sockets[0].what, until)
                   : io_sleep(lane->io, until);
    if (rc < 0 && rc != -ETIMEDOUT)
        return rc;
    if (clock_now() >= deadline)
        return -ETIMEDOUT;
    if (clock_now() >= lane->timer) {
        lane->timer = NSEC_NEVER;
        tell_curl(lane, CURL_SOCKET_TIMEOUT);
    }
    for (unsigned i = 0; i < count && (rc == 0 || count > 1); i++)
        tell_curl(lane, sockets[i].fd);
    return 0;
}

/* Connecting may have failed at our end. */
static int connect_code(const struct curl_lane *lane) {
    long error = lane->socket_error;

    if (error == 0)
        curl_easy_getinfo(lane->easy, CURLINFO_OS_ERRNO, &error);
    if (error == EMFILE || error == ENFILE || error == ENOBUFS)
        return (int)-error;
    return -ECONNREFUSED;
}

static int result_code(const struct curl_lane *lane, CURLcode result) {
    switch ((int)result) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_CONNECT:
        return connect_code(lane);
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ENOENT;
    case CURLE_PEER_FAILED_VERIFICATION:
        return -EKEYREJECTED;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return -ECONNRESET;
    default:
        return -EPROTO;
    }
}

/* curl has all it wanted: the end of the connection, if our codec still waits for one. */
static int judge(struct curl_lane *lane) {
    if (lane->fed == 0)
        lane->fed = exchange_take(&lane->exchange, 0);
    return lane->fed < 0 ? lane->fed : 0;
}

/* -EINPROGRESS while the transfer has not ended. */
static int lane_result(struct curl_lane *lane) {
    struct upstream_exchange *x = &lane->exchange;
    CURLMsg *message;
    CURLcode result;
    int left;

    message = curl_multi_info_read(lane->multi, &left);
    if (message == NULL || message->msg != CURLMSG_DONE)
        return -EINPROGRESS;
    result = message->data.result;
    if (result == CURLE_OK)
        return judge(lane);
    if (lane->fed < 0)
        return lane->fed;
    x->why =
        arena_printf(x->arena, "upstream failed: %s",
                     lane->error_text[0] != '\0' ? lane->error_text : curl_easy_strerror(result));
    return result_code(lane, result);
}

static int lane_run(struct curl_lane *lane, nsec_t deadline) {
    bool had_connection = lane->kept >= 0;
    int rc;
    long connects = 0;

    if (curl_multi_add_handle(lane->multi, lane->easy) != CURLM_OK)
        return -ENOMEM;
    tell_curl(lane, CURL_SOCKET_TIMEOUT);
    while ((rc = lane_result(lane)) == -EINPROGRESS) {
        rc = lane_step(lane, deadline);
        if (rc < 0)
            break;
    }
    if (rc == -ETIMEDOUT)
        lane->exchange.why = lane->looking_up ? "upstream name look-up did not end in time"
                                              : "upstream did not answer in time";
    if (curl_easy_getinfo(lane->easy, CURLINFO_ACTIVESOCKET, &lane->kept) != CURLE_OK)
        lane->kept = -1;
    curl_easy_getinfo(lane->easy, CURLINFO_NUM_CONNECTS, &connects);
    lane->worn = had_connection && connects > 0;
    curl_multi_remove_handle(lane->multi, lane->easy);
    return rc;
}

static int set_url(struct curl_lane *lane, struct slice url, struct slice suffix) {
    char *text = arena_alloc(lane->exchange.arena, url.len + suffix.len + 1);

    if (text == NULL)
        return -ENOMEM;
    memcpy(text, url.ptr, url.len);
    memcpy(text + url.len, suffix.ptr, suffix.len);
    text[url.len + suffix.len] = '\0';
    return curl_easy_setopt(lane->easy, CURLOPT_URL, text) == CURLE_OK ? 0 : -ENOMEM;
}

static void lane_begin(struct curl_lane *lane, struct io *io, struct arena *arena) {
    lane->io = io;
    lane->timer = NSEC_NEVER;
    lane->fed = 0;
    lane->excess = false;
    lane->multiplexed = false;
    lane->looking_up = lane->kept < 0;
    lane->error_text[0] = '\0';
    lane->socket_error = 0;
    exchange_init(&lane->exchange, lane->config->target, arena);
    exchange_begin(&lane->exchange, 0);
    http_conn_sent(&lane->exchange.http, HTTP_METHOD_GET, false);
}

/* After a complete answer. Handles of some versions count, over their whole life, how often they
 * replaced a stale connection, and from the sixth time on they do not. */
static bool lane_keeps(struct curl_lane *lane) {
    if (lane->kept < 0 || lane->worn)
        return false;
    return lane->multiplexed || (!lane->excess && exchange_keeps(&lane->exchange));
}

int curl_lane_get(struct curl_lane *lane, struct io *io, struct arena *arena, struct slice suffix,
                  nsec_t deadline, struct upstream_answer *ret, const char **ret_why,
                  bool *ret_keeps) {
    int rc;

    lane_begin(lane, io, arena);
    rc = set_url(lane, lane->config->url, suffix);
    if (rc == 0)
        rc = lane_run(lane, deadline);
    leave_place(lane);
    *ret = exchange_answer(&lane->exchange);
    *ret_why = lane->exchange.why;
    *ret_keeps = rc == 0 && lane_keeps(lane);
    exchange_end(&lane->exchange);
    return rc;
}
