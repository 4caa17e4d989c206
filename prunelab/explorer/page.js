"use strict";
// It chooses and draws. Every number and every sentence comes from the facts above.

const facts = JSON.parse(document.getElementById("facts").textContent);
const OTHER_CHOICES = {
  axis: [
    { name: "density", words: "density" },
    { name: "budget", words: "budget" },
  ],
  against: [
    { name: "simple", words: "the best simple way" },
    { name: "dense", words: "the dense network trained as long" },
    { name: "best", words: "the best way" },
  ],
};
const choices = { ...facts.choices, ...OTHER_CHOICES };
const START = {
  network: "lenet300", pruned: "weights", density: "0.05", budget: "1",
  axis: "density", against: "simple",
};
const startHidden = facts.ways.filter((way) => !way.start).map((way) => way.name);
const state = { ...START, hidden: new Set(startHidden) };
const $ = (id) => document.getElementById(id);

// The address keeps the choice.

function hash() {
  const kept = new URLSearchParams();
  for (const name of Object.keys(START)) kept.set(name, state[name]);
  const names = facts.ways.map((way) => way.name);
  const shown = names.filter((name) => startHidden.includes(name) && !state.hidden.has(name));
  const hidden = names.filter((name) => !startHidden.includes(name) && state.hidden.has(name));
  if (shown.length) kept.set("show", shown.join(";"));
  if (hidden.length) kept.set("hide", hidden.join(";"));
  return `#${kept}`;
}

function readHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const wrong = [];
  for (const name of Object.keys(START)) {
    const value = wanted.get(name);
    const known = choices[name].some((choice) => choice.name === value);
    if (value !== null && !known) wrong.push(`${name} “${value}”`);
    state[name] = known ? value : START[name];
  }
  state.hidden = new Set(startHidden);
  const listed = (name) => (wanted.get(name) || "").split(";").filter(Boolean);
  for (const name of [...listed("show"), ...listed("hide")]) {
    if (!facts.ways.some((way) => way.name === name)) wrong.push(`way “${name}”`);
  }
  listed("show").forEach((name) => state.hidden.delete(name));
  listed("hide").forEach((name) => state.hidden.add(name));
  $("wrong").hidden = wrong.length === 0;
  $("wrong").textContent =
    `The address asks for ${wrong.join(", ")}, which is not here. You see something else.`;
}

// Small makers.

function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...inside);
  return element;
}

function svg(tag, attributes = {}, ...inside) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...inside);
  return element;
}

const paragraphs = (sentences) => sentences.map((words) => make("p", {}, words));
const cellKey = (changed = {}) => {
  const at = { ...state, ...changed };
  return `${at.network}|${at.pruned}|${at.density}|${at.budget}`;
};
const cell = (changed) => facts.cells[cellKey(changed)];
const drawn = () => facts.ways.filter((way) => !state.hidden.has(way.name));
const short = (number) => number.toFixed(6).replace(/\.?0+$/, "").replace("-", "−");

// Marks.

const SHAPES = {
  circle: "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0Z",
  square: "M-4,-4H4V4H-4Z",
  diamond: "M0,-5.6L5.6,0L0,5.6L-5.6,0Z",
  up: "M0,-5.4L5,4H-5Z",
  down: "M0,5.4L5,-4H-5Z",
};

const colorOf = (way) => `--color: var(--${facts.families[way.family].color.startsWith("#")
  ? way.family : facts.families[way.family].color})`;

function mark(way, x, y) {
  const place = typeof x === "string" ? {} : { transform: `translate(${x},${y})` };
  return svg("path", {
    class: `mark${way.hollow ? " hollow" : ""}`, d: SHAPES[way.marker], ...place,
  });
}

function sample(way, width = 40) {
  const dash = facts.families[way.family].dash;
  const group = svg("g", { class: "way", style: colorOf(way) });
  if (dash !== "none" && width > 20) {
    group.append(svg("line", { x1: 1, x2: width - 1, y1: 9, y2: 9, "stroke-dasharray": dash }));
  }
  group.append(mark(way, width / 2, 9));
  return svg("svg", { width, height: 18, "aria-hidden": "true" }, group);
}

// The controls, made once.

