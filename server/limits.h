/* SPDX-License-Identifier: MIT */
/* Every limit of the server that is not an option. */
#ifndef SERVER_LIMITS_H
#define SERVER_LIMITS_H

enum {
    SERVER_THREAD_STACK_BYTES = 262144, /* the size of a fiber's: handlers run on either */
    SERVER_RECV_BYTES = 1024, /* one read of a request head, or of what the upstream answers */
    SERVER_BODY_RECV_BYTES = 16384,            /* one read of a request body */
    SERVER_ARENA_BYTES_MAX = 50331648,         /* allocated by one request */
    SERVER_REPLY_FIELDS_MAX = 32,              /* added by a handler */
    SERVER_PARTS_MAX = 64,                     /* run at once by a request */
    SERVER_ROUTE_SEGMENTS_MAX = 8,             /* handed out by a route */
    SERVER_REPLY_BYTES_MAX = 67108864,         /* head and body of an answer */
    SERVER_STREAM_BYTES = 16384,               /* encoded at a time of a streamed answer */
    SERVER_SEND_BURST_BYTES = 2097152,         /* sent of a file before others get their turn */
    SERVER_UPSTREAM_BODY_BYTES_MAX = 8388608,  /* in one answer */
    SERVER_UPSTREAM_REQUEST_BYTES_MAX = 65536, /* the head */
    SERVER_CALL_BODY_BYTES_MAX = 8388608,      /* a request's to another server */
    SERVER_CALL_FIELDS_MAX = 64,               /* added to one by a handler */
    SERVER_FORM_FIELDS_MAX = 1000,             /* in one form */
    SERVER_ORIGINS_MAX = 64,            /* other servers whose connections are kept, per worker */
    SERVER_UPSTREAM_IDLE_MAX = 20000,   /* idle upstream connections per worker */
    SERVER_CURL_IDLE_MAX = 4096,        /* idle handles of libcurl: three descriptors each */
    SERVER_CURL_LOOK_UPS_MAX = 64,      /* left to libcurl; see SERVER_LOOK_UP_NSEC */
    SERVER_TINY_ANSWER_BYTES = 1024,    /* fits the smallest window of a client */
    SERVER_FIRST_FLIGHT_BYTES = 8192,   /* sent before the first acknowledgement (RFC 6928) */
    SERVER_EXPIRY_DAYS = 14,            /* before the end of a certificate it is warned of */
    SERVER_LINGERING_MAX = 64,          /* refused by an accepting thread; may still be sending */
    SERVER_DB_STATEMENTS_MAX = 32,      /* prepared per database connection */
    SERVER_DB_DETAIL_BYTES_MAX = 300,   /* in the log, from a database */
    SERVER_DB_CANCELS_MAX = 1024,       /* statements that wait to be cancelled */
    SERVER_DB_HOSTS_MAX = 64,           /* servers of one connection string */
    SERVER_DB_BULK_BYTES = 1048576,     /* a row of that size costs its connection, for libpq keeps
                                           its buffers */
    SERVER_DB_UNPARSED_BYTES = 1048576, /* arrived of a row above --db-result-max */
    SERVER_PROMPT_FIRST = 16,           /* connections with bytes until all wait for theirs */
    SERVER_PROMPT_MAX = 1048576,        /* limit of the same after silent ones */
    SERVER_ACCEPT_BURST = 64,           /* connections accepted per turn of a loop */
    SERVER_SERVE_BURST = 64,            /* requests served before other events get their turn */
};

#define SERVER_RETRY_AFTER_SECONDS "1" /* in a 503 */

/* An upstream connection that was idle for longer is not used again. */
#define SERVER_UPSTREAM_IDLE_NSEC (60 * NSEC_PER_SEC)
/* After that getaddrinfo(3) has given up: three name servers, each asked twice for five seconds. */
#define SERVER_LOOK_UP_NSEC (30 * NSEC_PER_SEC)
/* A worker with few slots believes for this long that a new connection is about to use one. */
#define SERVER_EXPECT_NSEC (100 * NSEC_PER_MSEC)
/* A client that has closed its sending side is probed after so long: what is answered until then
 * shows nothing of that. When others wait for what it may hold it is probed sooner; whether they do
 * is looked at every so often. */
