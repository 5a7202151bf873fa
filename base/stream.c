/* SPDX-License-Identifier: MIT */
/* Opens outputs, and tells whether they took everything. */
#include "base/stream.h"
#include "base/safe_path.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static int create_file(const char *path, struct error *why) {
    struct safe_path file;
    int fd = safe_path_find(&file, path, SAFE_PATH_FOLLOW, why);

    if (fd == 0)
        fd = safe_path_create(&file, why);
    safe_path_close(&file);
    return fd;
}

int stream_create(FILE **ret, const char *path, struct error *err) {
    struct error why = { "" };
    int fd;

    *ret = stdout;
    if (strcmp(path, "-") == 0)
        return 0;
    fd = create_file(path, &why);
    *ret = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && *ret == NULL) {
        int rc = error_set(&why, -errno, "%s", strerrordesc_np(errno));
        close(fd);
        fd = rc;
    }
    return *ret != NULL ? 0 : error_set(err, fd, "cannot write %s: %s", path, why.text);
}

int stream_close(FILE *out) {
    int rc = out != NULL ? stream_flush(out) : 0;

    if (out != NULL && out != stdout && fclose(out) != 0 && rc == 0)
        rc = -errno;
    return rc;
}

int stream_flush(FILE *out) {
    if (fflush(out) != 0)
        return -errno;
    return ferror(out) ? -EIO : 0;
}
