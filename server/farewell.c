/* SPDX-License-Identifier: MIT */
/* Lets clients that were turned away read why, whatever they are still sending. */
#include "server/farewell.h"
#include "net/socket.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

void farewell_say(struct farewell *f, int fd) {
    if (shutdown(fd, SHUT_WR) < 0 || f->count == ARRAY_LEN(f->guests)) {
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

unsigned farewell_watch(const struct farewell *f, struct pollfd *fds) {
    for (unsigned i = 0; i < f->count; i++)
        fds[i] = (struct pollfd){ .fd = f->guests[i].fd, .events = POLLIN };
    return f->count;
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

void farewell_turn(struct farewell *f, const struct pollfd *fds, nsec_t now) {
    unsigned left = 0;

    for (unsigned i = 0; i < f->count; i++) {
        bool gone = fds[i].revents != 0 && drop_input(fds[i].fd);

        if (gone || now >= f->guests[i].until)
            close(f->guests[i].fd);
        else
            f->guests[left++] = f->guests[i];
    }
    f->count = left;
}

void farewell_end(struct farewell *f) {
    for (unsigned i = 0; i < f->count; i++)
        close(f->guests[i].fd);
    f->count = 0;
}
