/* SPDX-License-Identifier: MIT */
/* --user and --group: what is bound as root is served without. */
#ifndef PROC_PRIVILEGES_H
#define PROC_PRIVILEGES_H

#include "net/address.h"
#include <stdbool.h>
#include <sys/types.h>

struct privileges {
    uid_t uid;
    gid_t gid;
    char name[64]; /* the user's, for its supplementary groups */
    bool changes_user, changes_group;
};

/* Looks the names (or numbers) up; either may be NULL. Without a group, the user's own. 0 or
 * -EINVAL with a reason. */
NODISCARD int privileges_find(struct privileges *p, const char *user, const char *group,
                              struct error *err);

/* Gives the file of a unix socket to whom this process will be: connecting takes the right to write
 * to it. Others have none. 0 or -errno with a reason. */
NODISCARD int privileges_give(const struct privileges *p, const struct address *bound,
                              struct error *err);

/* Gives them up for good, for all that is forked later, too. 0 or -errno with a reason. */
NODISCARD int privileges_drop(const struct privileges *p, struct error *err);

#endif
