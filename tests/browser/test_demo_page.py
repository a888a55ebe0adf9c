"""The pages of `tidegate demo`, as people use them: by hand, by keyboard, on a phone. Keeps pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import BrowserError, Chromium, Page
from demo import Demo

CTRL = 2


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    d = Demo()
    try:
        yield d
        d.finish()
    finally:
        d.kill()


@pytest.fixture
def half_close(tab: Page, demo: Demo) -> Iterator[Page]:
    tab.open(demo.page)
    yield tab
    assert tab.complaints() == []


@pytest.fixture
def terminal(tab: Page, demo: Demo) -> Iterator[Page]:
    tab.open(demo.page + "terminal")
    tab.wait("document.querySelector('#up').textContent === 'open'")
    yield tab
    assert tab.complaints() == []


def click(page: Page, name: str) -> None:
    page.value(f"document.querySelector('#{name}').click()")


def wait_verdict(page: Page, panel: str, words: str) -> str:
    try:
        page.wait(f"document.querySelector('#{panel} .verdict').textContent.includes({words!r})")
    except BrowserError:
        pass
    text = page.text(f"#{panel} .verdict")
    assert words in text, text
    return text


def take_over(page: Page) -> None:
    """A new exchange, by hand."""
    wait_verdict(page, "with", "Both directions complete")
    click(page, "send")
    wait_verdict(page, "with", "Open")


# ---- half-close ----


def test_runs_by_itself_once(half_close: Page, pictures: Path) -> None:
    half_close.wait("document.querySelectorAll('#without rect.lost').length > 3")
    half_close.screenshot(pictures / "demo-under-way.png")
    good = wait_verdict(half_close, "with", "Both directions complete")
    assert good == "Both directions complete. All 160 bytes of the answer arrived, count checked."
    lost = wait_verdict(half_close, "without", "0 of 160")
    assert lost == "It could only close both. The answer is lost: 0 of 160 bytes arrived."
    answer = half_close.text("#with .answer")
    assert answer.startswith("Answer: anchor bay drift gull harbour lagoon moon reef salt shore tide wave 12 lines, 68 bytes")
    assert half_close.text("#without .answer") == "Answer: nothing"
    assert "FIN 68" in half_close.text("#with ol") and "Close 1000" in half_close.text("#with ol")
    half_close.screenshot(pictures / "demo.png")


def test_end_without_words(half_close: Page) -> None:
    """Ended before it is open, and before the first words of its own."""
    half_close.value("document.querySelector('#again').click(), document.querySelector('#end').click()")
    wait_verdict(half_close, "with", "Both directions complete")
    assert "FIN 0" in half_close.text("#with ol")


def test_stalled_page(half_close: Page, pictures: Path) -> None:
    take_over(half_close)
    for _ in range(5):
        click(half_close, "send")
    click(half_close, "stall")
    click(half_close, "end")
    held = wait_verdict(half_close, "with", "the service is held")
    ahead, allowed = re.findall(r"\d+", held)
    assert ahead == allowed and 32 <= int(ahead) <= 64, held
    assert half_close.value("document.querySelector('#stall').getAttribute('aria-pressed')") == "true"
    half_close.screenshot(pictures / "demo-stalled.png")
    click(half_close, "stall")
    wait_verdict(half_close, "with", "Both directions complete")
    assert half_close.value("document.querySelector('#stall').getAttribute('aria-pressed')") == "false"


def test_stalled_page_that_nothing_comes_to(half_close: Page) -> None:
    """The window in the handshake counts, and the proxy's own does not."""
    half_close.value("document.querySelector('#again').click(), document.querySelector('#stall').click()")
    wait_verdict(half_close, "with", "of the 64 bytes that may come ahead")


def test_aborted(half_close: Page, pictures: Path) -> None:
    take_over(half_close)
    click(half_close, "abort")
    wait_verdict(half_close, "with", "Broken, and both sides know")
    wait_verdict(half_close, "without", "Broken")
    half_close.screenshot(pictures / "demo-aborted.png")
    click(half_close, "again")
    wait_verdict(half_close, "with", "Both directions complete")


