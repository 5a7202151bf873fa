/* SPDX-License-Identifier: MIT */
/* Names to addresses, waited for by a thread and by a fiber. No test needs a network. */
#include "base/alloc.h"
#include "fiber/resolve.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE    (30 * NSEC_PER_SEC)
#define FIBERS      100 /* more than there may be threads */
#define LOOKUPS_MAX 64  /* THREADS_MAX of fiber/resolve.c */

static struct endpoint parse(const char *text) {
    struct endpoint e;

    assert_int_equal(endpoint_parse(slice_str(text), 0, &e, NULL), 0);
    return e;
}

/* What one look-up came to. */
struct outcome {
    int rc;
    struct resolved found;
    struct error err;
};

static struct outcome ask(struct io *io, const struct endpoint *e, nsec_t deadline) {
    struct outcome o = { 0 };

    o.rc = resolve(io, e, deadline, &o.found, &o.err);
    return o;
}

/* Without an io to wait with, a thread would crash the test. */
static void numbers_and_paths_need_no_thread(void **state) {
    (void)state;
    static const char *const texts[][2] = {
        { "127.0.0.1:80", "127.0.0.1:80" },     { "[::1]:80", "[::1]:80" },
        { "localhost:80", "127.0.0.1:80" },     { ":80", "127.0.0.1:80" },
        { "unix:/tmp/some", "unix:/tmp/some" },
    };
    char text[ADDRESS_TEXT_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct endpoint e = parse(texts[i][0]);
        struct outcome o = ask(NULL, &e, 0);
        assert_int_equal(o.rc, 0);
        assert_int_equal(o.found.count, 1);
        assert_string_equal(address_format(&o.found.addresses[0], text), texts[i][1]);
    }
}

/* The machine's own name stands in its hosts file, as a rule. */
static struct endpoint own_name(char *name, size_t size) {
    struct endpoint e = { .port = 4321 };

    assert_int_equal(gethostname(name, size), 0);
    name[size - 1] = '\0';
    e.host = slice_str(name);
    return e;
}

static void assert_own_name(const struct outcome *o) {
    if (o->rc != 0) {
        print_message("%s\n", o->err.text);
        skip();
    }
    assert_in_range(o->found.count, 1, RESOLVE_MAX);
    for (size_t i = 0; i < o->found.count; i++)
        assert_int_equal(address_port(&o->found.addresses[i]), 4321);
}

static void thread_finds_a_name(void **state) {
    (void)state;
    char name[128];
    struct io_block block;
    struct endpoint e = own_name(name, sizeof(name));

    io_block_init(&block, -1);
    struct outcome o = ask(&block.io, &e, clock_now() + PATIENCE);
    assert_own_name(&o);
}

/* RFC 6761 section 6.4: it never exists. A name server that drops the question ends in a time-out.
 */
static void bad_name_is_an_error_with_words(void **state) {
    (void)state;
    struct io_block block;
    struct endpoint e = parse("no.such.name.invalid:80");

    io_block_init(&block, -1);
    struct outcome o = ask(&block.io, &e, clock_now() + PATIENCE);
    assert_true(o.rc == -ENOENT || o.rc == -ETIMEDOUT);
    assert_non_null(strstr(o.err.text, "cannot look up 'no.such.name.invalid': "));
}

/* The look-up may be quicker than the deadline is noticed: what counts is that it fails, and at
 * once. */
static void caller_does_not_wait_for_the_thread(void **state) {
    (void)state;
    struct io_block block;
    struct endpoint e = parse("no.such.name.invalid:80");
    nsec_t begin = clock_now();

    io_block_init(&block, -1);
    struct outcome o = ask(&block.io, &e, begin);
    assert_true(o.rc == -ENOENT || o.rc == -ETIMEDOUT);

    int cancel_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    io_block_init(&block, cancel_fd);
    o = ask(&block.io, &e, NSEC_NEVER);
    assert_true(o.rc == -ENOENT || o.rc == -ECANCELED);
    close(cancel_fd);
    assert_true(clock_now() - begin < 3 * NSEC_PER_SEC);
}

static int await_threads(void **state);

/* --- in steps -------------------------------------------------------------------------------- */

/* Begins, and waits as a loop would; then ends. */
static struct outcome ask_in_steps(const struct endpoint *e) {
    struct outcome o = { 0 };
    struct lookup *l;
    struct pollfd poll_fd = { .events = POLLIN };

