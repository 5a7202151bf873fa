/* SPDX-License-Identifier: MIT */
/* One transfer at a time through libcurl's multi socket interface (libcurl-multi(3)), with the
 * waits of `io`, and the connection that it leaves behind. Answers are judged by our own codec. */
#ifndef SERVER_CURL_LANE_H
#define SERVER_CURL_LANE_H

#include "fiber/gate.h"
#include "server/upstream/exchange.h"
#include <sys/queue.h>

/* More than one only while curl tries several addresses, or has its resolver's socket pair open. */
enum { CURL_LANE_SOCKETS_MAX = 8 };

struct curl_lane_socket {
    int fd;
    unsigned what; /* IO_READ | IO_WRITE */
};

struct curl_lane_config {
    const struct upstream_target *target;
    struct slice url;          /* to which a suffix is appended */
    const char *ca_path;       /* NULL: the system's */
    const char *bind;          /* NULL: the kernel's choice */
    struct io_fiber *fiber_io; /* NULL: threads */
};

struct curl_lane {
    /* The owner's, while it is idle. */
    TAILQ_ENTRY(curl_lane) link;
    void *owner;
    nsec_t since;
    bool idle;

    const struct curl_lane_config *config;
    void *multi, *easy;           /* CURLM, CURL */
    struct curl_slist *overrides; /* of the addresses of names */
    struct curl_lane_socket sockets[CURL_LANE_SOCKETS_MAX];
    unsigned socket_count;
    nsec_t timer;  /* when curl wants to be called without news; NSEC_NEVER */
    struct io *io; /* of the current transfer */
    struct upstream_exchange exchange;
    int fed;            /* what exchange_take said last: 1 when the answer is complete, or -errno */
    bool excess;        /* bytes came behind the answer */
    bool multiplexed;   /* HTTP/2 */
    bool looking_up;    /* a name, for want of a connection */
    bool worn;          /* the kept connection was stale, and curl has taken another */
    struct gate *place; /* entered for a look-up by the owner, left when it, or the call, ends */
    int kept;           /* the connection of the transfers before, or -1 */
    char error_text[256];
    int socket_error; /* why the call got no socket: an errno, or 0 */
};

/* Before there are threads (curl_global_init(3)). False when out of memory. */
NODISCARD bool curl_lane_global_init(void);
void curl_lane_global_free(void);

/* `config` must outlive it. NULL when out of memory. */
NODISCARD struct curl_lane *curl_lane_new(const struct curl_lane_config *config);
void curl_lane_free(struct curl_lane *lane);

/* As upstream_get, with an absolute deadline. When it ends while `looking_up`, the look-up goes on
 * behind its back, in a thread of curl's that cleans up after itself. *ret_keeps: the connection,
 * `kept`, may serve another call; else free the lane. */
NODISCARD int curl_lane_get(struct curl_lane *lane, struct io *io, struct arena *arena,
                            struct slice suffix, nsec_t deadline, struct upstream_answer *ret,
                            const char **ret_why, bool *ret_keeps);

/* Whether something came on the kept connection while it was idle: the end, or what nobody has
 * asked for, which must not become the next answer. HTTP/2 sends frames at any time, and curl knows
 * whom they are for. */
bool curl_lane_is_spent(const struct curl_lane *lane);

#endif
