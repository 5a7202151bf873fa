/* SPDX-License-Identifier: MIT */
/* The scheduler of fibers: spawn, park, wake, cancel. Fibers switch to the loop's stack and back,
 * never to each other. */
#include "fiber/fiber.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/poison.h"
#include "fiber/stack.h"
#include "fiber/switch.h"
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef POISON_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef POISON_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* One of a fiber's stack, or of the loop's own (whose bounds only ASan asks for, and learns). */
struct fiber_context {
    void *sp; /* while it does not run */
    const void *low;
    size_t bytes;
    void *asan_fake_stack;
    void *tsan_fiber;
    unsigned valgrind_id;
};

enum fiber_state {
    FIBER_CACHED, /* a stack without a fiber */
    FIBER_READY,  /* in the run queue */
    FIBER_RUNNING,
    FIBER_PARKED,
    FIBER_ENDED, /* has left its stack for the last time */
};

/* The exceptions of C++ that are being handled and thrown, which its library keeps for each thread:
 * __cxa_eh_globals of the Itanium C++ ABI, 2.2.2. */
struct fiber_exceptions {
    void *caught;
    unsigned uncaught;
};

/* The control block of a fiber, at the top of its stack. */
struct fiber {
    struct fiber_context context;
    struct fibers *fibers;
    struct fiber *next; /* in the run queue or in the cache */
    enum fiber_state state;
    bool woken, cancelled;
    bool timed_out; /* made ready by its deadline, by none of those above */
    bool trimmed;   /* while cached: only the top page is resident */

    /* The timer may be armed earlier than the deadline, or for a deadline that is over: it looks at
     * `deadline` when it fires. So a park that ends in time costs no work on the heap. It stays
     * armed even across lives. */
    nsec_t deadline;
    struct timer timer;

    const char *name;
    void (*run)(void *);
    void *arg;
    void *shown;                        /* to the observer */
    struct patch *patch;                /* fiber_patch, while it does not run */
    struct fiber_exceptions exceptions; /* likewise */
    char *stack_low;
};

enum {
    STACK_BYTES_DEFAULT = 256 * 1024, /* room for getaddrinfo(3), libpq and libcurl */
    STACK_BYTES_MIN = 16 * 1024,
    CACHE_DEFAULT = 64,
    RUNS_MAX = 256,   /* fibers run in one go, before descriptors and timers get a look */
    UNMAPS_MAX = 512, /* in one go, for the same reason */
    BLOCK_BYTES = (sizeof(struct fiber) + 63) / 64 * 64,
};

#define TRIM_INTERVAL NSEC_PER_SEC
#define TRIM_AGAIN    (20 * NSEC_PER_MSEC)

struct fibers {
    struct loop *loop;
    struct fiber *running;
    struct fiber_context loop_context;
    struct fiber *ready_first, **ready_last;
    struct deferred run_more;

    struct fiber_stacks stacks;
    struct fiber *cache; /* the most recently used first */
    uint32_t cached;
    uint32_t cached_least; /* length of the list's end that went unused since the last trim */
    uint32_t cache_max;
    struct timer trim;

    bool census;
    struct log_rate complaints;
    struct fiber_stats stats;
    struct fiber_exceptions *exceptions; /* the thread's; NULL: nobody uses C++ */
    unsigned long long loads_searched;   /* libraries that the process had loaded by then */
    void (*switched)(void *arg, void *shown);
    void *switched_arg;
};

__thread struct patch *fiber_patch;

/* --- a switch that the checkers can follow --------------------------------------------------- */

/* AddressSanitizer, ThreadSanitizer and valgrind each want to know which stack runs. Nothing but
 * fiber_switch is left of this in an ordinary build. */

/* For the stack that is running. */
static void context_adopt(UNUSED struct fiber_context *c) {
#ifdef POISON_TSAN
    c->tsan_fiber = __tsan_get_current_fiber();
#endif
}

/* A mapped stack, and its end. */
static void context_map(struct fiber_context *c, const void *low, size_t bytes) {
    c->low = low;
    c->bytes = bytes;
#ifdef HAVE_VALGRIND
    c->valgrind_id = VALGRIND_STACK_REGISTER(low, (const char *)low + bytes - 1);
#endif
}

