/* SPDX-License-Identifier: MIT */
/* Reads what the kernel says about us, before and after a run. */
#include "loadgen/selfcheck.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* A loop busier than this has no time to notice an answer at once. */
#define BUSY_SHARE 0.90

/* Half of the figures would be off by this much. */
#define LAG_MEDIAN_USEC 2000

int selfcheck_init(struct selfcheck *s) {
    *s = (struct selfcheck){ .lag = hist_new() };
    return s->lag != NULL ? 0 : -ENOMEM;
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

static uint64_t sockets_waiting(void) {
    char line[256];
    uint64_t waiting = 0;
    FILE *file = fopen("/proc/net/sockstat", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *at = strncmp(line, "TCP:", 4) == 0 ? strstr(line, " tw ") : NULL;
        if (at != NULL)
            waiting = strtoull(at + 4, NULL, 10);
    }
    fclose(file);
    return waiting;
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

void selfcheck_begin(struct selfcheck *s) {
    s->overflows_before = netstat_value("ListenOverflows");
    s->drops_before = netstat_value("ListenDrops");
    s->began = clock_now();
}

void selfcheck_end(struct selfcheck *s) {
    struct rlimit limit;
    s->span = clock_now() - s->began;
    s->overflows = netstat_value("ListenOverflows") - s->overflows_before;
    s->drops = netstat_value("ListenDrops") - s->drops_before;
    s->ports = local_ports();
    s->ports_waiting = sockets_waiting();
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

const char *selfcheck_verdict(const struct selfcheck *s, char *text) {
    int64_t lag = hist_quantile(s->lag, 0.5);
    if (s->busiest > BUSY_SHARE)
        snprintf(text, SELFCHECK_TEXT_BYTES,
                 "it used %.0f %% of a processor; more workers (-W) may help", s->busiest * 100);
    else if (lag > LAG_MEDIAN_USEC)
        snprintf(text, SELFCHECK_TEXT_BYTES,
                 "its loop was late by %.1f ms half of the time: the machine is overloaded",
                 (double)lag / 1000);
    else
        return NULL;
    return text;
}
