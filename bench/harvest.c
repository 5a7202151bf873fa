/* SPDX-License-Identifier: MIT */
/* Finds reports in files, folders and logs.
 *
 * Docker writes at most 16 KiB of a line at once, so that `docker service logs` puts its words
 * before each such piece, in the middle of the line, and other tasks' pieces between them:
 *
 *     bench.1.w0vq8yj4n5pc@node    | {"schema":"srv-bench/1",...,[12bench.2.k2s...@node    | {"s
 *
 * The pieces are put together by task before anything is read. */
#include "bench/harvest.h"
#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "loadgen/input.h"
#include "loadgen/request.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { TASKS_MAX = 10000, SERVICES_MAX = 16, NAME_BYTES = 256, STAMP_BYTES = 40 };

struct harvest {
    const char *path;
    harvest_fn each;
    void *arg;
    size_t found;
    bool may_lack; /* a file without a report is passed over */
};

static bool is_report(const json_t *json) {
    const char *schema = json_string_value(json_object_get(json, "schema"));
    return schema != NULL && strncmp(schema, "srv-bench/", 10) == 0;
}

static int give(struct harvest *h, const json_t *report, size_t line, struct error *err) {
    char where[NAME_BYTES];
    if (line > 0)
        snprintf(where, sizeof(where), "%s, line %zu", h->path, line);
    else
        snprintf(where, sizeof(where), "%s", h->path);
    h->found++;
    return h->each(h->arg, report, where, err);
}

/* --- lines ------------------------------------------------------------------------------------ */

static struct slice first_line(struct slice text) {
    const char *end = memchr(text.ptr, '\n', text.len);
    return end != NULL ? slice_take(text, (size_t)(end - text.ptr)) : text;
}

static bool contains(struct slice text, const char *what) {
    return memmem(text.ptr, text.len, what, strlen(what)) != NULL;
}

/* Reads one value that begins at `text`; *ret_used is its length. NULL: it is no JSON. */
static json_t *read_value(struct slice text, size_t *ret_used, json_error_t *why) {
    json_t *json = json_loadb(text.ptr, text.len, JSON_DISABLE_EOF_CHECK, why);
    *ret_used = json != NULL ? (size_t)why->position : 0;
    return json;
}

/* Whether a report begins here, on one line or on many. */
static bool begins_report(struct slice text) {
    static const char *const words[] = { "{", "\"schema\"", ":", "\"srv-bench/1\"" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL && text.ptr[0] != '\0')
            text = slice_drop(text, 1);
        if (!slice_starts_with(text, slice_str(words[i])))
            return false;
        text = slice_drop(text, strlen(words[i]));
    }
    return true;
}

/* Looks for a report that begins in the first line of `text`. *ret_used is how much of the text it
 * took, at least that line. */
static int scan_line(struct harvest *h, struct slice text, size_t line, size_t *ret_used,
                     struct error *err) {
    struct slice head = first_line(text);
    const char *brace = memchr(head.ptr, '{', head.len);
    size_t before = brace != NULL ? (size_t)(brace - head.ptr) : head.len, used;
    json_error_t why;
    *ret_used = head.len;
    if (brace == NULL)
        return 0;
    json_t *json = read_value(slice_drop(text, before), &used, &why);
    int rc = 0;
    if (is_report(json)) {
        rc = give(h, json, line, err);
        *ret_used = before + used > head.len ? before + used : head.len;
    } else if (json == NULL &&
               (contains(head, "\"srv-bench/1\"") || begins_report(slice_drop(text, before)))) {
        rc = error_set(err, -EINVAL, "cannot read %s: the report of line %zu is cut off: %s",
                       h->path, line, why.text);
    }
    json_decref(json);
    return rc;
}

static size_t count_lines(struct slice text) {
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '\n';
    return count;
}

static int scan_lines(struct harvest *h, struct slice text, struct error *err) {
    size_t line = 1;
    while (text.len > 0) {
        size_t used;
        int rc = scan_line(h, text, line, &used, err);
        if (rc != 0)
            return rc;
        used = used < text.len ? used + 1 : used; /* the newline */
        line += count_lines(slice_take(text, used));
        text = slice_drop(text, used);
    }
    return 0;
}

/* --- logs of Docker's services ---------------------------------------------------------------- */

struct task {
    struct slice name; /* "bench.1.w0vq8yj4n5pc@node" */
    struct buf text;
};

struct tasks {
    struct task *items;
    size_t count, cap;
    struct slice services[SERVICES_MAX]; /* "bench." */
    size_t service_count;
};

