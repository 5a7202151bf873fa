/* SPDX-License-Identifier: MIT */
/* The paths of OpenAI's API that a slow model is asked at: /v1/chat/completions and /v1/models.
 * Each fills in an answer, as struct route says. */
#ifndef SLOWAPI_OPENAI_H
#define SLOWAPI_OPENAI_H

#include "slowapi/reply.h"
#include "slowapi/request.h"

NODISCARD int openai_chat(struct reply *reply, const struct spec *spec,
                          const struct slow_request *request, struct error *why);
NODISCARD int openai_models(struct reply *reply, const struct spec *spec,
                            const struct slow_request *request, struct error *why);
NODISCARD int openai_model(struct reply *reply, const struct spec *spec,
                           const struct slow_request *request, struct error *why);

#endif