static void context_unmap(UNUSED struct fiber_context *c) {
#ifdef HAVE_VALGRIND
    VALGRIND_STACK_DEREGISTER(c->valgrind_id);
#endif
}

/* One life on that stack. TSan keeps a call stack of its own, which never unwinds when a fiber ends
 * in the middle of a function: it gets a new one for each life. */
static void context_begin(UNUSED struct fiber_context *c) {
#ifdef POISON_TSAN
    c->tsan_fiber = __tsan_create_fiber(0);
#endif
}

/* Called on another stack. Dead frames leave red zones behind. */
static void context_end(UNUSED struct fiber_context *c) {
#ifdef POISON_TSAN
    __tsan_destroy_fiber(c->tsan_fiber);
#endif
#ifdef POISON_ASAN
    ASAN_UNPOISON_MEMORY_REGION(c->low, c->bytes);
#endif
}

/* Dead frames are going to be looked at. */
static void context_inspect(UNUSED struct fiber_context *c) {
#ifdef HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_DEFINED(c->low, c->bytes);
#endif
}

/* First thing on a new stack that was entered from `from`. */
static void context_entered(UNUSED struct fiber_context *from) {
#ifdef POISON_ASAN
    __sanitizer_finish_switch_fiber(NULL, &from->low, &from->bytes);
#endif
}

/* Leaves `from`, which runs, for `to`. `dying`: nobody will come back. */
static void context_switch(struct fiber_context *from, struct fiber_context *to,
                           UNUSED bool dying) {
#ifdef POISON_ASAN
    __sanitizer_start_switch_fiber(dying ? NULL : &from->asan_fake_stack, to->low, to->bytes);
#endif
#ifdef POISON_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    fiber_switch(&from->sp, to->sp);
#ifdef POISON_ASAN
    __sanitizer_finish_switch_fiber(from->asan_fake_stack, NULL, NULL);
#endif
}

/* --- stacks and their cache ------------------------------------------------------------------ */

static void on_deadline(struct timer *timer);

static struct fiber *block_map(struct fibers *fibers) {
    char *low = NULL;
    int rc = fiber_stack_map(&fibers->stacks, &low);
    if (rc < 0) {
        errno = -rc;
        return NULL;
    }

    size_t below_block = fibers->stacks.usable_bytes - BLOCK_BYTES;
    struct fiber *fiber = (struct fiber *)(void *)(low + below_block);
    fiber->fibers = fibers; /* the mapping is zeroed */
    fiber->stack_low = low;
    fiber->timer.fire = on_deadline;
    context_map(&fiber->context, low, below_block);
    if (fibers->census)
        fiber_stack_paint(low, below_block);
    return fiber;
}

static void block_unmap(struct fibers *fibers, struct fiber *fiber) {
    timer_cancel(fibers->loop, &fiber->timer);
    context_unmap(&fiber->context);
    fiber_stack_unmap(&fibers->stacks, fiber->stack_low);
    fibers->cached--;
}

static void cache_push(struct fibers *fibers, struct fiber *fiber) {
    fiber->state = FIBER_CACHED;
    fiber->next = fibers->cache;
    fibers->cache = fiber;
    fibers->cached++;

    if (!timer_armed(&fibers->trim)) {
        fibers->cached_least = fibers->cached;
        nsec_t at = deadline_after(loop_now(fibers->loop), TRIM_INTERVAL);
        int rc = timer_set(fibers->loop, &fibers->trim, at);
        (void)rc; /* without memory for the timer: the next one to end tries again */
    }
}

static struct fiber *cache_pop(struct fibers *fibers) {
    struct fiber *fiber = fibers->cache;
    if (fiber == NULL)
        return NULL;

    fibers->cache = fiber->next;
    fibers->cached--;
    if (fibers->cached < fibers->cached_least)
        fibers->cached_least = fibers->cached;
    fiber->trimmed = false;
    return fiber;
}

/* Unmaps the list that starts at *link, but not too many at once. False when some are left. */
static bool cache_cut(struct fibers *fibers, struct fiber **link) {
    for (unsigned i = 0; i < UNMAPS_MAX && *link != NULL; i++) {
        struct fiber *fiber = *link;
        *link = fiber->next;
        block_unmap(fibers, fiber);
    }
    return *link == NULL;
}