function makeKeys(name) {
  const keys = make("div", { class: "keys" });
  for (const choice of choices[name]) {
    const input = make("input", { type: "radio", name, value: choice.name });
    input.addEventListener("change", () => {
      state[name] = choice.name;
      changed();
    });
    keys.append(make("label", {}, input, make("span", {}, choice.words)));
  }
  document.querySelector(`fieldset[data-choice="${name}"]`).append(keys);
}

function makeLegend() {
  const box = make("div");
  for (const [family, look] of Object.entries(facts.families)) {
    const group = make("div", { role: "group", "aria-label": look.words },
      make("h3", { "aria-hidden": "true" }, look.words));
    for (const way of facts.ways.filter((each) => each.family === family)) {
      const input = make("input", { type: "checkbox", name: "way", value: way.name });
      input.addEventListener("change", () => {
        if (input.checked) state.hidden.delete(way.name);
        else state.hidden.add(way.name);
        changed();
      });
      const label = make("label", {}, input, sample(way),
        make("span", {}, way.name, make("small", {}, way.about)));
      for (const event of ["pointerenter", "focusin"]) {
        label.addEventListener(event, () => heat(way.name));
      }
      for (const event of ["pointerleave", "focusout"]) {
        label.addEventListener(event, () => heat(null));
      }
      group.append(label);
    }
    box.append(group);
  }
  $("legend").append(box);
}

function heat(name) {
  const groups = [...$("chart").querySelectorAll(".way")];
  const there = groups.some((group) => group.dataset.way === name);
  $("chart").classList.toggle("faded", there);
  groups.forEach((group) => group.classList.toggle("hot", group.dataset.way === name));
}

function showChoices() {
  for (const name of Object.keys(choices)) {
    for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
      input.checked = input.value === state[name];
      if (!(name in facts.choices)) continue;
      const there = cell({ [name]: input.value }) !== undefined;
      input.parentElement.classList.toggle("unrecorded", !there);
      input.setAttribute("aria-description", there ? "" : "not recorded with the other choices");
    }
  }
  const recorded = new Set(points().map((point) => point.way.name));
  for (const input of document.querySelectorAll('input[name="way"]')) {
    const there = recorded.has(input.value);
    input.checked = !state.hidden.has(input.value);
    input.parentElement.hidden = !there;
  }
  for (const group of document.querySelectorAll("#legend [role=group]")) {
    group.hidden = [...group.querySelectorAll("label")].every((label) => label.hidden);
  }
  const absent = facts.ways.map((way) => way.name).filter((name) => !recorded.has(name));
  $("absent").textContent = absent.length ? `Not recorded here: ${absent.join("; ")}.` : "";
}

// The advice.

function showAdvice() {
  const here = cell();
  $("advice-head").firstElementChild.textContent =
    here ? "The playbook's advice" : "Nothing to advise";
  const advice = here && here.advice;
  document.querySelector(".card").classList.toggle("sure", Boolean(here) && advice.sure);
  $("title").textContent = here ? capital(advice.title) : "Not recorded";
  $("overall").replaceChildren(
    ...paragraphs(here ? advice.overall : [facts.missing[cellKey()]]));
  $("here").replaceChildren(...paragraphs(here ? advice.here : []));
  $("left").textContent = here ? here.left : "";
  $("evidence-box").hidden = !here;
  $("evidence").replaceChildren(
    ...(here ? advice.evidence : []).map((words) => make("li", {}, words)));
  $("spoken").textContent = here ? advice.spoken : facts.missing[cellKey()];
}

const capital = (words) => words[0].toUpperCase() + words.slice(1);

// Accuracy.

/** The places on the chart's axis that are recorded: their cells, and those of untrained ways. */
function places() {
  const name = state.axis;
  return facts.choices[name]
    .map((choice) => ({ choice, cell: cell({ [name]: choice.name }) }))
    .filter((place) => place.cell);
}

function points() {
  const found = [];
  for (const { choice, cell: here } of places()) {
    for (const way of facts.ways) {
      const entry = here.ways[way.name];
      if (!entry) continue;
      const atZero = state.axis === "budget" && entry.untrained;
      if (atZero && found.some((point) => point.way === way)) continue;
      const x = atZero ? 0 : choice.number;
      found.push({ way, x, words: atZero ? "no steps" : choice.words, ...entry });
    }
  }
  return found;
}

