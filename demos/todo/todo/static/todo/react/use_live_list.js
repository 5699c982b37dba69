/**
 * The way from a LiveList, which changes in place, to React's state, which never does.
 */

import { useEffect, useState } from "./react.js";

/** What `list` has at this moment. Whoever uses it is drawn anew when it has something else. */
export function useLiveList(list) {
  const [state, setState] = useState(() => stateOf(list));
  useEffect(() => {
    const update = () => setState(stateOf(list));
    list.changed.add(update);
    update(); // it may have changed after it was drawn
    return () => list.changed.remove(update);
  }, [list]);
  return state;
}

/** A row that changes is another object: components of the others need not be drawn again. */
function stateOf({ items, isLoaded, status, problem, error }) {
  return { items: [...items], isLoaded, status, problem, error };
}