/* Stacks that nobody used during the last interval are cold: they give their memory back, and those
 * beyond the limit go away. A busy server's stacks stay hot and cost no system call. */
static void on_trim(struct timer *timer) {
    struct fibers *fibers = CONTAINER_OF(timer, struct fibers, trim);
    uint32_t hot = fibers->cached - fibers->cached_least;
    struct fiber **link = &fibers->cache;
    uint32_t kept = 0;

    for (; *link != NULL && (kept < hot || kept < fibers->cache_max); kept++) {
        struct fiber *fiber = *link;
        if (kept >= hot && !fiber->trimmed && !fibers->census) {
            fiber_stack_trim(&fibers->stacks, fiber->stack_low);
            fiber->trimmed = true;
        }
        link = &fiber->next;
    }
    bool done = cache_cut(fibers, link);

    fibers->cached_least = fibers->cached;
    if (done && hot == 0)
        return;

    nsec_t span = done ? TRIM_INTERVAL : TRIM_AGAIN;
    int rc = timer_set(fibers->loop, timer, deadline_after(loop_now(fibers->loop), span));
    ASSERT(rc == 0); /* a place in the heap has just become free */
}

static void take_census(struct fibers *fibers, struct fiber *fiber) {
    size_t bytes = fibers->stacks.usable_bytes - BLOCK_BYTES;

    context_inspect(&fiber->context);
    size_t used = fiber_stack_unpainted(fiber->stack_low, bytes);

    if (used > fibers->stats.stack_peak_bytes)
        fibers->stats.stack_peak_bytes = used;
    fiber_stack_paint(fiber->stack_low + bytes - used, used);
}

/* --- switching ------------------------------------------------------------------------------- */

static void fiber_main(void *arg) {
    struct fiber *fiber = arg;
    struct fibers *fibers = fiber->fibers;

    context_entered(&fibers->loop_context);
    fiber->run(fiber->arg);
    fiber->state = FIBER_ENDED;
    context_switch(&fiber->context, &fibers->loop_context, true);
    ASSERT(!"an ended fiber was resumed");
}

static int count_loads(struct dl_phdr_info *info, size_t bytes UNUSED, void *arg) {
    memcpy(arg, &info->dlpi_adds, sizeof(info->dlpi_adds));
    return 1;
}

/* A library of C++, or what was linked with one, may be in nobody's scope but its own. */
static void *find_exceptions(void) {
    void *program = dlopen(NULL, RTLD_LAZY), *found = dlsym(program, "__cxa_get_globals");
    struct link_map *map = NULL;

    if (dlinfo(program, RTLD_DI_LINKMAP, &map) < 0)
        map = NULL;
    for (; found == NULL && map != NULL; map = map->l_next) {
        void *library =
            map->l_name[0] != '\0' ? dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD) : NULL;

        if (library == NULL)
            continue;
        found = dlsym(library, "__cxa_get_globals");
        dlclose(library); /* the process keeps its own handle */
    }
    dlclose(program);
    return found;
}

void fibers_keep_exceptions(struct fibers *fibers) {
    struct fiber_exceptions *(*get)(void);
    unsigned long long loads = 0;
    void *found;

    if (fibers->exceptions != NULL)
        return;
    dl_iterate_phdr(count_loads, &loads);
    if (loads == fibers->loads_searched)
        return;
    fibers->loads_searched = loads;
    found = find_exceptions();
    memcpy(&get, &found, sizeof(get)); /* POSIX has it so, ISO C does not */
    if (get != NULL)
        fibers->exceptions = get();
}

static void exchange_exceptions(struct fiber_exceptions *a, struct fiber_exceptions *b) {
    struct fiber_exceptions was = *a;

    *a = *b;
    *b = was;
}

/* Called on the loop's stack. */
static void resume(struct fibers *fibers, struct fiber *fiber) {
    fiber->state = FIBER_RUNNING;
    fibers->running = fiber;
    if (fibers->switched != NULL && fiber->shown != NULL)
        fibers->switched(fibers->switched_arg, fiber->shown);
    fiber_patch = fiber->patch;
    if (fibers->exceptions != NULL)
        exchange_exceptions(fibers->exceptions, &fiber->exceptions);
    context_switch(&fibers->loop_context, &fiber->context, false);
    if (fibers->exceptions != NULL)
        exchange_exceptions(fibers->exceptions, &fiber->exceptions);
    fiber->patch = fiber_patch;
    fiber_patch = NULL;
    fibers->running = NULL;
    if (fibers->switched != NULL && fiber->shown != NULL)
        fibers->switched(fibers->switched_arg, NULL);

    if (fiber->state == FIBER_ENDED) {
        context_end(&fiber->context);
        if (fibers->census)
            take_census(fibers, fiber);
        fibers->stats.live--;
        cache_push(fibers, fiber);
    }
}

