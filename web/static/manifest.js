// manifest.csv of a batch, checked before it is sent: rows, and the first of them that cannot be used. The rules are
// those of shared/manifest.py; the server's word is the last, so nothing here keeps a batch from being sent.

import { NoZip, TooLarge, entriesOf, open } from "./zip.js";

const REQUIRED = ["id", "questioned", "reference"];
const SHOWN = 10;
const PICTURED = 3; // rows whose images are shown
const SHOWABLE = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", webp: "image/webp", bmp: "image/bmp" };
const MOST_PICTURE = 20 << 20; // bytes of an image that is unpacked to be shown
const MOST_ID = 255;
const DIGEST = /^sha256:[0-9a-f]{64}$/; // of an image that the server knows already

// Rows of CSV text with the line each begins on; quoted cells may hold separators and line breaks.
async function* rowsOf(stream) {
  let [cells, cell, quoted, closed, line, began, separator] = [[], "", false, false, 1, 1, ""];
  let head = "";
  const end = () => {
    const row = { line: began, cells: [...cells, cell] };
    [cells, cell, closed, began] = [[], "", false, line];
    return row;
  };
  for await (const piece of stream.pipeThrough(new TextDecoderStream("utf-8", { fatal: true }))) {
    let text = piece;
    if (!separator) {
      head += piece;
      if (!head.includes("\n")) continue;
      const heading = head.slice(0, head.indexOf("\n"));
      separator = [",", ";", "\t"].toSorted((one, other) => heading.split(other).length - heading.split(one).length)[0];
      text = head;
    }
    for (const letter of text) {
      if (letter === "\n") line += 1;
      if (quoted) {
        if (letter === '"') [quoted, closed] = [false, true];
        else cell += letter;
      } else if (letter === '"' && closed) {
        cell += letter; // two quotes within quotes are one
        [quoted, closed] = [true, false];
      } else if (letter === '"' && !cell.trim()) [quoted, cell] = [true, ""];
      else if (letter === separator) {
        cells.push(cell);
        [cell, closed] = ["", false];
      }
      else if (letter === "\n") yield end();
      else if (letter !== "\r") cell += letter;
    }
  }
  if (!separator) yield { line: 1, cells: head.split(/[,;\t]/) };
  else if (cell || cells.length) yield end();
}

function columnsOf(cells) {
  const columns = new Map(cells.map((cell, place) => [cell.trim().toLowerCase(), place]));
  const missing = REQUIRED.filter((name) => !columns.has(name));
  if (missing.length) throw new NoZip(`Line 1: manifest.csv has no column ${missing.join(" and no column ")}.`);
  return columns;
}

