// Sends what was chosen, dropped or pasted, and puts in what the server answers. The page is the server's; this saves reloads.
"use strict";
const form = document.getElementById("form"), input = document.getElementById("file"), drop = document.getElementById("drop");
const results = document.getElementById("results"), status_ = document.getElementById("status"), problem = document.getElementById("problem");
const key = document.getElementById("key");
if (key) key.value = sessionStorage.getItem("key") || "";

function headers() {
  return { "X-Fragment": "1", ...(key && key.value ? { Authorization: `Bearer ${key.value}` } : {}) };
}

async function said(answer) {
  if (answer.ok) return answer.text();
  const told = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}`, hint: "try again" }));
  throw new Error(`${told.detail}. Next: ${answer.status === 401 ? "check the key above" : told.hint}`);
}

function complain(error) {
  problem.replaceChildren();
  if (!error) return;
  const line = document.createElement("p");
  line.className = "problem";
  line.textContent = error instanceof TypeError ? "The server cannot be reached." : error.message;
  problem.append(line);
}

function action(article, text, done) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = text;
  button.addEventListener("click", done);
  article.querySelector(".actions").append(button);
}

async function report(article) {
  const style = await (await fetch("/static/style.css")).text();
  const copy = article.cloneNode(true);
  copy.querySelector(".actions").remove();
  copy.querySelectorAll("details").forEach((each) => each.setAttribute("open", ""));
  const head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>facetell: report</title>';
  const day = new Date().toISOString().slice(0, 16).replace("T", " ");
  const top = `<header><h1>Is this face fake?</h1></header><main><p class="soft">Report of ${day} UTC</p>`;
  const page = `<!doctype html><html lang="en"><head>${head}<style>${style}</style></head><body>${top}${copy.outerHTML}</main></body></html>`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  link.download = "verdict.html";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function ready(article) {
  const { id, state } = article.dataset;
  if (state === "done") {
    action(article, "Report (HTML)", () => report(article).catch(complain));
    action(article, "Print or PDF", () => window.print());
  } else if (state === "queued" || state === "running") {
    article.querySelector(".actions").replaceChildren();
    action(article, "Give up", async () => {
      await fetch(`/v1/verdicts/${id}`, { method: "DELETE", headers: headers() });
      article.remove();
    });
    setTimeout(() => again(article).catch(complain), 1000);
  }
}

async function again(article) {
  if (!article.isConnected) return;
  const fresh = taken(await said(await fetch(`/page/${article.dataset.id}`, { headers: headers() })))[0];
  article.replaceWith(fresh);
  ready(fresh);
  if (fresh.dataset.state === "done") status_.textContent = `Judged: ${fresh.querySelector("h2").textContent}.`;
}

function taken(html) {
  return [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("article")].map((each) => document.adoptNode(each));
}

async function send(files) {
  complain();
  const body = new FormData(), button = form.querySelector("button");
  for (const file of files) body.append("file", file);
  status_.textContent = `Judging ${files.length === 1 ? "a file" : `${files.length} files`} …`;
  button.disabled = true;
  try {
    const articles = taken(await said(await fetch("/", { method: "POST", body, headers: headers() })));
    if (key) sessionStorage.setItem("key", key.value);
    results.prepend(...articles);
    articles.forEach(ready);
    status_.textContent = articles.map((each) => each.querySelector("h2").textContent).join(", ") + ".";
    articles[0].focus({ preventScroll: true });
    articles[0].scrollIntoView({ block: "nearest" });
    form.reset();
    if (key) key.value = sessionStorage.getItem("key") || "";
  } catch (error) {
    status_.textContent = "";
    complain(error);
  } finally {
    button.disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (input.files.length) send([...input.files]);
});
for (const name of ["dragover", "dragenter"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) send([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) send([...event.clipboardData.files]);
});
document.querySelectorAll("article").forEach(ready);
