// A page whose list can be taken off and put back, by a checkbox.
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { DataSync, Snorky } from "snorky";

import { useLiveList } from "../../docs/examples/react/useLiveList.js";

const snorky = new Snorky(WebSocket, "ws://127.0.0.1:5001/ws", { datasync: DataSync });

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
  return <p role="status">{useLiveList(snorky.services.datasync, "/api/tasks/", "id").status}</p>;
}

createRoot(document.getElementById("root")).render(<Page />);
