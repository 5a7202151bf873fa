/* SPDX-License-Identifier: MIT */
/* Fits the curve of each condition over a grid, and says where to look next. */
#include "bench/knee.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <math.h>

/* Places of a grid: of capacities or knees, of idle heights or bends, of servers. */
enum { FIRSTS = 41, SECONDS = 13, PASSES = 2 };

static const int servers[] = { 1,  2,  3,  4,  5,  6,  8,   10,  12,  16,
                               20, 24, 32, 48, 64, 96, 128, 192, 256, 512 };

/* Times of a queue are tabled for loads whose distance to the capacity falls by a factor. */
enum { LOADS = 49 };
#define LOAD_STEP 0.125

/* Deviation of the logarithm of the number of servers that a step lets suppose. */
#define SERVERS_SIGMA 0.5

/* The usual bend of a power, and the deviation of its logarithm. */
#define BEND       0.5
#define BEND_SIGMA 1.0

/* No curve is the true one: a height is at least so uncertain. */
#define HEIGHT_SIGMA_MIN 0.03

/* A higher one is that of an overloaded server, and depends on how long the step was. */
#define OVERLOAD 0.7

/* The share of the capacity from which on a brief step does not show how long the queue will be. */
#define BRIEF 0.6

/* The fit takes steps for independent of each other and the curve for true. An interval of 90 % so
 * computed held the knee of a queue in 77 % of 200 searches: it is made wider by this factor. */
#define WIDER 1.4

/* Normal quantile of an interval of 95 %, and Student's degrees of freedom. */
#define INTERVAL_Z 1.96
#define FREEDOM    4.0

/* Steps before the bound has been crossed differ by this factor; by the other one while the height
 * is below FAR. */
#define GROWTH      2.0
#define GROWTH_FAST 4.0
#define FAR         (-1.2)

/* No step is planned for a height below this share of the idle one: no load has it. */
#define IDLE_SHARE 0.7

/* Heights to look at, in turns: at the bound itself a queue is so slow to forget that a step there
 * says less than one a little below. */
static const double targets[] = { -0.5, -0.25 };

void knee_add(struct knee *k, const struct knee_step *step) {
    ASSERT(k->step_count < KNEE_STEPS_MAX);
    k->steps[k->step_count++] = *step;
}

/* --- a queue ---------------------------------------------------------------------------------- */

/* The share of requests that wait, with `c` servers busy for `load` (0..1) of the time. */
static double erlang_c(int c, double load) {
    double blocked = 1, offered = c * load; /* Erlang's B, by its recursion */
    for (int i = 1; i <= c; i++)
        blocked = offered * blocked / (i + offered * blocked);
    return blocked / (1 - load * (1 - blocked));
}

/* The share of requests that take longer than `time`, in units of the mean service time: both the
 * service and the wait of those that wait have exponential laws. */
static double slower_share(int c, double load, double time) {
    double waiting = erlang_c(c, load), drain = c * (1 - load);
    double served = exp(-time);
    if (fabs(drain - 1) < 1e-6)
        return served * (1 + waiting * time);
    return (1 - waiting) * served + waiting * (drain * served - exp(-drain * time)) / (drain - 1);
}

/* The logarithm of the time that `share` of the requests exceed (0: of the mean), over that of an
 * idle server. */
static double growth_of(int c, double load, double share) {
    if (share <= 0)
        return log1p(erlang_c(c, load) / (c * (1 - load)));
    double idle = -log(share), low = idle, high = idle * 2;
    while (slower_share(c, load, high) > share)
        high *= 2;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        *(slower_share(c, load, middle) > share ? &low : &high) = middle;
    }
    return log(low / idle);
}

struct knee_queue {
    double growth[ARRAY_LEN(servers)][LOADS];
};

static void table_queue(struct knee_queue *q, double share) {
    for (size_t i = 0; i < ARRAY_LEN(servers); i++)
        for (int j = 0; j < LOADS; j++)
            q->growth[i][j] = growth_of(servers[i], -expm1(-j * LOAD_STEP), share);
}

/* INFINITY from the capacity on. */
static double growth_at(const double *growth, double load) {
    double at = -log1p(-fmin(load, 1)) / LOAD_STEP;
    if (!(at < LOADS - 1))
        return INFINITY;
    int below = (int)at;
    return growth[below] + (at - below) * (growth[below + 1] - growth[below]);
}

