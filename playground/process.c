/* SPDX-License-Identifier: MIT */
/* Spawns, reads, stops and reaps the runner's children. */
#include "playground/process.h"
#include "http/url.h"
#include "proc/child.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_POLL_MS  10
#define TIDY_NSEC     (5 * NSEC_PER_SEC)
#define FIRST_FREE_FD 10 /* descriptors above it cannot collide with the ones a child gets */

/* Signals that the runner ignores, or was told to (`nohup`, `&` in a script), stay ignored after
 * exec: a server that was asked to end before it has handlers of its own would not hear it. */
static void default_signals(void) {
    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL); /* refused for SIGKILL and SIGSTOP, and for libc's own */
}

/* In the child, between fork and exec: only async-signal-safe calls. */
__attribute__((noreturn)) static void become(const struct process_spec *spec, int log_fd,
                                             int pass_fd, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    default_signals();
    setpgid(0, 0);
    if (spec->uid != 0 &&
        (setgroups(0, NULL) != 0 || setgid(spec->gid) != 0 || setuid(spec->uid) != 0))
        _exit(127);
    /* After the change of user, which takes the wish back. prctl(2) */
    child_die_with_parent(spec->tidies ? spec->stop_signal : SIGKILL, parent);

    int null_fd = open("/dev/null", O_RDWR);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0)
        _exit(127);
    if (null_fd > STDERR_FILENO)
        close(null_fd);
    if (pass_fd >= 0 && dup2(pass_fd, PROCESS_PASSED_FD) < 0)
        _exit(127);
    sigprocmask(SIG_SETMASK, &none, NULL);

    execv(spec->path, spec->argv);
    static const char why[] = "cannot execute the program\n";
    if (write(STDERR_FILENO, why, sizeof(why) - 1) < 0)
        _exit(126);
    _exit(127);
}

/* A copy of `fd` that is out of the way of the child's descriptors; -1 stays -1. */
static int lift(int fd) {
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
}

int process_spawn(struct play_child *p, const struct process_spec *spec, struct error *err) {
    *p = (struct play_child){
        .name = spec->name,
        .stop_signal = spec->stop_signal != 0 ? spec->stop_signal : SIGTERM,
        .tidies = spec->tidies,
        .log_fd = -1,
    };
    int pipe_fds[2];
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    if (pipe2(pipe_fds, O_CLOEXEC) != 0)
        return error_set(err, -errno, "cannot make a pipe for %s: %s", spec->name,
                         strerrordesc_np(errno));

    int log_fd = lift(pipe_fds[1]), pass_fd = lift(spec->pass_fd);
    close(pipe_fds[1]);
    pid_t parent = getpid();
    pid_t pid = log_fd < 0 || (spec->pass_fd >= 0 && pass_fd < 0) ? -errno : child_fork(0);
    if (pid == 0)
        become(spec, log_fd, pass_fd, parent);
    if (log_fd >= 0)
        close(log_fd);
    if (pass_fd >= 0)
        close(pass_fd);
    if (pid < 0) {
        close(pipe_fds[0]);
        return error_set(err, pid, "cannot start %s: %s", spec->name, strerrordesc_np(-pid));
    }

    /* Child and runner do this, so that the group exists before it is signalled. */
    setpgid(pid, pid);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    p->pid = pid;
    p->log_fd = pipe_fds[0];
    return 0;
}

/* The first address that stands behind `marker`, if the line has it. Whether it has. */
static bool take_url(const char *line, const char *marker, char url[PROCESS_URL_BYTES]) {
    const char *at = strstr(line, marker);
    if (at == NULL)
        return false;
    at += strlen(marker);
    size_t len = strcspn(at, " \t\r");
    if (url[0] == '\0' && len < PROCESS_URL_BYTES) {
        memcpy(url, at, len);
        url[len] = '\0';
    }
    return true;
}

