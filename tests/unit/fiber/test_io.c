/* SPDX-License-Identifier: MIT */
/* The io interface: every story is written once and told twice, to a thread and to a fiber. */
#include "tests/unit/fiber/io_rig.h"
#include <stdio.h>
#include <sys/eventfd.h>

/* --- the stories ----------------------------------------------------------------------------- */

static void reads_what_is_there_then_waits_for_more(struct rig *r) {
    char text[16];
    assert_int_equal(write(r->peer, "hello", 5), 5);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 5);
    assert_memory_equal(text, "hello", 5);

    soon(r, peer_says_more);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 4);
    assert_memory_equal(text, "more", 4);
}

static void reads_in_pieces_smaller_than_what_came(struct rig *r) {
    char text[2];
    soon(r, peer_says_more);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 2);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 2);
    helper_done(r);
    soon(r, peer_says_more);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 2);
}

static void sees_the_end_when_the_peer_closes(struct rig *r) {
    char text[16];
    soon(r, peer_says_more_and_closes);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 4);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 0);
}

static void writes_to_a_peer_that_closed_its_half(struct rig *r) {
    char text[16];
    soon(r, peer_closes_its_half);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 0);
    assert_int_equal(io_write_all(r->io, r->mine, "bye", 3, late()), 0);
    assert_int_equal(read(r->peer, text, sizeof(text)), 3);
}

static void waits_for_room_although_the_peer_closed_its_half(struct rig *r) {
    char byte = 0;
    fill(r->mine);
    soon(r, peer_closes_its_half);
    assert_int_equal(io_wait(r->io, r->mine, IO_READ, late()), 0);
    assert_int_equal(io_write_all(r->io, r->mine, &byte, 1, clock_now() + SOON), -ETIMEDOUT);
}

static void loses_no_reset_that_came_with_data(struct rig *r) {
    char text[16];
    use_tcp(r);
    soon(r, peer_says_more_and_resets);
    ssize_t n = io_read(r->io, r->mine, text, sizeof(text), late());
    if (n == 4)
        n = io_read(r->io, r->mine, text, sizeof(text), late());
    assert_int_equal(n, -ECONNRESET);
}

static void sees_a_reset_in_a_write(struct rig *r) {
    use_tcp(r);
    peer_resets(r);
    int rc = io_write_all(r->io, r->mine, "x", 1, late());
    if (rc == 0)
        rc = io_write_all(r->io, r->mine, "x", 1, late());
    assert_true(rc == -ECONNRESET || rc == -EPIPE);
}

static void writes_more_than_the_socket_holds(struct rig *r) {
    char *bulk = calloc(1, BULK_BYTES);
    assert_non_null(bulk);
    soon(r, peer_reads_bulk);
    assert_int_equal(io_write_all(r->io, r->mine, bulk, BULK_BYTES, late()), 0);
    free(bulk);
}

static void read_ends_at_its_deadline_not_before(struct rig *r) {
    char text[16];
    nsec_t deadline = clock_now() + SOON;
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), deadline), -ETIMEDOUT);
    assert_true(clock_now() >= deadline);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), 0), -ETIMEDOUT);

    assert_int_equal(write(r->peer, "x", 1), 1);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 1);
}

static void cancelled_read_says_so_and_so_does_the_next(struct rig *r) {
    char text[16];
    r->cancel_soon(r);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), -ECANCELED);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), -ECANCELED);
    assert_int_equal(io_sleep(r->io, late()), -ECANCELED);
}

static void sleeps_until_not_less(struct rig *r) {
    nsec_t until = io_now(r->io) + SOON;
    assert_int_equal(io_sleep(r->io, until), 0);
    assert_true(clock_now() >= until);
    assert_true(io_now(r->io) >= until);
    assert_int_equal(io_sleep(r->io, 0), 0);
}

static void waits_for_a_hang_up_through_data(struct rig *r) {
    soon(r, peer_says_more);
    assert_int_equal(io_wait(r->io, r->mine, IO_HANGUP, clock_now() + 3 * SOON), -ETIMEDOUT);
    helper_done(r);
    soon(r, peer_closes);
    assert_int_equal(io_wait(r->io, r->mine, IO_HANGUP, late()), 0);
}

static void a_reset_is_a_hang_up(struct rig *r) {
    use_tcp(r);
    soon(r, peer_resets);
    assert_int_equal(io_wait(r->io, r->mine, IO_HANGUP, late()), 0);
}

static void level_wait_serves_foreign_readers(struct rig *r) {
    char byte;
    soon(r, peer_says_more);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(io_wait_level(r->io, r->mine, IO_READ, late()), 0);
        assert_int_equal(recv(r->mine, &byte, 1, 0), 1);
    }
    assert_int_equal(io_wait_level(r->io, r->mine, IO_READ, clock_now() + SOON), -ETIMEDOUT);
    assert_int_equal(io_wait_level(r->io, r->mine, IO_WRITE, late()), 0);
}

static void connect_is_refused(struct rig *r) {
    struct address at = { .v4 = { .sin_family = AF_INET }, .len = sizeof(at.v4) };
    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int bound = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(bound, &at.any, at.len), 0); /* a port that is ours and does not listen */
    assert_int_equal(getsockname(bound, &at.any, &at.len), 0);

    assert_int_equal(io_connect(r->io, &at, late()), -ECONNREFUSED);
    close(bound);
}

