/* SPDX-License-Identifier: MIT */
/* Opens the files of a report and has each of its forms written. */
#include "loadgen/output.h"
#include "base/stream.h"
#include <errno.h>
#include <string.h>

static FILE *text_stream(const struct loadgen_config *c) {
    return loadgen_config_takes_stdout(c) ? stderr : stdout;
}

void output_start(const struct loadgen_config *c, const struct target *t) {
    if (!c->html)
        report_text_start(text_stream(c), c, t);
}

static int write_percentages(FILE *out, const struct report *r) {
    report_percentages(out, r);
    return 0;
}

static int write_spectrum(FILE *out, const struct report *r) {
    report_spectrum(out, r);
    return 0;
}

/* ab sorts by duration, so that only --ab-strict does. */
static int write_gnuplot(FILE *out, const struct report *r) {
    samples_sort(r->samples, r->config->ab_strict);
    report_gnuplot(out, r);
    return 0;
}

static int write_csv(FILE *out, const struct report *r) {
    samples_sort(r->samples, false);
    report_csv(out, r);
    return 0;
}

static int write_ndjson(FILE *out, const struct report *r) {
    samples_sort(r->samples, false);
    report_ndjson(out, r);
    return 0;
}

static int write_file(const char *path, int (*write)(FILE *, const struct report *),
                      const struct report *r, struct error *err) {
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *out = to_stdout ? stdout : fopen(path, "we");
    int rc = out != NULL ? write(out, r) : -errno;
    if (out != NULL && rc == 0)
        rc = stream_flush(out);
    if (!to_stdout && out != NULL && fclose(out) != 0 && rc == 0)
        rc = -errno;
    if (rc != 0)
        return error_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
    return 0;
}

static void write_text(const struct report *r) {
    FILE *out = text_stream(r->config);
    if (r->config->html) {
        report_html(out, r);
    } else {
        report_text(out, r);
        if (!r->config->ab_strict)
            report_details(out, r);
    }
    fflush(out);
}

int output_report(const struct report *r, struct error *err) {
    const struct loadgen_config *c = r->config;
    const struct {
        const char *path;
        int (*write)(FILE *, const struct report *);
        bool needs_samples;
    } files[] = {
        { c->json_path, report_json, false },
        { c->percentiles_path, write_percentages, false },
        { c->spectrum_path, write_spectrum, false },
        { c->gnuplot_path, write_gnuplot, true },
        { c->csv_path, write_csv, true },
        { c->ndjson_path, write_ndjson, true },
    };
    int rc = 0;
    write_text(r);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (files[i].path == NULL || (files[i].needs_samples && r->samples == NULL))
            continue;
        int failed = write_file(files[i].path, files[i].write, r, err);
        rc = rc != 0 ? rc : failed;
    }
    if (rc == 0 && r->samples != NULL && r->samples->incomplete)
        rc = error_set(err, -ENOMEM,
                       "out of memory for the record of every request: the files "
                       "lack some");
    return rc;
}
