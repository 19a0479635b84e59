"use strict";
(() => {
  const STATIC = 640;
  const narrower = (spec, width) => JSON.parse(JSON.stringify(spec), (key, value) =>
    key === "width" && value === STATIC ? width : value);

  let specs;
  const load = async () => {
    const script = document.createElement("script");
    script.textContent = await mergegate.island("vega");
    document.head.append(script);
    return JSON.parse(await mergegate.island("figures"));
  };

  /* Draw a figure again so that it answers to the pointer, as wide as there is room for it. */
  const draw = async (figure) => {
    specs ??= load();
    const spec = (await specs)[figure.id];
    const place = figure.querySelector(".drawing");
    const fresh = document.createElement("div");
    const options = {
      ast: true, renderer: "svg", actions: false, defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
    };
    await window.vegaEmbed(fresh, narrower(spec, place.clientWidth), options);
    place.replaceChildren(...fresh.childNodes);
    figure.dataset.drawn = "";
  };

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      draw(entry.target).catch((error) => console.error(error));
    }
  }, { rootMargin: "200px" });
  document.querySelectorAll("figure.drawn").forEach((figure) => watcher.observe(figure));
})();
