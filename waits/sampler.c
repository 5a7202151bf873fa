/* SPDX-License-Identifier: MIT */
/* Walks over processes and threads, and has what they wait for decoded. */
#include "waits/sampler.h"
#include "base/alloc.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES     512
#define CHILDREN_BYTES 8192 /* more than a list of SAMPLER_PROCESSES_MAX children takes */
/* Processes are forked by main threads as a rule: the other threads are asked now and then. */
#define CHILDREN_NSEC NSEC_PER_SEC
#define SPARE_FDS     64 /* left to the others who open files here */
#define TABLE_MIN     256
#define PF_KTHREAD    0x00200000 /* linux/sched.h */

struct wait_process {
    pid_t pid;
    DIR *tasks;
    struct decode_process decode;
    uint32_t round; /* the last sample that met the process */
};

/* A place of a hash table by tid; 0: free. */
struct wait_thread {
    pid_t tid;
    int fd; /* the thread's open file `syscall`, or -1 */
    struct decode_epoll epoll;
};

struct thread_table {
    struct wait_thread *places;
    size_t capacity, count;
};

struct sampler {
    struct sock_table socks;
    struct wait_process *processes;
    size_t process_count;
    struct thread_table threads; /* the last sample's; see_all puts this one's in their place */
    size_t fds, fds_max;         /* files of threads that are open, and that may be */
    struct decode_seen *seen;
    size_t seen_count, seen_capacity;
    uint32_t round;
    pid_t except;
    nsec_t children_due; /* next time to ask threads beside the main ones for children */
    bool asks_all;       /* all threads are asked for children in this sample */
    char *note;
};

/* --- threads, from one sample to the next -------------------- */

static int table_open(struct thread_table *t, size_t capacity) {
    *t = (struct thread_table){ .capacity = capacity };
    t->places = mem_calloc(capacity, sizeof(*t->places));
    return t->places == NULL ? -ENOMEM : 0;
}

static struct wait_thread *table_place(const struct thread_table *t, pid_t tid) {
    size_t at = (uint32_t)tid * 2654435761u & (t->capacity - 1);
    while (t->places[at].tid != 0 && t->places[at].tid != tid)
        at = (at + 1) & (t->capacity - 1);
    return &t->places[at];
}

static int table_grow(struct thread_table *t) {
    struct thread_table larger;
    if (2 * t->count < t->capacity)
        return 0;
    if (table_open(&larger, 2 * t->capacity) != 0)
        return -ENOMEM;
    for (size_t i = 0; i < t->capacity; i++)
        if (t->places[i].tid != 0)
            *table_place(&larger, t->places[i].tid) = t->places[i];
    larger.count = t->count;
    mem_free(t->places);
    *t = larger;
    return 0;
}

static void thread_close(struct sampler *s, struct wait_thread *thread) {
    if (thread->fd < 0)
        return;
    close(thread->fd);
    s->fds--;
    thread->fd = -1;
}

static void table_close(struct sampler *s, struct thread_table *t) {
    for (size_t i = 0; i < t->capacity && t->places != NULL; i++)
        if (t->places[i].tid != 0)
            thread_close(s, &t->places[i]);
    mem_free(t->places);
    *t = (struct thread_table){ .count = 0 };
}

/* The thread's place in the table of this sample, with what the last one knew of it. NULL when out
 * of memory. */
static struct wait_thread *table_move(struct thread_table *from, struct thread_table *to,
                                      pid_t tid) {
    if (table_grow(to) != 0)
        return NULL;
    struct wait_thread *old = table_place(from, tid), *new = table_place(to, tid);
    if (new->tid == tid)
        return new;
    *new = old->tid == tid ? *old : (struct wait_thread){ .tid = tid, .fd = -1, .epoll.fd = -1 };
    if (old->tid == tid)
        old->fd = -1; /* the place stays taken, as searches need it */
    to->count++;
    return new;
}

/* --- reading -------------------- */

