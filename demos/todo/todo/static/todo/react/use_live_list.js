/**
 * The way from a LiveList to React's state: what it says of itself belongs together.
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

/** `items` is another array only where something is different: these are getters, so take them out. */
function stateOf({ items, isLoaded, status, problem, error }) {
  return { items, isLoaded, status, problem, error };
}
