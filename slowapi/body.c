/* SPDX-License-Identifier: MIT */
/* Chooses bodies, replaces placeholders in them, and codes them. */
#include "slowapi/body.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/safe_path.h"
#include "http/coding.h"
#include "http/media_type.h"
#include "http/url.h"
#include "slowapi/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* --- files ------------------------------------------------------------------------------------ */

int body_open_files(const char *path, struct error *why) {
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 ? fd
                   : error_set(why, -errno, "cannot open the folder '%s' of --files: %s", path,
                               strerrordesc_np(errno));
}

static const char *reason_of(int rc) {
    switch (-rc) {
    case EXDEV:
        return "leads out of the folder";
    case ELOOP:
        return "is or goes through a symbolic link";
    case ENOENT:
    case ENOTDIR:
        return "is not there, or no regular file";
    default:
        return strerrordesc_np(-rc);
    }
}

static bool has_dotdot(struct slice path) {
    while (path.len > 0)
        if (slice_eq(slice_cut(&path, '/'), SLICE("..")))
            return true;
    return false;
}

/* Links lead nowhere: neither those of symlink(2), nor those of procfs. A descriptor or -EINVAL. */
static int open_file(int files, const char *path, struct stat *ret_is, struct error *why) {
    int fd = files;

    if (files < 0)
        return error_set(why, -EINVAL, "body-file=%s needs --files DIR", path);
    fd = has_dotdot(slice_str(path))
             ? -EXDEV
             : safe_path_open_regular(files, path,
                                      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
                                      ret_is);
    if (fd < 0)
        return error_set(why, -EINVAL, "body-file=%s %s; allowed: a path below --files", path,
                         reason_of(fd));
    if ((uint64_t)ret_is->st_size <= SLOWAPI_SIZE_MAX)
        return fd;
    close(fd);
    return error_set(why, -EINVAL, "body-file=%s is longer than 1g", path);
}

/* NULL when out of memory, or with errno set when it could not be read. */
static char *read_file(int fd, size_t size) {
    char *text = mem_alloc(size + 1);
    size_t len = 0;

    errno = ENOMEM;
    while (text != NULL && len < size) {
        ssize_t n = pread(fd, text + len, size - len, (off_t)len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO; /* the file has become shorter */
            mem_free(text);
            return NULL;
        }
        len += (size_t)n;
    }
    if (text != NULL)
        text[size] = '\0';
    return text;
}

/* --- placeholders ----------------------------------------------------------------------------- */

enum placeholder_kind {
    OF_QUERY,
    OF_HEADER,
    OF_JSON,
    OF_BODY,
    OF_METHOD,
    OF_PATH,
    OF_SEQ,
    OF_NOW,
    OF_UUID,
};

static const struct {
    struct slice name; /* with a dot at its end it takes the rest as its argument */
    enum placeholder_kind kind;
} placeholders[] = {
    { SLICE_INIT("query."), OF_QUERY },  { SLICE_INIT("header."), OF_HEADER },
    { SLICE_INIT("json."), OF_JSON },    { SLICE_INIT("body"), OF_BODY },
    { SLICE_INIT("method"), OF_METHOD }, { SLICE_INIT("path"), OF_PATH },
    { SLICE_INIT("seq"), OF_SEQ },       { SLICE_INIT("now"), OF_NOW },
    { SLICE_INIT("uuid"), OF_UUID },
};

#define PLACEHOLDERS "query.NAME, header.NAME, json.PATH, body, method, path, seq, now, uuid"

struct placeholder {
    enum placeholder_kind kind;
    struct slice argument;
};

static bool parse_placeholder(struct slice text, struct placeholder *ret) {
    text = slice_trim(text);
    for (size_t i = 0; i < ARRAY_LEN(placeholders); i++) {
        struct slice name = placeholders[i].name;
        bool takes_more = name.ptr[name.len - 1] == '.';
        if (takes_more ? !slice_starts_with(text, name) || text.len == name.len
                       : !slice_eq(text, name))
            continue;
        *ret = (struct placeholder){ placeholders[i].kind, slice_drop(text, name.len) };
        return true;
    }
    return false;
}

