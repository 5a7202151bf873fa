/* SPDX-License-Identifier: MIT */
/* GETs through libcurl, each over the lane that was given back last; keeps the idle ones. */
#include "server/upstream/curl.h"
#include "base/alloc.h"
#include "base/log.h"
#include "server/limits.h"
#include <errno.h>
#include <pthread.h>

TAILQ_HEAD(lanes, curl_lane);

/* Idle lanes have a connection: newest first, the oldest leave. */
struct upstream_curl {
    struct upstream_curl_config config;
    struct timer expiry;  /* lazy: not later than what the oldest needs; fibers only */
    pthread_mutex_t lock; /* of the list: thread models share it */
    struct lanes idle;
    unsigned idle_count;
    struct gate *look_ups; /* that are in progress */
    /* When calls ended whose look-ups went on without them; the latest ones, as a ring. */
    nsec_t orphaned_at[SERVER_CURL_LOOK_UPS_MAX];
    unsigned orphan_count; /* ever */
};

/* --- idle lanes ------------------------------------------------------------------- */

/* Under the lock. */
static void unlist(struct upstream_curl *client, struct curl_lane *lane) {
    TAILQ_REMOVE(&client->idle, lane, link);
    client->idle_count--;
    lane->idle = false;
}

/* The oldest, when it is too old, or one too many. */
static struct curl_lane *pull_expired(struct upstream_curl *client, nsec_t now) {
    struct curl_lane *lane;

    pthread_mutex_lock(&client->lock);
    lane = TAILQ_LAST(&client->idle, lanes);
    if (lane != NULL && client->idle_count <= client->config.idle_count_max &&
        now <= deadline_after(lane->since, client->config.idle_span_max))
        lane = NULL;
    if (lane != NULL)
        unlist(client, lane);
    pthread_mutex_unlock(&client->lock);
    return lane;
}

static void free_expired(struct upstream_curl *client, nsec_t now) {
    struct curl_lane *lane;

    while ((lane = pull_expired(client, now)) != NULL)
        curl_lane_free(lane);
}

/* Wakes up for the oldest; when that one was taken meanwhile, it fires early and looks again. */
static void arm_expiry(struct upstream_curl *client) {
    struct curl_lane *oldest = TAILQ_LAST(&client->idle, lanes);
    nsec_t at;
    int rc;

    if (oldest == NULL || timer_armed(&client->expiry))
        return;
    at = deadline_after(oldest->since, client->config.idle_span_max + 1);
    rc = timer_set(io_fiber_loop(client->config.lane.fiber_io), &client->expiry, at);
    if (rc < 0) /* then they expire when another one is taken or given back */
        log_write(LOG_LEVEL_WARN, "no timer for idle connections error=\"%s\"",
                  strerrordesc_np(-rc));
}

static void on_expiry(struct timer *timer) {
    struct upstream_curl *client = CONTAINER_OF(timer, struct upstream_curl, expiry);

    free_expired(client, clock_now());
    arm_expiry(client);
}

/* The watch outlives a take until the connection's next wait. */
static void on_idle_event(void *arg, int fd UNUSED) {
    struct curl_lane *lane = arg;
    struct upstream_curl *client = lane->owner;

    if (!lane->idle || !curl_lane_is_spent(lane))
        return;
    unlist(client, lane);
    curl_lane_free(lane);
}

static struct curl_lane *pull_newest(struct upstream_curl *client) {
    struct curl_lane *lane;

    pthread_mutex_lock(&client->lock);
    lane = TAILQ_FIRST(&client->idle);
    if (lane != NULL)
        unlist(client, lane);
    pthread_mutex_unlock(&client->lock);
    return lane;
}

/* A name server that is down must not pile up threads: each call would leave one behind. */
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

static struct curl_lane *new_lane(struct upstream_curl *client) {
    struct curl_lane *lane = curl_lane_new(&client->config.lane);

    if (lane != NULL)
        lane->owner = client;
    return lane;
}

