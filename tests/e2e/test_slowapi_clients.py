# SPDX-License-Identifier: MIT
"""srv slowapi as curl, wget, httpie and Node see it: cookies, credentials, retries, downloads that go on, caches, forms, uploads."""

import base64
import json
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from test_slowapi_shapes import Control

HERE = Path(__file__).resolve().parent


class Tool:
    """A command of the system, run in a folder of the test."""

    def __init__(self, name, api, folder, *always):
        if shutil.which(name, path="/usr/bin:/bin") is None:
            pytest.skip(f"{name} is not installed: scripts/setup test")
        self.command, self.api, self.folder = [name, *always], api, folder

    def run(self, *args):
        """Arguments that begin with / are paths of the API."""
        args = [self.api.url.rstrip("/") + arg if arg.startswith("/") else arg for arg in map(str, args)]
        return subprocess.run([*self.command, *args], cwd=self.folder, env={"HOME": str(self.folder), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60)

    def __call__(self, *args):
        done = self.run(*args)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    def json(self, *args):
        return json.loads(self(*args))


@pytest.fixture
def api(slowapi, tmp_path):
    return slowapi("--bind", "127.0.0.1:0", "--bind", "https://127.0.0.1:0", "--tls-ca-out", tmp_path / "ca.pem", "--delay", "0", "--control", "127.0.0.1:0")


@pytest.fixture
def curl(api, tmp_path):
    return Tool("curl", api, tmp_path, "-sS", "--max-time", "30")


@pytest.fixture
def wget(api, tmp_path):
    return Tool("wget", api, tmp_path, "-nv", "--timeout=30", "--tries=1")


# --- curl ---------------------------------------------------------------------------


def test_curl_keeps_cookies_in_a_jar(curl):
    assert curl.json("-L", "-c", "jar", "-b", "jar", "/cookies/set?a=1&b=two") == {"cookies": {"a": "1", "b": "two"}}
    assert curl.json("-b", "jar", "/cookies") == {"cookies": {"a": "1", "b": "two"}}
    assert curl.json("-L", "-c", "jar", "-b", "jar", "/cookies/delete?a") == {"cookies": {"b": "two"}}
    assert curl.json("-L", "-b", "c=3", "/cookies") == {"cookies": {"c": "3"}}


@pytest.mark.parametrize("algorithm", ["", "/MD5", "/MD5-sess", "/SHA-256", "/SHA-256-sess"])
def test_curl_answers_a_digest_challenge(curl, algorithm):
    told = {"authenticated": True, "user": "user"}
    assert curl.json("--digest", "-u", "user:secret", f"/digest-auth/auth/user/secret{algorithm}") == told
    assert curl.json("--anyauth", "-u", "user:secret", f"/digest-auth/auth/user/secret{algorithm}") == told
    assert curl("--digest", "-u", "user:wrong", "-o", "body", "-w", "%{http_code}", f"/digest-auth/auth/user/secret{algorithm}") == "401"


def test_curl_shows_other_credentials(curl):
    assert curl.json("-u", "user:a:b", "/basic-auth/user/a:b")["authenticated"] is True
    assert curl.json("--oauth2-bearer", "t0ken", "/bearer")["token"] == "t0ken"
    assert curl("-u", "user:wrong", "-o", "body", "-w", "%{http_code}", "/hidden-basic-auth/user/secret") == "404"


def test_curl_comes_back_when_it_is_told_to(curl, api):
    control = Control(api)
    assert curl("/get?limit=1/1s&key=curl", "-o", "first", "-w", "%{http_code}") == "200"
    # The next window begins within a second; Retry-After says so, and curl waits that long.
    assert curl("--retry", "5", "-o", "second", "-w", "%{http_code}", "/get?limit=1/1s&key=curl") == "200"
    assert curl("--retry", "5", "--retry-delay", "0", "-o", "third", "-w", "%{http_code}", "/get?seq=503,503,200&key=seq") == "200"
    assert control.stats()["status"]["5xx"] == 2
    assert curl("--retry", "5", "--retry-delay", "0", "--retry-all-errors", "/?body=done&first=2&fault=rst&key=rst") == "done"


def test_curl_goes_on_with_a_download(curl, tmp_path):
    whole = b"abcdefghijklmnopqrstuvwxyz" * 40
    done = curl.run("-o", "file", "/range/1040?fault=truncate@30")
    assert done.returncode == 18 and (tmp_path / "file").read_bytes() == whole[:312]  # a partial file
    assert curl("-C", "-", "-o", "file", "-w", "%{http_code}", "/range/1040") == "206"
    assert (tmp_path / "file").read_bytes() == whole
    assert curl("-r", "26-51", "/range/1040") == whole[:26].decode()
    assert curl.run("-C", "-", "-o", "file", "/range/1040").returncode in (0, 33, 22)  # nothing is left
    assert (tmp_path / "file").read_bytes() == whole


def test_curl_compares_etags_and_times(curl, tmp_path):
    assert curl("--etag-save", "tag", "-o", "file", "-w", "%{http_code}", "/etag/abc") == "200"
    assert (tmp_path / "tag").read_text().strip() == '"abc"'
    assert curl("--etag-compare", "tag", "-o", "file", "-w", "%{http_code}", "/etag/abc") == "304"
    assert curl("--etag-compare", "tag", "-o", "file", "-w", "%{http_code}", "/etag/other") == "200"
    assert curl("-z", "Sun, 06 Nov 1994 08:49:37 GMT", "-o", "file", "-w", "%{http_code}", "/cache") == "304"
    assert curl("-R", "-o", "file", "-w", "%{http_code}", "/cache") == "200"


def test_curl_sends_forms_uploads_and_json(curl, tmp_path):
    (tmp_path / "up.txt").write_text("content €\n")
    seen = curl.json("-F", "a=1", "-F", "file=@up.txt;type=text/plain", "-F", "b=<up.txt", "/post")
    assert (seen["form"], seen["files"]) == ({"a": "1", "b": "content €\n"}, {"file": "content €\n"})
    assert curl.json("--data-urlencode", "a=x&y €", "-d", "b=2", "/post")["form"] == {"a": "x&y €", "b": "2"}
    assert curl.json("-G", "--data-urlencode", "q=a b", "/get")["args"] == {"q": "a b"}
    assert curl.json("-T", "up.txt", "/put")["data"] == "content €\n"
    seen = curl.json("-T", "up.txt", "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", "/put")
    assert (seen["data"], seen["headers"]["Transfer-Encoding"]) == ("content €\n", "chunked")
    assert curl.json("-X", "PATCH", "-H", "Content-Type: application/json", "-d", '{"a": [1.5]}', "/patch")["json"] == {"a": [1.5]}
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    assert curl.json("-T", "big", "/upload")["headers"]["Content-Length"] == "3000000"
    assert curl("-T", "big", "-o", "answer", "-w", "%{http_code}", "/put") == "413"


@pytest.mark.parametrize("status, method", [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
def test_curl_follows_redirects_as_their_status_says(curl, status, method):
    seen = curl.json("-L", "-d", "body=1", f"/redirect-to?url=/anything&status_code={status}")
    assert (seen["method"], seen["form"]) == (method, {"body": "1"} if method == "POST" else {})


def test_curl_follows_redirects_as_far_as_it_may(curl):
    assert curl("-L", "-o", "body", "-w", "%{num_redirects} %{url_effective}", "/redirect/5").startswith("5 ")
    assert curl.run("-L", "--max-redirs", "3", "/redirect/5").returncode == 47
    assert curl("-o", "body", "-w", "%{redirect_url}", "/redirect/2?absolute=true").endswith("/absolute-redirect/1")


def test_curl_decodes_what_is_coded(curl):
    for path, member in (("/gzip", "gzipped"), ("/deflate", "deflated"), ("/brotli", "brotli")):
        assert curl.json("--compressed", path)[member] is True
    text = "slow " * 100
    for coding in ("gzip", "deflate", "br"):
        assert curl("--compressed", "-H", f"Accept-Encoding: {coding}", "-D", "head", f"/?body={text.replace(' ', '+')}") == text
        assert f"Content-Encoding: {coding}" in (curl.folder / "head").read_text()


def test_curl_shows_faults_by_its_exit_codes(curl):
    for fault, code in (("rst", 56), ("fin", 52), ("truncate", 18), ("garbage", 1), ("badchunk", 56), ("length=%2B10", 18)):
        assert curl.run("-o", "body", f"/bytes/100?fault={fault}").returncode == code, fault
    assert curl.run("-m", "0.2", "/get?delay=60s").returncode == 28
    assert curl.run("-f", "/status/503").returncode == 22
    for fault in ("nolength", "interim=2", "drip=1us", "hang=5ms@body", "early", "hugeheader=10000"):
        assert len(curl.run("-o", "body", "-w", "%{size_download}", f"/bytes/100?fault={fault}").stdout) == 3, fault


def test_curl_trusts_the_authority_that_was_written(curl, api):
    url = f"https://127.0.0.1:{api.addresses[1][1]}"
    assert curl.json("--cacert", "ca.pem", f"{url}/get")["url"] == f"{url}/get"
    assert curl.run(f"{url}/get").returncode == 60


# --- wget ---------------------------------------------------------------------------


def test_wget_goes_on_with_a_download(wget, tmp_path):
    whole = b"abcdefghijklmnopqrstuvwxyz" * 40
    (tmp_path / "1040").write_bytes(whole[:500])
    wget("-c", "/range/1040")
    assert (tmp_path / "1040").read_bytes() == whole
    # By itself, too: of a download that ends early it gets the rest.
    wget("--tries=5", "--waitretry=0", "-O", "again", "/range/1040?fault=truncate@50&first=1&key=wget")
    assert (tmp_path / "again").read_bytes() == whole


def test_wget_keeps_cookies_and_shows_credentials(wget, tmp_path):
    wget("--keep-session-cookies", "--save-cookies", "jar", "-O", "one", "/cookies/set?a=1")
    wget("--load-cookies", "jar", "-O", "two", "/cookies")
    assert json.loads((tmp_path / "two").read_text()) == {"cookies": {"a": "1"}}
    for path in ("/basic-auth/user/secret", "/digest-auth/auth/user/secret"):
        wget("--user=user", "--password=secret", "-O", "three", path)
        assert json.loads((tmp_path / "three").read_text()) == {"authenticated": True, "user": "user"}
    assert wget.run("--user=user", "--password=wrong", "-O", "four", "/basic-auth/user/secret").returncode == 6


def test_wget_tries_again(wget, tmp_path):
    wget("--tries=5", "--waitretry=0", "--retry-on-http-error=503", "-O", "one", "/?body=done&seq=503,503,200&key=wget")
    assert (tmp_path / "one").read_text() == "done"
    assert wget.run("-O", "two", "/status/503").returncode == 8


def test_wget_takes_what_is_newer_and_walks_pages(wget, tmp_path):
    wget("-r", "-l", "1", "-nH", "/links/4/0")
    assert sorted(path.name for path in (tmp_path / "links/4").iterdir()) == ["0", "1", "2", "3"]
    wget("--compression=gzip", "-O", "page", "/gzip")
    assert json.loads((tmp_path / "page").read_text())["gzipped"] is True
    wget("--content-disposition", "/response-headers?Content-Disposition=attachment%3B%20filename%3Dnamed.json")
    assert (tmp_path / "named.json").exists()
    wget("-S", "--spider", "/html")
    wget("-O", "post", "--post-data=a=1", "/post")
    assert json.loads((tmp_path / "post").read_text())["form"] == {"a": "1"}


def test_wget_trusts_the_authority_that_was_written(wget, api):
    url = f"https://127.0.0.1:{api.addresses[1][1]}/get"
    wget("--ca-certificate=ca.pem", "-O", "one", url)
    assert wget.run("-O", "two", url).returncode == 5


# --- httpie -------------------------------------------------------------------------


@pytest.fixture
def httpie(api, tmp_path):
    return Tool("http", api, tmp_path, "--ignore-stdin", "--timeout=30")


@pytest.fixture
def body(httpie):
    return lambda *args: httpie.json("--body", *args)


def test_httpie_shows_credentials(body, httpie):
    told = {"authenticated": True, "user": "user"}
    assert body("-a", "user:secret", "/basic-auth/user/secret") == told
    assert body("-A", "digest", "-a", "user:secret", "/digest-auth/auth/user/secret") == told
    assert body("-A", "bearer", "-a", "user:style", "/bearer") == {"authenticated": True, "token": "user:style"}
    assert httpie("--headers", "-a", "user:wrong", "/basic-auth/user/secret").startswith("HTTP/1.1 401 Unauthorized")


def test_httpie_keeps_a_session(body):
    assert body("--follow", "--session=./one.json", "/cookies/set?a=b", "Hello:World") == {"cookies": {"a": "b"}}
    seen = body("--session=./one.json", "/get")
    assert (seen["headers"]["Hello"], seen["headers"]["Cookie"]) == ("World", "a=b")
    body("--follow", "--session=./one.json", "/cookies/delete?a")
    assert "Cookie" not in body("--session=./one.json", "/get")["headers"]


def test_httpie_repeats_headers_and_keeps_them_over_redirects(body):
    assert body("/headers", "A:1", "A:2", "B:3")["headers"]["A"] == "1,2"
    seen = body("--follow", "/redirect-to", "url==/post", "status_code==308", "A:1", "A:2", "x=y")
    assert (seen["headers"]["A"], seen["json"]) == ("1,2", {"x": "y"})


def test_httpie_sends_forms_and_what_is_compressed(body, tmp_path):
    (tmp_path / "up.txt").write_text("content €\n")
    seen = body("--form", "/post", "a=1", "a=2", "file@up.txt")
    assert (seen["form"], seen["files"]) == ({"a": ["1", "2"]}, {"file": "content €\n"})
    seen = body("--compress", "--compress", "/post", "foo=bar")
    assert seen["headers"]["Content-Encoding"] == "deflate" and seen["json"] is None
    assert zlib.decompress(base64.b64decode(seen["data"].split(",", 1)[1])) == b'{"foo": "bar"}'
    seen = body("--form", "--compress", "--compress", "/post", "foo=bar")
    assert (seen["data"], seen["form"].get("foo")) == ("", None)
    seen = body("--chunked", "/post", "hello=world")
    assert (seen["headers"]["Transfer-Encoding"], seen["json"]) == ("chunked", {"hello": "world"})
    assert body("/post", "n:=19.99", "list:=[1, null]", "deep[0][x]=y")["json"] == {"n": 19.99, "list": [1, None], "deep": [{"x": "y"}]}


def test_httpie_downloads_follows_and_tells_the_status(httpie, tmp_path):
    httpie("--download", "-o", "robots", "/robots.txt")
    assert (tmp_path / "robots").read_text() == "User-agent: *\nDisallow: /deny\n"
    (tmp_path / "part").write_bytes(b"abcdefghij")
    httpie("--download", "--continue", "-o", "part", "/range/26")
    assert (tmp_path / "part").read_bytes() == b"abcdefghijklmnopqrstuvwxyz"
    assert httpie("--follow", "--all", "--headers", "/redirect/2").count("HTTP/1.1 302 Found") == 2
    for args, code in ((["--check-status", "/status/301"], 3), (["--check-status", "/status/404"], 4), (["--check-status", "/status/500"], 5), (["--timeout=0.05", "/delay/60"], 2), (["--max-redirects=1", "--follow", "/redirect/3"], 6)):
        assert httpie.run(*args).returncode == code, args


# --- Node ---------------------------------------------------------------------------


def test_clients_of_node(api, tmp_path):
    node = shutil.which("node", path="/usr/bin:/bin:/usr/local/bin")
    if node is None:
        pytest.skip("node is not installed: scripts/setup test")
    env = os.environ | {"NODE_PATH": "/usr/share/nodejs", "CA_FILE": str(tmp_path / "ca.pem"), "CONTROL": Control(api).url.rstrip("/")}
    env |= {"API": f"http://127.0.0.1:{api.port}", "API_TLS": f"https://127.0.0.1:{api.addresses[1][1]}"}
    done = subprocess.run([node, "--test", HERE / "slowapi_clients.mjs"], env=env, text=True, capture_output=True, timeout=80)
    assert done.returncode == 0, done.stdout + done.stderr
