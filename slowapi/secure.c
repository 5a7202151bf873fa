/* SPDX-License-Identifier: MIT */
/* Makes certificates that are good, and such that are not, and stops handshakes where a fault is to
 * strike: between the connection and its TLS stands a wire that holds bytes back. */
#include "slowapi/secure.h"
#include "base/alloc.h"
#include "base/log.h"
#include "net/tls_make.h"
#include "net/watch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LIFE_S = 397 * 86400, /* the longest that all clients take */
    NAMES_BYTES = 512,
    HEADER_BYTES = 5, /* before a record: its type, version and length, RFC 8446 section 5.1 */
};

/* --- certificates ----------------------------------------------------------------------------- */

static const enum fault_kind kinds[SLOW_CERTIFICATES] = {
    [SLOW_GOOD] = FAULT_KINDS,
    [SLOW_EXPIRED] = FAULT_TLS_EXPIRED,
    [SLOW_SELF_SIGNED] = FAULT_TLS_SELF_SIGNED,
    [SLOW_WRONG_NAME] = FAULT_TLS_WRONG_NAME,
};

/* What is made at the start, and forgotten when the contexts have it. */
struct pki {
    char names[NAMES_BYTES];
    struct tls_made authority, made[SLOW_CERTIFICATES];
    struct tls_certificate by_name[SLOW_WRONG_NAME]; /* those that clients can ask for */
};

/* The name of the machine may be any text. */
static void add_host_name(char *names, size_t size) {
    char host[128] = "";

    if (gethostname(host, sizeof(host) - 1) < 0)
        return;
    size_t len = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.");
    if (len > 0 && host[len] == '\0' && strcmp(host, "localhost") != 0)
        snprintf(names + strlen(names), size - strlen(names), ",DNS:%s", host);
}

static int make_one(struct pki *pki, enum slow_secure_certificate kind, struct error *err) {
    struct tls_make want = {
        .common_name = "localhost",
        .names = pki->names,
        .begins_s = -3600,
        .ends_s = LIFE_S,
        .issuer = kind != SLOW_SELF_SIGNED ? &pki->authority.certificate : NULL,
    };
    char names[NAMES_BYTES + FAULT_TEXT_BYTES];

    if (kind != SLOW_GOOD) { /* by its own name, too */
        snprintf(names, sizeof(names), "%s,DNS:%s.localhost", pki->names,
                 fault_infos[kinds[kind]].name.ptr);
        want.names = names;
    }
    if (kind == SLOW_EXPIRED) {
        want.begins_s = -30 * 86400;
        want.ends_s = -86400;
    }
    if (kind == SLOW_WRONG_NAME) {
        want.common_name = "wrong.example";
        want.names = "DNS:wrong.example";
    }
    return tls_make(&want, &pki->made[kind], err);
}

static int make_all(struct pki *pki, struct error *err) {
    const struct tls_make want = {
        .common_name = "srv slowapi",
        .begins_s = -60 * 86400, /* longer ago than that of the one that has expired */
        .ends_s = LIFE_S,
        .is_authority = true,
    };

    snprintf(pki->names, sizeof(pki->names), "DNS:localhost,IP:127.0.0.1,IP:::1");
    add_host_name(pki->names, sizeof(pki->names));
    int rc = tls_make(&want, &pki->authority, err);
    for (int i = 0; i < SLOW_CERTIFICATES && rc == 0; i++)
        rc = make_one(pki, (enum slow_secure_certificate)i, err);
    return rc;
}

static void forget_all(struct pki *pki) {
    tls_made_free(&pki->authority);
    for (size_t i = 0; i < SLOW_CERTIFICATES; i++)
        tls_made_free(&pki->made[i]);
}

static int write_authority(const struct pki *pki, const char *path, struct error *err) {
    struct slice text = pki->authority.certificate.chain.text;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool written = fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len;
    int rc = written ? 0 : -errno;

    if (fd >= 0)
        close(fd);
    return rc == 0 ? 0
                   : error_set(err, rc, "--tls-ca-out: cannot write '%s': %s", path,
                               strerrordesc_np(-rc));
}

/* --- contexts --------------------------------------------------------------------------------- */

