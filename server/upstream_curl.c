/* SPDX-License-Identifier: MIT */
/* Drives libcurl's multi socket interface (libcurl-multi(3)) with the waits of `io`. */
#include "server/upstream_curl.h"
#include "base/alloc.h"
#include "server/gather.h"
#include "server/limits.h"
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <sys/queue.h>
#include <unistd.h>

/* More than one only while curl tries several addresses, or has its resolver's socket pair open. */
enum { LANE_SOCKETS_MAX = 8 };

struct lane_socket {
    int fd;
    unsigned what; /* IO_READ | IO_WRITE */
};

/* A transfer and the connection it leaves behind; used by one request at a time. */
struct lane {
    SLIST_ENTRY(lane) link;
    CURLM *multi;
    CURL *easy;
    struct lane_socket sockets[LANE_SOCKETS_MAX];
    unsigned socket_count;
    nsec_t timer;  /* when curl wants to be called without news; NSEC_NEVER */
    struct io *io; /* of the current request, else NULL */
    struct arena *arena;
    struct gather body;
    int gather_rc;
    char error_text[CURL_ERROR_SIZE];
};

struct curl_client {
    struct slice url;
    const char *ca_path;
    const char *bind;
    pthread_mutex_t lock; /* of `idle`: thread models share it */
    SLIST_HEAD(, lane) idle;
};

/* --- what curl calls ------------------------------------------------------------- */

static int on_socket(CURL *easy UNUSED, curl_socket_t fd, int what, void *arg, void *own UNUSED) {
    struct lane *lane = arg;
    unsigned i = 0;

    while (i < lane->socket_count && lane->sockets[i].fd != fd)
        i++;
    if (what == CURL_POLL_REMOVE) {
        if (i < lane->socket_count)
            lane->sockets[i] = lane->sockets[--lane->socket_count];
        lane->io->ops->forget(lane->io, fd); /* the next request may come through another io */
        return 0;
    }
    if (i == LANE_SOCKETS_MAX)
        return -1;
    lane->sockets[i].fd = fd;
    lane->sockets[i].what =
        ((what & CURL_POLL_IN) ? IO_READ : 0u) | ((what & CURL_POLL_OUT) ? IO_WRITE : 0u);
    if (i == lane->socket_count)
        lane->socket_count++;
    return 0;
}

static int on_timer(CURLM *multi UNUSED, long timeout_ms, void *arg) {
    struct lane *lane = arg;

    lane->timer = timeout_ms < 0 ? NSEC_NEVER
                                 : deadline_after(clock_now(), (nsec_t)timeout_ms * NSEC_PER_MSEC);
    return 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    struct lane *lane = arg;

    lane->gather_rc = gather_add(&lane->body, lane->arena, slice_of(data, size * count), 0);
    return lane->gather_rc < 0 ? 0 : size * count;
}

/* The loop may watch it: it must forget the number before the kernel gives it to another. */
static int on_close(void *arg, curl_socket_t fd) {
    struct lane *lane = arg;

    if (lane->io != NULL)
        lane->io->ops->forget(lane->io, fd);
    return close(fd);
}

/* --- lanes ------------------------------------------------------------------------ */

static void lane_free(struct lane *lane) {
    if (lane == NULL)
        return;
    if (lane->easy != NULL)
        curl_easy_cleanup(lane->easy);
    if (lane->multi != NULL)
        curl_multi_cleanup(lane->multi);
    mem_free(lane);
}

static bool lane_configure(struct lane *lane, const struct curl_client *client) {
    CURL *e = lane->easy;

    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(lane->multi, CURLMOPT_SOCKETDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(lane->multi, CURLMOPT_TIMERDATA, lane);
    curl_multi_setopt(lane->multi, CURLMOPT_MAXCONNECTS, 1L);
    if (client->ca_path != NULL && curl_easy_setopt(e, CURLOPT_CAINFO, client->ca_path) != CURLE_OK)
        return false;
    if (client->bind != NULL && curl_easy_setopt(e, CURLOPT_INTERFACE, client->bind) != CURLE_OK)
        return false;
    return curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, on_close) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, lane) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_ERRORBUFFER, lane->error_text) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, 0x7fffffffL) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
}

static struct lane *lane_new(const struct curl_client *client) {
    struct lane *lane = mem_calloc(1, sizeof(*lane));

    if (lane == NULL)
        return NULL;
    lane->multi = curl_multi_init();
    lane->easy = curl_easy_init();
    if (lane->multi == NULL || lane->easy == NULL || !lane_configure(lane, client)) {
        lane_free(lane);
        return NULL;
    }
    return lane;
}

static struct lane *lane_take(struct curl_client *client) {
    struct lane *lane;

    pthread_mutex_lock(&client->lock);
    lane = SLIST_FIRST(&client->idle);
    if (lane != NULL)
        SLIST_REMOVE_HEAD(&client->idle, link);
    pthread_mutex_unlock(&client->lock);
    return lane != NULL ? lane : lane_new(client);
}

