"use strict";
(() => {
  const order = (cell) => {
    if (cell.dataset.order !== undefined) return Number(cell.dataset.order);
    const text = cell.textContent.trim();
    return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a === "number") return -1;
    if (typeof b === "number") return 1;
    return a < b ? -1 : a > b ? 1 : 0;
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      // No button inside: Chromium does not repeat a printed table's head that holds one.
      head.tabIndex = 0;
      head.classList.add("sorts");
      const sort = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => compare(order(a.cells[column]), order(b.cells[column])) * (down ? -1 : 1));
        table.tBodies[0].append(...rows);
      };
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort();
      });
    });
  }

  for (const table of document.querySelectorAll("table.filterable")) {
    if (table.tBodies[0].rows.length <= 12) continue;
    const label = document.createElement("label");
    label.className = "filter";
    const input = document.createElement("input");
    input.type = "search";
    label.append(document.body.dataset.filter, " ", input);
    table.parentElement.before(label);
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      for (const row of table.tBodies[0].rows) {
        row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      }
    });
  }

  const linked = (kind, key, on) => {
    for (const mark of document.querySelectorAll(`[data-${kind}="${key}"]`)) mark.classList.toggle("linked-on", on);
  };
  const follow = (event, on) => {
    const mark = event.target instanceof Element ? event.target.closest("[data-lot], [data-cluster]") : null;
    if (mark === null) return;
    const kind = mark.dataset.lot !== undefined ? "lot" : "cluster";
    linked(kind, mark.dataset[kind], on);
  };
  document.addEventListener("pointerover", (event) => follow(event, true));
  document.addEventListener("pointerout", (event) => follow(event, false));
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
