/* SPDX-License-Identifier: MIT */
/* Counts and rolls for a request. */
#include "slowapi/roll.h"
#include "base/log.h"
#include "slowapi/limits.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void refuse(struct roll_refusal *refusal, uint16_t status, const char *text) {
    refusal->status = status;
    refusal->text = text;
}

/* --- counting --------------------------------------------------------------------------------- */

/* The key that counts how often a session was forgotten. */
static uint64_t session_age_key(struct slice session) {
    return hash_bytes(hash_bytes(HASH_SEED, "age of a session", 16), session.ptr, session.len);
}

void roll_forget_session(struct shared *shared, struct slice session) {
    bool evicts;

    (void)sequence_next(shared, session_age_key(session), &evicts);
}

uint64_t roll_session_age(struct shared *shared, struct slice session) {
    return sequence_look(shared, session_age_key(session));
}

/* A client, or a session of one. */
static uint64_t client_key(const struct roll *r) {
    uint64_t key = hash_bytes(HASH_SEED, &r->client, sizeof(r->client));
    struct slice session;

    if (!http_field_find(r->head, SLICE(SLOWAPI_SESSION), &session))
        return key;
    uint64_t age = roll_session_age(r->shared, session);
    return hash_bytes(hash_bytes(key, session.ptr, session.len), &age, sizeof(age));
}

/* Requests that are counted together: a key alone decides; without one, what a client, or a session
 * of one, asks of a path counts by itself. */
static uint64_t sequence_key(const struct roll *r) {
    const struct spec *spec = r->spec;
    const int64_t numbers[] = { spec->first, spec->every };

    if (spec->has_key)
        return spec->key;
    uint64_t key = hash_bytes(client_key(r), numbers, sizeof(numbers));
    key = hash_bytes(key, spec->seq, spec->seq_count * sizeof(spec->seq[0]));
    return hash_bytes(key, r->path.ptr, r->path.len);
}

void roll_tell_eviction(struct slow_stats *stats, const struct shared *shared) {
    static struct log_rate rate = { .per_second = 1 };

    slow_stats_count(stats, SLOW_SEQUENCE_EVICTIONS);
    log_limited(&rate, LOG_LEVEL_WARN, "a sequence was forgotten places=%u option=--sequences",
                shared->sequences.capacity);
}

