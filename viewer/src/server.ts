/** What the server says, and how it is asked. */

export type Geometry = { type: 'Polygon'; coordinates: number[][][] } | { type: 'MultiPolygon'; coordinates: number[][][][] };

export interface Region {
  id: string;
  label: string;
  score: number | null;
  area: number;
  outline: Geometry;
  verdict?: string;
  reader?: string;
  version?: string;
  match?: string;
  missed?: boolean;
}

export interface Listed { key: string; name: string; patient: string; fault: string; findings: number; judged: number; noLesion: boolean }

export interface Library {
  slides: Listed[];
  writable: boolean;
  notes: string[];
  threshold: number | null;
  points: { score: number; sensitivity: number; fp_per_cm2: number }[];
  colorMaps: string[];
}

export interface SlideFacts { name: string; width: number; height: number; mpp: number; mppSource: string; tile: number; levels: number; labels: string[]; notes: string[] }

export async function ask<T>(path: string, signal?: AbortSignal): Promise<T> {
  return answer<T>(await fetch(path, { signal: signal ?? null }));
}

export async function send<T>(path: string, values: unknown): Promise<T> {
  return answer<T>(await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(values) }));
}

async function answer<T>(response: Response): Promise<T> {
  if (response.ok) return (await response.json()) as T;
  const text = await response.text();
  let fault = text;
  try { fault = (JSON.parse(text) as { fault: string }).fault; } catch { /* the text says it */ }
  throw new Error(fault);
}