def test_service_that_goes_away(tab: Page) -> None:
    other = Demo("--drain-timeout", "0")
    try:
        tab.open(other.page)
        tab.wait("document.querySelector('#with .verdict').textContent.startsWith('Open')")
        other.finish()
        wait_verdict(tab, "with", "Broken")
    finally:
        other.kill()


def test_by_keyboard_alone(half_close: Page) -> None:
    wait_verdict(half_close, "with", "Both directions complete")
    order = []
    for _ in range(9):
        half_close.tab()
        order.append(half_close.value("document.activeElement.id || document.activeElement.getAttribute('href')"))
        style = "const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth;"
        if order[-1]:
            assert half_close.run(style) == "solid3px", order
    assert order[:4] == ["/", "/terminal", "send", "again"]  # what can do nothing now is left out
    half_close.value("document.querySelector('#send').focus()")
    half_close.enter()
    wait_verdict(half_close, "with", "Open")
    half_close.tab()
    assert half_close.value("document.activeElement.id") == "end"
    half_close.enter()
    wait_verdict(half_close, "with", "Both directions complete")
    assert half_close.value("document.activeElement.id") == "end", "the focus stays where it was"


def test_names_for_who_cannot_see(half_close: Page) -> None:
    wait_verdict(half_close, "with", "Both directions complete")
    half_close.call("Accessibility.enable")
    tree = half_close.call("Accessibility.getFullAXTree")["nodes"]
    nodes = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]]
    for role, name in nodes:
        assert name or role not in ("button", "link", "textbox", "log", "region"), role
    assert ("log", "What passed: With tidegate") in nodes
    assert ("region", "Plain WebSocket") in nodes
    assert ("button", "Stop reading") in nodes


@pytest.mark.parametrize("path", ["", "terminal"])
@pytest.mark.parametrize("width", [320, 390, 768])
def test_fits_a_phone(chromium: Chromium, demo: Demo, pictures: Path, path: str, width: int) -> None:
    page = chromium.page(prefers_color_scheme="dark")
    try:
        page.resize(width, 844, mobile=True)
        page.open(demo.page + path)
        if not path:
            wait_verdict(page, "with", "Both directions complete")
        assert page.value("document.documentElement.scrollWidth") == width
        assert page.value("getComputedStyle(document.body).backgroundColor") == "rgb(16, 25, 31)"
        small = page.value(
            "Array.from(document.querySelectorAll('button, input'), (e) => e.getBoundingClientRect().height)"
        )
        assert min(small) >= 44, "for a thumb"
        if width == 390:
            page.screenshot(pictures / f"{path or 'demo'}-phone.png")
    finally:
        page.close()


# ---- terminal ----


def test_terminal(terminal: Page, pictures: Path) -> None:
    for line in ("delta", "alpha", "charlie"):
        terminal.type(line)
        terminal.enter()
    terminal.key("d", 68, modifiers=CTRL)
    assert terminal.text("#up") == "ended: FIN"
    terminal.wait("document.querySelector('#screen').textContent.includes('complete')")
    screen = terminal.text("#screen").split("\n")
    assert screen[:7] == ["delta", "alpha", "charlie", "^D", "alpha", "charlie", "delta"]
    assert screen[7].startswith("3 lines, 20 bytes, sha256 ")
    assert terminal.text("#down") == "ended: FIN"
    terminal.screenshot(pictures / "terminal.png")
    click(terminal, "again")
    terminal.wait("document.querySelector('#up').textContent === 'open'")
    assert terminal.value("document.activeElement.id") == "line"


def test_terminal_aborted(terminal: Page) -> None:
    terminal.type("half a thought")
    terminal.enter()
    click(terminal, "abort")
    terminal.wait("document.querySelector('#screen').textContent.includes('[broken')")
    assert terminal.text("#up") == terminal.text("#down") == "broken"
