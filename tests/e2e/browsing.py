"""The portal in a process of its own, beside the service, and a real browser that goes through it."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from stage import Borrower, Stage

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = ROOT / "build/browser/chromium"
SCREENS = ROOT / "build/screens"
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
WIDTHS = (390, 1280)
ZONE = "Africa/Abidjan"  # always UTC
LOCALES = {"en": "en-GB", "zh": "zh-CN"}

# What sticks out of the screen to the right, and cannot be scrolled by itself.
TOO_WIDE = """
    document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("main *, header *, footer *")]
        .filter(each => each.getBoundingClientRect().right > innerWidth)
        .filter(each => !each.parentElement.closest(".scroll, svg"))
        .map(each => each.outerHTML.slice(0, 120))
"""


@contextmanager
def portal(stage: Stage, borrowers: list[Borrower]) -> Iterator[str]:
    """`duly run` and `duly web --demo`, for as long as the context lasts; the portal's address."""
    keys = stage.directory / "demo-keys.json"
    known = {f"Borrower {one.number}": "0x" + bytes(one.sender.account.key).hex() for one in borrowers}
    keys.write_text(json.dumps(known))
    running = stage.start("run")
    serving = stage.start("web", "--demo", "--demo-keys", str(keys), "--listen", "127.0.0.1:0")
    try:
        assert serving.stdout is not None
        line = serving.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, serving.stderr and serving.stderr.read())
        yield found[0]
    finally:
        for process in (serving, running):
            process.terminate()
        for process in (serving, running):
            out, error = process.communicate(timeout=60)
            sys.stdout.write(out)
            sys.stderr.write(error)
        assert not re.search(r"Traceback", error), error


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM.resolve()), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """Somebody in a browser of a language and a width. Nothing may go wrong in its console, no request may
    leave the portal, and no page may be heavy.
    """

    def __init__(self, browser: Browser, address: str, language: str = "en", width: int = 1280) -> None:
        self.address, self.language, self.width = address, language, width
        self.context: BrowserContext = browser.new_context(
            base_url=address,
            locale=LOCALES[language],
            timezone_id=ZONE,
            viewport={"width": width, "height": 844},
        )
        self.wrong: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on(
            "console", lambda message: self._said(message.type, message.text, message.location["url"])
        )
        self.page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, kind: str, text: str, where: str) -> None:
        if kind in ("error", "warning"):
            self.wrong.append(f"{kind}: {text} ({where})")

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:")):
            self.wrong.append(f"left the origin: {url}")

    def sign_in(self, name: str) -> None:
        """Sign in with the demo wallet as somebody."""
        self.page.goto("/sign-in")
        self.page.locator("[data-sign-in][data-ready]").wait_for()
        self.page.locator("[data-demo]", has_text=name).click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)

    def look(self, name: str) -> None:
        """Keep a picture of the page, and hold it against what everybody must be able to use."""
        SCREENS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENS / f"{name}-{self.language}-{self.width}.png", full_page=True)
        assert self.violations() == []
        assert self.page.evaluate(TOO_WIDE) == [], f"{name} is wider than the screen"
        assert self.wrong == [], self.wrong

    def violations(self) -> list[str]:
        """What axe finds serious or critical."""
        # From outside the page, whose policy lets no script in.
        session = self.context.new_cdp_session(self.page)
        world = session.send("Page.createIsolatedWorld", {"frameId": self._frame(session)})
        where = {"contextId": world["executionContextId"]}
        session.send("Runtime.evaluate", {"expression": AXE, **where})
        rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        only = json.dumps({"runOnly": rules})
        run = f"axe.run(document, {only}).then(found => JSON.stringify(found.violations))"
        answer = session.send(
            "Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True, **where}
        )
        session.detach()
        found: list[dict[str, Any]] = json.loads(answer["result"]["value"])
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def _frame(self, session: Any) -> str:
        return str(session.send("Page.getFrameTree")["frameTree"]["frame"]["id"])

    def refused(self) -> None:
        """A form was refused on purpose, which browsers note in the console."""
        noted = [each for each in self.wrong if "status of 422" in each]
        assert noted
        self.wrong.remove(noted[0])

    def act(self) -> None:
        """Let the wallet send what the page prepared, and wait until all of it is final and recorded."""
        self.page.locator("[data-go]").click()
        self.page.locator("[data-done]").wait_for(timeout=30_000)

    def close(self) -> None:
        self.context.close()
