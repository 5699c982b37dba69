import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { DataSync, Snorky } from "snorky";

import { useLiveList } from "./useLiveList.js";

const snorky = new Snorky(WebSocket, `ws://${location.hostname}:5001/ws`, { datasync: DataSync });
const { datasync } = snorky.services;

// What the user does goes to Django. The change comes back by itself, here as everywhere.
function send(method, path, data) {
  const headers = { "Content-Type": "application/json" };
  return fetch("/api/tasks/" + path, { method, headers, body: JSON.stringify(data) });
}

function Tasks() {
  const { rows, status, error } = useLiveList(datasync, "/api/tasks/", "id");
  return (
    <>
      <NewTask />
      <ul>
        {rows.map((task) => (
          <Task key={task.id} task={task} />
        ))}
      </ul>
      <p role="status">{error ? error.message : status}</p>
    </>
  );
}

function Task({ task }) {
  const toggle = () => send("PATCH", `${task.id}/`, { done: !task.done });
  return (
    <li>
      <label>
        <input type="checkbox" checked={task.done} onChange={toggle} /> {task.title}
      </label>
    </li>
  );
}

function NewTask() {
  const [title, setTitle] = useState("");

  function add(event) {
    event.preventDefault();
    send("POST", "", { title });
    setTitle("");
  }

  return (
    <form onSubmit={add}>
      <input
        aria-label="Title"
        required
        value={title}
        onChange={(event) => setTitle(event.target.value)}
      />{" "}
      <button>Add</button>
    </form>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Tasks />
  </StrictMode>,
);