/* NULL: there is none. */
static struct curl_lane *lane_take(struct upstream_curl *client, nsec_t now) {
    struct curl_lane *lane;

    free_expired(client, now);
    while ((lane = pull_newest(client)) != NULL && curl_lane_is_spent(lane))
        curl_lane_free(lane);
    return lane;
}

/* Frames of HTTP/2 would end the watch: whether such a connection lives, its next take finds out.
 */
static bool watch_idle(struct io_fiber *fiber_io, struct curl_lane *lane) {
    return fiber_io == NULL || lane->multiplexed ||
           io_fiber_idle(fiber_io, lane->kept, on_idle_event, lane) == 0;
}

static void lane_give_back(struct upstream_curl *client, struct curl_lane *lane, nsec_t now) {
    if (!watch_idle(client->config.lane.fiber_io, lane)) {
        curl_lane_free(lane);
        return;
    }
    lane->since = now;
    lane->idle = true;
    pthread_mutex_lock(&client->lock);
    TAILQ_INSERT_HEAD(&client->idle, lane, link);
    client->idle_count++;
    pthread_mutex_unlock(&client->lock);
    free_expired(client, now);
    if (client->config.lane.fiber_io != NULL)
        arm_expiry(client);
}

/* --- public ----------------------------------------------------------------------- */

struct upstream_curl *upstream_curl_new(const struct upstream_curl_config *config) {
    struct upstream_curl *client = mem_calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    client->look_ups = gate_new(SERVER_CURL_LOOK_UPS_MAX, config->lane.fiber_io);
    if (client->look_ups == NULL || !curl_lane_global_init()) {
        gate_free(client->look_ups);
        mem_free(client);
        return NULL;
    }
    client->config = *config;
    client->expiry.fire = on_expiry;
    pthread_mutex_init(&client->lock, NULL);
    TAILQ_INIT(&client->idle);
    return client;
}

void upstream_curl_free(struct upstream_curl *client) {
    struct curl_lane *lane;

    if (client == NULL)
        return;
    if (client->config.lane.fiber_io != NULL)
        timer_cancel(io_fiber_loop(client->config.lane.fiber_io), &client->expiry);
    while ((lane = pull_newest(client)) != NULL)
        curl_lane_free(lane);
    pthread_mutex_destroy(&client->lock);
    gate_free(client->look_ups);
    mem_free(client);
    curl_lane_global_free();
}

/* A new one, with a place among those that look a name up. */
static int lane_for_look_up(struct upstream_curl *client, struct io *io, nsec_t deadline,
                            struct curl_lane **ret, const char **ret_why) {
    int rc = gate_enter(client->look_ups, io, deadline);
    nsec_t now = clock_now(); /* as the lanes do: the loop may be behind the deadline still */

    *ret = NULL;
    if (rc == 0 && (now >= deadline || !may_look_up(client, now))) {
        gate_leave(client->look_ups);
        rc = -ETIMEDOUT;
    }
    if (rc < 0) {
        *ret_why = "upstream name look-ups do not end";
        return rc;
    }
    *ret = new_lane(client);
    if (*ret == NULL) {
        gate_leave(client->look_ups);
        return -ENOMEM;
    }
    (*ret)->place = client->look_ups;
    return 0;
}

int upstream_curl_get(struct upstream_curl *client, struct io *io, struct arena *arena,
                      struct slice suffix, nsec_t deadline, struct upstream_answer *ret,
                      const char **ret_why) {
    struct curl_lane *lane = lane_take(client, io_now(io));
    bool keeps;
    int rc;

    if (lane == NULL) {
        rc = lane_for_look_up(client, io, deadline, &lane, ret_why);
        if (rc < 0)
            return rc;
    }
    rc = curl_lane_get(lane, io, arena, suffix, deadline, ret, ret_why, &keeps);
    if (lane->looking_up && (rc == -ETIMEDOUT || rc == -ECANCELED))
        orphan_look_up(client, io_now(io));
    if (keeps)
        lane_give_back(client, lane, io_now(io));
    else
        curl_lane_free(lane);
    return rc;
}
