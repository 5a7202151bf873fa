/* SPDX-License-Identifier: MIT */
/* Formats one line per event and hands it to the kernel in one piece. */
#include "base/log.h"
#include "base/escape.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LOG_LINE_BYTES \
    1536 /* a longer line is cut; two of them are on the stack, maybe of a fiber */

/* The sink: the one mutable global of the program. */
static _Atomic(enum log_level) sink_level = LOG_LEVEL_INFO;
static atomic_int sink_fd = 2;

void log_set_level(enum log_level level) {
    atomic_store_explicit(&sink_level, level, memory_order_relaxed);
}

void log_set_fd(int fd) {
    atomic_store_explicit(&sink_fd, fd, memory_order_relaxed);
}

enum log_level log_level(void) {
    return atomic_load_explicit(&sink_level, memory_order_relaxed);
}

static const char *level_name(enum log_level level) {
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "ERROR";
    case LOG_LEVEL_WARN:
        return "WARN ";
    case LOG_LEVEL_INFO:
        return "INFO ";
    case LOG_LEVEL_DEBUG:
        return "DEBUG";
    }
    return "?????";
}

/* A sink that takes no more (full pipe, stopped terminal) loses the line: nothing waits for a log.
 * A pipe that is writable has room for PIPE_BUF bytes, so for a line. */
static void write_line(const char *line, size_t len) {
    struct pollfd sink = { .fd = atomic_load_explicit(&sink_fd, memory_order_relaxed),
                           .events = POLLOUT };
    int fd = sink.fd;

    if (poll(&sink, 1, 0) == 0)
        return;
    while (len > 0) {
        ssize_t n = write(fd, line, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line += n;
        len -= (size_t)n;
    }
}

static void emit(enum log_level level, const char *text, unsigned dropped) {
    char line[LOG_LINE_BYTES], tail[32] = "\n";
    if (dropped > 0)
        snprintf(tail, sizeof(tail), " dropped=%u\n", dropped);
    size_t tail_len = strlen(tail);
    char when[CLOCK_TEXT_BYTES];
    size_t len = (size_t)snprintf(line, sizeof(line), "%s %s ", clock_format(clock_wall(), when),
                                  level_name(level));
    len += escape_text(line + len, sizeof(line) - len - tail_len, slice_str(text));
    memcpy(line + len, tail, tail_len);
    write_line(line, len + tail_len);
}

void log_write(enum log_level level, const char *fmt, ...) {
    if (level > log_level())
        return;
    int saved_errno = errno; /* callers log first and look at errno later */
    char text[LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    emit(level, text, 0);
    errno = saved_errno;
}

void log_say(const char *fmt, ...) {
    char line[LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    write_line(line, strlen(line));
}

/* Threads share a call site, hence the atomics; a line too many when two of them start a second
 * together does no harm. */
static bool rate_allows(struct log_rate *rate, nsec_t now) {
    nsec_t start = __atomic_load_n(&rate->second_start, __ATOMIC_RELAXED);
    bool over = start == 0 || now - start >= NSEC_PER_SEC;
    if (over && __atomic_compare_exchange_n(&rate->second_start, &start, now, false,
                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        __atomic_store_n(&rate->spent, 0, __ATOMIC_RELAXED);
    if (__atomic_load_n(&rate->spent, __ATOMIC_RELAXED) < rate->per_second) {
        __atomic_fetch_add(&rate->spent, 1, __ATOMIC_RELAXED);
        return true;
    }
    __atomic_fetch_add(&rate->dropped, 1, __ATOMIC_RELAXED);
    return false;
}

void log_limited(struct log_rate *rate, enum log_level level, const char *fmt, ...) {
    if (level > log_level() || !rate_allows(rate, clock_now()))
        return;
    int saved_errno = errno;
    char text[LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    emit(level, text, __atomic_exchange_n(&rate->dropped, 0, __ATOMIC_RELAXED));
    errno = saved_errno;
}
