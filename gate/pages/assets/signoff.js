"use strict";
/* A last day that is over, as of the day in UTC on which the page is read. */
(() => {
  const today = new Date().toISOString().slice(0, 10);
  for (const last of document.querySelectorAll("time[data-until]")) {
    if (last.dataset.until >= today) continue;
    const mark = document.createElement("strong");
    mark.className = "expired";
    mark.textContent = "expired";
    last.after(" ", mark);
    last.closest("li, .waiver")?.classList.add("is-over");
  }
})();
