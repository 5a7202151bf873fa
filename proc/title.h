/* SPDX-License-Identifier: MIT */
/* The title that ps(1) and top(1) show for a process. */
#ifndef PROC_TITLE_H
#define PROC_TITLE_H

#include "base/attr.h"

/* Call first thing in main: copies the arguments and the environment elsewhere, for the kernel
 * reads the title from where they stand (proc(5), cmdline). Returns the copy, which the program
 * uses from here on, or `argv` itself when out of memory: titles then stay as they are. */
NODISCARD char **title_init(int argc, char **argv);

/* Sets both: `name` (15 bytes count, prctl(2) PR_SET_NAME, the caller's thread) and the command
 * line. Cut to the room there is. Without title_init only `name`. */
void title_set(const char *name, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
