"""A real Chromium for tests that look at pages: one set of flags, one way to skip, required in CI."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


@contextmanager
def chromium(profile: Path, *more_flags: str) -> Iterator[webdriver.Chrome]:
    """Give a headless browser with an empty profile whose console is kept."""
    options = Options()
    options.binary_location = _program("chromium")
    for flag in (*_FLAGS, *more_flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def console_of(browser: webdriver.Chrome) -> list[str]:
    """Return what the console said of the pages that a test opened; Chromium's own pages speak of slow machines."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium leaves it untyped
    messages = [str(entry["message"]) for entry in entries]
    return [message for message in messages if not message.startswith("chrome://")]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must have {name}, and it is absent")
    pytest.skip(f"{name} is absent: this test looks at a page in a real browser")
