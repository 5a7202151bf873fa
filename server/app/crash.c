/* SPDX-License-Identifier: MIT */
/* The report of a crash, made in the signal handler: only what signal-safety(7) allows, and system
 * calls. The symbols come from the object's file, since functions that are static are in no table
 * that dladdr(3) knows. elf(5), backtrace(3), sigaltstack(2). */
#include "server/app/crash.h"
#include "base/poison.h"
#include <elf.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(POISON_ASAN) || defined(__SANITIZE_THREAD__)
enum { CRASH_WANTED = 0 };
#else
enum { CRASH_WANTED = 1 };
#endif

enum {
    FRAMES_MAX = 64,
    SYMBOLS_AT_ONCE = 32,
    SECTIONS_MAX = 256,
    SIGNAL_STACK_BYTES = 32 * 1024, /* the unwinder takes 4 KiB, AVX-512 state 3 */
};

static const struct crash_signal {
    int signo;
    const char *name;
} crash_signals[] = {
    { SIGSEGV, "SIGSEGV" }, { SIGBUS, "SIGBUS" },   { SIGILL, "SIGILL" },
    { SIGFPE, "SIGFPE" },   { SIGABRT, "SIGABRT" },
};

/* State for the signal handler, which takes no argument. */
static struct {
    const char *name;    /* application, as it was named */
    int fd;              /* object's file as it was loaded; -1: none */
    uintptr_t base;      /* address of the file's address 0 */
    uintptr_t low, high; /* bounds of its code */
    const struct http_head *(*running)(void *arg);
    void *arg;
    volatile sig_atomic_t stage; /* 1: the frames are walked; 2: the line is written */
} crash = { .fd = -1 };
static _Thread_local const struct http_head *current_head;

/* --- the line --------------------------------------------------------------------------------- */

struct line {
    char text[900];
    size_t len;
};

static void put(struct line *l, const char *text) {
    while (*text != '\0' && l->len < sizeof(l->text) - 1)
        l->text[l->len++] = *text++;
}

static void put_hex(struct line *l, uintptr_t value) {
    char digits[2 * sizeof(value) + 1];
    size_t at = sizeof(digits) - 1;

    digits[at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[value & 15];
    while ((value >>= 4) != 0);
    put(l, "0x");
    put(l, digits + at);
}

/* Cut, and with what could end the value or forge a line as `?`. */
static void put_slice(struct line *l, struct slice text, size_t max) {
    for (size_t i = 0; i < text.len && i < max && l->len < sizeof(l->text) - 1; i++) {
        bool plain = text.ptr[i] > ' ' && text.ptr[i] < 0x7f && text.ptr[i] != '"';

        l->text[l->len++] = plain ? text.ptr[i] : '?';
    }
}

/* --- symbols ---------------------------------------------------------------------------------- */

static bool read_at(void *to, size_t size, uint64_t offset) {
    return pread(crash.fd, to, size, (off_t)offset) == (ssize_t)size;
}

/* Puts the name of the function that has the address, relative to crash.base, and the offset in it.
 */
static bool put_from(struct line *l, const ElfW(Shdr) * symbols, const ElfW(Shdr) * names,
                     uintptr_t address) {
    ElfW(Sym) some[SYMBOLS_AT_ONCE];
    size_t count = symbols->sh_size / sizeof(some[0]), take;
    char name[160] = "";

    for (size_t at = 0; at < count; at += take) {
        take = count - at < SYMBOLS_AT_ONCE ? count - at : SYMBOLS_AT_ONCE;
        if (!read_at(some, take * sizeof(some[0]), symbols->sh_offset + at * sizeof(some[0])))
            return false;
        for (size_t i = 0; i < take; i++) {
            uintptr_t offset = address - some[i].st_value; /* wraps below it */

            if (ELF64_ST_TYPE(some[i].st_info) != STT_FUNC || offset >= some[i].st_size)
                continue;
            if (pread(crash.fd, name, sizeof(name) - 1,
                      (off_t)(names->sh_offset + some[i].st_name)) <= 0)
                return false;
            put(l, name);
            put(l, "+");
            put_hex(l, offset);
            return true;
        }
    }
    return false;
}

/* Looks at the tables of that type: all symbols, unless they are stripped, or the exported ones. */
static bool put_symbol(struct line *l, const ElfW(Ehdr) * file, unsigned type, uintptr_t address) {
    ElfW(Shdr) symbols, names;

    for (unsigned i = 0; i < file->e_shnum && i < SECTIONS_MAX; i++)
        if (read_at(&symbols, sizeof(symbols), file->e_shoff + i * sizeof(symbols)) &&
            symbols.sh_type == type && symbols.sh_link < file->e_shnum &&
            read_at(&names, sizeof(names), file->e_shoff + symbols.sh_link * sizeof(names)) &&
            put_from(l, &symbols, &names, address))
            return true;
    return false;
}

static void put_function(struct line *l, uintptr_t pc) {
    ElfW(Ehdr) file;
    uintptr_t address = pc - crash.base;

    put(l, " function=");
    if (crash.fd >= 0 && read_at(&file, sizeof(file), 0) &&
        file.e_shentsize == sizeof(ElfW(Shdr)) &&
        (put_symbol(l, &file, SHT_SYMTAB, address) || put_symbol(l, &file, SHT_DYNSYM, address)))
        return;
    put_hex(l, address); /* addr2line(1) takes it */
}

/* --- where ------------------------------------------------------------------------------------ */

static uintptr_t program_counter(const void *context) {
    const ucontext_t *user = context;

#if defined(__x86_64__)
    return (uintptr_t)user->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (uintptr_t)user->uc_mcontext.pc;
#else
    (void)user;
    return 0;
#endif
}

static bool is_in_object(uintptr_t pc) {
    return pc >= crash.low && pc < crash.high;
}

/* The innermost frame of the object, when what it called has crashed: a return address, and so
 * behind the call. 0: none. */
static uintptr_t calling_frame(void) {
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX);

    for (int i = 0; i < count; i++)
        if (is_in_object((uintptr_t)frames[i] - 1))
            return (uintptr_t)frames[i] - 1;
    return 0;
}

