/* SPDX-License-Identifier: MIT */
/* Takes the parameters of options and addresses, and checks what only the start can tell. */
#include "slowapi/defaults.h"
#include "base/units.h"
#include "slowapi/body.h"
#include "slowapi/limits.h"
#include "slowapi/longest.h"
#include "slowapi/param.h"
#include "slowapi/recorded.h"
#include <errno.h>
#include <unistd.h>

const struct fault_info *defaults_tls_fault(const struct spec *spec) {
    for (size_t i = 0; i < spec->fault_count; i++)
        if (fault_infos[spec->faults[i].kind].needs_tls)
            return &fault_infos[spec->faults[i].kind];
    return NULL;
}

/* Options are one layer, a listening address the next; spec->memory is there. A value of an option
 * wins over a profile. */
static int take_options(struct spec *spec, const struct slowapi_config *config, struct error *err) {
    int rc = 0;

    spec_init(spec, config->upstream != NULL ? 0 : NSEC_PER_SEC, spec->memory);
    for (size_t i = 0; i < config->params.count && rc == 0; i++)
        rc = param_parse_text(spec, slice_str(config->params.items[i]), err);
    if (rc == 0 && config->pause != NULL)
        rc = param_set(spec, SLICE("pause"), slice_str(config->pause), err);
    if (rc == 0 && config->delay != NULL && !param_is_given(spec, SLICE("delay"))) {
        rc = param_set(spec, SLICE("delay"), slice_str(config->delay), err);
        spec->has_delay = false;
    }
    if (rc == 0 && config->from.count > 0 && config->delay == NULL &&
        !param_is_given(spec, SLICE("delay")))
        rc = param_set(spec, SLICE("delay"), SLICE("recorded"), err);
    if (rc == 0 && config->profile != NULL)
        rc = param_set(spec, SLICE("profile"), slice_str(config->profile), err);
    return rc;
}

/* Parameters of all addresses are of those that they can be of. */
static void drop_tls_faults(struct spec *spec) {
    uint8_t count = 0;

    for (uint8_t i = 0; i < spec->fault_count; i++)
        if (!fault_infos[spec->faults[i].kind].needs_tls)
            spec->faults[count++] = spec->faults[i];
    spec->fault_count = count;
}

int defaults_take(struct spec *spec, const struct slowapi_config *config, size_t bind,
                  struct error *err) {
    const char *own = config->bind_params[bind];
    int rc = take_options(spec, config, err);

    if (!config->secure[bind])
        drop_tls_faults(spec);
    param_begin_layer(spec);
    return rc == 0 && own != NULL ? param_parse_text(spec, slice_str(own), err) : rc;
}

/* `spec` is room for the work. */
static int check_tls_faults(const struct slowapi_config *config, struct spec *spec,
                            struct error *err) {
    const struct fault_info *fault = NULL;
    bool speaks = false;

    for (size_t i = 0; i < config->binds.count; i++) {
        speaks |= config->secure[i];
        if (defaults_take(spec, config, i, err) < 0)
            return -EINVAL;
        if (!config->secure[i] && (fault = defaults_tls_fault(spec)) != NULL)
            return error_set(err, -EINVAL, "--bind: %s needs TLS; give %s as https://",
                             fault->name.ptr, config->binds.items[i]);
    }
    if (!speaks && take_options(spec, config, err) == 0 &&
        (fault = defaults_tls_fault(spec)) != NULL)
        return error_set(err, -EINVAL,
                         "--params: %s needs an address that speaks TLS; give one as https://",
                         fault->name.ptr);
    return 0;
}

/* A folder that cannot be opened is told when the service begins. */
static int check_body(const struct spec *spec, const char *path, struct error *err) {
    int files = path != NULL ? body_open_files(path, NULL) : -1;

    if (path != NULL && files < 0)
        return 0;
    int rc = body_check(spec, files, err);
    if (files >= 0)
        close(files);
    return rc;
}

static int check_laws(const struct spec *spec, const struct option_strings *from,
                      struct error *err) {
    const struct dist *missing = !recorded_is_name(from, &spec->delay)     ? &spec->delay
                                 : !recorded_is_name(from, &spec->service) ? &spec->service
                                                                           : NULL;

    return missing == NULL ? 0
                           : error_set(err, -EINVAL, RECORDED_NAMELESS,
                                       missing == &spec->delay ? "delay" : "service");
}

int defaults_check_rule(const struct shared *shared, const struct spec *spec, struct error *why) {
    if (shared->delay_max > 0 && longest_exchange(spec, NULL) > shared->delay_max)
        return error_set(why, -EINVAL, "asks for more than --max-delay");
    int rc = check_laws(spec, shared->from, why);
    return rc == 0 ? check_body(spec, shared->files, why) : rc;
}

static int check_options(const struct slowapi_config *config, struct arena *memory,
                         struct error *err) {
    char text[UNITS_TEXT_BYTES], allowed[UNITS_TEXT_BYTES];
    struct spec spec = { .memory = memory };

    for (size_t i = 0; i < config->binds.count; i++) {
        int rc = defaults_take(&spec, config, i, err);
        if (rc == 0)
            rc = check_laws(&spec, &config->from, err);
        if (rc == 0)
            rc = check_body(&spec, config->files, err);
        if (rc < 0)
            return rc;
        nsec_t longest = longest_exchange(&spec, NULL);
        if (config->delay_max == 0 || longest <= config->delay_max)
            continue;
        return error_set(err, -EINVAL,
                         "--max-delay '%s': the defaults of %s make an exchange of %s",
                         units_format_duration(config->delay_max, allowed), config->binds.items[i],
                         longest == NSEC_NEVER ? "no end" : units_format_duration(longest, text));
    }
    return check_tls_faults(config, &spec, err);
}

int defaults_check(const struct slowapi_config *config, struct error *err) {
    struct arena memory;

    arena_init(&memory, SLOWAPI_LIST_BYTES);
    int rc = check_options(config, &memory, err);
    arena_free(&memory);
    return rc;
}

bool defaults_are_plain(const struct spec *s) {
    bool changes = s->status.count > 0 || s->size.count > 0 || s->close_share > 0 ||
                   s->fault_count > 0 || s->seq_count > 0 || s->first > 0 || s->every > 0 ||
                   s->fields_len > 0 || s->has_seed || s->limit > 0 || spec_chooses_body(s) ||
                   s->type.raw.ptr != NULL || s->has_encoding;
    bool depends = s->workers > 0 || s->linear > 0 || s->collapse_knee > 0 || s->pause.span > 0 ||
                   s->warmup.span > 0;

    return s->delay.kind == DIST_FIXED && !changes && !depends;
}