function scaleX(numbers, left, right) {
  if (state.axis === "budget") {
    const margin = 0.1 * (right - left) + 10;
    return (value) => left + margin + value * (right - left - 2 * margin);
  }
  const [high, low] = [Math.log(Math.max(...numbers)), Math.log(Math.min(...numbers))];
  if (high === low) return () => (left + right) / 2;
  const edge = 0.5 * (right - left) / numbers.length;
  return (value) => left + edge
    + (high - Math.log(value)) / (high - low) * (right - left - 2 * edge);
}

function niceTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((each) => each >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high; i += 1) ticks.push(i * step);
  return ticks;
}

function showPicture() {
  const all = points().filter((point) => !state.hidden.has(point.way.name));
  const other = state.axis === "density" ? "budget" : "density";
  const fixed = facts.choices[other].find((choice) => choice.name === state[other]).words;
  const words = `Share of test images named right, in ${state.network} with ${state.pruned} `
    + `pruned, ${fixed} ${other === "budget" ? "of the steps" : "kept"}. `
    + "Bars are 95 % intervals over seeds; points of one place stand side by side. Dashed: the "
    + "dense network, trained for as many more steps.";
  const none = places().length === 0;
  $("no-chart").hidden = !none;
  $("no-chart").textContent = facts.missing[cellKey()] || "";
  $("accuracies").hidden = none;
  $("picture-words").textContent = none ? "" : words;
  if (none) $("chart").replaceChildren();
  else drawPicture(all, words);
  fillAccuracies(all, fixed, other);
}

