/* SPDX-License-Identifier: MIT */
/* Runs both ways of a relayed connection, and lets faults strike it. */
#include "relay/relay.h"
#include "net/linger.h"
#include "net/socket.h"

/* A fault that resets lets the sockets send first what they took, so long, and looks so often. */
#define RESET_PATIENCE (1 * NSEC_PER_SEC)
#define RESET_LOOK     (1 * NSEC_PER_MSEC)

static bool advance(struct relay *r);

static struct relay *relay_of(struct relay_lane *lane, enum relay_way way) {
    return CONTAINER_OF(lane - way, struct relay, lanes[0]);
}

static void on_up_timer(struct timer *timer) {
    advance(relay_of(CONTAINER_OF(timer, struct relay_lane, timer), RELAY_UP));
}

static void on_down_timer(struct timer *timer) {
    advance(relay_of(CONTAINER_OF(timer, struct relay_lane, timer), RELAY_DOWN));
}

static void on_turn(struct deferred *work) {
    advance(CONTAINER_OF(work, struct relay, later));
}

static enum relay_way other(enum relay_way way) {
    return way == RELAY_UP ? RELAY_DOWN : RELAY_UP;
}

static struct relay_lane_tools tools_of(struct relay *r, enum relay_way way) {
    const struct relay_site *site = r->site;

    return (struct relay_lane_tools){
        .loop = site->loop,
        .stream = &site->toxics->ways[way],
        .shared = &site->shared[way],
        .rng = &r->rng,
        .buffer = site->toxics->buffer,
        .room = site->room,
        .counts = site->counts,
    };
}

/* --- the account, and the end ----------------------------------------------------------------- */

void relay_tell_bytes(struct relay *r) {
    static const enum relay_counter counters[] = { RELAY_BYTES_UP, RELAY_BYTES_DOWN };
    uint64_t dropped = 0;

    for (unsigned way = 0; way < RELAY_WAYS; way++) {
        const struct relay_lane *lane = &r->lanes[way];
        relay_count(r->site->counts, counters[way], lane->given - r->told[way]);
        r->told[way] = lane->given;
        dropped += lane->dropped;
    }
    relay_count(r->site->counts, RELAY_BYTES_DROPPED, dropped - r->told_dropped);
    r->told_dropped = dropped;
}

/* The relay may be gone afterwards. */
static void end(struct relay *r, enum relay_outcome outcome, unsigned resets) {
    r->is_open = false;
    r->over(r, outcome, resets);
}

void relay_close(struct relay *r) {
    for (unsigned way = 0; way < RELAY_WAYS; way++)
        relay_lane_close(&r->lanes[way], r->site->loop);
    timer_cancel(r->site->loop, &r->clock);
    loop_undefer(r->site->loop, &r->later);
    r->is_open = false;
    relay_tell_bytes(r);
}

/* --- faults ----------------------------------------------------------------------------------- */

/* One that is open already is not refused. */
static void roll(struct relay *r, bool is_new) {
    const struct relay_toxics *toxics = r->site->toxics;
    bool is_toxic = rng_unit(&r->rng) < toxics->toxicity;

    r->rolled = 0;
    for (unsigned i = 0; i < toxics->fault_count; i++)
        if (rng_unit(&r->rng) < toxics->faults[i].probability &&
            (is_new || toxics->faults[i].kind != RELAY_REFUSE))
            r->rolled |= (uint16_t)(1u << i);
    for (unsigned way = 0; way < RELAY_WAYS; way++)
        r->lanes[way].is_toxic = is_toxic;
}

/* Counts a fault, which strikes no second time. */
static void count_strike(struct relay *r, const struct relay_fault *fault) {
    r->rolled &= (uint16_t) ~(1u << (fault - r->site->toxics->faults));
    r->struck |= (uint16_t)(1u << fault->kind);
    relay_add(&r->site->counts->faults[fault->kind], 1);
}

/* Whether it can strike a client that has no target, the one that it is to strike or none. A hang
 * with a time is one of both ways, which a client without a target has at the accept only. */