static void make_ready(struct fiber *fiber) {
    struct fibers *fibers = fiber->fibers;

    fiber->state = FIBER_READY;
    fiber->next = NULL;
    *fibers->ready_last = fiber;
    fibers->ready_last = &fiber->next;
}

void fibers_run(struct fibers *fibers) {
    if (fibers->running != NULL)
        return; /* the loop's stack goes on with the queue once this one parks */

    for (unsigned runs = 0; fibers->ready_first != NULL; runs++) {
        if (runs == RUNS_MAX) {
            loop_defer(fibers->loop, &fibers->run_more);
            return;
        }
        struct fiber *fiber = fibers->ready_first;
        fibers->ready_first = fiber->next;
        if (fibers->ready_first == NULL)
            fibers->ready_last = &fibers->ready_first;
        resume(fibers, fiber);
    }
}

static void on_run_more(struct deferred *work) {
    fibers_run(CONTAINER_OF(work, struct fibers, run_more));
}

/* --- the life of a fiber --------------------------------------------------------------------- */

static struct fiber *block_new(struct fibers *fibers) {
    struct fiber *fiber = cache_pop(fibers);
    if (fiber == NULL)
        fiber = block_map(fibers);
    if (fiber != NULL)
        return fiber;

    int rc = -errno;
    struct error err;
    fiber_stack_explain(&fibers->stacks, rc, fibers->stats.live, &err);
    log_limited(&fibers->complaints, LOG_LEVEL_ERROR, "%s", err.text);
    errno = -rc;
    return NULL;
}

static int spawn(struct fibers *fibers, const char *name, void (*run)(void *), void *arg,
                 void *shown) {
    struct fiber *fiber = block_new(fibers);
    if (fiber == NULL)
        return -errno;

    fiber->name = name;
    fiber->run = run;
    fiber->arg = arg;
    fiber->shown = shown;
    fiber->patch = NULL;
    fiber->exceptions = (struct fiber_exceptions){ .caught = NULL };
    fiber->woken = fiber->cancelled = fiber->timed_out = false;
    fiber->context.sp = fiber_switch_prepare(fiber->stack_low, fiber, fiber_main, fiber);
    context_begin(&fiber->context);

    fibers->stats.spawned++;
    if (++fibers->stats.live > fibers->stats.peak)
        fibers->stats.peak = fibers->stats.live;
    make_ready(fiber);
    fibers_run(fibers);
    return 0;
}

int fiber_spawn(struct fibers *fibers, const char *name, void (*run)(void *), void *arg) {
    return spawn(fibers, name, run, arg, arg);
}

int fiber_spawn_part(struct fibers *fibers, const char *name, void (*run)(void *), void *arg) {
    ASSERT(fibers->running != NULL);
    return spawn(fibers, name, run, arg, fibers->running->shown);
}

int fiber_spawn_aside(struct fibers *fibers, const char *name, void (*run)(void *), void *arg) {
    return spawn(fibers, name, run, arg, NULL);
}

void fibers_observe(struct fibers *fibers, void (*switched)(void *arg, void *shown), void *arg) {
    fibers->switched = switched;
    fibers->switched_arg = arg;
}

void *fiber_shown(const struct fiber *fiber) {
    return fiber->shown;
}

struct fiber *fiber_self(const struct fibers *fibers) {
    return fibers->running;
}

static int arm(struct fibers *fibers, struct fiber *fiber, nsec_t deadline) {
    fiber->deadline = deadline;
    if (deadline == NSEC_NEVER)
        return 0;
    if (deadline <= loop_now(fibers->loop))
        return -ETIMEDOUT;
    if (timer_armed(&fiber->timer) && fiber->timer.at <= deadline)
        return 0;
    return timer_set(fibers->loop, &fiber->timer, deadline);
}

