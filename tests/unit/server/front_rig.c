/* SPDX-License-Identifier: MIT */
/* A front, its clients and its model for tests. */
#include "tests/unit/server/front_rig.h"
#include "server/app/handle.h"
#include "server/conn/front_stop.h"
#include "srv/app.h"
#include "tests/unit/server/open_fds.h"
#include <signal.h>
#include <sys/un.h>
#include <unistd.h>

static struct front_rig *rig_of(const struct client *c) {
    return CONTAINER_OF(c->front, struct front_rig, front);
}

/* --- the model ---------------------------------------------------------------- */

static int handle(struct srv_request *rq) {
    static char text[LARGE];
    uint64_t size = 5;

    if (slice_parse_u64(slice_str(srv_path(rq) + 1), LARGE, &size) < 0)
        size = 5;
    memset(text, 'x', size);
    return srv_reply_bytes(rq, 200, text, size);
}

static const struct srv_app app = { .handle = handle };

/* As green and pool do. */
static void answer(struct client *c) {
    struct front_rig *f = rig_of(c);

    session_begin(&c->session, clock_now());
    front_return(c, handle_serve(&c->session, &f->io.io));
}

static void dispatch(struct client *c) {
    struct front_rig *f = rig_of(c);

    for (int i = 0; i < CLIENTS; i++)
        if (f->servers[i] == c->session.fd)
            f->served_at[i] = f->dispatched;
    f->dispatched++;
    f->depth++;
    if (f->depth > f->depth_most)
        f->depth_most = f->depth;
    if (f->answers_at_once)
        answer(c);
    else
        TAILQ_INSERT_TAIL(&f->served, c, queued);
    f->depth--;
}

static void abandon(struct client *c) {
    struct front_rig *f = rig_of(c);

    if (!f->cancels)
        return;
    TAILQ_REMOVE(&f->served, c, queued);
    front_return(c, session_finish(&c->session, -ECANCELED, loop_now(f->loop)));
}

void answer_first(struct front_rig *f) {
    struct client *c = TAILQ_FIRST(&f->served);

    assert_non_null(c);
    TAILQ_REMOVE(&f->served, c, queued);
    answer(c);
}

/* --- the loop ------------------------------------------------------------------- */

static void on_pause(struct timer *timer) {
    loop_stop(CONTAINER_OF(timer, struct front_rig, pause)->loop);
}

void run_for(struct front_rig *f, nsec_t span) {
    f->pause.fire = on_pause;
    assert_int_equal(timer_set(f->loop, &f->pause, clock_now() + span), 0);
    assert_int_equal(loop_run(f->loop), 0);
    timer_cancel(f->loop, &f->pause);
}

void run(struct front_rig *f) {
    run_for(f, 2 * MSEC);
}

/* --- clients -------------------------------------------------------------------- */

/* Connects, and has the front accept at once. */
void connect_client(struct front_rig *f, int i) {
    struct sockaddr_un at;
    socklen_t len = sizeof(at);
    struct client *last;

    assert_int_equal(getsockname(f->listen_fd, (struct sockaddr *)&at, &len), 0);
    f->clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(f->clients[i], (struct sockaddr *)&at, len), 0);
    acceptor_glance(&f->front.balance.acceptors[0], 1);
    last = TAILQ_LAST(&f->front.clients, client_list);
    f->servers[i] = last != NULL ? last->session.fd : -1;
}

void hang_up(struct front_rig *f, int i) {
    close(f->clients[i]);
    f->clients[i] = -1;
}

void say(struct front_rig *f, int i, const char *text) {
    assert_int_equal(send(f->clients[i], text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

const char *hear(struct front_rig *f, int i) {
    static char text[65536];
    ssize_t n = recv(f->clients[i], text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return n == 0 || (n < 0 && errno != EAGAIN) ? NULL : text;
}

void assert_hears(struct front_rig *f, int i, const char *part) {
    const char *text = hear(f, i);

    if (text == NULL || strstr(text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, text != NULL ? text : "(closed)");
}

size_t drain(struct front_rig *f, int i) {
    const char *text;
    size_t sum = 0, none = 0;

    while (none < 3 && (text = hear(f, i)) != NULL) {
        sum += strlen(text);
        none = *text == '\0' ? none + 1 : 0;
        run_for(f, MSEC / 10);
    }
    return sum;
}

unsigned long long value(const struct front_rig *f, enum stats_value which) {
    return stats_get(f->worker.stats, which);
}

void ask_for_much_and_do_not_read(struct front_rig *f, int i) {
    connect_client(f, i);
    say(f, i, "GET /4000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    run(f);
    answer_first(f);
    run(f);
}

/* --- set-up --------------------------------------------------------------------- */

int front_set_up(void **state) {
    struct front_rig *f = calloc(1, sizeof(*f));
    struct sockaddr_un at = { 0 };

    f->fds_before = open_fds();
    worker_set_up(&f->worker, &f->config, &f->quota, &app);
    io_block_init(&f->io, -1);
    f->loop = loop_new(NULL);
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    at.sun_family = AF_UNIX; /* and the kernel chooses an abstract name, unix(7) */
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&at, sizeof(at.sun_family)), 0);
    assert_int_equal(listen(f->listen_fd, CLIENTS), 0);
    f->worker.listen_fds = &f->listen_fd;
    f->worker.listen_count = 1;
    f->cancels = true;
    TAILQ_INIT(&f->served);
    memset(f->clients, -1, sizeof(f->clients));
    f->front = (struct front){
        .worker = &f->worker, .loop = f->loop, .slots = 1, .dispatch = dispatch, .abandon = abandon
    };
    assert_int_equal(front_open(&f->front, NULL), 0);
    *state = f;
    return 0;
}

int front_tear_down(void **state) {
    static const enum stats_value gauges[] = { STATS_connections, STATS_slots_busy,
                                               STATS_queue_depth };
    struct front_rig *f = *state;

    f->cancels = true;
    front_signal(&f->front, SIGINT);
    run(f);
    assert_true(TAILQ_EMPTY(&f->served));
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        assert_int_equal(value(f, gauges[i]), 0);
    for (size_t i = 0; i < STATS_ENTRIES; i++)
        assert_int_equal(f->worker.stats->entries[i].doing, STATS_NOTHING);
    loop_free(f->loop);
    close(f->listen_fd);
    for (int i = 0; i < CLIENTS; i++)
        if (f->clients[i] >= 0)
            close(f->clients[i]);
    assert_int_equal(open_fds(), f->fds_before);
    worker_tear_down(&f->worker);
    free(f);
    return 0;
}
