"""Two windows of a real browser: pip install pytest playwright, then playwright install chromium

A server of Snorky runs meanwhile, as `snorky serve auction.py --page page.html`. AUCTION_PAGE and
CHROMIUM say where the page and the browser are, if they are somewhere else.
"""

import os

from playwright.sync_api import expect, sync_playwright

PAGE = os.environ.get("AUCTION_PAGE", "http://127.0.0.1:5001/")


def test_a_bid_in_one_window_is_seen_in_the_other():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM"), args=["--no-sandbox"]
        )
        one, two = browser.new_page(), browser.new_page()
        for window in (one, two):
            window.goto(PAGE)
        one.evaluate("auction.enter()")  # answered: the window is connected
        two.evaluate("auction.enter()")
        one.get_by_role("button").click()
        expect(two.get_by_role("status")).to_have_text("1")
        browser.close()
