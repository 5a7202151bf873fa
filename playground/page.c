/* SPDX-License-Identifier: MIT */
/* Puts the page together: what was run, the charts, the table, and each row with its commands. */
#include "playground/page.h"
#include "base/stream.h"
#include "base/units.h"
#include "playground/chart.h"
#include "playground/explain.h"
#include "playground/page_text.h"
#include "playground/svg.h"
#include "playground/table.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define FACT_BYTES 120
#define KEPT_UP    1.25 /* times the ideal: what is above is no waiting */

static bool was_skipped(const struct play_result *r) {
    return r->skipped[0] != '\0';
}

/* Rows of ours, without a proxy that holds clients for them, that did what waiting alone allows. */
static bool kept_up(const struct play_result *r, const struct play_load *usual) {
    return result_has_load(r, usual) && r->row->peer_of == NULL && !catalogue_has_proxy(r->row) &&
           r->failed == 0 && r->seconds <= KEPT_UP * (double)r->ideal / NSEC_PER_SEC &&
           r->calls_max > 0;
}

static void write_keeping(const struct play_result *r, FILE *out) {
    fputs("<a href=\"#", out);
    svg_escape(out, r->row->name);
    fputs("\">", out);
    svg_escape(out, r->row->name);
    fprintf(out, "</a> kept %" PRIu32 " call%s waiting at once with <b>%" PRIu32 " thread%s</b>",
            r->calls_max, r->calls_max == 1 ? "" : "s", r->threads_during,
            r->threads_during == 1 ? "" : "s");
}

/* What came out, in a sentence: the fewest threads that kept up, and the most. */
static void write_conclusion(const struct play_result *results, size_t count, FILE *out) {
    const struct play_load *usual = result_usual_load(results, count);
    const struct play_result *few = NULL, *many = NULL;
    for (size_t i = 0; i < count && usual != NULL; i++) {
        const struct play_result *r = &results[i];
        if (!kept_up(r, usual))
            continue;
        if (few == NULL || r->threads_during < few->threads_during ||
            (r->threads_during == few->threads_during && r->cpu < few->cpu))
            few = r;
        if (many == NULL || r->threads_during > many->threads_during)
            many = r;
    }
    if (few == NULL)
        return;
    fputs("<p class=\"lead\">", out);
    write_keeping(few, out);
    if (many->threads_during > few->threads_during) {
        fputs("; ", out);
        write_keeping(many, out);
    }
    fprintf(out, ". The time was the same, %.2f s%s: waiting alone takes %.2f s.</p>\n",
            few->seconds, many->threads_during > few->threads_during ? " or close to it" : "",
            (double)few->ideal / NSEC_PER_SEC);
}

/* Links to all parts and rows. */
static void write_index(const struct play_result *results, size_t count, FILE *out) {
    fputs(page_index, out);
    for (size_t i = 0; i < count; i++) {
        if (was_skipped(&results[i]))
            continue;
        fputs("<a href=\"#", out);
        svg_escape(out, results[i].row->name);
        fputs("\">", out);
        svg_escape(out, results[i].row->name);
        fputs("</a>\n", out);
    }
    fputs("</nav>\n", out);
}

/* Where and when: figures mean little without. */
static void write_intro(const struct play_result *results, size_t count, FILE *out) {
    char when[40] = "";
    time_t now = time(NULL);
    struct tm local;
    struct utsname system;
    size_t played = 0;
    for (size_t i = 0; i < count; i++)
        played += !was_skipped(&results[i]);
    if (localtime_r(&now, &local) != NULL)
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &local);
    fprintf(out, "<p class=\"soft\">%zu playground%s, %s, %ld CPU%s", played,
            played == 1 ? "" : "s", when, sysconf(_SC_NPROCESSORS_ONLN),
            sysconf(_SC_NPROCESSORS_ONLN) == 1 ? "" : "s");
    if (uname(&system) == 0) {
        fputs(", ", out);
        svg_escape(out, system.sysname);
        fputc(' ', out);
        svg_escape(out, system.release);
    }
    fputs(", srv " SRV_VERSION ".</p>\n", out);
}

static void write_time_keys(const struct play_result *results, size_t count, FILE *out) {
    bool tutorial = false, peers = false;
    for (size_t i = 0; i < count; i++) {
        tutorial = tutorial || result_tutorial_seconds(&results[i]) > 0;
        peers = peers || (results[i].row->peer_of != NULL && !was_skipped(&results[i]));
    }
    fputs("<div class=\"keys\"><span><i></i>measured here</span>"
          "<span><i class=\"k-ideal\"></i>ideal</span>",
          out);
    if (tutorial)
        fputs("<span><i class=\"k-tutorial\"></i>what the tutorial reports, for its servers on its "
              "machine, loaded by ab</span>",
              out);
    if (peers)
        fputs("<span><i class=\"k-peer\"></i>the original, measured here</span>", out);
    fputs("</div>\n", out);
}

static void write_head_cells(FILE *out) {
    fputs("<thead><tr>", out);
    for (size_t c = 0; c < table_column_count; c++)
        fprintf(out, "<th scope=\"col\">%s<br>%s</th>", table_columns[c].top,
                table_columns[c].bottom);
    fputs("</tr></thead>\n<tbody>\n", out);
}

static void write_cells(const struct play_result *r, FILE *out) {
    char text[TABLE_CELL_BYTES];
    fprintf(out, "<tr%s><th scope=\"row\">", r->row->peer_of != NULL ? " class=\"peer\"" : "");
    svg_escape(out, r->row->name);
    fputs("</th>", out);
    if (was_skipped(r)) {
        fprintf(out, "<td class=\"skipped\" colspan=\"%zu\">skipped: ", table_column_count - 1);
        svg_escape(out, r->skipped);
        fputs("</td></tr>\n", out);
        return;
    }
    for (size_t c = 1; c < table_column_count; c++) {
        table_columns[c].cell(r, text);
        fprintf(out, "<td>%s</td>", text);
    }
    fputs("</tr>\n", out);
}

