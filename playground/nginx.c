/* SPDX-License-Identifier: MIT */
/* Writes nginx's configuration and starts it: one process, one location, the upstream behind it.
 *
 * docs/nginx/ has the same for people to copy. */
#include "base/buf.h"
#include "playground/program.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX 8192

static int nginx_prepare(struct program_start *start, struct error *err);
static int nginx_explain(struct program_start *start, FILE *out, struct error *err);

const struct program program_nginx = {
    .name = "nginx",
    .prepare = nginx_prepare,
    .ready = program_ready_http,
    .finish = program_close_folder,
    .explain = nginx_explain,
    .in_source = true,
};

/* Settings for an upstream over HTTP: keep-alive needs 1.1 and no Connection. */
static const char to_http[] = "proxy_pass http://app;\n"
                              "proxy_http_version 1.1;\n"
                              "proxy_set_header Connection \"\";\n"
                              "proxy_set_header Host $http_host;\n"
                              "proxy_set_header X-Real-IP $remote_addr;\n"
                              "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n"
                              "proxy_set_header X-Forwarded-Proto $scheme;\n"
                              "proxy_set_header Forwarded \"\";\n";

/* The variables that an upstream of the uwsgi protocol needs (uWSGI's apps more than srv does);
 * headers come by themselves. */
static const char to_uwsgi[] = "uwsgi_pass app;\n"
                               "uwsgi_param REQUEST_METHOD $request_method;\n"
                               "uwsgi_param REQUEST_URI $request_uri;\n"
                               "uwsgi_param PATH_INFO $document_uri;\n"
                               "uwsgi_param QUERY_STRING $query_string;\n"
                               "uwsgi_param REQUEST_SCHEME $scheme;\n"
                               "uwsgi_param SERVER_PROTOCOL $server_protocol;\n"
                               "uwsgi_param CONTENT_TYPE $content_type;\n"
                               "uwsgi_param CONTENT_LENGTH $content_length;\n"
                               "uwsgi_param SERVER_NAME $server_name;\n"
                               "uwsgi_param SERVER_PORT $server_port;\n"
                               "uwsgi_param REMOTE_ADDR $remote_addr;\n"
                               "uwsgi_param REMOTE_PORT $remote_port;\n";

/* A path as a word of the configuration. nginx reads \" and \\ inside quotes. */
static int put_path(struct buf *out, const char *directive, const char *folder, const char *file) {
    int rc = buf_printf(out, "%s \"", directive);
    for (const char *c = folder; rc == 0 && *c != '\0'; c++)
        rc = buf_printf(out, "%s%c", *c == '"' || *c == '\\' ? "\\" : "", *c);
    return rc == 0 ? buf_printf(out, "/%s\";\n", file) : rc;
}

/* One process: with a master, SIGKILL (which nobody passes on) would leave its workers behind. Root
 * stays root, since anybody else may not enter the folder. */
static int put_process(struct buf *out, const char *folder) {
    int rc = buf_printf(out,
                        "%sdaemon off;\n"
                        "master_process off;\n"
                        "error_log stderr error;\n"
                        "events { worker_connections 8192; }\n",
                        geteuid() == 0 ? "user root;\n" : "");
    return rc == 0 ? put_path(out, "pid", folder, "nginx.pid") : rc;
}

/* Names the files as the configuration's neighbours: in a path of certificates nginx expands
 * variables, and the folder's name may have a dollar sign. */
static int put_tls(struct buf *out) {
    return buf_printf(out, "ssl_protocols TLSv1.2 TLSv1.3;\n"
                           "ssl_certificate cert.pem;\n"
                           "ssl_certificate_key key.pem;\n");
}