/* The load (0..1) at which the growth is `wanted`. */
static double load_of(const double *growth, double wanted) {
    int i = 0;
    if (wanted <= 0)
        return 0;
    while (i < LOADS - 2 && growth[i + 1] < wanted)
        i++;
    double rise = growth[i + 1] - growth[i];
    double at = i + (rise > 0 ? fmin((wanted - growth[i]) / rise, 1) : 0);
    return -expm1(-at * LOAD_STEP);
}

/* --- a curve ---------------------------------------------------------------------------------- */

/* A curve: of a queue `first` is the logarithm of the capacity and `second` the idle height, of a
 * power the logarithm of the knee and that of the bend. */
struct curve {
    const double *growth; /* NULL: a power */
    int servers;
    double first, second;
};

static double height_at(const struct curve *c, double load) {
    if (c->growth == NULL)
        return (log(load) - c->first) / exp(c->second);
    return c->second + growth_at(c->growth, load / exp(c->first));
}

/* The load at which the curve has a height: of 0, the knee. */
static double load_at(const struct curve *c, double height) {
    if (c->growth == NULL)
        return exp(c->first + height * exp(c->second));
    if (height < 0)
        height = fmax(height, IDLE_SHARE * c->second);
    return exp(c->first) * load_of(c->growth, height - c->second);
}

/* The uncertainty on the side on which the curve is. */
static double sigma_of(const struct knee_sight *s, bool above) {
    double half = above ? s->high - s->height : s->height - s->low;
    if (half == INFINITY)
        half = above ? s->height - s->low : s->high - s->height;
    return fmax(half / INTERVAL_Z, HEIGHT_SIGMA_MIN);
}

/* Student's t without its constant. */
static double tail(double off) {
    return -(FREEDOM + 1) / 2 * log1p(off * off / FREEDOM);
}

static double likelihood(const struct knee_sight *s, double height, bool may_grow) {
    bool at_least = s->high == INFINITY || s->height > OVERLOAD || may_grow;
    if ((at_least && height >= s->height) || (s->low == -INFINITY && height <= s->height))
        return 0;
    return tail((fmin(height, 20) - s->height) / sigma_of(s, height > s->height));
}

/* --- the fit ---------------------------------------------------------------------------------- */

/* The grid: the places of each unknown, and the weight of each curve. */
struct grid {
    double first, first_step, second, second_step;
    double weights[ARRAY_LEN(servers)][FIRSTS][SECONDS];
    size_t rows; /* 1 of a power */
    double busy; /* servers that are supposed; 0: unknown */
    struct knee_queue queue;
};

static double weigh(const struct knee *k, size_t condition, const struct grid *g,
                    const struct curve *c) {
    double supposed = 0;
    if (c->growth == NULL)
        supposed = (c->second - log(BEND)) / BEND_SIGMA;
    else if (g->busy > 0)
        supposed = log(c->servers / fmax(g->busy, 1)) / SERVERS_SIGMA;
    double sum = -supposed * supposed / 2;
    for (size_t i = 0; i < k->step_count; i++) {
        const struct knee_step *step = &k->steps[i];
        bool may_grow = step->is_brief && c->growth != NULL && log(step->load / BRIEF) > c->first;
        sum += likelihood(&step->sights[condition], height_at(c, step->load), may_grow);
        if (c->growth != NULL && step->capacity > 0)
            sum += tail((log(step->capacity) - c->first) / step->capacity_off);
    }
    return sum;
}

static struct curve curve_of(const struct grid *g, size_t row, int i, int j) {
    return (struct curve){ .growth = g->rows > 1 ? g->queue.growth[row] : NULL,
                           .servers = servers[row],
                           .first = g->first + i * g->first_step,
                           .second = g->second + j * g->second_step };
}

/* Weighs all curves; the weights add up to 1. */
static void weigh_all(const struct knee *k, size_t condition, struct grid *g) {
    double most = -INFINITY, sum = 0;
    for (size_t row = 0; row < g->rows; row++)
        for (int i = 0; i < FIRSTS; i++)
            for (int j = 0; j < SECONDS; j++) {
                struct curve c = curve_of(g, row, i, j);
                g->weights[row][i][j] = weigh(k, condition, g, &c);
                most = fmax(most, g->weights[row][i][j]);
            }
    for (size_t row = 0; row < g->rows; row++)
        for (int i = 0; i < FIRSTS; i++)
            for (int j = 0; j < SECONDS; j++)
                sum += g->weights[row][i][j] = exp(g->weights[row][i][j] - most);
    for (size_t row = 0; row < g->rows; row++)
        for (int i = 0; i < FIRSTS; i++)
            for (int j = 0; j < SECONDS; j++)
                g->weights[row][i][j] /= sum;
}

