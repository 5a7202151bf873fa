/* SPDX-License-Identifier: MIT */
/* Drives libcurl through its multi socket interface (libcurl-multi(3)), and lets our own codec
 * judge what it brings.
 *
 *   take an idle lane, or make one -> add the transfer -> wait, tell curl -> result
 *        ^                                                                      |
 *        \------------- its connection may serve another call ------------------/
 *
 * A lane is a multi handle with one connection and one transfer at a time. One multi handle for all
 * calls of a loop would share them, but it looks for a free connection among all that are in use:
 * with 5,000 calls in progress that doubles the CPU of each. And it tells nobody which connection a
 * transfer will get, so nobody could look first whether something came on it while it was idle. */
#include "server/upstream/curl.h"
#include "base/alloc.h"
#include "fiber/patch.h"
#include "fiber/semaphore.h"
#include "http/error.h"
#include "net/idle_pool.h"
#include "server/limits.h"
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than one only while curl tries several addresses, or has its resolver's socket pair open. */
enum { SOCKETS_MAX = 8 };

struct upstream_curl {
    struct upstream_curl_config config;
    struct idle_pool idle;      /* holds lanes */
    struct semaphore *look_ups; /* limits those in progress */
    pthread_mutex_t lock;       /* guards what is below: thread models share it */
    bool https;                 /* false: there is no TLS to ask about */
    unsigned orphan_count;      /* calls, ever, that ended before their look-ups */
    nsec_t orphaned_at[SERVER_CURL_LOOK_UPS_MAX]; /* a ring: when the latest ones ended */
};

struct curl_lane {
    struct idle idle;
    struct upstream_curl *client;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *overrides; /* addresses for names */
    struct curl_socket {
        int fd;
        unsigned what; /* IO_READ | IO_WRITE */
    } sockets[SOCKETS_MAX];
    unsigned socket_count;
    nsec_t timer;  /* curl wants to be called then without news; NSEC_NEVER */
    struct io *io; /* for the current transfer */
    struct upstream_exchange exchange;
    int fed;                   /* 1: the answer is complete; or -errno */
    bool excess;               /* bytes came behind the answer */
    bool multiplexed;          /* HTTP/2 */
    bool headed;               /* HTTP/2: the head is complete */
    bool plain;                /* the handle is set up for a GET without fields */
    struct slice unsent;       /* body of a request that must not be sent twice */
    struct curl_slist *fields; /* the request's */
    bool looking_up;           /* a name, for want of a connection */
    bool worn;                 /* the kept connection was stale, and curl has taken another */
    struct semaphore *place;   /* entered for a look-up, left when the look-up or the call ends */
    int kept;                  /* the connection of the transfers before, or -1 */
    int socket_error;          /* the errno for which the call got no socket; or 0 */
    char error_text[CURL_ERROR_SIZE];
};

/* Makes the loop forget the number before the kernel gives it to another descriptor. */
static void forget(const struct curl_lane *lane, int fd) {
    struct io_fiber *fiber_io = lane->client->config.fiber_io;

    if (fiber_io != NULL)
        io_fiber_io(fiber_io)->ops->forget(io_fiber_io(fiber_io), fd);
}

/* --- sockets and time ------------------------------------------------------------- */

