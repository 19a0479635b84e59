"use strict";
(() => {
  const { count, make } = mergegate;
  const LONGEST = 1200;
  const AROUND = 80;
  const LINE = 120;
  const SIGNS = { loss: "▼", gain: "▲", other: "≠" };
  const NAMES = { loss: "loss", gain: "gain", other: "other answer" };

  const signed = (text) => text.replace(/^-/, "\u2212");
  const nats = (value) => {
    if (value === undefined) return "not measured";
    return signed(value && Math.abs(value) < 5e-5 ? String(value) : value.toFixed(4));
  };
  const whole = (text) => text.replace(/^[\udc00-\udfff]|[\ud800-\udbff]$/g, "");
  const start = (text, limit) =>
    (text.length > limit ? `${whole(text.slice(0, limit))}…` : text);
  const end = (text, limit) => (text.length > limit ? `… ${whole(text.slice(-limit)).replace(/^\S{0,20}\s/, "")}` : text);
  const line = (text) => start(text.slice(0, 4 * LINE).replace(/\s+/g, " ").trim(), LINE);

  /* A button that shows what `draw(isWhole)` leaves out as long as isWhole is false. */
  const unfolding = (characters, draw) => {
    const button = make("button", { type: "button", class: "quiet", "aria-expanded": "false" });
    const turn = (isWhole) => {
      button.setAttribute("aria-expanded", isWhole);
      button.textContent = isWhole ? "show less" : `show all ${count(characters)} characters`;
      draw(isWhole);
    };
    button.addEventListener("click", () =>
      turn(button.getAttribute("aria-expanded") === "false"));
    turn(false);
    return make("p", { class: "unfold" }, button);
  };

  /* A text in a box, folded where it is long: of a prompt the end is what tells. */
  const box = (text, shorten) => {
    const place = make("div", { class: "said" });
    if (text.length <= LONGEST) {
      place.append(text || make("span", { class: "cut" }, "empty"));
      return [place];
    }
    return [place, unfolding(text.length, (isWhole) => {
      place.textContent = isWhole ? text : shorten(text, LONGEST);
    })];
  };

  const label = (...inside) => make("p", { class: "label" }, ...inside);

  /* One side of a comparison; what both share is shortened to what stands around a change. */
  const side = (blocks, which, isWhole) => {
    let room = isWhole ? Infinity : LONGEST;
    const nodes = [];
    for (const block of blocks) {
      const isSame = block.same !== undefined;
      let text = isSame ? block.same : block[which];
      if (!text) continue;
      if (!isWhole && isSame && text.length > 3 * AROUND) {
        text = `${start(text, AROUND)} ${end(text, AROUND)}`;
      }
      const shown = start(text, room);
      nodes.push(isSame ? shown : make(which === "before" ? "del" : "ins", {}, shown));
      room -= text.length;
      if (room <= 0) break;
    }
    return nodes.length ? nodes : [make("span", { class: "cut" }, "empty")];
  };

  /* What a page says of one document; `data` as documents.js unpacks it. */
  mergegate.answers = ({ variants }) => {
    const said = (one, variant) => one.answers[one.taken[variant]];

    const worth = (one, value) => {
      if (one.task.right === null) return `${one.task.metric} ${signed(String(value))}`;
      const isRight = value === one.task.right;
      return make("span", { class: isRight ? "pass" : "fail" }, isRight ? "✓ right" : "✗ wrong");
    };

    const heading = (one, variant) =>
      [make("span", { class: "name" }, variants[variant]), " ", worth(one, said(one, variant)[1])];

    const choicesTable = (one, pair) => {
      const arms = [pair.reference, pair.candidate].map((variant) => said(one, variant));
      const cell = ([answer, , logs], place) => {
        const isTaken = one.choices.indexOf(answer) === place;
        const node = make("td", { class: isTaken ? "number taken" : "number" }, nats(logs[place]));
        if (isTaken) node.append(" ", make("span", { class: "sub" }, "taken"));
        return node;
      };
      const rows = one.choices.map((choice, place) => {
        const isRight = one.choices.indexOf(one.target) === place;
        const name = make("th", { scope: "row", class: "choice" }, choice);
        if (isRight) name.append(" ", make("span", { class: "sub pass" }, "✓ right answer"));
        const [was, is] = arms.map(([, , logs]) => logs[place]);
        const change = was === undefined || is === undefined ? undefined : is - was;
        return make("tr", isRight ? { class: "right" } : {}, name,
          ...arms.map((arm) => cell(arm, place)), make("td", { class: "number" }, nats(change)));
      });
      const columns = [pair.reference, pair.candidate].map((variant) =>
        make("th", { scope: "col", class: "number" }, ...heading(one, variant)));
      return scrolled("Log-probability of each choice", make("table", {},
        make("caption", {},
          `Log-probability of each choice, in nats; the answer is taken by ${one.task.metric}`),
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Choice"), ...columns,
          make("th", { scope: "col", class: "number" }, "Change"))),
        make("tbody", {}, ...rows)));
    };

    const scrolled = (name, table) =>
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, table);

    const panels = (one, pair) => {
      const arms = [[pair.reference, "before"], [pair.candidate, "after"]];
      const texts = arms.map(([variant]) => said(one, variant)[0]);
      const { blocks, isCoarse } = mergegate.compareWords(...texts);
      const places = arms.map(() => make("div", { class: "said" }));
      const draw = (isWhole) => places.forEach((place, at) =>
        place.replaceChildren(...side(blocks, arms[at][1], isWhole)));
      const nodes = [make("div", { class: "sides" }, ...arms.map(([variant], at) => {
        const logs = said(one, variant)[2];
        const panel = make("div", {}, label(...heading(one, variant)), places[at]);
        if (logs.length) panel.append(make("p", { class: "sub" }, `${nats(logs[0])} nats`));
        return panel;
      }))];
      const characters = texts[0].length + texts[1].length;
      if (characters > 2 * LONGEST) nodes.push(unfolding(characters, draw));
      else draw(true);
      if (isCoarse) {
        nodes.push(make("p", { class: "sub" },
          "Too many words differ to be told apart: all between the first and the last is marked."));
      }
      return nodes;
    };

    const comparison = ({ document: one, pair }) => {
      const isOffered = [pair.reference, pair.candidate].every((variant) =>
        one.choices.includes(said(one, variant)[0]));
      return isOffered ? [choicesTable(one, pair)] : panels(one, pair);
    };

    const others = (one, pair) => {
      const alike = new Map();
      one.taken.forEach((place, variant) => {
        if (place < 0 || variant === pair.reference || variant === pair.candidate) return;
        alike.set(place, [...(alike.get(place) ?? []), variants[variant]]);
      });
      if (!alike.size) return [];
      const number = [...alike.values()].flat().length;
      const heads = ["Variants", one.task.right === null ? "Score" : "Right?", "Answer"];
      const columns = one.choices.map((choice) =>
        make("th", { scope: "col", class: "number" }, start(choice, 24),
          make("span", { class: "sub" }, " nats")));
      const rows = [...alike].map(([place, names]) => {
        const [text, value, logs] = one.answers[place];
        return make("tr", {}, make("th", { scope: "row", class: "name" }, names.join(", ")),
          make("td", {}, worth(one, value)), make("td", { class: "said" }, ...box(text, start)),
          ...one.choices.map((_, at) => make("td", { class: "number" }, nats(logs[at]))));
      });
      const table = make("table", {},
        make("thead", {}, make("tr", {}, ...heads.map((name) =>
          make("th", { scope: "col" }, name)), ...columns)),
        make("tbody", {}, ...rows));
      const title = `What ${number === 1 ? "the other variant" : `${number} other variants`} answered`;
      return [make("details", { class: "others" }, make("summary", {}, title),
        scrolled(title, table))];
    };

    const identity = (one) => {
      const facts = [["hash", one.hash], ["slice", one.slice], ["cluster", one.cluster]];
      const known = facts.filter(([, value]) => value !== null);
      const address = `${location.href.split("#")[0]}#${one.anchor}`;
      const button = make("button", { type: "button", class: "quiet" }, "Copy link");
      button.setAttribute("aria-label", `Copy the link to ${one.task.name} ${one.id}`);
      button.addEventListener("click", () => mergegate.copy(address, button));
      return make("p", { class: "identity sub" },
        make("a", { href: `#${one.anchor}` }, "Permanent link"), " ", button,
        ...known.map(([name, value]) => make("span", {}, `${name} `, make("code", {}, value))));
    };

    /* Which of the pairs between which the document changed are laid side by side. */
    const chooser = (change, draw) => {
      const changes = change.document.changes;
      if (changes.length === 1) return [];
      const select = make("select", {}, ...changes.map((one, place) =>
        make("option", { value: place }, `${one.pair.name}: ${NAMES[one.direction]}`)));
      select.value = changes.indexOf(change);
      select.addEventListener("change", () => draw(changes[select.value]));
      return [make("p", { class: "chooser" }, make("label", {}, "Compare ", select))];
    };

    const question = (one) => {
      if (one.target === null) return [make("p", {}, "The record does not hold this document.")];
      const [beginning, ending] = one.task.shared;
      const asked = beginning + one.prompt + ending;
      const nodes = asked ? [label("Prompt"), ...box(asked, end)] : [];
      if (!one.choices.includes(one.target)) {
        nodes.push(label("Right answer"), ...box(one.target, start));
      }
      return nodes;
    };

    const body = (change) => {
      const place = make("div");
      const draw = (chosen) =>
        place.replaceChildren(...comparison(chosen), ...others(chosen.document, chosen.pair));
      draw(change);
      return make("div", { class: "body" }, ...question(change.document),
        ...chooser(change, draw), place, identity(change.document));
    };

    const summary = ({ document: one, pair, direction }) => {
      const [was, is] = [said(one, pair.reference), said(one, pair.candidate)];
      const gist = make("span", { class: "gist" }, make("span", {}, line(was[0]) || "empty"), " → ",
        make("span", {}, line(is[0]) || "empty"));
      const values = one.task.right === null && was[1] !== is[1]
        ? [make("span", { class: "values" }, [was, is].map((arm) => signed(String(arm[1])))
          .join(" → "))] : [];
      const prompt = (one.prompt ?? "").trim().slice(-4 * LINE).replace(/\s+/g, " ");
      return make("summary", {},
        make("span", { class: `direction ${direction}` }, `${SIGNS[direction]} ${NAMES[direction]}`),
        make("span", { class: "which name" }, `${one.task.name} ${one.id}`),
        make("span", { class: "between" }, pair.name), ...values,
        make("span", { class: "asked" }, end(prompt, LINE)), gist);
    };

    /* A change of a document as an element, whose inside is made when it is opened. */
    return (change) => {
      const node = make("details", { class: "document", id: change.document.anchor },
        summary(change));
      node.addEventListener("toggle", () => {
        if (node.open && node.children.length === 1) node.append(body(change));
      });
      return node;
    };
  };
})();