static void on_deadline(struct timer *timer) {
    struct fiber *fiber = CONTAINER_OF(timer, struct fiber, timer);
    struct fibers *fibers = fiber->fibers;

    if (fiber->state != FIBER_PARKED || fiber->deadline == NSEC_NEVER)
        return;

    if (fiber->deadline > loop_now(fibers->loop)) {
        int rc = timer_set(fibers->loop, timer, fiber->deadline);
        ASSERT(rc == 0); /* a place in the heap has just become free */
        return;
    }
    fiber->timed_out = true;
    make_ready(fiber);
    fibers_run(fibers);
}

int fiber_park(struct fibers *fibers, nsec_t deadline) {
    struct fiber *fiber = fibers->running;
    ASSERT(fiber != NULL);

    if (!fiber->woken && !fiber->cancelled) {
        int rc = arm(fibers, fiber, deadline);
        if (rc < 0)
            return rc;
        fiber->timed_out = false;
        fiber->state = FIBER_PARKED;
        context_switch(&fiber->context, &fibers->loop_context, false);
    }

    bool woken = fiber->woken;
    fiber->woken = false;
    if (fiber->cancelled)
        return -ECANCELED;
    ASSERT(woken || fiber->timed_out);
    return woken ? 0 : -ETIMEDOUT;
}

void fiber_await(struct fibers *fibers) {
    struct fiber *fiber = fibers->running;
    ASSERT(fiber != NULL);

    while (!fiber->woken) { /* a cancellation makes it run, too */
        fiber->state = FIBER_PARKED;
        context_switch(&fiber->context, &fibers->loop_context, false);
    }
    fiber->woken = false;
}

/* Woken, it parks again; without memory for its timer it does not park. */
void fiber_nap(struct fibers *fibers, nsec_t until) {
    struct fiber *fiber = fibers->running;
    bool cancelled = fiber->cancelled;

    fiber->cancelled = fiber->timed_out = false;
    while (!fiber->timed_out && !fiber->cancelled && arm(fibers, fiber, until) == 0) {
        fiber->state = FIBER_PARKED;
        context_switch(&fiber->context, &fibers->loop_context, false);
    }
    fiber->cancelled |= cancelled;
}

void fiber_wake_later(struct fiber *fiber) {
    ASSERT(fiber->state != FIBER_CACHED);
    fiber->woken = true;
    if (fiber->state == FIBER_PARKED)
        make_ready(fiber);
}

void fiber_wake(struct fiber *fiber) {
    struct fibers *fibers = fiber->fibers;
    fiber_wake_later(fiber);
    fibers_run(fibers);
}

void fiber_cancel(struct fiber *fiber) {
    struct fibers *fibers = fiber->fibers;
    ASSERT(fiber->state != FIBER_CACHED);
    fiber->cancelled = true;
    if (fiber->state == FIBER_PARKED)
        make_ready(fiber);
    fibers_run(fibers);
}

bool fiber_cancelled(const struct fiber *fiber) {
    return fiber->cancelled;
}

/* --- overflow ------------------------------------------------------------------------------- */

#if defined(POISON_ASAN) || defined(POISON_TSAN)
enum { HANDLER_WANTED = 0 };
#else
enum { HANDLER_WANTED = 1 };
#endif

enum { SIGNAL_STACK_BYTES = 16 * 1024 }; /* AVX-512 state alone takes nearly 3 KiB */

/* State for the signal handler, which takes no argument. */
static __thread struct {
    struct fiber *const *running;
    size_t guard_bytes;
    void *signal_stack;
} watched;
static struct sigaction previous;
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER;

/* One write, so that processes do not mix; snprintf(3) may not be called here. */
static void report(const char *name) {
    const char *const words[] = { "fiber ", name, " overflowed its stack\n" };
    char line[200];
    size_t len = 0;

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        for (const char *c = words[i]; *c != '\0' && len < sizeof(line); c++)
            line[len++] = *c;
    }
    ssize_t n = write(STDERR_FILENO, line, len);
    (void)n; /* there is nobody left to tell */
}

