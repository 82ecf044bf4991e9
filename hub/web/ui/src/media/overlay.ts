/** Boxes over video: where an object is at a moment, and where the picture lies inside its element. */
export interface Rect {
  x: number;
  y: number;
  w: number;
  h: number;
}
export interface PathPoint {
  t_ms: number;
  box: Rect;
}

/** How long before the first and after the last point a box is still shown: half a second hides the detector's pace. */
const LINGER_MS = 500;

/** The box at `t_ms` after the sighting's start, interpolated between its two neighbours; null when it is not there. */
export function boxAt(path: readonly PathPoint[], t_ms: number): Rect | null {
  const first = path[0];
  const last = path[path.length - 1];
  if (!first || !last || t_ms < first.t_ms - LINGER_MS || t_ms > last.t_ms + LINGER_MS) return null;
  if (t_ms <= first.t_ms) return first.box;
  if (t_ms >= last.t_ms) return last.box;
  let low = 0;
  let high = path.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((path[middle]?.t_ms ?? 0) <= t_ms) low = middle;
    else high = middle;
  }
  const a = path[low] ?? first;
  const b = path[high] ?? last;
  const share = b.t_ms === a.t_ms ? 0 : (t_ms - a.t_ms) / (b.t_ms - a.t_ms);
  const mix = (p: number, q: number): number => p + (q - p) * share;
  return { x: mix(a.box.x, b.box.x), y: mix(a.box.y, b.box.y), w: mix(a.box.w, b.box.w), h: mix(a.box.h, b.box.h) };
}

/** The picture's rectangle inside an element that letterboxes it (`object-fit: contain`). Unknown sizes fill the element. */
export function contained(elementW: number, elementH: number, pictureW: number, pictureH: number): Rect {
  if (pictureW <= 0 || pictureH <= 0 || elementW <= 0 || elementH <= 0) return { x: 0, y: 0, w: elementW, h: elementH };
  const scale = Math.min(elementW / pictureW, elementH / pictureH);
  const [w, h] = [pictureW * scale, pictureH * scale];
  return { x: (elementW - w) / 2, y: (elementH - h) / 2, w, h };
}

/** A box in fractions as pixels inside `frame`. */
export function place(box: Rect, frame: Rect): Rect {
  return { x: frame.x + box.x * frame.w, y: frame.y + box.y * frame.h, w: box.w * frame.w, h: box.h * frame.h };
}
