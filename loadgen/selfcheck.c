/* SPDX-License-Identifier: MIT */
/* Reads what the kernel says about us, before and after a run. */
#include "loadgen/selfcheck.h"
#include "base/alloc.h"
#include <errno.h>
#include <inttypes.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A loop busier than this has no time to notice an answer at once. */
#define BUSY_SHARE 0.90

/* A figure of which our own loop may be this share is not the server's. Lags below the second
 * number are what any machine has. */
#define LAG_SHARE    0.5
#define LAG_MIN_USEC 2000

/* The shortest pause that is called the cause of the longest time, and the share of the run that
 * pauses may take from the rate. */
#define PAUSE_MIN_USEC  100000
#define PAUSE_SHARE_MAX 0.02

void selfcheck_watch(struct lateness *l, nsec_t now) {
    l->probe_at = now + SELFCHECK_PROBE_PERIOD;
    l->pause_due = l->probe_at + SELFCHECK_PAUSE_MIN;
    l->probe_cpu = clock_thread_cpu();
}

void selfcheck_note_pause(struct lateness *l, nsec_t now) {
    struct pauses *p = l->pauses;
    if (!l->pausing) {
        l->pausing = true;
        l->pause_began = l->pause_ended = l->probe_at;
        p->count++;
    }
    p->total += now - l->pause_ended;
    l->pause_ended = now;
    l->pause_due = now + SELFCHECK_PAUSE_MIN;
    if (now - l->pause_began <= p->longest)
        return;
    p->longest = now - l->pause_began;
    p->longest_at = l->pause_began;
    p->longest_cpu = clock_thread_cpu() - l->probe_cpu;
}

/* A loop that is kept busy, or a process that is not given the processor, fires late. All moments
 * of that time were late ones, not only the last. */
void selfcheck_probe(struct lateness *l, nsec_t now) {
    nsec_t late = now - l->probe_at;
    if (late < 0)
        return;
    if (l->pausing)
        selfcheck_note_pause(l, now);
    else
        selfcheck_look(l, now);
    l->pausing = false;
    for (; late >= 0; late -= SELFCHECK_PROBE_PERIOD)
        hist_record(l->lag, late / NSEC_PER_USEC);
    l->probe_at = now + SELFCHECK_PROBE_PERIOD;
    l->pause_due = l->probe_at + SELFCHECK_PAUSE_MIN;
    l->probe_cpu = clock_thread_cpu();
}

void selfcheck_free(struct selfcheck *s) {
    hist_free(s->lag);
    s->lag = NULL;
}

/* The value under a name in a pair of lines "TcpExt: names" and "TcpExt: values". */
static uint64_t paired_value(char *names, char *values, const char *wanted) {
    char *name_state, *value_state;
    char *name = strtok_r(names, " \n", &name_state);
    char *value = strtok_r(values, " \n", &value_state);
    while (name != NULL && value != NULL) {
        if (strcmp(name, wanted) == 0)
            return strtoull(value, NULL, 10);
        name = strtok_r(NULL, " \n", &name_state);
        value = strtok_r(NULL, " \n", &value_state);
    }
    return 0;
}

/* /proc/net/netstat: see proc(5). 0 when it cannot be read. */
static uint64_t netstat_value(const char *wanted) {
    char *names = NULL, *values = NULL;
    size_t names_cap = 0, values_cap = 0;
    uint64_t value = 0;
    FILE *file = fopen("/proc/net/netstat", "re");
    if (file == NULL)
        return 0;
    while (getline(&names, &names_cap, file) > 0 && getline(&values, &values_cap, file) > 0)
        if (strncmp(names, "TcpExt:", 7) == 0)
            value = paired_value(names, values, wanted);
    free(names);
    free(values);
    fclose(file);
    return value;
}

static uint64_t local_ports(void) {
    char line[64] = "";
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file == NULL)
        return 0;
    char *read = fgets(line, sizeof(line), file);
    fclose(file);
    if (read == NULL)
        return 0;
    char *end;
    uint64_t first = strtoull(line, &end, 10), last = strtoull(end, NULL, 10);
    return last >= first ? last - first + 1 : 0;
}

/* Asks the kernel for sockets in TIME_WAIT whose other end has the address's port (sock_diag(7)):
 * /proc/net/tcp would be written out whole, which takes longer than thousands of requests. */
