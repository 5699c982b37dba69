// The chat room's page. An event is named after the service it is for; the acknowledgement of a
// call is the service's answer.
import {io} from "socket.io-client";

const $ = id => document.getElementById(id);
const socket = io();
let myName = null;

const call = async (command, params) => {
  const answer = await socket.timeout(5000).emitWithAck("room", {command, params});
  if (answer.type === "error") throw new Error(answer.message);
  return answer.data;
};

// The connection

socket.on("connect", async () => {
  $("status").textContent = "Connected";
  $("status").className = "good";
  if (myName !== null) await join(); // back again: the room has forgotten us
});
socket.on("disconnect", () => {
  $("status").textContent = "Reconnecting…";
  $("status").className = "bad";
});

// What the service sends

const notifications = {
  said: ({name, text}) => addLine(name, text),
  joined: ({name}) => (addMember(name), addNotice(`${name} has come in`)),
  left: ({name}) => (removeMember(name), addNotice(`${name} has left`)),
};
socket.on("room", message => notifications[message.type](message));

// What the visitor does

$("door").addEventListener("submit", event => {
  event.preventDefault();
  myName = $("name").value.trim();
  join();
});

async function join() {
  try {
    const {members, said} = await call("join", {name: myName});
    $("members").replaceChildren();
    $("lines").replaceChildren();
    members.forEach(addMember);
    said.forEach(({name, text}) => addLine(name, text));
    $("door").hidden = true;
    $("room").hidden = false;
    $("text").focus();
  } catch (error) {
    myName = null;
    $("door").hidden = false;
    $("room").hidden = true;
    $("door-fault").textContent = error.message;
  }
}

$("say").addEventListener("submit", async event => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (text === "") return;
  try {
    await call("say", {text});
    $("text").value = "";
    $("say-fault").textContent = "";
  } catch (error) {
    $("say-fault").textContent = `Not sent: ${error.message}`;
  }
});

// What is seen

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function addMember(name) {
  const member = element("li", name, name === myName ? "mine" : "");
  member.dataset.name = name;
  $("members").append(member);
}

function removeMember(name) {
  [...$("members").children].find(member => member.dataset.name === name)?.remove();
}

function addLine(name, text) {
  const line = element("li", "", name === myName ? "line mine" : "line");
  line.append(element("b", name), element("span", text));
  show(line);
}

function addNotice(text) {
  show(element("li", text, "notice"));
}

function show(line) {
  $("lines").append(line);
  while ($("lines").children.length > 500) $("lines").firstChild.remove();
  line.scrollIntoView({block: "end"});
}
