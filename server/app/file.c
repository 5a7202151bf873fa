/* SPDX-License-Identifier: MIT */
/* Answers with files: what the socket does not take at once is sent by whoever sends the rest of
 * answers, never by the handler. */
#include "base/safe_path.h"
#include "http/media_type.h"
#include "http/select.h"
#include "server/app/request.h"
#include "server/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- finding it ---------------------------------------------------------- */

static int refuse(struct srv_request *rq, int rc) {
    switch (-rc) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case EXDEV: /* a way out of its folder */
    case EINVAL:
        return srv_fail(rq, 404, "not found");
    case EACCES:
    case EPERM:
        return srv_fail(rq, 403, "the file may not be read");
    case EMFILE:
    case ENFILE:
        return srv_fail(rq, 503, "this server is short of descriptors");
    default:
        rq->detail = request_format(rq, "error=\"%s\"", strerrordesc_np(-rc));
        return srv_fail(rq, 500, "the file cannot be read");
    }
}

/* --- the answer ---------------------------------------------------------- */

/* A file, and the part of it that is sent. */
struct file_reply {
    int fd; /* owned */
    uint16_t status;
    struct stat is;
    uint64_t from, to;
    struct slice type;
};

/* Selects by the conditions and the range of the request, and says so in fields. */
static void select_part(struct srv_request *rq, struct file_reply *r) {
    const struct http_head *head = &rq->session->head;
    uint64_t size = (uint64_t)r->is.st_size;
    uint64_t changed =
        (uint64_t)r->is.st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)r->is.st_mtim.tv_nsec;
    struct http_state state = { .modified = r->is.st_mtim.tv_sec, .size = size };
    char etag[48], date[HTTP_DATE_BYTES], range[80];

    snprintf(etag, sizeof(etag), "\"%jx-%jx\"", (uintmax_t)changed, (uintmax_t)size);
    state.etag = slice_str(etag);
    http_date(state.modified, date);
    srv_set(rq, "ETag", etag);
    srv_set(rq, "Last-Modified", date);
    srv_set(rq, "Accept-Ranges", "bytes");
    r->status = http_select(head, &state, &r->from, &r->to);
    if (r->status == 206)
        snprintf(range, sizeof(range), "bytes %ju-%ju/%ju", (uintmax_t)r->from,
                 (uintmax_t)r->to - 1, (uintmax_t)size);
    else if (r->status == 416)
        snprintf(range, sizeof(range), "bytes */%ju", (uintmax_t)size);
    else
        return;
    srv_set(rq, "Content-Range", range);
}

static int send_part(struct srv_request *rq, const struct file_reply *r) {
    struct session *s = rq->session;
    uint64_t length = r->to - r->from;
    bool sends_body;
    int rc = request_head(rq, r->status, r->type, &length, &sends_body);

    if (rc < 0 || !sends_body) {
        close(r->fd);
        return rc;
    }
    s->body_bytes = length;
    s->file = (struct file_part){ .fd = r->fd, .at = (off_t)r->from, .left = length };
    rc = file_part_read(&s->file, &s->out, SERVER_STREAM_BYTES); /* with the head, as one piece */
    if (s->file.left == 0)
        file_part_close(&s->file);
    return rc;
}

static int reply_without(struct srv_request *rq, const struct file_reply *r) {
    close(r->fd);
    if (r->status == 304)
        return request_reply(rq, r->status, SLICE(""), SLICE(""));
    return request_reply(rq, r->status, SLICE("text/plain"),
                         r->status == 416 ? SLICE("the range is beyond the end\n")
                                          : SLICE("the file has changed\n"));
}

static int reply_opened(struct srv_request *rq, int status, struct file_reply *r,
                        const char *path) {
    enum http_method method = rq->session->head.method;

    r->to = (uint64_t)r->is.st_size;
    r->status = (uint16_t)status;
    r->type = rq->content_type.ptr != NULL ? rq->content_type : http_media_type_of(path);
    if (status == 200 && (method == HTTP_METHOD_GET || method == HTTP_METHOD_HEAD))
        select_part(rq, r);
    if (rq->failed < 0) {
        close(r->fd);
        return rq->failed;
    }
    if (r->status == 304 || r->status == 412 || r->status == 416)
        return reply_without(rq, r);
    return send_part(rq, r);
}

static int reply_path(struct srv_request *rq, int status, int folder, const char *path,
                      uint64_t resolve) {
    struct file_reply r = { .from = 0 };

    if (rq->is_part)
        return srv_fail(rq, 500, "a part of a request cannot answer");
    if (status < 200 || status > 599)
        return srv_fail(rq, 500, "the handler answered with status %d", status);
    r.fd = safe_path_open_regular(folder, path, resolve, &r.is);
    return r.fd < 0 ? refuse(rq, r.fd) : reply_opened(rq, status, &r, path);
}

static int answered_already(const struct srv_request *rq) {
    return rq->failed < 0 ? rq->failed : rq->session->http.answered ? -EALREADY : 0;
}

int srv_reply_file(struct srv_request *rq, int status, const char *path) {
    int rc = answered_already(rq);

    return rc < 0 ? rc : reply_path(rq, status, AT_FDCWD, path, 0);
}

int srv_reply_below(struct srv_request *rq, const char *folder, const char *path) {
    int rc = answered_already(rq), fd;

    if (rc < 0)
        return rc;
    fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        rc = -errno;
        return rc == -ENOENT || rc == -ENOTDIR ? srv_fail(rq, 500, "there is no folder of files")
                                               : refuse(rq, rc);
    }
    path += strspn(path, "/");
    rc = *path != '\0' ? reply_path(rq, 200, fd, path, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
                       : refuse(rq, -ENOENT);
    close(fd);
    return rc;
}
