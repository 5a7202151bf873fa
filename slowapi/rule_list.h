/* SPDX-License-Identifier: MIT */
/* The list of rules in force: who changes it, and what goes on when it is changed. */
#ifndef SLOWAPI_RULE_LIST_H
#define SLOWAPI_RULE_LIST_H

#include "slowapi/shared.h"

/* Checks `text` and puts it in force for all workers. Rules that were in force before, by their
 * names or alike, go on counting. 0, or -errno with a reason and nothing changed: -ESTALE when the
 * generation of the rules is not *then any more; NULL: whichever it is. */
NODISCARD int rules_publish(struct shared *shared, struct slice text, const uint32_t *then,
                            struct error *err);

/* Checks and puts in force the rules of one session, which stand before all others; those of other
 * sessions, and of none, stay in force. As rules_publish. */
NODISCARD int rules_publish_session(struct shared *shared, struct slice session, struct slice text,
                                    struct error *err);

/* The rules in force as JSON, each with the "hits" that it has had. mem_free; NULL when out of
 * memory. */
NODISCARD char *rules_with_hits(struct shared *shared);

/* Puts the rules of a file in force, as rules_publish. */
NODISCARD int rules_load(struct shared *shared, const char *path, struct error *err);

#endif
