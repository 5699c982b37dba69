/**
 * The web application's API. What fails throws an Error with a text for the user.
 */

const TIMEOUT_MS = 10_000;

/** The web application did not answer: it is down, or the network is. */
export class NoAnswer extends Error {}

/** All of them, as `live()` asks for them: with headers that ask for a subscription, too. */
export const fetchTodos = (options) => request("GET", "", undefined, options);

export const addTodo = (title) => request("POST", "", { title });
export const changeTodo = (id, changes) => request("PATCH", `${id}/`, changes);
export const deleteTodo = (id) => request("DELETE", `${id}/`);
export const changeAll = (completed) => request("PATCH", "all/", { completed });
export const deleteCompleted = () => request("DELETE", "completed/");

async function request(method, path, data, { headers, ...options } = {}) {
  let response;
  try {
    response = await fetch(`/api/todos/${path}`, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: data && JSON.stringify(data),
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...options,
    });
  } catch (error) {
    throw new NoAnswer("The web application does not answer.", { cause: error });
  }
  if (!response.ok) throw new Error(await explanation(response));
  return response;
}

/** Django REST Framework says what is wrong as {"detail": text} or {field: [texts]}. */
async function explanation(response) {
  const isJSON = response.headers.get("Content-Type")?.startsWith("application/json");
  if (!isJSON) return `The web application failed (${response.status} ${response.statusText}).`;
  return Object.values(await response.json())
    .flat()
    .join(" ");
}
