/** The page: a slide, its layers, the queue of findings, and the tools to correct them. */

import OpenSeadragon from 'openseadragon';
import './style.css';
import { bounds, Outlines, type Point, type Style } from './outlines';
import { ask, send, type Geometry, type Library, type Listed, type Region, type SlideFacts } from './server';

const get = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;
const input = (id: string): HTMLInputElement => get<HTMLInputElement>(id);
const select = (id: string): HTMLSelectElement => get<HTMLSelectElement>(id);

const TOOLS: Record<string, [string, string]> = {
  move: ['Move', 'Escape'], brush: ['Brush', 'b'], polygon: ['Polygon', 'p'], rectangle: ['Rectangle', 'c'], ellipse: ['Ellipse', 'v'],
  wand: ['Wand', 'w'], cut: ['Split', 's'], area: ['Reviewed area', 'r'], measure: ['Measure', 'l'],
};
const LAYERS: Record<string, [string, string]> = {
  regions: ['Detections', 'a'], annotations: ['Annotations', 'd'], heat: ['Heatmap', 'h'], tissue: ['Tissue', 'i'], skipped: ['Skipped by screening', 'k'],
};
const KEYS: [string, string][] = [
  ['Y, N, U', 'lesion, no lesion, unclear; the next finding comes by itself'], ['1-9', 'another class'], ['Right, Left', 'next, previous finding'],
  ['Shift+Right, Shift+Left', 'next, previous slide'], ['Space', 'hold to move the slide while a tool is on'], ['0', 'whole slide'], ['Q', 'turn by 90 degrees'], ['Shift+F', 'fill outlines'],
  ['Alt', 'with the brush: erase'], ['Shift', 'with the brush: add to the selected region'], ['Ctrl+click', 'select several'], ['X', 'join the selected regions'],
  ['Delete', 'delete the selected region'], ['Ctrl+Z', 'undo'], ...Object.values(TOOLS).map(([name, key]): [string, string] => [key.toUpperCase(), name]),
  ...Object.values(LAYERS).map(([name, key]): [string, string] => [key.toUpperCase(), `${name} on and off`]),
];

const viewer = OpenSeadragon({
  element: get('view'), drawer: 'canvas', showNavigator: true, showNavigationControl: false, gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  animationTime: 0.4, maxZoomPixelRatio: 4, visibilityRatio: 0.2, crossOriginPolicy: false,
});
const outlines = new Outlines(viewer);

let library: Library;
let slide: Listed | undefined;
let facts: SlideFacts | undefined;
let regions: Region[] = [];
let annotations: Region[] = [];
let queue: Region[] = [];
let current: Region | undefined;
let tool = 'move';
let outlined = false; // whether the regions come from the threshold slider
let judged = 0;
const started = Date.now();
const shown: Record<string, boolean> = { regions: true, annotations: true, heat: false, tissue: false, skipped: false };

const say = (text: string): void => { get('message').textContent = text; };
const base = (): string => `/api/slides/${slide?.key ?? ''}`;
const baseLabel = (region: Region): string => region.label.replace(/: (found|rejected|unclear|differ)$/, '');

async function attempt(work: () => Promise<void>): Promise<void> {
  try { say(''); await work(); } catch (error) { if ((error as Error).name !== 'AbortError') say((error as Error).message); }
}

// ---------------------------------------------------------------- slides

function listSlides(): void {
  get('slides').replaceChildren(...library.slides.map((one) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('aria-current', String(one.key === slide?.key));
    const text = document.createElement('span');
    text.append(one.name, document.createElement('br'), one.noLesion ? 'no lesion' : `${one.judged} of ${Math.max(one.findings, one.judged)} judged`);
    if (one.fault) {
      const fault = document.createElement('span');
      fault.className = 'fault';
      fault.textContent = one.fault;
      text.append(document.createElement('br'), fault);
    } else {
      const picture = document.createElement('img');
      picture.loading = 'lazy'; picture.alt = ''; picture.src = `/api/slides/${one.key}/crop`;
      button.append(picture);
    }
    button.append(text);
    button.addEventListener('click', () => void attempt(() => openSlide(one)));
    item.append(button);
    return item;
  }));
}

