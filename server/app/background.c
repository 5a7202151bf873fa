/* SPDX-License-Identifier: MIT */
/* A task is a request without a client: a fiber where handlers are fibers, or a thread. */
#include "server/app/background.h"
#include "base/alloc.h"
#include "base/escape.h"
#include "base/log.h"
#include "net/thread.h"
#include "server/app/handle.h"
#include "server/limits.h"
#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct background_task {
    struct background *owner;
    struct session session; /* without a connection */
    struct srv_request rq;
    int (*run)(struct srv_request *, void *arg);
    void *arg;
    bool begun, cancelled;
    struct background_task *next;
    struct fiber *fiber; /* NULL: a thread */
    pthread_t thread;
    struct io_block io;
    int cancel_fd; /* -1: a fiber */
};

/* --- its life ------------------------------------------------------------ */

static void task_init(struct background_task *t, struct io *io) {
    session_init(&t->session, t->owner->worker, -1);
    t->session.head.method_text = t->session.head.target = SLICE("");
    request_init(&t->rq, &t->session, io);
    t->rq.deadline = NSEC_NEVER;
    t->rq.decoded_path = "";
    t->rq.is_part = t->rq.is_task = true;
}

/* Frees a task that is in no list. */
static void task_free(struct background_task *t) {
    if (t->begun)
        session_free(&t->session);
    if (t->cancel_fd >= 0)
        close(t->cancel_fd);
    mem_free(t);
}

static void unlink_task(struct background *b, struct background_task *t) {
    struct background_task **at = &b->tasks;

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    b->count--;
}

static void complain(const struct background_task *t, int rc) {
    char said[400];

    if (rc >= 0 || rc == -ECANCELED || t->rq.failed == -ECANCELED)
        return;
    escape_quoted(said, sizeof(said),
                  slice_str(t->rq.failed < 0 ? srv_error_text(&t->rq) : strerrordesc_np(-rc)));
    log_write(LOG_LEVEL_WARN, "a background task failed reason=\"%s\"", said);
}

static void task_run(struct background_task *t) {
    int rc = handle_call(&t->rq, t->run, t->arg);

    handle_end(&t->rq);
    complain(t, rc < 0 ? rc : t->rq.failed);
}

/* --- as a fiber ---------------------------------------------------------- */

static void run_fiber(void *arg) {
    struct background_task *t = arg;
    struct background *b = t->owner;

    t->fiber = fiber_self(io_fiber_fibers(b->worker->fiber_io));
    if (atomic_load(&t->rq.cancelled))
        fiber_cancel(t->fiber);
    task_run(t);
    unlink_task(b, t);
    task_free(t);
    if (b->closing && b->count == 0)
        loop_stop(io_fiber_loop(b->worker->fiber_io));
}

static int begin_fiber(struct background_task *t) {
    struct io_fiber *fiber_io = t->owner->worker->fiber_io;

    task_init(t, io_fiber_io(fiber_io));
    return fiber_spawn_aside(io_fiber_fibers(fiber_io), "background", run_fiber, t);
}

/* --- as a thread --------------------------------------------------------- */

/* Whoever closes joins the threads that are there: others leave by themselves. */
static void *run_thread(void *arg) {
    struct background_task *t = arg;
    struct background *b = t->owner;
    bool closing;

    task_run(t);
    pthread_mutex_lock(&b->lock);
    closing = b->closing;
    if (!closing)
        unlink_task(b, t);
    pthread_mutex_unlock(&b->lock);
    if (closing)
        return NULL;
    pthread_detach(pthread_self());
    task_free(t);
    return NULL;
}

static int begin_thread(struct background_task *t) {
    t->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (t->cancel_fd < 0)
        return -errno;
    io_block_init(&t->io, t->cancel_fd);
    task_init(t, &t->io.io);
    return thread_start(&t->thread, SERVER_THREAD_STACK_BYTES, run_thread, t);
}

/* --- both ---------------------------------------------------------------- */

/* Locked, where threads share it; fibers run at once, and may end. */
static int begin(struct background_task *t) {
    t->begun = true;
    return t->owner->worker->fiber_io != NULL ? begin_fiber(t) : begin_thread(t);
}

static void enter(struct background *b) {
    if (b->worker == NULL || b->worker->fiber_io == NULL)
        pthread_mutex_lock(&b->lock);
}

static void leave(struct background *b) {
    if (b->worker == NULL || b->worker->fiber_io == NULL)
        pthread_mutex_unlock(&b->lock);
}

