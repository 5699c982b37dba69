/**
 * React, which the scripts before this one have put on the page, to be imported as elsewhere. `html`
 * is what JSX would be, without a build.
 */

export const {
  Fragment,
  memo,
  useEffect,
  useLayoutEffect,
  useRef,
  useState,
  useSyncExternalStore,
} = React;
export const { createRoot } = ReactDOM;
export const html = htm.bind(React.createElement);