/* The mean and the deviation of an unknown over all curves. */
static void spread_of(const struct grid *g, bool of_second, double *ret_mean, double *ret_off) {
    double sum = 0, squares = 0;
    for (size_t row = 0; row < g->rows; row++)
        for (int i = 0; i < FIRSTS; i++)
            for (int j = 0; j < SECONDS; j++) {
                struct curve c = curve_of(g, row, i, j);
                double value = of_second ? c.second : c.first;
                sum += g->weights[row][i][j] * value;
                squares += g->weights[row][i][j] * value * value;
            }
    *ret_mean = sum;
    *ret_off = sqrt(fmax(squares - sum * sum, 0));
}

static void narrow(double *first, double *step, int places, double mean, double off) {
    double low = fmax(*first, mean - 3.5 * off - *step / 2);
    double high = fmin(*first + (places - 1) * *step, mean + 3.5 * off + *step / 2);
    *first = low;
    *step = (high - low) / (places - 1);
}

/* The load of the height, as the middle of all curves has it, with its interval: the weights by
 * load are counted in bins of a hundredth of the deviation. */
static struct knee_estimate spread_loads(const struct grid *g, double height) {
    enum { BINS = 401 };
    double bins[BINS] = { 0 }, sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        double off = sqrt(fmax(squares - sum * sum, 1e-12)), middle = sum;
        for (size_t row = 0; row < g->rows; row++)
            for (int i = 0; i < FIRSTS; i++)
                for (int j = 0; j < SECONDS; j++) {
                    struct curve c = curve_of(g, row, i, j);
                    double load = log(fmax(load_at(&c, height), 1e-9)), w = g->weights[row][i][j];
                    double bin = (load - middle) / off * 50 + BINS / 2;
                    if (pass == 1)
                        bins[(int)fmax(fmin(bin, BINS - 1), 0)] += w;
                    sum += pass == 0 ? w * load : 0;
                    squares += pass == 0 ? w * load * load : 0;
                }
    }
    double off = sqrt(fmax(squares - sum * sum, 1e-12)), shares[] = { 0.05, 0.5, 0.95 }, below = 0;
    double loads[3] = { 0 };
    for (int i = 0, next = 0; i < BINS && next < 3; i++)
        for (below += bins[i]; next < 3 && below >= shares[next]; next++)
            loads[next] = exp(sum + (i - BINS / 2) * off / 50);
    return (struct knee_estimate){ .load = loads[1],
                                   .low = loads[1] * pow(loads[0] / loads[1], WIDER),
                                   .high = loads[1] * pow(loads[2] / loads[1], WIDER) };
}

/* --- the search ------------------------------------------------------------------------------- */

enum knee_verdict knee_judge(const struct knee *k, const struct knee_step *step) {
    enum knee_verdict all = KNEE_HOLDS;
    for (size_t i = 0; i < k->condition_count; i++) {
        bool is_growing = step->capacity > 0 && k->conditions[i].law == KNEE_QUEUE;
        if (step->sights[i].low > 0 || is_growing)
            return KNEE_FAILS;
        if (step->sights[i].high >= 0)
            all = KNEE_UNCLEAR;
    }
    return all;
}

/* The height of the condition that is highest. */
static double highest(const struct knee *k, const struct knee_step *step) {
    double most = -INFINITY;
    for (size_t i = 0; i < k->condition_count; i++)
        most = fmax(most, step->sights[i].height);
    return most;
}

/* The highest load that was below the bound, and the lowest one above it that surely failed; a
 * single failure may have been a hiccup. 0: none. */
static void find_bracket(const struct knee *k, double *ret_holds, double *ret_fails) {
    size_t failures = 0;
    *ret_holds = *ret_fails = 0;
    for (size_t i = 0; i < k->step_count; i++) {
        const struct knee_step *step = &k->steps[i];
        if (knee_judge(k, step) == KNEE_FAILS) {
            failures++;
            if (*ret_fails <= 0 || step->load < *ret_fails)
                *ret_fails = step->load;
        } else if (highest(k, step) <= 0 && step->load > *ret_holds) {
            *ret_holds = step->load;
        }
    }
    if (failures < 2)
        *ret_fails = 0;
}

