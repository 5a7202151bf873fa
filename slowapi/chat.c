/* SPDX-License-Identifier: MIT */
/* Words, and the objects around them. */
#include "slowapi/chat.h"
#include "base/alloc.h"
#include "base/json.h"
#include <inttypes.h>
#include <jansson.h>

/* None of them needs an escape in JSON. */
static const char *const words[] = {
    "a",      "slow",   "answer", "comes", "word",  "by",    "and",   "every",
    "token",  "takes",  "its",    "time",  "while", "the",   "model", "waits",
    "for",    "nobody", "but",    "you",   "who",   "asked", "so",    "many",
    "things", "that",   "one",    "could", "say",   "now",   "or",    "later",
};

struct chat *chat_new(struct slice model) {
    json_t *json = json_text(model, SIZE_MAX);
    char *text = json != NULL ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
    size_t size = text != NULL ? strlen(text) + 1 : 0;
    struct chat *chat = text != NULL ? mem_calloc(1, sizeof(*chat) + size) : NULL;

    if (chat != NULL)
        memcpy(chat->model, text, size);
    mem_free(text);
    json_decref(json);
    return chat;
}

void chat_free(struct chat *chat) {
    mem_free(chat);
}

nsec_t chat_spend(struct chat *chat, nsec_t pause) {
    pause = nsec_min(pause, chat->left);
    if (chat->left != NSEC_NEVER)
        chat->left -= pause;
    return pause;
}

nsec_t chat_pause(struct chat *chat) {
    return chat_spend(chat, dist_draw(&chat->gap, &chat->rng));
}

static const char *word_of(const struct chat *chat, uint64_t index) {
    struct rng rng = rng_stream(chat->seed, index);

    return words[rng_next(&rng) % ARRAY_LEN(words)];
}

static const char *reason_of(const struct chat *chat) {
    return chat->is_cut ? "length" : "stop";
}

/* The members that all objects of one answer begin with. */
static int append_begin(const struct chat *chat, const char *object, struct buf *out) {
    return buf_printf(out,
                      "{\"id\":\"chatcmpl-%016" PRIx64 "\",\"object\":\"%s\",\"created\":%" PRId64
                      ",\"model\":%s,\"service_tier\":\"default\","
                      "\"system_fingerprint\":\"fp_slowapi\",\"choices\":[",
                      chat->seed, object, chat->created, chat->model);
}

static int append_usage(const struct chat *chat, struct buf *out) {
    return buf_printf(out,
                      "\"usage\":{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64
                      ",\"total_tokens\":%" PRIu64 "}",
                      chat->prompt_tokens, chat->tokens, chat->prompt_tokens + chat->tokens);
}

/* --- the stream ------------------------------------------------------------------------------- */

/* An event with a choice: `delta` is the inside of an object, `reason` JSON. */
static int append_choice(const struct chat *chat, const char *delta, const char *reason,
                         struct buf *out) {
    const char *usage = chat->tells_usage ? ",\"usage\":null" : "";

    int rc = buf_append(out, SLICE("data: "));
    if (rc == 0)
        rc = append_begin(chat, "chat.completion.chunk", out);
    if (rc == 0)
        rc = buf_printf(out,
                        "{\"index\":0,\"delta\":{%s},\"logprobs\":null,\"finish_reason\":%s}]%s}"
                        "\n\n",
                        delta, reason, usage);
    return rc;
}

static int append_end(const struct chat *chat, struct buf *out) {
    char reason[16];

    snprintf(reason, sizeof(reason), "\"%s\"", reason_of(chat));
    int rc = append_choice(chat, "", reason, out);
    if (rc == 0 && chat->tells_usage) {
        rc = buf_append(out, SLICE("data: "));
        if (rc == 0)
            rc = append_begin(chat, "chat.completion.chunk", out);
        if (rc == 0)
            rc = buf_append(out, SLICE("],"));
        if (rc == 0)
            rc = append_usage(chat, out);
        if (rc == 0)
            rc = buf_append(out, SLICE("}\n\n"));
    }
    return rc == 0 ? buf_append(out, SLICE("data: [DONE]\n\n")) : rc;
}

int chat_append_token(const struct chat *chat, uint64_t index, struct buf *out) {
    char delta[48];
    int rc = 0;

    if (index == 0)
        rc = append_choice(chat, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", "null",
                           out);
    snprintf(delta, sizeof(delta), "\"content\":\"%s%s\"", index > 0 ? " " : "",
             word_of(chat, index));
    if (rc == 0)
        rc = append_choice(chat, delta, "null", out);
    return rc == 0 && index + 1 == chat->tokens ? append_end(chat, out) : rc;
}

/* --- one object ------------------------------------------------------------------------------- */

int chat_append_whole(const struct chat *chat, struct buf *out) {
    int rc = append_begin(chat, "chat.completion", out);

    if (rc == 0)
        rc = buf_append(out, SLICE("{\"index\":0,\"message\":{\"role\":\"assistant\","
                                   "\"content\":\""));
    for (uint64_t i = 0; i < chat->tokens && rc == 0; i++)
        rc = buf_printf(out, "%s%s", i > 0 ? " " : "", word_of(chat, i));
    if (rc == 0)
        rc = buf_printf(out,
                        "\",\"refusal\":null,\"annotations\":[]},\"logprobs\":null,"
                        "\"finish_reason\":\"%s\"}],",
                        reason_of(chat));
    if (rc == 0)
        rc = append_usage(chat, out);
    return rc == 0 ? buf_append(out, SLICE("}\n")) : rc;
}
