// A page whose list is React's external store, with nothing between the two.
import { StrictMode, useSyncExternalStore } from "react";
import { createRoot } from "react-dom/client";
import { DataSync, Snorky } from "snorky";

const snorky = new Snorky(WebSocket, "ws://127.0.0.1:5001/ws", { datasync: DataSync });
const tasks = snorky.services.datasync.live({ url: "/api/tasks/" });
globalThis.drawn = 0;

function Tasks() {
  const items = useSyncExternalStore(tasks.subscribe, () => tasks.items);
  const status = useSyncExternalStore(tasks.subscribe, () => tasks.status);
  globalThis.drawn++;
  return (
    <>
      <ul>
        {items.map(({ id, title }) => (
          <li key={id}>{title}</li>
        ))}
      </ul>
      <p role="status">{status}</p>
    </>
  );
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <Tasks />
  </StrictMode>,
);