static void lane_give_back(struct curl_client *client, struct lane *lane) {
    pthread_mutex_lock(&client->lock);
    SLIST_INSERT_HEAD(&client->idle, lane, link);
    pthread_mutex_unlock(&client->lock);
}

struct curl_client *curl_client_new(const char *url, const struct upstream_config *config) {
    struct curl_client *client = mem_calloc(1, sizeof(*client));

    if (client == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        mem_free(client);
        return NULL;
    }
    client->url = slice_str(url);
    client->ca_path = config->ca_path;
    client->bind = config->bind;
    pthread_mutex_init(&client->lock, NULL);
    SLIST_INIT(&client->idle);
    return client;
}

void curl_client_free(struct curl_client *client) {
    struct lane *lane;

    if (client == NULL)
        return;
    while ((lane = SLIST_FIRST(&client->idle)) != NULL) {
        SLIST_REMOVE_HEAD(&client->idle, link);
        lane_free(lane);
    }
    pthread_mutex_destroy(&client->lock);
    mem_free(client);
    curl_global_cleanup();
}

/* --- one transfer ------------------------------------------------------------------- */

/* What cannot be waited for together is looked at in turns. */
static nsec_t wait_until(const struct lane *lane, nsec_t deadline) {
    nsec_t until = nsec_min(deadline, lane->timer);

    if (lane->socket_count > 1)
        until = nsec_min(until, deadline_after(clock_now(), 10 * NSEC_PER_MSEC));
    return until;
}

/* Waits for curl's next news and tells it. 0, or -ETIMEDOUT at the deadline, -ECANCELED, -errno. */
static int lane_step(struct lane *lane, nsec_t deadline, int *running) {
    struct lane_socket sockets[LANE_SOCKETS_MAX];
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
        curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, running);
    }
    for (unsigned i = 0; i < count && (rc == 0 || count > 1); i++)
        curl_multi_socket_action(lane->multi, sockets[i].fd, 0, running);
    return 0;
}

static int result_code(CURLcode result) {
    switch ((int)result) {
    case CURLE_OK:
        return 0;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_COULDNT_RESOLVE_HOST:
        return -ENOENT;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return -ECONNRESET;
    default:
        return -EPROTO;
    }
}

/* -EINPROGRESS while the transfer has not ended. */
static int lane_result(struct lane *lane, const char **ret_why) {
    CURLMsg *message;
    CURLcode result;
    int left;

    message = curl_multi_info_read(lane->multi, &left);
    if (message == NULL || message->msg != CURLMSG_DONE)
        return -EINPROGRESS;
    result = message->data.result;
    if (result == CURLE_OK)
        return 0;
    if (lane->gather_rc < 0) {
        *ret_why = lane->gather_rc == -ENOMEM ? "out of memory" : "upstream answer is too large";
        return lane->gather_rc == -ENOMEM ? -ENOMEM : -EPROTO;
    }
    *ret_why =
        arena_printf(lane->arena, "upstream failed: %s",
                     lane->error_text[0] != '\0' ? lane->error_text : curl_easy_strerror(result));
    return result_code(result);
}

static int lane_run(struct lane *lane, nsec_t deadline, const char **ret_why) {
    int running = 1, rc = -EINPROGRESS;

    if (curl_multi_add_handle(lane->multi, lane->easy) != CURLM_OK)
        return -ENOMEM;
    curl_multi_socket_action(lane->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    while ((rc = lane_result(lane, ret_why)) == -EINPROGRESS) {
        rc = lane_step(lane, deadline, &running);
        if (rc < 0)
            break;
    }
    if (rc == -ETIMEDOUT)
        *ret_why = "upstream did not answer in time";
    curl_multi_remove_handle(lane->multi, lane->easy);
    return rc;
}

static int set_url(struct lane *lane, struct slice url, struct slice suffix) {
    char *text = arena_alloc(lane->arena, url.len + suffix.len + 1);

    if (text == NULL)
        return -ENOMEM;
    memcpy(text, url.ptr, url.len);
    memcpy(text + url.len, suffix.ptr, suffix.len);
    text[url.len + suffix.len] = '\0';
    return curl_easy_setopt(lane->easy, CURLOPT_URL, text) == CURLE_OK ? 0 : -ENOMEM;
}

int curl_client_get(struct curl_client *client, struct io *io, struct arena *arena,
                    struct slice suffix, nsec_t deadline, struct upstream_answer *ret,
                    const char **ret_why) {
    struct lane *lane = lane_take(client);
    long status = 0;
    int rc;

    if (lane == NULL)
        return -ENOMEM;
    lane->io = io;
    lane->arena = arena;
    lane->body = (struct gather){ 0 };
    lane->gather_rc = 0;
    lane->error_text[0] = '\0';
    lane->timer = NSEC_NEVER;
    rc = set_url(lane, client->url, suffix);
    if (rc == 0)
        rc = lane_run(lane, deadline, ret_why);
    if (rc == 0)
        curl_easy_getinfo(lane->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret =
        (struct upstream_answer){ .status = (uint16_t)status, .body = gather_slice(&lane->body) };
    lane->io = NULL;
    lane_give_back(client, lane);
    return rc;
}