/* The beginning of a file, NUL-terminated. Its length, or -errno. */
static ssize_t read_at(int dir_fd, const char *path, char *text, size_t size) {
    int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, text, size - 1);
    int rc = errno;
    close(fd);
    if (n < 0)
        return -rc;
    text[n] = '\0';
    return n;
}

/* Reads an open file anew. Its length, or -errno. */
static ssize_t read_again(int fd, char *text, size_t size) {
    ssize_t n = pread(fd, text, size - 1, 0);
    if (n < 0)
        return -errno;
    text[n] = '\0';
    return n;
}

/* The line of a thread. The file stays open: to read it again costs a quarter of opening it. A file
 * of another thread, which had the number before, says -ESRCH. */
static ssize_t read_call(struct sampler *s, const struct wait_process *p,
                         struct wait_thread *thread, char *text, size_t size) {
    char path[48];
    if (thread->fd >= 0) {
        ssize_t n = read_again(thread->fd, text, size);
        if (n != -ESRCH)
            return n;
        thread_close(s, thread);
    }
    snprintf(path, sizeof(path), "task/%d/syscall", (int)thread->tid);
    if (s->fds >= s->fds_max)
        return read_at(p->decode.proc_fd, path, text, size);
    thread->fd = openat(p->decode.proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (thread->fd < 0)
        return -errno;
    s->fds++;
    return read_again(thread->fd, text, size);
}

/* The fields of a `stat` behind the name, which may itself contain anything: " S 1 ...". NULL when
 * there is none. proc(5) */
static const char *fields_of(int proc_fd, const char *path, char *text, size_t size) {
    if (read_at(proc_fd, path, text, size) <= 0)
        return NULL;
    const char *end = strrchr(text, ')');
    return end != NULL && end[1] == ' ' ? end + 1 : NULL;
}

/* Returns the letter of the thread's state; 0: the thread is gone. */
static char thread_state(const struct wait_process *p, pid_t tid) {
    char path[48], text[LINE_BYTES];
    snprintf(path, sizeof(path), "task/%d/stat", (int)tid);
    const char *fields = fields_of(p->decode.proc_fd, path, text, sizeof(text));
    return fields != NULL ? fields[1] : 0;
}

static bool is_stopped(char state) {
    return state == 'T' || state == 't';
}

/* --- why the kernel does not tell -------------------- */

static bool yama_forbids(void) {
    char text[16];
    return read_at(AT_FDCWD, "/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text)) > 0 &&
           text[0] >= '1';
}

/* The first reason of a sample stays. */
static void note_refusal(struct sampler *s, pid_t pid, ssize_t why) {
    if (s->note[0] != '\0')
        return;
    if (why == -ENOENT)
        snprintf(s->note, SAMPLER_NOTE_BYTES,
                 "this kernel has no /proc/PID/syscall (CONFIG_HAVE_ARCH_TRACEHOOK): only kinds of "
                 "waits are told");
    else if (why == -EPERM && yama_forbids())
        snprintf(s->note, SAMPLER_NOTE_BYTES,
                 "process %d: its calls are told to root and to its parents alone "
                 "(kernel.yama.ptrace_scope): only kinds of waits are told",
                 (int)pid);
    else
        snprintf(s->note, SAMPLER_NOTE_BYTES,
                 "process %d: its calls are told to root alone (%s): only kinds of waits are told",
                 (int)pid, strerrordesc_np((int)-why));
}

static void note_net(struct sampler *s, pid_t pid, int why) {
    if (s->note[0] == '\0' && why < 0)
        snprintf(s->note, SAMPLER_NOTE_BYTES,
                 "process %d: the ends of its sockets are not told: %s", (int)pid,
                 why == -EACCES ? "it is in another network namespace, which only root may enter"
                                : strerrordesc_np(-why));
}

/* --- one thread -------------------- */

/* By the function of the kernel that it sleeps in. False: it is gone. */
static bool see_coarsely(const struct wait_process *p, pid_t tid, struct wait *ret) {
    char path[48], function[96];
    char state = thread_state(p, tid);
    if (state == 0)
        return false;
    snprintf(path, sizeof(path), "task/%d/wchan", (int)tid);
    if (read_at(p->decode.proc_fd, path, function, sizeof(function)) < 0)
        strcpy(function, "0");
    ret->kind = state == 'R' ? WAIT_RUNNING : state == 'Z' ? WAIT_ENDED : decode_wchan(function);
    if (ret->kind == WAIT_OTHER)
        snprintf(ret->object, sizeof(ret->object), "%s", function);
    return true;
}

static struct decode_seen *next_seen(struct sampler *s) {
    if (s->seen_count == s->seen_capacity) {
        size_t capacity = s->seen_capacity == 0 ? TABLE_MIN : 2 * s->seen_capacity;
        struct decode_seen *seen = mem_realloc(s->seen, capacity * sizeof(*seen));
        if (seen == NULL)
            return NULL;
        s->seen = seen;
        s->seen_capacity = capacity;
    }
    return &s->seen[s->seen_count];
}

/* Counts the thread, unless it has gone. 0 or -ENOMEM. */
static int see_thread(struct sampler *s, const struct wait_process *p, struct wait_thread *thread,
                      bool all_stopped) {
    char line[LINE_BYTES];
    struct wait_call call;
    struct decode_seen *seen = next_seen(s);
    if (seen == NULL)
        return -ENOMEM;
    memset(seen, 0, sizeof(*seen));
    ssize_t n = read_call(s, p, thread, line, sizeof(line));
    if (n == -ESRCH)
        return 0;
    if (all_stopped && is_stopped(thread_state(p, thread->tid))) {
        seen->wait.kind = WAIT_STOPPED;
        s->seen_count++;
        return 0;
    }
    if (n < 0) {
        bool is_there = see_coarsely(p, thread->tid, &seen->wait);
        if (is_there)
            note_refusal(s, p->pid, n);
        s->seen_count += is_there;
        return 0;
    }
    if (call_read(line, CALL_MACHINE_HERE, &call) == 0)
        decode_begin(&p->decode, &call, &s->socks, &thread->epoll, seen);
    else
        seen->wait.kind = WAIT_UNKNOWN;
    s->seen_count++;
    return 0;
}

/* --- one process -------------------- */

static void process_close(struct wait_process *p) {
    if (p->tasks != NULL)
        closedir(p->tasks);
    if (p->decode.proc_fd >= 0)
        close(p->decode.proc_fd);
}

static int process_open(struct sampler *s, struct wait_process *p, pid_t pid) {
    char path[32];
    *p = (struct wait_process){ .pid = pid, .decode = { .pid = pid } };
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    p->decode.proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int tasks = p->decode.proc_fd < 0
                    ? -1
                    : openat(p->decode.proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->tasks = tasks < 0 ? NULL : fdopendir(tasks);
    if (p->tasks == NULL) {
        int rc = -errno;
        if (tasks >= 0)
            close(tasks);
        process_close(p);
        return rc;
    }
    p->decode.net = sock_table_net(&s->socks, p->decode.proc_fd);
    return 0;
}

/* Notes that the process belongs to this sample; each is met once. */
static void meet(struct sampler *s, pid_t pid) {
    size_t i = 0;
    if (pid == s->except)
        return;
    while (i < s->process_count && s->processes[i].pid != pid)
        i++;
    if (i == s->process_count &&
        (i == SAMPLER_PROCESSES_MAX || process_open(s, &s->processes[i], pid) != 0))
        return;
    s->process_count += i == s->process_count;
    s->processes[i].round = s->round;
}

static void meet_children(struct sampler *s, const struct wait_process *p, pid_t tid) {
    char path[48], text[CHILDREN_BYTES / 4];
    snprintf(path, sizeof(path), "task/%d/children", (int)tid);
    if (read_at(p->decode.proc_fd, path, text, sizeof(text)) <= 0)
        return;
    char *end = text;
    for (;;) {
        const char *word = end;
        long child = strtol(word, &end, 10);
        if (end == word)
            return;
        meet(s, (pid_t)child);
    }
}

/* Counts its threads. 0, -ESRCH (it has ended) or -ENOMEM. */
static int see_process(struct sampler *s, size_t index, struct thread_table *now) {
    struct wait_process p = s->processes[index]; /* the list may grow */
    bool any = false;
    int rc = 0;
    bool stopped = is_stopped(thread_state(&p, p.pid));
    note_net(s, p.pid, p.decode.net);
    rewinddir(p.tasks);
    for (const struct dirent *entry; rc == 0 && (entry = readdir(p.tasks)) != NULL;) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid <= 0 || s->seen_count == SAMPLER_THREADS_MAX)
            continue;
        struct wait_thread *thread = table_move(&s->threads, now, tid);
        if (thread == NULL)
            return -ENOMEM;
        size_t before = s->seen_count;
        rc = see_thread(s, &p, thread, stopped);
        any = any || s->seen_count > before;
        if (tid == p.pid || s->asks_all)
            meet_children(s, &p, tid);
    }
    return rc == 0 && !any ? -ESRCH : rc;
}

/* Drops those that ended, or were not met again. */
static void forget_processes(struct sampler *s) {
    size_t kept = 0;
    for (size_t i = 0; i < s->process_count; i++) {
        if (s->processes[i].round == s->round)
            s->processes[kept++] = s->processes[i];
        else
            process_close(&s->processes[i]);
    }
    s->process_count = kept;
}

/* --- a sample -------------------- */

/* A process that was known may have ended, and another one have its number. */
static int see_or_reopen(struct sampler *s, size_t index, struct thread_table *now) {
    int rc = see_process(s, index, now);
    if (rc != -ESRCH)
        return rc;
    struct wait_process *p = &s->processes[index];
    pid_t pid = p->pid;
    process_close(p);
    if (process_open(s, p, pid) != 0) {
        *p = (struct wait_process){ .pid = pid, .decode.proc_fd = -1 };
        return -ESRCH;
    }
    p->round = s->round;
    return see_process(s, index, now);
}

/* Every process that is met, those below it included. 0, -ESRCH or -ENOMEM. */
static int see_all(struct sampler *s, const struct sampler_look *look, uint32_t *ret_processes) {
    struct thread_table now;
    int rc = table_open(&now, s->threads.capacity);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < look->root_count; i++)
        meet(s, look->roots[i]);
    for (size_t i = 0; rc == 0 && i < s->process_count; i++) {
        if (s->processes[i].round != s->round)
            continue;
        rc = see_or_reopen(s, i, &now);
        *ret_processes += rc == 0;
        if (rc == -ESRCH) {
            s->processes[i].round = s->round - 1;
            rc = 0;
        }
    }
    table_close(s, &s->threads);
    s->threads = now;
    forget_processes(s);
    return rc == 0 && s->seen_count == 0 ? -ESRCH : rc;
}

