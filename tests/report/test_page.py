"""The page in a real browser: figures drawn, tables sorted, nothing fetched, nothing complained."""

from __future__ import annotations

import json
from types import SimpleNamespace

import journals
import pytest
from selenium.webdriver.support.ui import WebDriverWait

from sweeps import journal
from sweeps.errors import JournalError
from sweeps.report.page import confirmed, facts
from sweeps.report.page.build import render, write_page
from sweeps.report.results import Sweep
from sweeps.report.write import write

SECTIONS = [
    "summary", "trials", "curves", "map", "isolation", "importance", "parallel", "contour", "slice",
    "timeline", "time", "failures", "origin",
]  # fmt: skip
DRAWN = """return [...document.querySelectorAll(".plotly-graph-div")].map(
    f => [f.id, f.querySelectorAll(
        ".main-svg :is(path.js-line, path.point, .point path, .contourlayer path)").length])"""


def opened(browser, page) -> None:
    browser.get_log("browser")
    browser.get(page.as_uri())
    loaded = "return document.readyState === 'complete' && !!document.querySelector('main')"
    WebDriverWait(browser, 60).until(lambda browser: browser.execute_script(loaded))


def fail_early(folder, spec=None) -> None:
    journals.write_sweep(folder, spec, trials=0, close=False)
    with journal.Journal(folder) as log:
        for number in range(2):
            params = {"model.noise.strength": 1.0, "model.noise.ghost_size": 8}
            params["training.optimizer.lr"] = 0.1
            log.write("trial", trial=number, params=params, seed=0)
            log.write("attempt", trial=number, attempt=1, epoch=0)
            error = {"type": "OSError", "message": "no disk", "traceback": "T\n<b>no disk</b>"}
            log.write(
                "end", trial=number, status="failed", epoch=0, value=None, reason="no disk",
                error={**error, "node": "host-7"},
            )  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory, browser):
    folder = tmp_path_factory.mktemp("storage") / "digits"
    description = "<script>console.error('run')</script> & more"
    spec = journals.made_up_spec(search={"trials": 40}, description=description)
    journals.write_sweep(folder, spec, trials=40, fails=(5, 6))
    written = write(folder) / "index.html"
    opened(browser, written)
    return Sweep(folder), written


def test_every_section_is_there_and_every_figure_is_drawn(page, browser):
    ids = [s.get_attribute("id") for s in browser.find_elements("css selector", "main > section")]
    assert ids == SECTIONS
    drawn = dict(browser.execute_script(DRAWN))
    names = {"curves", "map", "isolation", "importance", "parallel", "contour", "slice"}
    assert {name.rpartition("-")[0] for name in drawn} == names | {"timeline", "time"}
    assert len(drawn) == 1 + 1 + 3 + 1 + 1 + 3 + 3 + 1 + 1
    assert all(drawn.values()), drawn


def test_the_console_is_silent_and_nothing_is_fetched(page, browser):
    assert browser.get_log("browser") == []
    fetched = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert fetched == 0
    header = browser.find_element("css selector", "header").text
    assert "<script>console.error('run')</script> & more" in header


def test_a_table_is_sorted_by_the_numbers_of_a_column_and_turned_round(page, browser):
    sweep, _ = page
    button = browser.find_element("css selector", "#trials th:nth-child(2) button")

    def column() -> list[int]:
        cells = "#trials tbody td:first-child"
        return [int(c.text) for c in browser.find_elements("css selector", cells)]

    before = column()
    assert before[: len(sweep.ranked())] == [t.number for t in sweep.ranked()]
    values = {t.number: sweep.value(t) for t in sweep.state.trials.values()}
    button.click()
    rising = [values[n] for n in column()]
    assert rising == sorted(values.values())
    button.click()
    assert [values[n] for n in column()] == rising[::-1]
    assert browser.execute_script(
        "return document.querySelector('#trials th:nth-child(2)').ariaSort"
    ) == "descending"  # fmt: skip


def test_a_failure_unfolds_to_its_traceback(page, browser):
    fold = browser.find_element("css selector", "#failures details")
    assert fold.text.startswith("trial 5 failed") and "ValueError: boom" in fold.text
    assert "Traceback" not in fold.text
    fold.find_element("css selector", "summary").click()
    assert "Traceback\nboom" in fold.text