static bool is_of(char c, const char *more) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr(more, c) != NULL);
}

/* Measures "1.w0vq8yj4n5pc@node    | ": the slot or node, the task, the node, blanks. *ret_name is
 * the part up to the blanks, the return value all of it; 0: it is something else. */
static size_t measure_task(struct slice text, size_t *ret_name) {
    size_t i = 0, dots = 0, ats = 0;
    for (; i < text.len && dots <= 1 && is_of(text.ptr[i], "._-@"); i++) {
        dots += text.ptr[i] == '.' && ats == 0;
        ats += text.ptr[i] == '@';
    }
    *ret_name = i;
    if (dots != 1 || ats != 1)
        return 0;
    while (i < text.len && text.ptr[i] == ' ')
        i++;
    bool ends = i > *ret_name && i + 1 < text.len && text.ptr[i] == '|' && text.ptr[i + 1] == ' ';
    return ends ? i + 2 : 0;
}

/* The time that --timestamps puts before: its length with the blank. */
static size_t stamp_at(struct slice text) {
    char stamp[STAMP_BYTES];
    size_t len = 0;
    nsec_t wall;
    while (len < text.len && len < sizeof(stamp) - 1 && text.ptr[len] != ' ')
        len++;
    if (len == text.len || text.ptr[len] != ' ')
        return 0;
    memcpy(stamp, text.ptr, len);
    stamp[len] = '\0';
    return clock_parse(stamp, &wall) == 0 ? len + 1 : 0;
}

/* Such a time at the end of what came before: its length. */
static size_t stamp_before(struct slice text) {
    for (size_t len = 21; len <= STAMP_BYTES && len <= text.len; len++)
        if (stamp_at(slice_drop(text, text.len - len)) == len)
            return len;
    return 0;
}

static void learn_service(struct tasks *t, struct slice service) {
    for (size_t i = 0; i < t->service_count; i++)
        if (slice_eq(t->services[i], service))
            return;
    if (t->service_count < SERVICES_MAX)
        t->services[t->service_count++] = service;
}

/* Names of services are clean where lines begin. Their names may hold dots: the last that leaves a
 * slot, a task and a node behind it ends the name. */
static void learn_services(struct tasks *t, struct slice text) {
    while (text.len > 0) {
        struct slice line = first_line(text);
        text = slice_drop(text, line.len < text.len ? line.len + 1 : line.len);
        line = slice_drop(line, stamp_at(line));
        for (size_t i = 0, name; i < line.len && is_of(line.ptr[i], "._-"); i++)
            if (line.ptr[i] == '.' && measure_task(slice_drop(line, i + 1), &name) > 0)
                learn_service(t, slice_take(line, i + 1));
    }
}

/* Finds the next words of Docker at or behind `from`. *ret_name is the task's name; the return
 * value is where its piece begins; 0: there are no more, and *ret_at is the end. */
static size_t next_piece(const struct tasks *t, struct slice text, size_t from, size_t *ret_at,
                         struct slice *ret_name) {
    size_t begins = 0;
    *ret_at = text.len;
    for (size_t i = 0; i < t->service_count; i++) {
        struct slice service = t->services[i], rest = slice_drop(text, from);
        const char *at;
        while ((at = memmem(rest.ptr, rest.len, service.ptr, service.len)) != NULL) {
            rest = slice_drop(rest, (size_t)(at - rest.ptr) + service.len);
            size_t name, size = measure_task(rest, &name);
            if (size == 0)
                continue;
            if ((size_t)(at - text.ptr) < *ret_at) {
                *ret_at = (size_t)(at - text.ptr);
                *ret_name = slice_of(at, service.len + name);
                begins = *ret_at + service.len + size;
            }
            break;
        }
    }
    return begins;
}

static struct task *task_of(struct tasks *t, struct slice name) {
    for (size_t i = t->count; i-- > 0;)
        if (slice_eq(t->items[i].name, name))
            return &t->items[i];
    if (t->count == TASKS_MAX)
        return NULL;
    if (t->count == t->cap) {
        size_t cap = t->cap > 0 ? 2 * t->cap : 16;
        struct task *items = mem_realloc(t->items, cap * sizeof(*items));
        if (items == NULL)
            return NULL;
        t->items = items;
        t->cap = cap;
    }
    struct task *task = &t->items[t->count++];
    task->name = name;
    buf_init(&task->text, HARVEST_BYTES_MAX);
    return task;
}