    o.rc = resolve_begin(e, &l, &o.err);
    if (o.rc != 0)
        return o;
    poll_fd.fd = resolve_fd(l);
    o.rc = poll(&poll_fd, 1, PATIENCE / NSEC_PER_MSEC) == 1 ? resolve_end(l, &o.found, &o.err)
                                                            : -ETIMEDOUT;
    resolve_free(l);
    return o;
}

static void steps_find_a_name(void **state) {
    (void)state;
    char name[128];
    struct endpoint e = own_name(name, sizeof(name));
    struct outcome o = ask_in_steps(&e);

    assert_own_name(&o);
}

static void steps_tell_of_a_bad_name(void **state) {
    (void)state;
    struct endpoint e = parse("no.such.name.invalid:80");
    struct outcome o = ask_in_steps(&e);

    assert_true(o.rc == -ENOENT || o.rc == -ETIMEDOUT);
    if (o.rc == -ENOENT)
        assert_non_null(strstr(o.err.text, "cannot look up 'no.such.name.invalid': "));
}

static void a_name_that_is_too_long_is_not_looked_up(void **state) {
    (void)state;
    static char name[2000];
    struct endpoint e = { .host = slice_of(name, sizeof(name)), .port = 80 };
    struct outcome o;

    memset(name, 'a', sizeof(name));
    o = ask_in_steps(&e);
    assert_int_equal(o.rc, -ENAMETOOLONG);
}

static int threads_of_process(void) {
    int count = 0;
    DIR *dir = opendir("/proc/self/task");

    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

/* A loop that asks too often is not held up: look-ups queue. What it drops cleans up. */
static void there_are_so_many_at_once_and_no_more(void **state) {
    static struct lookup *begun[2 * FIBERS];
    const int *before = *state;
    struct endpoint e = parse("no.such.name.invalid:80");

    for (size_t i = 0; i < ARRAY_LEN(begun); i++) {
        struct error err;
        int rc = resolve_begin(&e, &begun[i], &err);

        assert_true(rc == 0 || rc == -EAGAIN);
        assert_true((rc == 0) == (begun[i] != NULL));
        assert_in_range(threads_of_process(), 1, *before + 2 * LOOKUPS_MAX); /* some are ending */
    }
    for (size_t i = 0; i < ARRAY_LEN(begun); i++)
        resolve_free(begun[i]);
}

static sem_t release;
static atomic_uint asked;

/* The one of a sanitizer, which else would look into the C library's. */
int __interceptor_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                              struct addrinfo **ret) __attribute__((weak));

/* Takes the place of the C library's: "slow.test" has an address once it may. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (__interceptor_getaddrinfo != NULL)
        real = __interceptor_getaddrinfo;
    if (name == NULL || strcmp(name, "slow.test") != 0)
        return real(name, service, hints, ret);
    asked++;
    while (sem_wait(&release) < 0 && errno == EINTR)
        ;
    return real("127.0.0.1", service, hints, ret);
}

static bool is_done(const struct lookup *l, nsec_t span) {
    struct pollfd poll_fd = { .fd = resolve_fd(l), .events = POLLIN };

    return poll(&poll_fd, 1, (int)(span / NSEC_PER_MSEC)) == 1;
}

static void await_asked(unsigned count) {
    for (nsec_t end = clock_now() + PATIENCE; asked < count && clock_now() < end;)
        usleep(1000);
    assert_int_equal(asked, count);
}

/* All helpers are busy: one more look-up waits for the first that is free. One whose caller leaves
 * meanwhile is never begun. */