static int ask_for_waiting(int fd, const struct address *to) {
    struct {
        struct nlmsghdr head;
        struct inet_diag_req_v2 body;
    } ask = {
        .head = { .nlmsg_len = sizeof(ask),
                  .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        .body = { .sdiag_family = (uint8_t)to->any.sa_family,
                  .sdiag_protocol = IPPROTO_TCP,
                  .idiag_states = 1U << TCP_TIME_WAIT,
                  .id = { .idiag_dport = htons(address_port(to)) } },
    };
    return send(fd, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask) ? 0 : -errno;
}

static bool is_to(const struct inet_diag_msg *socket, const struct address *to) {
    if (to->any.sa_family == AF_INET)
        return memcmp(socket->id.idiag_dst, &to->v4.sin_addr, sizeof(to->v4.sin_addr)) == 0;
    return memcmp(socket->id.idiag_dst, &to->v6.sin6_addr, sizeof(to->v6.sin6_addr)) == 0;
}

/* One datagram of the answer; false after the last one. */
static bool count_waiting(char *answer, size_t len, const struct address *to, uint64_t *count) {
    struct nlmsghdr *head = (struct nlmsghdr *)(void *)answer; /* NLMSG_NEXT wants it so */
    for (; NLMSG_OK(head, len); head = NLMSG_NEXT(head, len)) {
        if (head->nlmsg_type == NLMSG_DONE || head->nlmsg_type == NLMSG_ERROR)
            return false;
        *count += is_to(NLMSG_DATA(head), to);
    }
    return true;
}

/* Counts the sockets that keep local ports from further connections to an address. 0 when the
 * kernel does not tell. */
static uint64_t ports_waiting(const struct address *to) {
    enum { ANSWER_BYTES = 32768 };
    uint64_t count = 0;
    if (to->any.sa_family != AF_INET && to->any.sa_family != AF_INET6)
        return 0;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    char *answer = mem_alloc(ANSWER_BYTES);
    ssize_t n = 0;
    if (fd >= 0 && answer != NULL && ask_for_waiting(fd, to) == 0)
        do
            n = recv(fd, answer, ANSWER_BYTES, 0);
        while (n > 0 && count_waiting(answer, (size_t)n, to, &count));
    mem_free(answer);
    if (fd >= 0)
        close(fd);
    return count;
}

int selfcheck_begin(struct selfcheck *s) {
    *s = (struct selfcheck){ .lag = hist_new(),
                             .overflows_before = netstat_value("ListenOverflows"),
                             .drops_before = netstat_value("ListenDrops") };
    return s->lag != NULL ? 0 : -ENOMEM;
}

void selfcheck_end(struct selfcheck *s, nsec_t span, const struct address *to, size_t count) {
    struct rlimit limit;
    s->span = span;
    s->overflows = netstat_value("ListenOverflows") - s->overflows_before;
    s->drops = netstat_value("ListenDrops") - s->drops_before;
    s->ports = local_ports();
    s->ports_waiting = 0;
    for (size_t i = 0; i < count; i++)
        s->ports_waiting += ports_waiting(&to[i]);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        s->descriptors_max = limit.rlim_cur;
}

void selfcheck_add_worker(struct selfcheck *s, nsec_t cpu, const struct hist *lag) {
    double share = s->span > 0 ? (double)cpu / (double)s->span : 0;
    s->cpu += cpu;
    if (share > s->busiest)
        s->busiest = share;
    hist_merge(s->lag, lag);
}

/* The first percentile of which our lateness makes half or more; 0: none. */
static double late_percent(const struct selfcheck *s, struct times total, int64_t *ret_lag) {
    static const double percents[] = { 50, 90, 99 };
    for (size_t i = 0; i < ARRAY_LEN(percents) && percentile_count(total) > 0; i++) {
        double latency = (double)percentile_of(total, percents[i] / 100).usec;
        *ret_lag = hist_quantile(s->lag, percents[i] / 100);
        if (*ret_lag > LAG_MIN_USEC && (double)*ret_lag > LAG_SHARE * latency)
            return percents[i];
    }
    return 0;
}

/* Whether pauses made the longest time what it is, or took a part of the rate. */
static bool pauses_tell(const struct pauses *p, struct times total, double seconds) {
    double longest = (double)(p->longest / NSEC_PER_USEC);
    if ((double)p->total > PAUSE_SHARE_MAX * seconds * (double)NSEC_PER_SEC)
        return true;
    return longest >= PAUSE_MIN_USEC && longest > LAG_SHARE * (double)percentile_max(total).usec;
}

bool selfcheck_verdict(const struct selfcheck *s, struct times total, const struct pauses *pauses,
                       double seconds, char *text) {
    int64_t lag;
    double percent;
    if (s->busiest > BUSY_SHARE)
        snprintf(text, SELFCHECK_TEXT_BYTES,
                 "it used %.0f %% of a processor; more workers (-W) may help", s->busiest * 100);
    else if (pauses_tell(pauses, total, seconds))
        snprintf(text, SELFCHECK_TEXT_BYTES, "it was %s for %.3f s, %.3f s of them at a stretch",
                 pauses->longest_cpu * 2 > pauses->longest ? "kept busy by one turn of its loop"
                                                           : "stopped or given no processor",
                 (double)pauses->total / (double)NSEC_PER_SEC,
                 (double)pauses->longest / (double)NSEC_PER_SEC);
    else if ((percent = late_percent(s, total, &lag)) > 0)
        snprintf(text, SELFCHECK_TEXT_BYTES,
                 "the p%.0f of its loop's lag, %.1f ms, is half or more of the p%.0f that it "
                 "measured: the machine is overloaded",
                 percent, (double)lag / 1000, percent);
    else
        return false;
    return true;
}
