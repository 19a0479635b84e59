"""Find a Chromium for the browser tests, or install one: Debian's, else Playwright's own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium(driver: Any) -> str | None:
    """The program to start: one on the PATH, or the one that Playwright has installed."""
    for program in PROGRAMS:
        found = shutil.which(program)
        if found:
            return found
    own = driver.chromium.executable_path
    return own if Path(own).exists() else None


def main() -> None:
    """Install a browser unless there is one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        if find_chromium(driver):
            return
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update"], check=True)
        command = [
            "apt-get",
            "install",
            "-y",
            "--no-install-recommends",
            "chromium",
            "fonts-liberation",
        ]
        if subprocess.run(command, check=False).returncode == 0:
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    main()
