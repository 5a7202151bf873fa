/* SPDX-License-Identifier: MIT */
/* Memory for fiber stacks: private mappings with a guard page below each. Private to fiber/fiber.c.
 *
 *   low - page     low                                              low + usable_bytes
 *    |   guard      |  unused, not resident        |   frames    <- |
 */
#ifndef FIBER_STACK_H
#define FIBER_STACK_H

#include "base/attr.h"
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

struct fiber_stacks {
    size_t usable_bytes; /* size of each, a multiple of the page */
    size_t page_bytes;
    bool light_guards; /* the kernel has MADV_GUARD_INSTALL: a guard is no mapping of its own */
};

/* `usable_bytes` is rounded up to pages. Asks the kernel once what it can do. */
void fiber_stacks_init(struct fiber_stacks *stacks, size_t usable_bytes);

/* 0 and the lowest usable byte, or -errno: -ENOMEM when memory or vm.max_map_count is exhausted. */
NODISCARD int fiber_stack_map(const struct fiber_stacks *stacks, char **ret_low);
void fiber_stack_unmap(const struct fiber_stacks *stacks, char *low);

/* Gives back what lies below the top page; it must not be in use. */
void fiber_stack_trim(const struct fiber_stacks *stacks, char *low);

/* Says why the next stack after `live` ones could not be mapped. */
void fiber_stack_explain(const struct fiber_stacks *stacks, int rc, uint32_t live,
                         struct error *err);

/* Measure how deep a stack has ever been: it is painted when new, and the paint is looked at. */
void fiber_stack_paint(char *low, size_t bytes);
size_t fiber_stack_unpainted(const char *low, size_t bytes);

#endif