/* The good certificate, then those that a client can ask for by name; all others get the first. */
static int load_good(struct slow_secure *s, struct pki *pki, const struct tls_files *files,
                     struct error *err) {
    bool has_own = files->certificates.count > 0;
    struct tls_files good = *files;

    for (int i = SLOW_GOOD; i < SLOW_WRONG_NAME; i++)
        pki->by_name[i] = pki->made[i].certificate;
    good.made = pki->by_name + has_own;
    good.made_count = SLOW_WRONG_NAME - (size_t)has_own;
    s->contexts[SLOW_GOOD] = tls_files_load(&good, TLS_ALPN_HTTP, err);
    good.no_resumption = true;
    if (s->contexts[SLOW_GOOD] != NULL)
        s->unresumed = tls_files_load(&good, TLS_ALPN_HTTP, err);
    return s->unresumed != NULL ? 0 : -EINVAL;
}

static int load_all(struct slow_secure *s, struct pki *pki, const struct tls_files *files,
                    struct error *err) {
    struct tls_files faulty = *files;
    int rc = load_good(s, pki, files, err);

    faulty.certificates.count = faulty.keys.count = 0;
    faulty.made_count = 1;
    faulty.no_resumption = true;
    for (int i = SLOW_EXPIRED; i < SLOW_CERTIFICATES && rc == 0; i++) {
        faulty.made = &pki->made[i].certificate;
        s->contexts[i] = tls_files_load(&faulty, TLS_ALPN_HTTP, err);
        rc = s->contexts[i] != NULL ? 0 : -EINVAL;
    }
    return rc;
}

int slow_secure_make(struct slow_secure *s, const struct tls_files *files, const char *ca_out,
                     struct error *err) {
    struct pki *pki = mem_calloc(1, sizeof(*pki)); /* large for a stack */

    if (pki == NULL)
        return error_set(err, -ENOMEM, "TLS: out of memory");
    int rc = make_all(pki, err);
    if (rc == 0)
        rc = load_all(s, pki, files, err);
    if (rc == 0 && ca_out != NULL)
        rc = write_authority(pki, ca_out, err);
    forget_all(pki);
    mem_free(pki);
    return rc;
}

void slow_secure_free(struct slow_secure *s) {
    for (size_t i = 0; i < SLOW_CERTIFICATES; i++)
        tls_context_unref(s->contexts[i]);
    tls_context_unref(s->unresumed);
}

/* --- faults of a handshake -------------------------------------------------------------------- */

/*   client   hello |                                   | finished
 *   server         | hello | certificate ... finished  |          | ...
 *                  ^       ^                                      ^
 *             AT_HELLO     AT_CERTIFICATE                    AT_FINISHED
 */
struct slow_secure_faults {
    struct tls_wire_ops ops;          /* instead of those of the watch */
    const struct tls_wire_ops *under; /* those of the watch */
    struct fault *due;
    size_t sent, hello_bytes; /* in all; the record with the server's hello */
    bool heard;               /* the client has answered */
    size_t count;
    struct fault list[];
};

/* The ops are a member, and OpenSSL's side keeps a const pointer to them. */
static struct slow_secure_faults *faults_of(const struct watch *w) {
    uintptr_t ops = (uintptr_t)w->tls->wire.ops;

    return (struct slow_secure_faults *)(ops - offsetof(struct slow_secure_faults, ops));
}

static struct fault *next_at(struct slow_secure_faults *f, enum fault_place place) {
    for (size_t i = 0; i < f->count; i++)
        if (f->list[i].place == place && !f->list[i].done)
            return &f->list[i];
    return NULL;
}

static ssize_t recv_until(void *arg, void *data, size_t size) {
    struct slow_secure_faults *f = faults_of(arg);
    ssize_t n = f->under->recv(arg, data, size);

    if (n > 0 && f->sent > f->hello_bytes)
        f->heard = true;
    return n;
}

static size_t record_bytes(const unsigned char *record, size_t size) {
    size_t len = size >= HEADER_BYTES ? HEADER_BYTES + ((size_t)record[3] << 8) + record[4] : size;

    return len < size ? len : size;
}

/* Sends up to the next place. At a place with a fault that has not struck it sends nothing: the
 * handshake waits as for a socket that is full. */
