// What every page may need: instants in the reader's locale, the error summary's focus, keys, and news of live parts.

const INSTANT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    const instant = new Date(time.dateTime);
    time.textContent = INSTANT.format(instant);
    time.title = EXACT.format(instant);
  }
}

export function focusSummary(root) {
  const summary = root.querySelector("#error-summary");
  if (summary) summary.focus();
}

function offerCopies(root) {
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    });
  }
}

function isTyping(target) {
  return target.closest("input:not([type=checkbox], [type=range]), select, textarea, [contenteditable]") !== null;
}

document.documentElement.classList.add("scripted");
// Days that are filtered by are the reader's, as the dates on the page are.
const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (ZONE) document.cookie = `zone=${ZONE}; path=/; max-age=31536000; SameSite=Lax`;
localise(document);
focusSummary(document);
offerCopies(document);

// j and k go through a list, as in mail programs, a and r decide; each is a link or a button too.
const KEYS = { j: "next", k: "previous", a: "verdict-accept", r: "verdict-reject" };
const KEYS_OFF = "keys-off"; // in this browser's storage: for those who speak, or whose hand slips
const keysBox = document.getElementById("keys");
if (keysBox) {
  keysBox.closest(".choice").hidden = false;
  keysBox.checked = !localStorage.getItem(KEYS_OFF);
  keysBox.addEventListener("change", () => {
    if (keysBox.checked) localStorage.removeItem(KEYS_OFF);
    else localStorage.setItem(KEYS_OFF, "1");
  });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || localStorage.getItem(KEYS_OFF)) return;
  const target = document.getElementById(KEYS[event.key]);
  if (!target) return;
  event.preventDefault(); // the letter must not land in a field that the click focuses
  const needed = document.getElementById(target.dataset.needs);
  if (needed && !needed.value.trim()) needed.focus();
  else target.click();
});

// A link of the error summary goes to the field itself, also where the field is folded away.
document.addEventListener("click", (event) => {
  const link = event.target.closest("#error-summary a[href^='#']");
  const field = link && document.getElementById(link.hash.slice(1));
  if (!field) return;
  event.preventDefault();
  const folded = field.closest("details");
  if (folded) folded.open = true;
  const target = field.matches("fieldset") ? field.querySelector("input") : field;
  target.focus();
  (field.closest(".field") ?? field).scrollIntoView({ block: "start" });
});

// Live parts.
document.addEventListener("htmx:afterSwap", () => {
  localise(document); // the event's target may be the element that was replaced
  const away = document.getElementById("away");
  if (away) away.hidden = true;
});
for (const trouble of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.addEventListener(trouble, () => {
    const away = document.getElementById("away");
    if (away) away.hidden = false;
  });
}
document.addEventListener("jobEnded", (event) => {
  const told = document.getElementById("told");
  if (told) told.textContent = `The job has ended: ${event.detail.state}.`;
});
