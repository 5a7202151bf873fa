/* SPDX-License-Identifier: MIT */
/* The OpenAPI document and the routes of the control endpoint tell the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "slowapi/control.h"
#include "slowapi/openapi.h"
#include <string.h>

static const struct {
    const char *name;
    unsigned bit;
} methods[] = { { "get", CONTROL_GET },
                { "put", CONTROL_PUT },
                { "delete", CONTROL_DELETE },
                { "post", CONTROL_POST },
                { "patch", CONTROL_PATCH } };

/* The methods that the document has for that path. */
static unsigned described(const json_t *document, const char *path) {
    const json_t *item = json_object_get(json_object_get(document, "paths"), path);
    unsigned bits = 0;

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (json_object_get(item, methods[i].name) != NULL)
            bits |= methods[i].bit;
    return bits;
}

static void every_route_is_described(void **state UNUSED) {
    size_t count;
    const struct control_route *routes = slow_control_routes(&count);
    json_t *document = openapi_json();

    assert_non_null(document);
    for (size_t i = 0; i < count; i++)
        if (described(document, routes[i].path) != routes[i].methods)
            fail_msg("openapi.json has other methods of %s", routes[i].path);
    assert_int_equal(json_object_size(json_object_get(document, "paths")), count);
    json_decref(document);
}

static void counters_and_faults_are_described(void **state UNUSED) {
    json_t *document = openapi_json();
    json_t *schemas = json_object_get(json_object_get(document, "components"), "schemas");
    json_t *stats = json_object_get(json_object_get(schemas, "Stats"), "properties");
    json_t *switches = json_object_get(json_object_get(schemas, "Switches"), "properties");

    assert_non_null(json_object_get(stats, "client_aborts"));
    assert_int_equal(json_object_size(switches), FAULT_KINDS);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(document, "info"), "version")),
        SRV_VERSION);
    json_decref(document);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_described),
        cmocka_unit_test(counters_and_faults_are_described),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