static bool may_strike_early(const struct relay_fault *fault) {
    bool ends = fault->kind == RELAY_REFUSE || fault->kind == RELAY_RST ||
                fault->kind == RELAY_RST_DOWN || fault->kind == RELAY_FIN;
    bool hangs = fault->kind == RELAY_HANG && (fault->span < 0 || fault->place == RELAY_AT_ACCEPT);

    return fault->place <= RELAY_AT_TIME && (ends || hangs);
}

/* A fault at the accept has no time of its own: `at` is 0. */
static nsec_t early_at(const struct relay *r, const struct relay_fault *fault) {
    return deadline_after(r->since, fault->at);
}

const struct relay_fault *relay_strike_early(struct relay *r) {
    const struct relay_toxics *toxics = r->site->toxics;
    nsec_t now = clock_now();

    for (unsigned i = 0; i < toxics->fault_count; i++) {
        const struct relay_fault *fault = &toxics->faults[i];
        if ((r->rolled & 1u << i) == 0 || !may_strike_early(fault) || early_at(r, fault) > now)
            continue;
        count_strike(r, fault);
        return fault;
    }
    return NULL;
}

nsec_t relay_strikes_early_at(const struct relay *r) {
    const struct relay_toxics *toxics = r->site->toxics;
    nsec_t at = NSEC_NEVER;

    for (unsigned i = 0; i < toxics->fault_count; i++)
        if ((r->rolled & 1u << i) != 0 && may_strike_early(&toxics->faults[i]))
            at = nsec_min(at, early_at(r, &toxics->faults[i]));
    return at;
}

static void finish_way(struct relay *r, enum relay_way way) {
    relay_lane_finish(&r->lanes[way], r->sides[other(way)]);
}

/* Both ways; the sides have a moment to close, too. False: it is over. */
static bool finish(struct relay *r) {
    finish_way(r, RELAY_UP);
    finish_way(r, RELAY_DOWN);
    r->finishes = true;
    if (timer_set(r->site->loop, &r->clock, deadline_after(clock_now(), LINGER_NSEC)) == 0)
        return true;
    end(r, RELAY_BY_US, RELAY_RESET_BOTH);
    return false;
}

static void hang(struct relay *r, const struct relay_fault *fault, unsigned ways) {
    nsec_t now = clock_now();

    for (unsigned way = 0; way < RELAY_WAYS; way++)
        if (ways & 1u << way)
            relay_lane_hang(&r->lanes[way], fault->span, now);
}

/* A reset makes the kernel forget what it has not sent: what was passed on is to arrive before it,
 * if it can. False: the relay is over, and may be gone. */
static bool reset(struct relay *r) {
    uint32_t left = socket_unacknowledged(r->sides[RELAY_UP]->fd) +
                    socket_unacknowledged(r->sides[RELAY_DOWN]->fd);
    nsec_t now = clock_now();

    if (left > 0 && now < r->until &&
        timer_set(r->site->loop, &r->clock, deadline_after(now, RESET_LOOK)) == 0)
        return true;
    end(r, RELAY_BY_FAULT, r->resets);
    return false;
}

static bool begin_reset(struct relay *r, unsigned resets) {
    nsec_t now = clock_now();

    r->resets = (uint8_t)resets;
    r->breaks = true;
    r->rolled = 0; /* nothing strikes after it, and no byte is to stop for more */
    r->until = deadline_after(now, RESET_PATIENCE);
    for (unsigned way = 0; way < RELAY_WAYS; way++)
        relay_lane_hang(&r->lanes[way], 2 * RESET_PATIENCE, now);
    return reset(r);
}

