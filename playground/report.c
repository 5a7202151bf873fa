/* SPDX-License-Identifier: MIT */
/* Tells what was seen: the table and the page for people, JSON for programs. The page is page.html
 * with three gaps: facts and table in HTML, for readers without scripts, and the data of the charts
 * that its script draws. */
#include "playground/report.h"
#include "base/assert.h"
#include "base/attr.h"
#include "base/html.h"
#include "base/stream.h"
#include "base/terminal.h"
#include "base/units.h"
#include "playground/explain.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define MIB         (1024.0 * 1024.0)
#define GAP         2   /* blanks between columns */
#define TEXT_BYTES  512 /* for a sentence; names are short */
#define CELL_BYTES  40
#define WAITS_BYTES 400 /* for what threads waited for: the rest is rare */

/* Whether the process that takes the load stands in front of the server, and is not measured. */
static bool has_proxy(const struct playground *row) {
    size_t count = row_process_count(row);
    return count > 0 && !row->processes[count - 1].measured;
}

/* CPU time per request of the load, microseconds; 0 without requests. */
static double usec_per_request(const struct play_result *result, nsec_t cpu) {
    return result->requests == 0 ? 0 : (double)cpu / NSEC_PER_USEC / (double)result->requests;
}

/* --- the table -------------------- */

#define CELL(noun, ...)                                                                  \
    static void cell_##noun(const struct play_result *r, char text[static CELL_BYTES]) { \
        snprintf(text, CELL_BYTES, __VA_ARGS__);                                         \
    }

CELL(model, "%s", r->row->name)
CELL(requests, "%" PRIu32, r->load.requests)
CELL(concurrency, "%" PRIu32, r->load.concurrency)
CELL(delay, "%.6g", (double)r->load.delay / NSEC_PER_SEC)
CELL(seconds, "%.2f", r->seconds)
CELL(ideal, "%.2f", (double)r->ideal / NSEC_PER_SEC)
CELL(rate, "%.1f", r->requests_per_second)
CELL(p50, "%.1f", (double)r->p50_usec / 1000)
CELL(p99, "%.1f", (double)r->p99_usec / 1000)
CELL(failed, "%" PRIu64, r->failed)
CELL(threads_before, "%" PRIu32, r->threads_before)
CELL(threads_during, "%" PRIu32, r->threads_during)
CELL(sleeping, "%.0f", r->sleeping_during)
CELL(cpu, "%.0f", usec_per_request(r, r->cpu))
CELL(memory, "%.1f", (double)r->memory_peak_bytes / MIB)

static void cell_calls(const struct play_result *r, char text[static CELL_BYTES]) {
    if (r->calls_max == 0)
        strcpy(text, "-");
    else
        snprintf(text, CELL_BYTES, "%" PRIu32, r->calls_max);
}

/* A heading of two lines and the cells below it. The first column, the name, is text. */
static const struct column {
    const char *top, *bottom;
    void (*cell)(const struct play_result *, char text[static CELL_BYTES]);
} columns[] = {
    { "", "model", cell_model },
    { "", "n", cell_requests },
    { "", "c", cell_concurrency },
    { "delay", "s", cell_delay },
    { "time", "s", cell_seconds },
    { "ideal", "s", cell_ideal },
    { "requests", "per s", cell_rate },
    { "p50", "ms", cell_p50 },
    { "p99", "ms", cell_p99 },
    { "", "failed", cell_failed },
    { "threads", "before", cell_threads_before },
    { "threads", "during", cell_threads_during },
    { "asleep", "during", cell_sleeping },
    { "calls", "at once", cell_calls },
    { "CPU us", "per req", cell_cpu },
    { "memory", "MiB", cell_memory },
};

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}

static int column_width(const struct column *column, const struct play_result *results,
                        size_t count) {
    size_t width = max_size(strlen(column->top), strlen(column->bottom));
    for (size_t i = 0; i < count; i++) {
        char text[CELL_BYTES];
        column->cell(&results[i], text);
        width = max_size(width, strlen(text));
    }
    return (int)width;
}

static void print_cell(size_t column, int width, const char *text, FILE *out) {
    if (column == 0)
        fprintf(out, "%-*s", width, text);
    else
        fprintf(out, "%*s%*s", GAP, "", width, text);
}

/* Columns that stand side by side: the first one, and those from `begin` to before `end`. */
struct block {
    size_t begin, end;
    const int *widths;
};

