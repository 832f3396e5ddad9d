"""Open notebooks in a real JupyterLab or Notebook 7 in headless Chromium, and work their widgets.

A test asks for a fixture of conftest.py and gets one of these objects:

    def test_lasso(open_notebook):
        book = open_notebook("07b_pictures")          # a notebook of nbs/, opened, nothing run yet
        book.run_all()                                # every cell, in a real kernel; waits until it is done
        book.check()                                  # no cell error, no callback error, no console error
        view = book.widget("Embedding(")              # output of the first cell whose source has this text
        book.hover(view.locator("canvas"), 0.5, 0.5)  # places are relative to the element, 0 … 1
        book.drag(view.locator("canvas").first, [(.2, .2), (.8, .2), (.8, .8), (.2, .8)])
        assert book.kernel("print(len(selection))") != "0"
        book.shot("07b-lasso")                        # pictures/07b-lasso.png

    def test_own_cells(make_notebook):                # a notebook made of these cells, in an empty folder
        book = make_notebook("from clnb.views import Curves", "Curves(history)")

    def test_saved_page(open_page, tmp_path):         # an .html file, opened from disk with the network off
        page = open_page(view.save(tmp_path / "view.html"))
        assert page.painted() and not page.problems()

`book.page` and `page.page` are Playwright pages, for everything that is not here. While cells still run
(`book.run_all(wait=False)`) the widgets can be worked; `book.wait()` waits for the end. Kernels see
CLNB_SCALE=smoke unless the variable is set. All tests that use these fixtures run one after the other in one process.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import Browser, Error, Locator, Page

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "pictures"
WIDGET = "application/vnd.jupyter.widget-view+json"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")

FLAGS = [
    "--no-sandbox",                      # the tests may run as root in a container
    "--no-proxy-server",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",       # WebGL, drawn by the processor
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",   # this machine only
]
OPTIONS = [
    "--no-browser",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.port_retries=0",
    "--ServerApp.allow_root=True",
    "--ServerApp.terminals_enabled=False",
    "--IdentityProvider.token=",
    "--PasswordIdentityProvider.password_required=False",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
    "--LabApp.expose_app_in_browser=True",   # the page then has window.jupyterapp
    "--JupyterNotebookApp.expose_app_in_browser=True",
]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "apputils-extension/themes": {"theme": "JupyterLab Light"},
    "docmanager-extension/plugin": {"autosave": False},
    "notebook-extension/tracker": {"windowingMode": "none", "maxNumberOutputs": 1000},
}
QUIET = re.compile(r"favicon|GL Driver Message|ReadPixels")   # console errors that say nothing about a notebook


class Lab:
    """A JupyterLab server on this machine; its folder holds `book`, a link to the project."""

    module, title = "jupyterlab", "JupyterLab"
    address = "doc/tree/{path}?reset"            # the interface that shows one document
    own = "none"                                 # an error that the host itself makes, in an empty notebook too

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.process, self.port = folder, folder / "served", None, 0
        self.log = folder / f"{self.module}.log"
        self.root.mkdir(parents=True)
        (self.root / "book").symlink_to(ROOT, target_is_directory=True)
        for name, content in SETTINGS.items():
            path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content), "utf-8")

    def start(self) -> Lab:
        """Start the server and wait until it answers."""
        place = self.folder
        env = {**os.environ, "CLNB_SCALE": os.environ.get("CLNB_SCALE") or "smoke", "NO_PROXY": "127.0.0.1,localhost",
               "JUPYTER_CONFIG_DIR": f"{place}/config", "JUPYTER_DATA_DIR": f"{place}/data",
               "JUPYTER_RUNTIME_DIR": f"{place}/runtime", "JUPYTERLAB_SETTINGS_DIR": f"{place}/settings",
               "JUPYTERLAB_WORKSPACES_DIR": f"{place}/workspaces", "IPYTHONDIR": f"{place}/ipython"}
        for _ in range(3):   # another program may take the port between the two lines
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            command = [sys.executable, "-m", self.module, *OPTIONS, f"--ServerApp.port={self.port}",
                       f"--ServerApp.root_dir={self.root}"]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env,
                                                cwd=self.root, start_new_session=True)
            if self._answers():
                return self
            self.stop()
        raise RuntimeError(f"{self.title} did not start; the end of its log:\n{self.log.read_text('utf-8')[-2000:]}")

    def _answers(self) -> bool:
        ask = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with ask.open(f"http://127.0.0.1:{self.port}/api", timeout=5):
                    return True
            except OSError:
                time.sleep(0.2)
        return False

    def stop(self) -> None:
        """End the server and its kernels."""
        import psutil

        if self.process is None:
            return
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(patience)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        for kernel in family:   # a kernel is the leader of a group of its own
            with contextlib.suppress(psutil.Error):
                kernel.kill()
        self.process = None

    def url(self, path: str) -> str:
        """Address of a notebook of the served folder."""
        return f"http://127.0.0.1:{self.port}/{self.address.format(path=quote(path))}"

    def write(self, name: str, cells: tuple[str, ...]) -> str:
        """Write a notebook of code cells into the served folder; returns its path there."""
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook

        book = new_notebook(cells=[new_code_cell(cell) for cell in cells])
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(book, self.root / name)
        return name


class Classic(Lab):
    """A Notebook 7 server, to be used like `Lab`."""

    module, title, address = "notebook", "Notebook 7", "notebooks/{path}"
    own = "Cannot read properties of undefined (reading 'schema')"      # 7.6.5, while it loads its settings


# What runs in the page. `clnbTest` lives beside the host's own `jupyterapp`.
HELPERS = r"""
() => {
  const app = window.jupyterapp, t = (window.clnbTest = {state: "new", said: []});
  t.book = () => [...app.shell.widgets("main")].find(w => w.sessionContext && w.content?.widgets);
  t.kernel = () => t.book()?.sessionContext.session?.kernel;
  t.ready = () => Boolean(t.book()?.context.isReady && t.book().sessionContext.isReady
                          && ["idle", "busy"].includes(t.kernel()?.status));
  t.listen = () => t.book().sessionContext.iopubMessage.connect((_, m) => {
    const from = m.parent_header?.msg_type;
    if (m.header.msg_type === "error" && from !== "execute_request")
      t.said.push(`callback: ${m.content.ename}: ${m.content.evalue}\n${(m.content.traceback || []).join("\n")}`);
    if (m.header.msg_type === "stream" && m.content.name === "stderr" && /Traceback \(most/.test(m.content.text))
      t.said.push(`stderr: ${m.content.text}`);
  });
  t.run = async () => {
    t.state = "running";
    try { await app.commands.execute("notebook:run-all-cells"); } finally { t.state = "ended"; }
  };
  t.cells = () => t.book().content.widgets.map((c, i) => ({
    index: i, kind: c.model.type, source: c.model.sharedModel.getSource(), count: c.model.executionCount ?? null,
    outputs: c.model.type === "code" ? c.model.outputs.toJSON() : [] }));
  t.ask = async code => {
    const future = t.kernel().requestExecute({code, silent: false, store_history: false, stop_on_error: false});
    let text = "";
    future.onIOPub = m => {
      const c = m.content, kind = m.header.msg_type;
      if (kind === "stream") text += c.text;
      if (kind === "execute_result") text += [c.data["text/plain"]].flat().join("");
      if (kind === "error") text += `${c.ename}: ${c.evalue}`;
    };
    return {status: (await future.done).content.status, text};
  };
}
"""
# Is something to be seen in this element? A canvas counts when its pixels are not all alike.
SEEN = r"""
root => {
  const shown = e => { const r = e.getBoundingClientRect(); return r.width > 1 && r.height > 1; };
  const all = [root, ...root.querySelectorAll("*")].filter(shown);
  const painted = e => {
    const pen = e.getContext("2d", {willReadFrequently: true});
    if (!pen) return true;                                   // WebGL keeps no pixels to read
    const pixels = new Uint32Array(pen.getImageData(0, 0, e.width, e.height).data.buffer);
    return pixels.some(p => p !== pixels[0]);
  };
  const canvases = all.filter(e => e.tagName === "CANVAS");
  return {width: root.getBoundingClientRect().width, height: root.getBoundingClientRect().height,
    canvases: canvases.length, painted: canvases.filter(painted).length,
    parts: all.filter(e => /^(button|input|select|svg|img|table|progress)$/i.test(e.tagName)).length,
    text: (root.innerText || "").trim().slice(0, 500)};
}
"""
BROKEN = re.compile(r"Error displaying widget|Error creating widget|Failed to load model|Failed to create view"
                    r"|widget could not be displayed|Loading widget|Click to show javascript error|\[anywidget\]")


class Sheet:
    """A page in the browser that keeps what its console said."""

    def __init__(self, page: Page) -> None:
        self.page, self.console, self.outside = page, [], []
        page.set_default_timeout(30_000)
        page.on("console", self._spoke)
        page.on("pageerror", lambda error: self.console.append(f"console: {error}"))
        page.on("request", self._asked)

    def _spoke(self, message) -> None:
        place = (message.location or {}).get("url", "")
        if message.type == "error" and not QUIET.search(f"{message.text} {place}"):
            self.console.append(f"console: {message.text} ({place})")

    def _asked(self, request) -> None:
        link = urlsplit(request.url)
        if link.scheme not in ("data", "blob", "file", "about") and link.hostname not in ("127.0.0.1", "localhost"):
            self.outside.append(f"request to another machine: {request.url[:200]}")

    def problems(self) -> list[str]:
        """What went wrong so far: console errors and requests to other machines."""
        return [*self.console, *self.outside]

    def frames_seen(self) -> list[dict]:
        """What is to be seen in the page and in each page inside it (`iframe`)."""
        return [frame.evaluate(f"() => ({SEEN})(document.body)") for frame in self.page.frames]

    def painted(self) -> int:
        """How many canvases show something, pages inside the page included."""
        return sum(seen["painted"] for seen in self.frames_seen())

    def point(self, target: Locator, x: float, y: float) -> tuple[float, float]:
        """Window coordinates of a relative place inside an element."""
        box = target.bounding_box()
        assert box is not None, f"{target} is not visible"
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def hover(self, target: Locator, x: float = 0.5, y: float = 0.5) -> None:
        """Move the mouse to a relative place inside an element, in small steps."""
        target.scroll_into_view_if_needed()
        px, py = self.point(target, x, y)
        self.page.mouse.move(px - 6, py - 6)
        self.page.mouse.move(px, py, steps=4)
        self.page.wait_for_timeout(150)

    def drag(self, target: Locator, points: list[tuple[float, float]], key: str | None = None) -> None:
        """Press at the first relative place, move along the others, release; `key` is held meanwhile."""
        target.scroll_into_view_if_needed()
        way = [self.point(target, *point) for point in points]
        if key: self.page.keyboard.down(key)
        self.page.mouse.move(*way[0])
        self.page.mouse.down()
        for goal in way[1:]:
            self.page.mouse.move(*goal, steps=10)
            self.page.wait_for_timeout(20)
        self.page.mouse.up()
        if key: self.page.keyboard.up(key)
        self.page.wait_for_timeout(150)

    def set_range(self, slider: Locator, value: float) -> None:
        """Bring an `<input type=range>` to a value, as a reader who drags it."""
        slider.evaluate("(e, v) => { e.value = v; for (const kind of ['input', 'change']) "
                        "e.dispatchEvent(new Event(kind, {bubbles: true})); }", value)
        self.page.wait_for_timeout(150)

    def slide(self, handle: Locator, presses: int) -> None:
        """Move the slider of an ipywidget (`.noUi-handle`) by arrow keys; negative: to the left."""
        handle.scroll_into_view_if_needed()
        handle.focus()
        for _ in range(abs(presses)):
            self.page.keyboard.press("ArrowRight" if presses > 0 else "ArrowLeft", delay=15)
        self.page.wait_for_timeout(150)

    def shot(self, name: str, target: Locator | None = None) -> Path:
        """Save a picture of the window, or of one element, as `pictures/NAME.png`."""
        PICTURES.mkdir(exist_ok=True)
        path = PICTURES / f"{name}.png"
        if target is None:
            self.page.screenshot(path=path)
        else:
            target.scroll_into_view_if_needed()
            self.page.wait_for_timeout(100)
            target.screenshot(path=path)
        return path


class Notebook(Sheet):
    """A notebook that is open in JupyterLab, or in Notebook 7."""

    def __init__(self, page: Page, lab: Lab, path: str) -> None:
        super().__init__(page)
        self.lab, self.path, self.log_from = lab, path, lab.log.stat().st_size
        page.goto(lab.url(path), wait_until="load", timeout=120_000)
        page.wait_for_function("() => window.jupyterapp !== undefined", timeout=60_000)
        page.evaluate("() => window.jupyterapp.restored.then(() => true)")
        page.evaluate(HELPERS)
        try:
            page.wait_for_function("() => clnbTest.ready()", timeout=60_000)
        except Error:
            shown = page.evaluate("() => (document.querySelector('.jp-Dialog') ?? document.body).innerText")
            raise AssertionError(f"{path} did not become ready; the page shows: {shown[:500]}") from None
        page.evaluate("() => { clnbTest.listen(); }")
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs').then(() => true)")

    def run_all(self, timeout: float = 300, wait: bool = True) -> Notebook:
        """Run every cell; with `wait=False` return at once, so that widgets can be worked meanwhile."""
        self.page.evaluate("() => { clnbTest.state = 'running'; clnbTest.run(); }")
        return self.wait(timeout) if wait else self

    def wait(self, timeout: float = 300) -> Notebook:
        """Wait until the cells that `run_all` started have ended."""
        end = time.monotonic() + timeout
        while True:
            state, kernel, asks = self.page.evaluate(
                "() => [clnbTest.state, clnbTest.kernel()?.status ?? 'none',"
                " [...document.querySelectorAll('.jp-Dialog')].map(d => d.innerText).join(' / ')]")
            assert not asks, f"{self.lab.title} asks: {asks}"
            assert kernel in ("idle", "busy", "starting", "unknown", "connected"), f"the kernel is {kernel}"
            if state == "ended" and kernel == "idle":
                self.page.wait_for_timeout(1000)   # what the last cells sent is drawn
                return self
            assert time.monotonic() < end, f"{self.path} was not done after {timeout:g} s, the kernel is {kernel}"
            self.page.wait_for_timeout(100)

    def cells(self) -> list[dict]:
        """Every cell: index, kind, source, count (of execution), outputs."""
        return self.page.evaluate("() => clnbTest.cells()")

    def index(self, which: int | str) -> int:
        """Number of a cell: the number itself, or the first code cell whose source has this text."""
        if isinstance(which, int):
            return which
        found = [c["index"] for c in self.cells() if c["kind"] == "code" and which in c["source"]]
        assert found, f"{self.path} has no code cell with {which!r}"
        return found[0]

    def cell(self, which: int | str) -> Locator:
        """A cell on the page."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(self.index(which))

    def widget(self, which: int | str) -> Locator:
        """The output area of a cell on the page."""
        return self.cell(which).locator(".jp-Cell-outputArea")

    def widgets(self) -> list[dict]:
        """Every output that is a widget: cell, and what is to be seen there (see SEEN)."""
        found = []
        for cell in self.cells():
            for k, output in enumerate(cell["outputs"]):
                if WIDGET in output.get("data", {}):
                    area = self.cell(cell["index"]).locator(".jp-Cell-outputArea > .jp-OutputArea-child").nth(k)
                    area.scroll_into_view_if_needed()
                    self.page.wait_for_timeout(150)
                    found.append({"cell": cell["index"], "source": cell["source"],
                                  **area.locator(".jp-OutputArea-output").evaluate(SEEN)})
        return found

    def problems(self) -> list[str]:
        """What went wrong: errors of cells, callbacks, the console and the server's log; widgets not drawn."""
        found = [said for said in self.console if not said.endswith(self.lab.own)]
        found += list(self.outside) + self.page.evaluate("() => clnbTest.said")
        for cell in self.cells():
            for output in cell["outputs"]:
                if output["output_type"] == "error":
                    found.append(f"cell {cell['index']}: {''.join(output['traceback'])}")
            if cell["kind"] == "code" and cell["source"].strip() and cell["count"] is None:
                found.append(f"cell {cell['index']} was not run")
        for view in self.widgets():
            drawn = view["painted"] or view["parts"] or view["text"]
            if BROKEN.search(view["text"]) or not drawn or view["painted"] < view["canvases"]:
                found.append(f"cell {view['cell']}: its widget is not drawn, the page shows {view}")
        with self.lab.log.open("rb") as log:
            log.seek(self.log_from)
            text = log.read().decode("utf-8", "replace")
        found += re.findall(r"Exception in comm[^\n]*(?:\n(?!\[)[^\n]*)*", text)
        return [COLOURS.sub("", problem)[:4000] for problem in found]

    def check(self) -> Notebook:
        """Fail with everything that went wrong."""
        problems = self.problems()
        assert not problems, f"{self.path}:\n" + "\n".join(problems)
        return self

    def kernel(self, code: str) -> str:
        """Run Python in the notebook's kernel (queued behind running cells); what it printed or gave."""
        answer = self.page.evaluate("code => clnbTest.ask(code)", code)
        assert answer["status"] == "ok", COLOURS.sub("", answer["text"])
        return answer["text"].strip()

    def shots(self, stem: str) -> list[Path]:
        """A picture of every widget: `pictures/STEM-CELL.png`."""
        cells = sorted({view["cell"] for view in self.widgets()})
        return [self.shot(f"{stem}-{cell:03d}", self.widget(cell)) for cell in cells]

    def close(self) -> None:
        """End the kernel and the page."""
        with contextlib.suppress(Error):
            self.page.evaluate("() => clnbTest.book()?.sessionContext.shutdown().then(() => true)")


def launch(playwright) -> Browser:
    """Start the browser that tools/chromium.py finds; None where there is none."""
    from tools.chromium import find

    path = find()
    return path and playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
