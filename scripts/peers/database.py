# SPDX-License-Identifier: MIT
"""The workload of `srv serve db` as a Flask app: half of the delay in the slow API, half in PostgreSQL.

/now is `SELECT NOW()` alone, over connections that are kept; DB_POOL is how many.
PORT_API is the port of the slow API on loopback; ADDRESS_OF_postgres is a connection string of libpq.
gevent's patches reach requests, but not psycopg2: its calls stop the whole process. See database_patched.py.
"""

from gevent import monkey

monkey.patch_all()

import functools  # noqa: E402
import os  # noqa: E402

import psycopg2  # noqa: E402
import psycopg2.pool  # noqa: E402
import requests  # noqa: E402
from flask import Flask, request  # noqa: E402

app = Flask(__name__)
api = f"http://127.0.0.1:{os.environ.get('PORT_API', '4000')}/"
database = os.environ.get("ADDRESS_OF_postgres", "")


@app.route("/")
def index():
    half = float(request.args.get("delay") or 1) / 2
    connection = psycopg2.connect(database)
    try:
        answer = requests.get(api, params={"delay": f"{half:.9f}"})
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOW(), pg_sleep(%s)", (half,))
            row = cursor.fetchone()
    finally:
        connection.close()
    return f"Hi there! {answer.text} {row}", {"Content-Type": "text/plain"}


@functools.cache
def pool():
    """Made in the worker, at its first request: connections do not survive a fork."""
    size = int(os.environ.get("DB_POOL", "8"))
    return psycopg2.pool.ThreadedConnectionPool(size, size, database)


@app.route("/now")
def now():
    connection = pool().getconn()
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOW()")
            row = cursor.fetchone()
    finally:
        pool().putconn(connection)
    return str(row[0]), {"Content-Type": "text/plain"}
