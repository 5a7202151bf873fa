# SPDX-License-Identifier: MIT
"""The workload of `srv serve db` as a Flask app: half of the delay in the slow API, half in PostgreSQL.

PORT_API is the port of the slow API on loopback; ADDRESS_OF_postgres is a connection string of libpq.
gevent's patches reach requests, but not psycopg2: its calls stop the whole process. See database_patched.py.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402

import psycopg2  # noqa: E402
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
