// A page whose list can be taken off and put back, by a checkbox.
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { DataSync, Snorky } from "snorky";

import { useSnorkyList } from "../../docs/examples/react/useSnorkyList.js";

const snorky = new Snorky(WebSocket, "ws://127.0.0.1:5001/ws", { datasync: DataSync });

async function fetchTasks() {
  const response = await fetch("/api/tasks/", { headers: { "X-Snorky": "Subscribe" } });
  return { rows: await response.json(), token: response.headers.get("X-Subscription-Token") };
}

function Page() {
  const [isShown, setShown] = useState(true);
  return (
    <>
      <input type="checkbox" checked={isShown} onChange={() => setShown(!isShown)} />
      {isShown && <Tasks />}
    </>
  );
}

function Tasks() {
  return <p role="status">{useSnorkyList(snorky, "Task", fetchTasks).status}</p>;
}

createRoot(document.getElementById("root")).render(<Page />);
