/**
 * The page with React: shows the list and hands on what the user does.
 */

import { flashChanges } from "../rows.js";
import { FILTERS, list, STATUS_TEXTS, view } from "../todos.js";
import {
  createRoot,
  Fragment,
  html,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "./react.js";
import { Row } from "./row.js";
import { useLiveList } from "./use_live_list.js";

function Page() {
  const { items, isLoaded, status, problem, error } = useLiveList(list);
  const hash = useSyncExternalStore(watchHash, () => location.hash);
  const shown = view(items, hash);
  return html`
    <${Fragment}>
      <header>
        <h1>Todo</h1>
        <p id="status" role="status" data-status=${status}>${STATUS_TEXTS[status]}</p>
        <theme-button />
      </header>
      <main>
        <${NewTodo}><${AllCompleted} shown=${shown} /><//>
        <${Rows} items=${items} rows=${shown.rows} isLoaded=${isLoaded} />
        <p id="empty" hidden=${!isLoaded || shown.rows.length > 0}>${shown.filter.empty}</p>
        <footer>
          <p id="count">${isLoaded ? shown.left : "\xa0"}</p>
          <nav aria-label="Which todos to show">
            ${FILTERS.map(
              (filter) => html`
                <a
                  key=${filter.name}
                  href=${filter.address}
                  aria-current=${filter === shown.filter || null}
                >
                  ${filter.name}
                </a>
              `,
            )}
          </nav>
          <button
            id="clear"
            type="button"
            hidden=${!shown.areSomeCompleted}
            onClick=${list.deleteCompleted}
          >
            Clear completed
          </button>
        </footer>
      </main>
      <div className="notices">
        <${Notice} id="problem" role="status" button="Try now" onClick=${() => list.refresh()}>
          ${problem && `${problem.message} Trying again…`}
        <//>
        <${Notice} id="error" role="alert" button="Dismiss" onClick=${() => list.setError("")}>
          ${error}
        <//>
      </div>
    <//>
  `;
}

function watchHash(changed) {
  addEventListener("hashchange", changed);
  return () => removeEventListener("hashchange", changed);
}

function AllCompleted({ shown: { isEmpty, areAllCompleted, areSomeCompleted } }) {
  const box = useRef(null);
  useEffect(() => {
    box.current.indeterminate = areSomeCompleted && !areAllCompleted;
  });
  return html`
    <label className="check">
      <input
        id="all"
        type="checkbox"
        ref=${box}
        disabled=${isEmpty}
        checked=${areAllCompleted}
        onChange=${() => list.changeAll(!areAllCompleted)}
      />
      <span className="unseen">All completed</span>
    </label>
  `;
}

function NewTodo({ children }) {
  const [title, setTitle] = useState("");

  async function add(event) {
    event.preventDefault();
    const wanted = title.trim();
    if (!wanted) return;
    setTitle("");
    const added = await list.add(wanted);
    if (!added) setTitle((typed) => typed || wanted);
  }

  return html`
    <form id="add" onSubmit=${add}>
      ${children}
      <input
        id="title"
        name="title"
        type="text"
        aria-label="New todo"
        autoComplete="off"
        placeholder="What needs to be done?"
        enterKeyHint="done"
        autoFocus
        value=${title}
        onChange=${(event) => setTitle(event.target.value)}
      />
      <button type="submit">Add</button>
    </form>
  `;
}

function Rows({ items, rows, isLoaded }) {
  const ul = useRef(null);
  useEffect(() => {
    if (isLoaded) flashChanges(ul.current, items);
  }, [items, isLoaded]);
  return html`
    <ul id="todos" role="list" aria-label="Todos" aria-busy=${!isLoaded} ref=${ul}>
      ${rows.map((todo) => html`<${Row} key=${todo.id} todo=${todo} />`)}
    </ul>
  `;
}

function Notice({ id, role, button, onClick, children }) {
  return html`
    <div id=${id} className="notice" role=${role} hidden=${!children}>
      <p>${children}</p>
      <button type="button" onClick=${onClick}>${button}</button>
    </div>
  `;
}

createRoot(document.getElementById("page")).render(html`<${Page} />`);