function source(path: string): object {
  const known = facts!;
  return { width: known.width, height: known.height, tileSize: known.tile, minLevel: 0, maxLevel: known.levels, getTileUrl: (level: number, x: number, y: number) => path.replace('PLACE', `${level}/${x}/${y}`) };
}

async function openSlide(one: Listed, place?: { x: number; y: number; zoom: number }): Promise<void> {
  slide = one; current = undefined; regions = []; annotations = []; queue = [];
  listSlides();
  get('where').textContent = one.patient && one.patient !== one.name ? `${one.name} · patient ${one.patient}` : one.name;
  viewer.close();
  if (one.fault) throw new Error(one.fault);
  facts = await ask<SlideFacts>(base());
  select('label').replaceChildren(...facts.labels.map((label) => new Option(label, label)));
  say([...facts.notes].join(' '));
  await new Promise<void>((done) => { viewer.addOnceHandler('open', () => done()); viewer.open(source(`${base()}/tile/PLACE`) as never); });
  if (place) { viewer.viewport.zoomTo(place.zoom, undefined, true); viewer.viewport.panTo(viewer.world.getItemAt(0).imageToViewportCoordinates(place.x, place.y), true); }
  if (shown.heat) showHeat();
  await load();
  show(regions.length && !place ? queue.find((region) => region.verdict === undefined || region.verdict === 'open') ?? queue[0] : undefined);
}

async function load(): Promise<void> {
  const values = await ask<{ regions: Region[]; annotations: Region[] }>(`${base()}/regions`);
  ({ regions, annotations } = values);
  outlined = false;
  paint();
}

// ---------------------------------------------------------------- layers

const COLORS: Record<string, string> = { accept: '#1a9641', reject: '#888888', unclear: '#7b3294', differ: '#d01c8b', open: '#ffb000' };

function styleOf(region: Region): Style {
  if (region.label === 'reviewed') return { color: '#3a86ff', width: 1, dash: [2, 4] };
  return { color: region.match === 'false positive' && !input('blind').checked && !region.verdict?.match(/accept|reject/) ? '#e66101' : COLORS[region.verdict ?? 'open'] ?? '#ffb000', width: 2 };
}

function paint(): void {
  outlines.set('annotations', input('blind').checked ? [] : annotations, (region) => ({ color: region.missed ? '#d00000' : '#00724c', width: region.missed ? 3 : 1.5, dash: region.missed ? [8, 5] : [] }));
  // findings of a lower score are hidden; what readers added or judged stays
  const least = Number(input('score').value);
  const kept = regions.filter((region) => region.score === null || region.score >= least || !['open', undefined].includes(region.verdict));
  outlines.set('regions', kept, styleOf);
  const sort = select('sort').value;
  const filter = select('filter').value;
  const [x, y] = [0, 1];
  queue = kept.filter((region) => region.label !== 'reviewed')
    .filter((region) => !filter || (filter === 'open' ? ['open', undefined].includes(region.verdict) : region.match === filter || region.verdict === filter));
  const keys: Record<string, (region: Region) => number> = {
    score: (region) => -(region.score ?? 1), unsure: (region) => Math.abs((region.score ?? 1) - 0.5), area: (region) => -region.area, place: (region) => bounds(region.outline)[y]! * 1e6 + bounds(region.outline)[x]!,
  };
  queue.sort((a, b) => keys[sort]!(a) - keys[sort]!(b));
  get('findings').replaceChildren(...queue.slice(0, 500).map((region, index) => {
    const item = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.id = region.id;
    button.setAttribute('aria-current', String(region.id === current?.id));
    const picture = document.createElement('img');
    const [left, top, right, bottom] = bounds(region.outline);
    picture.loading = 'lazy'; picture.alt = '';
    picture.src = `${base()}/crop?x=${left}&y=${top}&width=${right - left}&height=${bottom - top}`;
    const text = document.createElement('span');
    const score = region.score === null || input('blind').checked ? '' : ` ${region.score.toFixed(2)}`;
    text.textContent = `${index + 1}. ${input('blind').checked ? '' : baseLabel(region)}${score} · ${region.area.toPrecision(2)} mm² · ${region.verdict ?? 'open'}${region.match && !input('blind').checked ? ` · ${region.match}` : ''}`;
    button.append(picture, text);
    button.addEventListener('click', () => show(region));
    item.append(button);
    return item;
  }));
  const done = queue.filter((region) => !['open', undefined].includes(region.verdict)).length;
  get('progress').textContent = `${done} of ${queue.length} judged · ${judged} in ${Math.round((Date.now() - started) / 60000)} min`;
}