static ssize_t send_until(void *arg, const void *data, size_t size) {
    struct slow_secure_faults *f = faults_of(arg);

    if (f->sent == 0) {
        f->hello_bytes = record_bytes(data, size);
        f->due = next_at(f, FAULT_AT_HELLO);
    } else if (f->sent == f->hello_bytes) {
        f->due = next_at(f, FAULT_AT_CERTIFICATE);
    } else if (f->heard) {
        f->due = next_at(f, FAULT_AT_FINISHED);
    }
    if (f->due != NULL)
        return -EAGAIN;
    if (f->sent < f->hello_bytes && f->hello_bytes - f->sent < size)
        size = f->hello_bytes - f->sent;
    ssize_t n = f->under->send(arg, data, size);
    if (n > 0)
        f->sent += (size_t)n;
    return n;
}

static bool is_certificate(const struct fault *fault, enum slow_secure_certificate *ret) {
    for (int i = SLOW_EXPIRED; i < SLOW_CERTIFICATES; i++) {
        if (kinds[i] != fault->kind)
            continue;
        *ret = (enum slow_secure_certificate)i;
        return true;
    }
    return false;
}

int slow_secure_open(const struct slow_secure *s, struct watch *w, const struct fault *list,
                     size_t count, struct slow_secure_faults **ret_faults) {
    enum slow_secure_certificate certificate, shown = SLOW_GOOD;
    struct slow_secure_faults *f =
        count > 0 ? mem_calloc(1, sizeof(*f) + count * sizeof(list[0])) : NULL;
    struct tls *t;

    if (count > 0 && f == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) { /* of several certificates the first is shown */
        bool is_one = is_certificate(&list[i], &certificate);

        if (is_one && shown != SLOW_GOOD)
            continue;
        if (is_one)
            shown = certificate;
        f->list[f->count++] = list[i];
    }
    if (tls_new(count > 0 && shown == SLOW_GOOD ? s->unresumed : s->contexts[shown], NULL, &t) <
        0) {
        mem_free(f);
        return -ENOMEM;
    }
    watch_secure(w, t);
    if (f != NULL) {
        f->ops = (struct tls_wire_ops){ recv_until, send_until };
        f->under = t->wire.ops;
        t->wire.ops = &f->ops;
    }
    *ret_faults = f;
    return 0;
}

int slow_secure_step(struct watch *w, struct slow_secure_faults *f, struct fault **ret_due) {
    int rc = watch_handshake(w);

    *ret_due = NULL;
    if (f == NULL)
        return rc;
    if (rc == 0)
        f->due = next_at(f, FAULT_AT_FINISHED);
    *ret_due = f->due;
    f->due = NULL;
    return rc;
}

enum fault_kind slow_secure_asked(const struct tls *t) {
    struct tls_facts facts;

    tls_describe(t, &facts);
    struct slice name = slice_str(facts.server_name), end = SLICE(".localhost");
    if (facts.resumed || name.len <= end.len ||
        !slice_eq_nocase(slice_drop(name, name.len - end.len), end))
        return FAULT_KINDS;
    for (int i = SLOW_EXPIRED; i < SLOW_CERTIFICATES; i++)
        if (slice_eq_nocase(slice_take(name, name.len - end.len), fault_infos[kinds[i]].name))
            return kinds[i];
    return FAULT_KINDS;
}

void slow_secure_leave(struct watch *w, struct slow_secure_faults *faults) {
    struct tls *t = w->tls;

    if (t == NULL)
        return;
    watch_secure(w, NULL);
    tls_free(t);
    mem_free(faults);
}

/* --- a record that is cut --------------------------------------------------------------------- */

static ssize_t no_recv(void *arg UNUSED, void *data UNUSED, size_t size UNUSED) {
    return -EAGAIN;
}

static ssize_t send_half(void *arg, const void *data, size_t size) {
    const struct watch *w = arg;
    ssize_t n = socket_send(w->fd, data, size / 2);

    return n < 0 ? n : (ssize_t)size;
}

void slow_secure_cut(struct watch *w) {
    static const struct tls_wire_ops half = { no_recv, send_half };
    static const char filling[64];

    w->tls->wire.ops = &half;
    if (tls_send(w->tls, filling, sizeof(filling)) < 0)
        log_write(LOG_LEVEL_DEBUG, "cannot cut a record error=\"%s\"", tls_reason(w->tls));
}