static void connects_from_the_address_it_is_told(struct rig *r) {
    struct address from = { .v4 = { .sin_family = AF_INET }, .len = sizeof(from.v4) };
    struct address at = from, seen = { .len = sizeof(seen.v4) };
    at.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, &at.any, at.len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, &at.any, &at.len), 0);

    int fd = io_connect_from(r->io, &at, &from, late());
    assert_true(fd >= 0);
    assert_int_equal(getsockname(fd, &seen.any, &seen.len), 0);
    assert_int_equal(seen.v4.sin_addr.s_addr, from.v4.sin_addr.s_addr);
    io_close(r->io, fd);

    from.v4.sin_addr.s_addr = htonl(0xc0000201); /* TEST-NET-1: nobody's, RFC 5737 */
    assert_int_equal(io_connect_from(r->io, &at, &from, late()), -EADDRNOTAVAIL);
    close(listener);
}

static void connect_waits_for_a_full_unix_backlog(struct rig *r) {
    struct address at = { .local = { .sun_family = AF_UNIX } };
    int n =
        snprintf(at.local.sun_path + 1, sizeof(at.local.sun_path) - 1, "srv-test-io-%d", getpid());
    at.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, &at.any, at.len), 0);
    assert_int_equal(listen(listener, 0), 0);

    int first = io_connect(r->io, &at, late());
    assert_true(first >= 0);
    assert_int_equal(io_connect(r->io, &at, clock_now() + SOON), -ETIMEDOUT);
    io_close(r->io, first);
    close(listener);
}

static void a_closed_descriptor_is_an_error(struct rig *r) {
    int fd = dup(r->mine);
    assert_true(fd >= 0);
    io_close(r->io, fd);
    assert_int_equal(io_wait(r->io, fd, IO_READ, late()), -EBADF);
}

static void a_number_used_again_starts_afresh(struct rig *r) {
    char byte = 0;
    assert_int_equal(io_wait(r->io, r->mine, IO_WRITE, late()), 0);
    for (int i = 0; i < 3; i++) {
        int pair[2];
        io_close(r->io, r->mine);
        close(r->peer);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        r->mine = pair[0];
        r->peer = pair[1];
        assert_int_equal(io_read(r->io, r->mine, &byte, 1, clock_now() + NSEC_PER_MSEC),
                         -ETIMEDOUT);
        soon(r, peer_says_more);
        assert_int_equal(io_read(r->io, r->mine, &byte, 1, late()), 1);
        helper_done(r);
    }
}

static const struct {
    const char *name;
    void (*story)(struct rig *);
} stories[] = {
#define STORY(name) \
    { #name, name }
    STORY(reads_what_is_there_then_waits_for_more),
    STORY(reads_in_pieces_smaller_than_what_came),
    STORY(sees_the_end_when_the_peer_closes),
    STORY(writes_to_a_peer_that_closed_its_half),
    STORY(waits_for_room_although_the_peer_closed_its_half),
    STORY(loses_no_reset_that_came_with_data),
    STORY(sees_a_reset_in_a_write),
    STORY(writes_more_than_the_socket_holds),
    STORY(read_ends_at_its_deadline_not_before),
    STORY(cancelled_read_says_so_and_so_does_the_next),
    STORY(sleeps_until_not_less),
    STORY(waits_for_a_hang_up_through_data),
    STORY(a_reset_is_a_hang_up),
    STORY(level_wait_serves_foreign_readers),
    STORY(connect_is_refused),
    STORY(connects_from_the_address_it_is_told),
    STORY(connect_waits_for_a_full_unix_backlog),
    STORY(a_closed_descriptor_is_an_error),
    STORY(a_number_used_again_starts_afresh),
};
enum { STORIES = sizeof(stories) / sizeof(stories[0]) };

/* --- the two tellers; the other one is in io_rig.h -------------------------------------------- */

static void write_cancel_fd(struct rig *r) {
    uint64_t one = 1;
    assert_int_equal(write(r->block.cancel_fd, &one, sizeof(one)), sizeof(one));
}

static void cancel_thread_soon(struct rig *r) {
    soon(r, write_cancel_fd);
}

static void tell_a_thread(void **state) {
    struct rig r = { .cancel_soon = cancel_thread_soon };
    void (*const *story)(struct rig *) = *state;
    int cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    io_block_init(&r.block, cancel_fd);
    r.io = &r.block.io;
    open_pair(&r);
    (*story)(&r);
    close_pair(&r);
    close(cancel_fd);
}

int main(void) {
    static struct CMUnitTest tests[2 * STORIES];
    static char names[2 * STORIES][80];

    for (int i = 0; i < 2 * STORIES; i++) {
        bool fiber = i >= STORIES;
        void *story = (void *)(uintptr_t)&stories[i % STORIES].story;
        snprintf(names[i], sizeof(names[i]), "%s: %s", fiber ? "fiber" : "thread",
                 stories[i % STORIES].name);
        tests[i] = (struct CMUnitTest){
            .name = names[i],
            .test_func = fiber ? tell_a_fiber : tell_a_thread,
            .initial_state = story,
        };
    }
    return cmocka_run_group_tests_name("io", tests, NULL, NULL);
}
