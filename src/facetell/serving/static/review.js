// Keys to label, and the next face without a reload. The page is the server's.
"use strict";
const form = document.getElementById("form"), place = document.getElementById("face"), answer = document.getElementById("answer");
const status_ = document.getElementById("status"), problem = document.getElementById("problem");
const standing = document.getElementById("standing"), key = document.getElementById("key"), begin = document.getElementById("begin");
const before = [];
let busy = false;
if (key) key.value = sessionStorage.getItem("key") || "";

function headers() {
  return { "X-Fragment": "1", ...(key && key.value ? { Authorization: `Bearer ${key.value}` } : {}) };
}

function complain(error) {
  problem.replaceChildren();
  if (!error) return;
  const line = document.createElement("p");
  line.className = "problem";
  line.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
  problem.append(line);
}

function face() {
  const shown = place.querySelector("section");
  return shown ? shown.dataset.face : "";
}

// Asks for a part of the page and puts it in; nothing is asked for while something is on its way.
async function ask(address, options) {
  if (busy) return false;
  busy = true;
  complain();
  try {
    const got = await fetch(address, { ...options, headers: headers() });
    if (!got.ok) {
      const told = await got.json().catch(() => ({ detail: `the server answered ${got.status}`, hint: "try again" }));
      throw new Error(`${told.detail}. Next: ${got.status === 401 ? "check the key above" : told.hint}`);
    }
    const fresh = new DOMParser().parseFromString(await got.text(), "text/html");
    const open = standing.querySelector("details[open]") !== null;
    place.replaceChildren(document.adoptNode(fresh.querySelector("section")));
    standing.replaceChildren(document.adoptNode(fresh.querySelector("details")));
    standing.querySelector("details").open = open;
    answer.hidden = !face();
    const said = place.querySelector(".said");
    status_.textContent = said ? said.textContent : "";
    if (said) said.remove();
    if (key) {
      sessionStorage.setItem("key", key.value);
      key.parentElement.hidden = begin.hidden = true;
    }
    return true;
  } catch (error) {
    complain(error);
    return false;
  } finally {
    busy = false;
  }
}

async function say(word) {
  const number = face();
  if (!number) return;
  const body = new FormData(form);
  body.set("label", word);
  if (await ask("/review", { method: "POST", body })) {
    before.push(number);
    document.getElementById("why").value = "";
  }
}

async function back() {
  const number = before.pop();
  if (number && !(await ask(`/review?face=${number}`))) before.push(number);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter) say(event.submitter.value);
});
if (key) {
  begin.querySelector("button").addEventListener("click", () => ask("/review"));
  key.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would press the first button
    ask("/review");
  });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.matches("input, textarea")) return;
  const word = { f: "fake", r: "real", u: "unsure" }[event.key.toLowerCase()];
  if (word) say(word);
  else if (event.key.toLowerCase() === "b") back();
});
for (const name of ["kind", "why"]) {
  document.getElementById(name).addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "Escape") {
      event.preventDefault(); // Enter would press the first button
      event.target.blur();
    }
  });
}
if (key && key.value) ask("/review");