function showHeat(): void {
  while (viewer.world.getItemCount() > 1) viewer.world.removeItem(viewer.world.getItemAt(1));
  if (!shown.heat || !facts?.labels.length) return;
  const query = new URLSearchParams({ label: select('label').value, colors: select('colors').value });
  viewer.addTiledImage({ tileSource: source(`${base()}/heat/PLACE?${query}`) as never, opacity: Number(input('opacity').value), index: 1 });
}

async function toggle(layer: string): Promise<void> {
  shown[layer] = !shown[layer];
  input(`layer-${layer}`).checked = shown[layer];
  if (layer === 'heat') showHeat();
  if ((layer === 'tissue' || layer === 'skipped') && shown[layer]) {
    const found = await ask<Record<string, Geometry[]>>(`${base()}/tissue`);
    const color = layer === 'tissue' ? '#2b8cbe' : '#ad0000';
    outlines.set(layer, (found[layer] ?? []).map((outline, index) => ({ id: `${layer}-${index}`, label: layer, score: null, area: 1e9, outline })), () => ({ color, width: 1 }));
  }
  outlines.toggle(layer, shown[layer]);
}

let asked = new AbortController();
async function outlineAgain(): Promise<void> {
  asked.abort();
  asked = new AbortController();
  const query = new URLSearchParams({ label: select('label').value, threshold: input('threshold').value });
  const values = await ask<{ regions: Region[]; annotations: Region[] }>(`${base()}/regions?${query}`, asked.signal);
  ({ regions, annotations } = values);
  outlined = true;
  current = undefined;
  paint();
  const found = annotations.filter((region) => !region.missed && regions.some((one) => baseLabel(one) === region.label)).length;
  get('counts').textContent = `at ${input('threshold').value}: ${regions.length} regions${annotations.length ? `, ${found} annotated lesions found, ${regions.filter((region) => region.match === 'false positive').length} false positives` : ''}`;
}

// ---------------------------------------------------------------- queue

function show(region: Region | undefined): void {
  current = region;
  outlines.selected = new Set(region ? [region.id] : []);
  for (const button of document.querySelectorAll<HTMLElement>('#findings button')) {
    button.setAttribute('aria-current', String(button.dataset.id === region?.id));
    if (button.dataset.id === region?.id && innerWidth > 800) button.scrollIntoView({ block: 'nearest' });
  }
  get('reason').textContent = '';
  if (!region) { outlines.draw(); return; }
  const number = queue.indexOf(region) + 1;
  get('reason').textContent = `${number} of ${queue.length}${region.score === null || input('blind').checked ? '' : ` · score ${region.score.toFixed(2)}, ${Math.abs(region.score - 0.5) < 0.15 ? 'the model is not sure' : 'the model is sure'}`}`;
  const [left, top, right, bottom] = bounds(region.outline);
  const side = Math.max(right - left, bottom - top, 40);
  const item = viewer.world.getItemAt(0);
  viewer.viewport.fitBounds(item.imageToViewportRectangle((left + right) / 2 - 1.5 * side, (top + bottom) / 2 - 1.5 * side, 3 * side, 3 * side));
  outlines.draw();
}

