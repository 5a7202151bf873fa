/* SPDX-License-Identifier: MIT */
/* Looks through the folders of a PATH. */
#include "base/path.h"
#include "base/slice.h"
#include <stdio.h>
#include <unistd.h>

bool path_search(const char *folders, const char *name, char *path, size_t size) {
    struct slice rest = slice_str(folders);

    while (rest.len > 0) {
        struct slice folder = slice_cut(&rest, ':');
        int len = snprintf(path, size, "%.*s/%s", (int)folder.len, folder.ptr, name);

        if (folder.len > 0 && (size_t)len < size && access(path, X_OK) == 0)
            return true;
    }
    return false;
}
