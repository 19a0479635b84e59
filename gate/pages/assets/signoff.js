"use strict";
/* A last day that is over, as of the day in UTC on which the page is read. */
(() => {
  const today = new Date().toISOString().slice(0, 10);
  for (const last of document.querySelectorAll("time[data-until]")) {
    if (last.dataset.until >= today) continue;
    last.after(" ", mergegate.make("strong", { class: "expired" }, "expired"));
    last.closest("li, .waiver")?.classList.add("is-over");
  }
})();
