/* SPDX-License-Identifier: MIT */
/* The certificates of a server, or of a client, in files, as its options name them. They are read
 * as a whole, by whom the process is then: before privileges are dropped, a key may be one that
 * only root can read. Nothing of a file is kept but the context. */
#ifndef NET_TLS_FILES_H
#define NET_TLS_FILES_H

#include "base/option.h"
#include "net/tls_context.h"

#define TLS_FILES_MADE_MAX 8

struct tls_files {
    enum tls_role role; /* a client has one certificate at most, for servers that ask for it */
    struct option_strings certificates; /* paths of chains in PEM, the server's own first */
    struct option_strings keys; /* paths, one for each certificate; none: keys stand with them */
    struct option_strings responses; /* paths: a server's tls_config.responses */
    const char *trust;      /* path of the authorities of peers; NULL: those of the system */
    const char *ciphers;    /* openssl-ciphers(1); NULL: OpenSSL's */
    enum tls_verify verify; /* of peers */
    enum tls_version version_min, version_max;
    const struct tls_certificate *made; /* in memory, behind those of files */
    size_t made_count;                  /* at most TLS_FILES_MADE_MAX */
    bool no_resumption;                 /* every handshake is a full one */
};

/* Parsers of options. 0 or -EINVAL with what is allowed. */

/* none, optional or required, or the numbers 0, 1 and 2 for them. */
NODISCARD int tls_files_parse_verify(const char *text, enum tls_verify *ret, struct error *err);

/* TLSv1.2 and TLSv1.3, one or both, separated by commas or spaces; TLSv1_2 and 1.2 are as good. */
NODISCARD int tls_files_parse_versions(const char *text, enum tls_version *ret_min,
                                       enum tls_version *ret_max, struct error *err);

/* Whether the options fit each other, without a look at files: 0, or -EINVAL with a line that
 * begins with the option. */
NODISCARD int tls_files_check(const struct tls_files *files, struct error *err);

/* Reads all and makes a context that speaks `alpn`: the caller's. NULL with a reason that names the
 * file. */
NODISCARD struct tls_context *tls_files_load(const struct tls_files *files, struct slice alpn,
                                             struct error *err);

#endif
