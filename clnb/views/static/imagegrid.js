// ImageGrid: columns of images with one row per sample, or one series of images that wraps; captions, zoom on hover.

function renderTile(pixels, [c, h, w]) {
  const canvas = make("canvas", { width: w, height: h }), image = new ImageData(w, h), plane = h * w;
  for (let i = 0; i < plane; i++)
    for (let k = 0; k < 4; k++) image.data[4 * i + k] = k === 3 ? 255 : pixels[(c === 1 ? 0 : k) * plane + i];
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Text shortened to fit `room` pixels. */
function fitted(ctx, text, room) {
  if (ctx.measureText(text).width <= room) return text;
  let keep = text.length;
  while (keep > 1 && ctx.measureText(`${text.slice(0, keep)}…`).width > room) keep--;
  return `${text.slice(0, keep)}…`;
}

class Grid {
  constructor(stage) {
    this.stage = stage;
    this.cursor = -1;
    if (stage.options.draws) {
      this.button = make("button", { type: "button", onclick: () => this.again() }, "draw again");
      stage.tools.append(this.button);
    }
    const { canvas } = stage;
    canvas.addEventListener("pointermove", (event) => this.hover(event));
    canvas.addEventListener("pointerleave", () => stage.showTip());
    canvas.addEventListener("click", (event) => {
      const tile = this.under(stage.at(event));
      if (tile) this.toggle(tile.row);
    });
    stage.keys = { ArrowRight: () => this.walk(1), ArrowLeft: () => this.walk(-1), Enter: () => this.tiles[this.cursor] &&
      this.toggle(this.tiles[this.cursor].row) };
  }

  async again() {
    const { stage } = this;
    if (stage.alone) return stage.seek(((stage.frame.position ?? 0) + 1) % stage.model.get("frames").length);
    this.button.disabled = true;
    try { await stage.ask({ ask: "draw" }); } catch (error) { stage.note.textContent = error.message; }
    this.button.disabled = false;
  }

  toggle(row) {
    const now = new Set(this.stage.selection);
    if (!now.delete(row)) now.add(row);
    this.stage.select(now);
  }

  draw(frame) {
    const { stage } = this, { labels } = stage.options;
    if (frame.number !== this.number) {
      this.number = frame.number;
      this.columns = (frame.columns ?? []).map((column) => {
        const all = unpack(column.images), [n, ...shape] = all.shape, one = all.length / Math.max(n, 1);
        return { ...column, shape, pixels: Array.from({ length: n }, (_, i) => all.subarray(i * one, (i + 1) * one)) };
      });
      for (const column of this.columns) column.tiles = column.pixels.map((p) => renderTile(p, column.shape));
    }
    const { columns } = this;
    this.tiles = [];
    const most = Math.max(0, ...columns.map((c) => c.tiles.length));
    Object.assign(stage.root.dataset, { columns: columns.length, rows: most, drawn: frame.number ?? 0 });
    if (!most) return stage.say(frame.note || "no images");
    const height = columns.length === 1 ? this.placeWrapped(columns[0], most) : this.placeTable(columns, most, labels);
    if (Math.abs(stage.height - height) > 1) {   // the picture is as tall as it needs; the stage draws again
      stage.canvas.style.height = `${height}px`;
      stage.canvas.style.flexBasis = "100%";
      return stage.fit(), stage.redraw(), undefined;
    }
    this.paint(labels);
  }

  placeWrapped(column, n) {
    const { width } = this.stage, size = Math.max(28, Math.min(96, width / Math.ceil(Math.sqrt(n * 2.5)) - 6));
    const across = Math.max(1, Math.floor(width / (size + 6))), text = column.captions.length || this.stage.options.labels.length ? 14 : 0;
    column.tiles.forEach((tile, i) => this.tiles.push({ column, tile, row: i, size, x: (i % across) * (size + 6),
      y: Math.floor(i / across) * (size + 6 + text) + 2, caption: column.captions[i] ?? this.stage.options.labels[i] ?? "" }));
    return Math.ceil(n / across) * (size + 6 + text) + 4;
  }

  /** Few columns: samples run across and columns run down when that is how they fit, captions under each image. */
  placeTable(columns, n, labels) {
    const { width } = this.stage, side = 62, room = width - side;
    const size = Math.max(48, Math.min(96, room / Math.min(n, 12) - 8)), across = Math.max(1, Math.floor(room / (size + 8)));
    const words = columns.some((c) => c.captions.length) ? 15 : 3, block = 16 + columns.length * (size + words) + 8;
    columns.forEach((column, r) => column.tiles.forEach((tile, i) => this.tiles.push({ column, tile, row: i, size,
      x: side + (i % across) * (size + 8), y: Math.floor(i / across) * block + 16 + r * (size + words),
      caption: column.captions[i] ?? "", name: i % across ? "" : column.name, head: r ? "" : labels[i] ?? "" })));
    return Math.ceil(n / across) * block + 4;
  }

  paint(labels) {
    const { stage } = this, { ctx, ink, faint } = stage, selection = new Set(stage.selection);
    ctx.textBaseline = "alphabetic";
    ctx.imageSmoothingEnabled = false;
    this.tiles.forEach(({ column, tile, row, size, x, y, caption, name, head }, k) => {
      const scale = size / Math.max(tile.width, tile.height), w = tile.width * scale, h = tile.height * scale;
      ctx.drawImage(tile, x + (size - w) / 2, y + (size - h) / 2, w, h);
      if (selection.has(row)) { ctx.strokeStyle = "#E69F00"; ctx.lineWidth = 3; ctx.strokeRect(x - 1, y - 1, size + 2, size + 2); }
      if (k === this.cursor) { ctx.strokeStyle = ink; ctx.lineWidth = 2; ctx.strokeRect(x - 2, y - 2, size + 4, size + 4); }
      ctx.textAlign = "left";
      ctx.fillStyle = ink;
      if (name) ctx.fillText(fitted(ctx, name, 56), 2, y + size / 2 + 4);
      if (head) ctx.fillText(fitted(ctx, head, size + 6), x, y - 4);
      ctx.fillStyle = faint;
      if (caption) ctx.fillText(fitted(ctx, caption, size + 6), x, y + size + 11);
    });
  }

  under([x, y]) { return this.tiles?.find((t) => x >= t.x && x <= t.x + t.size && y >= t.y && y <= t.y + t.size); }

  hover(event) {
    const tile = this.under(this.stage.at(event));
    if (tile) this.show(tile, event);
    else this.stage.showTip();
  }

  show({ column, row }, spot) {
    const label = this.stage.options.labels[row];
    this.stage.showTip(spot, thumbnail(column.pixels[row], column.shape, 128), `${column.name}, row ${row}`,
      ...(label ? [`label: ${label}`] : []), ...(column.captions[row] ? [column.captions[row]] : []));
  }

  walk(by) {
    if (!this.tiles?.length) return;
    this.cursor = (this.cursor + by + this.tiles.length) % this.tiles.length;
    const tile = this.tiles[this.cursor], box = this.stage.canvas.getBoundingClientRect();
    this.show(tile, { clientX: box.left + tile.x + tile.size, clientY: box.top + tile.y });
    this.stage.redraw();
  }
}

function render({ model, el }) {
  const { title } = model.get("options");
  const stage = new Stage({ model, el }, { title, height: 120, help: "hover: enlarge · click: select · arrows: next image" });
  const grid = new Grid(stage);
  return stage.start((frame) => grid.draw(frame));
}

export default { render };
