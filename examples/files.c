/* SPDX-License-Identifier: MIT */
/* Serves the files of a folder, index.html for those that end with a slash.
 *
 *   cc -I include -shared -fPIC -o files.so examples/files.c
 *   srv serve --model pool ./files.so folder=/var/www/html */
#include <srv/app.h>
#include <sys/stat.h>

static const char *check(const srv_worker *worker) {
    const char *folder = srv_config(worker, "folder", "");
    struct stat is;

    return stat(folder, &is) == 0 && S_ISDIR(is.st_mode) ? NULL : "it needs folder=PATH";
}

static int file(srv_request *rq) {
    const char *folder = srv_config(srv_worker_of(rq), "folder", "");
    const char *path = srv_path(rq), *end = path;

    while (end[0] != '\0' && end[1] != '\0')
        end++;
    return srv_reply_below(rq, folder, *end == '/' ? srv_format(rq, "%sindex.html", path) : path);
}

SRV_APP(.routes = (const srv_route[]){ { "GET /**", file }, { NULL, NULL } }, .check = check,
        .summary = "the files of a folder")