typedef void text_fn(const struct column *, const void *arg, char[static CELL_BYTES]);

static void text_of_top(const struct column *column, const void *arg UNUSED,
                        char text[static CELL_BYTES]) {
    snprintf(text, CELL_BYTES, "%s", column->top);
}

static void text_of_bottom(const struct column *column, const void *arg UNUSED,
                           char text[static CELL_BYTES]) {
    snprintf(text, CELL_BYTES, "%s", column->bottom);
}

static void text_of_cell(const struct column *column, const void *result,
                         char text[static CELL_BYTES]) {
    column->cell(result, text);
}

static void print_line(const struct block *block, text_fn *text_of, const void *arg, FILE *out) {
    char text[CELL_BYTES];
    text_of(&columns[0], arg, text);
    print_cell(0, block->widths[0], text, out);
    for (size_t c = block->begin; c < block->end; c++) {
        text_of(&columns[c], arg, text);
        print_cell(c, block->widths[c], text, out);
    }
    fputc('\n', out);
}

/* A row that was skipped has its reason in the first block, and no line in the others. */
static void print_block(const struct block *block, const struct play_result *results, size_t count,
                        FILE *out) {
    print_line(block, text_of_top, NULL, out);
    print_line(block, text_of_bottom, NULL, out);
    for (size_t i = 0; i < count; i++) {
        if (results[i].skipped[0] == '\0')
            print_line(block, text_of_cell, &results[i], out);
        else if (block->begin == 1)
            fprintf(out, "%-*s  skipped: %s\n", block->widths[0], results[i].row->name,
                    results[i].skipped);
    }
}

static void print_table(const struct play_result *results, size_t count, size_t width, FILE *out) {
    int widths[ARRAY_LEN(columns)];
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        widths[c] = column_width(&columns[c], results, count);

    struct block block = { .end = 1, .widths = widths };
    while (block.end < ARRAY_LEN(columns)) {
        size_t used = (size_t)widths[0];
        block.begin = block.end;
        do
            used += GAP + (size_t)widths[block.end++];
        while (block.end < ARRAY_LEN(columns) &&
               (width == 0 || used + GAP + (size_t)widths[block.end] <= width));
        if (block.begin > 1)
            fputc('\n', out);
        print_block(&block, results, count, out);
    }
}

/* A proxy in front of the app works, too: the sentence tells what each of them spent. */
static void print_processes(const struct play_result *r, size_t width, FILE *out) {
    char text[TEXT_BYTES];
    int len = snprintf(text, sizeof(text), "%s: CPU us per request:", r->row->name);
    for (size_t i = 0; i < row_process_count(r->row); i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s %s %.0f", i > 0 ? "," : "",
                        r->row->processes[i].name, usec_per_request(r, r->process_cpu[i]));
    snprintf(text + len, sizeof(text) - (size_t)len, ".");
    terminal_wrap(out, text, 0, width);
}

static void print_notices(const struct play_result *results, size_t count, size_t width,
                          FILE *out) {
    for (size_t i = 0; i < count; i++) {
        const struct playground *row = results[i].row;
        char text[TEXT_BYTES];
        if (results[i].skipped[0] != '\0' || row->peer_of != NULL)
            continue;
        snprintf(text, sizeof(text), "%s: %s.", row->name, row->notice);
        terminal_wrap(out, text, 0, width);
        if (has_proxy(row) && results[i].requests > 0)
            print_processes(&results[i], width, out);
    }
}

/* A line for each row that was looked at: what its threads waited for. */
static void print_waits(const struct play_result *results, size_t count, size_t width, FILE *out) {
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const struct wait_history *h = results[i].waits;
        char text[WAITS_BYTES], waits[WAITS_BYTES - CELL_BYTES];
        if (h == NULL || h->samples == 0)
            continue;
        if (!any)
            fputs("\nWhat the threads, and the requests, waited for, mean over the load:\n", out);
        any = true;
        snprintf(text, sizeof(text), "%s: %s", results[i].row->name,
                 history_text(h, waits, sizeof(waits)));
        terminal_wrap(out, text, 0, width);
        if (results[i].request_waits != NULL && results[i].request_waits->threads > 0) {
            snprintf(text, sizeof(text), "its requests: %s",
                     history_text(results[i].request_waits, waits, sizeof(waits)));
            terminal_wrap(out, text, 2, width);
        }
        if (h->note[0] != '\0')
            terminal_wrap(out, h->note, 2, width);
    }
}

