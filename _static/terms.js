// A term shows its glossary entry when it is pointed at, focused, or tapped once
// (_ext/term_hover.py). Escape closes the entry; the pointer may move onto it.
addEventListener("DOMContentLoaded", () => {
  const tip = document.createElement("div");
  tip.className = "term-tip";
  tip.hidden = true;
  let shown = null;
  let waiting = 0;

  function hide() {
    clearTimeout(waiting);
    tip.hidden = true;
    shown = null;
  }

  function show(link, entry) {
    clearTimeout(waiting);
    tip.innerHTML = entry.innerHTML;
    tip.hidden = false;
    shown = link;
    // In the line that is pointed at, should the term be broken over two.
    const at = link.getClientRects()[0];
    const room = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(at.left, room - tip.offsetWidth - 8));
    const below = at.bottom + tip.offsetHeight + 8 < innerHeight;
    const top = below ? at.bottom + 4 : at.top - tip.offsetHeight - 4;
    tip.style.left = `${left + scrollX}px`;
    tip.style.top = `${top + scrollY}px`;
  }

  function later(action) {
    clearTimeout(waiting);
    waiting = setTimeout(action, 200);
  }

  const found = document.querySelectorAll(".bd-article a:has(> .std-term)");
  for (const link of found) {
    const entry = document.getElementById(`hover-${link.hash.slice(1)}`);
    if (!entry) continue;
    let touched = false;
    link.classList.add("term");
    link.setAttribute("aria-describedby", entry.id);
    link.addEventListener("pointerenter", (event) => {
      if (event.pointerType === "mouse") later(() => show(link, entry));
    });
    link.addEventListener("pointerleave", () => later(hide));
    link.addEventListener("pointerdown", (event) => {
      touched = event.pointerType !== "mouse" && shown !== link;
    });
    link.addEventListener("focus", () => {
      if (link.matches(":focus-visible")) show(link, entry);
    });
    link.addEventListener("blur", hide);
    link.addEventListener("click", (event) => {
      if (!touched) return;
      event.preventDefault();
      touched = false;
      show(link, entry);
    });
  }
  tip.addEventListener("pointerenter", () => clearTimeout(waiting));
  tip.addEventListener("pointerleave", () => later(hide));
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("pointerdown", (event) => {
    if (shown && !shown.contains(event.target) && !tip.contains(event.target)) hide();
  });
  document.body.append(tip);
});
