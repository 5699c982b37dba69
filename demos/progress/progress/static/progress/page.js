/**
 * The page: starts jobs, and shows how far each is.
 *
 * What is missed while there is no connection is not sent later: the page asks Django how things
 * are, whenever it is connected to its jobs anew.
 */

const element = (id) => document.getElementById(id);

const port = document.querySelector("meta[name=snorky-port]").content;
const snorky = new Snorky(
  WebSocket,
  `ws://${location.hostname}:${port}/ws`,
  { events: Snorky.Events },
  { maxReconnectDelay: 5 },
);
const { events } = snorky.services;
const rows = new Map(); // id -> element, of all jobs that are shown

/** The user's jobs. `form`: one to start before. */
async function fetchJobs(form) {
  const method = form ? "POST" : "GET";
  const response = await fetch("/jobs", { method, body: form && new FormData(form) });
  const answer = await response.json().catch(() => ({ error: "Django does not answer." }));
  if (!response.ok) throw new Error(answer.error);
  for (const job of answer.jobs) show(job);
}

function show(job) {
  const row = rows.get(job.id) ?? addRow(job);
  const progress = row.querySelector("progress");
  progress.value = job.percent;
  row.querySelector("output").textContent = `${job.percent} %`;
  row.querySelector(".step").textContent = job.step;
  if (job.percent === 100 && !row.classList.contains("done")) {
    row.classList.add("done");
    events.disconnect(`/jobs/${job.id}`);
  }
}

function addRow(job) {
  const row = element("job").content.firstElementChild.cloneNode(true);
  row.querySelector(".title").textContent = job.title;
  row.querySelector(".number").textContent = `number ${job.id}`;
  row.querySelector("progress").ariaLabel = job.title;
  rows.set(job.id, row);
  element("jobs").prepend(row);
  element("empty").hidden = true;
  // Once it is connected, ask how far it is by now.
  if (job.percent < 100) attempt(() => watch(job.id).then(() => fetchJobs()));
  return row;
}

async function watch(id) {
  await events.connect(`/jobs/${id}`, show);
  setStatus("live", "Live");
}

async function attempt(action) {
  try {
    await action();
    notice("");
  } catch (error) {
    notice(error.message);
  }
}

function notice(text) {
  element("notice").hidden = !text;
  element("notice").textContent = text;
}

function setStatus(status, text) {
  element("status").dataset.status = status;
  element("status").textContent = text;
}

snorky.connected.add(() => setStatus("live", "Live"));
snorky.disconnected.add(() => setStatus("waiting", "Reconnecting"));
events.unavailable.add(() => setStatus("waiting", "Waiting for Django"));
events.reconnected.add(() => {
  setStatus("live", "Live");
  attempt(() => fetchJobs());
});

element("start").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => fetchJobs(event.target));
});
element("watch").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => watch(event.target.elements.number.value));
});
attempt(() => fetchJobs());
