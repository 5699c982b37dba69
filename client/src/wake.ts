/**
 * Calls `wake` when the page becomes visible or the network returns. Returns what ends that.
 *
 * Outside a page (workers, Node.js) there may be neither event: then it is never called.
 */
export function onWake(wake: () => void): () => void {
  const { document } = globalThis;
  const wakeIfVisible = () => {
    if (document.visibilityState === "visible") wake();
  };
  globalThis.addEventListener?.("online", wake);
  document?.addEventListener("visibilitychange", wakeIfVisible);
  return () => {
    globalThis.removeEventListener?.("online", wake);
    document?.removeEventListener("visibilitychange", wakeIfVisible);
  };
}
