/* SPDX-License-Identifier: MIT */
/* Names of files, and the media types that they stand for. */
#include "http/media_type.h"

static const struct {
    struct slice suffix, type;
} types[] = {
    { SLICE_INIT("html"), SLICE_INIT("text/html; charset=utf-8") },
    { SLICE_INIT("htm"), SLICE_INIT("text/html; charset=utf-8") },
    { SLICE_INIT("css"), SLICE_INIT("text/css; charset=utf-8") },
    { SLICE_INIT("js"), SLICE_INIT("text/javascript; charset=utf-8") },
    { SLICE_INIT("mjs"), SLICE_INIT("text/javascript; charset=utf-8") },
    { SLICE_INIT("json"), SLICE_INIT("application/json") },
    { SLICE_INIT("txt"), SLICE_INIT("text/plain; charset=utf-8") },
    { SLICE_INIT("md"), SLICE_INIT("text/markdown; charset=utf-8") },
    { SLICE_INIT("csv"), SLICE_INIT("text/csv; charset=utf-8") },
    { SLICE_INIT("xml"), SLICE_INIT("application/xml") },
    { SLICE_INIT("svg"), SLICE_INIT("image/svg+xml") },
    { SLICE_INIT("png"), SLICE_INIT("image/png") },
    { SLICE_INIT("jpg"), SLICE_INIT("image/jpeg") },
    { SLICE_INIT("jpeg"), SLICE_INIT("image/jpeg") },
    { SLICE_INIT("gif"), SLICE_INIT("image/gif") },
    { SLICE_INIT("webp"), SLICE_INIT("image/webp") },
    { SLICE_INIT("avif"), SLICE_INIT("image/avif") },
    { SLICE_INIT("ico"), SLICE_INIT("image/vnd.microsoft.icon") },
    { SLICE_INIT("woff"), SLICE_INIT("font/woff") },
    { SLICE_INIT("woff2"), SLICE_INIT("font/woff2") },
    { SLICE_INIT("ttf"), SLICE_INIT("font/ttf") },
    { SLICE_INIT("pdf"), SLICE_INIT("application/pdf") },
    { SLICE_INIT("wasm"), SLICE_INIT("application/wasm") },
    { SLICE_INIT("zip"), SLICE_INIT("application/zip") },
    { SLICE_INIT("gz"), SLICE_INIT("application/gzip") },
    { SLICE_INIT("mp3"), SLICE_INIT("audio/mpeg") },
    { SLICE_INIT("ogg"), SLICE_INIT("audio/ogg") },
    { SLICE_INIT("mp4"), SLICE_INIT("video/mp4") },
    { SLICE_INIT("webm"), SLICE_INIT("video/webm") },
};

struct slice http_media_type_of(const char *path) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    struct slice suffix = slice_str(dot != NULL && dot > slash ? dot + 1 : "");

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (slice_eq_nocase(suffix, types[i].suffix))
            return types[i].type;
    return SLICE("application/octet-stream");
}
