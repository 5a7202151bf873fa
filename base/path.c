/* SPDX-License-Identifier: MIT */
/* Looks through the folders of a PATH, and at names of libraries. */
#include "base/path.h"
#include "base/attr.h"
#include "base/slice.h"
#include <stdio.h>
#include <string.h>
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

bool path_is_system_library(const char *path) {
    static const char *const names[] = {
        "libc.so.",  "libm.so.",      "ld-linux",    "libpthread.so.", "libdl.so.",  "librt.so.",
        "libanl.",   "libresolv.so.", "libutil.so.", "libgcc_s.so.",   "linux-vdso", "libasan.",
        "libubsan.", "libtsan.",      "liblsan.",    "libnss_",        "libclang_",  "libmvec.so.",
    };
    const char *name = basename(path);

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strncmp(name, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}
