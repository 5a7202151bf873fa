/* SPDX-License-Identifier: MIT */
/* The io interface through TLS: every story is told to a thread and to a fiber; the other side is a
 * thread of its own. */
#include "net/tls.h"
#include "tests/unit/fiber/io_rig.h"
#include "tests/unit/net/tls_pki.h"
#include <stdio.h>
#include <sys/eventfd.h>

enum { BIG_BYTES = 300000 };

/* What the other side does, as a client, once the handshake is made. */
struct other {
    struct io_block block;
    struct tls *tls;
    int fd;
    void (*act)(struct other *);
    pthread_t thread;
};

struct secured {
    struct tls_context *client_context, *server_context;
    struct tls *tls;
    struct other other;
};

static void *play(void *arg) {
    struct other *o = arg;
    io_block_init(&o->block, -1);
    assert_int_equal(io_secure(&o->block.io, o->fd, o->tls), 0);
    if (io_handshake(&o->block.io, o->fd, late()) == 0)
        o->act(o);
    assert_int_equal(io_secure(&o->block.io, o->fd, NULL), 0);
    return NULL;
}

/* For one that has ended already. */
static void *no_play(void *arg) {
    return arg;
}

static void secure(struct rig *r, struct secured *s, void (*act)(struct other *)) {
    const struct tls_peer localhost = { .name = "localhost" };
    s->client_context = context_of(client_config(&pki));
    s->server_context = context_of(server_config(&pki.good));
    s->other = (struct other){ .fd = r->peer, .act = act };
    assert_int_equal(tls_new(s->server_context, NULL, &s->tls), 0);
    assert_int_equal(tls_new(s->client_context, &localhost, &s->other.tls), 0);
    assert_int_equal(io_secure(r->io, r->mine, s->tls), 0);
    assert_int_equal(pthread_create(&s->other.thread, NULL, play, &s->other), 0);
}

static void end(struct rig *r, struct secured *s) {
    pthread_join(s->other.thread, NULL);
    assert_int_equal(io_secure(r->io, r->mine, NULL), 0);
    tls_free(s->tls);
    tls_free(s->other.tls);
    tls_context_unref(s->client_context);
    tls_context_unref(s->server_context);
}

static void other_says(struct other *o, const char *text) {
    assert_int_equal(io_write_all(&o->block.io, o->fd, text, strlen(text), late()), 0);
}

static void asks(struct other *o) {
    char text[16];
    other_says(o, "ask");
    assert_int_equal(io_read(&o->block.io, o->fd, text, sizeof(text), late()), 6);
    assert_memory_equal(text, "answer", 6);
    assert_int_equal(tls_shutdown(o->tls), 0);
}

static void answers_what_is_asked(struct rig *r) {
    struct secured s;
    char text[16];
    secure(r, &s, asks);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 3);
    assert_memory_equal(text, "ask", 3);
    assert_int_equal(io_write_all(r->io, r->mine, "answer", 6, late()), 0);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 0);
    end(r, &s);
}

static void asks_for_two(struct other *o) {
    other_says(o, "onetwo");
}

/* The rest of a record gives no event: a wait for it must not wait. */
static void waits_for_nothing_when_bytes_are_within(struct rig *r) {
    struct secured s;
    char text[3];
    secure(r, &s, asks_for_two);
    assert_int_equal(io_wait(r->io, r->mine, IO_READ, late()), 0);
    assert_int_equal(io_read(r->io, r->mine, text, 3, late()), 3);
    assert_int_equal(io_wait(r->io, r->mine, IO_READ, late()), 0);
    assert_int_equal(io_read(r->io, r->mine, text, 3, late()), 3);
    assert_memory_equal(text, "two", 3);
    assert_int_equal(io_read(r->io, r->mine, text, 3, clock_now() + SOON), -ETIMEDOUT);
    end(r, &s);
}

static void takes_much(struct other *o) {
    static char sink[20000];
    size_t got = 0;
    while (got < BIG_BYTES) {
        ssize_t n = io_read(&o->block.io, o->fd, sink, sizeof(sink), late());
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    assert_int_equal(got, BIG_BYTES);
    char *big = calloc(1, BIG_BYTES);
    assert_non_null(big);
    assert_int_equal(io_write_all(&o->block.io, o->fd, big, BIG_BYTES, late()), 0);
    free(big);
}

static void moves_more_than_the_socket_holds(struct rig *r) {
    struct secured s;
    size_t got = 0;
    char *big = calloc(1, BIG_BYTES);
    assert_non_null(big);
    secure(r, &s, takes_much);
    assert_int_equal(io_write_all(r->io, r->mine, big, BIG_BYTES, late()), 0);
    while (got < BIG_BYTES) {
        ssize_t n = io_read(r->io, r->mine, big, 7000, late());
        assert_true(n > 0);
        got += (size_t)n;
    }
    free(big);
    end(r, &s);
}

static void leaves_without_a_word(struct other *o) {
    shutdown(o->fd, SHUT_WR);
}

static void tells_a_truncation_from_an_end(struct rig *r) {
    struct secured s;
    char text[16];
    secure(r, &s, leaves_without_a_word);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), -ENODATA);
    assert_int_equal(s.tls->state, TLS_TRUNCATED);
    end(r, &s);
}

static void says_bye(struct other *o) {
    other_says(o, "bye");
    assert_int_equal(tls_shutdown(o->tls), 0);
}

