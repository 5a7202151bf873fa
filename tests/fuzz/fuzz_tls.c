/* SPDX-License-Identifier: MIT */
/* The server's side of a TLS handshake: whatever comes, it answers, waits or refuses, and says
 * which. What it says does not depend on the pieces in which the bytes arrive. */
#include "net/tls.h"
#include "net/tls_make.h"
#include "tests/fuzz/fuzz.h"
#include <errno.h>

struct stranger {
    struct slice steps, left;
    size_t turn;
    bool whole, pauses;
};

static ssize_t stranger_says(void *arg, void *data, size_t size) {
    struct stranger *s = arg;
    size_t n = s->whole ? s->left.len : fuzz_step(s->steps, s->turn++);

    s->pauses = !s->pauses;
    if (s->pauses && !s->whole)
        return -EAGAIN;
    n = n < s->left.len ? n : s->left.len;
    n = n < size ? n : size;
    if (n > 0)
        memcpy(data, s->left.ptr, n);
    s->left = slice_drop(s->left, n);
    return (ssize_t)n;
}

static ssize_t stranger_hears(void *arg, const void *data, size_t size) {
    (void)arg;
    (void)data;
    return (ssize_t)size;
}

static const struct tls_wire_ops stranger_wire = { stranger_says, stranger_hears };

static struct tls_context *make_context(void) {
    struct tls_made made;
    struct error err;
    const struct tls_make want = { .common_name = "localhost", .names = "DNS:localhost" };

    ASSERT(tls_make(&want, &made, &err) == 0);
    const struct tls_config config = { .role = TLS_SERVER,
                                       .certificates = &made.certificate,
                                       .certificate_count = 1,
                                       .alpn = TLS_ALPN_HTTP };
    struct tls_context *context = tls_context_new(&config, &err);
    ASSERT(context != NULL);
    tls_made_free(&made);
    return context;
}

/* Until the bytes end or are refused: the state, and what the last call returned. */
static int serve(struct tls_context *context, struct stranger *s, enum tls_state *ret_state) {
    struct tls *t;
    char text[256];
    int rc;

    ASSERT(tls_new(context, NULL, &t) == 0);
    tls_attach(t, &stranger_wire, s);
    do
        rc = (int)tls_recv(t, text, sizeof(text));
    while (rc == -EAGAIN || rc > 0);
    ASSERT(rc == -EPROTO || rc == -ENODATA || rc == 0);
    ASSERT(rc == 0 || tls_reason(t)[0] != '\0');
    ASSERT(tls_recv(t, text, sizeof(text)) == rc); /* it stays */
    *ret_state = (enum tls_state)t->state;
    tls_free(t);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tls_context *context; /* made once: fuzzers are one thread */
    struct slice input = slice_of((const char *)data, size);
    struct slice steps = fuzz_cut_steps(&input);
    struct stranger in_pieces = { .steps = steps, .left = input };
    struct stranger at_once = { .left = input, .whole = true };
    enum tls_state states[2];

    if (context == NULL)
        context = make_context();
    int rc = serve(context, &at_once, &states[0]);
    ASSERT(serve(context, &in_pieces, &states[1]) == rc);
    ASSERT(states[0] == states[1]);
    return 0;
}
