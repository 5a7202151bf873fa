/* SPDX-License-Identifier: MIT */
/* ASSERT stays in release builds: for what can only be a bug, never for what a peer can cause. */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include "base/attr.h"

/* Prints "file:line: what" on stderr and aborts. */
__attribute__((noreturn, cold)) void assert_failed(const char *file, int line, const char *what);

#define ASSERT(cond)                                  \
    do {                                              \
        if (UNLIKELY(!(cond)))                        \
            assert_failed(__FILE__, __LINE__, #cond); \
    } while (0)

#endif
