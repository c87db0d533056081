/** Outlines on a canvas over the slide: only what is in view is drawn, small ones as dots. */

import OpenSeadragon from 'openseadragon';
import type { Geometry, Region } from './server';

export interface Style { color: string; width: number; dash?: number[] }

interface Shape { region: Region; style: Style; path: Path2D; coarse: number[][][]; key: string; box: [number, number, number, number] }

/** Below this size on the screen, in px, outlines are drawn with fewer corners, all of one style at once. */
const COARSE_BELOW = 40;

export type Point = [number, number];

export function rings(outline: Geometry): number[][][] {
  return outline.type === 'Polygon' ? outline.coordinates : outline.coordinates.flat();
}

export function bounds(outline: Geometry): [number, number, number, number] {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const ring of rings(outline)) for (const [x = 0, y = 0] of ring) {
    left = Math.min(left, x); top = Math.min(top, y); right = Math.max(right, x); bottom = Math.max(bottom, y);
  }
  return [left, top, right, bottom];
}

/** Rings without the corners that are nearer than a tenth of the region's size. */
function coarser(outline: Geometry, box: [number, number, number, number]): number[][][] {
  const step = Math.max(box[2] - box[0], box[3] - box[1]) / 10;
  return rings(outline).map((ring) => {
    let [lastX, lastY] = [Infinity, Infinity];
    return ring.filter(([x = 0, y = 0]) => {
      if (Math.abs(x - lastX) < step && Math.abs(y - lastY) < step) return false;
      [lastX, lastY] = [x, y];
      return true;
    });
  });
}

export class Outlines {
  readonly canvas = document.createElement('canvas');
  fill = false;
  selected = new Set<string>();
  draft: Point[] = [];
  draftWidth = 0;
  private layers = new Map<string, Shape[]>();
  private hidden = new Set<string>();
  private version = 0;
  private kept = document.createElement('canvas');
  private keptFrame: DOMMatrix | undefined;
  private keptTurn = '';
  private keptLook = '';

  constructor(private viewer: OpenSeadragon.Viewer) {
    this.canvas.className = 'outlines';
    viewer.canvas.appendChild(this.canvas);
    for (const name of ['update-viewport', 'open', 'resize'] as const) viewer.addHandler(name, () => this.draw());
  }