void report_print(const struct play_result *results, size_t count, size_t width, FILE *out) {
    print_table(results, count, width, out);
    print_waits(results, count, width, out);
    fputc('\n', out);
    print_notices(results, count, width, out);
}

/* --- JSON -------------------- */

static double seconds_of(nsec_t span) {
    return (double)span / NSEC_PER_SEC;
}

static json_t *load_json(const struct play_load *load) {
    return json_pack("{s:I, s:I, s:f, s:b}", "requests", (json_int_t)load->requests, "concurrency",
                     (json_int_t)load->concurrency, "delay_seconds", seconds_of(load->delay),
                     "keep_alive", load->kept);
}

static json_t *latency_json(const struct play_result *r) {
    return json_pack("{s:I, s:I, s:I, s:I}", "p50", (json_int_t)r->p50_usec, "p90",
                     (json_int_t)r->p90_usec, "p99", (json_int_t)r->p99_usec, "max",
                     (json_int_t)r->max_usec);
}

static json_t *threads_json(const struct play_result *r) {
    return json_pack("{s:I, s:I, s:I, s:f, s:I}", "before", (json_int_t)r->threads_before,
                     "sleeping_before", (json_int_t)r->sleeping_before, "during_max",
                     (json_int_t)r->threads_during, "sleeping_during_mean", r->sleeping_during,
                     "samples", (json_int_t)r->samples);
}

/* A count for JSON: -1 when nobody told it. */
static json_int_t known(uint32_t in_flight) {
    return in_flight == PLAY_UNKNOWN ? -1 : (json_int_t)in_flight;
}

