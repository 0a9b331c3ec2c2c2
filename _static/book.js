// Five things that style sheets cannot do.

// Opened as a file, a page may not read other files: search then lists pages
// without an excerpt, instead of failing at each.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Whatever scrolls sideways must be reachable with the keyboard.
(() => {
  const boxes = [
    "pre",
    "mjx-container",
    ".cell_output",
    ".text_html",
    ".pst-scrollable-table-container",
  ].join(",");

  function mark() {
    for (const box of document.querySelectorAll(`.bd-article :is(${boxes})`)) {
      if (box.matches("span.math mjx-container")) {
        const room = box.closest("p, li, td, dd, figcaption") ?? box.parentElement;
        box.classList.toggle("scrolls", box.scrollWidth > room.clientWidth);
      }
      const overflow = getComputedStyle(box).overflowX;
      if (
        box.scrollWidth > box.clientWidth &&
        (overflow === "auto" || overflow === "scroll")
      ) {
        box.tabIndex = 0;
      } else if (box.tabIndex === 0) {
        box.removeAttribute("tabindex");
      }
    }
  }

  let waiting = 0;
  function markSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(mark, 100);
  }

  addEventListener("load", () => {
    const article = document.querySelector(".bd-article");
    if (!article) return;
    mark();
    // Fonts, math and opened boxes change widths later.
    new ResizeObserver(markSoon).observe(article);
    addEventListener("mathset", mark);
  });
})();

// The theme's toggles in the side bar have no name for a screen reader.
addEventListener("DOMContentLoaded", () => {
  for (const toggle of document.querySelectorAll(".bd-links details > summary")) {
    const page = toggle.closest("li").querySelector("a").textContent.trim();
    toggle.setAttribute("aria-label", `Sections of ${page}`);
  }
});

// MathJax is most of what a page has to run. It starts at once when a formula is
// on the screen, else when the page is loaded and at rest (_ext/offline.py).
addEventListener("DOMContentLoaded", () => {
  const source = document.querySelector('script[type="text/x-math"]');
  if (!source) return;

  function start() {
    const script = document.createElement("script");
    script.src = source.src;
    script.addEventListener("load", async () => {
      await MathJax.startup.promise;
      document.documentElement.dataset.math = "set";
      dispatchEvent(new Event("mathset"));
    });
    document.head.append(script);
  }

  const onScreen = [...document.querySelectorAll(".math")].some((formula) => {
    const box = formula.getBoundingClientRect();
    return box.width > 0 && box.bottom > 0 && box.top < innerHeight;
  });
  const whenIdle = window.requestIdleCallback ?? setTimeout;
  if (onScreen) start();
  else addEventListener("load", () => whenIdle(start));
});

// On paper nothing is folded.
{
  const opened = new Set();
  addEventListener("beforeprint", () => {
    for (const box of document.querySelectorAll(".bd-article details:not([open])")) {
      box.open = true;
      opened.add(box);
    }
  });
  addEventListener("afterprint", () => {
    for (const box of opened) box.open = false;
    opened.clear();
  });
}