static int on_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg, void *own UNUSED) {
    struct curl_lane *lane = arg;
    unsigned i = 0;

    while (i < lane->socket_count && lane->sockets[i].fd != fd)
        i++;
    if (what == CURL_POLL_REMOVE) {
        if (i < lane->socket_count)
            lane->sockets[i] = lane->sockets[--lane->socket_count];
        if (fd != lane->kept) /* on_close tells of that one; others curl may close by itself */
            forget(lane, fd);
        return 0;
    }
    if (i == SOCKETS_MAX)
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

static void leave_place(struct curl_lane *lane) {
    if (lane->place != NULL)
        semaphore_release(lane->place);
    lane->place = NULL;
}

/* Opens a socket as libcurl does, which does not tell why that failed. */
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

/* --- answers ------------------------------------------------------------------------------- */

/* The session of the transfer in progress; NULL: it has none, or not OpenSSL's. */
static SSL *tls_of(const struct curl_lane *lane) {
    struct curl_tlssessioninfo *tls = NULL;

    if (!lane->client->https) /* spares libcurl the search for the connection */
        return NULL;
    if (curl_easy_getinfo(lane->easy, CURLINFO_TLS_SSL_PTR, &tls) != CURLE_OK || tls == NULL ||
        tls->backend != CURLSSLBACKEND_OPENSSL)
        return NULL;
    return tls->internals;
}

/* Whether bytes came behind the answer, where no socket shows them. */
static bool tls_holds_more(const struct curl_lane *lane) {
    const SSL *tls = tls_of(lane);

    return tls != NULL && SSL_pending(tls) > 0;
}

/* Whether HTTP/2 was agreed with the connection, whatever an answer says of itself (RFC 9113
 * section 3.2). */
static bool speaks_http2(const struct curl_lane *lane) {
    const SSL *tls = tls_of(lane);
    const unsigned char *name = NULL;
    unsigned len = 0;

    if (tls != NULL)
        SSL_get0_alpn_selected(tls, &name, &len);
    return slice_eq(slice_of((const char *)name, len), SLICE("h2"));
}

/* Answers that may mean two things curl forgives, and our codec does not. False: no more of it. */
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

/* Gathers the lines of an HTTP/2 head, which libcurl has judged. An interim head is followed by
 * another one, and lines after the head are trailers. */
static bool take_http2_line(struct curl_lane *lane, struct slice line) {
    struct upstream_exchange *x = &lane->exchange;

    if (slice_starts_with(line, SLICE("HTTP/"))) {
        buf_free(&x->in);
        lane->headed = false;
    } else if (!lane->headed && slice_eq(line, SLICE("\r\n"))) {
        lane->fed = exchange_keep_fields(x, buf_unread(&x->in));
        lane->headed = true;
    } else if (!lane->headed) {
        lane->fed = buf_append(&x->in, line);
        if (lane->fed == -ENOBUFS)
            lane->fed = exchange_refuse(x, http_err_head_large);
    }
    return lane->fed == 0;
}

/* Takes one line of a head, as it came. In HTTP/1, lines after the head are trailers, which come
 * with the body, too. */
static size_t on_header(char *data, size_t size, size_t count, void *arg) {
    struct curl_lane *lane = arg;
    struct upstream_exchange *x = &lane->exchange;
    struct slice line = slice_of(data, size * count);

    if (!x->got_bytes)
        lane->multiplexed = speaks_http2(lane);
    x->got_bytes = true;
    if (lane->multiplexed)
        return take_http2_line(lane, line) ? line.len : 0;
    if (x->http.phase != HTTP_PHASE_HEAD)
        return line.len;
    return feed(lane, line) ? line.len : 0;
}

/* Gathers a body that the frames of HTTP/2 cut up; libcurl has judged the head. */
static bool take_http2_body(struct curl_lane *lane, struct slice piece) {
    lane->fed = exchange_append(&lane->exchange, piece);
    if (lane->fed == -EMSGSIZE)
        lane->fed = exchange_refuse(&lane->exchange, http_err_body_large);
    return lane->fed == 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct curl_lane *lane = arg;
    struct slice piece = slice_of(data, size * count);
    bool taken = lane->multiplexed ? take_http2_body(lane, piece) : feed(lane, piece);

    return taken ? piece.len : 0;
}

/* --- lanes --------------------------------------------------------------------------------- */

static void lane_free(struct curl_lane *lane) {
    if (lane->easy != NULL)
        curl_easy_cleanup(lane->easy);
    if (lane->multi != NULL)
        curl_multi_cleanup(lane->multi);
    curl_slist_free_all(lane->overrides);
    curl_slist_free_all(lane->fields);
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

/* Sets whom to believe, and who we are. */
static bool choose_trust(CURL *e, const struct upstream_curl_config *config) {
    long verify = config->insecure ? 0 : 1;

    if (config->ca_path != NULL && curl_easy_setopt(e, CURLOPT_CAINFO, config->ca_path) != CURLE_OK)
        return false;
    /* NULL is what they are without. */
    return curl_easy_setopt(e, CURLOPT_SSLCERT, config->cert_path) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSLKEY, config->key_path) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, verify) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2 * verify) == CURLE_OK;
}

static bool lane_configure(struct curl_lane *lane, const struct upstream_curl_config *config) {
    CURL *e = lane->easy;

    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, 1L);
    if (!choose_trust(e, config))
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
           /* the end of a call must not wait for the thread that looks its name up */
           curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, 0x7fffffffL) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
}

static struct curl_lane *lane_new(struct upstream_curl *client) {
    struct curl_lane *lane = mem_calloc(1, sizeof(*lane));

    if (lane == NULL)
        return NULL;
    lane->client = client;
    lane->kept = -1;
    lane->plain = true;
    lane->multi = curl_multi_init();
    lane->easy = curl_easy_init();
    if (lane->multi != NULL && lane->easy != NULL && lane_configure(lane, &client->config))
        return lane;
    lane_free(lane);
    return NULL;
}

