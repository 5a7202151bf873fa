/* SPDX-License-Identifier: MIT */
/* Moves the bytes of one way, as late, as slowly and in such pieces as is asked for. */
#include "relay/lane.h"
#include "base/alloc.h"
#include "net/tls.h"
#include <errno.h>
#include <math.h>
#include <sys/socket.h>

/* A paced lane takes so much of a second's bytes at once. */
#define PORTIONS_PER_SECOND 50

/* A paced lane that has fallen behind makes up for that much. */
#define PACE_DEBT (1 * NSEC_PER_SEC)

/* A lane may move so many bytes, then the others have their turn; a call costs as much as
 * CALL_COST. */
#define TURN_BYTES (4 * RELAY_TAKE_BYTES)
#define CALL_COST  1024

struct relay_piece {
    struct relay_piece *next;
    nsec_t due;
    uint32_t at, end; /* bytes at `at`..`end` are still to be given */
    char data[];
};

/* One call of relay_lane_run. */
struct lane_run {
    struct relay_lane *lane;
    struct watch *from, *to;
    const struct relay_lane_tools *tools;
    nsec_t now, wake; /* `wake`: when to go on; NSEC_NEVER: at the next event */
};

void relay_lane_init(struct relay_lane *lane, void (*fired)(struct timer *)) {
    *lane = (struct relay_lane){
        .stop_at = RELAY_NO_STOP,
        .is_plain = true,
        .timer.fire = fired,
    };
    lane->last = &lane->first;
}

static void drop_first(struct relay_lane *lane) {
    struct relay_piece *piece = lane->first;

    lane->first = piece->next;
    if (lane->first == NULL)
        lane->last = &lane->first;
    lane->pieces--;
    mem_free(piece);
}

static void drop_all(struct relay_lane *lane) {
    lane->dropped += lane->held;
    lane->held = 0;
    while (lane->first != NULL)
        drop_first(lane);
}

void relay_lane_close(struct relay_lane *lane, struct loop *loop) {
    timer_cancel(loop, &lane->timer);
    drop_all(lane);
}

/* --- what is done ----------------------------------------------------------------------------- */

static const struct relay_stream nothing;

static const struct relay_stream *stream_of(const struct relay_lane *lane,
                                            const struct relay_lane_tools *tools) {
    return lane->is_toxic ? tools->stream : &nothing;
}

static void settle(struct relay_lane *lane, const struct relay_stream *stream) {
    lane->is_plain = !stream->has_latency && stream->jitter == 0 && stream->bandwidth == 0 &&
                     stream->shared == 0 && stream->slice_min == 0 &&
                     lane->stop_at == RELAY_NO_STOP && lane->opens_at == 0 && !lane->swallows;
}

void relay_lane_change(struct relay_lane *lane, const struct relay_lane_tools *tools) {
    const struct relay_stream *stream = stream_of(lane, tools);
    double longest =
        (stream->has_latency ? dist_longest(&stream->latency) : 0) + (double)stream->jitter;
    nsec_t latest = deadline_after(loop_now(tools->loop), (nsec_t)longest);

    for (struct relay_piece *piece = lane->first; piece != NULL; piece = piece->next)
        piece->due = nsec_min(piece->due, latest);
    lane->due = nsec_min(lane->due, latest);
    lane->opens_at = lane->hangs_until = 0;
    lane->slice_left = lane->pace_left = 0;
    lane->swallows = lane->is_shut;
    lane->pace_from = 0;
    bucket_clear(&lane->pace);
    settle(lane, stream);
}

void relay_lane_stop_at(struct relay_lane *lane, uint64_t at, bool waits,
                        const struct relay_lane_tools *tools) {
    lane->stop_at = at;
    lane->stop_waits = waits;
    settle(lane, stream_of(lane, tools));
}

void relay_lane_hang(struct relay_lane *lane, nsec_t span, nsec_t now) {
    lane->is_plain = false;
    if (span < 0) {
        lane->swallows = true;
        drop_all(lane);
    } else {
        lane->hangs_until = deadline_after(now, span);
        lane->opens_at = nsec_max(lane->opens_at, lane->hangs_until);
    }
}

