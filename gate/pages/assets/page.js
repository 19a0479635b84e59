"use strict";
window.mergegate = {
  /* The data of an island, unpacked: text, or null where the page has none of that name. */
  async island(name) {
    const node = document.querySelector(`script[data-island="${name}"]`);
    if (!node) return null;
    const letters = atob(node.textContent);
    const bytes = new Uint8Array(letters.length);
    for (let at = 0; at < letters.length; at += 1) bytes[at] = letters.charCodeAt(at);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  },

  /* An element with its attributes and what is inside it. */
  make(name, attributes = {}, ...inside) {
    const node = document.createElement(name);
    Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
    node.append(...inside);
    return node;
  },

  count: (number) => number.toLocaleString("en"),

  /* The id that the page's address names; empty where it names none. */
  named() {
    try {
      return decodeURIComponent(location.hash.slice(1));
    } catch {
      return "";
    }
  },
};
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  all(".controls").forEach((node) => { node.hidden = false; });

  const onlyOpen = document.getElementById("only-open");
  onlyOpen?.addEventListener("change", () => {
    all("[data-outcome]").forEach((node) => {
      node.hidden = onlyOpen.checked && node.dataset.outcome === "pass";
    });
  });

  /* What a link leads to is shown, wherever it is folded away or hidden. */
  const reveal = () => {
    const target = document.getElementById(mergegate.named());
    for (let node = target; node; node = node.parentElement) {
      if (node.matches("details")) node.open = true;
      node.hidden = false;
    }
    target?.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  /* The table of contents says which part is being read. */
  const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
  const spy = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) links.get(target.id).setAttribute("aria-current", "true");
      else links.get(target.id).removeAttribute("aria-current");
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  links.forEach((_, id) => { spy.observe(document.getElementById(id)); });
})();
