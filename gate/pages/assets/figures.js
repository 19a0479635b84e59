"use strict";
(() => {
  const STATIC = 640;
  const PAUSE = 150;
  const narrower = (spec, width) => JSON.parse(JSON.stringify(spec), (key, value) =>
    key === "width" && value === STATIC ? width : value);

  let specs;
  const load = async () => {
    document.head.append(mergegate.make("script", {}, await mergegate.island("vega")));
    return JSON.parse(await mergegate.island("figures"));
  };

  const drawings = new Map();
  document.querySelectorAll("figure.drawn").forEach((figure) => {
    const place = figure.querySelector(".sheet");
    const still = place.querySelector("svg");
    const beside = still.viewBox.baseVal.width - STATIC;
    drawings.set(figure, { place, still, beside });
  });

  /* Draw a figure again so that it answers to the pointer, as wide as there is room for it. */
  const draw = async (figure) => {
    const drawing = drawings.get(figure);
    const room = drawing.place.clientWidth;
    if (!room || room === drawing.room) return;
    drawing.room = room;
    specs ??= load();
    const spec = narrower((await specs)[figure.id], Math.floor(room - drawing.beside));
    const fresh = mergegate.make("div");
    const options = {
      ast: true, renderer: "svg", actions: false, defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
    };
    const drawn = await window.vegaEmbed(fresh, spec, options);
    if (drawing.room !== room) return drawn.finalize();
    drawing.finalize?.();
    drawing.finalize = drawn.finalize;
    drawing.lively = fresh.querySelector("svg");
    drawing.place.replaceChildren(...fresh.childNodes);
    figure.dataset.drawn = "";
  };
  const attempt = (figure) => draw(figure).catch((error) => console.error(error));

  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      attempt(target);
    }
  }, { rootMargin: "200px" });
  drawings.forEach((_, figure) => watcher.observe(figure));

  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => drawings.forEach(({ room }, figure) => room && attempt(figure)), PAUSE);
  });

  /* On paper every figure is the drawing that was made for it. */
  const exchange = (of, by) => drawings.forEach((drawing) => {
    if (drawing.lively) drawing[of].replaceWith(drawing[by]);
  });
  addEventListener("beforeprint", () => exchange("lively", "still"));
  addEventListener("afterprint", () => exchange("still", "lively"));
})();
