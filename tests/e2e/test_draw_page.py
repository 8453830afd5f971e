"""The example's page in a real browser: a person draws a digit, and the sidecar reads it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from corefit_devcluster.host import missing_packages, program
from corefit_devcluster.needs import TESTS
from corefit_devcluster.progress import Reporter

pytestmark = pytest.mark.cluster
PATIENCE_S = 300.0
STROKES = {
    7: [[(70, 50), (215, 50), (120, 245)]],
    1: [[(140, 40), (140, 250)]],
    3: [[(85, 60), (140, 40), (195, 75), (145, 135), (205, 190), (150, 250), (80, 225)]],
    0: [[(144, 40), (85, 90), (80, 190), (144, 250), (205, 190), (205, 90), (144, 40)]],
}
"""Lines on the board of 288 x 288 pixels, as one draws them."""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Debian's Chromium, which talks to nobody but the page."""
    if missing_packages(TESTS) and os.geteuid() != 0 and not os.environ.get("CI"):
        pytest.skip("Chromium is not installed (Debian: chromium, chromium-driver), and installing it needs root")
    reporter = Reporter(Console(stderr=True))
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium", reporter)
    for switch in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=800,700",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(switch)
    driver = webdriver.Chrome(options, webdriver.ChromeService(program("chromedriver", reporter)))
    yield driver
    driver.quit()


def _pen(browser: Any, board: Any, point: tuple[int, int]) -> Any:
    """Moves to a point of the board."""
    half = board.size["width"] // 2
    chain = webdriver.ActionChains(browser, duration=40)
    return chain.move_to_element_with_offset(board, point[0] - half, point[1] - half)


def _drawn(browser: Any, strokes: list[list[tuple[int, int]]]) -> str:
    """What the page says of a drawing."""
    browser.find_element(By.ID, "clear").click()
    board = browser.find_element(By.ID, "draw")
    for first, *rest in strokes:
        _pen(browser, board, first).click_and_hold().perform()
        for point in rest:
            # Each is awaited: a browser without CPU makes one move of many that come together, and cuts the corners.
            _pen(browser, board, point).perform()
        webdriver.ActionChains(browser).release().perform()
    digit = browser.find_element(By.ID, "digit")
    WebDriverWait(browser, PATIENCE_S).until(lambda _: digit.text)
    return str(digit.text)


def test_a_person_draws_digits_and_reads_what_the_sidecar_says(kube: Any, browser: Any) -> None:
    # As the example's README says, in one go: the application's pods wait until there is something to put in.
    kube.kubectl("apply", "-k", "examples/sidecar")
    kube.rolled_out("deployment/draw")
    browser.get(kube.address("draw"))
    for digit, strokes in STROKES.items():
        assert _drawn(browser, strokes) == str(digit)
    assert "read in" in browser.find_element(By.ID, "said").text
    assert _drawn(browser, STROKES[7]) == "7"
    if folder := os.environ.get("COREFIT_PICTURES"):
        browser.save_screenshot(str(Path(folder) / "draw.png"))
    # A page that loads something from elsewhere, or whose script fails, says so in the browser's log.
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