bool knee_is_bracketed(const struct knee *k) {
    double holds, fails;
    find_bracket(k, &holds, &fails);
    return holds > 0 && fails > 0;
}

static double clip(const struct knee *k, double load) {
    load = fmax(fmin(load, k->most), k->least);
    return k->is_whole ? fmax(round(load), 1) : load;
}

/* Up while nothing fails, down while nothing holds. After the first failure comes another look, at
 * a load that surely shows the capacity. */
static double next_outside(const struct knee *k, double fails) {
    const struct knee_step *last = &k->steps[k->step_count - 1];
    if (fails > 0)
        return fails <= k->least ? 0 : clip(k, fails / GROWTH);
    if (knee_judge(k, last) == KNEE_FAILS)
        return clip(k, last->planned * (last->capacity > 0 ? 1 : GROWTH));
    if (last->planned >= k->most)
        return 0;
    return clip(k, last->planned * (highest(k, last) < FAR ? GROWTH_FAST : GROWTH));
}

/* Requests at the server at once while it is overloaded, as far as it serves them: the capacity
 * times the mean time of a step without a queue. */
static double servers_supposed(const struct knee *k) {
    double capacity = 0, load = INFINITY, time = 0;
    for (size_t i = 0; i < k->step_count; i++) {
        const struct knee_step *step = &k->steps[i];
        capacity = step->capacity > 0 ? step->capacity : capacity;
        if (step->load < load) {
            load = step->load;
            time = step->busy / load;
        }
    }
    return capacity * time;
}

/* Fits the curve of a condition. The capacity is above all that held, and near what failed. */
static void fit(const struct knee *k, size_t condition, struct grid *g) {
    double holds, fails, lowest = INFINITY, mean, off;
    bool is_queue = k->conditions[condition].law == KNEE_QUEUE;
    find_bracket(k, &holds, &fails);
    for (size_t i = 0; i < k->step_count; i++)
        lowest = fmin(lowest, k->steps[i].sights[condition].height);
    g->rows = is_queue ? ARRAY_LEN(servers) : 1;
    g->busy = servers_supposed(k);
    g->first = log(fmin(holds, fails) / 2);
    g->first_step = (log(fmax(holds, fails) * (is_queue ? 2 : 1.1)) - g->first) / (FIRSTS - 1);
    g->second = is_queue ? lowest - 0.5 : log(BEND / 20);
    g->second_step = (is_queue ? 1.0 : log(400)) / (SECONDS - 1);
    if (is_queue)
        table_queue(&g->queue, k->conditions[condition].share);
    for (int pass = 0; pass < PASSES; pass++) {
        weigh_all(k, condition, g);
        if (pass == PASSES - 1)
            return;
        spread_of(g, false, &mean, &off);
        narrow(&g->first, &g->first_step, FIRSTS, mean, off);
        spread_of(g, true, &mean, &off);
        narrow(&g->second, &g->second_step, SECONDS, mean, off);
    }
}

/* The load at which the first of all conditions has the height. */
static struct knee_estimate find_load(const struct knee *k, double height) {
    struct knee_estimate least = { INFINITY, INFINITY, INFINITY, false, false };
    struct grid *g = mem_calloc(1, sizeof(*g));
    for (size_t i = 0; i < k->condition_count && g != NULL; i++) {
        fit(k, i, g);
        struct knee_estimate one = spread_loads(g, g->rows > 1 ? height : 0);
        least.load = fmin(least.load, one.load);
        least.low = fmin(least.low, one.low);
        least.high = fmin(least.high, one.high);
    }
    mem_free(g);
    return least;
}

double knee_next(const struct knee *k) {
    double holds, fails;
    if (k->step_count == 0)
        return clip(k, k->first);
    find_bracket(k, &holds, &fails);
    if (holds <= 0 || fails <= 0)
        return next_outside(k, fails);
    return clip(k, find_load(k, targets[k->step_count % ARRAY_LEN(targets)]).load);
}

struct knee_estimate knee_estimate(const struct knee *k) {
    double holds, fails;
    find_bracket(k, &holds, &fails);
    if (holds > 0 && fails > 0)
        return find_load(k, 0);
    return (struct knee_estimate){ .load = holds,
                                   .low = holds,
                                   .high = fails,
                                   .is_above = fails <= 0 && holds > 0,
                                   .is_below = holds <= 0 };
}
