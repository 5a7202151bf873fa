/* SPDX-License-Identifier: MIT */
/* Maps, guards, trims and paints fiber stacks. */
#include "fiber/stack.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Linux 6.13; the C library's headers may be older than the kernel. madvise(2). */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

enum { PAINT = 0xa5 };

/* A huge page under a stack would make one shallow fiber cost 2 MiB. Kernels from 6.7 on never put
 * one under MAP_STACK, and smaller stacks have guards in between that prevent it. */
static const size_t huge_page_bytes = (size_t)2 << 20;

static void *map(size_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
}

void fiber_stacks_init(struct fiber_stacks *stacks, size_t usable_bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    stacks->page_bytes = page;
    stacks->usable_bytes = (usable_bytes + page - 1) / page * page;

    void *probe = map(page);
    if (probe == MAP_FAILED)
        return;
    stacks->light_guards = madvise(probe, page, MADV_GUARD_INSTALL) == 0;
    munmap(probe, page);
}

static int guard(const struct fiber_stacks *stacks, char *page) {
    int rc = stacks->light_guards ? madvise(page, stacks->page_bytes, MADV_GUARD_INSTALL)
                                  : mprotect(page, stacks->page_bytes, PROT_NONE);
    return rc < 0 ? -errno : 0;
}

int fiber_stack_map(const struct fiber_stacks *stacks, char **ret_low) {
    size_t bytes = stacks->page_bytes + stacks->usable_bytes;
    char *mapping = map(bytes);
    if (mapping == MAP_FAILED)
        return -errno;

    int rc = guard(stacks, mapping);
    if (rc < 0) {
        munmap(mapping, bytes);
        return rc;
    }

    if (stacks->usable_bytes >= huge_page_bytes)
        (void)madvise(mapping, bytes, MADV_NOHUGEPAGE); /* EINVAL: a kernel without huge pages */
    *ret_low = mapping + stacks->page_bytes;
    return 0;
}

void fiber_stack_unmap(const struct fiber_stacks *stacks, char *low) {
    munmap(low - stacks->page_bytes, stacks->page_bytes + stacks->usable_bytes);
}

void fiber_stack_trim(const struct fiber_stacks *stacks, char *low) {
    (void)madvise(low, stacks->usable_bytes - stacks->page_bytes, MADV_DONTNEED);
}

static long max_map_count(void) {
    long count = -1;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "re");
    if (file == NULL)
        return -1;

    if (fscanf(file, "%ld", &count) != 1)
        count = -1;
    fclose(file);
    return count;
}

void fiber_stack_explain(const struct fiber_stacks *stacks, int rc, uint32_t live,
                         struct error *err) {
    long maps = max_map_count();

    if (rc == -ENOMEM && !stacks->light_guards && maps > 0 && 2L * live > maps / 10 * 9)
        error_set(err, rc,
                  "no stack for fiber %u: each takes two mappings and vm.max_map_count is %ld; "
                  "raise it with sysctl(8)",
                  live + 1, maps);
    else
        error_set(err, rc, "no stack of %zu bytes for fiber %u: %s", stacks->usable_bytes, live + 1,
                  strerrordesc_np(-rc));
}

void fiber_stack_paint(char *low, size_t bytes) {
    memset(low, PAINT, bytes);
}

size_t fiber_stack_unpainted(const char *low, size_t bytes) {
    size_t i = 0;
    while (i < bytes && (unsigned char)low[i] == PAINT)
        i++;
    return bytes - i;
}
