/* SPDX-License-Identifier: MIT */
/* Lets clients that were turned away read why, whatever they are still sending. */
#include "server/conn/farewell.h"
#include "net/socket.h"
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void farewell_say(struct farewell *f, int fd) {
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (shutdown(fd, SHUT_WR) < 0 || f->count == ARRAY_LEN(f->guests) ||
        epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        close(fd);
        return;
    }
    f->guests[f->count].fd = fd;
    f->guests[f->count].until = deadline_after(clock_now(), SERVER_LINGER_NSEC);
    f->count++;
}

nsec_t farewell_due(const struct farewell *f) {
    return f->count > 0 ? f->guests[0].until : NSEC_NEVER;
}

/* A bounded part of what has come; true when no more will. */
static bool drop_input(int fd) {
    unsigned burst = SERVER_LINGER_BURST;
    char scratch[2048];
    ssize_t n;

    do
        n = socket_recv(fd, scratch, sizeof(scratch));
    while (n > 0 && --burst > 0);
    return n <= 0 && n != -EAGAIN;
}

/* Closing takes it out of the set. */
static void farewell_end_one(struct farewell *f, unsigned i) {
    close(f->guests[i].fd);
    f->count--;
    memmove(&f->guests[i], &f->guests[i + 1], (f->count - i) * sizeof(f->guests[0]));
}

void farewell_hear(struct farewell *f, int fd) {
    for (unsigned i = 0; i < f->count; i++) {
        if (f->guests[i].fd != fd)
            continue;
        if (drop_input(fd))
            farewell_end_one(f, i);
        return;
    }
}

void farewell_expire(struct farewell *f, nsec_t now) {
    while (f->count > 0 && now >= f->guests[0].until)
        farewell_end_one(f, 0);
}

void farewell_end(struct farewell *f) {
    while (f->count > 0)
        farewell_end_one(f, f->count - 1);
}
