"""What tests do and see on a page of the to-do list, whatever it is written with."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.patience import patient

# A restart of a server is noticed, waited out with growing delays and made good within this.
RECOVERY_MS = patient(30_000)


def add(page: Page, *titles: str) -> None:
    for title in titles:
        page.get_by_label("New todo").fill(title)
        page.keyboard.press("Enter")
        expect(row(page, title)).to_be_visible()


def row(page: Page, title: str) -> Locator:
    return page.get_by_role("listitem").filter(has=page.get_by_text(title, exact=True))


def titles(page: Page) -> Locator:
    return page.locator("#todos .title")


def status(page: Page) -> Locator:
    return page.locator("#status")


def expect_live(*pages: Page) -> None:
    for page in pages:
        expect(status(page)).to_have_text("Live", timeout=RECOVERY_MS)