/* The series of the measured processes, one list per figure; null is a gap. */
static json_t *series_json(const struct play_result *r) {
    static const char *const names[] = {
        "elapsed_ms",
        "threads",
        "sleeping",
        "running",
        "cpu_us",
        "rss_bytes",
        "client_connections",
        "upstream_connections",
        "requests_in_flight",
        "upstream_calls_in_flight",
    };
    size_t target = row_process_count(r->row) - 1;
    json_t *lists[ARRAY_LEN(names)], *object = json_object();
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        lists[i] = json_array();
        rc |= json_object_set_new(object, names[i], lists[i]);
    }
    for (size_t i = 0; rc == 0 && i < r->series.count; i++) {
        const struct series_point *point = &r->series.points[i];
        const struct procstat *total = &point->total;
        const json_int_t values[ARRAY_LEN(names)] = {
            point->elapsed / NSEC_PER_MSEC,
            total->threads,
            total->sleeping,
            total->running,
            total->cpu / NSEC_PER_USEC,
            (json_int_t)total->rss_bytes,
            point->connections[target],
            point->connections[0],
            known(point->in_flight[target]),
            known(point->in_flight[0]),
        };
        for (size_t f = 0; f < ARRAY_LEN(names); f++)
            rc |= json_array_append_new(lists[f],
                                        values[f] < 0 ? json_null() : json_integer(values[f]));
    }
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* {NAME: microseconds of CPU time per request of the load} */
static json_t *processes_json(const struct play_result *r) {
    json_t *object = json_object();
    for (size_t i = 0; i < row_process_count(r->row); i++)
        if (json_object_set_new(object, r->row->processes[i].name,
                                json_real(usec_per_request(r, r->process_cpu[i]))) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *skipped_json(const struct play_result *r) {
    return json_pack("{s:s, s:s?, s:s, s:s}", "name", r->row->name, "alias", r->row->alias, "title",
                     r->row->title, "skipped", r->skipped);
}

static json_t *result_json(const struct play_result *r) {
    if (r->skipped[0] != '\0')
        return skipped_json(r);
    json_t *object =
        json_pack("{s:s, s:s?, s:s, s:o, s:o, s:o, s:o, s:o}", "name", r->row->name, "alias",
                  r->row->alias, "title", r->row->title, "load", load_json(&r->load), "latency_us",
                  latency_json(r), "threads", threads_json(r), "series", series_json(r),
                  "process_cpu_us_per_request", processes_json(r));
    int rc = 0;
    if (r->waits != NULL)
        rc = json_object_set_new(object, "waits", history_json(r->waits, "threads"));
    if (r->request_waits != NULL)
        rc |= json_object_set_new(object, "request_waits",
                                  history_json(r->request_waits, "requests"));
    json_t *figures = json_pack(
        "{s:f, s:f, s:f, s:I, s:I, s:f, s:f, s:f, s:I, s:I}", "seconds", r->seconds,
        "ideal_seconds", seconds_of(r->ideal), "tutorial_seconds",
        row_tutorial_seconds(r->row, &r->load), "requests", (json_int_t)r->requests, "failed",
        (json_int_t)r->failed, "requests_per_second", r->requests_per_second, "cpu_seconds",
        seconds_of(r->cpu), "cpu_us_per_request", usec_per_request(r, r->cpu), "memory_peak_bytes",
        (json_int_t)r->memory_peak_bytes, "upstream_calls_in_flight_max", (json_int_t)r->calls_max);
    rc |= json_object_update(object, figures);
    json_decref(figures);
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* {"playgrounds": [...]}, each result made by `make`; NULL without memory. */
static json_t *document_json(const struct play_result *results, size_t count,
                             json_t *(*make)(const struct play_result *)) {
    json_t *list = json_array();
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = json_array_append_new(list, make(&results[i]));
    if (rc == 0)
        return json_pack("{s:o}", "playgrounds", list);
    json_decref(list);
    return NULL;
}

/* Writes and frees the document; `dump` is for json_dump_callback. 0 or -errno. */
static int write_document(json_t *document, json_dump_callback_t dump, FILE *out, size_t flags) {
    if (document == NULL)
        return -ENOMEM;
    errno = 0;
    int rc = json_dump_callback(document, dump, out, flags | JSON_REAL_PRECISION(9));
    if (rc != 0)
        rc = errno != 0 ? -errno : -EIO;
    json_decref(document);
    return rc;
}

static int dump_bytes(const char *bytes, size_t size, void *out) {
    return fwrite(bytes, 1, size, out) == size ? 0 : -1;
}

static int write_json(const struct play_result *results, size_t count, FILE *out) {
    int rc =
        write_document(document_json(results, count, result_json), dump_bytes, out, JSON_INDENT(2));
    if (rc != 0)
        return rc;
    fputc('\n', out);
    return stream_flush(out);
}

/* --- the page -------------------- */

extern const char page_template[]; /* page.html, made a string by embed.py */

/* The time, the machine, the version: figures mean little without. */
static void put_facts(const struct play_result *results, size_t count, FILE *out) {
    char when[40] = "";
    time_t now = time(NULL);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct tm local;
    struct utsname system;
    size_t played = 0;
    for (size_t i = 0; i < count; i++)
        played += results[i].skipped[0] == '\0';
    if (localtime_r(&now, &local) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &local);
    fprintf(out, "%zu playground%s, %s, %ld CPU%s", played, played == 1 ? "" : "s", when, cpus,
            cpus == 1 ? "" : "s");
    if (uname(&system) == 0) {
        fputs(", ", out);
        html_text(out, system.sysname);
        fputc(' ', out);
        html_text(out, system.release);
    }
    fputs(", srv " SRV_VERSION ".", out);
}

static void put_row(const struct play_result *r, FILE *out) {
    char text[CELL_BYTES];
    fprintf(out, "<tr%s><th scope=\"row\">", r->row->peer_of != NULL ? " class=\"peer\"" : "");
    html_text(out, r->row->name);
    fputs("</th>", out);
    if (r->skipped[0] != '\0') {
        fprintf(out, "<td class=\"skipped\" colspan=\"%zu\">skipped: ", ARRAY_LEN(columns) - 1);
        html_text(out, r->skipped);
        fputs("</td>", out);
    }
    for (size_t c = 1; c < ARRAY_LEN(columns) && r->skipped[0] == '\0'; c++) {
        columns[c].cell(r, text);
        fprintf(out, "<td>%s</td>", text);
    }
    fputs("</tr>\n", out);
}

static void put_table(const struct play_result *results, size_t count, FILE *out) {
    fputs("<thead><tr>", out);
    for (size_t c = 0; c < ARRAY_LEN(columns); c++)
        fprintf(out, "<th scope=\"col\">%s<br>%s</th>", columns[c].top, columns[c].bottom);
    fputs("</tr></thead>\n<tbody>\n", out);
    for (size_t i = 0; i < count; i++)
        put_row(&results[i], out);
    fputs("</tbody>", out);
}

/* The requests one by one, and how many took how long. */
static json_t *latencies_json(const struct play_result *r) {
    const struct latencies *l = &r->latencies;
    json_t *points = json_array(), *bins = json_array();
    int rc = 0;
    for (size_t i = 0; i < l->count; i++)
        rc |= json_array_append_new(
            points, json_pack("[I, I, b]", (json_int_t)l->points[i].end_usec,
                              (json_int_t)l->points[i].total_usec, l->points[i].failed));
    for (size_t i = 0; i < LATENCIES_BINS; i++)
        rc |= json_array_append_new(bins, json_integer((json_int_t)l->bins[i]));
    if (rc != 0) {
        json_decref(points);
        json_decref(bins);
        return NULL;
    }
    return json_pack("{s:I, s:I, s:o, s:o}", "requests", (json_int_t)l->requests, "slowest_us",
                     (json_int_t)l->slowest_usec, "points", points, "bins", bins);
}

/* Connections from the proxy to the server behind it, the process before the last one. */
static json_t *server_connections_json(const struct play_result *r) {
    json_t *list = json_array();
    size_t server = row_process_count(r->row) - 2;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->series.count; i++)
        rc = json_array_append_new(list, json_integer(r->series.points[i].connections[server]));
    if (rc == 0)
        return list;
    json_decref(list);
    return NULL;
}

/* The commands that do it by hand; NULL when the row itself is wrong, or without memory. */
static json_t *commands_json(const struct play_result *r) {
    struct error err;
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return NULL;
    int rc = explain_commands(r->row, &r->load, memory, &err);
    if (fclose(memory) != 0)
        rc = -ENOMEM;
    json_t *commands = rc == 0 ? json_stringn(text, size) : NULL;
    free(text); /* open_memstream allocates with malloc */
    return commands;
}

/* A result for the page's script: result_json and all that the page says beside the figures. */
static json_t *page_json(const struct play_result *r) {
    const struct playground *row = r->row;
    char formula[96], delay[UNITS_TEXT_BYTES];
    json_t *object = result_json(r);
    if (object == NULL || r->skipped[0] != '\0')
        return object;
    bool proxy = has_proxy(row);
    json_t *more =
        json_pack("{s:s?, s:s?, s:s, s:s, s:s, s:b, s:s?, s:o, s:o}", "peer_of", row->peer_of,
                  "tutorial_has", row->tutorial_has, "shows", row->shows, "notice", row->notice,
                  "ideal_formula", row_ideal_formula(row, &r->load, formula, sizeof(formula)),
                  "has_slow_api", row_has_slow_api(row), "proxy",
                  proxy ? row->processes[row_process_count(row) - 1].name : NULL, "latencies",
                  latencies_json(r), "commands", commands_json(r));
    int rc = json_object_update(object, more);
    json_decref(more);
    rc |= json_object_set_new(json_object_get(object, "load"), "delay",
                              json_string(units_format_duration(r->load.delay, delay)));
    if (rc == 0 && proxy)
        rc = json_object_set_new(json_object_get(object, "series"), "server_connections",
                                 server_connections_json(r));
    if (rc == 0)
        return object;
    json_decref(object);
    return NULL;
}

/* Nothing in a string ends the element that the JSON stands in. */
static int dump_in_element(const char *bytes, size_t size, void *out) {
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < size; i++)
        rc = bytes[i] == '<' ? fputs("\\u003c", out) : fputc(bytes[i], out);
    return rc < 0 ? -1 : 0;
}

static int write_page(const struct play_result *results, size_t count, FILE *out) {
    const char *at = page_template;
    html_template(&at, "/*style*/", out);
    fputs(html_style, out);
    html_template(&at, "<!--facts-->", out);
    put_facts(results, count, out);
    html_template(&at, "<!--table-->", out);
    put_table(results, count, out);
    html_template(&at, "<!--data-->", out);
    int rc = write_document(document_json(results, count, page_json), dump_in_element, out,
                            JSON_COMPACT);
    if (rc == 0 && fputs(at, out) == EOF)
        rc = -errno;
    return rc == 0 ? stream_flush(out) : rc;
}

int report_write(const struct play_result *results, size_t count, enum report_format format,
                 FILE *out) {
    return format == REPORT_JSON ? write_json(results, count, out)
                                 : write_page(results, count, out);
}
