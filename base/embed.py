#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Makes a text file a C string: embed.py FILE NAME OUT writes `const char NAME[]` to OUT, for meson."""

import sys

file, name, out = sys.argv[1:]
with open(file, "rb") as stream:
    numbers = [str(byte) for byte in stream.read() + b"\0"]
lines = [", ".join(numbers[i : i + 24]) for i in range(0, len(numbers), 24)]
with open(out, "w", encoding="ascii") as stream:
    stream.write(f'/* Made of {file.split("/")[-1]}. */\nextern const char {name}[];\n')
    stream.write(f"const char {name}[] = {{\n" + ",\n".join(lines) + "\n};\n")
