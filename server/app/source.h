/* SPDX-License-Identifier: MIT */
/* Applications that are given as source, `srv serve app.c`: compiled on this machine, into a cache
 * that is keyed by content. */
#ifndef SERVER_SOURCE_H
#define SERVER_SOURCE_H

#include "base/error.h"
#include <stdbool.h>

/* The text of <srv/app.h>, as this program was built with it. */
extern const char app_header[];

/* True for the name of a source: it ends in .c, .cc, .cpp or .cxx. */
bool source_is_named(const char *app);

/* The object of that source, out of the cache or compiled now, whose path `ret` gets: mem_free. The
 * compiler's words go to stderr as they come. $CC ($CXX for C++) names the compiler with its first
 * words, $CPPFLAGS, $CFLAGS ($CXXFLAGS), $LDFLAGS and $LDLIBS add words. Waits for children:
 * for a process that has no others. 0, or -errno with a reason that names the source. */
NODISCARD int source_object(const char *path, char **ret, struct error *err);

/* Calls `each` for every file that an object of source_object was made of, headers of the system
 * aside, with whether it is still the same. */
void source_inputs(const char *object, void (*each)(void *arg, const char *path, bool same),
                   void *arg);

/* Whether files of that name are such as sources include. */
bool source_may_include(const char *name);

#endif
