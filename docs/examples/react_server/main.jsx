import { hydrateRoot } from "react-dom/client";

import { connectTo, liveList } from "./live.js";
import { Tasks } from "./Tasks.jsx";

connectTo(`ws://${location.hostname}:8000/live/ws`);
const state = JSON.parse(document.getElementById("state").textContent);
const list = liveList("/api/tasks/?done=false", state);
hydrateRoot(document.getElementById("root"), <Tasks first={state.rows} list={list} />);
