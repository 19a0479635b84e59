"use strict";
(() => {
  const { make } = mergegate;
  const DELAY = 450;
  const bubble = make("div", { id: "term-bubble", role: "tooltip", hidden: "" });
  (document.querySelector("main") ?? document.body).append(bubble);
  let shown = null;
  let timer = 0;

  /* What is defined at a place: its own term, or in a table's body that of its column. */
  const termAt = (node) => {
    const own = node.closest("[data-term]");
    if (own) return own;
    const cell = node.closest("tbody td");
    return cell && ofColumn(cell) ? cell : null;
  };
  const ofColumn = (cell) => mergegate.headingOf?.(cell)?.dataset.term;
  const termOf = (node) => node.dataset.term ?? ofColumn(node);
  const triggerOf = (node) => node.querySelector(":scope > .term") ?? node;

  const hide = () => {
    clearTimeout(timer);
    if (!shown) return;
    triggerOf(shown).removeAttribute("aria-describedby");
    bubble.hidden = true;
    shown = null;
  };

  /* Below what it explains, or above where there is no room below; never beyond the page's edge. */
  const place = (node) => {
    const box = triggerOf(node).getBoundingClientRect();
    const width = document.documentElement.clientWidth;
    bubble.style.left = "0px";
    bubble.style.top = "0px";
    bubble.hidden = false;
    const { offsetWidth, offsetHeight } = bubble;
    const isBelow = box.bottom + offsetHeight + 12 < innerHeight || box.top < offsetHeight + 12;
    const left = Math.max(8, Math.min(box.left, width - offsetWidth - 8));
    bubble.style.left = `${left + scrollX}px`;
    bubble.style.top = `${(isBelow ? box.bottom + 6 : box.top - offsetHeight - 6) + scrollY}px`;
  };

  const show = (node) => {
    if (shown === node) return;
    hide();
    const entry = document.getElementById(`term-${termOf(node)}`);
    if (!entry) return;
    bubble.replaceChildren(...[...entry.children].map((part) =>
      make("p", {}, ...[...part.childNodes].map((child) => child.cloneNode(true)))));
    const method = node.dataset.method;
    if (method) bubble.append(make("p", {}, `Here by: ${method}`));
    place(node);
    triggerOf(node).setAttribute("aria-describedby", bubble.id);
    shown = node;
  };

  /* A heading's words become a button beside the one that sorts; a number can be reached too. */
  const prepare = (node) => {
    if (!node.matches("th")) {
      node.tabIndex = 0;
      return;
    }
    if (node.querySelector("a, .term, svg")) return;
    const words = [...node.childNodes].filter((child) => !child.matches?.(".sort"));
    node.prepend(make("button", { type: "button", class: "term" }, ...words));
  };
  const ALL = "[data-term], td[data-method]";
  document.querySelectorAll(ALL).forEach(prepare);

  document.addEventListener("pointerover", ({ target, pointerType }) => {
    if (pointerType !== "mouse" || bubble.contains(target)) return clearTimeout(timer);
    const node = termAt(target);
    clearTimeout(timer);
    timer = setTimeout(() => (node ? show(node) : hide()), DELAY);
  });
  document.addEventListener("focusin", ({ target }) => {
    const node = target.closest(ALL);
    if (node && !target.matches(".sort") && target.matches(":focus-visible")) show(node);
    else if (shown && !bubble.contains(target)) hide();
  });
  document.addEventListener("click", ({ target }) => {
    if (bubble.contains(target)) return;
    const node = target.closest("a, summary, .sort, .quiet, input, label") ? null : termAt(target);
    if (node && node !== shown) show(node);
    else if (!node || !target.closest(":focus-visible")) hide();
  });
  document.addEventListener("keydown", ({ key }) => key === "Escape" && hide());
  addEventListener("resize", hide);
  addEventListener("beforeprint", hide);
})();
