// A canvas to write on with mouse, finger or pen: light ink on black, as in MNIST.

/** The pad's border stays black in what is sent, so that ink may touch the edge. */
const MARGIN = 2;

/**
 * strokes   each a list of points in the canvas's pixels, and the pen's width as its `pen`
 * picture   what lies under them: anything drawImage takes, or null
 * pen       the width of what is written next
 * onStroke(ended) is called whenever ink is added.
 */
export class Pad {
  constructor(canvas, pen, onStroke) {
    Object.assign(this, { canvas, pen, onStroke, strokes: [], picture: null });
    this.context = canvas.getContext("2d");
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.end(event));
    }
    this.draw();
  }

  get isEmpty() {
    return this.strokes.length === 0 && !this.picture;
  }

  clear(picture = null) {
    this.strokes = [];
    this.picture = picture;
    this.draw();
  }

  /** Take back the last stroke; with none, the picture. */
  undo() {
    if (!this.strokes.pop()) this.picture = null;
    this.draw();
  }

  /** Rows of grey levels, the canvas made smaller to `height` rows with the border around it. */
  levels(height) {
    const { canvas } = this;
    const width = Math.round((height * canvas.width) / canvas.height);
    const small = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    small.fillRect(0, 0, width, height);
    small.imageSmoothingQuality = "high";
    small.drawImage(canvas, MARGIN, MARGIN, width - 2 * MARGIN, height - 2 * MARGIN);
    const { data } = small.getImageData(0, 0, width, height);
    const row = (i) => Array.from({ length: width }, (_, j) => data[4 * (i * width + j)]);
    return Array.from({ length: height }, (_, i) => row(i));
  }

  /** The longer side of what is written, in widths of the pen; null where nothing is. */
  get penWidths() {
    const points = this.strokes.flat();
    if (!points.length) return null;
    const long = [0, 1].map((axis) => {
      const all = points.map((point) => point[axis]);
      return all.reduce((most, value) => Math.max(most, value)) - all.reduce((least, value) => Math.min(least, value));
    });
    return Math.max(...long) / Math.max(...this.strokes.map(({ pen }) => pen));
  }

  begin(event) {
    if (event.button !== 0 || this.pointer != null) return;
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.strokes.push(Object.assign([this.point(event)], { pen: this.pen }));
    this.draw();
    this.onStroke(false);
  }

  move(event) {
    if (event.pointerId !== this.pointer) return;
    const between = event.getCoalescedEvents();
    this.strokes.at(-1).push(...(between.length ? between : [event]).map((e) => this.point(e)));
    this.draw();
    this.onStroke(false);
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.onStroke(true);
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  draw() {
    const { canvas, context } = this;
    context.fillStyle = "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (this.picture) {
      const { width, height } = this.picture;
      const scale = Math.min(canvas.width / width, canvas.height / height);
      const [w, h] = [width * scale, height * scale];
      context.imageSmoothingEnabled = scale < 2;
      context.drawImage(this.picture, (canvas.width - w) / 2, (canvas.height - h) / 2, w, h);
    }
    context.strokeStyle = "white";
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      context.lineWidth = stroke.pen;
      context.beginPath();
      context.moveTo(...stroke[0]);
      for (const point of stroke) context.lineTo(...point);
      context.stroke();
    }
  }
}

/** A file that is chosen, dropped or pasted while `isShown()` goes to `take`. */
export function files(input, isShown, take) {
  input.addEventListener("change", () => {
    if (input.files[0]) take(input.files[0]);
    input.value = ""; // the same file may be chosen again
  });
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (isShown() && file) take(file);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (isShown() && file) take(file);
  });
}
