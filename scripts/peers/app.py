# SPDX-License-Identifier: MIT
"""The workload of `srv serve index` as a Flask app: one call of the slow API on a kept connection, one greeting.

PORT_API is the port of the slow API on loopback (default 4000).
"""

import os

import requests
from flask import Flask, request

app = Flask(__name__)
api = f"http://127.0.0.1:{os.environ.get('PORT_API', '4000')}/"
session = requests.Session()
session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=4000))


@app.route("/")
def index():
    delay = request.args.get("delay") or "1"
    answer = session.get(api, params={"delay": delay})
    if answer.status_code != 200:
        return f"upstream answered {answer.status_code}\n", 502, {"Content-Type": "text/plain"}
    return f"Hi there! {answer.text}", {"Content-Type": "text/plain"}
