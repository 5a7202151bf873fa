/* SPDX-License-Identifier: MIT */
/* From what a client asks of a model to what is answered: the request's checks, the budgets of its
 * key, and the answer of chat.c. */
#include "slowapi/openai.h"
#include "base/alloc.h"
#include "base/json.h"
#include "slowapi/chat.h"
#include "slowapi/limits.h"
#include "slowapi/shared.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Estimates: a token has that many bytes of text, and each message some around it. */
enum { TOKEN_BYTES = 4, MESSAGE_TOKENS = 4, ANSWER_TOKENS = 3 };

/* The parts of the request's JSON that count. */
struct asked {
    json_t *root; /* owned */
    struct slice model;
    uint64_t prompt_tokens, max_tokens; /* max_tokens 0: not given */
    bool streams, wants_usage;
};

/* --- errors ----------------------------------------------------------------------------------- */

static const char *type_of_status(uint16_t status) {
    if (status == 429)
        return "requests";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

/* The code that goes with a status; NULL: none. */
static const char *code_of_status(uint16_t status) {
    switch (status) {
    case 401:
        return "invalid_api_key";
    case 404:
        return "model_not_found";
    case 429:
        return "rate_limit_exceeded";
    default:
        return NULL;
    }
}

/* `param` is the member that is wrong, or NULL. */
static int answer_error(struct reply *reply, const char *type, const char *param, const char *code,
                        const char *message) {
    json_t *error =
        json_pack("{s:o, s:s, s:s?, s:s?}", "message", json_text(slice_str(message), SIZE_MAX),
                  "type", type, "param", param, "code", code);
    reply_set_status(reply, 400);
    return reply_set_json(reply, json_pack("{s:o}", "error", error));
}

/* Refuses what was asked. Returns 1, or -ENOMEM. */
PRINTF_LIKE(3, 4)
static int refuse(struct reply *reply, const char *param, const char *fmt, ...) {
    char message[256];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    int rc = answer_error(reply, "invalid_request_error", param, NULL, message);
    return rc < 0 ? rc : 1;
}

/* The status was rolled, or the queue in front is full. */
static int answer_status(struct reply *reply) {
    char message[64];

    snprintf(message, sizeof(message), "slowapi answers with %u, as it was asked to",
             reply->status);
    return answer_error(reply, type_of_status(reply->status), NULL, code_of_status(reply->status),
                        message);
}

/* --- the request ------------------------------------------------------------------------------ */

static uint64_t text_bytes(const json_t *content) {
    uint64_t bytes = json_string_length(content);
    size_t i;
    const json_t *part;

    json_array_foreach(content, i, part) bytes += json_string_length(json_object_get(part, "text"));
    return bytes;
}

static int read_messages(struct reply *reply, struct asked *asked) {
    const json_t *messages = json_object_get(asked->root, "messages"), *message;
    size_t i;

    if (json_array_size(messages) == 0)
        return refuse(reply, "messages", "messages is a list of one message or more");
    asked->prompt_tokens = ANSWER_TOKENS;
    json_array_foreach(messages, i, message) {
        if (!json_is_string(json_object_get(message, "role")))
            return refuse(reply, "messages", "messages.%zu is no object with a role", i);
        uint64_t bytes = text_bytes(json_object_get(message, "content"));
        asked->prompt_tokens += MESSAGE_TOKENS + (bytes + TOKEN_BYTES - 1) / TOKEN_BYTES;
    }
    return 0;
}

/* The newer name wins. null is as if it was not given. */
static int read_max_tokens(struct reply *reply, struct asked *asked) {
    static const char *const names[] = { "max_completion_tokens", "max_tokens" };

    for (size_t i = 0; i < ARRAY_LEN(names) && asked->max_tokens == 0; i++) {
        const json_t *value = json_object_get(asked->root, names[i]);
        if (value == NULL || json_is_null(value))
            continue;
        if (!json_is_integer(value) || json_integer_value(value) < 1)
            return refuse(reply, names[i], "%s is not a whole number, 1 or more", names[i]);
        asked->max_tokens = (uint64_t)json_integer_value(value);
    }
    return 0;
}

static bool is_other_than(const json_t *value, json_int_t wanted) {
    return value != NULL && !json_is_null(value) && json_integer_value(value) != wanted;
}

/* 0; 1: it was refused; or -ENOMEM. */
static int read_request(struct reply *reply, struct slice body, struct asked *asked) {
    json_error_t at;

    if (body.len == 0)
        return refuse(reply, NULL, "the request's body is empty, and no JSON object");
    asked->root = json_loadb(body.ptr, body.len, 0, &at);
    if (!json_is_object(asked->root))
        return refuse(reply, NULL, "the request's body is no JSON object%s%s",
                      asked->root == NULL ? ": " : "", asked->root == NULL ? at.text : "");
    const json_t *model = json_object_get(asked->root, "model");
    const json_t *stream = json_object_get(asked->root, "stream");
    const json_t *options = json_object_get(asked->root, "stream_options");
    asked->model = slice_of(json_string_value(model), json_string_length(model));
    if (asked->model.len == 0 || asked->model.len > SLOWAPI_MODEL_BYTES)
        return refuse(reply, "model", "model is a name of up to %d bytes", SLOWAPI_MODEL_BYTES);
    if (stream != NULL && !json_is_boolean(stream) && !json_is_null(stream))
        return refuse(reply, "stream", "stream is neither true nor false");
    asked->streams = json_is_true(stream);
    if (json_is_object(options) && !asked->streams)
        return refuse(reply, "stream_options", "stream_options needs stream: true");
    asked->wants_usage = json_is_true(json_object_get(options, "include_usage"));
    if (is_other_than(json_object_get(asked->root, "n"), 1))
        return refuse(reply, "n", "n is 1: this model gives one answer");
    int rc = read_max_tokens(reply, asked);
    return rc == 0 ? read_messages(reply, asked) : rc;
}

/* --- budgets ---------------------------------------------------------------------------------- */

struct budget {
    const char *name, *unit; /* "tokens", "tokens per minute (TPM)" */
    int64_t per_minute;      /* 0: none */
    uint64_t cost;
};

/* Requests with the same credentials have the same budgets; those without any share theirs. `key`
 * parts them otherwise. */
static uint64_t key_of(const struct spec *spec, const struct slow_request *request,
                       const struct budget *budget) {
    uint64_t key = hash_bytes(HASH_SEED, budget->name, strlen(budget->name));
    struct slice value;

    key = hash_bytes(key, &budget->per_minute, sizeof(budget->per_minute));
    if (spec->has_key)
        return hash_bytes(key, &spec->key, sizeof(spec->key));
    if (http_field_find(request->head, SLICE("Authorization"), &value) ||
        http_field_find(request->head, SLICE("Api-Key"), &value))
        key = hash_bytes(key, value.ptr, value.len);
    return key;
}

#define SPAN_BYTES 32

/* Spells a span as those fields do: 120ms, 8.64s, 1m30s. Returns `text`. */
static const char *spell_span(nsec_t span, char text[static SPAN_BYTES]) {
    int64_t msec = (span + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
    int64_t minutes = msec / 60000;

    if (msec < 1000)
        snprintf(text, SPAN_BYTES, "%" PRId64 "ms", msec);
    else if (minutes == 0)
        snprintf(text, SPAN_BYTES, "%gs", (double)msec / 1000);
    else
        snprintf(text, SPAN_BYTES, "%" PRId64 "m%gs", minutes, (double)(msec % 60000) / 1000);
    return text;
}

static int tell_budget(struct reply *reply, const struct budget *budget,
                       const struct budget_turn *turn) {
    char lines[256], span[SPAN_BYTES];

    snprintf(lines, sizeof(lines),
             "X-Ratelimit-Limit-%s: %" PRId64 "\r\nX-Ratelimit-Remaining-%s: %" PRIu64
             "\r\nX-Ratelimit-Reset-%s: %s\r\n",
             budget->name, budget->per_minute, budget->name, turn->left, budget->name,
             spell_span(turn->full_after, span));
    return reply_add_fields(reply, lines);
}

/* A request that costs more than a whole minute's budget will never fit. */
static int answer_429(struct reply *reply, const struct asked *asked, const struct budget *budget,
                      const struct budget_turn *turn) {
    char message[SLOWAPI_MODEL_BYTES + 256], lines[96], span[SPAN_BYTES];
    bool is_hopeless = budget->cost > (uint64_t)budget->per_minute;
    nsec_t seconds = (turn->retry_after + NSEC_PER_SEC - 1) / NSEC_PER_SEC;

    snprintf(message, sizeof(message),
             "%s for %.*s on %s: limit %" PRId64 ", left %" PRIu64 ", requested %" PRIu64 "%s%s",
             is_hopeless ? "request too large" : "rate limit reached", (int)asked->model.len,
             asked->model.ptr, budget->unit, budget->per_minute, turn->left, budget->cost,
             is_hopeless ? "" : "; try again in ",
             is_hopeless ? "" : spell_span(turn->retry_after, span));
    snprintf(lines, sizeof(lines), "Retry-After: %lld\r\nRetry-After-Ms: %lld\r\n",
             (long long)seconds,
             (long long)((turn->retry_after + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
    reply_set_status(reply, 429);
    int rc = is_hopeless ? 0 : reply_add_fields(reply, lines);
    if (rc == 0)
        rc = answer_error(reply, budget->name, NULL, "rate_limit_exceeded", message);
    return rc < 0 ? rc : 1;
}

/* 0; 1: one of them does not have what the request costs; or -ENOMEM. */
static int spend(struct reply *reply, const struct spec *spec, const struct slow_request *request,
                 const struct asked *asked, uint64_t tokens) {
    const struct budget budgets[] = {
        { "requests", "requests per minute (RPM)", spec->rpm, 1 },
        { "tokens", "tokens per minute (TPM)", spec->tpm, tokens },
    };
    int rc = 0;

    for (size_t i = 0; i < ARRAY_LEN(budgets) && rc == 0; i++) {
        const struct budget *budget = &budgets[i];
        if (budget->per_minute == 0)
            continue;
        struct budget_turn turn =
            budget_take(request->shared, key_of(spec, request, budget),
                        (uint64_t)budget->per_minute, budget->cost, clock_now());
        rc = tell_budget(reply, budget, &turn);
        if (rc == 0 && !turn.fits)
            rc = answer_429(reply, asked, budget, &turn);
    }
    return rc;
}

/* --- the answer ------------------------------------------------------------------------------- */

static uint64_t draw_tokens(struct reply *reply, const struct spec *spec) {
    nsec_t drawn = dist_draw(&spec->tokens, &reply->rng);
    uint64_t tokens = (uint64_t)(drawn + NSEC_PER_SEC / 2) / (uint64_t)NSEC_PER_SEC;

    return tokens < 1 ? 1 : tokens < SLOWAPI_TOKENS_MAX ? tokens : SLOWAPI_TOKENS_MAX;
}

static struct chat *make_chat(struct reply *reply, const struct spec *spec,
                              const struct asked *asked) {
    struct chat *chat = chat_new(asked->model);

    if (chat == NULL)
        return NULL;
    chat->seed = reply->seed;
    chat->rng = rng_stream(reply->seed, UINT64_MAX);
    chat->gap = spec->gap;
    chat->created = clock_wall() / NSEC_PER_SEC;
    chat->left = NSEC_NEVER;
    chat->prompt_tokens = asked->prompt_tokens;
    chat->tokens = draw_tokens(reply, spec);
    chat->is_cut = asked->max_tokens > 0 && asked->max_tokens < chat->tokens;
    if (chat->is_cut)
        chat->tokens = asked->max_tokens;
    chat->tells_usage = asked->wants_usage;
    double longest =
        dist_longest(&spec->ttft) + dist_longest(&spec->gap) * (double)(chat->tokens - 1);
    chat->longest = longest < (double)NSEC_NEVER ? (nsec_t)longest : NSEC_NEVER;
    return chat;
}

/* The head comes at once, the tokens as they are made. */
static int answer_stream(struct reply *reply, const struct spec *spec) {
    reply->body.kind = BODY_CHAT;
    reply->body.type = "text/event-stream; charset=utf-8";
    reply->body.is_chunked = true;
    reply->body.units = reply->body.chat->tokens;
    reply->body.piece = 1;
    reply->body.lead = dist_draw(&spec->ttft, &reply->rng);
    return reply_add_fields(reply, "Cache-Control: no-cache\r\n");
}

/* All of it comes when the last token is made. */
static int answer_whole(struct reply *reply, const struct spec *spec) {
    struct chat *chat = reply->body.chat;
    struct buf out;

    reply->making = dist_draw(&spec->ttft, &reply->rng);
    for (uint64_t i = 1; i < chat->tokens; i++)
        reply->making = deadline_after(reply->making, chat_pause(chat));
    buf_init(&out, SLOWAPI_TEXT_MAX);
    int rc = chat_append_whole(chat, &out);
    if (rc == 0)
        rc = reply_set_copy(reply, "application/json", buf_unread(&out));
    buf_free(&out);
    return rc;
}

static int answer_chat(struct reply *reply, const struct spec *spec,
                       const struct slow_request *request, const struct asked *asked) {
    struct chat *chat = make_chat(reply, spec, asked);

    reply->body.chat = chat;
    if (chat == NULL)
        return -ENOMEM;
    int rc = spend(reply, spec, request, asked, chat->prompt_tokens + chat->tokens);
    if (rc != 0)
        return rc;
    return asked->streams ? answer_stream(reply, spec) : answer_whole(reply, spec);
}

int openai_chat(struct reply *reply, const struct spec *spec, const struct slow_request *request,
                struct error *why UNUSED) {
    struct asked asked = { .root = NULL };
    char line[64];

    snprintf(line, sizeof(line), "X-Request-Id: req_%016" PRIx64 "\r\n", reply->seed);
    int rc = reply_add_fields(reply, line);
    if (rc == 0 && reply->status != 200)
        return answer_status(reply);
    if (rc == 0)
        rc = read_request(reply, request->body, &asked);
    if (rc == 0)
        rc = answer_chat(reply, spec, request, &asked);
    json_decref(asked.root);
    return rc < 0 ? rc : 0;
}

/* --- models ----------------------------------------------------------------------------------- */

static json_t *model_json(struct slice name) {
    return json_pack("{s:o, s:s, s:i, s:s}", "id", json_text(name, SIZE_MAX), "object", "model",
                     "created", 0, "owned_by", "slowapi");
}

int openai_models(struct reply *reply, const struct spec *spec UNUSED,
                  const struct slow_request *request UNUSED, struct error *why UNUSED) {
    if (reply->status != 200)
        return answer_status(reply);
    return reply_set_json(
        reply, json_pack("{s:s, s:[o]}", "object", "list", "data", model_json(SLICE("slow-1"))));
}

/* There is a model of any name. */
int openai_model(struct reply *reply, const struct spec *spec UNUSED,
                 const struct slow_request *request, struct error *why UNUSED) {
    if (request->rest.len == 0)
        return -ENOENT;
    return reply->status != 200 ? answer_status(reply)
                                : reply_set_json(reply, model_json(request->rest));
}
