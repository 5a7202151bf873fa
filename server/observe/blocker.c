/* SPDX-License-Identifier: MIT */
/* Samples the thread of a loop while a turn takes long, and names the call and who made it. */
#include "server/observe/blocker.h"
#include "base/alloc.h"
#include "base/attr.h"
#include "base/path.h"
#include "net/thread.h"
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EVERY_MIN (2 * NSEC_PER_MSEC)
#define EVERY_MAX (100 * NSEC_PER_MSEC)

enum {
    THREAD_STACK_BYTES = 262144,
    STACK_WORDS = 2048, /* looked at for return addresses: 16 KiB */
    CHUNK_WORDS = 128,  /* read of it at a time */
    LIBRARY_BYTES = 48, /* of a name that is told, with its NUL */
    FUNCTION_BYTES = 48,
    CODE_MAX = 256, /* segments with code that are told apart */
};

struct blocker {
    const struct loop *loop;
    nsec_t every; /* span between two samples */
    int fd;       /* /proc/PID/task/TID/syscall of the loop's thread */
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t ends;
    bool ending;
    nsec_t turn; /* begin of the turn that the samples are of */
    unsigned votes;
    char text[BLOCKER_TEXT_BYTES]; /* Boyer and Moore's candidate for the majority of its samples */
};

/* --- the system call -------------------------------------------------------------------------- */

#define CALL(name) \
    { SYS_##name, #name }

/* The calls that can wait for others. */
static const struct {
    long number;
    const char *name;
} waiting_calls[] = {
    CALL(accept),          CALL(accept4),      CALL(clock_nanosleep), CALL(connect),
    CALL(epoll_pwait),     CALL(epoll_pwait2), CALL(fcntl),           CALL(fdatasync),
    CALL(flock),           CALL(fsync),        CALL(futex),           CALL(getdents64),
    CALL(getrandom),       CALL(io_getevents), CALL(io_uring_enter),  CALL(ioctl),
    CALL(mq_timedreceive), CALL(mq_timedsend), CALL(msgrcv),          CALL(msgsnd),
    CALL(nanosleep),       CALL(newfstatat),   CALL(openat),          CALL(ppoll),
    CALL(pread64),         CALL(preadv),       CALL(pselect6),        CALL(pwrite64),
    CALL(pwritev),         CALL(read),         CALL(readv),           CALL(recvfrom),
    CALL(recvmmsg),        CALL(recvmsg),      CALL(rt_sigsuspend),   CALL(rt_sigtimedwait),
    CALL(semop),           CALL(semtimedop),   CALL(sendfile),        CALL(sendmmsg),
    CALL(sendmsg),         CALL(sendto),       CALL(splice),          CALL(sync),
    CALL(syncfs),          CALL(vmsplice),     CALL(wait4),           CALL(waitid),
    CALL(write),           CALL(writev),
#ifdef SYS_poll /* younger machines do without */
    CALL(epoll_wait),      CALL(open),         CALL(pause),           CALL(poll),
    CALL(select),
#endif
};
#undef CALL

/* Writes the name of the call, or its number; -1 is none: the thread waits for memory. */
static void name_call(long number, char *text, size_t size) {
    if (number < 0) {
        snprintf(text, size, " in=page-fault");
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(waiting_calls); i++) {
        if (waiting_calls[i].number != number)
            continue;
        snprintf(text, size, " in=%s(2)", waiting_calls[i].name);
        return;
    }
    snprintf(text, size, " in=syscall-%ld", number);
}

/* What the file says: "running", or "NUMBER ARGUMENTS SP PC", where -1 has no arguments. */
struct call_sample {
    bool running;
    long number;
    uintptr_t sp, pc;
};

static bool take_sample(int fd, struct call_sample *ret) {
    char line[256];
    ssize_t n = pread(fd, line, sizeof(line) - 1, 0);
    char *at = line;

    if (n <= 0)
        return false;
    line[n] = '\0';
    *ret = (struct call_sample){ .running = strncmp(line, "running", 7) == 0 };
    if (ret->running)
        return true;
    ret->number = strtol(at, &at, 10);
    for (int i = 0; ret->number >= 0 && i < 6; i++)
        strtoul(at, &at, 16);
    ret->sp = strtoul(at, &at, 16);
    ret->pc = strtoul(at, &at, 16);
    return ret->pc != 0;
}

/* --- the library ------------------------------------------------------------------------------ */

/* Code of libraries that make calls on their own account; the system's, the sanitizers' and our own
 * pass on what others ask for. */
struct code {
    size_t count;
    struct {
        uintptr_t low, high;
    } segments[CODE_MAX];
};

static int add_code(struct dl_phdr_info *info, size_t size, void *arg) {
    struct code *code = arg;

    (void)size;
    if (info->dlpi_name[0] == '\0' || path_is_system_library(info->dlpi_name)) /* or the program */
        return 0;
    for (size_t i = 0; i < info->dlpi_phnum && code->count < CODE_MAX; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_X) == 0)
            continue;
        code->segments[code->count].low = low;
        code->segments[code->count++].high = low + segment->p_memsz;
    }
    return 0;
}

