/* SPDX-License-Identifier: MIT */
/* The log sink: one line per event on stderr, `TIME LEVEL message key=value ...`. No results. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/attr.h"
#include "base/clock.h"
#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above `level` are dropped. */
void log_set_level(enum log_level level);

/* Lines go to `fd`, which is 2 at first: for tests that read them. */
void log_set_fd(int fd);
enum log_level log_level(void);

/* One line, written with one write(2) so that processes do not mix; control characters are escaped.
 * Not for signal handlers. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Writes the text as it is, without time and level, whatever the level; `fmt` ends with the
 * line. */
void log_say(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* Rate limit of one call site: at most `per_second` lines; the next line let through says how many
 * were dropped. Threads may share it.
 *
 *   static struct log_rate rate = { .per_second = 5 };
 *   log_limited(&rate, LOG_LEVEL_WARN, "accept failed error=%s", ...);
 */
struct log_rate {
    unsigned per_second;
    unsigned spent, dropped;
    nsec_t second_start;
};
void log_limited(struct log_rate *rate, enum log_level level, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
