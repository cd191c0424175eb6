"""The person's browser is started without a shell, with an address that was checked, and leaves our output alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fapi_as.agent import InsecureAddress
from fapi_as.agent.browser import open_page
from tests.support.processes import ROOT, wait_until

URL = "https://as.example/authorize?client_id=a&request_uri=urn:x;$(touch%20harm)&b=`id`"
OPENED = "import sys; from fapi_as.agent.browser import open_page; open_page(sys.argv[1])"


@pytest.fixture
def browser(tmp_path: Path) -> Path:
    """A browser that writes down what it was opened with, says something, and stays open."""
    program = tmp_path / "browser.py"
    program.write_text(
        "import sys, time, pathlib; print('chatter', flush=True); "
        "pathlib.Path(__file__).with_name('new').write_text(repr(sys.argv[1:])); "
        "pathlib.Path(__file__).with_name('new').rename(pathlib.Path(__file__).with_name('opened')); time.sleep(5)",
        encoding="utf-8",
    )
    return program


def test_the_address_reaches_the_browser_as_one_argument_and_its_chatter_reaches_nobody(
    browser: Path, tmp_path: Path
) -> None:
    (tmp_path / "webbrowser.py").write_text("raise SystemExit('a module of somebody else')", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", OPENED, URL],
        cwd=tmp_path,
        env={"BROWSER": f"{sys.executable} {browser} %s", "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=30,  # it returns although the browser stays open, and with it whatever it would have held
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    wait_until((tmp_path / "opened").exists, 20, "the page in the browser")
    assert (tmp_path / "opened").read_text(encoding="utf-8") == repr([URL])
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "url",
    ["http://as.example/", "file:///etc/passwd", "javascript:alert(1)", "-version", 'https://a"b/', "https://a b/"],
)
def test_no_browser_is_sent_to_what_is_no_page_of_a_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **named: started.append(arguments))
    with pytest.raises(InsecureAddress):
        open_page(url)
    assert started == []
