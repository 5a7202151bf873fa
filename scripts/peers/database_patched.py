# SPDX-License-Identifier: MIT
"""database.py with psycopg2 made cooperative: psycogreen lets libpq wait through gevent's loop."""

from gevent import monkey

monkey.patch_all()

from psycogreen.gevent import patch_psycopg  # noqa: E402

patch_psycopg()

from database import app  # noqa: E402, F401
