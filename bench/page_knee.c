/* SPDX-License-Identifier: MIT */
/* Draws latency by load. */
#include "bench/page_knee.h"
#include "base/html.h"
#include "bench/page_member.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { KNEE_STEPS_MAX = 128 };

static int by_load(const void *a, const void *b) {
    double x = ((const struct chart_point *)a)->x, y = ((const struct chart_point *)b)->x;
    return (x > y) - (x < y);
}

/* Fills `points` with a percentile of each step, in the order of the load; how many. */
static size_t read_steps(json_t *root, const char *key, struct chart_point *points) {
    json_t *step;
    size_t i, count = 0;
    json_array_foreach(page_at(root, "steps"), i, step) {
        double load = page_number(step, "load"),
               usec = page_number(page_at(step, "latency_us"), key);
        if (count < KNEE_STEPS_MAX && load > 0 && usec > 0)
            points[count++] = (struct chart_point){ load, usec };
    }
    qsort(points, count, sizeof(*points), by_load);
    return count;
}

static void draw_steps(const struct chart *c, json_t *root, const char *key, const char *kind) {
    struct chart_point points[KNEE_STEPS_MAX];
    chart_line(c, kind, points, read_steps(root, key, points));
}

static void widen(json_t *root, const char *key, double *least, double *most, double *load) {
    struct chart_point points[KNEE_STEPS_MAX];
    size_t count = read_steps(root, key, points);
    for (size_t i = 0; i < count; i++) {
        *least = fmin(*least, points[i].y);
        *most = fmax(*most, points[i].y);
        *load = fmax(*load, points[i].x);
    }
}

static void put_knee_chart(const struct load_page *p, json_t *root) {
    double most = page_number_or_0(root, "max.load"), slowest = 1, fastest = 1e15, top = most;
    widen(root, "p50", &fastest, &slowest, &top);
    widen(root, "max", &fastest, &slowest, &top);
    struct chart c = { p->out, chart_axis_linear(top), chart_axis_log(fastest, slowest) };
    c.x.format = chart_number;
    c.y.format = chart_usec;
    page_put(p, "<div class=\"card\"><figure><figcaption>Latency by load <span class=\"legend\">");
    page_key(p, "line-a", "p50");
    page_key(p, "line-b", "p99");
    page_key(p, "line-d", "slowest");
    if (most > 0)
        page_key(p, "planned", "the most that holds");
    page_put(p, "</span></figcaption>\n<div class=\"tall\">");
    chart_begin(&c, "Latency by load, a point for each step; the table of steps has the figures");
    if (most > 0)
        chart_line(&c, "planned", (struct chart_point[]){ { most, c.y.from }, { most, c.y.to } },
                   2);
    draw_steps(&c, root, "max", "line-d");
    draw_steps(&c, root, "p99", "line-b");
    draw_steps(&c, root, "p50", "line-a");
    chart_end(&c);
    page_put(p, "</div></figure></div>\n");
}

void page_knee(const struct load_page *p, json_t *root) {
    char text[CHART_TEXT_BYTES];
    const char *unit = strcmp(page_words(root, "by"), "rate") == 0 ? "per second" : "connections";
    page_put(p, "<header>\n<h1>");
    html_text(p->out, page_words(root, "url"));
    page_put(p,
             "</h1>\n</header>\n<div class=\"card\"><dl class=\"facts\"><div><dt>the most that "
             "holds</dt><dd>%s "
             "<small>%s</small></dd></div></dl></div>\n",
             isnan(page_number(root, "max.load")) ? "-"
                                                  : page_rate(page_number(root, "max.load"), text),
             unit);
    if (page_words(root, "generator_limit")[0] != '\0')
        page_warning(p, "The generator, not the server, was the limit: ",
                     page_words(root, "generator_limit"));
    page_put(p, "<h2>Steps</h2>\n");
    put_knee_chart(p, root);
    page_put(p, "<div class=\"card\">\n");
    page_member(p, "Steps", page_at(root, "steps"));
    page_member(p, "The most that holds", page_at(root, "max"));
    page_put(p, "</div>\n");
}
