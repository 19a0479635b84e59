"use strict";
(() => {
  const PART = /\s+|[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]|[\p{L}\p{M}\p{N}_]+|./gsu;
  const MOST_CELLS = 4_000_000;

  /* Lengths of the longest common subsequences of all ends of two lists, row by row. */
  const lengthsOf = (before, after) => {
    const width = after.length + 1;
    const lengths = new Uint16Array((before.length + 1) * width);
    for (let y = before.length - 1; y >= 0; y -= 1) {
      for (let x = after.length - 1; x >= 0; x -= 1) {
        lengths[y * width + x] = before[y] === after[x]
          ? lengths[(y + 1) * width + x + 1] + 1
          : Math.max(lengths[(y + 1) * width + x], lengths[y * width + x + 1]);
      }
    }
    return lengths;
  };

  const add = (blocks, before, after) => {
    const last = blocks.at(-1);
    if (last && last.same === undefined) {
      last.before += before;
      last.after += after;
    } else if (before || after) blocks.push({ before, after });
  };

  const addSame = (blocks, same) => {
    const last = blocks.at(-1);
    if (last?.same !== undefined) last.same += same;
    else if (same) blocks.push({ same });
  };

  /* The blank between two changed words is taken for changed, so that they read as one change. */
  const joined = (blocks) => blocks.reduce((kept, block, place) => {
    const isBetween = place > 0 && place < blocks.length - 1;
    if (block.same === undefined) add(kept, block.before, block.after);
    else if (isBetween && !block.same.trim()) add(kept, block.same, block.same);
    else addSame(kept, block.same);
    return kept;
  }, []);

  const walk = (before, after, blocks) => {
    const lengths = lengthsOf(before, after);
    const width = after.length + 1;
    let [y, x] = [0, 0];
    while (y < before.length && x < after.length) {
      if (before[y] === after[x]) {
        addSame(blocks, before[y]);
        y += 1;
        x += 1;
      } else if (lengths[(y + 1) * width + x] >= lengths[y * width + x + 1]) {
        add(blocks, before[y], "");
        y += 1;
      } else {
        add(blocks, "", after[x]);
        x += 1;
      }
    }
    add(blocks, before.slice(y).join(""), after.slice(x).join(""));
  };

  /*
   * What two texts share and where they differ, word by word: blocks {same} and {before, after}.
   * Of texts that differ in too many words, all from the first to the last different one is one
   * block, and isCoarse is true.
   */
  mergegate.compareWords = (one, other) => {
    const [before, after] = [one, other].map((text) => text.match(PART) ?? []);
    const shortest = Math.min(before.length, after.length);
    let start = 0;
    while (start < shortest && before[start] === after[start]) start += 1;
    let end = 0;
    while (end < shortest - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
    const [middle, otherMiddle] =
      [before, after].map((words) => words.slice(start, words.length - end));
    const isCoarse = middle.length * otherMiddle.length > MOST_CELLS;
    const blocks = [];
    addSame(blocks, before.slice(0, start).join(""));
    if (isCoarse) add(blocks, middle.join(""), otherMiddle.join(""));
    else walk(middle, otherMiddle, blocks);
    addSame(blocks, before.slice(before.length - end).join(""));
    return { blocks: joined(blocks), isCoarse };
  };
})();