static void further_look_ups_wait_for_a_helper(void **state) {
    (void)state;
    struct lookup *busy[LOOKUPS_MAX], *left, *last;
    struct endpoint e = parse("slow.test:80");
    struct resolved found;
    struct error err;

    sem_init(&release, 0, 0);
    asked = 0;
    assert_int_equal(await_threads(state), 0); /* those of the stories before */
    for (size_t i = 0; i < ARRAY_LEN(busy); i++)
        assert_int_equal(resolve_begin(&e, &busy[i], &err), 0);
    await_asked(LOOKUPS_MAX);
    assert_int_equal(resolve_begin(&e, &left, &err), 0);
    assert_int_equal(resolve_begin(&e, &last, &err), 0);
    resolve_free(left);
    assert_false(is_done(last, 50 * NSEC_PER_MSEC));
    assert_int_equal(asked, LOOKUPS_MAX);

    sem_post(&release); /* of any of those that are busy */
    await_asked(LOOKUPS_MAX + 1);
    for (size_t i = 0; i < LOOKUPS_MAX; i++)
        sem_post(&release);
    assert_true(is_done(last, PATIENCE));
    assert_int_equal(resolve_end(last, &found, &err), 0);
    assert_int_equal(found.count, 1);
    resolve_free(last);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        assert_true(is_done(busy[i], PATIENCE));
        resolve_free(busy[i]);
    }
    assert_int_equal(asked, LOOKUPS_MAX + 1);
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    struct endpoint e = parse("no.such.name.invalid:80");
    struct lookup *l;
    struct error err;

    mem_fail_after(0);
    int rc = resolve_begin(&e, &l, &err);
    mem_fail_after(-1);
    assert_int_equal(rc, -ENOMEM);
    assert_null(l);
}

/* --- fibers --------------------------------------------------------------------------------- */

struct on_loop {
    struct loop *loop;
    struct fibers *fibers;
    struct io_fiber *fiber_io;
    struct endpoint endpoint;
    struct outcome outcomes[FIBERS];
    struct fiber *self;
    nsec_t deadline;
    int begun, ended, wanted;
};

static void ask_in_fiber(void *arg) {
    struct on_loop *t = arg;
    int index = t->begun++;

    t->self = fiber_self(t->fibers);
    t->outcomes[index] = ask(io_fiber_io(t->fiber_io), &t->endpoint, t->deadline);
    t->self = NULL;
    if (++t->ended == t->wanted)
        loop_stop(t->loop);
}

static void open_on_loop(struct on_loop *t, int wanted) {
    t->loop = loop_new(NULL);
    t->fibers = fibers_new(t->loop, &(struct fiber_config){ 0 }, NULL);
    t->fiber_io = io_fiber_new(t->loop, t->fibers, NULL);
    assert_non_null(t->fiber_io);
    t->wanted = wanted;
    for (int i = 0; i < wanted; i++)
        assert_int_equal(fiber_spawn(t->fibers, "ask", ask_in_fiber, t), 0);
}

static void close_on_loop(struct on_loop *t) {
    io_fiber_free(t->fiber_io);
    fibers_free(t->fibers);
    loop_free(t->loop);
}

static void fibers_find_a_name_together(void **state) {
    (void)state;
    static struct on_loop t;
    char name[128];

    t.endpoint = own_name(name, sizeof(name));
    t.deadline = clock_now() + PATIENCE;
    open_on_loop(&t, FIBERS);
    if (t.ended < FIBERS)
        assert_int_equal(loop_run(t.loop), 0);
    close_on_loop(&t);
    for (int i = 0; i < FIBERS; i++)
        assert_own_name(&t.outcomes[i]);
}

static void cancelled_fiber_leaves_the_thread_behind(void **state) {
    (void)state;
    static struct on_loop t;

    t.endpoint = parse("no.such.name.invalid:80");
    t.deadline = NSEC_NEVER;
    open_on_loop(&t, 1);
    if (t.self != NULL)
        fiber_cancel(t.self);
    if (t.ended < 1)
        assert_int_equal(loop_run(t.loop), 0);
    close_on_loop(&t);
    assert_true(t.outcomes[0].rc == -ECANCELED || t.outcomes[0].rc == -ENOENT);
}

/* --- the end -------------------------------------------------------------------------------- */

/* Helper threads that outlived their callers must leave, too, and with nothing leaked. */
static int await_threads(void **state) {
    int *before = *state;
    nsec_t end = clock_now() + PATIENCE;

    while (threads_of_process() > *before && clock_now() < end)
        usleep(5000);
    return threads_of_process() <= *before ? 0 : -1;
}

static void *do_nothing(void *arg) {
    return arg;
}

/* After a first thread: with it a sanitizer may start one of its own that stays. */
static int count_threads(void **state) {
    static int before;
    pthread_t thread;

    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0)
        return -1;
    pthread_join(thread, NULL);
    before = threads_of_process();
    *state = &before;
    return 0;
}

/* --- rules ------------------------------------------------------------------------------------ */

