/* SPDX-License-Identifier: MIT */
/* Laws that were recorded (--from): one for each file, for each path of a log, and maybe for each
 * status of a path, in memory that the workers share.
 *
 *   recorded_load(...)       before the workers are forked, and at each SIGHUP, by one process
 *   recorded_find(...)       for each request that asks for `recorded` or `recorded:NAME`
 *
 * Two areas take turns: what was found stays as it is until the files were read anew twice. */
#ifndef SLOWAPI_RECORDED_H
#define SLOWAPI_RECORDED_H

#include "base/dist.h"
#include "base/error.h"
#include "base/option.h"

#define RECORDED_FILES_MAX OPTION_STRINGS_MAX
#define RECORDED_PATHS_MAX 1000 /* those that were asked for most, of all files */

/* Says that a law is a name of nothing; %s is the parameter. */
#define RECORDED_NAMELESS \
    "%s=recorded is no law of --from; allowed: recorded, recorded:NAME of --from NAME=FILE"

struct recorded;

/* Room for laws; what is never used costs no memory. NULL: out of memory. */
NODISCARD struct recorded *recorded_new(void);
void recorded_free(struct recorded *r); /* NULL-safe */

/* Reads [NAME=]FILE,..., and puts their laws in force. 0, or -errno with a reason that names the
 * file and the line, and nothing changed. */
NODISCARD int recorded_load(struct recorded *r, const struct option_strings *from,
                            struct error *err);

/* The law of that name (a hash; 0: of the first file) for a decoded path: its own, or that of all.
 * False: there is none of that name. `law` lives as described above. */
bool recorded_find(const struct recorded *r, uint64_t name, struct slice path, struct dist *ret);

/* As recorded_find, by the statuses that the path had: rolls one of them for *ret_status (0: none
 * was recorded), and finds its law. */
bool recorded_roll(const struct recorded *r, uint64_t name, struct slice path, struct rng *rng,
                   uint16_t *ret_status, struct dist *ret);

/* Whether a log that was read has asked for that path. */
bool recorded_has_path(const struct recorded *r, struct slice path);

/* Whether the law, if it is a name, is one of `from`. */
bool recorded_is_name(const struct option_strings *from, const struct dist *law);

#endif
