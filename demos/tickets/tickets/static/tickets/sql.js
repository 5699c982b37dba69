/**
 * The window for raw SQL: what is typed there no model and no view hears of.
 */

const form = document.querySelector("#sql");
const statement = form.querySelector("textarea");
const answer = form.querySelector("output");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  answer.value = "Running";
  const response = await fetch("/api/sql/", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ sql: statement.value }),
  });
  const { rows, sql } = await response.json().catch(() => ({ sql: [response.statusText] }));
  answer.value = response.ok ? `${rows} rows` : sql.join(" ");
});
