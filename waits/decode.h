/* SPDX-License-Identifier: MIT */
/* From the system call of a thread to what it waits for: its arguments, the descriptors that they
 * name, and what the kernel says of those.
 *
 *   decode_begin(&process, &call, &table, &epoll, &seen)    for each thread
 *   sock_table_ask(&table)                                  for all of them
 *   decode_end(&seen, &table, roles, count)                 then seen.wait is complete
 *
 * No thread is stopped: memory that arguments point to is read by process_vm_readv(2), and what
 * changes meanwhile is seen as it was or as it is. */
#ifndef WAITS_DECODE_H
#define WAITS_DECODE_H

#include "base/clock.h"
#include "waits/call.h"
#include "waits/sock_table.h"
#include "waits/wait.h"

/* A name for servers that listen at a port, for those who connect to it. */
struct decode_role {
    const char *name;
    uint16_t port;
};

struct decode_process {
    pid_t pid;
    int proc_fd; /* the folder /proc/PID */
    int net;     /* the network namespace, as sock_table_net returns it */
};

#define DECODE_FILES_MAX 4 /* files of a poll; of a poll for more only the number is told */

struct decode_file {
    uint64_t inode;               /* the inode of a socket; 0: the file is no socket */
    short events;                 /* events that are waited for, as poll(2) has them */
    char text[WAIT_OBJECT_BYTES]; /* a file that is no socket: "pipe", "/path" */
};

struct decode_seen {
    struct wait wait;
    struct decode_file files[DECODE_FILES_MAX];
    uint8_t file_count;
    uint16_t port; /* the port that WAIT_CONNECT is for; 0: none, or not told */
};

/* The number of descriptors in an epoll, which is dear to count. Zeroed is unknown. */
struct decode_epoll {
    int fd;
    uint32_t count;
    nsec_t until; /* the count is good until then */
};

void decode_begin(const struct decode_process *process, const struct wait_call *call,
                  struct sock_table *table, struct decode_epoll *epoll, struct decode_seen *ret);

void decode_end(struct decode_seen *seen, const struct sock_table *table,
                const struct decode_role *roles, size_t role_count);

/* Tells what a thread waits for by the name of the function in the kernel that it sleeps in
 * (/proc/PID/wchan). Serves threads whose calls the kernel does not tell. */
enum wait_kind decode_wchan(const char *function);

#endif
