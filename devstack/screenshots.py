"""`make screenshots`: log in to the Airflow of `make up`, trigger the job in the UI, and take the README's picture."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from devstack import processes
from devstack.airflow_env import ADMIN
from devstack.errors import DevstackError
from devstack.layout import Layout
from devstack.settings import machine_secrets
from devstack.up import standalone_record

DAG = "iterable_page_views"
DAYS = ("2026-01-12", "2026-01-13")
PICTURE = Path("docs/images/run.png")
RUN_ENDS_WITHIN_MS = 120_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No sandbox of its own, because it has none for root, and no calls to its maker's servers.
OPTIONS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")


def main() -> int:
    """Take the picture; return 0 when the runs went green."""
    try:
        layout = Layout.here()
        url = _running_airflow(layout)
        take(layout.root / PICTURE, url, machine_secrets(layout.local / "secrets.json")["admin_password"])
    except DevstackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {PICTURE}")
    return 0


def take(target: Path, url: str, password: str, *, days: Sequence[str] = DAYS) -> None:
    """Log in as a person would, trigger a run for each day, wait until it is green, and picture the last one."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_browser(), args=list(OPTIONS))
        page = browser.new_page(viewport={"width": 1400, "height": 780})
        _log_in(page, url, password)
        for day in days:
            _trigger(page, url, day)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=target)
        browser.close()


def _log_in(page: Page, url: str, password: str) -> None:
    page.goto(url)
    page.get_by_label("Username").fill(ADMIN)
    page.locator("input[type=password]").fill(password)
    page.get_by_role("button", name=re.compile("sign in", re.IGNORECASE)).click()
    page.wait_for_url(f"{url}/")


def _trigger(page: Page, url: str, day: str) -> None:
    page.goto(f"{url}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.locator("input[type=date]").fill(day)
    form.get_by_role("button", name="Trigger").click()
    page.wait_for_url(re.compile(f"/dags/{DAG}/runs/"))
    run = page.url
    page.goto(run)
    expect(page.get_by_text("report").last).to_be_visible()
    badges = page.get_by_test_id("state-badge")
    expect(badges.first).to_have_text(re.compile("success", re.IGNORECASE), timeout=RUN_ENDS_WITHIN_MS)
    # The page asks for the tasks less often than for the run.
    unfinished = badges.filter(has_not_text=re.compile("success", re.IGNORECASE))
    expect(unfinished).to_have_count(0, timeout=RUN_ENDS_WITHIN_MS)


def _running_airflow(layout: Layout) -> str:
    running = processes.recall(standalone_record(layout))
    if running is None:
        raise DevstackError("Airflow is not running: start it with make up.")
    return str(running[1]["url"])


def _browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise DevstackError("There is no Chromium: install it with sudo apt-get install chromium.")


if __name__ == "__main__":
    sys.exit(main())