int sampler_take(struct sampler *s, const struct sampler_look *look, struct wait_sample *ret) {
    nsec_t spent = clock_thread_cpu(), now = clock_now();
    memset(ret, 0, sizeof(*ret));
    s->note = ret->note;
    s->seen_count = 0;
    s->round++;
    s->except = look->except;
    s->asks_all = now >= s->children_due;
    if (s->asks_all)
        s->children_due = deadline_after(now, CHILDREN_NSEC);
    sock_table_begin(&s->socks);
    int rc = see_all(s, look, &ret->processes);
    if (rc == 0) {
        sock_table_ask(&s->socks);
        for (size_t i = 0; i < s->seen_count; i++) {
            decode_end(&s->seen[i], &s->socks, look->roles, look->role_count);
            tally_add(&ret->tally, &s->seen[i].wait);
        }
        tally_sort(&ret->tally);
    }
    ret->cost = clock_thread_cpu() - spent;
    return rc;
}

nsec_t sampler_next(nsec_t now, nsec_t interval, const struct wait_sample *last) {
    return deadline_after(now, nsec_max(interval, last->cost * SAMPLER_COST_RATIO));
}

/* Half of the descriptors that this process may have are enough for all threads, or have to be. */
static size_t fds_allowed(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= 2 * SPARE_FDS)
        return 0;
    size_t half = (size_t)limit.rlim_cur / 2;
    return half < SAMPLER_THREADS_MAX ? half : SAMPLER_THREADS_MAX;
}