static void put_request(struct line *l) {
    const struct http_head *head = crash.running != NULL ? crash.running(crash.arg) : current_head;

    if (head == NULL) {
        put(l, " request=none");
        return;
    }
    put(l, " request=\"");
    put_slice(l, head->method_text, 32);
    put(l, " ");
    put_slice(l, head->target, 256);
    put(l, "\"");
}

static void report(const char *name, const siginfo_t *info, uintptr_t pc) {
    struct line l = { .len = 0 };
    ssize_t n;

    put(&l, "the worker crashed signal=");
    put(&l, name);
    put(&l, " object=");
    put(&l, crash.name);
    if (pc != 0)
        put_function(&l, pc);
    if (info->si_code > 0 && info->si_signo != SIGABRT) {
        put(&l, " address=");
        put_hex(&l, (uintptr_t)info->si_addr);
    }
    put_request(&l);
    l.text[l.len++] = '\n'; /* `put` leaves room for it */
    n = write(STDERR_FILENO, l.text, l.len);
    (void)n; /* there is nobody left to tell */
}

/* --- the signal ------------------------------------------------------------------------------- */

/* After the return the instruction is repeated, or the signal raised, and does what it does by
 * default. A walk that crashes over a broken stack comes here again: then the line has no function.
 */
static void on_crash(int signo, siginfo_t *info, void *context) {
    uintptr_t pc = program_counter(context);
    const char *name = "";

    for (size_t i = 0; i < ARRAY_LEN(crash_signals); i++)
        if (crash_signals[i].signo == signo)
            name = crash_signals[i].name;
    if (!is_in_object(pc))
        pc = 0;
    if (pc == 0 && crash.stage == 0) {
        crash.stage = 1;
        pc = calling_frame();
    }
    if (crash.stage < 2) {
        crash.stage = 2;
        report(name, info, pc);
    }
    signal(signo, SIG_DFL);
    if (info->si_code <= 0)
        raise(signo); /* sent by kill(2) or abort(3): there is nothing to repeat */
}

static int find_code(struct dl_phdr_info *info, size_t size UNUSED, void *arg) {
    const uintptr_t *inside = arg;

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + p->p_vaddr;

        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X) || *inside - low >= p->p_memsz)
            continue;
        crash.base = info->dlpi_addr;
        crash.low = low;
        crash.high = low + p->p_memsz;
        return 1;
    }
    return 0;
}

/* The main thread gets a stack for it; other threads use their own. */
static void give_stack(void) {
    static char memory[SIGNAL_STACK_BYTES];
    const stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };

    (void)sigaltstack(&stack, NULL);
}

void crash_watch(const char *name, const char *path, const struct srv_app *app) {
    struct sigaction action = { .sa_sigaction = on_crash,
                                .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    srv_handler *handle = app->handle != NULL ? app->handle : app->routes[0].handle;
    uintptr_t inside = (uintptr_t)handle;
    void *first[1];

    if (!CRASH_WANTED)
        return;
    crash.name = name;
    crash.fd = open(path, O_RDONLY | O_CLOEXEC);
    dl_iterate_phdr(find_code, &inside);
    (void)backtrace(first, 1); /* loads the unwinder, which the handler must not */
    give_stack();
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_LEN(crash_signals); i++)
        sigaction(crash_signals[i].signo, &action, NULL);
}

void crash_runs(const struct http_head *head) {
    current_head = head;
}

void crash_ask(const struct http_head *(*running)(void *arg), void *arg) {
    crash.running = NULL;
    crash.arg = arg;
    crash.running = running;
}