/* The time at which something that comes now is passed on: never before what came earlier. */
static nsec_t due_at(const struct lane_run *run) {
    const struct relay_stream *stream = stream_of(run->lane, run->tools);
    double span = 0;

    if (stream->has_latency)
        span = (double)dist_draw(&stream->latency, run->tools->rng);
    if (stream->jitter > 0)
        span += (2 * rng_unit(run->tools->rng) - 1) * (double)stream->jitter;
    nsec_t due = span > 0 ? deadline_after(run->now, (nsec_t)span) : 0;
    return nsec_max(run->lane->due, due);
}

/* Draws how far it is to the next byte that is struck, so that the others cost nothing. */
static void corrupt(const struct lane_run *run, char *bytes, size_t size) {
    double share = stream_of(run->lane, run->tools)->corrupt;

    if (share <= 0)
        return;
    for (double at = 0;; at++) {
        at += share < 1 ? floor(log(rng_unit(run->tools->rng)) / log1p(-share)) : 0;
        if (at >= (double)size)
            return;
        bytes[(size_t)at] ^= 1;
        relay_count(run->tools->counts, RELAY_BYTES_CORRUPTED, 1);
    }
}

/* --- giving ----------------------------------------------------------------------------------- */

static void pass_fin(struct relay_lane *lane, struct watch *to) {
    lane->end = LANE_OVER;
    if (to->tls != NULL)
        (void)tls_shutdown(to->tls);
    shutdown(to->fd, SHUT_WR);
}

void relay_lane_finish(struct relay_lane *lane, struct watch *to) {
    bool is_over = lane->end == LANE_OVER, has_ended = lane->end != LANE_OPEN;

    drop_all(lane);
    lane->swallows = lane->is_shut = true;
    lane->is_plain = false;
    if (!is_over)
        pass_fin(lane, to);
    lane->end = has_ended ? LANE_OVER : LANE_OPEN; /* an end that is still to come is awaited */
}

/* Whether the end may be passed on, which is done when it is a FIN. */
static enum relay_lane_news give_end(struct lane_run *run) {
    struct relay_lane *lane = run->lane;
    const struct relay_stream *stream = stream_of(lane, run->tools);

    if (lane->swallows || (lane->end == LANE_FIN && stream->delays_close && stream->keeps_close)) {
        lane->end = LANE_OVER;
        return LANE_WAITS;
    }
    nsec_t due = nsec_max(lane->due, lane->end == LANE_FIN ? lane->opens_at : 0);
    if (due > run->now) {
        run->wake = nsec_min(run->wake, due);
        return LANE_WAITS;
    }
    if (lane->end == LANE_FIN)
        pass_fin(lane, run->to);
    else if (lane->first == NULL || !(run->to->ready & IO_WRITE)) /* bytes come first, else */
        return LANE_BROKE;
    return LANE_WAITS;
}

static uint32_t draw_slice(const struct relay_stream *stream, struct rng *rng) {
    uint32_t span = stream->slice_max - stream->slice_min + 1;

    return stream->slice_min + (uint32_t)(rng_next(rng) % span);
}

/* Tells how many of `size` bytes may go now; 0: none before lane->opens_at. */
static size_t allowance(struct lane_run *run, size_t size) {
    struct relay_lane *lane = run->lane;
    const struct relay_stream *stream = stream_of(lane, run->tools);
    uint64_t rates[] = { stream->bandwidth, stream->shared };
    struct bucket *buckets[] = { &lane->pace, run->tools->shared };

    if (stream->slice_min > 0) {
        if (lane->slice_left == 0)
            lane->slice_left = draw_slice(stream, run->tools->rng);
        size = size < lane->slice_left ? size : lane->slice_left;
    }
    if (rates[0] == 0 && rates[1] == 0)
        return size;
    if (lane->pace_left == 0) {
        uint64_t rate =
            rates[1] == 0 || (rates[0] != 0 && rates[0] < rates[1]) ? rates[0] : rates[1];
        uint64_t portion = rate / PORTIONS_PER_SECOND;
        portion = portion < 1 ? 1 : portion > RELAY_TAKE_BYTES ? RELAY_TAKE_BYTES : portion;
        lane->pace_left = (uint32_t)(portion < lane->held ? portion : lane->held);
        nsec_t from = nsec_max(lane->pace_from, run->now - PACE_DEBT), end = from;
        if (lane->pace_from == 0)
            from = end = run->now;
        for (size_t i = 0; i < ARRAY_LEN(rates); i++)
            if (rates[i] > 0)
                end = nsec_max(end, bucket_carry(buckets[i], lane->pace_left, rates[i], from));
        lane->pace_from = end;
        lane->opens_at = nsec_max(lane->opens_at, end);
        if (lane->opens_at > run->now)
            return 0;
    }
    return size < lane->pace_left ? size : lane->pace_left;
}