/* PostgreSQL's programs, and Python's: what follows such a line says only that they end. */
static bool tells_why(const char *line) {
    return strstr(line, "FATAL:") != NULL || strstr(line, "PANIC:") != NULL ||
           strstr(line, "error:") != NULL;
}

static void take_line(struct play_child *p) {
    p->line[p->line_len] = '\0';
    p->line_len = 0;
    if (take_url(p->line, "listening on ", p->url) ||
        take_url(p->line, "control on ", p->control_url) || p->line[0] == '\0')
        return;
    if (tells_why(p->last_line) && !tells_why(p->line))
        return;
    memcpy(p->last_line, p->line, sizeof(p->last_line));
}

void process_read(struct play_child *p) {
    char chunk[1024];
    while (p->log_fd >= 0) {
        ssize_t n = read(p->log_fd, chunk, sizeof(chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            close(p->log_fd);
            p->log_fd = -1;
            return;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (chunk[i] == '\n')
                take_line(p);
            else if (p->line_len < sizeof(p->line) - 1)
                p->line[p->line_len++] = chunk[i];
        }
    }
}

bool process_ended(struct play_child *p) {
    if (p->pid == 0 || p->ended)
        return p->ended;
    siginfo_t info = { .si_pid = 0 };
    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
        return false;
    p->ended = true;
    p->exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    process_read(p);
    return true;
}

int process_report_end(const struct play_child *p, struct error *err) {
    return error_set(err, -ECHILD, "%s ended with exit code %d%s%s", p->name, p->exit_code,
                     p->last_line[0] != '\0' ? ": " : "", p->last_line);
}

/* Whether all have ended, or all that tidy. */
static bool all_ended(struct play_child *list, size_t count, bool only_tidy) {
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        if (list[i].pid == 0 || (only_tidy && !list[i].tidies))
            continue;
        process_read(&list[i]); /* a child that blocks on a full pipe would not end */
        all = process_ended(&list[i]) && all;
    }
    return all;
}

/* Kills the rest of the group; everything in it is ours to wait for, see process_spawn. A process
 * that tidies may have left others that do, and end now that nobody talks to them: they have until
 * `deadline`. */
static void reap(struct play_child *p, nsec_t deadline) {
    pid_t left = 0;
    while (p->tidies && (left = waitpid(-p->pid, NULL, WNOHANG)) >= 0 && clock_now() < deadline) {
        process_read(p);
        poll(NULL, 0, left == 0 ? STOP_POLL_MS : 0);
    }
    if (left >= 0)
        kill(-p->pid, SIGKILL);
    while (left >= 0 && (waitpid(-p->pid, NULL, 0) > 0 || errno == EINTR))
        ;
    if (p->log_fd >= 0)
        close(p->log_fd);
    p->log_fd = -1;
    p->pid = 0;
}

void process_stop_all(struct play_child *list, size_t count, nsec_t deadline) {
    for (size_t i = 0; i < count; i++)
        if (list[i].pid != 0 && !process_ended(&list[i]))
            kill(list[i].pid, list[i].stop_signal);
    while (!all_ended(list, count, false) && clock_now() < deadline)
        poll(NULL, 0, STOP_POLL_MS);
    deadline = deadline_after(deadline, TIDY_NSEC);
    while (!all_ended(list, count, true) && clock_now() < deadline)
        poll(NULL, 0, STOP_POLL_MS);
    for (size_t i = 0; i < count; i++)
        if (list[i].pid != 0)
            reap(&list[i], deadline);
}

int process_address(const char *url, struct address *ret) {
    struct http_url parts;
    const char *why;
    int rc = http_url_parse(slice_str(url), &parts, &why);
    if (rc != 0)
        return rc;
    struct endpoint endpoint = { .host = parts.host, .port = parts.port };
    return address_of_endpoint(&endpoint, false, ret);
}

uint16_t process_port(const char *url) {
    const char *colon = strrchr(url, ':');
    return colon == NULL ? 0 : (uint16_t)strtoul(colon + 1, NULL, 10);
}