static void overrides_are_checked(void **state) {
    (void)state;
    static const char *const good[] = { "h:80:127.0.0.1", "h:1:::1", "a.b:65535:[::1],127.0.0.2" };
    static const char *const wrong[] = { "",
                                         "h",
                                         "h:80",
                                         "h:80:",
                                         ":80:127.0.0.1",
                                         "h:0:127.0.0.1",
                                         "h:65536:127.0.0.1",
                                         "h:80:name",
                                         "h:80:127.0.0.1,,",
                                         "h:x:127.0.0.1" };
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_int_equal(resolve_check_override(good[i], &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(resolve_check_override(wrong[i], &err), -EINVAL);
}

/* "ADDRESS ADDRESS ...", or the error. */
static void check_rules(const char *name, const struct resolve_rules *rules, const char *expected) {
    struct endpoint e = parse(name);
    struct resolved found;
    struct error err = { .text = "" };
    char all[512] = "", text[ADDRESS_TEXT_BYTES];
    int rc = resolve_with_rules(NULL, &e, rules, 0, &found, &err);
    for (size_t i = 0; rc == 0 && i < found.count; i++) {
        strcat(all, i > 0 ? " " : "");
        strcat(all, address_format(&found.addresses[i], text));
    }
    assert_string_equal(rc == 0 ? all : err.text, expected);
}

static void overrides_and_families_choose_addresses(void **state) {
    (void)state;
    static const char *const texts[] = { "h:80:127.0.0.2,[::2]", "x:80:127.0.0.9", "H:80:127.0.0.3",
                                         "h:81:127.0.0.9" };
    struct resolve_rules rules = { .overrides = texts, .override_count = ARRAY_LEN(texts) };
    check_rules("h:80", &rules, "127.0.0.2:80 [::2]:80 127.0.0.3:80");
    check_rules("localhost:80", &rules, "127.0.0.1:80 [::1]:80");
    check_rules("127.0.0.1:80", &rules, "127.0.0.1:80");
    rules.family = AF_INET;
    check_rules("h:80", &rules, "127.0.0.2:80 127.0.0.3:80");
    check_rules("localhost:80", &rules, "127.0.0.1:80");
    check_rules("[::1]:80", &rules, "'::1' has no IPv4 address");
    rules.family = AF_INET6;
    check_rules("h:80", &rules, "[::2]:80");
    check_rules("localhost:80", &rules, "[::1]:80");
    check_rules("127.0.0.1:80", &rules, "'127.0.0.1' has no IPv6 address");
    check_rules("unix:/s", &rules, "unix:/s");
}

static void turns_rotate(void **state) {
    (void)state;
    static const char *const texts[] = { "h:80:127.0.0.1,127.0.0.2,127.0.0.3" };
    static const char *const firsts[] = { "127.0.0.1:80", "127.0.0.2:80", "127.0.0.3:80" };
    struct resolve_rules rules = { .overrides = texts, .override_count = 1 };
    struct endpoint e = parse("h:80");
    for (size_t turn = 0; turn < 7; turn++) {
        struct resolved found;
        char text[ADDRESS_TEXT_BYTES];
        assert_true(resolve_is_overridden(&rules, &e, &found));
        resolve_rotate(&found, turn);
        for (size_t i = 0; i < 3; i++)
            assert_string_equal(address_format(&found.addresses[i], text), firsts[(turn + i) % 3]);
    }
    struct resolved none = { .count = 0 };
    resolve_rotate(&none, 5);
    assert_int_equal(none.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_paths_need_no_thread),
        cmocka_unit_test(thread_finds_a_name),
        cmocka_unit_test(bad_name_is_an_error_with_words),
        cmocka_unit_test(caller_does_not_wait_for_the_thread),
        cmocka_unit_test(steps_find_a_name),
        cmocka_unit_test(steps_tell_of_a_bad_name),
        cmocka_unit_test(a_name_that_is_too_long_is_not_looked_up),
        cmocka_unit_test(there_are_so_many_at_once_and_no_more),
        cmocka_unit_test(further_look_ups_wait_for_a_helper),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(fibers_find_a_name_together),
        cmocka_unit_test(cancelled_fiber_leaves_the_thread_behind),
        cmocka_unit_test(overrides_are_checked),
        cmocka_unit_test(overrides_and_families_choose_addresses),
        cmocka_unit_test(turns_rotate),
    };
    return cmocka_run_group_tests(tests, count_threads, await_threads);
}