function step(by: number): void {
  const index = current ? queue.findIndex((region) => region.id === current?.id) : -1;
  show(queue[Math.min(queue.length - 1, Math.max(0, index + by))]);
}

function stepSlide(by: number): void {
  const index = library.slides.findIndex((one) => one.key === slide?.key) + by;
  const next = library.slides[index];
  if (next) void attempt(() => openSlide(next));
}

async function operate(values: Record<string, unknown>): Promise<void> {
  const reader = input('reader').value.trim();
  if (!reader) { input('reader').focus(); throw new Error('Enter your initials first: they are saved with each verdict.'); }
  if (outlined && values.kind !== 'undo') throw new Error('These outlines are a preview of another threshold. Press "As found" to judge.');
  const state = await send<{ conflicts: { id: string; reader: string }[] }>(`${base()}/operate`, { ...values, reader });
  await load();
  const time = new Date().toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  say(state.conflicts.length ? `Somebody else changed this region in the meantime. Look at it again and repeat what you did (${state.conflicts.length} in conflict).` : '');
  get('where').textContent = `${slide?.name ?? ''} · saved ${time}`;
  const one = library.slides.find((listed) => listed.key === slide?.key);
  if (one) { one.judged = regions.filter((region) => !['open', undefined].includes(region.verdict)).length; listSlides(); }
}

async function judge(kind: string, label = ''): Promise<void> {
  if (!current) return;
  const { id, version = '' } = current;
  const next = queue[queue.indexOf(current) + 1]?.id;
  await operate({ kind, sources: [id], versions: { [id]: version }, ...(label ? { label } : {}) });
  judged += 1;
  paint();
  show(queue.find((region) => region.id === next) ?? queue.find((region) => ['open', undefined].includes(region.verdict)));
}

// ---------------------------------------------------------------- tools

let start: { x: number; y: number; alt: boolean; shift: boolean } | undefined;
let space = false;

function use(name: string): void {
  tool = name; outlines.draft = []; outlines.draw();
  viewer.setMouseNavEnabled(name === 'move');
  for (const button of document.querySelectorAll<HTMLElement>('#tools button')) button.setAttribute('aria-pressed', String(button.dataset.tool === name));
}

const chosen = (): Region[] => regions.filter((region) => outlines.selected.has(region.id));
const ring = (points: Point[]): Geometry => ({ type: 'Polygon', coordinates: [[...points, points[0]!]] });
const radius = (): number => 12 / outlines.scale;
const identity = (): string => crypto.randomUUID();
const classNow = (): string => select('label').value || (regions[0] ? baseLabel(regions[0]) : 'lesion');

async function add(outline: Geometry): Promise<void> {
  const id = identity();
  await operate({ kind: 'add', regions: [{ id, label: classNow(), outline }] });
  current = regions.find((region) => region.id === id);
  outlines.selected = new Set([id]);
  outlines.draw();
}

async function change(region: Region, made: Geometry[]): Promise<void> {
  const { id, version = '' } = region;
  const versions = { [id]: version };
  if (!made.length) await operate({ kind: 'delete', sources: [id], versions });
  else if (made.length === 1) await operate({ kind: 'edit', sources: [id], versions, regions: [{ id, label: baseLabel(region), outline: made[0] }] });
  else await operate({ kind: 'split', sources: [id], versions, regions: made.map((outline) => ({ id: identity(), label: baseLabel(region), outline })) });
  outlines.draw();
}

async function shape(values: Record<string, unknown>): Promise<Geometry[]> {
  return (await send<{ outlines: Geometry[] }>(`${base()}/shape`, values)).outlines;
}

