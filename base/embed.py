#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes a text file a C string, for meson.

embed.py FILE NAME OUT         writes `const char NAME[]` to OUT
embed.py FILE NAME OUT STYLE   the same of a page that takes the style sheet in; `NAME_policy` is its Content-Security-Policy,
                               which names its style and its script by their hashes and lets it ask nobody but its server
"""

import base64
import hashlib
import re
import sys


def array(name, data):
    numbers = [str(byte) for byte in data + b"\0"]
    lines = [", ".join(numbers[i : i + 24]) for i in range(0, len(numbers), 24)]
    return f"extern const char {name}[];\nconst char {name}[] = {{\n" + ",\n".join(lines) + "\n};\n"


def policy(page):
    hashes = [base64.b64encode(hashlib.sha256(part).digest()).decode()
              for part in re.search(rb"<style>(.*?)</style>.*<script>(.*?)</script>", page, re.S).groups()]  # fmt: skip
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


file, name, out, *style = sys.argv[1:]
with open(file, "rb") as stream:
    text = stream.read()
if style:
    with open(style[0], "rb") as stream:
        text = text.replace(b"/*style*/", stream.read())
with open(out, "w", encoding="ascii") as stream:
    stream.write(f'/* Made of {file.split("/")[-1]}. */\n{array(name, text)}')
    if style:
        stream.write(array(f"{name}_policy", policy(text).encode()))
