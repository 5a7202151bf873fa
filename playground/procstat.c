/* SPDX-License-Identifier: MIT */
/* Samples threads, their states, CPU time and memory of a process tree, and counts sockets. */
#include "playground/procstat.h"
#include "base/alloc.h"
#include "waits/sock_table.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define REPLY_BYTES     32768 /* the most that the kernel sends in one go */
#define PROC_TEXT_BYTES 2048  /* more than a list of PROCSTAT_PROCESSES_MAX children takes */

struct tree {
    pid_t pids[PROCSTAT_PROCESSES_MAX];
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
        if (end == word || tree->count == PROCSTAT_PROCESSES_MAX)
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

static int add_threads(pid_t pid, struct procstat *sample) {
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

pid_t procstat_find_child(pid_t parent, const char *name) {
    struct tree tree = { .count = 0 };
    add_children(&tree, parent);
    for (size_t i = 0; i < tree.count; i++) {
        char path[64], text[32];
        snprintf(path, sizeof(path), "/proc/%d/comm", tree.pids[i]);
        ssize_t len = read_text(AT_FDCWD, path, text, sizeof(text));
        if (len > 0 && (size_t)len == strlen(name) + 1 && memcmp(text, name, strlen(name)) == 0)
            return tree.pids[i];
    }
    return 0;
}

int procstat_add(pid_t root, pid_t except, struct procstat *sample) {
    struct tree tree;
    int rc = -ESRCH;
    if (sample->at == 0)
        sample->at = clock_now();
    tree_collect(&tree, root);
    for (size_t i = 0; i < tree.count; i++) {
        if (tree.pids[i] == except || add_threads(tree.pids[i], sample) != 0)
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

uint64_t procstat_memory_peak(pid_t root, pid_t except) {
    struct tree tree;
    uint64_t sum = 0;
    tree_collect(&tree, root);
    for (size_t i = 0; i < tree.count; i++)
        sum += tree.pids[i] == except ? 0 : process_memory_peak(tree.pids[i]);
    return sum;
}

/* --- sockets -------------------- */

/* States in which a client's request is without its whole answer. After CLOSE_WAIT it has closed,
 * too. */
#define CLIENT_STATES (1u << TCP_SYN_SENT | 1u << TCP_ESTABLISHED | 1u << TCP_CLOSE_WAIT)

static void count_socket(const struct inet_diag_msg *message, const uint16_t *ports, size_t count,
                         struct procstat_sockets *ret) {
    for (size_t i = 0; i < count; i++) {
        ret[i].accepted += ports[i] != 0 && htons(ports[i]) == message->id.idiag_sport &&
                           message->idiag_state == TCP_ESTABLISHED;
        ret[i].made += ports[i] != 0 && htons(ports[i]) == message->id.idiag_dport;
    }
}

/* Counts what one datagram tells. False when it was the last. */
static bool count_reply(struct nlmsghdr *head, size_t len, const uint16_t *ports, size_t count,
                        struct procstat_sockets *ret) {
    for (; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
        if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY)
            return false; /* NLMSG_DONE or NLMSG_ERROR */
        count_socket(NLMSG_DATA(head), ports, count, ret);
    }
    return true;
}

void procstat_count_sockets(const uint16_t *ports, size_t count, struct procstat_sockets *ret) {
    char *reply = mem_alloc(REPLY_BYTES); /* aligned for any header */
    for (size_t i = 0; i < count; i++)
        ret[i] = (struct procstat_sockets){ 0 };
    int fd = reply == NULL ? -1 : socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    /* These states alone: /proc/net/tcp would list TIME_WAIT, too, and can take 100 ms. */
    if (fd >= 0 && sock_diag_ask(fd, AF_INET, IPPROTO_TCP, CLIENT_STATES) == 0) {
        ssize_t n;
        do
            n = recv(fd, reply, REPLY_BYTES, 0);
        while (n > 0 &&
               count_reply((struct nlmsghdr *)(void *)reply, (size_t)n, ports, count, ret));
    }
    if (fd >= 0)
        close(fd);
    mem_free(reply);
}