static int add(struct background *b, struct background_task *t) {
    int rc = 0;

    if (b->closing)
        return -ECANCELED;
    if (b->count >= SERVER_BACKGROUND_MAX)
        return -EAGAIN;
    t->next = b->tasks;
    b->tasks = t;
    b->count++;
    if (b->worker != NULL)
        rc = begin(t);
    if (rc < 0)
        unlink_task(b, t);
    return rc;
}

int srv_background(struct srv_worker *own, int (*run)(struct srv_request *, void *arg), void *arg) {
    struct background *b = &own->background;
    struct background_task *t = own->number > 0 ? mem_calloc(1, sizeof(*t)) : NULL;
    int rc;

    if (own->number == 0)
        return -EPERM;
    if (t == NULL)
        return -ENOMEM;
    *t = (struct background_task){ .owner = b, .run = run, .arg = arg, .cancel_fd = -1 };
    enter(b);
    rc = add(b, t);
    leave(b);
    if (rc < 0)
        task_free(t);
    return rc;
}

bool srv_again(struct srv_request *rq, double seconds) {
    nsec_t span = request_span(seconds);
    int rc;

    if (!rq->is_task)
        return false;
    handle_end(rq);
    if (rq->failed != -ECANCELED)
        rq->failed = 0;
    rq->why = rq->detail = NULL;
    rq->status = 0;
    rq->deadline = NSEC_NEVER;
    rq->printed.text = NULL;
    rq->printed.len = rq->printed.cap = 0;
    rq->fields = NULL;
    rq->field_count = 0;
    arena_reset(rq->arena);
    if (span < NSEC_PER_MSEC)
        span = NSEC_PER_MSEC; /* lets others run */
    rc = io_sleep(rq->io, deadline_after(io_now(rq->io), span));
    return request_stick(rq, rc) == 0;
}

/* --- of the worker ------------------------------------------------------- */

/* Returns a task that is not begun; `begun`: one that is not cancelled. */
static struct background_task *find(struct background *b, bool begun) {
    struct background_task *t = b->tasks;

    while (t != NULL && (begun ? t->cancelled : t->begun))
        t = t->next;
    return t;
}

void background_open(const struct worker *worker) {
    struct background *b = worker->own != NULL ? &worker->own->background : NULL;
    struct background_task *t;
    int rc = 0;

    if (b == NULL)
        return;
    b->worker = worker;
    enter(b);
    while ((t = find(b, false)) != NULL) {
        rc = begin(t);
        if (rc == 0)
            continue;
        unlink_task(b, t);
        task_free(t);
        log_write(LOG_LEVEL_ERROR, "cannot start a background task error=\"%s\"",
                  strerrordesc_np(-rc));
    }
    leave(b);
}

static void give_up(int signo UNUSED) {
    static const char text[] = "srv serve: a background task does not end, leaving without it\n";
    ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)n; /* there is nobody left to tell */
    _exit(EXIT_CANNOT);
}

/* The signals of a worker that ends are blocked. */
static void set_patience(unsigned seconds) {
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    signal(SIGALRM, seconds > 0 ? give_up : SIG_DFL);
    alarm(seconds);
    pthread_sigmask(seconds > 0 ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static void cancel(struct background_task *t) {
    t->cancelled = true;
    if (!t->begun)
        return;
    atomic_store(&t->rq.cancelled, true);
    if (t->cancel_fd >= 0)
        eventfd_write(t->cancel_fd, 1);
    else if (t->fiber != NULL)
        fiber_cancel(t->fiber); /* may end it */
}

/* Threads stay in the list, which nobody changes any more. */
static void free_all(struct background *b) {
    struct background_task *t;

    while ((t = b->tasks) != NULL) {
        if (t->begun)
            pthread_join(t->thread, NULL);
        b->tasks = t->next;
        task_free(t);
    }
    b->count = 0;
}

void background_close(const struct worker *worker) {
    struct background *b = worker->own != NULL ? &worker->own->background : NULL;
    struct background_task *t;

    if (b == NULL)
        return;
    enter(b);
    b->closing = true;
    leave(b);
    if (b->tasks != NULL)
        set_patience(SERVER_BACKGROUND_SECONDS);
    while ((t = find(b, true)) != NULL)
        cancel(t);
    if (b->worker != NULL && worker->fiber_io != NULL)
        while (b->count > 0 && loop_run(io_fiber_loop(worker->fiber_io)) == 0)
            continue;
    else
        free_all(b);
    set_patience(0);
    handle_free_locks(worker->own);
}
