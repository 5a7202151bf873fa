/* SPDX-License-Identifier: MIT */
/* Opens the files of a report and has each of its forms written. */
#include "loadgen/output.h"
#include "base/stream.h"
#include <errno.h>
#include <stddef.h>
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
    counters_sort_samples(r->samples, r->config->ab_strict);
    report_gnuplot(out, r);
    return 0;
}

static int write_csv(FILE *out, const struct report *r) {
    counters_sort_samples(r->samples, false);
    report_csv(out, r);
    return 0;
}

static int write_ndjson(FILE *out, const struct report *r) {
    counters_sort_samples(r->samples, false);
    report_ndjson(out, r);
    return 0;
}

static const struct output_form {
    size_t path; /* its offset in the configuration */
    int (*write)(FILE *, const struct report *);
    bool needs_samples;
} forms[OUTPUT_FILES] = {
    { offsetof(struct loadgen_config, json_path), report_json, false },
    { offsetof(struct loadgen_config, percentiles_path), write_percentages, false },
    { offsetof(struct loadgen_config, spectrum_path), write_spectrum, false },
    { offsetof(struct loadgen_config, gnuplot_path), write_gnuplot, true },
    { offsetof(struct loadgen_config, csv_path), write_csv, true },
    { offsetof(struct loadgen_config, ndjson_path), write_ndjson, true },
};

static const char *path_of(const struct loadgen_config *c, int form) {
    const char *path;
    memcpy(&path, (const char *)c + forms[form].path, sizeof(path));
    return path;
}

int output_open(struct load_output *o, const struct loadgen_config *c, struct error *err) {
    *o = (struct load_output){ .files = { NULL } };
    for (int i = 0; i < OUTPUT_FILES; i++) {
        const char *path = path_of(c, i);
        if (path == NULL)
            continue;
        int rc = stream_create(&o->files[i], path, err);
        if (rc == 0)
            continue;
        output_close(o);
        return rc;
    }
    return 0;
}

void output_close(struct load_output *o) {
    for (int i = 0; i < OUTPUT_FILES; i++) {
        (void)stream_close(o->files[i]);
        o->files[i] = NULL;
    }
}

static int write_file(struct load_output *o, int form, const struct report *r, struct error *err) {
    int rc = forms[form].write(o->files[form], r);
    int closed = stream_close(o->files[form]);
    o->files[form] = NULL;
    rc = rc != 0 ? rc : closed;
    if (rc == 0)
        return 0;
    return error_set(err, rc, "cannot write %s: %s", path_of(r->config, form), strerror(-rc));
}

static void write_text(const struct report *r) {
    FILE *out = text_stream(r->config);
    if (r->config->html) {
        report_html(out, r);
    } else {
        report_text_done(out, r);
        if (!r->config->ab_strict)
            report_people(out, r);
        report_text(out, r);
    }
    fflush(out);
}

int output_report(struct load_output *o, const struct report *r, struct error *err) {
    int rc = 0;
    write_text(r);
    for (int i = 0; i < OUTPUT_FILES; i++) {
        if (o->files[i] == NULL || (forms[i].needs_samples && r->samples == NULL))
            continue;
        int failed = write_file(o, i, r, err);
        rc = rc != 0 ? rc : failed;
    }
    output_close(o);
    if (rc == 0 && r->samples != NULL && r->samples->incomplete)
        rc = error_set(err, -ENOMEM,
                       "out of memory for the record of every request: the files "
                       "lack some");
    return rc;
}