static int put_site(struct buf *out, const struct program_start *start, const char *folder,
                    struct slice upstream, bool is_uwsgi) {
    bool speaks_tls = start->process->speaks_tls;
    static const char *const folders[] = { "client_body", "proxy", "uwsgi", "fastcgi", "scgi" };
    int rc = buf_printf(out, "http {\naccess_log off;\n");
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(folders); i++) {
        char directive[40];
        snprintf(directive, sizeof(directive), "%s_temp_path", folders[i]);
        rc = put_path(out, directive, folder, folders[i]);
    }
    if (rc == 0 && speaks_tls)
        rc = put_tls(out);
    if (rc != 0)
        return rc;
    return buf_printf(out,
                      "upstream app { server %.*s; %s}\n"
                      "server { listen %s%s backlog=2048;\n"
                      "location / {\n%s}\n}\n}\n",
                      (int)upstream.len, upstream.ptr, is_uwsgi ? "" : "keepalive 256; ",
                      start->bind, speaks_tls ? " ssl" : "", is_uwsgi ? to_uwsgi : to_http);
}

/* "http://127.0.0.1:3000/" -> "127.0.0.1:3000" */
static struct slice authority_of(const char *url) {
    const char *start = strstr(url, "://");

    start = start != NULL ? start + 3 : url;
    return slice_of(start, strcspn(start, "/"));
}

/* start->argv has the words of the process. */
static int write_config(const struct program_start *start, const struct tempdir *folder,
                        struct error *err) {
    char *const *words = start->argv.words;
    bool is_uwsgi = strcmp(words[1], "uwsgi") == 0;
    char path[TEMPDIR_FILE_BYTES];
    struct buf text;
    int rc;

    buf_init(&text, CONFIG_BYTES_MAX);
    rc = put_process(&text, folder->path);
    if (rc == 0)
        rc = put_site(&text, start, folder->path, authority_of(words[2]), is_uwsgi);
    if (rc < 0)
        error_set(err, rc, "nginx's configuration cannot be made: %s", strerrordesc_np(-rc));
    else
        rc = tempdir_write(folder, "nginx.conf", buf_unread(&text), path, err);
    buf_free(&text);
    return rc;
}

static int fill_command(struct program_start *start, const struct tempdir *folder) {
    int rc;

    argv_init(&start->argv);
    rc = argv_add(&start->argv, "nginx");
    if (rc == 0)
        rc = argv_printf(&start->argv, "-p%s", folder->path);
    if (rc == 0)
        rc = argv_printf(&start->argv, "-c%s/nginx.conf", folder->path);
    return rc == 0 ? argv_add(&start->argv, "-estderr") : rc;
}

/* nginx cannot take port 0 and say what it got: one that was free a moment ago will do. */
static int nginx_prepare(struct program_start *start, struct error *err) {
    int port, rc = program_find("nginx", "nginx", start->path, sizeof(start->path), err);

    if (rc < 0)
        return rc;
    port = program_free_port(err);
    if (port < 0)
        return port;
    snprintf(start->bind, sizeof(start->bind), "127.0.0.1:%d", port);
    snprintf(start->url, sizeof(start->url), "%s://%s/", program_scheme(start), start->bind);
    start->values[0] = (struct argv_value){ "bind", start->bind };
    argv_init(&start->argv);
    rc = argv_of_process(&start->argv, start->process, start->values, start->value_count, err);
    if (rc == 0)
        rc = program_open_folder(start, err);
    if (rc == 0)
        rc = write_config(start, start->state, err);
    return rc == 0 ? fill_command(start, start->state) : rc;
}

static int nginx_explain(struct program_start *start, FILE *out, struct error *err UNUSED) {
    program_explain_certificate(start, out);
    fprintf(out, "  /usr/sbin/nginx -p /tmp -e stderr -c \"$PWD/docs/nginx/%s.conf\"\n",
            start->process->speaks_tls ? "https" : start->process->args[1]);
    snprintf(start->url, sizeof(start->url), "%s://127.0.0.1:%u/", program_scheme(start),
             start->port_by_hand);
    return 0;
}
