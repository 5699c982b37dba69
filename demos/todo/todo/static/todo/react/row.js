/**
 * One todo on the page: shows it, and hands on what the user does with it.
 */

import { passFocusOn } from "../rows.js";
import { list } from "../todos.js";
import { html, memo, useLayoutEffect, useRef, useState } from "./react.js";

export const Row = memo(function Row({ todo: { id, title, completed } }) {
  const [draft, setDraft] = useState(null); // what is typed as its new title
  const isEdited = draft !== null;
  const isSaving = useRef(false);
  const hadFocus = useRef(false);
  const row = useRef(null);
  const field = useRef(null);
  const editButton = useRef(null);

  function close() {
    hadFocus.current = document.activeElement === field.current;
    setDraft(null);
  }

  async function save() {
    if (!isEdited || isSaving.current) return;
    const wanted = draft.trim();
    isSaving.current = true;
    const saved =
      wanted === title || (await (wanted ? list.change(id, { title: wanted }) : list.delete(id)));
    isSaving.current = false;
    if (saved) close();
  }

  function keyDown(event) {
    if (event.nativeEvent.isComposing) return; // Enter and Escape belong to the input method
    if (event.key === "Enter") save();
    if (event.key === "Escape") close();
  }

  useLayoutEffect(() => {
    if (isEdited) {
      field.current.focus();
      field.current.select();
    } else if (hadFocus.current) {
      editButton.current.focus();
    }
  }, [isEdited]);

  // A row that goes, to another filter perhaps, has no blur event any more.
  const leave = useRef(save);
  useLayoutEffect(() => {
    leave.current = save;
  });
  useLayoutEffect(() => {
    const li = row.current;
    return () => {
      passFocusOn(li);
      leave.current();
    };
  }, []);

  return html`
    <li ref=${row} data-id=${id} className=${completed ? "completed" : ""}>
      <label className="check">
        <input
          type="checkbox"
          name="completed"
          aria-labelledby=${`todo-${id}`}
          checked=${completed}
          onChange=${() => list.change(id, { completed: !completed })}
        />
      </label>
      <span
        className="title"
        id=${`todo-${id}`}
        hidden=${isEdited}
        onDoubleClick=${() => setDraft(title)}
      >
        ${title}
      </span>
      <input
        type="text"
        name="title"
        aria-label="Title"
        autoComplete="off"
        enterKeyHint="done"
        ref=${field}
        hidden=${!isEdited}
        value=${draft ?? ""}
        onChange=${(event) => setDraft(event.target.value)}
        onBlur=${save}
        onKeyDown=${keyDown}
      />
      <button
        type="button"
        name="edit"
        className="icon"
        aria-label="Edit"
        ref=${editButton}
        hidden=${isEdited}
        onClick=${() => setDraft(title)}
      >
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M4 20l1-4.5L16.5 4 20 7.5 8.5 19z" />
        </svg>
      </button>
      <button
        type="button"
        name="delete"
        className="icon"
        aria-label="Delete"
        onClick=${() => list.delete(id)}
      >
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 6l12 12M18 6L6 18" /></svg>
      </button>
    </li>
  `;
});
