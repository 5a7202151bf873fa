/* SPDX-License-Identifier: MIT */
/* One request, straight-line, over the blocking io. */
#include "playground/answer.h"
#include "fiber/io.h"
#include "http/url.h"
#include <errno.h>
#include <stdio.h>

#define PROXY_PATIENCE (5 * NSEC_PER_SEC)

#define STATUS_LINE_BYTES 13 /* "HTTP/1.1 200 " */

int answer_address(const char *url, struct address *ret) {
    struct http_url parts;
    const char *why;
    int rc = http_url_parse(slice_str(url), &parts, &why);
    if (rc != 0)
        return rc;
    struct endpoint endpoint = { .host = parts.host, .port = parts.port };
    return address_of_endpoint(&endpoint, false, ret);
}

static int exchange(struct io *io, int fd, const char *host, int *ret_status, nsec_t deadline) {
    char request[256], head[STATUS_LINE_BYTES + 1];
    int len = snprintf(request, sizeof(request),
                       "GET /?delay=0 HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
    int rc = io_write_all(io, fd, request, (size_t)len, deadline);
    size_t have = 0;
    while (rc == 0 && have < STATUS_LINE_BYTES) {
        ssize_t n = io_read(io, fd, head + have, STATUS_LINE_BYTES - have, deadline);
        if (n <= 0)
            return n == 0 ? -ECONNRESET : (int)n;
        have += (size_t)n;
    }
    if (rc != 0)
        return rc;
    head[have] = '\0';
    return sscanf(head, "HTTP/1.%*1d %3d", ret_status) == 1 ? 0 : -EPROTO;
}

static int ask(const char *url, struct io *io, nsec_t deadline, int *ret_status,
               struct error *err) {
    struct address address;
    char host[ADDRESS_TEXT_BYTES];
    int rc = answer_address(url, &address);
    if (rc != 0)
        return error_set(err, rc, "'%s' is not an address that can be loaded", url);

    int fd = io_connect(io, &address, deadline);
    if (fd < 0)
        return error_set(err, fd, "cannot connect to %s: %s", url, strerror(-fd));
    rc = exchange(io, fd, address_format(&address, host), ret_status, deadline);
    io_close(io, fd);
    return rc != 0 ? error_set(err, rc, "%s does not answer: %s", url, strerror(-rc)) : 0;
}

/* A proxy may be up before the server behind it: it says 502 until then. */
int answer_expect(const char *url, int wanted, int cancel_fd, nsec_t deadline, struct error *err) {
    nsec_t patience = nsec_min(deadline, deadline_after(clock_now(), PROXY_PATIENCE));
    struct io_block block;
    int status = 0, rc;

    io_block_init(&block, cancel_fd);
    while ((rc = ask(url, &block.io, deadline, &status, err)) == 0 && status == 502 &&
           clock_now() < patience) {
        rc = io_sleep(&block.io, deadline_after(clock_now(), 50 * NSEC_PER_MSEC));
        if (rc != 0)
            return error_set(err, rc, "interrupted");
    }
    if (rc == 0 && status != wanted)
        return error_set(err, -EPROTO, "%s answers %d to the first request", url, status);
    return rc;
}