static size_t find_pair(struct slice text, char c) {
    for (size_t i = 0; i + 1 < text.len; i++)
        if (text.ptr[i] == c && text.ptr[i + 1] == c)
            return i;
    return text.len;
}

/* Cuts the text of that parameter behind its next placeholder; *ret_before stands before it. 1, 0
 * when none is left, or -EINVAL. */
static int next_placeholder(const char *name, struct slice *rest, struct slice *ret_before,
                            struct placeholder *ret, struct error *why) {
    size_t at = find_pair(*rest, '{');
    struct slice inner = slice_drop(*rest, at + 2);
    size_t end = find_pair(inner, '}');
    struct slice text = slice_take(inner, end);

    *ret_before = slice_take(*rest, at);
    if (at == rest->len) {
        *rest = SLICE("");
        return 0;
    }
    if (end == inner.len)
        return error_set(why, -EINVAL, "%s has {{ without }}%s", name,
                         name[0] == 'b' ? "; template=false sends it as it is" : "");
    if (!parse_placeholder(text, ret))
        return error_set(why, -EINVAL, "%s has {{%.*s}}; allowed: " PLACEHOLDERS, name,
                         (int)(text.len < 64 ? text.len : 64), text.ptr);
    *rest = slice_drop(inner, end + 2);
    return 1;
}

/* Finds out what the placeholders need. 0 or -EINVAL. */
static int scan(struct slice rest, struct body_wants *ret, struct error *why) {
    struct placeholder found;
    struct slice before;
    int rc;

    while ((rc = next_placeholder("body", &rest, &before, &found, why)) > 0) {
        ret->body |= found.kind == OF_JSON || found.kind == OF_BODY;
        ret->number |= found.kind == OF_SEQ;
    }
    return rc;
}

/* --- a template over a request ---------------------------------------------------------------- */

/* Styles of values, by the type of the body, in which they stay values. */
enum value_style { AS_TEXT, IN_JSON_STRING, IN_MARKUP };

struct render {
    const struct slow_request *request;
    struct reply *reply;
    enum value_style style;
    bool is_parsed; /* the request's body, as JSON */
    json_t *json;   /* NULL: it is none */
    struct buf out;
};

static bool ends_with(struct slice s, struct slice end) {
    return s.len >= end.len && slice_eq_nocase(slice_drop(s, s.len - end.len), end);
}

static enum value_style style_of(const char *type) {
    struct slice rest = slice_str(type), name = slice_trim(slice_cut(&rest, ';'));

    if (ends_with(name, SLICE("json")))
        return IN_JSON_STRING;
    return ends_with(name, SLICE("html")) || ends_with(name, SLICE("xml")) ? IN_MARKUP : AS_TEXT;
}

/* Appends what stands between the quotes of a JSON string. */
static int append_json_string(struct buf *out, struct slice value) {
    json_t *json = json_text(value, SIZE_MAX);
    char *text = json != NULL ? json_dumps(json, JSON_ENCODE_ANY) : NULL;
    struct slice inner = slice_drop(slice_str(text), 1);

    int rc = text != NULL ? buf_append(out, slice_take(inner, inner.len - 1)) : -ENOMEM;
    free(text);
    json_decref(json);
    return rc;
}

static struct slice markup_of(char c) {
    switch (c) {
    case '&':
        return SLICE("&amp;");
    case '<':
        return SLICE("&lt;");
    case '>':
        return SLICE("&gt;");
    case '"':
        return SLICE("&quot;");
    case '\'':
        return SLICE("&#39;");
    default:
        return SLICE("");
    }
}

static int append_markup(struct buf *out, struct slice value) {
    int rc = 0;

    for (size_t i = 0; i < value.len && rc == 0; i++) {
        struct slice entity = markup_of(value.ptr[i]);
        rc = buf_append(out, entity.len > 0 ? entity : slice_of(value.ptr + i, 1));
    }
    return rc;
}

static int append_value(struct render *r, struct slice value) {
    if (r->style == IN_JSON_STRING)
        return append_json_string(&r->out, value);
    return r->style == IN_MARKUP ? append_markup(&r->out, value) : buf_append(&r->out, value);
}

