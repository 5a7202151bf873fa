# SPDX-License-Identifier: MIT
"""The page of slowapi's control endpoint in a real browser: its figures are those of /stats, and all of its switches work."""

import json
import re

import pytest
from browser import Browser
from harness import Client, RawConnection, get, request, wait_for
from pages import check_tags, needs_chromium
from test_bench_report import axe
from test_slowapi_control import exchange, put_rules
from test_slowapi_shapes import Control

RULES = [{"name": "slow-pay", "path": "/pay/**", "method": "POST", "params": "delay=1ms", "body": {"paid": True}},
         {"name": "tea", "path": "/tea", "params": "status=418"}]  # fmt: skip


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def page(slowapi, chromium):
    """page(*OPTIONS, width=1280, dark=False) -> (the server, its control endpoint, its page in a browser)"""
    pages = []

    def start(*options, width=1280, dark=False):
        api = slowapi("--control", "127.0.0.1:0", "--delay", "0", *(options or ("--journal", "100")))
        control = Control(api)
        put_rules(control, *RULES)
        pages.append(chromium.open(control.url + "/", width=width, dark=dark))
        pages[-1].wait("document.querySelectorAll('#rules li').length == 2")
        return api, control, pages[-1]

    yield start
    for one in pages:
        one.close()


def row(name):
    """Whether the rule has a row, as an expression."""
    return f"[...document.querySelectorAll('#rules strong')].some(one => one.textContent == {json.dumps(name)})"


def press(browser, name, button):
    """Presses a button of a rule."""
    browser.click(f"#rules [aria-label={json.dumps(button + ' ' + name)}]")


def asked_whom(browser):
    """The servers that the page has asked."""
    return {"/".join(url.split("/")[:3]) for url in browser.asked if url.startswith(("http", "ws", "ftp"))}


def live_rules(control):
    return json.loads(control.ask("GET", "/rules")[1])


# --- what it is made of -----------------------------------------------------------------------------


