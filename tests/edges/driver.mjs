// A program that a test drives: a JSON value per line, in and out.
//
// In come `{id, action, args}`; out go `{id, result}` or `{id, error}`, and what happens meanwhile:
// `{socket, event, args}`. The end of the input ends the program.
import { createInterface } from "node:readline";

export const write = (value) => process.stdout.write(JSON.stringify(value) + "\n");

export async function drive(actions) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, action, args } = JSON.parse(line);
    Promise.resolve()
      .then(() => actions[action](...args))
      .then((result) => write({ id, result: result ?? null }))
      .catch((error) => write({ id, error: error.message }));
  }
  process.exit(0);
}
