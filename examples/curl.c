/* SPDX-License-Identifier: MIT */
/* App `curl`: the job of `index`, through libcurl's blocking call. Nothing here knows of green
 * threads: under --model green each call stops the worker, unless serve runs it with --patch on.
 *
 *   srv serve --model green --patch on curl url=http://127.0.0.1:4000/
 *
 * or as an object, for which --patch is on by itself:
 *
 *   cc -I include -shared -fPIC -o curl.so examples/curl.c -lcurl
 *   srv serve --model green ./curl.so url=https://api.example/ ca=ca.pem */
#include <curl/curl.h>
#include <srv/app.h>
#include <string.h>

#define DEFAULT_URL "http://127.0.0.1:4000/"

static const char *check(const srv_worker *worker) {
    const char *url = srv_config(worker, "url", DEFAULT_URL);

    if (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0)
        return NULL;
    return "url= is not allowed; http://HOST:PORT/ or https://HOST/";
}

/* Libcurl asks for this once for the process, before there are threads. */
static int start(srv_worker *worker) {
    (void)worker;
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -1;
}

/* Other than `count` ends the call. */
static size_t take(char *data, size_t size, size_t count, void *arg) {
    srv_request *rq = arg;

    srv_print(rq, "%.*s", (int)(size * count), data);
    return srv_error(rq) == 0 ? count : 0;
}

/* NULL when out of memory. A handle for each request, and so a connection for each: a handle serves
 * one call at a time, and requests take turns in the middle of theirs. */
static CURL *open_call(srv_request *rq, const char *delay, char *why) {
    const srv_worker *worker = srv_worker_of(rq);
    const char *url = srv_config(worker, "url", DEFAULT_URL);
    const char *ca = srv_config(worker, "ca", NULL);
    CURL *call = curl_easy_init();

    if (call == NULL || curl_easy_setopt(call, CURLOPT_URL,
                                         srv_format(rq, "%s?delay=%s", url, delay)) != CURLE_OK) {
        curl_easy_cleanup(call);
        return NULL;
    }
    curl_easy_setopt(call, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(call, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(call, CURLOPT_WRITEDATA, rq);
    curl_easy_setopt(call, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(call, CURLOPT_NOSIGNAL, 1L); /* no alarm(2), which would hit any request */
    if (ca != NULL)
        curl_easy_setopt(call, CURLOPT_CAINFO, ca);
    return call;
}

static int index_page(srv_request *rq) {
    const char *delay = srv_arg(rq, "delay", "1");
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURLcode result;
    CURL *call;

    srv_seconds(rq, "delay", delay); /* what is none is answered with 400 */
    if (srv_error(rq) < 0)
        return srv_error(rq);
    call = open_call(rq, srv_encode(rq, delay), why);
    if (call == NULL)
        return srv_fail(rq, 500, "out of memory");
    srv_print(rq, "Hi there! ");
    result = curl_easy_perform(call);
    curl_easy_getinfo(call, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(call);
    if (result != CURLE_OK)
        return srv_fail(rq, 502, "%s", why[0] != '\0' ? why : curl_easy_strerror(result));
    if (status != 200)
        return srv_fail(rq, 502, "upstream answered %ld", status);
    return srv_reply_printed(rq, 200);
}

SRV_APP(.routes = (const srv_route[]){ { "/", index_page }, { NULL, NULL } }, .check = check,
        .start = start, .summary = "libcurl, one blocking call a request")
