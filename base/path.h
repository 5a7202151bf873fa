/* SPDX-License-Identifier: MIT */
/* Finding programs, and telling whose a library is. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Looks for an executable file `name` in `folders`, a list as in $PATH (NULL is an empty one).
 * Whether there is one whose path fits; `path` is its own then, with its NUL. */
bool path_search(const char *folders, const char *name, char *path, size_t size);

/* True for a library of libc, of the compiler or of a sanitizer, by the name of its file: one that
 * waits because others ask it to. */
bool path_is_system_library(const char *path);

#endif
