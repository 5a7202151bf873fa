/* SPDX-License-Identifier: MIT */
/* Kinds of waits by the functions of the kernel that threads sleep in, as kernels name them. */
#include "waits/decode.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void functions_of_the_kernel_tell_the_kind(void **state) {
    (void)state;
    static const struct {
        const char *function;
        enum wait_kind kind;
    } rows[] = {
        { "inet_csk_accept", WAIT_ACCEPT },
        { "ep_poll", WAIT_EPOLL },
        { "do_epoll_wait", WAIT_EPOLL },
        { "poll_schedule_timeout.constprop.0", WAIT_POLL },
        { "do_sys_poll", WAIT_POLL },
        { "futex_wait_queue_me", WAIT_CONDITION },
        { "futex_do_wait", WAIT_CONDITION },
        { "hrtimer_nanosleep", WAIT_SLEEP },
        { "sk_wait_data", WAIT_RECV },
        { "wait_woken", WAIT_OTHER }, /* for bytes or for room */
        { "sk_stream_wait_memory", WAIT_SEND },
        { "do_wait", WAIT_CHILD },
        { "pipe_read", WAIT_READ },
        { "anon_pipe_read", WAIT_READ },
        { "flock_lock_inode_wait", WAIT_FILE_LOCK },
        { "do_signal_stop", WAIT_STOPPED },
        { "0", WAIT_UNKNOWN },
        { "something_new", WAIT_OTHER },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(decode_wchan(rows[i].function), rows[i].kind);
}

int main(void) {
    const struct CMUnitTest tests[] = { cmocka_unit_test(functions_of_the_kernel_tell_the_kind) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
