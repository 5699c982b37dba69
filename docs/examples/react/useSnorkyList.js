import { useEffect, useState } from "react";
import { ArrayCollection, CollectionDeltaProcessor } from "snorky";

/**
 * A list of the web application that stays equal to its database: { rows, status }.
 *
 * `model` is what Snorky calls the rows; `fetchList` resolves to { rows, token }. Make it, and
 * `snorky`, outside of your components: whenever one of them is another, the list begins anew.
 */
export function useSnorkyList(snorky, model, fetchList) {
  const [rows, setRows] = useState([]);
  const [status, setStatus] = useState("Connecting");

  useEffect(() => {
    const { datasync } = snorky.services;
    const items = []; // changes in place; React gets copies
    const processor = new CollectionDeltaProcessor({
      [model]: new ArrayCollection(items),
    });
    let token = null;
    let retry;
    let hasEnded = false;

    // Fetch the list with a token, then take the token to Snorky: it knows what changed since.
    async function load() {
      try {
        const list = await fetchList();
        if (hasEnded) return;
        items.splice(0, items.length, ...list.rows);
        setRows([...items]);
        token = list.token;
        if (!token) throw new Error("Snorky is away");
        await datasync.acquireSubscription({ token });
        if (!hasEnded) setStatus("Live");
      } catch (error) {
        if (hasEnded) return;
        setStatus(`${error.message}: trying again`);
        retry = setTimeout(load, 1000 + 2000 * Math.random()); // not all pages at the same moment
      }
    }

    const listeners = [
      datasync.deltaReceived.add((delta) => {
        if (delta.model !== model) return;
        processor.processDelta(delta);
        setRows([...items]);
      }),
      datasync.resyncNeeded.add((resync) => {
        if (resync.token === token) load(); // the connection is back, and changes were missed
      }),
      snorky.disconnected.add(() => setStatus("Reconnecting")),
    ];
    load();

    return () => {
      hasEnded = true;
      clearTimeout(retry);
      for (const listener of listeners) listener.detach();
      if (token) datasync.cancelSubscription({ token }).catch(() => {}); // it may have ended
    };
  }, [snorky, model, fetchList]);

  return { rows, status };
}