/* The fields are those of draft-ietf-httpapi-ratelimit-headers-06, which most clients know. */
void roll_limit(const struct roll *r, struct roll_refusal *ret) {
    const struct spec *spec = r->spec;
    const int64_t numbers[] = { spec->limit, spec->limit_span };

    ret->status = 0;
    ret->fields[0] = '\0';
    if (spec->limit == 0)
        return;
    uint64_t key = spec->has_key ? spec->key : client_key(r);
    key = hash_bytes(hash_bytes(key, "limit", 5), numbers, sizeof(numbers));
    struct window_turn turn =
        window_take(r->shared, key, (uint64_t)spec->limit, spec->limit_span, clock_now());
    if (turn.evicts)
        roll_tell_eviction(r->stats, r->shared);
    uint64_t seconds = (uint64_t)((turn.reset_after + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
    size_t len = (size_t)snprintf(ret->fields, sizeof(ret->fields),
                                  "RateLimit-Limit: %" PRId64 "\r\nRateLimit-Remaining: %" PRIu64
                                  "\r\nRateLimit-Reset: %" PRIu64 "\r\n",
                                  spec->limit, turn.left, seconds);
    if (turn.fits)
        return;
    slow_stats_count(r->stats, SLOW_LIMITED);
    snprintf(ret->fields + len, sizeof(ret->fields) - len, "Retry-After: %" PRIu64 "\r\n", seconds);
    refuse(ret, 429, "too many requests");
}

/* Counts the requests that are counted together: 1 for the first, 2, ...; 0: nobody wants to know.
 */
static uint64_t count_request(const struct roll *r, bool is_told) {
    const struct spec *spec = r->spec;
    bool evicts;

    if (spec->seq_count == 0 && spec->first == 0 && spec->every == 0 && !is_told)
        return 0;
    uint64_t n = sequence_next(r->shared, sequence_key(r), &evicts);
    if (evicts)
        roll_tell_eviction(r->stats, r->shared);
    return n + 1;
}

/* --- outcome ---------------------------------------------------------------------------------- */

static bool is_stronger(const struct fault *fault, const struct fault *other) {
    if (fault->kind == FAULT_CORRUPT)
        return fault->probability > other->probability;
    bool is_link = fault->kind == FAULT_BANDWIDTH || fault->kind == FAULT_SHARED_BANDWIDTH;
    return is_link ? fault->arg < other->arg : fault->arg > other->arg;
}

/* Hangs and ends strike one after the other, each at its place; of other kinds the strongest. */
static void add_fault(struct roll_outcome *outcome, const struct fault *fault) {
    bool adds_up = fault_infos[fault->kind].moment == FAULT_AT_STOP;

    for (size_t i = 0; i < outcome->fault_count && !adds_up; i++) {
        if (outcome->faults[i].kind != fault->kind || outcome->faults[i].place != fault->place)
            continue;
        if (is_stronger(fault, &outcome->faults[i]))
            outcome->faults[i] = *fault;
        return;
    }
    outcome->faults[outcome->fault_count++] = *fault;
}

static void roll_faults(const struct roll *r, struct roll_outcome *outcome) {
    for (size_t i = 0; i < r->spec->fault_count; i++) {
        const struct fault *fault = &r->spec->faults[i];
        bool is_per_byte = fault->kind == FAULT_CORRUPT;
        if ((fault->place & FAULT_AT_CONNECTION) != 0 ||
            (fault_infos[fault->kind].moment == FAULT_ON_REUSE && !r->is_reused))
            continue;
        bool is_rolled = is_per_byte || rng_unit(r->rng) < fault->probability;
        if (is_rolled && shared_fault_is_on(r->shared, (enum fault_kind)fault->kind))
            add_fault(outcome, fault);
    }
}

void roll_outcome(const struct roll *r, uint16_t status, bool is_told, struct roll_outcome *ret) {
    const struct spec *spec = r->spec;

    ret->number = count_request(r, is_told);
    ret->status = status;
    ret->fault_count = 0;
    uint64_t n = ret->number > 0 ? ret->number - 1 : 0;
    bool holds = (spec->first == 0 || n < (uint64_t)spec->first) &&
                 (spec->every == 0 || (n + 1) % (uint64_t)spec->every == 0);

    if (holds)
        ret->status = (uint16_t)mix_pick(&spec->status, r->rng, status);
    if (spec->seq_count > 0)
        ret->status = spec->seq[n % spec->seq_count];
    ret->close = spec->close_share > 0 && rng_unit(r->rng) < spec->close_share;
    if (holds)
        roll_faults(r, ret);
}

/* --- delay ------------------------------------------------------------------------------------ */

static int64_t in_flight(const struct roll *r) {
    return atomic_load_explicit(&r->stats->total->in_flight, memory_order_relaxed);
}

static double load_factor(const struct roll *r) {
    double flying = (double)in_flight(r), factor = warmup_factor(&r->spec->warmup, r->now);

    if (r->spec->collapse_knee > 0 && flying > r->spec->collapse_knee)
        factor *= pow(flying / r->spec->collapse_knee, r->spec->collapse_power);
    return factor;
}

static void turn_away(const struct roll *r, nsec_t retry_after, struct roll_refusal *ret) {
    slow_stats_count(r->stats, SLOW_QUEUE_FULL);
    snprintf(ret->fields, sizeof(ret->fields), "Retry-After: %lld\r\n",
             (long long)((retry_after + NSEC_PER_SEC - 1) / NSEC_PER_SEC));
    refuse(ret, r->spec->full, "the queue is full");
}

/* Requests that queue together: those with the same key, law and sizes. */
static uint64_t queue_key(const struct spec *spec) {
    const int64_t parts[] = { spec->has_key ? (int64_t)spec->key : 0, spec->has_key, spec->workers,
                              spec->queue };

    return dist_hash(hash_bytes(HASH_SEED, parts, sizeof(parts)), &spec->service);
}

static void enter_queue(const struct roll *r, double factor, struct roll_wait *wait,
                        struct roll_refusal *refusal) {
    static struct log_rate rate = { .per_second = 1 };
    const struct spec *spec = r->spec;
    nsec_t service = (nsec_t)((double)dist_draw(&spec->service, r->rng) * factor);

    const struct queue_ask ask = {
        .workers = spec->workers, .limit = spec->queue, .service = service, .name = r->path
    };
    struct queue_turn turn = queue_enter(r->shared, queue_key(spec), &ask, clock_now());
    if (turn.evicts) {
        slow_stats_count(r->stats, SLOW_QUEUE_EVICTIONS);
        log_limited(&rate, LOG_LEVEL_WARN, "a queue was forgotten places=%u option=--queues",
                    r->shared->queues.capacity);
    }
    if (turn.is_full) {
        turn_away(r, turn.retry_after, refusal);
        return;
    }
    wait->queued = turn.wait;
    wait->delay = deadline_after(wait->delay, turn.wait + service);
}

static void pass_pause(const struct roll *r, struct roll_wait *wait, struct roll_refusal *refusal) {
    const struct pause *pause = &r->spec->pause;
    nsec_t left = pause_left(pause, r->now);

    if (left > 0 && pause->status != 0) {
        refuse(refusal, pause->status, "paused");
        return;
    }
    if (pause->delay > 0 || pause->status != 0) {
        wait->delay = deadline_after(wait->delay, left > 0 ? pause->delay : 0);
        return;
    }
    wait->delay = deadline_after(wait->delay, left);
    wait->delay =
        deadline_after(wait->delay, pause_left(pause, deadline_after(r->now, wait->delay)));
}

void roll_delay(const struct roll *r, struct roll_wait *ret, struct roll_refusal *ret_refusal) {
    const struct spec *spec = r->spec;
    double factor = load_factor(r);
    double delay =
        ((double)dist_draw(&spec->delay, r->rng) + spec->linear * (double)in_flight(r)) * factor;

    *ret = (struct roll_wait){ .delay = delay < 3e17 ? (nsec_t)delay : (nsec_t)3e17 };
    ret_refusal->status = 0;
    ret_refusal->fields[0] = '\0';
    if (spec->workers > 0)
        enter_queue(r, factor, ret, ret_refusal);
    if (ret_refusal->status == 0 && spec->pause.span > 0)
        pass_pause(r, ret, ret_refusal);
}
