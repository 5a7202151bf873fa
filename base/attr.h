/* SPDX-License-Identifier: MIT */
/* Compiler attributes and the few macros that every folder uses. */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#include <stddef.h>

#define NODISCARD                         __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt_index, first_arg) __attribute__((format(printf, fmt_index, first_arg)))
#define UNUSED                            __attribute__((unused))
#define LIKELY(cond)                      __builtin_expect(!!(cond), 1)
#define UNLIKELY(cond)                    __builtin_expect(!!(cond), 0)
#define NOINLINE                          __attribute__((noinline))

#define ARRAY_LEN(array)                (sizeof(array) / sizeof((array)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
