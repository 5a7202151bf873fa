/* SPDX-License-Identifier: MIT */
/* One question and one answer over HTTP, on a socket that nobody waits for long. */
#include "playground/stats_client.h"
#include "http/conn.h"
#include "net/socket.h"
#include "playground/process.h"
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (16u << 20) /* 4096 requests of each worker */
#define READ_BYTES       4096

static const struct http_limits limits = HTTP_LIMITS_RESPONSE;

/* On loopback a connection stands when connect(2) returns, unless the listener's backlog is full:
 * then this question fails, and the next one tries again. */
static void open_connection(struct stats_client *c, const struct address *address) {
    bool pending;
    c->fd = socket_connect(address, &pending);
    c->is_open = c->fd >= 0;
    if (address->any.sa_family == AF_UNIX)
        strcpy(c->host, "localhost");
    else
        address_format(address, c->host);
    buf_init(&c->in, ANSWER_BYTES_MAX);
}

static void ask(struct stats_client *c, const struct address *address, const char *path) {
    char request[ADDRESS_TEXT_BYTES + 64];
    if (!c->is_open)
        open_connection(c, address);
    if (!c->is_open)
        return;
    int len =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, c->host);
    c->asked = socket_send(c->fd, request, (size_t)len) == len;
    if (!c->asked)
        stats_client_close(c);
}

void stats_client_ask(struct stats_client *c, const char *url) {
    struct address address;
    if (process_address(url, &address) == 0)
        ask(c, &address, "/stats");
}

void stats_client_ask_requests(struct stats_client *c, const struct address *address) {
    ask(c, address, "/requests");
}

static uint32_t figure(const json_t *json, const char *name) {
    const json_t *value = json_object_get(json, name);
    json_int_t n = json_integer_value(value);
    return json_is_integer(value) && n >= 0 && n < PLAY_UNKNOWN ? (uint32_t)n : PLAY_UNKNOWN;
}

static struct stats_reading parse(struct slice body) {
    json_t *json = json_loadb(body.ptr, body.len, 0, NULL);
    struct stats_reading reading = { figure(json, "in_flight"), figure(json, "in_flight_max") };
    json_decref(json);
    return reading;
}

/* Looks at all that has come, from its start: an answer is small, and comes in one piece or two.
 * 0, -EAGAIN while it is incomplete, or -EPROTO. */
static int read_answer(struct slice input, struct slice *ret_body) {
    struct http_conn conn;
    struct http_head head;
    struct http_event event;
    struct slice body = { "", 0 };
    http_conn_init(&conn, HTTP_CLIENT, &limits);
    http_conn_sent(&conn, HTTP_METHOD_GET, false);
    for (;;) {
        input = slice_drop(input, http_conn_feed(&conn, input, false, &head, &event));
        if (event.kind == HTTP_EV_MORE)
            return -EAGAIN;
        if (event.kind == HTTP_EV_DATA)
            body = slice_of(body.len > 0 ? body.ptr : event.data.ptr, body.len + event.data.len);
        if (event.kind == HTTP_EV_HEAD && (head.status != 200 || !head.has_content_length))
            return -EPROTO; /* without chunks, the pieces of a body lie side by side */
        if (event.kind == HTTP_EV_BAD || event.kind == HTTP_EV_CLOSED)
            return -EPROTO;
        if (event.kind != HTTP_EV_END)
            continue;
        *ret_body = body;
        return http_conn_next(&conn) && input.len == 0 ? 0 : -EPROTO;
    }
}

