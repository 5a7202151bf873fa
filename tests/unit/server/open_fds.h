/* SPDX-License-Identifier: MIT */
/* How many descriptors this process has open, the one that counts them among them. */
#ifndef TESTS_SERVER_OPEN_FDS_H
#define TESTS_SERVER_OPEN_FDS_H

#include <dirent.h>
#include <stddef.h>

static inline int open_fds(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");

    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

#endif
