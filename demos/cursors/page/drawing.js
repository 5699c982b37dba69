// What is drawn on the board: strokes, by the key that the server or this page gave them.

const drawing = document.getElementById("drawing");
const strokes = new Map();

/** Adds points to a stroke, which may be new. */
export function addPoints({ key, colour, points }) {
  if (!strokes.has(key)) {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    line.dataset.colour = colour;
    strokes.set(key, line);
    drawing.append(line);
  }
  const line = strokes.get(key);
  for (const [x, y] of points) {
    const point = drawing.createSVGPoint();
    [point.x, point.y] = [x, y];
    line.points.appendItem(point);
    // A line needs two ends: one of a single point has both in the same place.
    if (line.points.length === 1) line.points.appendItem(point);
  }
}

export function clearDrawing() {
  strokes.clear();
  drawing.replaceChildren();
}
