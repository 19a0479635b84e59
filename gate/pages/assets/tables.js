"use strict";
(() => {
  const { make } = mergegate;
  const MISSING = new Set(["", "not measured", "no such step"]);
  const NUMBER = /^[<>≈~]?\s*([-+]?(?:\d[\d,]*)?\.?\d+(?:e[-+]?\d+)?)\s*(bytes|kB|MB|GB|TB)?(?![\w.])/;
  const PLAIN_NUMBER = /^[-+]?[\d.,]+(e[-+]?\d+)?( ?%)?$/;
  const SCALES = { bytes: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
  const SORTS = { none: "ascending", ascending: "descending", descending: "none" };
  const words = new Intl.Collator("en", { numeric: true });

  const raw = (node, skipped) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(skipped)) return "";
    const inside = [...node.childNodes].map((child) => raw(child, skipped)).join("");
    return /^(BR|P|DIV|LI|UL|OL|DETAILS|SUMMARY)$/.test(node.tagName) ? ` ${inside} ` : inside;
  };
  /* What a cell says, on one line, with a hyphen for the minus sign that spreadsheets know not. */
  const textOf = (node, skipped = ".sort, svg") =>
    raw(node, skipped).replace(/\s+/g, " ").replace(/\u2212/g, "-").trim();

  const fill = (grid, cell, y, x) => {
    for (let down = y; down < Math.min(y + cell.rowSpan, grid.length); down += 1) {
      for (let right = x; right < x + cell.colSpan; right += 1) grid[down][right] = cell;
    }
  };

  /* Each column's heading, and its name with the heading that it shares with its neighbours. */
  const columnsOf = (table) => {
    const grid = [...table.tHead.rows].map(() => []);
    [...table.tHead.rows].forEach((row, y) => {
      for (const cell of row.cells) {
        let x = 0;
        while (grid[y][x]) x += 1;
        fill(grid, cell, y, x);
      }
    });
    const names = grid.map((row) => row.map((cell) => (cell ? textOf(cell) : "")));
    return grid.at(-1).map((cell, x) => ({
      cell,
      name: [...new Set(names.map((row) => row[x]))].filter(Boolean).join(": "),
    }));
  };

  /* The rows of a table's body, each with those that belong to it and stay behind it. */
  const groupsOf = (table) => {
    const groups = [];
    for (const row of table.tBodies[0]?.rows ?? []) {
      if (row.matches(".proof") && groups.length) groups.at(-1).push(row);
      else groups.push([row]);
    }
    return groups;
  };

  const isSortable = (table, columns) => {
    const groups = groupsOf(table);
    return table.tBodies.length === 1 && groups.length > 1 && groups.every(([row]) =>
      row.cells.length === columns.length &&
      [...row.cells].every((cell) => cell.rowSpan === 1 && cell.colSpan === 1));
  };

  const numberOf = (text) => {
    if (text === "infinite") return Infinity;
    const found = text.match(NUMBER);
    return found ? Number(found[1].replaceAll(",", "")) * (SCALES[found[2]] ?? 1) : NaN;
  };

  const keyOf = (cell) => {
    const exact = cell.dataset.order ?? cell.dataset.value;
    if (exact !== undefined && exact !== "") return { text: exact, number: exact === "inf" ? Infinity : Number(exact) };
    const text = textOf(cell, ".sort, svg, .sub, details") || textOf(cell);
    return { text, number: numberOf(text) };
  };

  /* Rows in the order of a column; equal ones stay as they were, what was not measured is last. */
  const sorted = (groups, x, heading, direction) => {
    const keyed = groups.map((rows, place) => ({ rows, place, ...keyOf(rows[0].cells[x]) }));
    const told = keyed.filter((one) => !MISSING.has(one.text));
    const isNumeric = heading.matches(".number") || told.every((one) => !Number.isNaN(one.number));
    const isLast = (one) => MISSING.has(one.text) || (isNumeric && Number.isNaN(one.number));
    const sign = direction === "descending" ? -1 : 1;
    const difference = (a, b) =>
      isNumeric ? (a.number > b.number) - (a.number < b.number) : words.compare(a.text, b.text);
    return keyed.sort((a, b) =>
      isLast(a) - isLast(b) || (isLast(a) ? 0 : sign * difference(a, b)) || a.place - b.place);
  };

  const addSorting = (table, columns) => {
    const original = groupsOf(table);
    const headings = columns.map((column) => column.cell);
    columns.forEach(({ cell, name }, x) => {
      if (!name || cell.colSpan > 1 || cell.querySelector("svg")) return;
      const button =
        make("button", { type: "button", class: "sort", "aria-label": `Sort by ${name}` });
      button.addEventListener("click", () => {
        const next = SORTS[cell.getAttribute("aria-sort") ?? "none"];
        headings.forEach((heading) => heading.removeAttribute("aria-sort"));
        if (next !== "none") cell.setAttribute("aria-sort", next);
        const groups = next === "none" ? original
          : sorted(original, x, cell, next).map((one) => one.rows);
        table.tBodies[0].append(...groups.flat());
      });
      cell.setAttribute("aria-label", name);
      cell.append(button);
    });
  };

  /* A field of RFC 4180, which no spreadsheet takes for a formula. */
  const field = (text) => {
    const isRisky = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(text) && !PLAIN_NUMBER.test(text);
    const safe = isRisky ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };

  const spread = (row) => [...row.cells].flatMap((cell) =>
    [cell, ...Array(cell.colSpan - 1).fill(null)]);

  /* What of a column is copied: {the end of its name: what a cell has for it}. */
  const fieldsOf = (cells) => {
    const has = (name) => cells.some((cell) => cell?.dataset[name] !== undefined);
    const shown = (cell) => (cell ? textOf(cell) : "");
    if (!has("value")) return { "": shown };
    const fields = { "": (cell) => cell?.dataset.value ?? "" };
    for (const end of ["low", "high"]) {
      if (has(end)) fields[`, ${end}`] = (cell) => cell?.dataset[end] ?? "";
    }
    return { ...fields, ", as shown": shown };
  };

  const csvOf = (table) => {
    const rows = groupsOf(table).map(([row]) => row).filter((row) => !row.hidden).map(spread);
    const columns = columnsOf(table).flatMap(({ name }, x) =>
      Object.entries(fieldsOf(rows.map((row) => row[x]))).map(([end, read]) =>
        [name + end, ...rows.map((row) => read(row[x]))]));
    const lines = [...Array(rows.length + 1).keys()].map((y) =>
      columns.map((column) => field(column[y])).join(","));
    return lines.map((line) => `${line}\r\n`).join("");
  };

  const said = make("p", { class: "unseen", role: "status" });
  document.body.append(said);

  /* Where the clipboard is refused, the text is shown selected, for the keyboard to copy. */
  const show = (text) => {
    const area =
      make("textarea", { readonly: "", rows: 14, "aria-label": "The text to copy" }, text);
    const close = make("button", { type: "button", class: "quiet" }, "Close");
    const dialog = make("dialog", { class: "to-copy" },
      make("p", {}, "The browser does not let this page write to the clipboard. Copy from here:"),
      area, close);
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
    area.focus();
    area.select();
  };

  const copy = async (text, button) => {
    if (button.getAttribute("aria-disabled") === "true") return;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      show(text);
      return;
    }
    const before = button.textContent;
    button.textContent = said.textContent = "Copied";
    button.setAttribute("aria-disabled", "true");
    setTimeout(() => {
      button.textContent = before;
      button.removeAttribute("aria-disabled");
      said.textContent = "";
    }, 1500);
  };

  mergegate.copy = copy;

  const enhance = (place) => {
    const table = place.querySelector("table");
    if (!table?.tHead) return;
    const columns = columnsOf(table);
    if (isSortable(table, columns)) addSorting(table, columns);
    const button = make("button", {
      type: "button", class: "quiet", title: "Numbers unrounded, in the units of record.json",
      "aria-label": `Copy CSV: ${place.getAttribute("aria-label") ?? "table"}`,
    }, "Copy CSV");
    button.addEventListener("click", () => copy(csvOf(table), button));
    place.after(make("p", { class: "table-tools" }, button));
  };

  /* The heading of the column that a cell of a table's body is in. */
  mergegate.headingOf = (cell) => {
    const table = cell.closest("table");
    return table.tHead?.rows.length ? columnsOf(table)[cell.cellIndex]?.cell : undefined;
  };
  document.querySelectorAll(".scroll").forEach(enhance);

  document.querySelectorAll("button[data-copy]").forEach((button) => {
    button.hidden = false;
    button.addEventListener("click", () => {
      copy(button.previousElementSibling.textContent, button);
    });
  });
})();
