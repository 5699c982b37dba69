import { useEffect, useState } from "react";

/**
 * A list of the web application that stays equal to its database: { rows, status, error }.
 *
 * `url` is where its rows are asked for, `order` the field they are ordered by. It is opened when
 * the component comes, and closed when it goes; another URL is another list.
 */
export function useLiveList(datasync, url, order) {
  const [shown, setShown] = useState({ rows: [], status: "loading", error: null });

  useEffect(() => {
    const list = datasync.live({ url, order });
    const end = list.subscribe(() => {
      const { items: rows, status, error } = list;
      // While the rows of another URL are on their way, those of before stay.
      if (status !== "loading" || error) setShown({ rows, status, error });
    });
    return () => {
      end();
      list.close();
    };
  }, [datasync, url, order]);

  return shown;
}
