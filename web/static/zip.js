// What a ZIP archive holds, read in the browser from its end (APPNOTE 4.3): the directory, and single entries.

const END = 0x06054b50;
const WIDE_END = 0x06064b50;
const ENTRY = 0x02014b50;
const END_REACH = 22 + 65535 + 20 + 56;
const MOST = 64 << 20; // bytes of a directory that are read; a larger archive is checked by the server alone
const DEFLATED = 8;
const UTF8 = 0x800; // flag of an entry: its name is UTF-8

export class NoZip extends Error {}
export class TooLarge extends Error {}

async function view(file, start, end) {
  return new DataView(await file.slice(start, end).arrayBuffer());
}

function findLast(data, signature) {
  for (let at = data.byteLength - 4; at >= 0; at -= 1) if (data.getUint32(at, true) === signature) return at;
  return -1;
}

async function directory(file) {
  const from = Math.max(0, file.size - END_REACH);
  const tail = await view(file, from, file.size);
  const at = findLast(tail, END);
  if (at < 0) throw new NoZip("This is not a ZIP archive, or it is cut short.");
  const wide = findLast(tail, WIDE_END);
  const whole = (place) => Number(tail.getBigUint64(place, true));
  const [size, start] =
    wide >= 0 ? [whole(wide + 40), whole(wide + 48)] : [tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
  if (size > MOST) throw new TooLarge("The archive is too large to be checked here; the server checks it.");
  // Bytes before the archive, of a self-extractor for instance, shift all offsets.
  const shift = from + (wide >= 0 ? wide : at) - size - start;
  return { data: await view(file, start + shift, start + shift + size), shift };
}

// The entries by name: Map of { name, size, method, packed, offset }, with `unsure`.
export async function entriesOf(file) {
  const { data, shift } = await directory(file);
  const found = new Map();
  const text = new TextDecoder();
  found.unsure = false; // whether names are written in an encoding that browsers do not know
  for (let at = 0; at + 46 <= data.byteLength && data.getUint32(at, true) === ENTRY; ) {
    const [nameSize, extraSize, noteSize] = [28, 30, 32].map((place) => data.getUint16(at + place, true));
    const bytes = new Uint8Array(data.buffer, at + 46, nameSize);
    const name = text.decode(bytes).replaceAll("\\", "/");
    found.unsure ||= !(data.getUint16(at + 8, true) & UTF8) && bytes.some((byte) => byte > 127);
    found.set(name, {
      name,
      size: data.getUint32(at + 24, true),
      method: data.getUint16(at + 10, true),
      packed: data.getUint32(at + 20, true),
      offset: data.getUint32(at + 42, true) + shift,
    });
    at += 46 + nameSize + extraSize + noteSize;
  }
  return found;
}

// The unpacked bytes of one entry, as a stream.
export async function open(file, entry) {
  const head = await view(file, entry.offset, entry.offset + 30);
  const start = entry.offset + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = file.slice(start, start + entry.packed).stream();
  return entry.method === DEFLATED ? packed.pipeThrough(new DecompressionStream("deflate-raw")) : packed;
}