static bool is_code(const struct code *code, uintptr_t address) {
    for (size_t i = 0; i < code->count; i++)
        if (address >= code->segments[i].low + 8 && address < code->segments[i].high)
            return true;
    return false;
}

/* Copies memory of this process that may be gone. The number of bytes that could be read. */
static size_t read_memory(uintptr_t from, void *to, size_t size) {
    struct iovec here = { to, size }, there = { (void *)from, size };
    ssize_t n = process_vm_readv(getpid(), &here, 1, &there, 1, 0);

    return n > 0 ? (size_t)n : 0;
}

/* True if a call stands right before the address: words of a stack that are no return addresses
 * seldom pass. */
static bool follows_call(uintptr_t address) {
    unsigned char before[8];

    if (read_memory(address - sizeof(before), before, sizeof(before)) < sizeof(before))
        return false;
#if defined(__x86_64__)
    /* E8 and a distance; or FF /2 with an operand of 0 to 5 bytes */
    if (before[3] == 0xe8)
        return true;
    for (int at = 1; at <= 6; at++)
        if (before[at] == 0xff && (before[at + 1] & 0x38) == 0x10)
            return true;
    return false;
#elif defined(__aarch64__)
    uint32_t word;

    memcpy(&word, before + 4, sizeof(word));
    return (word & 0xfc000000) == 0x94000000 || (word & 0xfffffc1f) == 0xd63f0000; /* BL, BLR */
#else
    return true;
#endif
}

struct caller {
    const void *base; /* of the library; NULL: not found yet */
    char library[LIBRARY_BYTES], function[FUNCTION_BYTES];
};

static void copy_name(char *ret, size_t size, const char *name) {
    size_t len = 0;

    for (; name[len] != '\0' && len < size - 1; len++)
        ret[len] = name[len] > ' ' && name[len] < 0x7f && name[len] != '"' ? name[len] : '?';
    ret[len] = '\0';
}

/* Looks at one address of code, from the innermost caller outwards. The first library is the one
 * that waits; its function is the first that it exports, for others have no name at run time. True
 * when nothing is left to be found. */
static bool look_at(struct caller *c, uintptr_t address) {
    const ElfW(Sym) *symbol = NULL;
    void *extra = NULL;
    Dl_info info;

    if (dladdr1((void *)(address - 1), &info, &extra, RTLD_DL_SYMENT) == 0)
        return false;
    symbol = extra;
    if (c->base == NULL) {
        c->base = info.dli_fbase;
        copy_name(c->library, sizeof(c->library), basename(info.dli_fname));
    }
    if (info.dli_fbase != c->base)
        return true;
    if (symbol == NULL || info.dli_sname == NULL ||
        address - 1 - (uintptr_t)info.dli_saddr >= symbol->st_size)
        return false;
    copy_name(c->function, sizeof(c->function), info.dli_sname);
    return true;
}

/* Reads the thread's stack from `sp` on, which may end anywhere, and changes meanwhile when the
 * thread runs on. */