async function finish(points: Point[], alt: boolean, shift: boolean): Promise<void> {
  const region = chosen()[0];
  if (tool === 'brush') {
    const touched = region && (shift || alt || outlines.hit('regions', points[0]!)?.id === region.id) ? region : undefined;
    if (alt && !touched) throw new Error('Select the region to erase from first.');
    const made = await shape({ tool: alt ? 'erase' : 'brush', outlines: touched ? [touched.outline] : [], points, radius: radius() });
    if (touched) await change(touched, made.length > 1 ? [made[0]!] : made); else await add(made[0]!);
  } else if (tool === 'cut') {
    if (!region) throw new Error('Select the region to split first.');
    await change(region, await shape({ tool: 'cut', outlines: [region.outline], points }));
  } else if (tool === 'rectangle' || tool === 'ellipse') {
    const [[x0, y0], [x1, y1]] = [points[0]!, points.at(-1)!];
    const box: Point[] = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
    const round = Array.from({ length: 60 }, (_, index): Point => [(x0 + x1) / 2 + (Math.abs(x1 - x0) / 2) * Math.cos(index * Math.PI / 30), (y0 + y1) / 2 + (Math.abs(y1 - y0) / 2) * Math.sin(index * Math.PI / 30)]);
    await add(ring(tool === 'ellipse' ? round : box));
  } else if (tool === 'polygon' && points.length > 2) await add(ring(points));
  else if (tool === 'area' && points.length > 2) await operate({ kind: 'area', regions: [{ id: identity(), label: 'reviewed', outline: ring(points) }] });
  else if (tool === 'wand') {
    const made = await shape({ tool: 'wand', points: [points[0]], label: select('label').value, threshold: Number(input('threshold').value) });
    await add(made[0]!);
  } else if (tool === 'measure') {
    const length = points.slice(1).reduce((sum, [x, y], index) => sum + Math.hypot(x - points[index]![0], y - points[index]![1]), 0) * facts!.mpp;
    const area = Math.abs(points.reduce((sum, [x, y], index) => { const [a, b] = points[(index + 1) % points.length]!; return sum + x * b - a * y; }, 0)) / 2 * facts!.mpp ** 2 / 1e6;
    say(`length ${length.toFixed(0)} µm, area enclosed ${area.toPrecision(3)} mm²`);
  }
}