/* False: the relay is over, and may be gone. */
static bool strike(struct relay *r, const struct relay_fault *fault) {
    count_strike(r, fault);
    switch ((enum relay_fault_kind)fault->kind) {
    case RELAY_RST:
        return begin_reset(r, RELAY_RESET_BOTH);
    case RELAY_RST_UP:
        return begin_reset(r, 1u << RELAY_DOWN); /* the source of that way is the target */
    case RELAY_RST_DOWN:
        return begin_reset(r, 1u << RELAY_UP);
    case RELAY_FIN:
        return finish(r);
    case RELAY_FIN_UP:
        finish_way(r, RELAY_UP);
        return true;
    case RELAY_FIN_DOWN:
        finish_way(r, RELAY_DOWN);
        return true;
    case RELAY_HANG:
        hang(r, fault, 1u << RELAY_UP | 1u << RELAY_DOWN);
        return true;
    case RELAY_HANG_UP:
        hang(r, fault, 1u << RELAY_UP);
        return true;
    case RELAY_HANG_DOWN:
        hang(r, fault, 1u << RELAY_DOWN);
        return true;
    case RELAY_REFUSE: /* strikes new connections only */
    case RELAY_FAULT_KINDS:
        break;
    }
    return true;
}

/* Sets the next byte at which each way stops, and the next time. False: over. */
static bool arm(struct relay *r) {
    const struct relay_toxics *toxics = r->site->toxics;
    uint64_t stops[RELAY_WAYS] = { RELAY_NO_STOP, RELAY_NO_STOP };
    bool waits[RELAY_WAYS] = { false, false };
    nsec_t at = NSEC_NEVER;

    for (unsigned i = 0; i < toxics->fault_count; i++) {
        const struct relay_fault *fault = &toxics->faults[i];
        if ((r->rolled & 1u << i) == 0 || r->finishes || r->breaks)
            continue;
        if (fault->place == RELAY_AT_TIME)
            at = nsec_min(at, deadline_after(r->since, fault->at));
        if (fault->place < RELAY_AT_UP)
            continue;
        unsigned way = fault->place - RELAY_AT_UP;
        if (r->base[way] + (uint64_t)fault->at < stops[way]) {
            stops[way] = r->base[way] + (uint64_t)fault->at;
            waits[way] = fault->at == 0;
        }
    }
    for (unsigned way = 0; way < RELAY_WAYS; way++) {
        const struct relay_lane_tools tools = tools_of(r, (enum relay_way)way);
        relay_lane_stop_at(&r->lanes[way], stops[way], waits[way], &tools);
    }
    if (r->finishes || r->breaks || timer_set(r->site->loop, &r->clock, at) == 0)
        return true;
    end(r, RELAY_BY_US, RELAY_RESET_BOTH);
    return false;
}

static bool is_due(const struct relay *r, const struct relay_fault *fault, nsec_t now) {
    unsigned way = fault->place - RELAY_AT_UP;

    switch ((enum relay_place)fault->place) {
    case RELAY_AT_ACCEPT:
        return fault->kind != RELAY_REFUSE;
    case RELAY_AT_TIME:
        return deadline_after(r->since, fault->at) <= now;
    case RELAY_AT_UP:
    case RELAY_AT_DOWN:
        return r->lanes[way].given >= r->base[way] + (uint64_t)fault->at &&
               (fault->at > 0 || r->lanes[way].held > 0);
    }
    return false;
}

/* Strikes with all that are due. False: over. */
static bool strike_due(struct relay *r) {
    const struct relay_toxics *toxics = r->site->toxics;
    nsec_t now = clock_now();

    for (unsigned i = 0; i < toxics->fault_count; i++)
        if ((r->rolled & 1u << i) != 0 && is_due(r, &toxics->faults[i], now) &&
            !strike(r, &toxics->faults[i]))
            return false;
    return arm(r);
}

static void on_clock(struct timer *timer) {
    struct relay *r = CONTAINER_OF(timer, struct relay, clock);

    if (r->breaks)
        reset(r);
    else if (r->finishes)
        end(r, r->by_us ? RELAY_BY_US : RELAY_BY_FAULT, 0);
    else if (strike_due(r))
        advance(r);
}

/* --- moving ----------------------------------------------------------------------------------- */

static void end_broken(struct relay *r, enum relay_way source) {
    end(r, source == RELAY_UP ? RELAY_BY_CLIENT : RELAY_BY_TARGET, RELAY_RESET_BOTH);
}

