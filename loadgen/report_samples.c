/* SPDX-License-Identifier: MIT */
/* The outputs with a line per request. */
#include "loadgen/report.h"
#include <inttypes.h>
#include <time.h>

static int64_t usec_of(const struct report *r, const struct sample *s) {
    return (s->start - r->started_mono) / NSEC_PER_USEC;
}

static const char *outcome_text(const struct sample *s) {
    if (s->outcome == OUTCOME_OK)
        return "ok";
    if (s->outcome == OUTCOME_DROPPED)
        return "dropped";
    return s->outcome == OUTCOME_UNFINISHED ? "in_flight" : failure_infos[s->outcome].key;
}

static uint32_t msec(uint32_t usec) {
    return (usec + 500) / 1000;
}

/* ab records complete responses only. */
void report_gnuplot(FILE *out, const struct report *r) {
    fprintf(out, "starttime\tseconds\tctime\tdtime\tttime\twait\n");
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        if (s->status == 0)
            continue;
        nsec_t wall = r->started_wall + (s->start - r->started_mono);
        time_t seconds = (time_t)(wall / NSEC_PER_SEC);
        struct tm parts;
        char text[64] = "";
        if (localtime_r(&seconds, &parts) != NULL)
            strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &parts);
        uint32_t total = msec(s->total_us), connect = msec(s->connect_us);
        fprintf(out, "%s\t%lld\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\n", text,
                (long long)seconds, connect, total - connect, total, msec(s->wait_us));
    }
}

void report_csv(FILE *out, const struct report *r) {
    fprintf(out, "start_us,outcome,status,total_us,queue_us,connect_us,send_us,wait_us,receive_us,"
                 "reused,body_bytes,disturbed\n");
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        fprintf(out,
                "%" PRId64 ",%s,%u,%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32 ",%" PRIu32
                ",%" PRIu32 ",%d,%" PRIu64 ",%d\n",
                usec_of(r, s), outcome_text(s), s->status, s->total_us, s->queue_us, s->connect_us,
                s->send_us, s->wait_us, s->receive_us, s->reused, s->body_bytes, s->disturbed);
    }
}

void report_ndjson(FILE *out, const struct report *r) {
    for (size_t i = 0; i < r->samples->count; i++) {
        const struct sample *s = &r->samples->items[i];
        fprintf(out,
                "{\"start_us\":%" PRId64 ",\"outcome\":\"%s\",\"status\":%u,\"total_us\":%" PRIu32
                ",\"queue_us\":%" PRIu32 ",\"connect_us\":%" PRIu32 ",\"send_us\":%" PRIu32
                ",\"wait_us\":%" PRIu32 ",\"receive_us\":%" PRIu32
                ",\"reused\":%s,\"body_bytes\":%" PRIu64 ",\"disturbed\":%s}\n",
                usec_of(r, s), outcome_text(s), s->status, s->total_us, s->queue_us, s->connect_us,
                s->send_us, s->wait_us, s->receive_us, s->reused ? "true" : "false", s->body_bytes,
                s->disturbed ? "true" : "false");
    }
}