const canvas = viewer.canvas as HTMLElement;
const local = (event: PointerEvent): [number, number] => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
canvas.addEventListener('pointerdown', (event) => {
  const [x, y] = local(event);
  start = { x, y, alt: event.altKey, shift: event.shiftKey };
  if (tool === 'move' || space || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  outlines.draftWidth = tool === 'brush' ? 2 * radius() : 0;
  outlines.draft = [outlines.place(x, y)];
  outlines.draw();
});
canvas.addEventListener('pointermove', (event) => {
  const [x, y] = local(event);
  const place = outlines.place(x, y);
  get('facts').textContent = facts ? `x ${place[0].toFixed(0)} y ${place[1].toFixed(0)} px · ${facts.mpp.toPrecision(3)} µm/px (${facts.mppSource}) · ${(10 / facts.mpp * outlines.scale).toPrecision(2)}x` : '';
  if (!start || tool === 'move' || space || !outlines.draft.length) return;
  outlines.draft = tool === 'rectangle' || tool === 'ellipse' ? [outlines.draft[0]!, place] : [...outlines.draft, place];
  outlines.draw();
});
canvas.addEventListener('pointerup', (event) => {
  const [x, y] = local(event);
  const from = start;
  start = undefined;
  if (!from) return;
  if (tool === 'move' || space) {
    if (Math.hypot(x - from.x, y - from.y) > 3) return;
    const region = outlines.hit('regions', outlines.place(x, y));
    if (event.ctrlKey && region) outlines.selected.add(region.id); else { current = region; outlines.selected = new Set(region ? [region.id] : []); }
    paint();
    return;
  }
  const points = outlines.draft;
  outlines.draft = [];
  outlines.draw();
  if (points.length) void attempt(() => finish(points, from.alt, from.shift));
});

async function join(): Promise<void> {
  const parts = chosen();
  if (parts.length < 2) throw new Error('Select two regions or more with Ctrl+click.');
  const made = await shape({ tool: 'merge', outlines: parts.map((part) => part.outline) });
  await operate({ kind: 'merge', sources: parts.map((part) => part.id), versions: Object.fromEntries(parts.map((part) => [part.id, part.version ?? ''])), regions: [{ id: identity(), label: baseLabel(parts[0]!), outline: made[0] }] });
}

// ---------------------------------------------------------------- keys

function press(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (target.matches('input:not([type=range]):not([type=checkbox]), select, textarea') || get<HTMLDialogElement>('keys').open) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === ' ') { if (!target.matches('button')) { space = true; viewer.setMouseNavEnabled(true); event.preventDefault(); } return; }
  const verdicts: Record<string, string> = { y: 'accept', n: 'reject', u: 'unclear' };
  const labels = [...new Set(annotations.map((region) => region.label).concat(facts?.labels ?? []))].sort();
  const named = Object.entries(TOOLS).find(([, [, own]]) => own === key)?.[0];
  const layer = Object.entries(LAYERS).find(([, [, own]]) => own === key)?.[0];
  if (event.ctrlKey || event.metaKey) { if (key === 'z') void attempt(() => operate({ kind: 'undo' })); else return; }
  else if (event.shiftKey && key === 'f') { outlines.fill = !outlines.fill; outlines.draw(); }
  else if (event.shiftKey && (key === 'ArrowRight' || key === 'ArrowLeft')) stepSlide(key === 'ArrowRight' ? 1 : -1);
  else if (key === 'ArrowRight') step(1);
  else if (key === 'ArrowLeft' || key === 'Backspace') step(-1);
  else if (verdicts[key]) void attempt(() => judge(verdicts[key]!));
  else if (/^[1-9]$/.test(key) && labels[Number(key) - 1]) void attempt(() => judge('reclass', labels[Number(key) - 1]!));
  else if (key === '0') viewer.viewport.goHome();
  else if (key === 'q') viewer.viewport.setRotation(viewer.viewport.getRotation() + 90);
  else if (key === 'x') void attempt(join);
  else if (key === 'Delete') { const region = chosen()[0]; if (region) void attempt(() => change(region, [])); }
  else if (key === '?') get<HTMLDialogElement>('keys').showModal();
  else if (named) use(named);
  else if (layer) void attempt(() => toggle(layer));
  else return;
  event.preventDefault();
}

// OpenSeadragon has keys of its own, such as W and R
viewer.addHandler('canvas-key', (event) => { event.preventDefaultAction = true; });
document.addEventListener('keydown', press);
document.addEventListener('keyup', (event) => { if (event.key === ' ') { space = false; viewer.setMouseNavEnabled(tool === 'move'); } });

// ---------------------------------------------------------------- scale bar and address

function drawBar(): void {
  if (!facts) return;
  const perPx = facts.mpp / outlines.scale;
  const steps = [1, 2, 5].flatMap((digit) => [0, 1, 2, 3, 4].map((power) => digit * 10 ** power)).sort((a, b) => a - b);
  const um = steps.find((length) => length / perPx >= 60) ?? 50000;
  get('barline').style.width = `${um / perPx}px`;
  get('bartext').textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
}

viewer.addHandler('animation-finish', () => {
  drawBar();
  const item = viewer.world.getItemAt(0);
  if (!slide || !item) return;
  const center = item.viewportToImageCoordinates(viewer.viewport.getCenter());
  const place = new URLSearchParams({ slide: slide.name, x: center.x.toFixed(0), y: center.y.toFixed(0), zoom: viewer.viewport.getZoom().toPrecision(4) });
  history.replaceState(null, '', `${location.pathname}#${place}`);
});
viewer.addHandler('open', drawBar);
viewer.addHandler('zoom', drawBar);