def test_it_is_readable_in_the_dark_and_as_narrow_as_a_phone(page, browser):
    colours = """const of = e => getComputedStyle(document.querySelector(e));
        return [of('body').backgroundColor, of('.xtick text').fill, of('body').color]"""
    try:
        light = browser.execute_script(colours)
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.refresh()
        background, ink, text = browser.execute_script(colours)
        assert ink == text and {background, ink}.isdisjoint(light)
        wide = "return [document.documentElement.scrollWidth, innerWidth]"
        assert browser.execute_script(wide) == [390, 390]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_legends_leave_the_data_free_after_a_change_of_width(page, browser):
    places = """return [...document.querySelectorAll(".js-plotly-plot")].map(figure => {
        const of = name => figure.querySelector(name)?.getBoundingClientRect();
        const [legend, axes] = [of(".legend"), of(".nsewdrag")];
        return legend && axes && [axes.width, legend.bottom, axes.top]}).filter(place => place)"""

    def free(wide: bool) -> bool:
        found = browser.execute_script(places)
        return len(found) == 4 and all((w > 900) is wide and end <= top for w, end, top in found)

    try:
        for width in (390, 1280):
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == 390}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            if width == 390:
                browser.refresh()
            WebDriverWait(browser, 20).until(lambda browser, wide=width > 390: free(wide))
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: journals.write_sweep(f, trials=0), "No trial was started."),
        (lambda f: journals.write_sweep(f, trials=1, fails=()), "Fewer than two trials"),
        (
            lambda f: journals.write_sweep(f, trials=3, fails=(0, 1, 2)),
            "those with a value failed: there is no best",
        ),
        (fail_early, "No trial reported val_accuracy."),
    ],
)
def test_a_page_of_little_says_what_is_missing(make, said, tmp_path, browser):
    make(tmp_path / "x")
    (tmp_path / "x" / "report").mkdir()
    opened(browser, write_page(Sweep(tmp_path / "x")))
    assert said in browser.find_element("css selector", "main").text
    assert all(drawn for _, drawn in browser.execute_script(DRAWN))
    assert browser.get_log("browser") == []


def test_a_journal_of_another_version_is_shown_as_far_as_it_goes(tmp_path, browser):
    folder = tmp_path / "x"
    journals.write_sweep(folder, trials=3, fails=())
    path = folder / journal.FILE
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    first["spec"]["warp"] = {"factor": 9}
    path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    with pytest.raises(JournalError, match=r"index\.html"):
        write(folder)
    opened(browser, folder / "report" / "index.html")
    text = browser.find_element("css selector", "main").text
    assert "written by another version: warp" in text and "torch" in text
    assert len(browser.find_elements("css selector", "#trials tbody tr")) == 3
    assert browser.get_log("browser") == []


def test_a_confirmation_is_shown_with_its_arms_and_comparisons(
    page, monkeypatch, browser, tmp_path
):
    def arm(name, mean, baseline):
        values = {1: mean - 0.01, 2: mean + 0.01}
        return SimpleNamespace(
            name=name, label="lr=0.1", baseline=baseline, values=values, mean=mean, sd=0.014,
            interval=(mean - 0.02, mean + 0.02), interquartile_mean=mean, validation=0.9,
        )  # fmt: skip

    against = SimpleNamespace(
        arm="trial 3", baseline="plain", n=2, mean=0.02, interval=(0.01, 0.03), improvement=0.9,
        adjusted=0.04, finding="better",
    )  # fmt: skip
    found = SimpleNamespace(
        verdict="trial 3 beats plain.", missing=[], metric="test_accuracy", confidence=0.95,
        seeds=[1, 2], arms=[arm("trial 3", 0.95, False), arm("plain", 0.93, True)],
        comparisons=[against],
    )  # fmt: skip
    monkeypatch.setattr(confirmed, "confirmation", lambda sweep: found)
    sweep, _ = page
    sections = [facts.summary(sweep), *confirmed.confirmed(sweep)]
    opened(browser, render(tmp_path, "x", [], sections, ""))
    assert browser.find_element("css selector", "#summary p").text == "trial 3 beats plain."
    cells = [c.text for c in browser.find_elements("css selector", "#comparisons tbody td")]
    assert cells == ["trial 3", "plain", "2", "2", "1", "3", "0.9", "0.04", "better"]
    assert len(browser.find_elements("css selector", "#confirmation tbody tr")) == 2
    assert all(drawn for _, drawn in browser.execute_script(DRAWN))