static void note_given(struct relay_lane *lane, const struct relay_stream *stream, size_t n,
                       nsec_t now) {
    uint32_t given = (uint32_t)n;

    lane->given += n;
    lane->pace_left -= given < lane->pace_left ? given : lane->pace_left;
    if (lane->slice_left == 0)
        return;
    lane->slice_left -= given < lane->slice_left ? given : lane->slice_left;
    if (lane->slice_left == 0 && stream->slice_pause > 0)
        lane->opens_at = nsec_max(lane->opens_at, deadline_after(now, stream->slice_pause));
}

/* Gives a part of the first piece. Bytes, 0 when none can go now, or -errno. */
static ssize_t give_some(struct lane_run *run, enum relay_lane_news *news) {
    struct relay_lane *lane = run->lane;
    struct relay_piece *piece = lane->first;
    nsec_t at = nsec_max(piece->due, lane->opens_at);

    if (at > run->now) {
        run->wake = nsec_min(run->wake, at);
        return 0;
    }
    uint64_t left = lane->stop_at - lane->given;
    if (lane->given >= lane->stop_at) {
        *news = LANE_STOPS;
        return 0;
    }
    size_t size = piece->end - piece->at;
    size = allowance(run, size < left ? size : (size_t)left);
    if (size == 0) {
        run->wake = nsec_min(run->wake, lane->opens_at);
        return 0;
    }

    ssize_t n = watch_send(run->to, piece->data + piece->at, size);
    if (n == -EAGAIN)
        lane->pace_from = 0; /* the receiver is slower than the bandwidth */
    if (n <= 0)
        return n == -EAGAIN ? 0 : n;
    piece->at += (uint32_t)n;
    lane->held -= (size_t)n;
    if (piece->at == piece->end)
        drop_first(lane);
    note_given(lane, stream_of(lane, run->tools), (size_t)n, run->now);
    return n;
}

/* --- taking ----------------------------------------------------------------------------------- */

static int hold(struct relay_lane *lane, const char *bytes, size_t size, nsec_t due) {
    struct relay_piece *piece = mem_alloc(sizeof(*piece) + size);

    if (piece == NULL)
        return -ENOMEM;
    *piece = (struct relay_piece){ .due = due, .end = (uint32_t)size };
    memcpy(piece->data, bytes, size);
    *lane->last = piece;
    lane->last = &piece->next;
    lane->held += size;
    lane->pieces++;
    lane->due = due;
    return 0;
}

int relay_lane_push(struct relay_lane *lane, struct slice bytes) {
    int rc = bytes.len > 0 ? hold(lane, bytes.ptr, bytes.len, lane->due) : 0;

    lane->taken += rc == 0 ? bytes.len : 0;
    return rc;
}

/* Bytes that may be taken now. */
static size_t room_of(const struct lane_run *run) {
    const struct relay_lane *lane = run->lane;
    const struct relay_stream *stream = stream_of(lane, run->tools);
    bool waits = stream->has_latency || stream->jitter > 0 || lane->hangs_until > run->now;
    size_t buffer = run->tools->buffer;
    size_t most = waits || buffer < RELAY_TAKE_BYTES ? buffer : RELAY_TAKE_BYTES;

    if (lane->end != LANE_OPEN || lane->pieces >= RELAY_PIECES_MAX)
        return 0;
    if (lane->swallows)
        return RELAY_TAKE_BYTES;
    if (lane->is_bulk && lane->is_plain && lane->first == NULL && most == RELAY_TAKE_BYTES)
        return RELAY_BULK_BYTES;
    size_t room = most > lane->held ? most - lane->held : 0;
    return room < RELAY_TAKE_BYTES ? room : RELAY_TAKE_BYTES;
}

