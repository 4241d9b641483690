"use strict";
// The tables are there already; this only sorts and filters them and shows what a cell is about.
const RANK = ["failed", "xpass", "skipped", "xfail", "unavailable", "built", "cached", "excluded", ""];
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};
const words = (text) => text.split(" ").filter((word) => word !== "");

const tables = [...document.querySelectorAll("table")].map((table) => ({
  table,
  label: table.dataset.label,
  rowAxis: table.dataset.row,
  axes: words(table.dataset.columns),
  heads: [...table.tHead.rows[0].cells],
  columns: [...table.tHead.rows[0].cells].slice(1).map((head) => words(head.textContent)),
  rows: [...table.tBodies[0].rows].map((row, place) => ({
    row,
    place,
    name: row.cells[0].textContent,
    statuses: [...row.cells].slice(1).map((cell) => cell.className),
  })),
}));
const axes = [...new Set(tables.flatMap((it) => [it.rowAxis, ...it.axes]))].filter((axis) => axis !== "");
const statuses = RANK.filter((status) =>
  status !== "" && tables.some((it) => it.rows.some((row) => row.statuses.includes(status))));
const state = { axes: new Map(), statuses: new Set(), sort: "" };

// `*` stands for anything and `?` for one character; a text without them may stand anywhere in a value.
const matcher = (text) => {
  if (!text) return () => true;
  if (!/[*?]/.test(text)) return (value) => value.includes(text);
  const source = text.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  const pattern = new RegExp(`^${source}$`);
  return (value) => pattern.test(value);
};

const hidden = new CSSStyleSheet();
document.adoptedStyleSheets = [hidden];
const shown = make("output", { id: "shown" });

function filter() {
  const fits = new Map(axes.map((axis) => [axis, matcher(state.axes.get(axis))]));
  const rules = [];
  let visible = 0;
  let all = 0;
  tables.forEach((it, number) => {
    const columns = it.columns.map((values) => it.axes.every((axis, at) => fits.get(axis)(values[at])));
    columns.forEach((fit, at) => {
      if (!fit) rules.push(`#t${number} tr > :nth-child(${at + 2}) { display: none }`);
    });
    for (const row of it.rows) {
      const fit = !it.rowAxis || fits.get(it.rowAxis)(row.name);
      const found = row.statuses.filter((status, at) =>
        status !== "" && columns[at] && (!state.statuses.size || state.statuses.has(status))).length;
      all += row.statuses.filter((status) => status !== "").length;
      row.row.hidden = !(fit && found);
      if (fit) visible += found;
    }
    it.table.className = state.statuses.size
      ? ["some", ...[...state.statuses].map((status) => `some-${status}`)].join(" ")
      : "";
  });
  hidden.replaceSync(rules.join("\n"));
  shown.textContent = `${visible} of ${all} cells`;
}

function sort() {
  const descending = state.sort.startsWith("-");
  const by = descending ? state.sort.slice(1) : state.sort;
  for (const it of tables) {
    const at = it.heads.findIndex((head) => head.textContent === by);
    it.heads.forEach((head, number) => {
      if (number === at) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const rank = (row) => at > 0 ? RANK.indexOf(row.statuses[at - 1]) : 0;
    const sign = at >= 0 && descending ? -1 : 1;
    const order = (a, b) => sign * (rank(a) - rank(b) || (at > 0 ? sign : 1) * (a.place - b.place));
    it.table.tBodies[0].append(...[...it.rows].sort(order).map((row) => row.row));
  }
}

// What is chosen stands in the address, so that it can be sent to others.
function remember() {
  const parts = new URLSearchParams();
  for (const [axis, text] of state.axes) if (text) parts.set(axis, text);
  if (state.statuses.size) parts.set("status", [...state.statuses].join(","));
  if (state.sort) parts.set("sort", state.sort);
  history.replaceState(null, "", `#${parts}`);
}

function recall() {
  const hash = location.hash.slice(1);
  if (hash.startsWith("log-")) return open(document.getElementById(hash));
  const parts = new URLSearchParams(hash);
  for (const axis of axes) state.axes.set(axis, parts.get(axis) ?? "");
  state.statuses = new Set((parts.get("status") ?? "").split(",").filter((it) => statuses.includes(it)));
  state.sort = parts.get("sort") ?? "";
}

const controls = make("form", { id: "controls" });
const inputs = new Map();
for (const axis of axes) {
  const input = make("input", { type: "search", name: axis, placeholder: "all", "aria-label": axis });
  input.addEventListener("input", () => {
    state.axes.set(axis, input.value);
    filter();
    remember();
  });
  inputs.set(axis, input);
  controls.append(make("label", {}, `${axis} `, input));
}
const boxes = new Map();
for (const status of statuses) {
  const box = make("input", { type: "checkbox", name: `status-${status}` });
  box.addEventListener("change", () => {
    if (box.checked) state.statuses.add(status);
    else state.statuses.delete(status);
    filter();
    remember();
  });
  boxes.set(status, box);
  controls.append(make("label", { class: `status ${status}` }, box, ` ${status}`));
}
controls.append(shown);
controls.addEventListener("submit", (event) => event.preventDefault());
document.querySelector("h1").after(controls);

for (const it of tables) {
  for (const head of it.heads) {
    const name = head.textContent;
    if (name === "") continue;
    const button = make("button", { type: "button", title: "sort" }, name);
    button.addEventListener("click", () => {
      state.sort = state.sort === name ? `-${name}` : name;
      sort();
      remember();
    });
    head.replaceChildren(button);
  }
}

let panel = null;
function close() {
  panel?.classList.remove("open");
  if (panel?.dataset.made) panel.remove();
  document.querySelector("td.chosen")?.classList.remove("chosen");
  panel = null;
}
function open(element) {
  close();
  panel = element;
  panel?.classList.add("open");
}

function describe(it, cell) {
  const row = cell.parentElement;
  const values = it.columns[cell.cellIndex - 1];
  const parts = it.axes.map((axis, at) => `${axis}=${values[at]}`);
  if (it.rowAxis) parts.push(`${it.rowAxis}=${row.cells[0].textContent}`);
  const name = it.label + (parts.length ? `{${parts.sort().join(",")}}` : "");
  const about = make("section", { class: "log", "data-made": "yes", role: "dialog" },
    make("a", { class: "close", href: "#" }, "close"), make("h3", {}, name),
    make("p", {}, [cell.className, cell.title].filter((text) => text !== "").join(": ")),
    make("p", {}, "the build again: ", make("code", {}, `bld build '${name}'`)));
  document.body.append(about);
  return about;
}

document.addEventListener("click", (event) => {
  const target = event.target;
  if (target.closest(".close")) {
    event.preventDefault();
    return close();
  }
  const cell = target.closest("td");
  if (!cell || cell.className === "") return;
  const it = tables.find((it) => it.table.contains(cell));
  const link = cell.querySelector("a");
  event.preventDefault();
  open(link ? document.getElementById(link.hash.slice(1)) : describe(it, cell));
  cell.classList.add("chosen");
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});

function refresh() {
  recall();
  for (const [axis, input] of inputs) input.value = state.axes.get(axis) ?? "";
  for (const [status, box] of boxes) box.checked = state.statuses.has(status);
  filter();
  if (state.sort) sort();
}
addEventListener("hashchange", refresh);
refresh();
document.documentElement.dataset.ready = "yes";
