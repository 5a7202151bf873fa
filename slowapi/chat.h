/* SPDX-License-Identifier: MIT */
/* The answer of a chat model, in the shape of OpenAI's chat completions: as one object, or as
 * server-sent events, one for each token. What it says depends on its seed alone. */
#ifndef SLOWAPI_CHAT_H
#define SLOWAPI_CHAT_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/dist.h"

struct chat {
    struct dist gap; /* between two tokens */
    struct rng rng;  /* draws the gaps */
    nsec_t longest;  /* from the begin of the answer to its last token, as the laws name it */
    nsec_t left;     /* time that all pauses may still take; NSEC_NEVER: any */
    uint64_t seed, prompt_tokens, tokens; /* tokens: 1 to SLOWAPI_TOKENS_MAX */
    int64_t created;                      /* seconds since 1970 */
    bool is_cut;                          /* the model would have said more */
    bool tells_usage;                     /* at the end of the stream */
    char model[];                         /* JSON, with its quotes */
};

/* `model` is any text. NULL when out of memory. */
NODISCARD struct chat *chat_new(struct slice model);
void chat_free(struct chat *chat); /* NULL-safe */

/* The pause before the next token. */
nsec_t chat_pause(struct chat *chat);

/* Cuts a pause to the time that all of them may take. */
nsec_t chat_spend(struct chat *chat, nsec_t pause);

/* Appends the events of token `index`, from 0: before the first one the event that names the role,
 * behind the last one those that end the stream. What stands together is sent at once, as nothing
 * has to be waited for. 0, or as buf_append. */
NODISCARD int chat_append_token(const struct chat *chat, uint64_t index, struct buf *out);

/* Appends the whole answer as one object. As chat_append_token. */
NODISCARD int chat_append_whole(const struct chat *chat, struct buf *out);

#endif
