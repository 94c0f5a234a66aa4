"use strict";
// Replaces the parts of the page that the server sends anew. What the reader has opened, and where they are, stays.
(() => {
  const link = document.getElementById("link");
  const say = (text, alive) => { link.textContent = text; link.classList.toggle("alive", alive); };
  const source = new EventSource(document.body.dataset.follow);
  const replace = (part, html) => {
    const opened = new Map([...part.querySelectorAll("details[id]")].map(one => [one.id, one.open]));
    const focused = part.contains(document.activeElement) ? document.activeElement.closest("[id]") : null;
    part.innerHTML = html;
    for (const one of part.querySelectorAll("details[id]")) if (opened.has(one.id)) one.open = opened.get(one.id);
    if (focused && focused !== part) {
      const again = document.getElementById(focused.id);
      if (again) (again.querySelector("summary") || again).focus();
    }
  };
  const shown = new Map();
  for (const part of document.querySelectorAll("main [id]")) {
    source.addEventListener(part.id, event => {
      if (shown.get(part.id) === event.data) return;
      shown.set(part.id, event.data);
      replace(part, event.data);
    });
  }
  source.onopen = () => say("live", true);
  source.onerror = () => say("not connected", false);
})();