#define SERVER_PROBE_NSEC      (2 * NSEC_PER_SEC)
#define SERVER_PROBE_SOON_NSEC (5 * NSEC_PER_MSEC)
#define SERVER_PROBE_LOOK_NSEC (50 * NSEC_PER_MSEC)
/* A process of threads that lets others accept first looks so often whether its own have ended. */
#define SERVER_CROWD_LOOK_NSEC (2 * NSEC_PER_MSEC)
/* A silent connection that waited for its first bytes comes after a second, and no earlier. */
#define SERVER_DEFERRED_NSEC (900 * NSEC_PER_MSEC)
/* A full worker looks at the backlog after so long: with a bounded queue, and without, when it
 * takes one connection. */
#define SERVER_LOOK_NSEC      (4 * NSEC_PER_MSEC)
#define SERVER_RARE_LOOK_NSEC (100 * NSEC_PER_MSEC)
/* After a failed connect to the database nobody tries again for so long: doubled up to the most. */
#define SERVER_DB_BACKOFF_NSEC     (50 * NSEC_PER_MSEC)
#define SERVER_DB_BACKOFF_MAX_NSEC (800 * NSEC_PER_MSEC)
/* A graceful stop waits for the first request of a connection for so long. */
#define SERVER_SILENCE_NSEC NSEC_PER_SEC
/* For a program that was upgraded in vain to end in, beyond the graceful time-out: its workers have
 * a second more than that. */
#define SERVER_LEAVE_NSEC (2 * NSEC_PER_SEC)
/* A server of the database that is silent for so long gets the next one beside it. */
#define SERVER_DB_HOST_NSEC (250 * NSEC_PER_MSEC)
/* While the database is down: the longest span of a connect, unless connect_timeout is longer, and
 * of the wait of others for its end. */
#define SERVER_DB_PROBE_NSEC      (2 * NSEC_PER_SEC)
#define SERVER_DB_PROBE_WAIT_NSEC (1 * NSEC_PER_SEC)
/* A database without a free connection is asked again for so long, this often: those of a worker
 * that retires are gone a moment after it has closed them. */
#define SERVER_DB_FULL_NSEC       (250 * NSEC_PER_MSEC)
#define SERVER_DB_FULL_PAUSE_NSEC (10 * NSEC_PER_MSEC)
/* A connection that was idle for longer is asked for a sign of life before it is used; for that,
 * and for --db-reset, the database has so long. */
#define SERVER_DB_TRUST_NSEC   (1 * NSEC_PER_SEC)
#define SERVER_DB_COMMAND_NSEC (1 * NSEC_PER_SEC)
/* Background tasks of a worker; and how long one has to end once it is cancelled. */
#define SERVER_BACKGROUND_MAX     64
#define SERVER_BACKGROUND_SECONDS 5
/* The span between two questions of srv_wanted about the client. */
#define SERVER_WANTED_LOOK_NSEC (4 * NSEC_PER_MSEC)
/* Spans between two looks of a master whether the object that it serves was overwritten; and for
 * which a reload waits for the check of a new one. */
#define SERVER_OBJECT_LOOK_NSEC  (2 * NSEC_PER_SEC)
#define SERVER_OBJECT_CHECK_NSEC (10 * NSEC_PER_SEC)
#define SERVER_COMPILE_NSEC      (120 * NSEC_PER_SEC) /* of a source, and its check */
/* A process without a master looks after the processes beside it so often. */
#define SERVER_TEND_NSEC NSEC_PER_SEC
/* The end of a worker waits for its last cancel requests to reach the database for so long. */
#define SERVER_DB_CLOSE_NSEC (1 * NSEC_PER_SEC)

#endif