def test_page_is_one_file_that_nothing_else_may_change(slowapi):
    control = Control(slowapi("--control", "0"))
    status, headers, text = exchange(control, "GET", "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    policy = headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert re.findall(r"""(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""", text) == []
    assert not re.search(r"\bon\w+=|style=|innerHTML|eval\(", text)
    check_tags(re.sub(r"<(input|link)\b[^>]*>", "", text))
    assert exchange(control, "GET", "/", None, {"Host": "evil.example"})[0] == 403


# --- what it shows ----------------------------------------------------------------------------------


@needs_chromium
def test_figures_are_those_of_stats(page):
    api, control, browser = page()
    client = Client(api)
    for path in ["/get"] * 5 + ["/status/503"] * 3 + ["/tea"] * 2 + ["/?delay=3ms", "/get?workers=2&service=1ms&queue=7", "/nope"]:
        client.ask("GET", path)
    client.close()
    assert request(api, "POST", "/pay/7", b"x").status == 200
    with pytest.raises(OSError):
        get(api, "/get?fault=rst@head")
    stats = wait_for(lambda: (s := control.stats())["in_flight"] == 0 and s["open_connections"] == 0 and s, what="the ends")
    browser.wait(f"document.querySelector('[data-name=requests] dd').textContent == '{stats['requests']}' && !last.open_connections")
    shown = browser.run("Object.fromEntries([...document.querySelectorAll('#counters div')].map(d => [d.dataset.name, +d.lastChild.textContent]))")
    assert shown == {name: value for name, value in stats.items() if isinstance(value, int)}
    facts = browser.run("Object.fromEntries([...document.querySelectorAll('#facts div')].map(d => [d.firstChild.textContent, d.querySelector('span').textContent]))")
    assert (facts["requests"], facts["answered"], facts["5xx"], facts["unanswered"], facts["faults"]) == ("15", "14", "3", "1", "1")
    table = browser.run("[...document.querySelectorAll('#paths tr')].map(r => [...r.children].map(c => c.textContent))")
    assert {line[0]: line[1:] for line in table} == {
        path["path"]: [str(n) for n in (path["requests"], *(path["status"][f"{c}xx"] for c in (2, 3, 4, 5)), path["unanswered"])] for path in stats["paths"]}  # fmt: skip
    assert browser.run("[...document.querySelectorAll('#queues tr')].map(r => [...r.children].map(c => c.textContent))") == [
        ["/get", "0 of 2", "0 of 7", "1", "0"]]  # fmt: skip
    kinds = browser.run("Object.fromEntries([...document.querySelectorAll('#faults li')].map(l => [l.querySelector('label').textContent, parseInt(l.querySelector('.n').textContent)]))")
    assert kinds == stats["faults"]
    counts = browser.run("[...document.querySelectorAll('#rules li')].map(l => [l.querySelector('strong').textContent, parseInt(l.querySelector('.sums').textContent)])")
    assert dict(counts) == {rule["name"]: rule["requests"] for rule in stats["rules"]} == {"slow-pay": 1, "tea": 2}
    delays = browser.run("Object.fromEntries([...document.querySelectorAll('#delays tr')].map(r => [r.firstChild.textContent, +r.lastChild.textContent]))")
    assert delays["planned"] == pytest.approx(stats["planned"]["max_ms"], rel=0.02) and delays["real"] == pytest.approx(stats["actual"]["max_ms"], rel=0.02)
    assert browser.run("document.querySelectorAll('#bins path').length") == 2
    assert browser.logged == [] and asked_whom(browser) == {control.url}


@needs_chromium
def test_last_requests_are_shown_and_looked_into(page):
    api, control, browser = page()
    request(api, "POST", "/pay/7", b"card 17")
    with RawConnection(api) as conn:
        conn.send(b"GET /?delay=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        browser.wait("document.querySelectorAll('#requests tr').length == 2")
        browser.wait("document.querySelector('#requests tr').children[5].textContent == 'in-flight'")
    browser.wait("document.querySelector('#requests tr').children[5].textContent == 'aborted'")
    lines = browser.run("[...document.querySelectorAll('#requests tr')].map(r => [...r.children].map(c => c.textContent))")
    assert [line[0] for line in lines] == ["2", "1"] and lines[1][2:6] == ["POST", "/pay/7", "200", "answered"] and lines[1][8] == "slow-pay"
    browser.click("#requests tr:last-child button")
    shown = json.loads(browser.wait("document.querySelector('#shown').open && document.querySelector('#shown-text').textContent"))
    assert shown["body"] == "card 17" and shown["rule"] == "slow-pay"
    browser.click("#shown-close")
    browser.wait("!document.querySelector('#shown').open")
    assert browser.logged == []


@needs_chromium
def test_without_a_journal_it_says_so_and_works(page):
    api, control, browser = page("--seed", "1")
    browser.wait("document.querySelector('#no-requests').textContent.includes('--journal N')")
    assert browser.run("document.querySelector('[data-journal]').disabled")
    get(api, "/tea")
    browser.wait("document.querySelector('[data-name=requests] dd').textContent == '1'")
    # A browser logs the 404 that told so, once.
    assert len(browser.logged) == 1 and "404" in browser.logged[0]


# --- what it does -----------------------------------------------------------------------------------


@needs_chromium
def test_rules_are_added_edited_moved_switched_and_deleted(page):
    api, control, browser = page()
    browser.click("#add")
    browser.wait("document.querySelector('#editor').open")
    for field, text in (("#e-name", "new"), ("#e-path", "/new"), ("#e-params", "status=201&nope=1"), ("#e-rest", '{"header": {"X-A": "b"}}')):
        browser.fill(field, text)
    browser.click("#edit button.main")
    assert "nope" in browser.wait("document.querySelector('#edit-error').textContent")
    browser.fill("#e-params", "status=201")
    browser.fill("#e-rest", '{"header": ')
    browser.click("#edit button.main")
    browser.wait("document.querySelector('#edit-error').textContent.startsWith('All else')")
    browser.fill("#e-rest", '{"header": {"X-A": "b"}}')
    browser.click("#edit button.main")
    browser.wait("!document.querySelector('#editor').open")
    assert live_rules(control)[0] == {"name": "new", "path": "/new", "params": "status=201", "header": {"X-A": "b"}}
    assert get(api, "/new", {"X-A": "b"}).status == 201

    browser.wait(row("new"))
    press(browser, "new", "Edit")
    browser.wait("document.querySelector('#editor').open")
    assert browser.run("[document.querySelector('#e-path').value, JSON.parse(document.querySelector('#e-rest').value)]") == ["/new", {"header": {"X-A": "b"}}]
    browser.fill("#e-params", "status=202")
    browser.press("Enter")
    browser.wait("!document.querySelector('#editor').open")
    assert get(api, "/new", {"X-A": "b"}).status == 202

    press(browser, "new", "Down")
    wait_for(lambda: [rule["name"] for rule in live_rules(control)] == ["slow-pay", "new", "tea"], what="the move")
    browser.wait("document.querySelectorAll('#rules strong')[1].textContent == 'new'")
    press(browser, "new", "Up")
    wait_for(lambda: [rule["name"] for rule in live_rules(control)] == ["new", "slow-pay", "tea"], what="the move back")

    browser.wait("document.querySelectorAll('#rules strong')[0].textContent == 'new'")
    browser.click("#rules li:nth-child(3) input")
    wait_for(lambda: live_rules(control)[2].get("enabled") is False, what="the switch")
    assert get(api, "/tea").status == 404
    browser.wait("document.querySelector('#rules li:nth-child(3)').classList.contains('off')")
    browser.click("#rules li:nth-child(3) input")
    wait_for(lambda: "enabled" not in live_rules(control)[2], what="the switch")
    assert get(api, "/tea").status == 418
    browser.click("#rules-off")
    wait_for(lambda: all(rule.get("enabled") is False for rule in live_rules(control)), what="the master switch")
    browser.click("#rules-on")
    wait_for(lambda: not any("enabled" in rule for rule in live_rules(control)), what="the master switch")

    browser.wait("!document.querySelector('#rules .off')")
    press(browser, "new", "Delete")
    wait_for(lambda: live_rules(control) == RULES, what="the deletion")
    browser.wait(f"!{row('new')}")
    # A browser logs each 400 that said what was wrong with a rule.
    assert [one for one in browser.logged if "400" not in one] == [] and asked_whom(browser) == {control.url}


@needs_chromium
def test_a_rule_that_somebody_else_changed_is_not_lost(page):
    api, control, browser = page()
    press(browser, "tea", "Edit")
    browser.wait("document.querySelector('#editor').open")
    put_rules(control, RULES[0], RULES[1] | {"params": "status=410"})
    browser.fill("#e-params", "status=411")
    browser.click("#edit button.main")
    assert "Somebody else" in browser.wait("document.querySelector('#edit-error').textContent")
    assert live_rules(control)[1]["params"] == "status=410"
    browser.press("Escape")
    browser.wait("!document.querySelector('#editor').open")
    assert browser.logged == []


@needs_chromium
def test_faults_are_switched(page):
    api, control, browser = page()
    browser.wait("document.querySelectorAll('#faults li').length > 20")
    at = browser.run("[...document.querySelectorAll('#faults label')].findIndex(l => l.textContent == 'fin') + 1")
    browser.click(f"#faults li:nth-child({at}) input")
    wait_for(lambda: not {f["kind"]: f["enabled"] for f in json.loads(control.ask("GET", "/faults")[1])}["fin"], what="the switch")
    assert get(api, "/?fault=fin@head").status == 200
    browser.click("#faults-off")
    wait_for(lambda: not any(f["enabled"] for f in json.loads(control.ask("GET", "/faults")[1])), what="the master switch")
    browser.wait("![...document.querySelectorAll('#faults input')].some(i => i.checked)")
    browser.click("#faults-on")
    wait_for(lambda: all(f["enabled"] for f in json.loads(control.ask("GET", "/faults")[1])), what="the master switch")
    assert browser.logged == []


@needs_chromium
def test_the_delay_of_all_is_set_and_taken_back(page):
    api, control, browser = page()
    browser.fill("#delay-value", "70ms")
    browser.press("Enter")
    wait_for(lambda: len(live_rules(control)) == 3, what="the rule")
    assert get(api, "/").headers["x-slowapi-delay"] == "70ms"
    browser.fill("#delay-value", "80ms")
    browser.click("#delay button.main")
    wait_for(lambda: live_rules(control)[-1]["params"] == "delay=80ms", what="the other delay")
    browser.fill("#delay-value", "soon")
    browser.click("#delay button.main")
    browser.wait("document.querySelector('#message').className == 'bad' && document.querySelector('#message').textContent.includes('soon')")
    browser.click("#delay-end")
    wait_for(lambda: live_rules(control) == RULES, what="the end")
    assert [one for one in browser.logged if "400" not in one] == []


@needs_chromium
def test_an_outage_begins_and_ends(page):
    api, control, browser = page()
    browser.fill("#outage-for", "soon")
    browser.click("#outage button.main")
    browser.wait("document.querySelector('#message').className == 'bad'")
    browser.fill("#outage-for", "1h")
    browser.click("#outage button.main")
    wait_for(lambda: get(api, "/get").status == 503, what="the outage")
    browser.wait("/[0-9]+ s left/.test(document.querySelector('#outage-left').textContent)")
    browser.run("document.querySelector('#outage-with').value = 'fault=rst'")
    browser.click("#outage button.main")
    wait_for(lambda: not answers(api), what="resets")
    browser.wait("document.querySelectorAll('#rules li').length == 3")
    browser.click("#rules li:nth-child(3) input")  # a change meanwhile does not make it longer
    wait_for(lambda: live_rules(control)[2].get("enabled") is False, what="the switch")
    assert int(live_rules(control)[0]["for"].removesuffix("ms")) <= 3600_000  # the rest; it was written as 1h
    browser.click("#outage-end")
    wait_for(lambda: answers(api), what="the end")
    assert len(live_rules(control)) == 2


@needs_chromium
def test_an_outage_ends_by_itself(page):
    api, control, browser = page()
    browser.fill("#outage-for", "1s")
    browser.click("#outage button.main")
    browser.wait("document.querySelector('#message').textContent == 'The outage is over.'")
    wait_for(lambda: live_rules(control) == RULES and get(api, "/get").status == 200, what="the page to tidy up")
    browser.run("clearInterval(timer)")  # from here on as if the page were closed
    browser.fill("#outage-for", "4s")
    browser.click("#outage button.main")
    wait_for(lambda: len(live_rules(control)) == 3, what="the outage")
    wait_for(lambda: get(api, "/get").status == 200, what="the end by the server")
    assert len(live_rules(control)) == 3 and browser.logged == []


def answers(api):
    try:
        return get(api, "/get").status == 200
    except OSError:
        return False


@needs_chromium
def test_traces_are_forgotten(page):
    api, control, browser = page()
    for button, path in (("DELETE /stats", None), ("DELETE /sequences", None), ("DELETE /queues", "/queues"), ("DELETE /requests", "/requests"),
                         ("POST /reset", "/requests")):  # fmt: skip
        get(api, "/get?seq=503,200&workers=1&service=1ms&key=k")
        browser.wait("document.querySelector('[data-name=requests] dd').textContent != '0'")
        browser.run("document.querySelector('#message').textContent = ''")
        browser.click(f"[data-ask='{button}']")
        browser.wait("document.querySelector('#message').textContent.startsWith('Forgotten')")
        if button in ("DELETE /stats", "POST /reset"):
            assert control.stats()["requests"] == 0
        if button in ("DELETE /sequences", "POST /reset"):
            assert get(api, "/get?seq=503,200&key=k").status == 503
        if path == "/requests":
            browser.wait("document.querySelectorAll('#requests tr').length == 0")
        if path and button != "POST /reset":
            found = json.loads(control.ask("GET", path)[1])
            assert found == [] or found["count"] == 0
    assert browser.logged == []


@needs_chromium
def test_live_is_switched_off(page):
    api, control, browser = page()
    browser.click("#live")
    browser.wait("!document.querySelector('#live').checked && !looking")
    before = browser.run("last.uptime_s")
    get(api, "/get")
    browser.run("new Promise(done => setTimeout(done, 2500))")
    assert browser.run("last.uptime_s") == before
    browser.click("#live")
    browser.wait("document.querySelector('[data-name=requests] dd').textContent == '1'")


@needs_chromium
def test_a_server_that_has_gone_is_told_and_found_again(page):
    api, control, browser = page()
    api.stop()
    browser.wait("document.querySelector('#state').textContent.startsWith('no answer') && document.querySelector('#state').className == 'bad'")


# --- for everybody ----------------------------------------------------------------------------------


@needs_chromium
def test_all_of_it_is_reached_and_used_by_keys(page):
    api, control, browser = page()
    browser.wait("document.querySelectorAll('#faults li').length > 20")
    count = browser.run("document.querySelectorAll('a, button:not(:disabled), input, select, [tabindex=\"0\"]').length")
    browser.run("document.activeElement.blur()")
    seen = set()
    for _ in range(count + 5):
        browser.press("Tab")
        seen.add(browser.run("(e => e.id || e.ariaLabel || e.textContent || e.outerHTML)(document.activeElement)"))
    assert {"live", "outage-for", "outage-path", "outage-with", "delay-value", "rules-off", "faults-on", "add", "Edit tea", "Up slow-pay", "Delete tea"} <= seen
    browser.run("document.querySelector('#add').focus()")
    browser.press("Enter")
    browser.wait("document.querySelector('#editor').open && document.activeElement.id == 'e-name'")
    browser.type("keys")
    for text in ("/keys", "", "status=204"):
        browser.press("Tab")
        if text:
            browser.type(text)
    browser.press("Enter")
    wait_for(lambda: live_rules(control)[0] == {"name": "keys", "path": "/keys", "params": "status=204"}, what="the rule")
    browser.wait(row("keys"))
    browser.run("document.querySelector('#rules input').focus()")
    browser.press("Space")
    wait_for(lambda: live_rules(control)[0].get("enabled") is False, what="the switch")
    browser.wait("document.querySelector('#rules li').classList.contains('off')")
    assert browser.run("document.activeElement == document.querySelector('#rules input')")  # looking again takes no focus away


@needs_chromium
@pytest.mark.parametrize("width", [360, 720, 1280, 1920])
def test_nothing_is_wider_than_its_place(page, width):
    api, control, browser = page(width=width)
    put_rules(control, *RULES, {"name": "n" * 128, "path": "/" + "p" * 300, "params": "delay=0", "header": {"X-" + "h" * 200: "v" * 200}})
    for path in ("/get", "/" + "x" * 110, "/tea", "/get?workers=1&service=1ms"):
        get(api, path)
    browser.wait("document.querySelectorAll('#requests tr').length == 4 && document.querySelectorAll('#rules li').length == 3")
    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    wide = "[...document.querySelectorAll('.card, .rule, .row, dd, .column')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML.slice(0, 200))"
    assert browser.run(wide) == []
    browser.click("#add")
    browser.wait("document.querySelector('#editor').open")
    assert browser.run("document.querySelector('#editor').getBoundingClientRect().width") <= width
    browser.click("#edit-cancel")


@needs_chromium
@pytest.mark.skipif(axe() is None, reason="axe-core is not there: npm install axe-core, or AXE=PATH/axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme):
    api, control, browser = page(dark=scheme == "dark")
    put_rules(control, *RULES, {"name": "off", "enabled": False, "params": "delay=0"})
    for path in ("/get", "/tea", "/status/500", "/get?workers=1&service=1ms"):
        get(api, path)
    browser.wait("document.querySelectorAll('#requests tr').length == 4 && document.querySelectorAll('#rules li').length == 3")
    browser.run(axe().read_text() + "; 0")
    for opener in ("0", "document.querySelector('#add').click()"):
        browser.run(opener)
        found = browser.run("axe.run().then(f => f.violations.map(v => [v.id, v.nodes.map(n => n.html)]))")
        assert found == []
    browser.click("#edit-cancel")