static int append_query(struct render *r, struct slice name) {
    struct slice raw;
    char *room;

    if (!http_query_find(r->request->query, name, &raw))
        return 0;
    int rc = append_value(r, request_decoded(raw, &room));
    if (room == NULL)
        rc = -ENOMEM;
    mem_free(room);
    return rc;
}

static int append_header(struct render *r, struct slice name) {
    struct slice value;

    return http_field_find(r->request->head, name, &value) ? append_value(r, value) : 0;
}

/* Texts are written as values; numbers, lists and the rest as JSON. */
static int append_json(struct render *r, struct slice path) {
    struct slice body = r->request->body;
    json_t *at;

    if (!r->is_parsed)
        r->json = json_parse(body);
    r->is_parsed = true;
    at = json_at(r->json, path);
    if (at == NULL)
        return 0;
    if (json_is_string(at))
        return append_value(r, slice_of(json_string_value(at), json_string_length(at)));

    char *text = json_dump_short(at, JSON_ENCODE_ANY | JSON_COMPACT);
    int rc = text == NULL            ? -ENOMEM
             : r->style == IN_MARKUP ? append_markup(&r->out, slice_str(text))
                                     : buf_append(&r->out, slice_str(text));
    free(text);
    return rc;
}

/* RFC 3339, with milliseconds. */
static int append_now(struct render *r) {
    nsec_t now = clock_wall();
    time_t seconds = (time_t)(now / NSEC_PER_SEC);
    char text[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    return buf_printf(&r->out, "%s.%03dZ", text, (int)(now / NSEC_PER_MSEC % 1000));
}

static int append_one(struct render *r, const struct placeholder *p) {
    char uuid[UUID_TEXT_BYTES];

    switch (p->kind) {
    case OF_QUERY:
        return append_query(r, p->argument);
    case OF_HEADER:
        return append_header(r, p->argument);
    case OF_JSON:
        return append_json(r, p->argument);
    case OF_BODY:
        return append_value(r, r->request->body);
    case OF_METHOD:
        return append_value(r, r->request->head->method_text);
    case OF_PATH:
        return append_value(r, r->request->path);
    case OF_SEQ:
        return buf_printf(&r->out, "%llu", (unsigned long long)r->request->number);
    case OF_NOW:
        return append_now(r);
    case OF_UUID:
        break;
    }
    return buf_append(&r->out, slice_str(reply_uuid(r->reply, uuid)));
}

static int render(struct render *r, struct slice rest, struct error *why) {
    struct placeholder found;
    struct slice before;
    int more;

    do {
        more = next_placeholder("body", &rest, &before, &found, why);
        int rc = more < 0 ? more : buf_append(&r->out, before);
        if (rc == 0 && more > 0)
            rc = append_one(r, &found);
        if (rc == -ENOBUFS)
            return error_set(why, -EINVAL, "the body is longer than 8m with its values in it");
        if (rc < 0)
            return rc;
    } while (more > 0);
    return 0;
}

/* --- keys that are templates ------------------------------------------------------------------ */

/* A key counts before anything of the body has come, and says the same to the same. */
static bool is_of_key(const struct placeholder *p) {
    return p->kind == OF_QUERY || p->kind == OF_HEADER || p->kind == OF_METHOD ||
           p->kind == OF_PATH;
}

static int render_key(struct render *r, struct slice rest, struct error *why) {
    struct placeholder found;
    struct slice before;
    int more, rc = 0;

    while (rc == 0 && (more = next_placeholder("key", &rest, &before, &found, why)) >= 0) {
        if (more > 0 && !is_of_key(&found))
            return error_set(why, -EINVAL,
                             "key has a placeholder that keys cannot have; allowed: header.NAME, "
                             "query.NAME, method, path");
        rc = r->request != NULL ? buf_append(&r->out, before) : 0;
        if (more == 0)
            return rc;
        if (rc == 0 && r->request != NULL)
            rc = append_one(r, &found);
    }
    return rc < 0 ? rc : -EINVAL;
}

int body_make_key(const struct spec *spec, const struct slow_request *request, uint64_t *ret,
                  struct error *why) {
    struct render r = { .request = request, .style = AS_TEXT };
    bool is_bad;

    *ret = spec->key;
    if (spec->key_template.raw.ptr == NULL)
        return 0;
    char *text = spec_text_dup(&spec->key_template, &is_bad);
    if (text == NULL)
        return is_bad ? error_set(why, -EINVAL, "key has a bad percent-escape") : -ENOMEM;
    buf_init(&r.out, SLOWAPI_TEXT_MAX);
    int rc = render_key(&r, slice_str(text), why);
    *ret = hash_bytes(HASH_SEED, r.out.data, r.out.end);
    buf_free(&r.out);
    mem_free(text);
    return rc;
}

/* --- the chosen body -------------------------------------------------------------------------- */

static int choose_text(struct reply *reply, const struct spec *spec, struct error *why) {
    bool is_bad;

    reply->chosen = spec_text_dup(&spec->body, &is_bad);
    if (is_bad)
        return error_set(why, -EINVAL, "body has a bad percent-escape; allowed: any text");
    if (reply->chosen == NULL)
        return -ENOMEM;
    reply->chosen_size = strlen(reply->chosen);
    reply->is_template = !spec->has_template || spec->is_template;
    return 0;
}

/* A short file is read at once; a long one as it is sent, unless it is to be changed. */
static int take_file(struct reply *reply, const struct spec *spec, int fd, uint64_t size,
                     struct error *why) {
    bool is_coded = !spec->has_encoding || spec->encoding != HTTP_CODING_IDENTITY;

    reply->is_template = spec->has_template && spec->is_template;
    reply->chosen_size = size;
    if (reply->is_template && size > SLOWAPI_KEPT_BYTES)
        return error_set(why, -EINVAL, "body-file is longer than 1m, too long for a template");
    if (!reply->is_template && size > (is_coded ? SLOWAPI_CODED_BYTES : SLOWAPI_FILE_BYTES)) {
        reply->file = dup(fd);
        return reply->file >= 0 ? 0
                                : error_set(why, -EINVAL, "body-file cannot be kept open: %s",
                                            strerrordesc_np(errno));
    }
    reply->chosen = read_file(fd, size);
    if (reply->chosen != NULL || errno == ENOMEM)
        return reply->chosen != NULL ? 0 : -ENOMEM;
    return error_set(why, -EINVAL, "body-file cannot be read: %s", strerrordesc_np(errno));
}

static int choose_file(struct reply *reply, const struct spec *spec, int files, struct error *why) {
    bool is_bad;
    struct stat is;
    char *path = spec_text_dup(&spec->body_file, &is_bad);

    if (is_bad)
        return error_set(why, -EINVAL, "body-file has a bad percent-escape");
    if (path == NULL)
        return -ENOMEM;
    int fd = open_file(files, path, &is, why);
    int rc = fd < 0 ? fd : take_file(reply, spec, fd, (uint64_t)is.st_size, why);
    if (fd >= 0)
        close(fd);
    reply->type = http_media_type_of(path).ptr;
    mem_free(path);
    return rc;
}

static int choose_type(struct reply *reply, const struct spec *spec, struct error *why) {
    bool is_bad;

    if (spec->type.raw.ptr == NULL)
        return 0;
    reply->own_type = spec_text_dup(&spec->type, &is_bad);
    reply->type = reply->own_type;
    if (is_bad)
        return error_set(why, -EINVAL, "type has a bad percent-escape");
    return reply->own_type != NULL ? 0 : -ENOMEM;
}

int body_choose(struct reply *reply, const struct spec *spec, int files, struct body_wants *ret,
                struct error *why) {
    int rc = 0;

    reply->is_chosen = spec_chooses_body(spec);
    if (spec->body.raw.ptr != NULL)
        rc = choose_text(reply, spec, why);
    else if (spec->body_file.raw.ptr != NULL)
        rc = choose_file(reply, spec, files, why);
    if (rc == 0)
        rc = choose_type(reply, spec, why);
    if (rc == 0 && reply->chosen != NULL && reply->is_template)
        rc = scan(slice_of(reply->chosen, reply->chosen_size), ret, why);
    return rc;
}

int body_check(const struct spec *spec, int files, struct error *why) {
    struct reply *reply = reply_new(200);
    struct body_wants wants = { .body = false };

    if (reply == NULL)
        return error_set(why, -EINVAL, "out of memory");
    uint64_t key;
    int rc = body_choose(reply, spec, files, &wants, why);
    if (rc == 0)
        rc = body_make_key(spec, NULL, &key, why);
    reply_free(reply);
    return rc == -ENOMEM ? error_set(why, -EINVAL, "out of memory") : rc;
}

static int make_text(struct reply *reply, const struct slow_request *request, struct error *why) {
    struct slice source = slice_of(reply->chosen, reply->chosen_size);
    struct render r = { .request = request, .reply = reply, .style = style_of(reply->body.type) };

    if (!reply->is_template) {
        reply_set_text(reply, reply->chosen, reply->chosen_size);
        reply->chosen = NULL;
        return 0;
    }
    buf_init(&r.out, SLOWAPI_TEXT_MAX);
    int rc = render(&r, source, why);
    if (rc == 0)
        rc = buf_reserve(&r.out, 1); /* an empty text is one, too */
    json_decref(r.json);
    if (rc < 0)
        buf_free(&r.out);
    else
        reply_set_text(reply, r.out.data, r.out.end);
    return rc;
}

int body_make(struct reply *reply, const struct slow_request *request, struct error *why) {
    if (reply->is_chosen)
        reply->body = (struct body){ .type = "text/plain",
                                     .chat = reply->body.chat, /* still owned */
                                     .is_chunked = reply->body.is_chunked,
                                     .piece = SLOWAPI_PIECE_BYTES };
    if (reply->type != NULL)
        reply->body.type = reply->type;
    if (!reply->is_chosen)
        return 0;
    if (reply->file < 0)
        return make_text(reply, request, why);
    reply_set_text(reply, NULL, 0);
    reply->body.kind = BODY_FILE;
    reply->body.file = reply->file;
    reply->body.units = reply->chosen_size;
    return 0;
}

/* --- codings ---------------------------------------------------------------------------------- */

static enum http_coding coding_of(const struct reply *reply, const struct spec *spec,
                                  const struct slow_request *request) {
    if (spec->has_encoding && !spec->is_auto_encoded)
        return (enum http_coding)spec->encoding;
    if (spec->has_encoding || (reply->is_chosen && reply->coding == HTTP_CODING_IDENTITY))
        return http_coding_choose(request->head);
    return (enum http_coding)reply->coding;
}

/* Makes all of the body, and codes it. */
static int code(struct reply *reply, enum http_coding coding, struct buf *out) {
    struct buf plain;
    int64_t made = 1;

    buf_init(&plain, SLOWAPI_CODED_BYTES);
    for (uint64_t at = 0; at < reply->body.units && made > 0; at += (uint64_t)made)
        made = reply_append_units(reply, at, reply->body.units - at, &plain);
    int rc = made < 0 ? (int)made : http_coding_append(coding, buf_unread(&plain), out);
    buf_free(&plain);
    return rc;
}

/* An answer that has no content of its own, or a part of one, is not coded. */
static bool is_coded(const struct reply *reply) {
    bool is_whole = reply->status != 204 && reply->status != 205 && reply->status != 206 &&
                    reply->status != 304;

    return is_whole && !content_is_events(&reply->body);
}

int body_code(struct reply *reply, const struct spec *spec, const struct slow_request *request,
              struct error *why) {
    bool is_asked = spec->has_encoding && !spec->is_auto_encoded;
    enum http_coding coding = coding_of(reply, spec, request);
    struct slice name = http_coding_name(coding);
    char line[80];
    struct buf out;

    if (coding == HTTP_CODING_IDENTITY || !is_coded(reply))
        return 0;
    if (reply->body.units > SLOWAPI_CODED_BYTES)
        return is_asked ? error_set(why, -EINVAL, "encoding=%s of more than 1m", name.ptr) : 0;

    buf_init(&out, 2 * SLOWAPI_CODED_BYTES);
    int rc = code(reply, coding, &out);
    if (rc < 0) {
        buf_free(&out);
        return rc;
    }
    reply_set_text(reply, out.data, out.end);
    snprintf(line, sizeof(line), "Content-Encoding: %s\r\n%s", name.ptr,
             is_asked ? "" : "Vary: Accept-Encoding\r\n");
    return reply_add_fields(reply, line);
}
