/**
 * What the pages do with the rows they have drawn. A row is an <li> with the attribute data-id.
 */

const calm = matchMedia("(prefers-reduced-motion: reduce)");
let before = null; // id -> todo, at the last call

/** Draw the eye to the rows of `ul` that have changed since the last call, in whatever window. */
export function flashChanges(ul, todos) {
  const now = new Map(todos.map((todo) => [String(todo.id), todo]));
  if (before && !calm.matches) {
    for (const li of ul.children) {
      const { id } = li.dataset;
      if (isChanged(before.get(id), now.get(id))) {
        li.animate({ backgroundColor: ["var(--flash)", "transparent"] }, 1200);
      }
    }
  }
  before = now;
}

function isChanged(old, todo) {
  return old?.title !== todo?.title || old?.completed !== todo?.completed;
}

/** Call it before a row goes: the focus, if it is there, moves to the next one. */
export function passFocusOn(li) {
  if (!li.contains(document.activeElement)) return;
  const neighbour = li.nextElementSibling ?? li.previousElementSibling;
  (neighbour?.querySelector("[name=delete]") ?? document.getElementById("title")).focus();
}
