// The curves of a training, drawn from its epochs as JSON, and drawn on while it runs.

const POLL_MS = 2000;
const HEIGHT = 240;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axis(format) {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--muted"), grid: line, ticks: line, values: (_, splits) => splits.map(format) };
}

// Epochs are whole: no tick lies between two of them.
function wholeSteps() {
  return { ...axis((value) => (Number.isInteger(value) ? String(value) : "")), incrs: [1, 2, 5, 10, 20, 50, 100, 200] };
}

function plot(place, series, format) {
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false } },
    axes: [wholeSteps(), { ...axis(format), size: 56 }],
    series: [{ label: "Epoch", value: (_, epoch) => epoch ?? "–" }, ...series],
    cursor: { drag: { x: false, y: false } },
  };
  return new uPlot(options, [[], ...series.map(() => [])], place);
}

function figures(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString(undefined, { maximumSignificantDigits: 4 });
}

function draw(root) {
  const loss = root.querySelector("#loss");
  const eer = root.querySelector("#eer");
  loss.replaceChildren();
  eer.replaceChildren();
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
  };
}

function fill(charts, epochs) {
  const x = epochs.map((row) => row.epoch);
  charts.loss.setData([x, epochs.map((row) => row.loss), epochs.map((row) => row.validation_loss)]);
  charts.eer.setData([x, epochs.map((row) => row.validation_eer * 100)]);
}

async function follow(root) {
  let charts = null;
  let epochs = [];
  const redraw = () => {
    if (!epochs.length) return;
    root.hidden = false;
    charts = draw(root);
    fill(charts, epochs);
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
  for (;;) {
    const ended = await fetch(root.dataset.epochs)
      .then(async (answer) => {
        if (!answer.ok) return answer.status < 500;
        const told = await answer.json();
        const grown = told.epochs.length !== epochs.length;
        epochs = told.epochs;
        if (grown && charts) fill(charts, epochs);
        else if (grown) redraw();
        return told.ended;
      })
      .catch(() => false); // the server is away; the page says so itself, and it is asked again
    if (ended) return;
    await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
}

for (const root of document.querySelectorAll("[data-epochs]")) follow(root);