/* Text before the first words of Docker is of a task without a name. */
static int take_apart(struct tasks *t, struct slice text) {
    struct slice name = { "", 0 }, next_name = { "", 0 };
    for (size_t begins = 0, at; begins < text.len; begins = at, name = next_name) {
        size_t next = next_piece(t, text, begins, &at, &next_name);
        struct slice piece = slice_of(text.ptr + begins, at - begins);
        struct task *task = task_of(t, name);
        if (next > 0)
            piece = slice_take(piece, piece.len - stamp_before(piece));
        if (task == NULL || buf_append(&task->text, piece) != 0)
            return -ENOMEM;
        at = next > 0 ? next : text.len;
    }
    return 0;
}

static int scan_tasks(struct harvest *h, struct slice text, struct tasks *t, struct error *err) {
    if (take_apart(t, text) != 0)
        return error_set(err, -ENOMEM, "cannot read %s: it holds too much, or too many tasks",
                         h->path);
    int rc = 0;
    for (size_t i = 0; i < t->count && rc == 0; i++)
        rc = scan_lines(h, buf_unread(&t->items[i].text), err);
    return rc;
}

static int scan_log(struct harvest *h, struct slice text, struct error *err) {
    struct tasks tasks = { .items = NULL };
    learn_services(&tasks, text);
    int rc = tasks.service_count > 0 ? scan_tasks(h, text, &tasks, err) : scan_lines(h, text, err);
    for (size_t i = 0; i < tasks.count; i++)
        buf_free(&tasks.items[i].text);
    mem_free(tasks.items);
    return rc;
}

/* --- files and folders ------------------------------------------------------------------------ */

static int take_document(struct harvest *h, const json_t *json, struct error *err) {
    size_t i;
    const json_t *item;
    if (!json_is_array(json))
        return give(h, json, 0, err);
    json_array_foreach(json, i, item) {
        int rc = give(h, item, 0, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int take_text(struct harvest *h, struct slice text, struct error *err) {
    json_error_t why;
    json_t *json = json_loadb(text.ptr, text.len, 0, &why);
    size_t found = h->found;
    int rc = json != NULL ? take_document(h, json, err) : scan_log(h, text, err);
    json_decref(json);
    if (rc != 0 || h->found > found || h->may_lack)
        return rc;
    return error_set(err, -EINVAL, "cannot read %s: there is no report of srv bench in it%s%s",
                     h->path, text.len > 0 && text.ptr[0] == '{' ? ": " : "",
                     text.len > 0 && text.ptr[0] == '{' ? why.text : "");
}

static int take_file(struct harvest *h, struct error *err) {
    struct buf text;
    buf_init(&text, HARVEST_BYTES_MAX);
    int rc = input_read(h->path, &text, err);
    if (rc == 0)
        rc = take_text(h, buf_unread(&text), err);
    buf_free(&text);
    return rc;
}

static bool ends_in(const char *name, const char *end) {
    size_t len = strlen(name), tail = strlen(end);
    return len > tail && strcmp(name + len - tail, end) == 0;
}

static int is_wanted(const struct dirent *entry) {
    const char *name = entry->d_name;
    return name[0] != '.' &&
           (ends_in(name, ".json") || ends_in(name, ".jsonl") || ends_in(name, ".log"));
}

static int take_entry(struct harvest *h, const char *folder, const char *name, struct error *err) {
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = mem_alloc(size);
    if (path == NULL)
        return error_set(err, -ENOMEM, "out of memory");
    snprintf(path, size, "%s/%s", folder, name);
    struct harvest one = {
        .path = path, .each = h->each, .arg = h->arg, .may_lack = ends_in(name, ".log")
    };
    int rc = take_file(&one, err);
    h->found += one.found;
    mem_free(path);
    return rc;
}

static int take_folder(struct harvest *h, struct error *err) {
    struct dirent **names = NULL;
    int count = scandir(h->path, &names, is_wanted, alphasort), rc = 0;
    if (count < 0)
        return error_set(err, -errno, "cannot read %s: %s", h->path, strerrordesc_np(errno));
    for (int i = 0; i < count; i++) {
        if (rc == 0)
            rc = take_entry(h, h->path, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    if (rc == 0 && h->found == 0)
        rc = error_set(err, -ENOENT,
                       "cannot read %s: no *.json, *.jsonl or *.log in it holds a report", h->path);
    return rc;
}

int harvest_reports(const char *path, harvest_fn each, void *arg, struct error *err) {
    struct harvest h = { .path = path, .each = each, .arg = arg };
    struct stat st;
    bool is_folder = strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return is_folder ? take_folder(&h, err) : take_file(&h, err);
}
