export async function call(service, command, params) {
  const response = await fetch("http://127.0.0.1:5002/backend", {
    method: "POST",
    headers: {"X-Backend-Key": process.env.SNORKY_API_KEY, "Content-Type": "application/json"},
    body: JSON.stringify({service, message: {command, params}}),
    signal: AbortSignal.timeout(5000),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  if (answer.message.type === "error") throw new Error(answer.message.message);
  return answer.message.data;
}

console.log(await call("doorbell_backend", "ring", {visitor: "Ada"}));
