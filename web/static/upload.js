// Forms that send files: drop, previews, and the progress of the upload. Without this file they are plain forms.

import { focusSummary } from "./countersign.js";
import { tell as tellManifest, unshown } from "./manifest.js";

const UNITS = ["bytes", "KB", "MB", "GB"];

function size(bytes) {
  let unit = 0;
  for (; bytes >= 1000 && unit < UNITS.length - 1; unit += 1) bytes /= 1000;
  return `${bytes.toLocaleString(undefined, { maximumFractionDigits: unit && bytes < 100 ? 1 : 0 })} ${UNITS[unit]}`;
}

function lasting(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

function choose(input, files) {
  const chosen = new DataTransfer();
  for (const file of files) chosen.items.add(file);
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

function remover(input, file) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "plain", textContent: "Remove" });
  button.setAttribute("aria-label", `Remove ${file.name}`);
  button.addEventListener("click", () => {
    choose(input, Array.from(input.files).filter((each) => each !== file));
    input.focus();
  });
  return button;
}

function preview(input, file) {
  const item = document.createElement("li");
  if (file.type.startsWith("image/")) {
    const image = document.createElement("img");
    const address = URL.createObjectURL(file);
    image.alt = "";
    image.onload = () => URL.revokeObjectURL(address);
    image.onerror = () => image.replaceWith(unshown(file.name));
    image.src = address;
    item.append(image);
  } else if (/\.(pdf|tiff?)$/i.test(file.name)) item.append(unshown(file.name));
  item.append(`${file.name}, ${size(file.size)} `, remover(input, file));
  return item;
}

function showChosen(input) {
  const list = document.getElementById(input.dataset.previews);
  if (!list) return;
  list.replaceChildren(...Array.from(input.files, (file) => preview(input, file)));
  list.hidden = input.files.length === 0;
}

function takeDrops(zone) {
  const input = zone.querySelector("input");
  for (const name of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", name === "dragover");
    });
  }
  zone.addEventListener("drop", (event) => {
    const dropped = Array.from(event.dataTransfer.files);
    if (!dropped.length) return;
    choose(input, input.multiple ? [...input.files, ...dropped] : dropped.slice(0, 1)); // one may be dropped after another
  });
}

// The fields of the way that was not chosen are not sent.
function disableOtherWays(form) {
  const way = form.querySelector("[name=way]:checked")?.value;
  for (const part of form.querySelectorAll("[data-way]")) part.disabled = part.dataset.way !== way;
}

function tell(form, sent, total, started) {
  const bar = form.querySelector("#upload-bar");
  const words = form.querySelector("#upload-words");
  if (sent >= total) {
    bar.removeAttribute("value");
    words.textContent = "Sent. The server is checking it.";
    return;
  }
  bar.value = sent / total;
  const seconds = (performance.now() - started) / 1000;
  const left = seconds > 2 && sent ? `, about ${lasting((seconds * (total - sent)) / sent)} left` : "";
  words.textContent = `Sent ${size(sent)} of ${size(total)}${left}`;
}

// The answer to a form with errors is that form again: put it in place, and keep the files that were chosen.
function replaceMain(html) {
  const chosen = new Map(Array.from(document.querySelectorAll("input[type=file]"), (input) => [input.id, input.files]));
  const page = new DOMParser().parseFromString(html, "text/html");
  document.title = page.title;
  const main = document.adoptNode(page.querySelector("main"));
  document.querySelector("main").replaceWith(main);
  window.htmx?.process(main); // its live parts
  for (const [id, files] of chosen) {
    const input = document.getElementById(id);
    if (input) input.files = files;
  }
  start(main);
  if (main.querySelector("#error-summary")) focusSummary(main);
  else main.focus();
}

function send(form, submitter) {
  const request = new XMLHttpRequest();
  const started = performance.now();
  const panel = form.querySelector("#uploading");
  const button = form.querySelector("#submit");
  const fields = new FormData(form, submitter); // before the button is disabled, which leaves it out
  const settle = () => {
    panel.hidden = true;
    button.disabled = false;
  };
  panel.hidden = false;
  button.disabled = true;
  request.open("POST", form.action);
  request.upload.onprogress = (event) => tell(form, event.loaded, event.total, started);
  request.onload = () => {
    const landed = new URL(request.responseURL);
    if (request.status < 400 && landed.href !== new URL(form.action).href) location.assign(landed);
    else replaceMain(request.responseText);
  };
  request.onerror = () => {
    settle();
    panel.hidden = false;
    form.querySelector("#upload-words").textContent = "The connection broke before all was sent. Nothing was kept; send it again.";
  };
  request.onabort = settle;
  form.querySelector("#upload-stop").onclick = () => request.abort();
  request.send(fields);
}

function start(root) {
  for (const zone of root.querySelectorAll("[data-drop]")) takeDrops(zone);
  for (const input of root.querySelectorAll("input[data-previews]")) {
    input.addEventListener("change", () => showChosen(input));
    showChosen(input);
  }
  for (const place of root.querySelectorAll("[data-manifest-of]")) {
    const input = document.getElementById(place.dataset.manifestOf);
    const look = () => tellManifest(place, document.getElementById(place.dataset.pictures), input.files[0]);
    input.addEventListener("change", look);
    if (input.files.length) look();
  }
  for (const choice of root.querySelectorAll("select[data-explained]")) {
    const place = document.getElementById(choice.dataset.explained);
    choice.addEventListener("change", () => {
      const { words, caution } = choice.selectedOptions[0].dataset;
      place.textContent = words ?? "";
      const warned = document.getElementById(`${choice.id}-caution`);
      if (warned) [warned.textContent, warned.hidden] = [caution ?? "", !caution];
    });
  }
  for (const form of root.querySelectorAll("form[data-upload]")) {
    disableOtherWays(form);
    form.addEventListener("change", () => disableOtherWays(form));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      send(form, event.submitter);
    });
  }
}

start(document);
// A file dropped beside a zone would replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
