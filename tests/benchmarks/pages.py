"""How fast the built book's figures come and answer, in a real browser on this machine.

python tests/benchmarks/pages.py             every page with an explorable; writes data/benchmarks/pages.json
python tests/benchmarks/pages.py --steps 5   fewer steps of each slider, printed and not written

Needs `make book` and a Chromium. A page is opened anew three times, with nothing in the browser's cache.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # beside the browser tests, whose browser it uses

import browsing  # noqa: E402

from awdlib.checkpoints import write_json  # noqa: E402
from awdlib.environment import describe_environment, now  # noqa: E402

RECORD = browsing.ROOT / "data" / "benchmarks" / "pages.json"
GOALS = {"first_figure_ms": 1500, "step_ms": 50, "page_kB": 1500}
STEPS, VISITS = 41, 3

# The first figure is brought to view as soon as the page has its elements, without the theme's gliding there.
WATCH = """addEventListener("load", () => { window.loaded = performance.now(); });
document.addEventListener("DOMContentLoaded", () => {
  const first = document.querySelector(".explorable");
  first.scrollIntoView({ behavior: "instant" });
  new MutationObserver(() => { if (first.dataset.ready) window.drawn = window.drawn || performance.now(); })
    .observe(first, { attributes: true });
});"""

# From the event until the redraw has been painted, which is when a timer set in the next frame runs; the slider goes
# through its values and back again.
STEP = """async ([root, steps]) => {
  const slider = root.querySelector("input[type=range]"), last = Number(slider.max), took = [];
  const frame = () => new Promise(requestAnimationFrame), painted = () => new Promise((done) => setTimeout(done));
  for (let n = 0; n < steps; n++) {
    const at = n % (2 * last);
    await frame();
    const began = performance.now();
    slider.value = at <= last ? at : 2 * last - at;
    slider.dispatchEvent(new Event("input"));
    await frame();
    await painted();
    took.push(performance.now() - began);
  }
  return took;
}"""


def first_figure(browser: Any, address: str, name: str) -> float:
    """Milliseconds from the page's load event until its first figure is drawn; negative where that comes first."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(address + name)
    page.wait_for_function("window.drawn && window.loaded")
    found = page.evaluate("window.drawn - window.loaded")
    context.close()
    return found


def steps(browser: Any, address: str, name: str, count: int) -> list[dict[str, Any]]:
    """Of each explorable of a page that has a slider, milliseconds of a step: median and longest."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(address + name)
    found = []
    for root in browsing.draw_all(page):
        root.scroll_into_view_if_needed()
        took = page.evaluate(STEP, [root.element_handle(), count])
        title = root.locator(".explorable-title").inner_text()
        found.append({"title": title, "step_ms": round(statistics.median(took), 1), "longest_ms": round(max(took), 1)})
    page.close()
    return found


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help=f"of each slider; default {STEPS}, and only then a record is written")
    options = parser.parse_args()
    pages = []
    with browsing.chromium() as browser, browsing.served(browsing.SITE) as address:
        for name in browsing.INTERACTIVE:
            visits = sorted(round(first_figure(browser, address, name)) for _ in range(VISITS))
            figures = steps(browser, address, name, options.steps or STEPS)
            size = round((browsing.SITE / name).stat().st_size / 1000)
            pages.append({"page": name, "page_kB": size, "first_figure_ms": visits, "figures": figures})
            print(f"{name}: {size} kB, first figure {visits} ms after load")
            for figure in figures:
                print(f"    {figure['step_ms']:6.1f} ms a step (longest {figure['longest_ms']:.0f})  {figure['title']}")
        version = browser.version
    if not options.steps:
        machine = {key: describe_environment()[key] for key in ("cpu", "cores", "commit")}
        write_json(RECORD, {"date": now(), "browser": version, **machine, "goals": GOALS, "pages": pages})


if __name__ == "__main__":
    main()
