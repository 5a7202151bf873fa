/* SPDX-License-Identifier: MIT */
/* The SIGSEGV handler that recognises a guard page. */
#include "net/fiber_overflow.h"
#include "base/alloc.h"
#include "net/fiber_block.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#if defined(POISON_ASAN) || defined(FIBER_TSAN)
enum { HANDLER_WANTED = 0 };
#else
enum { HANDLER_WANTED = 1 };
#endif

enum { SIGNAL_STACK_BYTES = 16 * 1024 }; /* AVX-512 state alone takes nearly 3 KiB */

/* What a signal handler needs cannot be handed to it. */
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

int fiber_overflow_watch(struct fiber *const *running, size_t guard_bytes) {
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

void fiber_overflow_unwatch(struct fiber *const *running) {
    if (watched.running != running)
        return;

    stack_t none = { .ss_flags = SS_DISABLE };
    sigaltstack(&none, NULL);
    mem_free(watched.signal_stack);
    watched.signal_stack = NULL;
    watched.running = NULL;
}