/* 0, -ETIMEDOUT or another -errno. */
static int receive(struct stats_client *c, nsec_t deadline) {
    nsec_t left = deadline - clock_now();
    if (left < 0)
        left = 0;
    struct timespec wait = { .tv_sec = left / NSEC_PER_SEC, .tv_nsec = left % NSEC_PER_SEC };
    struct pollfd ready = { .fd = c->fd, .events = POLLIN };
    if (ppoll(&ready, 1, &wait, NULL) <= 0)
        return -ETIMEDOUT;
    int rc = buf_reserve(&c->in, READ_BYTES);
    if (rc != 0)
        return rc;
    ssize_t n = socket_recv(c->fd, buf_tail(&c->in), buf_room(&c->in));
    if (n <= 0)
        return n == 0 ? -ECONNRESET : (int)n;
    buf_added(&c->in, (size_t)n);
    return 0;
}

/* The body, which lives until `finish`. 0 or -errno. */
static int read_body(struct stats_client *c, nsec_t deadline, struct slice *ret) {
    int rc = c->asked ? -EAGAIN : -ENOTCONN;
    while (rc == -EAGAIN) {
        rc = receive(c, deadline);
        if (rc == 0)
            rc = read_answer(buf_unread(&c->in), ret);
    }
    return rc;
}

static void finish(struct stats_client *c, int rc) {
    c->asked = false;
    if (rc != 0)
        stats_client_close(c);
    else
        buf_consume(&c->in, buf_unread(&c->in).len);
}

struct stats_reading stats_client_read(struct stats_client *c, nsec_t deadline) {
    struct stats_reading reading = { PLAY_UNKNOWN, PLAY_UNKNOWN };
    struct slice body;
    int rc = read_body(c, deadline, &body);
    if (rc == 0)
        reading = parse(body);
    finish(c, rc);
    return reading;
}

/* --- requests, by what they wait for -------------------- */

/* A call of libc that parked a fiber: "patched: recv", with the other end beside it. */
static void put_patched(const char *call, const char *peer, struct wait *w) {
    w->kind = WAIT_OTHER;
    snprintf(w->object, sizeof(w->object), "%s%s%s", call, peer[0] != '\0' ? " " : "", peer);
}

static struct wait wait_of_request(const json_t *request) {
    static const struct {
        const char *word;
        enum wait_kind kind;
        const char *role;
    } rows[] = {
        { "queue", WAIT_SLOT, "" },
        { "cpu", WAIT_RUNNING, "" },
        { "upstream", WAIT_RECV, "upstream" },
        { "database", WAIT_RECV, "database" },
        { "sleep", WAIT_SLEEP, "" },
        { "client", WAIT_SEND, WAIT_ROLE_CLIENT },
    };
    static const char patched[] = "patched: ";
    const char *word = json_string_value(json_object_get(request, "waits_for"));
    const char *peer = json_string_value(json_object_get(request, "peer"));
    struct wait w = { .kind = WAIT_UNKNOWN };
    for (size_t i = 0; word != NULL && i < ARRAY_LEN(rows); i++)
        if (strcmp(word, rows[i].word) == 0) {
            w.kind = rows[i].kind;
            snprintf(w.role, sizeof(w.role), "%s", rows[i].role);
        }
    if (word != NULL && strncmp(word, patched, strlen(patched)) == 0)
        put_patched(word + strlen(patched), peer != NULL ? peer : "", &w);
    return w;
}

int stats_client_read_requests(struct stats_client *c, nsec_t deadline, struct wait_tally *ret) {
    struct slice body;
    size_t i;
    json_t *request;
    memset(ret, 0, sizeof(*ret));
    int rc = read_body(c, deadline, &body);
    json_t *list = rc == 0 ? json_loadb(body.ptr, body.len, 0, NULL) : NULL;
    if (rc == 0 && !json_is_array(list))
        rc = -EPROTO;
    json_array_foreach(list, i, request) {
        struct wait w = wait_of_request(request);
        tally_add(ret, &w);
    }
    tally_sort(ret);
    json_decref(list);
    finish(c, rc);
    return rc;
}

void stats_client_close(struct stats_client *c) {
    if (!c->is_open)
        return;
    close(c->fd);
    buf_free(&c->in);
    *c = (struct stats_client){ .is_open = false };
}