int sampler_open(struct sampler **ret) {
    struct sampler *s = mem_calloc(1, sizeof(*s));
    *ret = NULL;
    if (s == NULL)
        return -ENOMEM;
    s->fds_max = fds_allowed();
    s->processes = mem_calloc(SAMPLER_PROCESSES_MAX, sizeof(*s->processes));
    int rc = s->processes == NULL ? -ENOMEM : sock_table_open(&s->socks);
    if (rc == 0)
        rc = table_open(&s->threads, TABLE_MIN);
    if (rc != 0) {
        sampler_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void sampler_close(struct sampler *s) {
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->process_count; i++)
        process_close(&s->processes[i]);
    table_close(s, &s->threads);
    sock_table_close(&s->socks);
    mem_free(s->processes);
    mem_free(s->seen);
    mem_free(s);
}

/* --- whether it may be looked at -------------------- */

/* Field 9 of its `stat`. */
static bool is_of_kernel(int proc_fd) {
    char text[LINE_BYTES];
    unsigned long flags = 0;
    const char *fields = fields_of(proc_fd, "stat", text, sizeof(text));
    return fields != NULL && sscanf(fields, " %*c %*d %*d %*d %*d %*d %lu", &flags) == 1 &&
           (flags & PF_KTHREAD) != 0;
}

/* Checks that the kernel tells the calls of a process, or at least the functions that its threads
 * sleep in (wchan). 0, or -errno with the reason in `err`. */
static int may_look(pid_t pid, int proc_fd, struct error *err) {
    char text[LINE_BYTES];
    struct stat owner, link;
    ssize_t n = read_at(proc_fd, "syscall", text, sizeof(text));
    if (n >= 0 || n == -ENOENT)
        return 0;
    if (n == -ESRCH)
        return error_set(err, -ESRCH, "there is no process %d", (int)pid);
    /* Links in /proc/PID/ns and wchan need one permission (PTRACE_MODE_READ, ptrace(2)), `syscall`
     * needs more: a link that can be followed shows that wchan can be read. */
    if (n == -EPERM && fstatat(proc_fd, "ns/net", &link, 0) == 0)
        return 0;
    if (fstatat(proc_fd, "task", &owner, 0) == 0 && owner.st_uid != geteuid())
        return error_set(err, -EACCES,
                         "process %d is another user's (uid %u), and may be looked at by that user "
                         "and root alone",
                         (int)pid, (unsigned)owner.st_uid);
    return error_set(err, (int)n, "process %d may be looked at by root alone: %s", (int)pid,
                     strerrordesc_np((int)-n));
}

int sampler_check(pid_t pid, struct error *err) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d", (int)pid);
    int proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc_fd < 0 && kill(pid, 0) != 0 && errno == ESRCH)
        return error_set(err, -ESRCH, "there is no process %d", (int)pid);
    if (proc_fd < 0)
        return error_set(err, -EACCES,
                         "process %d is hidden in /proc: it is another user's, or /proc is not "
                         "mounted",
                         (int)pid);
    int rc = is_of_kernel(proc_fd)
                 ? error_set(err, -EINVAL, "process %d is a thread of the kernel", (int)pid)
                 : may_look(pid, proc_fd, err);
    close(proc_fd);
    return rc;
}
