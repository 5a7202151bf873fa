# SPDX-License-Identifier: MIT
"""The page of srv lab in a real browser: every control moved, figures that are those of the JSON, keys alone, sizes and colours."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import Browser
from harness import wait_for
from lab import TOKEN, Lab, pids
from pages import needs_chromium

pytestmark = [needs_chromium, pytest.mark.seconds(300)]


@pytest.fixture
def lab(start):
    return start("lab", kind=Lab)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as one:
        yield one


@pytest.fixture
def show(lab, browser):
    """show(fragment="", **how) -> the page; errors and requests elsewhere fail the test in the end."""
    pages = []

    def open_page(fragment="", **how):
        page = browser.open(f"{lab.url}?token={TOKEN}{fragment}", **how)
        pages.append(page)
        page.wait("document.querySelectorAll('.lane').length === 3 && ready")
        return page

    yield open_page
    for page in pages:
        page.run("1")  # takes in what has come
        assert page.logged == []
        assert {urlsplit(url).netloc for url in page.asked if not url.startswith("data:")} <= {f"127.0.0.1:{lab.port}"}
        page.call("Page.close")


def press_button(page, number, text):
    """As a person does: by its text."""
    page.run(
        f"[...document.querySelectorAll('section:nth-of-type({number}) button')].find(b => b.textContent === {json.dumps(text)}).click()"
    )


def running(page, number=1):
    page.wait(f"lanes[{number} - 1].state.state === 'running' && lanes[{number} - 1].state.figures.load.second > 0")


def test_every_control_is_there_and_is_taken(lab, show):
    """Each is moved by the events of a person's hand, and the lab has the value."""
    page = show()
    rows = json.loads(lab.ask("GET", "/controls").body)
    for row in rows:
        number, name = 2, row["name"]
        value = row["words"][-1] if row.get("words") else row["max"]
        if name == "model":
            value = "pool"
        target = f"#l{number}-{name}" + ("" if row.get("words") else "-n")
        page.run(
            f"(() => {{ const it = document.querySelector('{target}'); it.value = {json.dumps(str(value))};"
            " it.dispatchEvent(new Event('change', { bubbles: true })); })()"
        )
        wait_for(lambda name=name, value=value: lab.lane(number)["settings"][name] == value, what=f"{name} {value}")
    assert page.run("lanes[1].error") == ""


def test_sliders_move_by_keys_and_change_what_runs(lab, show):
    lab.start(clients=5, delay_ms=50)
    page = show()
    running(page)
    page.run("document.querySelector('#l1-delay_ms').focus()")
    for _ in range(3):
        page.press("ArrowRight")
    value = page.run("Number(document.querySelector('#l1-delay_ms-n').value)")
    assert value > 50
    wait_for(lambda: lab.lane()["settings"]["delay_ms"] == value, what="the slider's value")
    page.wait(f"lanes[0].state.figures.load.tick_p50_ms >= {value}")
    page.wait("lanes[0].told.textContent.startsWith('delay: rules of the slow API')")
    page.wait(f"location.hash.includes('delay_ms:{value}')")


def test_keys_alone_start_change_and_stop_a_lane(lab, show):
    page = show()

    def tab_to(expression):
        for _ in range(200):
            page.press("Tab")
            if page.run(f"(node => {expression})(document.activeElement)"):
                return
        raise AssertionError(f"no key leads to {expression}")

    lane1 = "node.closest('section') === document.querySelector('section')"
    tab_to(f"node.textContent === 'Start' && {lane1}")
    page.press("Enter")
    running(page)
    tab_to(f"node.id === 'l1-model' && {lane1}")
    page.press("ArrowDown")
    wait_for(lambda: lab.lane()["settings"]["model"] == "pool", what="the next model")
    running(page)
    tab_to("node.dataset.do === 'kill-worker'")
    page.wait("lanes[0].state.figures && lanes[0].state.figures.server && lanes[0].state.figures.server.starts >= 1")
    page.press("Space")
    page.wait("lanes[0].state.figures && lanes[0].state.figures.server.starts >= 2")
    page.run("document.activeElement.blur()")
    tab_to(f"node.textContent === 'Stop' && {lane1}")
    page.press("Enter")
    wait_for(lambda: lab.lane()["state"] == "stopped", what="the stop")


