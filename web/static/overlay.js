// Two signatures over each other, each ink in its own colour, where both lie dark; with a slider, zoom and keys.

const COLOURS = { questioned: [194, 65, 12], reference: [3, 105, 161] }; // told apart also by the colour-blind
const STEP = 24; // pixels that an arrow key moves the picture
const FAINT = 0.12; // share of the darkest ink below which a pixel counts as paper

const root = document.getElementById("overlay");
const kept = new Map();

async function load(address) {
  if (kept.has(address)) return kept.get(address);
  const image = new Image();
  image.src = address;
  await image.decode();
  const found = inkOf(image);
  kept.set(address, found);
  return found;
}

// The ink of a picture as an alpha mask. The median brightness is paper, so light ink on dark is found too.
function inkOf(image) {
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const light = new Float32Array(data.length / 4);
  for (let i = 0; i < light.length; i += 1) light[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  const paper = light.slice().sort()[light.length >> 1];
  let most = 1;
  for (const value of light) most = Math.max(most, Math.abs(value - paper));
  const mask = new Uint8ClampedArray(light.length);
  let [x, y, weight] = [0, 0, 0];
  for (let i = 0; i < light.length; i += 1) {
    const share = Math.abs(light[i] - paper) / most;
    if (share < FAINT) continue;
    mask[i] = Math.min(1, share * 1.4) * 255;
    x += (i % canvas.width) * mask[i];
    y += Math.floor(i / canvas.width) * mask[i];
    weight += mask[i];
  }
  const centre = weight ? [x / weight, y / weight] : [canvas.width / 2, canvas.height / 2];
  return { width: canvas.width, height: canvas.height, mask, centre };
}

function tinted(ink, [red, green, blue]) {
  const canvas = new OffscreenCanvas(ink.width, ink.height);
  const image = new ImageData(ink.width, ink.height);
  for (let i = 0; i < ink.mask.length; i += 1) image.data.set([red, green, blue, ink.mask[i]], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function part(name) {
  return document.getElementById(`overlay-${name}`);
}

// Draws `layers` (none yet: paper alone), moved by `view`, as the sliders say.
function paint(canvas, layers, view) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!layers) return;
  const { questioned, reference } = layers;
  const widest = Math.max(questioned.ink.width, reference.ink.width);
  const highest = Math.max(questioned.ink.height, reference.ink.height);
  const scale = Math.min(canvas.width / widest, canvas.height / highest) * 0.92 * Number(part("zoom").value);
  const mix = Number(part("mix").value) / 50;
  context.globalCompositeOperation = "multiply";
  for (const [layer, strength] of [[reference, Math.min(1, mix)], [questioned, Math.min(1, 2 - mix)]]) {
    const [x, y] = part("align").checked ? layer.ink.centre : [layer.ink.width / 2, layer.ink.height / 2];
    context.setTransform(scale, 0, 0, scale, canvas.width / 2 + view.x, canvas.height / 2 + view.y);
    context.globalAlpha = strength;
    context.drawImage(layer.picture, -x, -y);
  }
}

function start() {
  const canvas = part("canvas");
  const view = { x: 0, y: 0 };
  let layers = null;

  const draw = () => paint(canvas, layers, view);
  async function choose() {
    const seen = part("seen")?.checked;
    const option = part("reference").selectedOptions[0];
    const [questioned, reference] = await Promise.all([
      load(seen ? root.dataset.questionedSeen : root.dataset.questionedSent),
      load(seen ? option.dataset.seen : option.dataset.sent),
    ]);
    layers = {
      questioned: { ink: questioned, picture: tinted(questioned, COLOURS.questioned) },
      reference: { ink: reference, picture: tinted(reference, COLOURS.reference) },
    };
    root.hidden = false;
    root.dataset.drawn = "";
    draw();
  }

  function move(x, y) {
    view.x += x;
    view.y += y;
    draw();
  }

  function zoom(steps) {
    const slider = part("zoom");
    slider.value = Number(slider.value) + steps * 0.5;
    if (Number(slider.value) === 1) Object.assign(view, { x: 0, y: 0 });
    draw();
  }

  const KEYS = {
    ArrowLeft: () => move(-STEP, 0),
    ArrowRight: () => move(STEP, 0),
    ArrowUp: () => move(0, -STEP),
    ArrowDown: () => move(0, STEP),
    "+": () => zoom(1),
    "-": () => zoom(-1),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    const pixels = canvas.width / canvas.clientWidth;
    if (event.buttons) move(event.movementX * pixels, event.movementY * pixels);
  });
  for (const name of ["mix", "align"]) part(name).addEventListener("input", draw);
  part("zoom").addEventListener("input", () => zoom(0));
  for (const name of ["reference", "seen"]) part(name)?.addEventListener("change", choose);
  choose().catch(() => {}); // a picture that cannot be had is told of in its own place above
}

if (root) start();
