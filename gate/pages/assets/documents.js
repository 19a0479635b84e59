"use strict";
(() => {
  const { count, make } = mergegate;
  const PAGE = 25;
  const place = document.getElementById("changed-documents");
  if (!place) return;
  const part = (name) => place.querySelector(`[data-part="${name}"]`);
  const filters = part("filters");
  const list = part("list");
  const fields = filters.elements;

  const unpack = ({ texts, ...data }) => {
    const text = (at) => (at === null ? null : texts[at]);
    const variants = data.variants.map(text);
    const tasks = data.tasks.map(([name, metric, right, ...shared]) =>
      ({ name: text(name), metric: text(metric), right, shared: shared.map(text), places: shared }));
    const pairs = data.pairs.map(([task, reference, candidate]) => {
      const names = [variants[reference], variants[candidate]];
      return {
        task: tasks[task], reference, candidate, key: JSON.stringify(names), name: names.join(" → "),
      };
    });
    const documents = data.documents.map((row) => {
      const [anchor, task, id, hash, slice, cluster, prompt, target, choices, answers, taken] = row;
      return {
        anchor, id, hash, taken, task: tasks[task], slice: text(slice), cluster: text(cluster),
        prompt: text(prompt), target: text(target), choices: choices.map(text),
        answers: answers.map(([said, value, nats]) => [text(said), value, nats]),
        label: `${text(data.tasks[task][0])} ${id} ${anchor}`.toLowerCase(),
        places: [...tasks[task].places, slice, cluster, prompt, target, ...choices,
          ...answers.map(([said]) => said)],
        changes: [],
      };
    });
    const changes = Object.entries(data.changes).flatMap(([direction, numbers]) => {
      const found = [];
      for (let at = 0; at < numbers.length; at += 2) {
        const change = { direction, document: documents[numbers[at]], pair: pairs[numbers[at + 1]] };
        change.document.changes.push(change);
        found.push(change);
      }
      return found;
    });
    return { texts, variants, tasks, pairs, documents, changes };
  };

  /* Whether a document has every word: in what it was asked, in what was answered, in its name. */
  const searching = (data, words) => {
    if (!words.length) return () => true;
    data.lowered ??= data.texts.map((text) => text.toLowerCase());
    const found = words.map((word) => data.lowered.map((text) => text.includes(word)));
    return (one) => words.every((word, at) =>
      one.label.includes(word) || (word.length > 7 && one.hash.startsWith(word)) ||
      one.places.some((text) => found[at][text]));
  };

  /* The changes that pass the filters; of a document only the first, which is its worst. */
  const search = (data) => {
    const [task, pair, direction, slice] =
      ["task", "pair", "direction", "slice"].map((name) => fields[name].value);
    const has = searching(data, fields.words.value.toLowerCase().split(/\s+/).filter(Boolean));
    const seen = new Set();
    return data.changes.filter((change) => {
      const one = change.document;
      if (seen.has(one) || (task && one.task.name !== task) || (slice && one.slice !== slice)) {
        return false;
      }
      if ((pair && change.pair.key !== pair) || (direction && change.direction !== direction)) {
        return false;
      }
      seen.add(one);
      return has(one);
    });
  };

  const offer = (select, everything, options) => {
    const before = select.value;
    const all = [["", everything], ...options];
    select.replaceChildren(...all.map(([value, name]) => new Option(name, value)));
    select.value = all.some(([value]) => value === before) ? before : "";
  };

  /* The pairs and slices that the task has. */
  const offerChoices = (data) => {
    const isOfTask = (task) => !fields.task.value || task.name === fields.task.value;
    const pairs = data.pairs.filter((pair) => isOfTask(pair.task));
    const slices = data.documents.filter((one) => isOfTask(one.task)).map((one) => one.slice);
    const named = [...new Set(slices)].filter((slice) => slice !== null).sort();
    offer(fields.pair, "all pairs", [...new Map(pairs.map((pair) => [pair.key, pair.name]))]);
    offer(fields.slice, "all slices", named.map((slice) => [slice, slice]));
    fields.slice.parentElement.hidden = !named.length;
  };

  const begin = (data) => {
    const view = mergegate.answers(data);
    let found = [];
    let page = 0;

    const draw = () => {
      const [first, last] = [page * PAGE, Math.min((page + 1) * PAGE, found.length)];
      list.replaceChildren(...found.slice(first, last).map(view));
      const shown = found.length ? `${count(first + 1)} to ${count(last)} of ` : "";
      part("shown").textContent = `${shown}${count(found.length)}`;
      part("printed").textContent = `Printed: ${shown}${count(found.length)} documents found; ` +
        `${count(data.documents.length)} changed in all. Every one is in this page and in record.json.`;
      part("pages").hidden = found.length <= PAGE;
      part("before").setAttribute("aria-disabled", page === 0);
      part("after").setAttribute("aria-disabled", last === found.length);
    };

    const refresh = () => {
      found = search(data);
      page = 0;
      const all = `${count(data.documents.length)} changed documents`;
      part("found").textContent =
        found.length === data.documents.length ? all : `${count(found.length)} of ${all}`;
      part("clear").hidden = found.length === data.documents.length;
      draw();
    };

    const turn = (step) => {
      if (page + step < 0 || (page + step) * PAGE >= found.length) return;
      page += step;
      draw();
      list.focus({ preventScroll: true });
      place.scrollIntoView();
    };

    const set = ({ task = "", reference, candidate, direction = "", slice = "" }) => {
      filters.reset();
      fields.task.value = task;
      offerChoices(data);
      if (reference !== undefined) fields.pair.value = JSON.stringify([reference, candidate]);
      fields.direction.value = direction;
      fields.slice.value = slice;
      refresh();
    };

    /* Show the document that the page's address names, whatever the filters are. */
    const reveal = () => {
      const anchor = mergegate.named();
      const isIt = (change) => change.document.anchor === anchor;
      if (!data.changes.some(isIt)) return;
      if (!found.some(isIt)) set({});
      page = Math.floor(found.findIndex(isIt) / PAGE);
      draw();
      const node = document.getElementById(anchor);
      node.open = true;
      node.setAttribute("aria-current", "true");
      node.scrollIntoView();
      node.firstElementChild.focus({ preventScroll: true });
    };

    offer(fields.task, "all tasks", data.tasks.map((task) => [task.name, task.name]));
    set({});
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.addEventListener("input", ({ target }) => {
      if (target === fields.task) offerChoices(data);
      refresh();
    });
    part("clear").addEventListener("click", () => {
      set({});
      fields.words.focus();
    });
    part("before").addEventListener("click", () => turn(-1));
    part("after").addEventListener("click", () => turn(1));
    document.addEventListener("click", ({ target }) => {
      const link = target.closest("a[data-documents]");
      if (link) set(link.dataset);
    });
    addEventListener("hashchange", reveal);
    place.hidden = false;
    reveal();
  };

  mergegate.island("documents").then((text) => begin(unpack(JSON.parse(text)))).catch((error) => {
    place.before(make("p", { role: "alert" },
      `This browser cannot show the documents (${error}); record.json has every one.`));
  });
})();
