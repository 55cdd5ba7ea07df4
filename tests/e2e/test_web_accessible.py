"""The portal for who has no mouse, or needs large letters; and whether axe would have told."""

from __future__ import annotations

import pytest
from browsing import TOO_WIDE, Visitor, chromium, portal

# What takes part in the order of Tab, as far as anybody can see it; of radio buttons nothing is here.
FOCUSABLE = """
    [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
        .filter(each => !each.disabled && each.type !== "hidden" && each.checkVisibility())
"""
FOCUSED = f"""
    (() => {{
        const one = document.activeElement, style = getComputedStyle(one);
        const shown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
        return {{ at: {FOCUSABLE}.indexOf(one), shown, name: one.outerHTML.slice(0, 120) }};
    }})()
"""


@pytest.fixture
def visits(stage):
    """A borrower with a loan, and the servicer, both signed in: (visitor, pages)."""
    [one] = stage.lend(1)
    stage.app.indexer.run()

    class Servicer:
        number, sender = 2, stage.servicer

    with portal(stage, [one, Servicer]) as address, chromium() as browser:
        borrower, servicer = Visitor(browser, address), Visitor(browser, address)
        borrower.sign_in(f"Borrower {one.number} ")
        servicer.sign_in(f"Borrower {Servicer.number} ")
        loan = f"/loans/{one.loan.hex()}"
        ways = [loan, "/contact", "/contact/email", "/my-data", "/programs"]
        ways += [f"{loan}/{way}" for way in ("pay", "settle", "rescind", "help", "notices", "key-facts")]
        yield [
            (borrower, ["/", "/sign-in", "/verify", "/loans", *ways]),
            (servicer, ["/desk", "/desk/loans", f"/desk{loan}", "/desk/notices", "/desk/grievances"]),
        ]
        borrower.close()
        servicer.close()


def test_everything_is_reached_by_keyboard_at_any_size(visits):
    for visitor, paths in visits:
        page = visitor.page
        for path in paths:
            page.set_viewport_size({"width": 1280, "height": 844})
            assert page.goto(path).status == 200, path
            count = page.evaluate(f"{FOCUSABLE}.length")
            walked = []
            for _ in range(count):
                page.keyboard.press("Tab")
                focused = page.evaluate(FOCUSED)
                assert focused["shown"], (path, focused)
                walked.append(focused["at"])
                # A field for a time or a date has several places to stop.
                while page.evaluate("document.activeElement.type") in ("time", "date"):
                    page.keyboard.press("Tab")
                    after = page.evaluate(FOCUSED)["at"]
                    if after != walked[-1]:
                        page.keyboard.press("Shift+Tab")
                        break
            assert walked == list(range(count)), path

            # The first stop leads past what is on every page.
            page.goto(path)
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            assert page.evaluate("document.activeElement.id") == "content", path

            # A desk's screen at 200 %, and a phone's width at as much as 400 %.
            for width in (640, 320):
                page.set_viewport_size({"width": width, "height": 600})
                assert page.evaluate(TOO_WIDE) == [], (path, width)

    # And what axe is for: it tells of what is planted.
    visitor, _ = visits[0]
    visitor.page.goto("/loans")
    assert visitor.violations() == []
    visitor.page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<button></button><img src=x>')"
    )
    assert {each.split()[0] for each in visitor.violations()} == {"button-name", "image-alt"}