static void idle_free(struct idle_pool *pool UNUSED, struct idle *idle) {
    lane_free(CONTAINER_OF(idle, struct curl_lane, idle));
}

/* Whether nothing came on the kept connection while it was idle: neither the end, nor what nobody
 * has asked for, which must not become the next answer. HTTP/2 sends frames at any time, and curl
 * knows whom they are for. */
static bool idle_is_quiet(struct idle *idle) {
    const struct curl_lane *lane = CONTAINER_OF(idle, struct curl_lane, idle);
    char byte;

    return idle_socket_is_quiet(lane->kept) ||
           (lane->multiplexed && recv(lane->kept, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
}

static void on_idle_news(void *arg, int fd UNUSED) {
    struct curl_lane *lane = arg;

    idle_pool_expel(&lane->client->idle, &lane->idle);
}

/* Keeps the connection for another call. HTTP/2 sends frames, which would end the watch: whether
 * such a connection lives, its next take finds out. */
static void lane_keep(struct curl_lane *lane, nsec_t now) {
    struct io_fiber *fiber_io = lane->client->config.fiber_io;

    if (fiber_io == NULL || lane->multiplexed ||
        io_fiber_idle(fiber_io, lane->kept, on_idle_news, lane) == 0)
        idle_pool_put(&lane->client->idle, &lane->idle, now, NSEC_NEVER);
    else
        lane_free(lane);
}

/* --- one transfer ------------------------------------------------------------------- */

/* Several sockets cannot be waited for together: they are looked at in turns. */
static nsec_t wait_until(const struct curl_lane *lane, nsec_t deadline) {
    nsec_t until = nsec_min(deadline, lane->timer);

    if (lane->socket_count > 1)
        until = nsec_min(until, deadline_after(clock_now(), 10 * NSEC_PER_MSEC));
    return until;
}

/* Says that a socket has news, or (CURL_SOCKET_TIMEOUT) that the time has come. */
static void tell_curl(struct curl_lane *lane, curl_socket_t socket) {
    int running; /* one, until lane_result says how it ended */

    curl_multi_socket_action(lane->multi, socket, 0, &running);
}

/* Waits for curl's next news and tells it. 0, or -ETIMEDOUT at the deadline, -ECANCELED, -errno. */
static int lane_step(struct curl_lane *lane, nsec_t deadline) {
    struct curl_socket sockets[SOCKETS_MAX];
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
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return -ECONNRESET;
    default:
        return -EPROTO;
    }
}

/* The transfer has ended well: curl has all it wanted. For a codec that still waits this is the end
 * of the connection. */
static int judge(struct curl_lane *lane) {
    long status;

    if (lane->multiplexed) {
        curl_easy_getinfo(lane->easy, CURLINFO_RESPONSE_CODE, &status);
        lane->exchange.status = (uint16_t)status;
        return 0;
    }
    if (lane->fed == 0)
        lane->fed = exchange_take(&lane->exchange, 0);
    return lane->fed < 0 ? lane->fed : 0;
}

/* Returns -EINPROGRESS while the transfer has not ended. */
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

/* libcurl sends again what it can read again, and has no way to read this again: a body that must
 * not be sent twice. */
static size_t read_body(char *room, size_t size, size_t count, void *arg) {
    struct curl_lane *lane = arg;
    struct slice piece = slice_take(lane->unsent, size * count);

    if (piece.len > 0)
        memcpy(room, piece.ptr, piece.len);
    lane->unsent = slice_drop(lane->unsent, piece.len);
    return piece.len;
}

static bool add_line(struct curl_lane *lane, const char *line) {
    struct curl_slist *list = line != NULL ? curl_slist_append(lane->fields, line) : NULL;

    if (list != NULL)
        lane->fields = list;
    return list != NULL;
}

/* An empty value is written with a semicolon (CURLOPT_HTTPHEADER(3)). */
static bool add_field(struct curl_lane *lane, struct slice name, struct slice value) {
    const char *between = value.len > 0 ? ": " : ";";

    return add_line(lane, arena_printf(lane->exchange.arena, "%.*s%s%.*s", (int)name.len, name.ptr,
                                       between, (int)value.len, value.ptr));
}

/* The fields of the request, and none that libcurl would add for its body. */
static bool set_fields(struct curl_lane *lane, const struct upstream_request *request) {
    bool good = true, typed = false;

    if (request->host.len > 0)
        good = add_field(lane, SLICE("Host"), request->host);
    for (size_t i = 0; i < request->field_count && good; i++) {
        good = add_field(lane, request->fields[i].name, request->fields[i].value);
        typed |= slice_eq_nocase(request->fields[i].name, SLICE("Content-Type"));
    }
    if (request->body.ptr != NULL)
        good = good && add_line(lane, "Expect:") && (typed || add_line(lane, "Content-Type:"));
    return good && curl_easy_setopt(lane->easy, CURLOPT_HTTPHEADER, lane->fields) == CURLE_OK;
}

static bool set_body(struct curl_lane *lane, const struct upstream_request *request) {
    CURL *e = lane->easy;
    bool again = request->body.len == 0 || exchange_may_retry(request);

    lane->unsent = request->body;
    return curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READFUNCTION, read_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_READDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len) ==
               CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_POSTFIELDS, again ? request->body.ptr : NULL) == CURLE_OK;
}

