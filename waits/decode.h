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
    int proc_fd; /* its folder in /proc */
    int net;     /* its namespace, as sock_table_net says it */
};

#define DECODE_FILES_MAX 4 /* of a poll: those that wait for more are told as a number */

struct decode_file {
    uint64_t inode;               /* of a socket; 0: it is none */
    short events;                 /* of poll(2) */
    char text[WAIT_OBJECT_BYTES]; /* of what is no socket: "pipe", "/path" */
};

struct decode_seen {
    struct wait wait;
    struct decode_file files[DECODE_FILES_MAX];
    uint8_t file_count;
    uint16_t port; /* of a connection that is being made; 0: none, or not told */
};

/* The number of descriptors in an epoll, which is dear to count. Zeroed is unknown. */
struct decode_epoll {
    int fd;
    uint32_t count;
    nsec_t until; /* when it is to be counted again */
};

void decode_begin(const struct decode_process *process, const struct wait_call *call,
                  struct sock_table *table, struct decode_epoll *epoll, struct decode_seen *ret);

void decode_end(struct decode_seen *seen, const struct sock_table *table,
                const struct decode_role *roles, size_t role_count);

/* What a thread waits for by the name of the function in the kernel that it sleeps in
 * (/proc/PID/wchan), where its call is not told. */
enum wait_kind decode_wchan(const char *function);

#endif