function tidied(name) {
  return name.trim().replaceAll("\\", "/").replace(/^\.\//, "");
}

function faultOf(cells, columns, folder, entries, seen) {
  const text = (name) => (cells[columns.get(name)] ?? "").trim();
  const id = text("id");
  if (!id) return "the id is empty";
  if (id.length > MOST_ID) return `the id has ${id.length} characters; at most ${MOST_ID} are kept`;
  if (seen.has(id)) return `the id ${id} stands in line ${seen.get(id)} already`;
  for (const column of ["questioned", "reference"]) {
    const names = text(column).split("|").map(tidied);
    const named = names.filter(Boolean);
    if (!named.length) return `no image is named in the column ${column}`;
    const gone = !entries.unsure && named.find((name) => !DIGEST.test(name) && !entries.has(folder + name));
    if (gone) return `the archive holds no ${gone}`;
  }
  return null;
}

function namesOf(cells, columns) {
  const [id, questioned, reference] = REQUIRED.map((name) => (cells[columns.get(name)] ?? "").trim());
  return { id, questioned: tidied(questioned), reference: tidied(reference.split("|").find((name) => name.trim())) };
}

// An image in the archive as a blob that browsers show; null where it is none of those.
async function pictureOf(file, entry) {
  const type = entry && SHOWABLE[entry.name.split(".").at(-1).toLowerCase()];
  if (!type || entry.size > MOST_PICTURE) return null;
  const bytes = await new Response(await open(file, entry)).blob();
  return new Blob([bytes], { type });
}

// Rows, those that cannot be used, and the first faults in words. Throws NoZip with what makes the whole unusable.
export async function check(file) {
  const entries = await entriesOf(file);
  const named = [...entries.keys()].filter((name) => /(^|\/)manifest\.csv$/i.test(name) && !name.includes("__MACOSX"));
  const [name] = named.sort((one, other) => one.split("/").length - other.split("/").length);
  if (!name) throw new NoZip("The archive has no manifest.csv. Add one beside the images.");
  const folder = name.slice(0, name.lastIndexOf("/") + 1);
  const found = { rows: 0, bad: 0, faults: [], first: [], picture: (named) => pictureOf(file, entries.get(folder + named)) };
  const seen = new Map();
  let columns = null;
  for await (const { line, cells } of rowsOf(await open(file, entries.get(name)))) {
    if (!columns) {
      columns = columnsOf(cells);
      continue;
    }
    if (!cells.some((cell) => cell.trim())) continue;
    found.rows += 1;
    const fault = faultOf(cells, columns, folder, entries, seen);
    seen.set((cells[columns.get("id")] ?? "").trim(), line);
    if (!fault && found.first.length < PICTURED) found.first.push(namesOf(cells, columns));
    if (!fault) continue;
    found.bad += 1;
    if (found.faults.length < SHOWN) found.faults.push(`Line ${line}: ${fault}.`);
  }
  if (!found.rows) throw new NoZip("manifest.csv has a heading but no rows.");
  return found;
}

function paragraph(words) {
  const made = document.createElement("p");
  made.textContent = words;
  return made;
}

function told({ rows, bad, faults }) {
  const all = rows.toLocaleString();
  if (!bad) return [paragraph(`manifest.csv: ${rows === 1 ? "1 row" : `${all} rows`}, and all their images are there.`)];
  const list = document.createElement("ul");
  list.append(...faults.map((words) => Object.assign(document.createElement("li"), { textContent: words })));
  const head = `manifest.csv: ${bad.toLocaleString()} of ${all} rows cannot be used. Sent like this, they are answered unscorable.`;
  return [paragraph(head), list, ...(bad > faults.length ? [paragraph(`These are the first ${faults.length}.`)] : [])];
}

// In place of a picture that no browser draws (TIFF, PDF) or that is none: the job's page shows what the server makes of it.
export function unshown(name) {
  const kind = name.includes(".") ? name.split(".").at(-1).toUpperCase() : "this file";
  return Object.assign(document.createElement("span"), { className: "unshown", textContent: `No preview of ${kind}`, title: name });
}

async function pictured(found) {
  const items = [];
  for (const { id, questioned, reference } of found.first) {
    const item = document.createElement("li");
    for (const name of [questioned, reference]) {
      const blob = await found.picture(name).catch(() => null); // the server says what is wrong with it
      if (!blob) {
        item.append(unshown(name));
        continue;
      }
      const image = new Image();
      const address = URL.createObjectURL(blob);
      image.onload = () => URL.revokeObjectURL(address);
      image.onerror = () => image.replaceWith(unshown(name));
      Object.assign(image, { alt: name, title: name, src: address });
      item.append(image);
    }
    item.append(id);
    items.push(item);
  }
  return items;
}

// Tells in `place` what the chosen archive holds, and shows the first of it in `pictures`.
export async function tell(place, pictures, file) {
  const turn = {}; // another file may be chosen while this one is read
  place.turn = turn;
  place.hidden = !file;
  pictures.hidden = true;
  place.className = "notice";
  place.replaceChildren(paragraph("Reading manifest.csv …"));
  if (!file) return;
  try {
    const found = await check(file);
    if (place.turn !== turn) return;
    place.className = found.bad ? "notice warn" : "notice good";
    place.replaceChildren(...told(found));
    const items = await pictured(found);
    if (place.turn !== turn) return;
    pictures.replaceChildren(...items);
    pictures.hidden = !items.length;
  } catch (error) {
    if (place.turn !== turn) return;
    const known = error instanceof NoZip || error instanceof TooLarge;
    place.className = "notice warn";
    place.replaceChildren(paragraph(known ? error.message : "manifest.csv is not UTF-8 text, or it is damaged."));
  }
}
