/* SPDX-License-Identifier: MIT */
/* Completes the OpenAPI document by what other tables know. */
#include "slowapi/openapi.h"
#include "slowapi/stats.h"

extern const char openapi_template[]; /* openapi.json, by the build */

static const struct {
    const char *name, *help;
} counters[] = {
#define ROW_OF(name, NAME, help) { #name, help "." },
    SLOW_COUNTERS(ROW_OF)
#undef ROW_OF
};

static void add_counters(json_t *schemas) {
    json_t *stats = json_object_get(schemas, "Stats");
    json_t *members = json_object_get(stats, "properties");
    json_t *required = json_object_get(stats, "required");

    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        json_object_set_new(members, counters[i].name,
                            json_pack("{s:s, s:i, s:s}", "type", "integer", "minimum", 0,
                                      "description", counters[i].help));
        json_array_append_new(required, json_string(counters[i].name));
    }
}

static void add_faults(json_t *schemas) {
    json_t *members = json_object_get(json_object_get(schemas, "Switches"), "properties");
    json_t *kinds = json_array();

    for (size_t i = 0; i < FAULT_KINDS; i++) {
        const struct fault_info *info = &fault_infos[i];
        json_object_set_new(members, info->name.ptr,
                            json_pack("{s:s, s:s}", "type", "boolean", "description", info->help));
        json_array_append_new(kinds, json_string(info->name.ptr));
    }
    json_t *fault = json_object_get(json_object_get(schemas, "Fault"), "properties");
    json_object_set_new(json_object_get(fault, "kind"), "enum", kinds);
}

json_t *openapi_json(void) {
    json_t *document = json_loads(openapi_template, 0, NULL);
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");

    json_object_set_new(json_object_get(document, "info"), "version", json_string(SRV_VERSION));
    add_counters(schemas);
    add_faults(schemas);
    return document;
}
