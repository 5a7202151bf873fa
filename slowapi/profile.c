/* SPDX-License-Identifier: MIT */
/* The profiles. */
#include "slowapi/profile.h"

const struct profile profiles[] = {
    { SLICE_INIT("db"), "delay=0&workers=20&service=lognormal:4ms,60ms&queue=200",
      "a database behind a pool of 20: fast while it keeps up, 503 when 200 wait" },
    { SLICE_INIT("s3"), "delay=p50=25ms,p95=90ms,p99=250ms,p100=2s&status=503:0.1",
      "an object store: a long tail, and a rare 503" },
    { SLICE_INIT("payment"), "delay=lognormal:300ms,2s&status=502:0.5,429:0.5&fault=hang=30s:0.1",
      "a card processor: slow, sometimes rate limited, once in a while stuck" },
    { SLICE_INIT("flaky"),
      "delay=lognormal:20ms,200ms&status=503:5&fault=rst@head:2,truncate@50%:1,stale:2",
      "a service that fails in every common way" },
    { SLICE_INIT("brownout"), "delay=20ms-40ms&pause=every=30s,for=5s,status=503",
      "half a minute is fine but for its last 5 s, which are all 503" },
    { SLICE_INIT("gc-pause"), "delay=5ms&pause=every=10s,for=400ms",
      "everything stands still for 400 ms every 10 s" },
    { SLICE_INIT("cold-start"), "delay=20ms&warmup=30s:20",
      "20 times slower at the start, normal after 30 s" },
    { SLICE_INIT("llm"),
      "ttft=lognormal:350ms,1.5s&gap=lognormal:20ms,80ms&tokens=lognormal:150,600&tpm=200000",
      "a language model: /v1/chat/completions speaks token by token, and each key has a budget" },
};

const size_t profile_count = ARRAY_LEN(profiles);

const struct profile *profile_find(struct slice name) {
    for (size_t i = 0; i < ARRAY_LEN(profiles); i++)
        if (slice_eq(profiles[i].name, name))
            return &profiles[i];
    return NULL;
}
