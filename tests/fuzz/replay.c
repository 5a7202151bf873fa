/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files of its corpus, and over every prefix of each, without a fuzzer.
 */
#include "base/buf.h"
#include "tests/fuzz/fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_BYTES_MAX 65536

/* A copy of its own, so that a sanitizer sees a read beyond it. */
static void run_one(const char *bytes, size_t len) {
    uint8_t *copy = malloc(len > 0 ? len : 1);
    ASSERT(copy != NULL);
    if (len > 0)
        memcpy(copy, bytes, len);
    LLVMFuzzerTestOneInput(copy, len);
    free(copy);
}

static void run_file(const char *folder, const char *name) {
    static char bytes[FILE_BYTES_MAX], path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    ASSERT(file != NULL);
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    for (size_t prefix = 0; prefix <= len; prefix++)
        run_one(bytes, prefix);
}

int main(int argc, char **argv) {
    size_t files = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    if (folder == NULL) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        run_file(argv[1], entry->d_name);
        files++;
    }
    closedir(folder);
    printf("%zu files\n", files);
    return files > 0 ? 0 : 1;
}
