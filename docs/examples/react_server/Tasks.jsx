import { useSyncExternalStore } from "react";

// Rendered by the server first, then by the browser, where `list` follows the database.
export function Tasks({ first, list }) {
  const rows = useSyncExternalStore(
    (changed) => list?.subscribe(changed) ?? (() => {}),
    () => (list && list.status !== "loading" ? list.items : first),
    () => first, // on the server, and for the first rendering in the browser
  );
  return (
    <ul>
      {rows.map((task) => (
        <li key={task.id}>{task.title}</li>
      ))}
    </ul>
  );
}
