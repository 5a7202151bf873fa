/* SPDX-License-Identifier: MIT */
/* Reads certificates, keys and authorities, and forgets their text when the context is made. */
#include "net/tls_files.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/safe_path.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1048576 };

/* --- options ---------------------------------------------------------------------------------- */

int tls_files_parse_verify(const char *text, enum tls_verify *ret, struct error *err) {
    static const struct {
        const char *word, *number;
        enum tls_verify verify;
    } words[] = {
        { "none", "0", TLS_VERIFY_NONE },
        { "optional", "1", TLS_VERIFY_OPTIONAL },
        { "required", "2", TLS_VERIFY_REQUIRED },
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i].word) != 0 && strcmp(text, words[i].number) != 0)
            continue;
        *ret = words[i].verify;
        return 0;
    }
    return error_set(err, -EINVAL, "none (0), optional (1) or required (2)");
}

/* ANY for what is no version that is spoken. */
static enum tls_version version_of(struct slice word) {
    if (word.len > 4 && slice_eq_nocase(slice_take(word, 4), SLICE("TLSv")))
        word = slice_drop(word, 4);
    if (slice_eq(word, SLICE("1.2")) || slice_eq(word, SLICE("1_2")))
        return TLS_VERSION_1_2;
    if (slice_eq(word, SLICE("1.3")) || slice_eq(word, SLICE("1_3")))
        return TLS_VERSION_1_3;
    return TLS_VERSION_ANY;
}

int tls_files_parse_versions(const char *text, enum tls_version *ret_min, enum tls_version *ret_max,
                             struct error *err) {
    bool older = false, newer = false, known = true;

    while (known && *text != '\0') {
        size_t len = strcspn(text, ", ");
        enum tls_version version = version_of(slice_of(text, len));

        older |= version == TLS_VERSION_1_2;
        newer |= version == TLS_VERSION_1_3;
        known = len == 0 || version != TLS_VERSION_ANY;
        text += len + (text[len] != '\0');
    }
    if (!known || (!older && !newer))
        return error_set(err, -EINVAL,
                         "TLSv1.2, TLSv1.3 or TLSv1.2,TLSv1.3; there is nothing else");
    *ret_min = older ? TLS_VERSION_1_2 : TLS_VERSION_1_3;
    *ret_max = newer ? TLS_VERSION_1_3 : TLS_VERSION_1_2;
    return 0;
}

int tls_files_check(const struct tls_files *files, struct error *err) {
    size_t certificates = files->certificates.count, keys = files->keys.count;

    if (certificates == 0 && keys > 0)
        return error_set(err, -EINVAL, "--keyfile: needs --certfile");
    if (certificates == 0 && files->responses.count > 0)
        return error_set(err, -EINVAL, "--ocsp-file: needs --certfile");
    if (keys > 0 && keys != certificates)
        return error_set(err, -EINVAL,
                         "--keyfile: given %zu times beside %zu of --certfile; one for each, in "
                         "the same order, or none when each file holds both",
                         keys, certificates);
    return 0;
}

/* --- files ------------------------------------------------------------------------------------ */

/* One after the other, so that a process reads what its options name, and waits for nobody. */
static int read_file(const char *path, struct buf *text, struct error *err) {
    struct error why = { "" };
    struct safe_path at;
    struct stat is;
    int rc = safe_path_find(&at, path, SAFE_PATH_FOLLOW, &why), fd;

    fd = rc == 0 ? safe_path_read(&at, &why) : rc;
    safe_path_close(&at);
    if (fd < 0)
        return error_set(err, fd, "cannot read '%s': %s", path, why.text);
    rc = fstat(fd, &is) < 0 ? -errno : !S_ISREG(is.st_mode) ? -EINVAL : 0;
    if (rc == 0 && is.st_size > FILE_BYTES_MAX)
        rc = -EFBIG;
    if (rc == 0) /* once: what grows leaves copies behind */
        rc = buf_reserve(text, (size_t)is.st_size + 1);
    while (rc == 0 && buf_room(text) > 0) {
        ssize_t n = read(fd, buf_tail(text), buf_room(text));

        if (n > 0)
            buf_added(text, (size_t)n);
        else if (n == 0)
            break;
        else if (errno != EINTR)
            rc = -errno;
    }
    close(fd);
    return rc == 0 ? 0
                   : error_set(err, rc, "cannot read '%s': %s", path,
                               rc == -EINVAL ? "it is no regular file" : strerrordesc_np(-rc));
}

