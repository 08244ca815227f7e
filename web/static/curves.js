// The curves of a training, drawn from its epochs as JSON, and drawn on while it runs; other charts use its parts.

const POLL_MS = 2000;
const HEIGHT = 240;

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function axis(format) {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--muted"), grid: line, ticks: line, values: (_, splits) => splits.map(format) };
}

// Epochs and trials are whole: no tick lies between two of them.
function wholeSteps() {
  return { ...axis((value) => (Number.isInteger(value) ? String(value) : "")), incrs: [1, 2, 5, 10, 20, 50, 100, 200] };
}

export function plot(place, series, format, unit = "Epoch") {
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false } },
    axes: [wholeSteps(), { ...axis(format), size: 56 }],
    series: [{ label: unit, value: (_, number) => number ?? "–" }, ...series],
    cursor: { drag: { x: false, y: false } },
  };
  return new uPlot(options, [[], ...series.map(() => [])], place);
}

export function figures(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString(undefined, { maximumSignificantDigits: 4 });
}

function draw(root) {
  const loss = root.querySelector("#loss");
  const eer = root.querySelector("#eer");
  const rate = root.querySelector("#rate");
  for (const place of [loss, eer, rate]) place.replaceChildren();
  const told = (_, value) => figures(value);
  const points = { show: true, size: 5 };
  return {
    loss: plot(
      loss,
      [
        { label: "Training", stroke: colour("--accent"), width: 2, value: told, points },
        { label: "Validation (dashed)", stroke: colour("--focus"), width: 2, dash: [6, 4], value: told, points },
      ],
      figures,
    ),
    eer: plot(eer, [{ label: "EER, %", stroke: colour("--accent"), width: 2, value: told, points }], figures),
    rate: plot(rate, [{ label: "At the epoch's end", stroke: colour("--accent"), width: 2, value: told, points }], figures),
  };
}

function fill(charts, epochs) {
  const x = epochs.map((row) => row.epoch);
  charts.loss.setData([x, epochs.map((row) => row.loss), epochs.map((row) => row.validation_loss)]);
  charts.eer.setData([x, epochs.map((row) => row.validation_eer * 100)]);
  charts.rate.setData([x, epochs.map((row) => row.learning_rate)]);
}

// Fetches the list `name` from the address in the data of `root`, again and again until the job has ended.
export async function follow(root, name, draw, fill) {
  let charts = null;
  let rows = [];
  const redraw = () => {
    if (!rows.length) return;
    root.hidden = false;
    charts = draw(root);
    fill(charts, rows);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
  for (;;) {
    const ended = await fetch(root.dataset[name])
      .then(async (answer) => {
        if (!answer.ok) return answer.status < 500;
        const told = await answer.json();
        const grown = told[name].length !== rows.length;
        rows = told[name];
        if (grown && charts) fill(charts, rows);
        else if (grown) redraw();
        return told.ended;
      })
      .catch(() => false); // the server is away; the page says so itself, and it is asked again
    if (ended) return;
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

for (const root of document.querySelectorAll("[data-epochs]")) follow(root, "epochs", draw, fill);