static void find_caller(uintptr_t sp, uintptr_t pc, const struct code *code, struct caller *c) {
    uintptr_t words[CHUNK_WORDS];

    if (is_code(code, pc) && look_at(c, pc))
        return;
    sp &= ~(uintptr_t)(sizeof(words[0]) - 1);
    for (size_t done = 0; done < STACK_WORDS; done += CHUNK_WORDS) {
        size_t n = read_memory(sp + done * sizeof(words[0]), words, sizeof(words));

        for (size_t i = 0; i < n / sizeof(words[0]); i++)
            if (is_code(code, words[i]) && follows_call(words[i]) && look_at(c, words[i]))
                return;
        if (n < sizeof(words))
            return;
    }
}

static void name_caller(const struct call_sample *sample, char *text, size_t size) {
    struct code *code = mem_calloc(1, sizeof(*code));
    struct caller caller = { .base = NULL };

    if (code == NULL)
        return;
    dl_iterate_phdr(add_code, code);
    find_caller(sample->sp, sample->pc, code, &caller);
    mem_free(code);
    if (caller.base != NULL)
        snprintf(text, size, " near=%s%s%s", caller.library, caller.function[0] != '\0' ? ":" : "",
                 caller.function);
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Without the lock: the dynamic linker has one of its own, which the loop's thread may hold. */
static void look(struct blocker *b, nsec_t turn) {
    char text[BLOCKER_TEXT_BYTES] = " in=cpu";
    struct call_sample sample;
    size_t len;

    if (!take_sample(b->fd, &sample))
        return;
    if (!sample.running) {
        name_call(sample.number, text, sizeof(text));
        len = strlen(text);
        name_caller(&sample, text + len, sizeof(text) - len);
    }
    pthread_mutex_lock(&b->lock);
    if (b->turn != turn)
        b->votes = 0;
    b->turn = turn;
    if (b->votes == 0)
        memcpy(b->text, text, sizeof(text));
    if (strcmp(b->text, text) == 0)
        b->votes++;
    else
        b->votes--;
    pthread_mutex_unlock(&b->lock);
}

static void rest(struct blocker *b) {
    nsec_t until = deadline_after(clock_now(), b->every);
    struct timespec at = { .tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC };

    if (!b->ending)
        pthread_cond_clockwait(&b->ends, &b->lock, CLOCK_MONOTONIC, &at);
}

static void *watch(void *arg) {
    struct blocker *b = arg;

    pthread_mutex_lock(&b->lock);
    while (!b->ending) {
        nsec_t turn = loop_turn_began(b->loop);

        pthread_mutex_unlock(&b->lock);
        if (turn != 0 && clock_now() - turn >= b->every)
            look(b, turn);
        pthread_mutex_lock(&b->lock);
        rest(b);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

struct blocker *blocker_watch(const struct loop *loop, nsec_t warn) {
    struct blocker *b = mem_calloc(1, sizeof(*b));

    if (b == NULL)
        return NULL;
    b->loop = loop;
    b->every = nsec_min(warn / 4, EVERY_MAX);
    if (b->every < EVERY_MIN)
        b->every = EVERY_MIN;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->ends, NULL);
    b->fd = open("/proc/thread-self/syscall", O_RDONLY | O_CLOEXEC);
    if (b->fd >= 0 && thread_start(&b->thread, THREAD_STACK_BYTES, watch, b) == 0)
        return b;
    if (b->fd >= 0)
        close(b->fd);
    mem_free(b);
    return NULL;
}

void blocker_free(struct blocker *b) {
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->lock);
    b->ending = true;
    pthread_cond_signal(&b->ends);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->ends);
    close(b->fd);
    mem_free(b);
}

void blocker_tell(struct blocker *b, nsec_t began, char text[BLOCKER_TEXT_BYTES]) {
    text[0] = '\0';
    if (b == NULL)
        return;
    pthread_mutex_lock(&b->lock);
    if (b->turn == began && b->votes > 0)
        memcpy(text, b->text, BLOCKER_TEXT_BYTES);
    pthread_mutex_unlock(&b->lock);
}

void blocker_ask(pid_t pid, char text[BLOCKER_TEXT_BYTES]) {
    struct call_sample sample = { .pc = 0 };
    char path[48];
    int fd;

    text[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (take_sample(fd, &sample) && sample.running)
        snprintf(text, BLOCKER_TEXT_BYTES, " in=cpu");
    else if (sample.pc != 0)
        name_call(sample.number, text, BLOCKER_TEXT_BYTES);
    close(fd);
}
