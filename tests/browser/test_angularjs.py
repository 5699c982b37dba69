"""AngularJS pages with the add-on, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "angularjs"
STATIC = ROOT / "snorky" / "static"
SIGNALS = ROOT / "client" / "node_modules" / "signals" / "dist" / "signals.js"
ANGULAR = ROOT / "tests" / "angularjs" / "node_modules" / "angular" / "angular.min.js"

# An application that begins by hand, with something on the page to look at.
PAGE = """<!DOCTYPE html><div id="app">{{heard}}</div><script>
  const faults = [], before = new Snorky.Signal();
  const app = angular.module("app", ["Snorky"]).factory("$exceptionHandler", () => fault =>
    faults.push(String(fault)));
  const begin = () => { injector = angular.bootstrap(document.getElementById("app"), ["app"]); };
  const scope = () => injector.get("$rootScope");
</script>"""


@pytest.fixture
def context(browser: Browser) -> Any:
    assert ANGULAR.exists(), "install AngularJS: npm ci in tests/angularjs"
    context = browser.new_context()
    context.route("https://cdn.jsdelivr.net/**", lambda route: route.fulfill(path=ANGULAR))
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page with the add-on, minified, whose application has not begun."""
    return open_page(context, ANGULAR, STATIC / "snorky.min.js", STATIC / "angular-snorky.min.js")


def open_page(context: BrowserContext, *scripts: Path) -> Page:
    page = context.new_page()
    page.goto("about:blank")
    for file in scripts:
        page.add_script_tag(path=file)
    page.evaluate("text => { document.body.innerHTML = text; }", PAGE.partition("<script>")[0])
    page.add_script_tag(content=PAGE.partition("<script>")[2].removesuffix("</script>"))
    return page


def test_the_page_of_the_guide_in_two_windows(
    context: BrowserContext, serve: Callable[..., Any], on_free_ports: Callable[..., Any]
) -> None:
    page_file, port_of = on_free_ports(EXAMPLE / "page.html")
    ports = ("--port", str(port_of[5001]), "--backend-port", "0", "--page", str(page_file))
    serve(EXAMPLE / "live.py", *ports).wait_for("serves clients")
    windows = [context.new_page() for _ in range(2)]
    for window in windows:
        window.goto(f"http://localhost:{port_of[5001]}/")
    one, two = windows

    def publish(text: str) -> None:
        one.get_by_label("News").fill(text)
        one.get_by_role("button", name="Publish").click()

    publish("http://example.com")
    expect(one.get_by_role("alert")).to_have_text("No links, please")
    publish("Rain tomorrow")
    for window in windows:
        expect(window.get_by_role("listitem")).to_have_text(["Rain tomorrow"])
    expect(one.get_by_role("alert")).to_have_text("")
    expect(one.get_by_label("News")).to_have_value("")
    publish("And sun")
    expect(two.get_by_role("listitem")).to_have_text(["Rain tomorrow", "And sun"])


@pytest.mark.parametrize("signal", ["before", "new Snorky.Signal()"])
def test_what_a_listener_changes_is_on_the_page(page: Page, signal: str) -> None:
    page.evaluate("begin()")
    heard = f"""(signal => {{
      signal.add(text => {{ scope().heard = text; }});
      signal.dispatch("news");
      return document.getElementById("app").textContent;
    }})({signal})"""
    assert page.evaluate(heard) == "news"


def test_signals_go_without_a_digest_before_the_application_begins(page: Page) -> None:
    assert page.evaluate("let heard = 0; before.add(() => heard++); before.dispatch(); heard") == 1


def test_a_signal_within_a_digest_is_seen_by_it(page: Page) -> None:
    page.evaluate("begin(); before.add(text => { scope().heard = text; })")
    page.evaluate("scope().$apply(() => before.dispatch('from within'))")
    expect(page.locator("#app")).to_have_text("from within")
    assert page.evaluate("faults") == []


def test_a_listener_that_throws_is_reported_and_the_next_signal_goes_on(page: Page) -> None:
    page.evaluate("begin(); before.addOnce(() => { throw new Error('a bad listener'); })")
    page.evaluate("before.dispatch()")
    page.evaluate("before.add(text => { scope().heard = text; }); before.dispatch('the next')")
    expect(page.locator("#app")).to_have_text("the next")
    assert page.evaluate("faults") == ["Error: a bad listener"]


def test_promises_are_those_of_q(page: Page) -> None:
    page.evaluate("begin()")
    page.evaluate(
        "new Snorky.Promise(resolve => setTimeout(resolve, 0, 'later')).then(text => {"
        " scope().heard = text; })"
    )
    expect(page.locator("#app")).to_have_text("later")
    assert page.evaluate(
        "Snorky.Promise(() => {}).constructor === injector.get('$q')(() => {}).constructor"
    )


def test_classes_made_of_the_signal_are_signals(page: Page) -> None:
    page.evaluate("begin()")
    heard = """(() => {
      function Mine() { Snorky.Signal.apply(this, arguments); }
      Mine.prototype = Object.create(Snorky.Signal.prototype);
      const mine = new Mine(), {dispatch} = mine;
      mine.add(text => { scope().heard = text; });
      dispatch("mine");
      return [mine instanceof Snorky.Signal, document.getElementById("app").textContent];
    })()"""
    assert page.evaluate(heard) == [True, "mine"]


@pytest.mark.parametrize("build", ["snorky.js", "snorky.bundle.js", "snorky.bundle.min.js"])
def test_with_signals_js_on_the_page_its_signals_are_made(
    context: BrowserContext, build: str
) -> None:
    page = open_page(context, SIGNALS, ANGULAR, STATIC / build, STATIC / "angular-snorky.js")
    heard = """(() => {
      begin();
      before.add(text => { scope().heard = text; });
      before.dispatch("by signals.js");
      return [before instanceof signals.Signal, document.getElementById("app").textContent];
    })()"""
    assert page.evaluate(heard) == [True, "by signals.js"]


def test_an_application_that_has_ended_is_left_alone(page: Page) -> None:
    page.evaluate("begin(); scope().$destroy()")
    assert page.evaluate("let heard = 0; before.add(() => heard++); before.dispatch(); heard") == 1


def test_it_says_what_is_missing_on_the_page(context: BrowserContext) -> None:
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_script_tag(path=STATIC / "snorky.js")
    page.add_script_tag(path=STATIC / "angular-snorky.js")
    assert complaints == [
        "angular-snorky.js expects angular.js and snorky.js on the page before it"
    ]
