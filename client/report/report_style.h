// The style of a report, and its only script: a click on a column's header sorts the table.
#pragma once

#include <string_view>

namespace longrun::client {

inline constexpr std::string_view kReportStyle = R"css(
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1b1b;--faint:#5a5a5a;--line:#e2e2e2;
--head:#f6f7f8;--best:#0a6b3d;--mark:#eef4fb;--bad:#a3261d;--link:#0059a8}
@media (prefers-color-scheme:dark){:root{--paper:#16181c;--ink:#eceff1;--faint:#aab2ba;
--line:#2f353d;--head:#1e2227;--best:#5fd39a;--mark:#1d2a38;--bad:#ff8f85;--link:#7ab8ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:60rem;margin:0 auto;padding:2rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2.6rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .4rem;overflow-wrap:anywhere}
p{margin:.4rem 0;overflow-wrap:anywhere}
.question{font-size:1.15rem}.faint{color:var(--faint);font-size:.9rem}.bad{color:var(--bad)}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
/* The names of the rows stay in sight while the numbers scroll. */
.results th:first-child,.results td:first-child{position:sticky;left:0;background:var(--paper)}
.results thead th:first-child{background:var(--head)}
th,td{padding:.3rem .7rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap;
vertical-align:top}
thead th{background:var(--head);border-bottom:2px solid var(--line)}
th.n,td.n{text-align:right}
td.train{background:var(--mark)}td.best{color:var(--best);font-weight:600}
td .se{color:var(--faint);font-weight:400;font-size:.85em}
tr.baseline{color:var(--faint);font-style:italic}
td.wrap{white-space:normal;min-width:16rem;max-width:44rem;overflow-wrap:anywhere}
code,pre{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.85rem}
code{overflow-wrap:anywhere}
pre{background:var(--head);border:1px solid var(--line);border-radius:4px;padding:.7rem;
overflow-x:auto;margin:.5rem 0}
/* A picture may become smaller, but not than its letters can be read. */
figure{margin:1rem 0;overflow-x:auto}
figure svg{width:100%;min-width:40rem;height:auto;display:block}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--link)}
th button{all:unset;cursor:pointer}th button:focus-visible{outline:2px solid var(--link)}
th[aria-sort=ascending] button::after{content:" \2191"}
th[aria-sort=descending] button::after{content:" \2193"}
@media print{main{max-width:none}details>*{display:block}}
)css";

inline constexpr std::string_view kReportScript = R"js(
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const x = key(a), y = key(b);
        if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
        const order = x !== "" && !isNaN(x) && !isNaN(y) ? x - y : x.localeCompare(y);
        return up ? order : -order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}
)js";

}  // namespace longrun::client