/* Runs one way. False: the relay is over, and may be gone. */
static bool run_way(struct relay *r, enum relay_way way) {
    const struct relay_lane_tools tools = tools_of(r, way);
    struct relay_lane *lane = &r->lanes[way];

    for (;;) {
        switch (relay_lane_run(lane, r->sides[way], r->sides[other(way)], &tools)) {
        case LANE_WAITS:
            return true;
        case LANE_TIRED:
            loop_defer(r->site->loop, &r->later);
            return true;
        case LANE_STOPS:
            if (!strike_due(r))
                return false;
            break;
        case LANE_BROKE:
            end_broken(r, way);
            return false;
        case LANE_LOST:
            end_broken(r, other(way));
            return false;
        case LANE_FAILED:
            end(r, RELAY_BY_US, RELAY_RESET_BOTH);
            return false;
        }
    }
}

/* Ends a relay on which nothing can come any more. False: over. */
static bool look_for_end(struct relay *r) {
    bool up = r->lanes[RELAY_UP].end == LANE_OVER, down = r->lanes[RELAY_DOWN].end == LANE_OVER;
    bool is_dead = r->lanes[RELAY_UP].swallows && r->lanes[RELAY_DOWN].swallows;

    if (!(up && down) && !(is_dead && !r->finishes && (up || down)))
        return true;
    end(r, r->by_us ? RELAY_BY_US : is_dead ? RELAY_BY_FAULT : RELAY_ENDED, 0);
    return false;
}

/* False: over. */
static bool advance(struct relay *r) {
    if (!run_way(r, RELAY_UP) || !run_way(r, RELAY_DOWN))
        return false;
    relay_tell_bytes(r);
    return look_for_end(r);
}

void relay_notify(struct relay *r, const struct watch *w, unsigned what) {
    enum relay_way way = w == r->sides[RELAY_UP] ? RELAY_UP : RELAY_DOWN;
    const struct relay_lane *lane = &r->lanes[way];

    /* Nobody reads a side whose end was read, or whose bytes wait: its reset would go unnoticed. */
    if ((what & (IO_READ | IO_HANGUP)) && (lane->end != LANE_OPEN || lane->is_blocked) &&
        socket_error(w->fd) < 0)
        end_broken(r, way);
    else
        advance(r);
}

/* --- life ------------------------------------------------------------------------------------- */

void relay_init(struct relay *r, const struct relay_site *site, uint64_t seed,
                void (*over)(struct relay *, enum relay_outcome, unsigned)) {
    *r = (struct relay){
        .site = site,
        .clock.fire = on_clock,
        .later.run = on_turn,
        .rng = rng_stream(seed, 0),
        .since = clock_now(),
        .over = over,
    };
    relay_lane_init(&r->lanes[RELAY_UP], on_up_timer);
    relay_lane_init(&r->lanes[RELAY_DOWN], on_down_timer);
    roll(r, true);
}

int relay_push(struct relay *r, enum relay_way way, struct slice bytes) {
    return relay_lane_push(&r->lanes[way], bytes);
}

static void change_lanes(struct relay *r) {
    for (unsigned way = 0; way < RELAY_WAYS; way++) {
        const struct relay_lane_tools tools = tools_of(r, (enum relay_way)way);
        relay_lane_change(&r->lanes[way], &tools);
    }
}

void relay_open(struct relay *r, struct watch *client, struct watch *target) {
    r->sides[RELAY_UP] = client;
    r->sides[RELAY_DOWN] = target;
    r->is_open = true;
    change_lanes(r);
    if (strike_due(r))
        advance(r);
}

void relay_change(struct relay *r) {
    if (r->finishes || r->breaks)
        return;
    roll(r, false);
    r->since = clock_now();
    for (unsigned way = 0; way < RELAY_WAYS; way++)
        r->base[way] = r->lanes[way].given;
    if (!r->is_open)
        return;
    change_lanes(r);
    if (strike_due(r))
        advance(r);
}

void relay_finish(struct relay *r) {
    r->by_us = true;
    if (!r->finishes && !r->breaks && finish(r))
        advance(r);
}

bool relay_is_busy(const struct relay *r) {
    return relay_lane_is_busy(&r->lanes[RELAY_UP]) || relay_lane_is_busy(&r->lanes[RELAY_DOWN]);
}
