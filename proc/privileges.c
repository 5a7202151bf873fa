/* SPDX-License-Identifier: MIT */
/* Becomes another user, supplementary groups included. */
#include "proc/privileges.h"
#include "base/safe_path.h"
#include "base/slice.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_number(const char *text, uint64_t *ret) {
    return slice_parse_u64(slice_str(text), UINT32_MAX - 1, ret) == 0;
}

static int find_user(struct privileges *p, const char *user, struct error *err) {
    uint64_t number = 0;
    struct passwd *entry = is_number(user, &number) ? getpwuid((uid_t)number) : getpwnam(user);

    if (entry == NULL)
        return error_set(err, -EINVAL, "--user: '%s' is not a user of this system", user);
    snprintf(p->name, sizeof(p->name), "%s", entry->pw_name);
    p->changes_user = true;
    p->uid = entry->pw_uid;
    p->gid = entry->pw_gid;
    p->changes_group = true;
    return 0;
}

int privileges_find(struct privileges *p, const char *user, const char *group, struct error *err) {
    uint64_t number = 0;
    struct group *entry;

    *p = (struct privileges){ .uid = getuid(), .gid = getgid() };
    if (user != NULL && find_user(p, user, err) < 0)
        return -EINVAL;
    if (group == NULL)
        return 0;
    entry = is_number(group, &number) ? getgrgid((gid_t)number) : getgrnam(group);
    if (entry == NULL)
        return error_set(err, -EINVAL, "--group: '%s' is not a group of this system", group);
    p->gid = entry->gr_gid;
    p->changes_group = true;
    return 0;
}

int privileges_give(const struct privileges *p, const struct address *bound, struct error *err) {
    const char *path = bound->local.sun_path;
    struct error why = { "" };
    struct safe_path file;
    int rc;

    if (!p->changes_group || bound->any.sa_family != AF_UNIX)
        return 0;
    rc = safe_path_find(&file, path, SAFE_PATH_KEEP, &why);
    if (rc == 0)
        rc = safe_path_give_socket(&file, p->uid, p->gid, &why);
    safe_path_close(&file);
    return rc < 0 ? error_set(err, rc, "--user, --group: cannot give '%s' away: %s", path, why.text)
                  : 0;
}

/* Groups first: afterwards there is no right to change them. */
int privileges_drop(const struct privileges *p, struct error *err) {
    int rc = 0;

    if (!p->changes_group || (p->uid == geteuid() && p->gid == getegid()))
        return 0;
    if (p->changes_user)
        rc = initgroups(p->name, p->gid);
    if (rc == 0)
        rc = setresgid(p->gid, p->gid, p->gid);
    if (rc == 0 && p->changes_user)
        rc = setresuid(p->uid, p->uid, p->uid);
    return rc < 0 ? error_set(err, -errno, "--user, --group: %s", strerrordesc_np(errno)) : 0;
}
