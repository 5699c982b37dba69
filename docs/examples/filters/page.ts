import { and, type Filter, fields, not } from "snorky";

interface Task {
  id: number;
  state: "open" | "done";
  due: Date | null;
  owner: { name: string };
}

const task = fields<Task>();

export const urgent: Filter = and(
  task("due").lt("2026-06-01T00:00:00Z"),
  not(task("state").eq("done")),
  task("owner.name").startsWith("An"),
);
