/* SPDX-License-Identifier: MIT */
/* ab's -w: the report as one HTML table, with the attributes of -x, -y and -z. */
#include "loadgen/report.h"
#include <inttypes.h>
#include <stdarg.h>

struct page {
    FILE *out;
    const char *row, *cell; /* attributes */
};

static void print_escaped(FILE *out, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '>')
            fputs("&gt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

PRINTF_LIKE(3, 4) static void put(struct page p, const char *label, const char *fmt, ...) {
    char value[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(value, sizeof(value), fmt, args);
    va_end(args);
    const char *tag = label[0] == '&' ? "td" : "th";
    fprintf(p.out, "<tr %s><%s colspan=2 %s>%s</%s><td colspan=2 %s>", p.row, tag, p.cell, label,
            tag, p.cell);
    print_escaped(p.out, value);
    fprintf(p.out, "</td></tr>\n");
}

static void put_server(struct page p, const struct report *r) {
    put(p, "Server Software:", "%s", r->counters->server_software);
    put(p, "Server Hostname:", "%s", r->target->host);
    put(p, "Server Port:", "%u", r->target->url.port);
    put(p, "Document Path:", "%.*s", (int)r->target->url.target.len, r->target->url.target.ptr);
    if (r->config->variable_length)
        put(p, "Document Length:", "Variable");
    else
        put(p, "Document Length:", "%" PRIu64 " bytes", r->counters->document_bytes);
    put(p, "Concurrency Level:", "%" PRIu64, r->summary->concurrency);
}

static void put_totals(struct page p, const struct report *r) {
    const struct counters *t = r->counters;
    const struct summary *s = r->summary;
    put(p, "Time taken for tests:", "%.3f seconds", s->seconds);
    put(p, "Complete requests:", "%" PRIu64, s->ended);
    put(p, "Failed requests:", "%" PRIu64, s->failed);
    if (s->failed > 0)
        fprintf(p.out,
                "<tr %s><td colspan=4 %s >   (Connect: %" PRIu64 ", Length: %" PRIu64
                ", Exceptions: %" PRIu64 ")</td></tr>\n",
                p.row, p.cell, counters_column(t, FAILURE_COLUMN_CONNECT),
                counters_column(t, FAILURE_COLUMN_LENGTH),
                counters_column(t, FAILURE_COLUMN_EXCEPTIONS));
    if (t->non_2xx > 0)
        put(p, "Non-2xx responses:", "%" PRIu64, t->non_2xx);
    if (r->config->keep_alive)
        put(p, "Keep-Alive requests:", "%" PRIu64, t->kept_alive);
    put(p, "Total transferred:", "%" PRIu64 " bytes", t->bytes_received);
    if (r->request->has_body)
        put(p, "Total body sent:", "%" PRIu64, t->bytes_sent);
    put(p, "HTML transferred:", "%" PRIu64 " bytes", t->body_bytes);
}

static void put_rates(struct page p, const struct report *r) {
    const struct summary *s = r->summary;
    if (s->rate <= 0)
        return;
    put(p, "Requests per second:", "%.2f", s->rate);
    put(p, "Transfer rate:", "%.2f kb/s received", s->received_rate / 1024);
    if (!r->request->has_body)
        return;
    put(p, "&nbsp;", "%.2f kb/s sent", s->sent_rate / 1024);
    put(p, "&nbsp;", "%.2f kb/s total", (s->received_rate + s->sent_rate) / 1024);
}

static void put_times_row(struct page p, const struct report *r, const char *label,
                          enum counters_time time) {
    struct times t = r->summary->times[time];
    int64_t max = r->config->ab_strict ? hist_max(t.ended) : times_max(t).usec;
    const int64_t usec[] = { hist_min(t.ended), (int64_t)hist_mean(t.ended), max };
    fprintf(p.out, "<tr %s><th %s>%s</th>", p.row, p.cell, label);
    for (size_t i = 0; i < ARRAY_LEN(usec); i++)
        fprintf(p.out, "<td %s>%5" PRId64 "</td>", p.cell, (usec[i] + 500) / 1000);
    fprintf(p.out, "</tr>\n");
}

static void put_times(struct page p, const struct report *r) {
    const char *c = p.cell;
    fprintf(p.out, "<tr %s><th %s colspan=4>Connection Times (ms)</th></tr>\n", p.row, c);
    fprintf(p.out,
            "<tr %s><th %s>&nbsp;</th> <th %s>min</th>   <th %s>avg</th>   <th %s>max</th></tr>\n",
            p.row, c, c, c, c);
    put_times_row(p, r, "Connect:", TIME_CONNECT);
    put_times_row(p, r, "Processing:", TIME_PROCESSING);
    put_times_row(p, r, "Total:", TIME_TOTAL);
}

void report_html(FILE *out, const struct report *r) {
    const struct loadgen_config *c = r->config;
    struct page p = { out, c->html_row != NULL ? c->html_row : "",
                      c->html_cell != NULL ? c->html_cell : "bgcolor=white" };
    if (!c->no_banner)
        fprintf(out, "<p>\n This is srv bench, Version %s<br>\n</p>\n", SRV_VERSION);
    fprintf(out, "<p>\n%s\n\n<table %s>\n", loadgen_config_shows_progress(c) ? "" : "..done\n",
            c->html_table != NULL ? c->html_table : "");
    put_server(p, r);
    put_totals(p, r);
    put_rates(p, r);
    if (hist_count(r->counters->ended[TIME_TOTAL]) > 0)
        put_times(p, r);
    fprintf(out, "</table>\n");
}
