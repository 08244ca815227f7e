// How the scores of a verification spread, or the distances of an identification: bars in the colours of the verdicts
// or answers, with the bounds between them.

import { axis, colour, figures } from "./curves.js";

const LEAST_MS = 4000; // between two looks; a server that took long is left alone for longer
const REST = 20; // times what the last answer took
const HEIGHT = 220;
// What stands highest is drawn first and the rest over it: a name, its colour, and what its height is the sum of. Wrong
// answers are some of the others, so they stand before them, from the bottom.
const VERDICTS = [
  ["accept", "accept", ["reject", "review", "accept"]],
  ["review", "review", ["reject", "review"]],
  ["reject", "reject", ["reject"]],
];
const ANSWERS = [
  ["none", "unscorable", ["named", "none"]],
  ["named", "accept", ["named"]],
  ["wrong", "reject", ["wrong"]],
];
const NAMES = { none: "None of these", wrong: "Wrong ones among them" };

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
  const { bins, bounds, scale } = told;
  const middles = bins.map(({ low, high }) => (low + high) / 2);
  const half = bins.length ? (bins[0].high - bins[0].low) / 2 : 0.5;
  const parts = [...VERDICTS, ...ANSWERS].filter(([name]) => bins[0]?.[name] !== undefined);
  const series = parts.map(([name, look]) => ({
    label: NAMES[name] ?? name[0].toUpperCase() + name.slice(1),
    stroke: colour(`--${look}`),
    fill: colour(`--${look}`),
    width: 0,
    paths: uPlot.paths.bars({ size: [0.92, 60] }),
    points: { show: false },
    value: (_, __, ___, index) => (index === null ? "–" : bins[index][name].toLocaleString()),
  }));
  const sums = parts.map(([, , summed]) => bins.map((bin) => summed.reduce((sum, name) => sum + bin[name], 0)));
  const span = [Math.min(middles[0], ...bounds) - half * 2, Math.max(middles.at(-1), ...bounds) + half * 2];
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false, range: span }, y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] } },
    axes: [axis(figures), { ...axis((value) => value.toLocaleString()), size: 64 }],
    series: [{ label: scale === "distance" ? "Distance" : "Score", value: (_, value) => figures(value) }, ...series],
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
