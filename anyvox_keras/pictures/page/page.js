"use strict";
// Palette, sorting and filtering: what every page has.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = (theme) => {
    root.dataset.theme = theme;
    document.dispatchEvent(new CustomEvent("palette"));
  };
  paint(dark.matches ? "dark" : "light");
  dark.addEventListener("change", () => paint(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => {
    paint(root.dataset.theme === "dark" ? "light" : "dark");
  });

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
  };
  const order = (a, b) => (typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true }));
  for (const table of document.querySelectorAll("table")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === "" || y === "") return (x === "") - (y === ""); // the unknown come last
        return sign * order(x, y);
      });
      body.append(...rows);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    }));
    const section = table.closest("section");
    if ("few" in section.dataset) continue;
    const search = document.createElement("input");
    search.type = "search";
    search.className = "filter";
    search.placeholder = "filter";
    search.setAttribute("aria-label", `filter ${section.querySelector("h2").textContent}`);
    search.addEventListener("input", () => {
      const word = search.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(word);
    });
    section.insertBefore(search, section.querySelector(".scroll"));
  }
})();