function drawPicture(all, words) {
  const width = Math.max(280, $("chart").clientWidth);
  const height = width < 520 ? 340 : 400;
  const frame = { left: 46, right: width - 8, top: 12, bottom: height - 46 };
  const dense = facts.dense[state.network];
  const numbers = places().map((place) => place.choice.number);
  const x = scaleX(numbers, frame.left, frame.right);
  const lines = state.axis === "budget" ? Object.values(dense) : [dense[state.budget]];
  const ends = [...all, ...lines].flatMap((point) => [point.low, point.high]);
  const pad = 0.04 * (Math.max(...ends) - Math.min(...ends)) + 0.1;
  const [low, high] = [Math.min(...ends) - pad, Math.min(100, Math.max(...ends) + pad)];
  const y = (value) => frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top);

  const ways = drawn().filter((way) => all.some((point) => point.way === way));
  const xs = [...new Set([...numbers, ...(state.axis === "budget" ? [0] : [])])]
    .map(x).sort((a, b) => a - b);
  const gaps = xs.slice(1).map((value, i) => value - xs[i]);
  const room = xs.length > 1 ? 0.78 * Math.min(...gaps) : 0.8 * (frame.right - frame.left);
  const apart = Math.min(24, room / Math.max(1, ways.length));
  const aside = (way) => (ways.indexOf(way) - (ways.length - 1) / 2) * apart;

  const picture = svg("svg", {
    width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Chart. ${words} ${all.length} points; the table below has their numbers.`,
  });
  drawFrame(picture, frame, x, y, niceTicks(low, high, 6), apart * ways.length + 12);
  drawDense(picture, frame, x, y, lines);
  for (const way of ways) {
    drawWay(picture, way, all.filter((point) => point.way === way),
      (value) => x(value) + aside(way), y);
  }
  $("chart").replaceChildren(picture);
}

function drawFrame(picture, frame, x, y, ticks, breadth) {
  const chosen = facts.choices[state.axis].find((choice) => choice.name === state[state.axis]);
  if (places().some((place) => place.choice === chosen)) {
    picture.append(svg("rect", {
      class: "chosen", rx: 6, x: x(chosen.number) - breadth / 2, width: breadth,
      y: frame.top, height: frame.bottom - frame.top,
    }));
  }
  for (const tick of ticks) {
    picture.append(
      svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(tick), y2: y(tick) }),
      svg("text", { x: frame.left - 6, y: y(tick) + 4, "text-anchor": "end" },
        `${short(tick)} %`));
  }
  picture.append(svg("line", {
    class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom,
  }));
  const zero = state.axis === "budget" ? [{ number: 0, words: "0 %" }] : [];
  for (const choice of [...zero, ...places().map((place) => place.choice)]) {
    picture.append(svg("text", {
      x: x(choice.number), y: frame.bottom + 18, "text-anchor": "middle",
      "font-weight": choice === chosen ? 700 : 400,
    }, choice.words));
  }
  picture.append(svg("text", {
    class: "quiet", x: (frame.left + frame.right) / 2, y: frame.bottom + 38,
    "text-anchor": "middle",
  }, state.axis === "budget" ? "budget: share of the dense training's steps"
    : "density: weights that are kept"));
}

function drawDense(picture, frame, x, y, lines) {
  const alone = lines.length === 1;
  const budgets = Object.keys(facts.dense[state.network]).map(Number).sort((a, b) => a - b);
  const at = alone ? [frame.left, frame.right] : budgets.map(x);
  const value = (end, i) => y((alone ? lines[0] : facts.dense[state.network][`${budgets[i]}`])[end]);
  const upper = at.map((place, i) => `${place},${value("high", i)}`);
  const lower = at.map((place, i) => `${place},${value("low", i)}`).reverse();
  const last = at.length - 1;
  picture.append(
    svg("polygon", { class: "dense-band", points: [...upper, ...lower].join(" ") }),
    svg("polyline", {
      class: "dense-line", points: at.map((place, i) => `${place},${value("mean", i)}`).join(" "),
    }),
    svg("text", {
      class: "rim", x: at[last], y: value("high", last) - 5, "text-anchor": "end",
    }, `dense, trained as long: ${(alone ? lines[0] : facts.dense[state.network]["1"]).text}`));
}

function drawWay(picture, way, own, x, y) {
  const group = svg("g", { class: "way", style: colorOf(way), "data-way": way.name });
  const dash = facts.families[way.family].dash;
  const sorted = [...own].sort((a, b) => a.x - b.x);
  if (dash !== "none" && sorted.length > 1) {
    group.append(svg("polyline", {
      class: "path", "stroke-dasharray": dash,
      points: sorted.map((point) => `${x(point.x)},${y(point.mean)}`).join(" "),
    }));
  }
  for (const point of sorted) {
    group.append(svg("g", { "data-x": point.x },
      svg("title", {}, `${way.name}, ${point.words}: ${point.text}`),
      svg("line", {
        class: "error", x1: x(point.x), x2: x(point.x), y1: y(point.low), y2: y(point.high),
      }),
      mark(way, x(point.x), y(point.mean))));
  }
  group.addEventListener("pointerenter", () => heat(way.name));
  group.addEventListener("pointerleave", () => heat(null));
  picture.append(group);
}

function fillAccuracies(all, fixed, other) {
  const [caption, head, body] = $("accuracies").querySelector("table").children;
  caption.textContent = `${state.network}, ${state.pruned} pruned, ${fixed} `
    + `${other === "budget" ? "of the steps" : "kept"}: mean [95 % interval]`;
  const names = ["way back", state.axis, "test images right", "networks", "highest learning rate"];
  head.replaceChildren(make("tr", {}, ...names.map((words) => make("th", { scope: "col" }, words))));
  const dense = facts.dense[state.network];
  const long = state.axis === "budget" ? Object.entries(dense) : [[state.budget, dense[state.budget]]];
  const words = (budget) => budget === "0" ? "no steps"
    : facts.choices.budget.find((choice) => choice.name === budget).words;
  const rows = [
    ...all.map((point) => [point.way.name, point.words, point.text, point.n, point.rate]),
    ...long.map(([budget, entry]) => [`dense network (${entry.way})`,
      state.axis === "budget" ? words(budget) : "100 %", entry.text, entry.n, entry.rate]),
  ];
  body.replaceChildren(...rows.map(([first, ...rest]) => make("tr", {},
    make("th", { scope: "row" }, first), ...rest.map((each) => make("td", {}, `${each}`)))));
}

// Differences.

/** What is drawn, in points: all rows, but those far beyond the others become arrows. */
function gainsRange(rows) {
  const sizes = rows.map((row) => Math.abs(row.mean)).sort((a, b) => a - b);
  const farthest = Math.max(1, 4 * sizes[Math.floor(sizes.length / 2)]);
  const ends = rows.flatMap((row) => [row.low, row.high]);
  return [
    Math.max(-farthest, Math.min(-0.5, ...ends) - 0.2),
    Math.min(farthest, Math.max(0.5, ...ends) + 0.2),
  ];
}

function showGains() {
  const here = cell();
  $("differences").hidden = !here;
  const over = here && here.over[state.against];
  const kind = choices.against.find((choice) => choice.name === state.against).words;
  $("gains-words").textContent = !here ? facts.missing[cellKey()]
    : `Points of test accuracy: each way minus ${over}`
      + `${state.against === "dense" ? "" : `, ${kind} on validation images`}. Bars are 95 % `
      + `intervals, paired by seed; the gray band is ±${facts.matters} points.`;
  $("beyond").hidden = true;
  const [caption, head, body] = $("differences").children;
  [caption, head, body].forEach((part) => part.replaceChildren());
  if (!here) return;
  const rows = drawn()
    .filter((way) => here.ways[way.name])
    .map((way) => ({ way, ...(here.ways[way.name].against[state.against] || { mean: 0 }) }))
    .sort((a, b) => b.mean - a.mean);
  const compared = rows.filter((row) => row.text);
  const [low, high] = compared.length ? gainsRange(compared) : [-1, 1];
  const at = (value) => 100 * (value - low) / (high - low);
  caption.textContent = $("gains-words").textContent;
  const column = { scope: "col", role: "columnheader" };
  head.replaceChildren(make("tr", { role: "row" }, make("th", column, "way back"),
    make("th", { ...column, class: "plot" }, make("span", { class: "unseen" }, "drawn"),
      drawScale(niceTicks(low, high, 4), at)),
    make("th", column, "difference [95 % interval]"), make("th", column, "verdict")));
  body.replaceChildren(...rows.map((row) => differenceRow(row, low, high, at)));
}

function drawScale(ticks, at) {
  const box = svg("svg", { height: 18, "aria-hidden": "true" });
  for (const tick of ticks) {
    box.append(svg("text", { x: `${at(tick)}%`, y: 13, "text-anchor": "middle", class: "quiet" },
      short(tick)));
  }
  return box;
}

function differenceRow(row, low, high, at) {
  const name = make("th", { scope: "row", role: "rowheader" }, sample(row.way, 14), row.way.name);
  const box = svg("svg", { height: 30, "aria-hidden": "true" });
  const band = { x: `${at(-facts.matters)}%`, width: `${at(facts.matters) - at(-facts.matters)}%` };
  box.append(svg("rect", { class: "small-band", y: 0, height: 30, ...band }),
    svg("line", { class: "axis", x1: `${at(0)}%`, x2: `${at(0)}%`, y1: 0, y2: 30 }));
  const plot = make("td", { class: "plot", role: "cell" }, box);
  if (!row.text) {
    return make("tr", { class: "reference", role: "row" }, name, plot,
      make("td", { colspan: 2, role: "cell" }, "the others are compared with it"));
  }
  const look = { class: "way", style: colorOf(row.way) };
  const [left, right] = [Math.max(low, row.low), Math.min(high, row.high)];
  if (right > low && left < high) {
    box.append(svg("g", look, svg("line",
      { x1: `${at(left)}%`, x2: `${at(right)}%`, y1: 15, y2: 15 })));
  }
  const inside = row.mean >= low && row.mean <= high;
  const place = { x: `${at(Math.min(high, Math.max(low, row.mean)))}%`, y: 15, overflow: "visible" };
  const arrow = svg("path", { class: "mark", d: row.mean < low ? "M0,0L9,-5V5Z" : "M0,0L-9,-5V5Z" });
  box.append(svg("svg", place, svg("g", look, inside ? mark(row.way, "") : arrow)));
  if (!inside || row.low < low || row.high > high) $("beyond").hidden = false;
  const verdict = make("span",
    { class: "verdict", style: `background: ${facts.verdicts[row.verdict]}` }, row.verdict);
  return make("tr", { role: "row" }, name, plot,
    make("td", { class: "number", role: "cell" }, row.text),
    make("td", { class: "said", role: "cell" }, verdict));
}

// All together.

function show() {
  showChoices();
  showAdvice();
  showPicture();
  showGains();
}

function changed() {
  $("wrong").hidden = true;
  history.replaceState(null, "", hash());
  show();
}

for (const name of Object.keys(choices)) makeKeys(name);
makeLegend();
$("matters").textContent = facts.matters;
$("studies").replaceChildren(...facts.studies.map((words) => make("li", {}, words)));
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("results").focus();
});
$("choices").addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", () => {
  readHash();
  show();
});
window.addEventListener("resize", showPicture);
readHash();
show();