static void write_table(const struct play_result *results, size_t count, FILE *out) {
    fputs("<div class=\"card scroll\"><table>\n", out);
    write_head_cells(out);
    for (size_t i = 0; i < count; i++)
        write_cells(&results[i], out);
    fputs("</tbody></table></div>\n", out);
}

/* The CPU time that the proxy has beside the server's; nothing for rows without. */
static void fact_of_proxy(const struct play_result *r, char text[static FACT_BYTES]) {
    size_t last = catalogue_process_count(r->row) - 1;
    text[0] = '\0';
    if (catalogue_has_proxy(r->row))
        snprintf(text, FACT_BYTES, "<div><dt>CPU of %s</dt><dd>%.0f <small>us</small></dd></div>",
                 r->row->processes[last].name, result_process_cpu_usec(r, last));
}

static void write_facts(const struct play_result *r, FILE *out) {
    char calls[TABLE_CELL_BYTES], proxy[FACT_BYTES];
    double ideal = (double)r->ideal / NSEC_PER_SEC, tutorial = result_tutorial_seconds(r);
    table_calls(r, calls);
    fact_of_proxy(r, proxy);
    fprintf(out,
            "<dl class=\"facts\"><div><dt>time</dt><dd>%.2f <small>s</small></dd></div>"
            "<div><dt>ideal</dt><dd>%.2f <small>s</small></dd></div>",
            r->seconds, ideal);
    if (tutorial > 0)
        fprintf(out, "<div><dt>in the tutorial%s%s</dt><dd>%.2f <small>s</small></dd></div>",
                r->row->tutorial_has != NULL ? ", " : "",
                r->row->tutorial_has != NULL ? r->row->tutorial_has : "", tutorial);
    fprintf(out,
            "<div><dt>requests</dt><dd>%.1f <small>per s</small></dd></div>"
            "<div><dt>failed</dt><dd>%" PRIu64 "</dd></div>"
            "<div><dt>p99</dt><dd>%.1f <small>ms</small></dd></div>"
            "<div><dt>threads</dt><dd>%" PRIu32 " <small>then</small> %" PRIu32 "</dd></div>"
            "<div><dt>calls at once</dt><dd>%s <small>of</small> %" PRIu32 "</dd></div>"
            "<div><dt>CPU per request</dt><dd>%.0f <small>us</small></dd></div>%s"
            "<div><dt>memory</dt><dd>%.1f <small>MiB</small></dd></div></dl>\n",
            r->requests_per_second, r->failed, (double)r->p99_usec / 1000, r->threads_before,
            r->threads_during, calls, r->load.concurrency, result_cpu_usec(r), proxy,
            (double)r->memory_peak_bytes / (1024.0 * 1024.0));
}

/* 0 or -errno. */
static int write_commands(const struct play_result *r, FILE *out) {
    struct error err;
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return -errno;
    int rc = explain_commands(r->row, &r->load, memory, &err);
    if (fclose(memory) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0) {
        fputs("<details><summary>The commands that do it by hand, each in a terminal of its own"
              "</summary><pre>",
              out);
        svg_escape(out, text);
        fputs("</pre></details>\n", out);
    }
    free(text); /* open_memstream allocates with malloc */
    return rc;
}

static int write_row(const struct play_result *r, FILE *out) {
    char formula[96];
    fputs("<section class=\"card\" id=\"", out);
    svg_escape(out, r->row->name);
    fputs("\"><h3>", out);
    svg_escape(out, r->row->name);
    fputs(" <span class=\"tags\">", out);
    svg_escape(out, r->row->title);
    if (r->row->alias != NULL)
        fprintf(out, " (the tutorial's %s)", r->row->alias);
    fputs("</span></h3>\n<p class=\"soft\">", out);
    svg_escape(out, r->row->shows);
    fputs("</p>\n", out);
    write_facts(r, out);
    fputs("<p class=\"notice\">Notice: ", out);
    svg_escape(out, r->row->notice);
    fprintf(out, ". <span class=\"soft\">Ideal: %s.</span></p>\n",
            catalogue_ideal_formula(r->row, &r->load, formula, sizeof(formula)));
    chart_over_time(r, out);
    int rc = write_commands(r, out);
    fputs("</section>\n", out);
    return rc;
}

int page_write(const struct play_result *results, size_t count, FILE *out) {
    fputs(page_head, out);
    fputs(page_style_base, out);
    fputs(page_style_parts, out);
    write_conclusion(results, count, out);
    fputs(page_intro, out);
    write_intro(results, count, out);
    write_index(results, count, out);
    fputs(page_waits, out);
    chart_waits(results, count, out);
    fputs(page_costs, out);
    chart_costs(results, count, out);
    fputs(page_times, out);
    write_time_keys(results, count, out);
    fputs("<div class=\"card\">\n", out);
    chart_times(results, count, out);
    fputs("</div>\n", out);
    fputs(page_latencies, out);
    fputs("<div class=\"card\">\n", out);
    chart_latencies(results, count, out);
    fputs("</div>\n", out);
    fputs(page_table, out);
    write_table(results, count, out);
    fputs(page_rows, out);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (!was_skipped(&results[i]))
            rc = write_row(&results[i], out);
    fputs(page_foot, out);
    return rc == 0 ? stream_flush(out) : rc;
}
