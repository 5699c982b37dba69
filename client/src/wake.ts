/**
 * Calls `wake` when the page becomes visible, is thawed, or the network returns; with true where it
 * comes back from the back/forward cache: browsers close the connections of pages that they keep
 * there, and do not always say so. Returns what ends that.
 *
 * Outside a page (workers, Node.js) there may be no such event: then it is never called.
 */
export function onWake(wake: (isRestored: boolean) => void): () => void {
  const { document } = globalThis;
  const events: [EventTarget | undefined, string, (event: any) => void][] = [
    [globalThis, "online", () => wake(false)],
    [globalThis, "pageshow", ({ persisted }) => persisted && wake(true)],
    [document, "visibilitychange", () => !document.hidden && wake(false)],
    [document, "resume", () => wake(false)],
  ];
  const all = (method: "addEventListener" | "removeEventListener") => {
    for (const [target, name, listener] of events) target?.[method]?.(name, listener);
  };
  all("addEventListener");
  return () => all("removeEventListener");
}