static void take_end(struct lane_run *run, bool is_fin) {
    struct relay_lane *lane = run->lane;
    const struct relay_stream *stream = stream_of(lane, run->tools);

    lane->end = is_fin ? LANE_FIN : LANE_RST;
    lane->due = due_at(run);
    if (is_fin && stream->delays_close && !stream->keeps_close)
        lane->due = deadline_after(nsec_max(lane->due, run->now),
                                   dist_draw(&stream->close_delay, run->tools->rng));
}

/* Gives what was just taken, and holds the rest. 0 or -errno. */
static int pass_on(struct lane_run *run, size_t size) {
    struct relay_lane *lane = run->lane;
    char *room = run->tools->room;
    ssize_t n = 0;

    if (lane->swallows) {
        lane->dropped += size;
        return 0;
    }
    corrupt(run, room, size);
    if (lane->is_plain && lane->first == NULL) {
        n = watch_send(run->to, room, size);
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        n = n < 0 ? 0 : n;
        lane->given += (size_t)n;
    }
    if ((size_t)n == size)
        return 0;
    return hold(lane, room + n, size - (size_t)n, due_at(run));
}

/* A side that is not read is watched as if it had no bytes: its reset is no news otherwise. */
static bool may_take(struct lane_run *run, size_t room) {
    struct relay_lane *lane = run->lane;

    if (run->from->tls != NULL || lane->end != LANE_OPEN)
        return room > 0;
    if (room == 0 && (run->from->ready & IO_READ) != 0) {
        bool may_be_broken = watch_may_be_broken(run->from);
        lane->is_blocked = true;
        watch_drained(run->from, IO_READ);
        if (may_be_broken && socket_error(run->from->fd) < 0)
            take_end(run, false); /* the reset came with the bytes */
    } else if (room > 0 && lane->is_blocked) {
        lane->is_blocked = false;
        run->from->ready |= IO_READ;
    }
    return room > 0;
}

/* Takes once. Bytes, 0 when there is nothing to take now, or -errno of the other side. */
static ssize_t take_some(struct lane_run *run) {
    struct relay_lane *lane = run->lane;
    size_t room = room_of(run);

    if (!may_take(run, room))
        return 0;
    ssize_t n = watch_recv(run->from, run->tools->room, room);
    if (n == -EAGAIN)
        return 0;
    if (n <= 0) {
        take_end(run, n == 0);
        return 0;
    }
    lane->taken += (size_t)n;
    int rc = pass_on(run, (size_t)n);
    lane->is_bulk = (size_t)n == room && lane->first == NULL;
    return rc < 0 ? rc : n;
}

/* --- both ------------------------------------------------------------------------------------- */

static enum relay_lane_news move(struct lane_run *run) {
    enum relay_lane_news news = LANE_WAITS;
    struct relay_lane *lane = run->lane;

    for (size_t done = 0; done < TURN_BYTES;) {
        if (lane->given >= lane->stop_at && !lane->stop_waits)
            return LANE_STOPS;
        ssize_t given = lane->first != NULL ? give_some(run, &news) : 0;
        if (given < 0)
            return LANE_LOST;
        if (news != LANE_WAITS)
            return news;
        ssize_t taken = take_some(run);
        if (taken < 0)
            return taken == -ENOMEM ? LANE_FAILED : LANE_LOST;
        if (given == 0 && taken == 0) {
            bool is_due = lane->end == LANE_RST || (lane->end == LANE_FIN && lane->first == NULL);
            return is_due ? give_end(run) : LANE_WAITS;
        }
        done += (size_t)given + (size_t)taken + CALL_COST;
    }
    return LANE_TIRED;
}

enum relay_lane_news relay_lane_run(struct relay_lane *lane, struct watch *from, struct watch *to,
                                    const struct relay_lane_tools *tools) {
    struct lane_run run = {
        .lane = lane,
        .from = from,
        .to = to,
        .tools = tools,
        .now = lane->is_plain ? loop_now(tools->loop) : clock_now(),
        .wake = NSEC_NEVER,
    };

    if (lane->opens_at != 0 && lane->opens_at <= run.now) {
        lane->opens_at = 0;
        settle(lane, stream_of(lane, tools));
    }
    enum relay_lane_news news = move(&run);
    if (lane->first == NULL)
        lane->pace_from = 0;
    if (news == LANE_WAITS && timer_set(tools->loop, &lane->timer, run.wake) < 0)
        return LANE_FAILED;
    return news;
}
