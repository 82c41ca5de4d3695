"""The reader's page in a real Chromium: what was clicked is kept, and comes out of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, browser_python
from reader_study_cases import made_once, page_content, page_of

from SSRKDCore.evaluation.reader_study.answers import read_answers
from SSRKDCore.evaluation.reader_study.key import load_key
from SSRKDCore.evaluation.reader_study.wording import SCALES

READER = "Anna"
Kept = dict[str, dict[str, int]]


@pytest.fixture(scope="module", autouse=True)
def _needs_a_browser() -> None:
    python, reason = browser_python()
    if python is None:
        pytest.skip(reason)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory) / "study"


@pytest.fixture
def page(study: Path) -> Path:
    return page_of(study, READER)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path) as opened:
        yield opened


def choose(browser: Browser, scale: str, grade: int) -> None:
    browser.click(f'fieldset[data-scale="{scale}"] input[value="{grade}"]')


def answer_page(browser: Browser, index: int) -> dict[str, int]:
    """Grade the page in view by clicks; every page differently."""
    grades = {scale: (index + place) % 4 + 1 for place, scale in enumerate(SCALES)}
    for scale, grade in grades.items():
        choose(browser, scale, grade)
    return grades


def shown_grades(browser: Browser) -> dict[str, int]:
    return dict(
        browser.script(
            "return Object.fromEntries([...document.querySelectorAll('fieldset')].map((set) => "
            "[set.dataset.scale, Number(set.querySelector('input:checked')?.value ?? 0)]))"
        )
    )


def text(browser: Browser, selector: str) -> str:
    return str(browser.script(f"return document.querySelector({json.dumps(selector)}).innerText"))


def exported(browser: Browser) -> dict[str, Any]:
    browser.click("#export")
    return dict(json.loads(Path(browser.do("download")).read_text("utf-8")))


def test_everything_answered_over_a_reload_and_a_closed_browser(study: Path, page: Path, tmp_path: Path) -> None:
    codes = [item["code"] for item in page_content(page)["items"]]
    clicked: Kept = {}
    with Browser(tmp_path) as browser:
        browser.open(page)
        assert text(browser, "#progress-words") == "0 of 6 pages answered"
        browser.click("#next")
        for index, code in enumerate(codes[:2]):
            clicked[code] = answer_page(browser, index)
            browser.click("#next")
        choose(browser, "shape", 4)
        browser.script(
            "const place = document.getElementById('comment');"
            "place.value = 'Kante <b>ß\U0001f9b4\\n2'; place.dispatchEvent(new Event('input'));"
        )
        browser.do("reload")
        assert "Page 3 of 6" in text(browser, "h2")
        assert shown_grades(browser) == {"shape": 4, "detail": 0, "clinical_significance": 0}
        assert text(browser, "#progress-words") == "2 of 6 pages answered"
        browser.click("#back")
        assert shown_grades(browser) == clicked[codes[1]]
        browser.do("wait", 600)
    with Browser(tmp_path) as browser:
        browser.open(page)
        assert "Page 2 of 6" in text(browser, "h2")
        browser.click("#next")
        assert browser.script("return document.getElementById('comment').value") == "Kante <b>ß\U0001f9b4\n2"
        for index, code in enumerate(codes[2:], start=2):
            clicked[code] = answer_page(browser, index)
            browser.click("#next")
        assert text(browser, "#progress-words") == "6 of 6 pages answered"
        assert "Every page is answered" in text(browser, "#main")
        file = exported(browser)
        # Only the page itself was ever asked for; its pictures are inside it.
        assert all(address.startswith(("file:", "data:", "blob:")) for address in browser.do("addresses"))
        assert [address for address in browser.do("addresses") if address.startswith("file:")] == [f"file://{page}"]
        assert browser.do("messages") == []
    assert {item["code"]: item["grades"] for item in file["items"]} == clicked
    assert [item["code"] for item in file["items"]] == codes
    assert file["items"][2]["comment"] == "Kante <b>ß\U0001f9b4\n2"
    assert file["items"][0]["milliseconds"] > 0
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(file), encoding="utf-8")
    graded = read_answers([path], load_key(study))
    assert [(item.code, dict(item.grades)) for item in graded] == list(clicked.items())


def test_incomplete_answers_are_pointed_out_and_can_be_saved_all_the_same(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#next")
    choose(browser, "shape", 2)
    browser.click("#next")
    assert "Not answered yet: Detail, Clinical significance" in text(browser, "#notice")
    assert "Page 1 of 6" in text(browser, "h2")
    browser.click("#next")
    assert "Page 2 of 6" in text(browser, "h2")
    browser.click("#export")
    assert browser.script("return document.getElementById('question').open")
    assert "6 pages are not fully answered" in text(browser, "#question-words")
    browser.click("#question-no")
    browser.do("wait", 200)
    assert "Page 1 of 6" in text(browser, "h2")
    browser.click("#export")
    browser.click("#question-yes")
    file = json.loads(Path(browser.do("download")).read_text("utf-8"))
    assert file["items"][0]["grades"] == {"shape": 2, "detail": None, "clinical_significance": None}
    browser.click("#overview")
    assert browser.script("return document.querySelectorAll('.overview button.open').length") == 6


def test_keyboard_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.do("press", "n")
    for key in "431":
        browser.do("press", key)
    assert shown_grades(browser) == {"shape": 4, "detail": 3, "clinical_significance": 1}
    browser.do("press", "n")
    assert "Page 2 of 6" in text(browser, "h2")
    browser.do("press", "b")
    assert "Page 1 of 6" in text(browser, "h2")
    # Arrow keys move between grades as in any form, and digits in a comment stay text.
    browser.script("document.querySelector('fieldset[data-scale=detail] input[value=\"3\"]').focus()")
    browser.do("press", "Up")
    assert shown_grades(browser)["detail"] == 2
    browser.script("document.getElementById('comment').focus()")
    browser.do("press", "1n")
    assert browser.script("return document.getElementById('comment').value") == "1n"
    assert shown_grades(browser) == {"shape": 4, "detail": 2, "clinical_significance": 1}


def test_without_storage_it_warns_and_the_file_carries_the_answers(page: Path, tmp_path: Path) -> None:
    with Browser(tmp_path, with_storage=False) as browser:
        browser.open(page)
        assert "does not let the page keep answers" in text(browser, "#storage-notice")
        browser.click("#next")
        clicked = answer_page(browser, 1)
        browser.click("#export")
        browser.click("#question-yes")
        saved = Path(browser.do("download"))
        browser.do("reload")
        assert text(browser, "#progress-words") == "0 of 6 pages answered"
        load_file(browser, saved)
        assert text(browser, "#progress-words") == "1 of 6 pages answered"
        browser.click("#next")
        assert shown_grades(browser) == clicked


def load_file(browser: Browser, path: Path) -> None:
    """Hand the page a file as its file chooser would."""
    browser.script(
        f"const chosen = new DataTransfer(); chosen.items.add(new File([{json.dumps(path.read_text('utf-8'))}], 'a.json'));"
        "const input = document.getElementById('import-file'); input.files = chosen.files; input.dispatchEvent(new Event('change'));"
    )
    browser.do("wait", 300)


def test_a_loaded_file_replaces_answers_only_when_asked_and_only_when_it_fits(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    browser.open(page)
    browser.click("#next")
    first = answer_page(browser, 0)
    browser.click("#export")
    browser.click("#question-yes")
    saved = Path(browser.do("download"))
    choose(browser, "shape", 3)
    load_file(browser, saved)
    browser.click("#question-no")
    browser.do("wait", 200)
    assert shown_grades(browser)["shape"] == 3
    load_file(browser, saved)
    browser.click("#question-yes")
    browser.do("wait", 200)
    assert shown_grades(browser) == first
    changed = tmp_path / "changed.json"
    changed.write_text(saved.read_text("utf-8").replace('"shape": 1', '"shape": 2'), encoding="utf-8")
    load_file(browser, changed)
    browser.click("#question-yes")
    browser.do("wait", 200)
    assert "cannot be used" in text(browser, "#notice")
    assert shown_grades(browser) == first


def test_damaged_storage_is_said_and_kept_aside(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#next")
    place = browser.script("return Object.keys(localStorage)[0]")
    # While leaving, the page would write its good answers over the damage.
    browser.script(
        f"Storage.prototype.setItem.call(localStorage, {json.dumps(place)}, '{{broken');Storage.prototype.setItem = () => {{}};"
    )
    browser.do("reload")
    assert "cannot be read" in text(browser, "#storage-notice")
    assert browser.script(f"return localStorage.getItem({json.dumps(place + ':damaged')})") == "{broken"


def test_it_can_be_read_by_people_and_by_screen_readers(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.click("#next")
    assert browser.script("return document.documentElement.lang") == "en"
    assert browser.script("return [...document.images].filter((image) => image.closest('.page')).length") == 8
    assert browser.script(
        "return [...document.querySelectorAll('.page img')].every((image) => image.alt && image.complete && image.naturalWidth > 0)"
    )
    assert browser.script(
        "return [...document.querySelectorAll('.page input, textarea')].every((i) => i.labels.length)"
    )
    assert browser.script(
        "return [...document.querySelectorAll('button')].every((b) => b.innerText || b.ariaLabel || b.closest('dialog'))"
    )
    faint = browser.script(_FAINT_TEXT)
    assert faint == [], faint
    browser.do("size", 420, 800)
    assert browser.script("return document.documentElement.scrollWidth <= window.innerWidth")


# Texts whose contrast to the colour behind them is below 4.5 to 1 (WCAG 2.2, 1.4.3).
_FAINT_TEXT = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = channels(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
return [...document.querySelectorAll('body *')].filter((e) => e.innerText && e.offsetParent && e.children.length === 0).filter((e) => {
  const [a, b] = [light(channels(getComputedStyle(e).color)), light(behind(e))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
}).map((e) => e.innerText.slice(0, 40));
"""