/* After the return the access is repeated and meets whoever handled it before us. */
static void on_segv(int signo, siginfo_t *info, void *context UNUSED) {
    const struct fiber *fiber = watched.running != NULL ? *watched.running : NULL;
    const char *at = info->si_addr;

    if (fiber != NULL && at < fiber->stack_low && at >= fiber->stack_low - watched.guard_bytes)
        report(fiber->name);
    sigaction(signo, &previous, NULL);
    if (info->si_code <= 0)
        raise(signo); /* sent by kill(2): there is no access to repeat */
}

static int install(void) {
    struct sigaction action = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK };
    struct sigaction current;
    int rc = 0;

    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&install_lock);
    if (sigaction(SIGSEGV, NULL, &current) < 0)
        rc = -errno;
    else if (!(current.sa_flags & SA_SIGINFO) || current.sa_sigaction != on_segv)
        rc = sigaction(SIGSEGV, &action, &previous) < 0 ? -errno : 0;
    pthread_mutex_unlock(&install_lock);
    return rc;
}

/* Gives the thread a signal stack and handles SIGSEGV for it; `running` points at the thread's
 * running fiber, and `guard_bytes` lie below each stack. Under a sanitizer, which has its own
 * report, nothing happens. 0 or -errno. */
static int overflow_watch(struct fiber *const *running, size_t guard_bytes) {
    if (!HANDLER_WANTED)
        return 0;

    watched.running = running;
    watched.guard_bytes = guard_bytes;
    if (watched.signal_stack == NULL) {
        watched.signal_stack = mem_alloc(SIGNAL_STACK_BYTES);
        if (watched.signal_stack == NULL)
            return -ENOMEM;
        stack_t stack = { .ss_sp = watched.signal_stack, .ss_size = SIGNAL_STACK_BYTES };
        if (sigaltstack(&stack, NULL) < 0)
            return -errno;
    }
    return install();
}

/* Gives the signal stack back; the handler stays. */
static void overflow_unwatch(struct fiber *const *running) {
    if (watched.running != running)
        return;

    stack_t none = { .ss_flags = SS_DISABLE };
    sigaltstack(&none, NULL);
    mem_free(watched.signal_stack);
    watched.signal_stack = NULL;
    watched.running = NULL;
}

/* --- the scheduler itself -------------------------------------------------------------------- */

struct fibers *fibers_new(struct loop *loop, const struct fiber_config *config, struct error *err) {
    uint32_t bytes = config->stack_bytes != 0 ? config->stack_bytes : STACK_BYTES_DEFAULT;
    if (bytes < STACK_BYTES_MIN) {
        error_set(err, -EINVAL, "a fiber's stack needs %d bytes at least", STACK_BYTES_MIN);
        return NULL;
    }
    struct fibers *fibers = mem_calloc(1, sizeof(*fibers));
    if (fibers == NULL) {
        error_set(err, -ENOMEM, "cannot make a fiber scheduler: out of memory");
        return NULL;
    }

    const char *census = getenv("SRV_FIBER_CENSUS");
    fibers->loop = loop;
    fibers->ready_last = &fibers->ready_first;
    fibers->run_more.run = on_run_more;
    fibers->trim.fire = on_trim;
    fibers->cache_max = config->cache != 0 ? config->cache : CACHE_DEFAULT;
    fibers->census = census != NULL && strcmp(census, "1") == 0;
    fibers->complaints.per_second = 1;
    context_adopt(&fibers->loop_context);
    fiber_stacks_init(&fibers->stacks, bytes);

    int rc = overflow_watch(&fibers->running, fibers->stacks.page_bytes);
    if (rc < 0) {
        error_set(err, rc, "cannot watch fiber stacks: %s", strerrordesc_np(-rc));
        overflow_unwatch(&fibers->running);
        mem_free(fibers);
        return NULL;
    }
    return fibers;
}

void fibers_free(struct fibers *fibers) {
    if (fibers == NULL)
        return;

    ASSERT(fibers->stats.live == 0 && fibers->running == NULL && !fibers->run_more.pending);
    timer_cancel(fibers->loop, &fibers->trim);
    while (!cache_cut(fibers, &fibers->cache))
        ;
    overflow_unwatch(&fibers->running);
    mem_free(fibers);
}

struct fiber_stats fiber_stats(const struct fibers *fibers) {
    struct fiber_stats stats = fibers->stats;
    stats.cached_stacks = fibers->cached;
    return stats;
}