/* The end comes with the last bytes, and the connection stays open: no event is left for it. */
static void waits_for_nothing_at_the_end(struct rig *r) {
    struct secured s;
    char text[16];
    secure(r, &s, says_bye);
    assert_int_equal(io_handshake(r->io, r->mine, late()), 0);
    assert_int_equal(io_wait(r->io, r->mine, IO_READ, late()), 0);
    pthread_join(s.other.thread, NULL);
    assert_int_equal(pthread_create(&s.other.thread, NULL, no_play, NULL), 0);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 3);
    assert_int_equal(io_wait(r->io, r->mine, IO_READ, clock_now() + SOON), 0);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 0);
    end(r, &s);
}

static void handshake_ends_at_its_deadline(struct rig *r) {
    struct tls_context *context = context_of(server_config(&pki.good));
    struct tls *tls;
    assert_int_equal(tls_new(context, NULL, &tls), 0);
    assert_int_equal(io_secure(r->io, r->mine, tls), 0);
    assert_int_equal(io_handshake(r->io, r->mine, clock_now() + SOON), -ETIMEDOUT);
    assert_int_equal(write(r->peer, "\x16\x03\x01", 3), 3);
    assert_int_equal(io_handshake(r->io, r->mine, clock_now() + SOON), -ETIMEDOUT);
    shutdown(r->peer, SHUT_WR);
    assert_int_equal(io_handshake(r->io, r->mine, late()), -ENODATA);
    assert_int_equal(io_secure(r->io, r->mine, NULL), 0);
    tls_free(tls);
    tls_context_unref(context);
}

/* Two of them, over one io, and none is taken for the other. */
static void keeps_connections_apart(struct rig *r) {
    struct secured one, two;
    struct rig beside = { .io = r->io };
    char text[16];
    open_pair(&beside);
    secure(r, &one, asks);
    secure(&beside, &two, asks_for_two);
    assert_int_equal(io_read(r->io, beside.mine, text, sizeof(text), late()), 6);
    assert_int_equal(io_read(r->io, r->mine, text, sizeof(text), late()), 3);
    assert_int_equal(io_write_all(r->io, r->mine, "answer", 6, late()), 0);
    end(&beside, &two);
    end(r, &one);
    close_pair(&beside);
}

/* --- told to a thread, and to a fiber --------------------------------------------------------- */

static void tell_a_thread(void **state) {
    struct rig r = { 0 };
    void (*const *story)(struct rig *) = *state;
    open_pair(&r);
    io_block_init(&r.block, -1);
    r.io = &r.block.io;
    (*story)(&r);
    close_pair(&r);
}

/* --- idle connections of a loop --------------------------------------------------------------- */

static unsigned idle_news;

static void on_idle(void *arg, int fd) {
    (void)arg;
    (void)fd;
    idle_news++;
}

static void says_something_late(struct other *o) {
    char byte;
    assert_int_equal(io_read(&o->block.io, o->fd, &byte, 1, late()), 1);
    other_says(o, "news");
}

/* A client whose server sends tickets, which are no news. */
static void idles(struct rig *r) {
    const struct tls_peer localhost = { .name = "localhost" };
    struct secured s;
    s.client_context = context_of(client_config(&pki));
    s.server_context = context_of(server_config(&pki.good));
    s.other = (struct other){ .fd = r->peer, .act = says_something_late };
    assert_int_equal(tls_new(s.client_context, &localhost, &s.tls), 0);
    assert_int_equal(tls_new(s.server_context, NULL, &s.other.tls), 0);
    assert_int_equal(io_secure(r->io, r->mine, s.tls), 0);
    assert_int_equal(pthread_create(&s.other.thread, NULL, play, &s.other), 0);
    assert_int_equal(io_handshake(r->io, r->mine, late()), 0);

    idle_news = 0;
    assert_int_equal(io_fiber_idle(r->io_fiber, r->mine, on_idle, NULL), 0);
    assert_int_equal(io_sleep(r->io, clock_now() + 3 * SOON), 0);
    assert_int_equal(idle_news, 0);
    assert_int_equal(io_write_all(r->io, r->mine, "?", 1, late()), 0);
    assert_int_equal(io_fiber_idle(r->io_fiber, r->mine, on_idle, NULL), 0);
    for (unsigned i = 0; i < 1000 && idle_news == 0; i++)
        assert_int_equal(io_sleep(r->io, clock_now() + SOON), 0);
    assert_int_equal(idle_news, 1);
    end(r, &s);
}

#define STORY(name) static void (*const name##_story)(struct rig *) = name
#define TELL(name, whom) \
    { #name " (" #whom ")", tell_a_##whom, NULL, NULL, (void *)(uintptr_t)&name##_story }
#define BOTH(name) TELL(name, thread), TELL(name, fiber)

STORY(answers_what_is_asked);
STORY(waits_for_nothing_when_bytes_are_within);
STORY(moves_more_than_the_socket_holds);
STORY(tells_a_truncation_from_an_end);
STORY(waits_for_nothing_at_the_end);
STORY(handshake_ends_at_its_deadline);
STORY(keeps_connections_apart);
STORY(idles);

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(answers_what_is_asked),
        BOTH(waits_for_nothing_when_bytes_are_within),
        BOTH(moves_more_than_the_socket_holds),
        BOTH(tells_a_truncation_from_an_end),
        BOTH(waits_for_nothing_at_the_end),
        BOTH(handshake_ends_at_its_deadline),
        BOTH(keeps_connections_apart),
        TELL(idles, fiber),
    };
    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