/* Back to a GET without fields. */
static void set_plain(struct curl_lane *lane) {
    if (lane->plain)
        return;
    curl_easy_setopt(lane->easy, CURLOPT_POSTFIELDS, NULL); /* makes it a POST */
    curl_easy_setopt(lane->easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(lane->easy, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(lane->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(lane->fields);
    lane->fields = NULL;
    lane->plain = true;
}

static int set_request(struct curl_lane *lane, const struct upstream_request *request) {
    struct slice method = request->method_text;
    const char *text;

    set_plain(lane);
    if (request->method == HTTP_METHOD_GET && request->field_count == 0 && request->host.len == 0 &&
        request->body.ptr == NULL)
        return 0;
    lane->plain = false;
    text = request->method == HTTP_METHOD_OTHER ? arena_dup(lane->exchange.arena, method)
                                                : http_method_name(request->method);
    if (text == NULL || !set_fields(lane, request) ||
        (request->body.ptr != NULL && !set_body(lane, request)))
        return -ENOMEM;
    if (request->method == HTTP_METHOD_HEAD)
        return curl_easy_setopt(lane->easy, CURLOPT_NOBODY, 1L) == CURLE_OK ? 0 : -ENOMEM;
    return curl_easy_setopt(lane->easy, CURLOPT_CUSTOMREQUEST, text) == CURLE_OK ? 0 : -ENOMEM;
}

static int set_url(struct curl_lane *lane, struct slice suffix) {
    struct slice url = lane->client->config.url;
    char *text = arena_alloc(lane->exchange.arena, url.len + suffix.len + 1);

    if (text == NULL)
        return -ENOMEM;
    memcpy(text, url.ptr, url.len);
    memcpy(text + url.len, suffix.ptr, suffix.len);
    text[url.len + suffix.len] = '\0';
    return curl_easy_setopt(lane->easy, CURLOPT_URL, text) == CURLE_OK ? 0 : -ENOMEM;
}

static void lane_begin(struct curl_lane *lane, struct io *io, struct arena *arena,
                       const struct upstream_request *request) {
    lane->io = io;
    lane->timer = NSEC_NEVER;
    lane->fed = 0;
    lane->excess = false;
    lane->multiplexed = false;
    lane->looking_up = lane->kept < 0;
    lane->error_text[0] = '\0';
    lane->socket_error = 0;
    lane->headed = false;
    exchange_init(&lane->exchange, lane->client->config.target, request, arena);
    exchange_begin(&lane->exchange, 0);
    http_conn_sent(&lane->exchange.http, request->method, false);
}

/* Whether the connection may serve another call. Handles of some versions count, over their whole
 * life, how often they replaced a stale connection, and from the sixth time on they do not. */
static bool lane_keeps(struct curl_lane *lane) {
    if (lane->kept < 0 || lane->worn)
        return false;
    return lane->multiplexed || (!lane->excess && exchange_keeps(&lane->exchange));
}

/* Makes the call; true when the lane may make another one. */
static bool lane_ask(struct curl_lane *lane, struct io *io, struct arena *arena,
                     const struct upstream_request *request, nsec_t deadline, int *ret_rc) {
    lane_begin(lane, io, arena, request);
    *ret_rc = set_url(lane, request->suffix);
    if (*ret_rc == 0)
        *ret_rc = set_request(lane, request);
    if (*ret_rc == 0)
        *ret_rc = lane_run(lane, deadline);
    leave_place(lane);
    set_plain(lane);
    return *ret_rc == 0 && lane_keeps(lane);
}

/* --- the client ---------------------------------------------------------------------------- */

/* Counts a look-up that was left behind: a name server that is down must not pile up threads. */
static void orphan_look_up(struct upstream_curl *client, nsec_t now) {
    pthread_mutex_lock(&client->lock);
    client->orphaned_at[client->orphan_count++ % SERVER_CURL_LOOK_UPS_MAX] = now;
    pthread_mutex_unlock(&client->lock);
}

static bool may_look_up(struct upstream_curl *client, nsec_t now) {
    nsec_t oldest;
    bool may;

    pthread_mutex_lock(&client->lock);
    oldest = client->orphaned_at[client->orphan_count % SERVER_CURL_LOOK_UPS_MAX];
    may = client->orphan_count < SERVER_CURL_LOOK_UPS_MAX ||
          now >= deadline_after(oldest, SERVER_LOOK_UP_NSEC);
    pthread_mutex_unlock(&client->lock);
    return may;
}

/* Makes a lane that has a place among those that look a name up. */
static int lane_for_look_up(struct upstream_curl *client, struct io *io, nsec_t deadline,
                            struct curl_lane **ret, const char **ret_why) {
    int rc = semaphore_acquire(client->look_ups, io, deadline);
    nsec_t now = clock_now(); /* lanes ask that clock: the loop's may not be at the deadline yet */

    *ret = NULL;
    if (rc == 0 && (now >= deadline || !may_look_up(client, now))) {
        semaphore_release(client->look_ups);
        rc = -ETIMEDOUT;
    }
    if (rc < 0) {
        *ret_why = "upstream name look-ups do not end";
        return rc;
    }
    *ret = lane_new(client);
    if (*ret == NULL) {
        semaphore_release(client->look_ups);
        return -ENOMEM;
    }
    (*ret)->place = client->look_ups;
    return 0;
}

struct upstream_curl *upstream_curl_new(const struct upstream_curl_config *config) {
    struct upstream_curl *client = mem_calloc(1, sizeof(*client));
    struct io_fiber *fiber_io = config->fiber_io;
    struct idle_pool_config idle = {
        .count_max = config->idle_count_max,
        .span_max = config->idle_span_max,
        .close = idle_free,
        .is_quiet = idle_is_quiet,
        .loop = fiber_io != NULL ? io_fiber_loop(fiber_io) : NULL,
    };

    if (client == NULL)
        return NULL;
    client->look_ups = semaphore_new(SERVER_CURL_LOOK_UPS_MAX, fiber_io);
    if (client->look_ups == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        semaphore_free(client->look_ups);
        mem_free(client);
        return NULL;
    }
    client->config = *config;
    client->https = slice_eq(config->target->url.scheme, SLICE("https"));
    pthread_mutex_init(&client->lock, NULL);
    idle_pool_init(&client->idle, &idle);
    return client;
}

void upstream_curl_free(struct upstream_curl *client) {
    if (client == NULL)
        return;
    idle_pool_end(&client->idle);
    pthread_mutex_destroy(&client->lock);
    semaphore_free(client->look_ups);
    mem_free(client);
    curl_global_cleanup();
}

/* Whether a kept connection will do: on one that turns out to be stale, libcurl sends a request
 * again that has no body to read. */
static bool may_reuse(const struct upstream_request *request) {
    return request->body.len > 0 || exchange_may_retry(request);
}

int upstream_curl_ask(struct upstream_curl *client, struct io *io, struct arena *arena,
                      const struct upstream_request *request, nsec_t deadline,
                      struct upstream_answer *ret, const char **ret_why) {
    struct idle *idle = may_reuse(request) ? idle_pool_take(&client->idle, io_now(io)) : NULL;
    struct curl_lane *lane = idle != NULL ? CONTAINER_OF(idle, struct curl_lane, idle) : NULL;
    struct patch *paused;
    bool keeps;
    int rc;

    if (lane == NULL) {
        rc = lane_for_look_up(client, io, deadline, &lane, ret_why);
        if (rc < 0)
            return rc;
    }
    paused = patch_pause(); /* waits are those of `io` */
    keeps = lane_ask(lane, io, arena, request, deadline, &rc);
    patch_resume(paused);
    if (lane->looking_up && (rc == -ETIMEDOUT || rc == -ECANCELED))
        orphan_look_up(client, io_now(io));
    *ret = exchange_answer(&lane->exchange);
    *ret_why = lane->exchange.why;
    exchange_end(&lane->exchange);
    if (keeps)
        lane_keep(lane, io_now(io));
    else
        lane_free(lane);
    return rc;
}
