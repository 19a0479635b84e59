"use strict";
window.mergegate = {
  /* The data of an island, unpacked: text, or null where the page has none of that name. */
  async island(name) {
    const node = document.querySelector(`script[data-island="${name}"]`);
    if (!node) return null;
    const bytes = Uint8Array.from(atob(node.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  },
};
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  all(".controls").forEach((node) => { node.hidden = false; });

  const onlyOpen = document.getElementById("only-open");
  onlyOpen.addEventListener("change", () => {
    all("[data-outcome]").forEach((node) => {
      node.hidden = onlyOpen.checked && node.dataset.outcome === "pass";
    });
    all(".panel").forEach((panel) => {
      panel.hidden = [...panel.querySelectorAll("[data-outcome]")].every((row) => row.hidden);
    });
  });

  const find = document.getElementById("find");
  find.addEventListener("input", () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const nodes = all("[data-find]");
    nodes.forEach((node) => {
      const text = node.textContent.toLowerCase();
      node.hidden = !words.every((word) => text.includes(word));
    });
    const left = nodes.filter((node) => node.matches("details") && !node.hidden).length;
    document.getElementById("found").textContent = words.length ? `${left} documents` : "";
  });

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let node = target; node; node = node.parentElement) {
      if (node.matches("details")) node.open = true;
      node.hidden = false;
    }
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
