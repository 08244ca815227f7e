// How the scores of a verification spread: bars in the colours of the verdicts, stacked, with the bounds between them.

import { axis, colour, figures } from "./curves.js";

const LEAST_MS = 4000; // between two looks; a server that took long is left alone for longer
const REST = 20; // times what the last answer took
const HEIGHT = 220;
const STACK = [
  ["reject", ["reject"]],
  ["review", ["reject", "review"]],
  ["accept", ["reject", "review", "accept"]],
];

function mark(chart, bounds) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = colour("--text");
  ctx.lineWidth = 2;
  ctx.setLineDash([6, 4]);
  for (const bound of bounds) {
    const x = chart.valToPos(bound, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function draw(place, told) {
  place.replaceChildren();
  const { bins, bounds } = told;
  const middles = bins.map(({ low, high }) => (low + high) / 2);
  const half = bins.length ? (bins[0].high - bins[0].low) / 2 : 0.5;
  // The whole stack is drawn first and its lower parts over it.
  const series = STACK.toReversed().map(([verdict]) => ({
    label: verdict[0].toUpperCase() + verdict.slice(1),
    stroke: colour(`--${verdict}`),
    fill: colour(`--${verdict}`),
    width: 0,
    paths: uPlot.paths.bars({ size: [0.92, 60] }),
    points: { show: false },
    value: (_, __, ___, index) => (index === null ? "–" : bins[index][verdict].toLocaleString()),
  }));
  const sums = STACK.toReversed().map(([, parts]) => bins.map((bin) => parts.reduce((sum, part) => sum + bin[part], 0)));
  const span = [Math.min(middles[0], ...bounds) - half * 2, Math.max(middles.at(-1), ...bounds) + half * 2];
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false, range: span }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] } },
    axes: [axis(figures), { ...axis((value) => value.toLocaleString()), size: 64 }],
    series: [{ label: "Score", value: (_, value) => figures(value) }, ...series],
    cursor: { drag: { x: false, y: false } },
    hooks: { draw: [(chart) => mark(chart, bounds)] },
  };
  return new uPlot(options, [middles, ...sums], place);
}

function words({ scale, bounds, bins }) {
  if (!bins.length) return "";
  if (!bounds.length) return "The bounds between the verdicts depend on the number of references, so none is drawn.";
  if (scale === "distance") return `Dashed: the threshold, ${figures(bounds[0])}.`;
  const places = { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "always" };
  const [first, second] = bounds.map((bound) => bound.toLocaleString(undefined, places).replace("-", "\u2212"));
  return `Dashed: reject below ${first}, accept from ${second}.`;
}

async function follow(root) {
  const place = root.querySelector("#spread");
  let told = null;
  const redraw = () => {
    if (!told?.bins.length) return;
    root.querySelector(".curves").hidden = false;
    root.querySelector("#spread-bounds").textContent = words(told);
    draw(place, told);
    root.dataset.drawn = "";
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
  for (;;) {
    const asked = performance.now();
    const answer = await fetch(root.dataset.scores).catch(() => null); // away: the page says so, and asks again
    if (answer && !answer.ok && answer.status < 500) return;
    if (answer?.ok) {
      told = await answer.json();
      redraw();
      if (told.ended) return;
    }
    const took = performance.now() - asked;
    await new Promise((wake) => setTimeout(wake, Math.max(LEAST_MS, REST * took)));
  }
}

for (const root of document.querySelectorAll("[data-scores]")) follow(root);