static void forget(struct buf *text) {
    if (text->data != NULL)
        explicit_bzero(text->data, text->cap);
    buf_free(text);
}

/* What was read while a context is made. */
struct tls_texts {
    struct tls_certificate certificates[OPTION_STRINGS_MAX + TLS_FILES_MADE_MAX];
    struct tls_pem responses[OPTION_STRINGS_MAX];
    struct buf chains[OPTION_STRINGS_MAX], keys[OPTION_STRINGS_MAX], trust;
    struct buf response_texts[OPTION_STRINGS_MAX];
};

static int read_pem(const char *path, struct buf *text, struct tls_pem *ret, struct error *err) {
    int rc = read_file(path, text, err);

    *ret = (struct tls_pem){ .name = path, .text = buf_unread(text) };
    return rc;
}

static int read_certificate(const struct tls_files *files, size_t i, struct tls_texts *t,
                            struct error *err) {
    struct tls_certificate *certificate = &t->certificates[i];
    int rc = read_pem(files->certificates.items[i], &t->chains[i], &certificate->chain, err);

    certificate->key = certificate->chain;
    if (rc == 0 && files->keys.count > 0)
        rc = read_pem(files->keys.items[i], &t->keys[i], &certificate->key, err);
    return rc;
}

static struct tls_context *load(const struct tls_files *files, struct slice alpn,
                                struct tls_texts *t, struct error *err) {
    struct tls_config config = {
        .role = files->role,
        .verify = files->verify,
        .version_min = files->version_min,
        .version_max = files->version_max,
        .certificates = t->certificates,
        .certificate_count = files->certificates.count + files->made_count,
        .responses = t->responses,
        .response_count = files->responses.count,
        .ciphers = files->ciphers,
        .alpn = alpn,
        .no_resumption = files->no_resumption,
    };

    for (size_t i = 0; i < files->certificates.count; i++)
        if (read_certificate(files, i, t, err) < 0)
            return NULL;
    for (size_t i = 0; i < files->responses.count; i++)
        if (read_pem(files->responses.items[i], &t->response_texts[i], &t->responses[i], err) < 0)
            return NULL;
    for (size_t i = 0; i < files->made_count; i++)
        t->certificates[files->certificates.count + i] = files->made[i];
    if (files->trust != NULL && files->verify != TLS_VERIFY_NONE &&
        read_pem(files->trust, &t->trust, &config.trust, err) < 0)
        return NULL;
    return tls_context_new(&config, err);
}

struct tls_context *tls_files_load(const struct tls_files *files, struct slice alpn,
                                   struct error *err) {
    struct tls_texts *t = mem_calloc(1, sizeof(*t)); /* large for a stack */
    struct tls_context *context;

    if (t == NULL) {
        error_set(err, -ENOMEM, "TLS: out of memory");
        return NULL;
    }
    for (size_t i = 0; i < OPTION_STRINGS_MAX; i++) {
        buf_init(&t->chains[i], FILE_BYTES_MAX + 1);
        buf_init(&t->keys[i], FILE_BYTES_MAX + 1);
        buf_init(&t->response_texts[i], FILE_BYTES_MAX + 1);
    }
    buf_init(&t->trust, FILE_BYTES_MAX + 1);
    context = load(files, alpn, t, err);
    for (size_t i = 0; i < OPTION_STRINGS_MAX; i++) {
        forget(&t->chains[i]);
        forget(&t->keys[i]);
        buf_free(&t->response_texts[i]);
    }
    forget(&t->trust);
    mem_free(t);
    return context;
}
