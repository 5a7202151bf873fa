/* SPDX-License-Identifier: MIT */
/* Plans of slowapi. Input: the target, a line end, one X-Slowapi line, a line end, the rules. What
 * was asked for ends in a whole answer: within --max-delay, and with header lines that are some. */
#include "base/alloc.h"
#include "http/chars.h"
#include "http/head.h"
#include "http/url.h"
#include "slowapi/plan.h"
#include "slowapi/request.h"
#include "slowapi/rule_list.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>

#define PLACES 8

/* Two servers: one that takes anything, one with a limit and strict names. */
static const struct slowapi_config configs[] = {
    { .delay = "0", .log_level = LOG_LEVEL_ERROR },
    { .delay = "0", .delay_max = NSEC_PER_SEC, .strict_params = true },
};

static struct planner *planners[ARRAY_LEN(configs)];

static void open_planners(void) {
    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        struct shared *shared = shared_new(PLACES, PLACES, NULL);
        planners[i] = mem_calloc(1, sizeof(*planners[i]));
        ASSERT(shared != NULL && planners[i] != NULL);
        shared->delay_max = configs[i].delay_max;
        ASSERT(planner_init(planners[i], &configs[i], shared, 0, NULL) == 0);
    }
}

/* Header lines as the encoder would write them: nothing that ends a line early, or the head. */
static void check_lines(const char *lines) {
    struct slice rest = slice_str(lines), name, value;
    size_t bytes = 0;

    while (http_field_next(&rest, &name, &value)) {
        ASSERT(name.len > 0 && http_span(name.ptr, name.len, HTTP_CHAR_TOKEN) == name.len);
        ASSERT(http_span_value(value.ptr, value.len) == value.len);
        bytes = (size_t)(value.ptr + value.len - lines);
    }
    for (size_t i = bytes; i < rest.len; i++)
        ASSERT(lines[i] == '\r' || lines[i] == '\n' || lines[i] == ' ' || lines[i] == '\t');
}

static bool frames(const char *lines) {
    struct slice rest = slice_str(lines), name, value;

    while (http_field_next(&rest, &name, &value))
        if (slice_eq_nocase(name, SLICE("Content-Length")) ||
            slice_eq_nocase(name, SLICE("Transfer-Encoding")))
            return true;
    return false;
}

/* Without faults and with our own framing, a client understands the head; each line that was asked
 * for is in it, and none that is to be replaced. */
static void check_head(struct planner *p, struct reply *reply) {
    const struct http_limits limits = HTTP_LIMITS_DEFAULT;
    struct slice request = SLICE("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), asked, name, value, there;
    struct reply_step step;
    struct http_head head;
    struct http_event ev;
    struct http_conn conn;
    struct buf out;

    if (reply->fault_count > 0 || (reply->custom != NULL && frames(reply->custom)))
        return;
    http_conn_init(&conn, HTTP_SERVER, &limits);
    (void)http_conn_feed(&conn, request, false, &head, &ev);
    buf_init(&out, 1 << 20);
    ASSERT(reply_step(reply, &conn, p->stats.slot->faults, false, &out, &step) == 0);
    struct http_parse parse = http_parse_response(buf_unread(&out), 0, &limits, &head);
    ASSERT(parse.kind == HTTP_PARSE_DONE && head.status == reply->status);
    asked = slice_str(reply->custom);
    while (http_field_next(&asked, &name, &value))
        ASSERT(http_field_find(&head, name, &there));
    ASSERT(!reply->close || head.says_close);
    buf_free(&out);
}

static void check_reply(const struct reply *reply, nsec_t delay, nsec_t delay_max) {
    ASSERT(reply->status >= 200 && reply->status <= 599);
    ASSERT(reply->fault_count <= SPEC_FAULTS_MAX && delay >= 0);
    ASSERT(delay_max == 0 || delay <= delay_max);
    if (reply->fields != NULL)
        check_lines(reply->fields);
    if (reply->custom != NULL)
        check_lines(reply->custom);
    if (reply->rule != NULL)
        ASSERT(http_span_value(reply->rule, strlen(reply->rule)) == strlen(reply->rule));
    for (size_t i = 0; i < reply->fault_count; i++)
        ASSERT(reply->faults[i].place != FAULT_AT_ACCEPT);
}

/* A target that the codec lets through. */
static bool is_target(struct slice target) {
    return target.len > 0 && target.ptr[0] == '/' &&
           http_span_value(target.ptr, target.len) == target.len &&
           slice_find(target, ' ') == target.len && slice_find(target, '\t') == target.len;
}

#define BODY                                                                             \
    "{\"a\":[1,\"b\"],\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\"," \
    "\"content\":\"x\"}]}"

static void check_plan(struct planner *p, const struct http_head *head) {
    const struct plan_origin origin = { .client = 1, .fd = -1, .is_reused = true };
    struct slow_plan plan;

    ASSERT(plan_make(p, head, &origin, &plan) == 0);
    if (plan.reply != NULL && plan.reply->kept != NULL) {
        const char *why;
        ASSERT(kept_add(plan.reply->kept, SLICE(BODY), &why) == 0);
        ASSERT(plan_finish(p, plan.reply, &plan.delay) == 0);
    }
    ASSERT(plan.delay >= 0 && (p->config->delay_max == 0 || plan.delay <= p->config->delay_max));
    if (plan.reply != NULL)
        check_reply(plan.reply, plan.delay, p->config->delay_max);
    if (plan.reply != NULL)
        check_head(p, plan.reply);
    plan_free(p, plan.reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice rules = slice_of((const char *)data, size);
    struct http_head head = { .method = HTTP_METHOD_GET,
                              .framing = HTTP_FRAMING_CHUNKED,
                              .target = slice_cut(&rules, '\n') };
    struct slice line = slice_trim(slice_cut(&rules, '\n'));
    char fields[512];

    if (planners[0] == NULL)
        open_planners();
    if (!is_target(head.target) || line.len > 400 ||
        (line.len > 0 && http_span_value(line.ptr, line.len) != line.len))
        return 0;
    int len = snprintf(fields, sizeof(fields), "X-Slowapi: %.*s\r\n", (int)line.len,
                       line.len > 0 ? line.ptr : "");
    head.fields = slice_of(fields, line.len > 0 ? (size_t)len : 0);
    for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
        struct error err;
        struct shared *shared = planners[i]->shared;
        if (rules_publish(shared, rules.len > 0 ? rules : SLICE("[]"), NULL, &err) < 0)
            ASSERT(strchr(err.text, '\n') == NULL &&
                   rules_publish(shared, SLICE("[]"), NULL, &err) == 0);
        check_plan(planners[i], &head);
    }
    return 0;
}
