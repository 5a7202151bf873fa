/* SPDX-License-Identifier: MIT */
/* Waits in Redis, through hiredis' blocking calls: for an element that nobody pushes. Nothing here
 * knows of green threads: what waits is hiredis' read(2), and --patch makes that park.
 *
 *   cc -I include -shared -fPIC -o hiredis.so examples/hiredis.c -lhiredis
 *   srv serve --model green ./hiredis.so host=127.0.0.1 port=6379
 *   srv serve --model green ./hiredis.so socket=/run/redis/redis.sock */
#include <hiredis/hiredis.h>
#include <srv/app.h>
#include <stdlib.h>

static const char *check(const srv_worker *worker) {
    int port = atoi(srv_config(worker, "port", "6379"));

    return port > 0 && port < 65536 ? NULL : "port= is not a port";
}

static redisContext *dial(const srv_worker *worker) {
    const char *path = srv_config(worker, "socket", NULL);

    if (path != NULL)
        return redisConnectUnix(path);
    return redisConnect(srv_config(worker, "host", "127.0.0.1"),
                        atoi(srv_config(worker, "port", "6379")));
}

/* BLPOP takes 0 as for ever. */
static int wait_in(srv_request *rq, redisContext *redis, double delay) {
    redisReply *reply;
    int rc;

    if (redis == NULL || redis->err != 0)
        return srv_fail(rq, 502, "Redis cannot be reached: %s",
                        redis != NULL ? redis->errstr : "out of memory");
    reply = redisCommand(redis, "BLPOP srv:nothing %s",
                         srv_format(rq, "%.3f", delay > 0.001 ? delay : 0.001));
    if (reply == NULL)
        rc = srv_fail(rq, 502, "Redis has gone: %s", redis->errstr);
    else if (reply->type == REDIS_REPLY_ERROR)
        rc = srv_fail(rq, 502, "Redis says: %s", reply->str);
    else
        rc = srv_reply(rq, 200, "%s", reply->type == REDIS_REPLY_NIL ? "nothing came" : "it came");
    freeReplyObject(reply);
    return rc;
}

/* A connection for each request: replies come in the order of commands, and a parked request would
 * read another one's. */
static int index_page(srv_request *rq) {
    double delay = srv_seconds(rq, "delay", srv_arg(rq, "delay", "1"));
    redisContext *redis;
    int rc;

    if (srv_error(rq) < 0)
        return srv_error(rq);
    redis = dial(srv_worker_of(rq));
    rc = wait_in(rq, redis, delay);
    if (redis != NULL)
        redisFree(redis);
    return rc;
}

SRV_APP(.handle = index_page, .check = check, .summary = "hiredis, a connection a request")
