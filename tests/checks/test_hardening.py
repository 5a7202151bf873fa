# SPDX-License-Identifier: MIT
"""The program for use is built with what Debian's dpkg-buildflags ask for under hardening=+all."""

import os
import re
import subprocess

import pytest
from tree import ROOT

SRV = os.environ.get("SRV_BIN", str(ROOT / "build/release/cmd/srv"))


def readelf(*options):
    return subprocess.run(["readelf", "-W", *options, SRV], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def symbols():
    table = readelf("--dyn-syms")
    if "__asan_" in table or "__tsan_" in table:
        pytest.skip("a sanitizer's build is not for use")
    return table


def test_addresses_are_random_and_tables_read_only(symbols):
    assert re.search(r"Type:\s+DYN", readelf("-h"))
    segments = readelf("-l")
    assert "GNU_RELRO" in segments
    assert re.search(r"GNU_STACK.* RW +0x", segments)
    assert not re.search(r"LOAD.* RWE ", segments)
    assert re.search(r"FLAGS.*\bNOW\b|BIND_NOW", readelf("-d")) and "TEXTREL" not in readelf("-d")


def test_library_calls_are_checked(symbols):
    """Where the compiler knows the size of a buffer, and of the stack."""
    assert {"__snprintf_chk", "__vsnprintf_chk", "__memcpy_chk"} & set(re.findall(r"__\w+_chk", symbols))
    assert len(set(re.findall(r"__\w+_chk", symbols))) >= 4
    assert "__stack_chk_fail" in symbols
