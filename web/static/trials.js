// How the best value of a search fell, from trial to trial, and drawn on while it runs.

import { colour, figures, follow, plot } from "./curves.js";

function draw(root) {
  const place = root.querySelector("#fall");
  place.replaceChildren();
  const told = (_, value) => figures(value);
  const series = [
    {
      label: "Best so far",
      stroke: colour("--accent"),
      width: 2,
      paths: uPlot.paths.stepped({ align: 1 }),
      points: { show: false },
      value: told,
    },
    { label: "Trial (dots)", stroke: colour("--focus"), paths: () => null, points: { show: true, size: 7 }, value: told },
  ];
  return plot(place, series, figures, "Trial");
}

function fill(chart, points) {
  chart.setData([
    points.map((point) => point.number),
    points.map((point) => point.best * 100),
    points.map((point) => point.value * 100),
  ]);
}

for (const root of document.querySelectorAll("[data-progress]")) follow(root, "progress", draw, fill);
