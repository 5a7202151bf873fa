/* SPDX-License-Identifier: MIT */
/* Samples threads, their states, CPU time and memory of a process tree. */
#include "playground/probe.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROC_TEXT_BYTES 2048 /* more than a list of PROBE_PROCESSES_MAX children takes */

struct tree {
    pid_t pids[PROBE_PROCESSES_MAX];
    size_t count;
};

/* The beginning of a file of /proc, NUL-terminated; at most size - 1 bytes. The length, or -1 when
 * it is not there. */
static ssize_t read_text(int dir_fd, const char *path, char *text, size_t size) {
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    close(fd);
    if (n < 0)
        return -1;
    text[n] = '\0';
    return n;
}

static void add_children(struct tree *tree, pid_t pid) {
    char path[64], text[PROC_TEXT_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
    if (read_text(AT_FDCWD, path, text, sizeof(text)) <= 0)
        return;
    char *end = text;
    for (;;) {
        const char *word = end;
        long child = strtol(word, &end, 10);
        if (end == word || tree->count == PROBE_PROCESSES_MAX)
            return;
        tree->pids[tree->count++] = (pid_t)child;
    }
}

static void tree_collect(struct tree *tree, pid_t root) {
    tree->pids[0] = root;
    tree->count = 1;
    for (size_t i = 0; i < tree->count; i++)
        add_children(tree, tree->pids[i]);
}

/* Field 3 of /proc/PID/task/TID/stat: the first one after the name, which may itself contain
 * anything. 0 when gone. */
static char thread_state(int task_fd, const char *tid) {
    char path[300], text[512];
    snprintf(path, sizeof(path), "%s/stat", tid);
    if (read_text(task_fd, path, text, sizeof(text)) <= 0)
        return 0;
    const char *name_end = strrchr(text, ')');
    return name_end != NULL && name_end[1] == ' ' ? name_end[2] : 0;
}

static int add_threads(pid_t pid, struct probe_sample *sample) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    DIR *task = opendir(path);
    if (task == NULL)
        return -ESRCH;
    for (const struct dirent *entry; (entry = readdir(task)) != NULL;) {
        char state = entry->d_name[0] == '.' ? 0 : thread_state(dirfd(task), entry->d_name);
        sample->threads += state != 0;
        sample->running += state == 'R';
        sample->sleeping += state == 'S' || state == 'D';
    }
    closedir(task);
    return 0;
}

/* The CPU clock of the process is exact, and counts threads that have ended; /proc/PID/stat would
 * round to clock ticks, and /proc/PID/schedstat knows the main thread alone. clock_getcpuclockid(3)
 */
static nsec_t cpu_time(pid_t pid) {
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return 0;
    return spent.tv_sec * NSEC_PER_SEC + spent.tv_nsec;
}

/* Field 2 of /proc/PID/statm, in pages. */
static uint64_t resident_bytes(pid_t pid) {
    char path[64], text[128];
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    if (read_text(AT_FDCWD, path, text, sizeof(text)) <= 0)
        return 0;
    const char *second = strchr(text, ' ');
    return second == NULL ? 0 : strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

int probe_add(pid_t root, struct probe_sample *sample) {
    struct tree tree;
    int rc = -ESRCH;
    if (sample->at == 0)
        sample->at = clock_now();
    tree_collect(&tree, root);
    for (size_t i = 0; i < tree.count; i++) {
        if (add_threads(tree.pids[i], sample) != 0)
            continue;
        sample->processes++;
        sample->cpu += cpu_time(tree.pids[i]);
        sample->rss_bytes += resident_bytes(tree.pids[i]);
        rc = i == 0 ? 0 : rc;
    }
    return rc;
}

static uint64_t process_memory_peak(pid_t pid) {
    char path[64], text[PROC_TEXT_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (read_text(AT_FDCWD, path, text, sizeof(text)) <= 0)
        return 0;
    const char *field = strstr(text, "\nVmHWM:");
    return field == NULL ? 0 : strtoull(field + strlen("\nVmHWM:"), NULL, 10) * 1024;
}

uint64_t probe_memory_peak(pid_t root) {
    struct tree tree;
    uint64_t sum = 0;
    tree_collect(&tree, root);
    for (size_t i = 0; i < tree.count; i++)
        sum += process_memory_peak(tree.pids[i]);
    return sum;
}
