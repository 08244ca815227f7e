// What evaluations measured: errors traded off (DET) on the normal deviate's scale, and how the scores spread.

import { axis, colour, figures } from "./curves.js";

const HEIGHT = 300;
const SPREAD_HEIGHT = 220;
const ROOMY = 400; // pixels; a narrower plot names every other rate
const DASHES = { skilled: [], random: [6, 4] };
const KINDS = [
  ["genuine", "--accent", []],
  ["skilled", "--focus", [6, 4]],
  ["random", "--muted", [2, 3]],
];

function percent(rate, digits = 3) {
  return (rate * 100).toLocaleString(undefined, { maximumSignificantDigits: digits }) + "\u00a0%";
}

// Rates lie at their normal deviates, so that the ticks are rates and the way between them is not even.
function rates(ticks, label, every = 1) {
  return {
    ...axis(() => ""),
    label,
    labelSize: 20,
    labelFont: "12px sans-serif",
    font: "11px sans-serif",
    splits: () => ticks.map(({ at }) => at),
    values: () => ticks.map(({ rate }, place) => (place % every ? "" : percent(rate))),
  };
}

function even(chart, ticks) {
  const { ctx } = chart;
  const [low, high] = [ticks[0].at, ticks.at(-1).at];
  ctx.save();
  ctx.strokeStyle = colour("--line-strong");
  ctx.setLineDash([2, 4]);
  ctx.beginPath();
  ctx.moveTo(chart.valToPos(low, "x", true), chart.valToPos(low, "y", true));
  ctx.lineTo(chart.valToPos(high, "x", true), chart.valToPos(high, "y", true));
  ctx.stroke();
  ctx.restore();
}

// Of one model the kinds of forgery differ in colour, of two the models; the dash tells the kinds apart in any case.
function lineOf(curve, name, order) {
  const dashed = DASHES[curve.kind].length > 0;
  const second = name ? order > 0 : dashed;
  return {
    label: [name, `${curve.kind} forgeries${dashed ? " (dashed)" : ""}`].filter(Boolean).join(", "),
    stroke: colour(second ? "--focus" : "--accent"),
    width: 2,
    dash: DASHES[curve.kind],
    points: { show: false },
    value: (_, __, ___, index) => (index === null ? "–" : `FRR ${percent(curve.frrs[index].rate)}`),
  };
}

function drawDet(place, told, names) {
  const protocol = place.dataset.det;
  const [{ ticks, fars }] = told;
  const drawn = told.flatMap(({ curves }, order) =>
    curves.filter((curve) => curve.protocol === protocol).map((curve) => [curve, lineOf(curve, names[order], order)]),
  );
  const range = [ticks[0].at, ticks.at(-1).at];
  place.replaceChildren();
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    scales: { x: { time: false, range }, y: { range } },
    axes: [rates(ticks, "False acceptances (FAR)", place.clientWidth < ROOMY ? 2 : 1), { ...rates(ticks, "False rejections (FRR)"), size: 52 }],
    series: [
      { label: "FAR", value: (_, __, ___, index) => (index === null ? "–" : percent(fars[index].rate)) },
      ...drawn.map(([, line]) => line),
    ],
    cursor: { drag: { x: false, y: false } },
    hooks: { drawAxes: [(chart) => even(chart, ticks)] },
  };
  const rows = drawn.map(([curve]) => curve.frrs.map(({ at }) => at));
  return new uPlot(options, [fars.map(({ at }) => at), ...rows], place);
}

function mark(chart, bounds) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.strokeStyle = colour("--text");
  ctx.lineWidth = 2;
  ctx.setLineDash([]);
  for (const bound of bounds) {
    const x = chart.valToPos(bound, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function drawSpread(place, told) {
  const { bins, bounds } = told.spreads.find(({ protocol }) => protocol === place.dataset.spread);
  const shown = KINDS.map(([kind, ...look]) => [kind, bins.reduce((sum, bin) => sum + bin[kind], 0), ...look]);
  const kinds = shown.filter(([, count]) => count);
  // The last edge repeats the last share, so that the last step has its width.
  const edges = [...bins.map(({ low }) => low), bins.at(-1).high];
  const shares = kinds.map(([kind, count]) => [...bins, bins.at(-1)].map((bin) => (bin[kind] / count) * 100));
  place.replaceChildren();
  const options = {
    width: place.clientWidth,
    height: SPREAD_HEIGHT,
    scales: { x: { time: false, range: [edges[0], edges.at(-1)] }, y: { range: (_, __, most) => [0, most * 1.05] } },
    axes: [axis(figures), { ...axis((value) => `${figures(value)}\u00a0%`), size: 56 }],
    series: [
      { label: "From", value: (_, value) => figures(value) },
      ...kinds.map(([kind, , name, dash]) => ({
        label: kind[0].toUpperCase() + kind.slice(1),
        stroke: colour(name),
        fill: `color-mix(in srgb, ${colour(name)} 18%, transparent)`,
        width: 2,
        dash,
        paths: uPlot.paths.stepped({ align: 1 }),
        points: { show: false },
        value: (_, value) => (value === null || value === undefined ? "–" : `${figures(value)}\u00a0%`),
      })),
    ],
    cursor: { drag: { x: false, y: false } },
    hooks: { draw: [(chart) => mark(chart, bounds)] },
  };
  return new uPlot(options, [edges, ...shares], place);
}

async function show(root) {
  const answers = await Promise.all(root.dataset.measured.split(" ").map((address) => fetch(address)));
  if (!answers.every(({ ok }) => ok)) return; // the numbers stand below as tables
  const told = await Promise.all(answers.map((answer) => answer.json()));
  const names = told.length > 1 ? root.dataset.names.split(" ") : [""];
  const draw = () => {
    root.hidden = false;
    for (const place of root.querySelectorAll("[data-det]")) drawDet(place, told, names);
    for (const place of root.querySelectorAll("[data-spread]")) drawSpread(place, told[Number(place.dataset.of)]);
    root.dataset.drawn = "";
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("resize", draw);
}

function showNew() {
  for (const root of document.querySelectorAll("[data-measured]:not([data-seen])")) {
    root.dataset.seen = "";
    show(root);
  }
}

showNew();
document.addEventListener("htmx:afterSettle", showNew); // they come when the job has ended