def test_figures_on_the_page_are_those_of_the_json(lab, show):
    lab.start(model="pool", threads=3, clients=8, delay_ms=100)
    page = show()
    running(page)
    page.wait("lanes[0].state.figures.waits.queue === 5 && lanes[0].requests.size >= 8")
    seen = page.run(
        """(() => {
            const lane = lanes[0], figures = lane.state.figures, text = node => node.textContent;
            describe(lane);
            return { figures, say: text(lane.say), flight: text(lane.fact.flight), threads: text(lane.fact.threads),
                api: text(lane.fact.api), sums: lane.sum.map(text), waits: [...lane.waits.children].map(text),
                drawn: lane.requests.size, state: text(lane.stateText) };
        })()"""
    )
    figures = seen["figures"]
    assert seen["state"] == "running" and seen["say"] == figures["limit"]
    assert seen["flight"] == str(figures["load"]["in_flight"]) and seen["threads"] == str(figures["server"]["threads"])
    assert seen["api"] == str(figures["upstream"]["in_flight"])
    assert seen["waits"] == ["5 queued for a slot", "3 waiting for the slow API"]
    assert "3 / 0.1 s = 30 per second" in seen["sums"][1] and "100 %" in seen["sums"][2]
    assert seen["drawn"] >= 8
    # The page's state is what the lab tells everybody; counters only grow.
    assert sum(figures["statuses"].values()) <= sum(lab.lane()["figures"]["statuses"].values())


def test_bars_are_drawn_in_the_colours_of_what_is_waited_for(lab, show):
    lab.start(clients=9, delay_ms=300)
    page = show()
    running(page)
    page.wait("lanes[0].requests.size >= 9")
    page.wait(
        """(() => {
            draw(lanes[0], performance.now());
            const canvas = lanes[0].gantt, data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const hex = colours.w1, want = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
            let count = 0;
            for (let i = 0; i < data.length; i += 4) count += want.every((value, k) => Math.abs(data[i + k] - value) < 3);
            return count > 500;
        })()"""
    )


def test_the_address_brings_all_back(lab, show):
    page = show("#lane1=model:pool,threads:7,clients:4,run&lane3=law:exp,delay_ms:90")
    running(page)
    assert page.run("location.hash") == "#lane1=model:pool,threads:7,clients:4,run&lane2=&lane3=delay_ms:90,law:exp"
    first, third = lab.lane(1), lab.lane(3)
    assert (first["settings"]["threads"], first["settings"]["clients"], first["state"]) == (7, 4, "running")
    assert (third["settings"]["law"], third["settings"]["delay_ms"], third["state"]) == ("exp", 90, "stopped")
    again = show(page.run("location.hash"))
    assert again.run("location.hash") == page.run("location.hash")
    assert pids(lab.lane(1)) == pids(first), "what is so already does not restart"


def test_a_refusal_is_told_on_the_page(lab, show):
    page = show()
    page.run("send(lanes[0], { set: { app: 'curl', model: 'event' } })")
    page.wait("lanes[0].told.textContent.includes('callbacks') && lanes[0].told.classList.contains('error')")
    page.run("send(lanes[0], { set: { workers: 2 } })")
    page.logged.clear()  # the browser logs the 400 that was asked for


def test_playgrounds_set_a_lane(lab, show):
    page = show()
    for name in page.run("Object.keys(PRESETS)"):
        page.run(
            f"(() => {{ lanes[1].preset.value = '{name}'; lanes[1].preset.dispatchEvent(new Event('change')); }})()"
        )
        wanted = page.run(f"PRESETS['{name}']")
        wait_for(lambda wanted=wanted: wanted.items() <= lab.lane(2)["settings"].items(), what=name)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1920])
def test_it_fits_and_reads_at_every_size(lab, show, width, dark):
    lab.start(clients=5)
    page = show(width=width, height=900, dark=dark)
    running(page)
    assert page.run("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('dd, label, button, .say, .sums li, legend')].filter(e => e.offsetParent && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"
    assert page.run(wide) == []
    assert page.run("matchMedia('(prefers-color-scheme: dark)').matches") is dark


def test_many_changes_leave_nothing_behind_in_the_page(lab, show):
    """Two hundred changes while a lane runs: nodes and what is remembered stay as few."""
    lab.start(clients=5, delay_ms=20)
    page = show()
    running(page)
    nodes = page.run("document.querySelectorAll('*').length")
    for i in range(200):
        page.run(f"wish(lanes[0], 'delay_ms', {20 + i % 40})")
    wait_for(lambda: lab.lane()["settings"]["delay_ms"] == 59, what="the last change")
    page.wait("lanes[0].history.length > 5")
    assert page.run("document.querySelectorAll('*').length") <= nodes + 20
    assert page.run("lanes[0].history.length") <= 400 and page.run("lanes[0].requests.size") < 5000


def axe():
    """axe-core's script, where somebody has it: Debian has none."""
    places = [os.environ.get("AXE", ""), *(str(up / "node_modules/axe-core/axe.min.js") for up in Path(__file__).parents)]
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


@pytest.mark.skipif(axe() is None, reason="axe-core is not there: npm install axe-core, or AXE=PATH/axe.min.js")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(lab, show, dark):
    lab.start(clients=5)
    page = show(dark=dark)
    running(page)
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.run(axe().read_text() + ";1")
    found = page.run("axe.run().then(found => found.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' ; ')))")
    assert found == []