  set(layer: string, regions: Region[], style: (region: Region) => Style): void {
    this.layers.set(layer, regions.map((region) => {
      const path = new Path2D();
      for (const ring of rings(region.outline)) {
        ring.forEach(([x = 0, y = 0], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
        path.closePath();
      }
      const box = bounds(region.outline);
      const drawn = style(region);
      return { region, style: drawn, path, box, coarse: coarser(region.outline, box), key: JSON.stringify(drawn) };
    }));
    this.version += 1;
    this.draw();
  }

  toggle(layer: string, shown: boolean): void {
    if (shown) this.hidden.delete(layer); else this.hidden.add(layer);
    this.draw();
  }

  /** The affine map from level-0 px to px of the canvas, rotation included. */
  private frame(): DOMMatrix | null {
    const item = this.viewer.world.getItemAt(0);
    if (!item) return null;
    const [o, x, y] = ([[0, 0], [1000, 0], [0, 1000]] as Point[]).map(([a, b]) => item.imageToViewerElementCoordinates(new OpenSeadragon.Point(a, b))) as [OpenSeadragon.Point, OpenSeadragon.Point, OpenSeadragon.Point];
    return new DOMMatrix([(x.x - o.x) / 1000, (x.y - o.y) / 1000, (y.x - o.x) / 1000, (y.y - o.y) / 1000, o.x, o.y]);
  }

  /** Draw the layers; while the slide only moves, what was drawn before is moved with it. */
  private drawKept(context: CanvasRenderingContext2D, frame: DOMMatrix, width: number, height: number, ratio: number): void {
    const turn = [frame.a, frame.b, frame.c, frame.d, width, height, ratio].map((number) => number.toPrecision(9)).join();
    const look = [this.version, this.fill, [...this.selected].join(), [...this.hidden].join()].join('|');
    const [dx, dy] = this.keptFrame ? [frame.e - this.keptFrame.e, frame.f - this.keptFrame.f] : [0, 0];
    if (turn !== this.keptTurn || look !== this.keptLook || !this.keptFrame || Math.abs(dx) > width / 2 || Math.abs(dy) > height / 2) {
      const moves = turn === this.keptTurn;
      [this.keptTurn, this.keptLook, this.keptFrame] = [turn, look, undefined];
      if (!moves) {
        this.drawLayers(context, frame, width, height, ratio);
        return;
      }
      this.kept.width = 2 * width * ratio; this.kept.height = 2 * height * ratio;
      const shifted = new DOMMatrix().translate(width / 2, height / 2).multiply(frame);
      this.drawLayers(this.kept.getContext('2d')!, shifted, 2 * width, 2 * height, ratio);
      this.keptFrame = frame;
    }
    const [x, y] = [frame.e - this.keptFrame.e, frame.f - this.keptFrame.f];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.kept, (x - width / 2) * ratio, (y - height / 2) * ratio);
  }

  private drawLayers(context: CanvasRenderingContext2D, frame: DOMMatrix, width: number, height: number, ratio: number): void {
    const scale = Math.hypot(frame.a, frame.b);
    const inverse = frame.inverse();
    const corners = ([[0, 0], [width, 0], [0, height], [width, height]] as Point[]).map(([x, y]): Point => { const point = inverse.transformPoint(new DOMPoint(x, y)); return [point.x, point.y]; });
    const [left, right] = [Math.min(...corners.map((c) => c[0])), Math.max(...corners.map((c) => c[0]))];
    const [top, bottom] = [Math.min(...corners.map((c) => c[1])), Math.max(...corners.map((c) => c[1]))];
    context.setTransform(new DOMMatrix().scale(ratio).multiply(frame));
    for (const [layer, shapes] of this.layers) {
      if (this.hidden.has(layer)) continue;
      const small = new Map<string, Shape[]>();
      for (const shape of shapes) {
        const { region, style, path, box } = shape;
        if (box[0] > right || box[2] < left || box[1] > bottom || box[3] < top) continue;
        context.strokeStyle = context.fillStyle = style.color;
        if (Math.max(box[2] - box[0], box[3] - box[1]) * scale < 2) {
          context.fillRect(box[0], box[1], 2 / scale, 2 / scale);
          continue;
        }
        const chosen = this.selected.has(region.id);
        if (!chosen && !this.fill && Math.max(box[2] - box[0], box[3] - box[1]) * scale < COARSE_BELOW) {
          const same = small.get(shape.key);
          if (same) same.push(shape); else small.set(shape.key, [shape]);
          continue;
        }
        context.lineWidth = (style.width + (chosen ? 2 : 0)) / scale;
        context.setLineDash((style.dash ?? []).map((length) => length / scale));
        if (this.fill || chosen) { context.globalAlpha = 0.15; context.fill(path, 'evenodd'); context.globalAlpha = 1; }
        context.stroke(path);
      }
      for (const group of small.values()) this.drawSmall(context, group, scale);
    }
  }

  private drawSmall(context: CanvasRenderingContext2D, group: Shape[], scale: number): void {
    const { style } = group[0]!;
    context.strokeStyle = style.color;
    context.lineWidth = style.width / scale;
    context.setLineDash((style.dash ?? []).map((length) => length / scale));
    // one path of ten thousand parts is slower to stroke than many of a hundred
    for (let first = 0; first < group.length; first += 100) {
      context.beginPath();
      for (const { coarse } of group.slice(first, first + 100)) for (const ring of coarse) {
        ring.forEach(([x = 0, y = 0], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.closePath();
      }
      context.stroke();
    }
  }

  /** Level-0 px of a place on the canvas. */
  place(x: number, y: number): Point {
    const point = this.frame()?.inverse().transformPoint(new DOMPoint(x, y));
    return point ? [point.x, point.y] : [0, 0];
  }

  /** Px of the canvas per level-0 px. */
  get scale(): number {
    const frame = this.frame();
    return frame ? Math.hypot(frame.a, frame.b) : 1;
  }

  hit(layer: string, [x, y]: Point): Region | undefined {
    const context = this.canvas.getContext('2d');
    if (!context) return undefined;
    context.setTransform(1, 0, 0, 1, 0, 0);
    return (this.layers.get(layer) ?? []).filter(({ path, box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3] && context.isPointInPath(path, x, y, 'evenodd'))
      .sort((a, b) => a.region.area - b.region.area)[0]?.region;
  }

  draw(): void {
    const context = this.canvas.getContext('2d');
    const frame = this.frame();
    const { clientWidth: width, clientHeight: height } = this.viewer.canvas as HTMLElement;
    const ratio = devicePixelRatio || 1;
    if (!context) return;
    if (this.canvas.width !== width * ratio || this.canvas.height !== height * ratio) {
      this.canvas.width = width * ratio; this.canvas.height = height * ratio;
      this.canvas.style.width = `${width}px`; this.canvas.style.height = `${height}px`;
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (!frame) return;
    this.drawKept(context, frame, width, height, ratio);
    const scale = Math.hypot(frame.a, frame.b);
    context.setTransform(new DOMMatrix().scale(ratio).multiply(frame));
    if (this.draft.length) {
      context.setLineDash([]);
      context.strokeStyle = '#0a58ff';
      context.lineCap = context.lineJoin = 'round';
      context.globalAlpha = this.draftWidth ? 0.35 : 1;
      context.lineWidth = this.draftWidth || 2 / scale;
      context.beginPath();
      this.draft.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (this.draft.length === 1) context.lineTo(this.draft[0]![0] + 0.01, this.draft[0]![1]);
      context.stroke();
      context.globalAlpha = 1;
    }
  }
}
