"use strict";
// Tables: a click on a heading sorts by it, numbers by what they are; another click turns it round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, k) => {
    const cell = row.cells[k];
    return "key" in cell.dataset ? pythonNumber(cell.dataset.key) : cell.textContent;
  };
  heads.forEach((head, k) => head.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const rows = [...table.tBodies[0].rows];
    const compare = (a, b) => typeof a === "number" && typeof b === "number"
      ? (a < b ? -1 : a > b ? 1 : 0)
      : String(a).localeCompare(String(b), undefined, { numeric: true });
    rows.sort((a, b) => compare(key(a, k), key(b, k)) * (up ? 1 : -1));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  }));
}

function pythonNumber(text) {
  return Number(text.replace("inf", "Infinity"));
}

// A new width: plotly places a legend by the margins of the old one, and would leave it on the data.
const figures = () => document.querySelectorAll(".js-plotly-plot");
for (const figure of figures()) {
  const y = figure.layout.legend?.y;
  figure.on("plotly_relayout", (change) => {
    if (y !== undefined && ("autosize" in change || "width" in change)) {
      Plotly.relayout(figure, { "legend.y": y });
    }
  });
}

// Figures follow the width of paper, which no resize event tells of.
const folds = () => document.querySelectorAll("details");
addEventListener("beforeprint", () => {
  for (const fold of folds()) [fold.dataset.open, fold.open] = [fold.open, true];
  for (const figure of figures()) {
    const several = figure.closest(".several");
    Plotly.relayout(figure, { width: several ? 330 : 680 });
  }
});
addEventListener("afterprint", () => {
  for (const fold of folds()) fold.open = fold.dataset.open === "true";
  for (const figure of figures()) Plotly.relayout(figure, { width: null, autosize: true });
});