// of the operating points that change the sensitivity, at most MAX_POINTS, evenly chosen
const MAX_POINTS = 12;
function pointsToOffer(): Library['points'] {
  const all = library.points.filter((point) => Number.isFinite(point.fp_per_cm2)).sort((a, b) => b.score - a.score);
  const changing = all.filter((point, index) => index === 0 || point.sensitivity > all[index - 1]!.sensitivity);
  const every = Math.max(1, Math.ceil(changing.length / MAX_POINTS));
  return changing.filter((_, index) => index % every === 0 || index === changing.length - 1);
}

async function begin(): Promise<void> {
  library = await ask<Library>('/api/library');
  select('colors').replaceChildren(...library.colorMaps.map((name) => new Option(name, name)));
  get('pointrow').hidden = !library.points.length;
  select('point').replaceChildren(new Option('all findings', '0'), ...pointsToOffer().map((point) => new Option(`score ${point.score.toFixed(2)}: sensitivity ${point.sensitivity.toFixed(2)}, ${point.fp_per_cm2.toPrecision(2)} false positives per cm²`, String(point.score))));
  input('threshold').value = String(library.threshold ?? 0.5);
  input('reader').value = localStorage.getItem('reader') ?? '';
  input('reader').addEventListener('change', () => localStorage.setItem('reader', input('reader').value));
  get('tools').replaceChildren(...Object.entries(TOOLS).map(([name, [text, key]]) => {
    const button = document.createElement('button');
    button.type = 'button'; button.dataset.tool = name; button.textContent = text; button.title = key.toUpperCase();
    button.addEventListener('click', () => use(name));
    return button;
  }));
  get('layers').replaceChildren(...Object.entries(LAYERS).map(([name, [text, key]]) => {
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox'; box.id = `layer-${name}`; box.checked = shown[name]!;
    box.addEventListener('change', () => void attempt(() => toggle(name)));
    label.append(box, ` ${text} (${key.toUpperCase()})`, document.createElement('br'));
    return label;
  }));
  get('keylist').replaceChildren(...KEYS.flatMap(([key, text]) => { const [a, b] = [document.createElement('dt'), document.createElement('dd')]; a.textContent = key; b.textContent = text; return [a, b]; }));
  for (const [id, kind] of Object.entries({ yes: 'accept', no: 'reject', unclear: 'unclear' })) get(id).addEventListener('click', () => void attempt(() => judge(kind)));
  get('undo').addEventListener('click', () => void attempt(() => operate({ kind: 'undo' })));
  get('nolesion').addEventListener('click', () => void attempt(() => operate({ kind: 'no lesion' })));
  get('help').addEventListener('click', () => get<HTMLDialogElement>('keys').showModal());
  get('asfound').addEventListener('click', () => void attempt(load));
  const setScore = (value: string): void => { input('score').value = value; get('atscore').textContent = Number(value).toFixed(2); paint(); };
  input('score').addEventListener('input', () => setScore(input('score').value));
  select('point').addEventListener('change', () => setScore(select('point').value));
  for (const id of ['sort', 'filter', 'blind']) get(id).addEventListener('change', paint);
  for (const id of ['label', 'colors']) get(id).addEventListener('change', showHeat);
  input('opacity').addEventListener('input', () => viewer.world.getItemAt(1)?.setOpacity(Number(input('opacity').value)));
  input('threshold').addEventListener('input', () => void attempt(outlineAgain));
  for (const id of ['yes', 'no', 'unclear', 'undo', 'nolesion']) get<HTMLButtonElement>(id).disabled = !library.writable;
  use('move');
  const wanted = new URLSearchParams(location.hash.slice(1));
  const one = library.slides.find((listed) => listed.name === wanted.get('slide')) ?? library.slides.find((listed) => !listed.fault) ?? library.slides[0];
  const place = wanted.has('x') ? { x: Number(wanted.get('x')), y: Number(wanted.get('y')), zoom: Number(wanted.get('zoom')) } : undefined;
  if (one) await openSlide(one, place);
  if (library.notes.length) say(library.notes.join(' '));
}

Object.assign(window, { histoscoutViewer: viewer, histoscoutOutlines: outlines });
void attempt(begin);
