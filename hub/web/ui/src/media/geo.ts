/** Small distances on the map: sectors, bearings. WGS-84 degrees, metres; a plane is exact enough below a few kilometres. */
export interface LonLat {
  lon: number;
  lat: number;
}
const M_PER_DEG_LAT = 111_195;
const rad = (deg: number): number => (deg * Math.PI) / 180;

/** The point `metres` away from `from` towards `bearing_deg` (clockwise from north). */
export function away(from: LonLat, bearing_deg: number, metres: number): LonLat {
  const north = Math.cos(rad(bearing_deg)) * metres;
  const east = Math.sin(rad(bearing_deg)) * metres;
  return {
    lat: from.lat + north / M_PER_DEG_LAT,
    lon: from.lon + east / (M_PER_DEG_LAT * Math.cos(rad(from.lat))),
  };
}

/** Bearing from `a` to `b`, 0 ≤ deg < 360. */
export function bearing(a: LonLat, b: LonLat): number {
  const north = b.lat - a.lat;
  const east = (b.lon - a.lon) * Math.cos(rad(a.lat));
  return ((Math.atan2(east, north) * 180) / Math.PI + 360) % 360;
}

/** Metres between two points. */
export function metres(a: LonLat, b: LonLat): number {
  return Math.hypot((b.lat - a.lat) * M_PER_DEG_LAT, (b.lon - a.lon) * M_PER_DEG_LAT * Math.cos(rad(a.lat)));
}

/** A field of view as a closed outline: the camera, then the arc. A full circle leaves the camera out. */
export function sector(at: LonLat, heading_deg: number, fov_deg: number, range_m: number): LonLat[] {
  const steps = Math.max(6, Math.ceil(fov_deg / 6));
  const arc = Array.from({ length: steps + 1 }, (_, i) =>
    away(at, heading_deg - fov_deg / 2 + (fov_deg * i) / steps, range_m),
  );
  return fov_deg >= 360 ? arc : [at, ...arc];
}

/** "lon,lat;lon,lat;…" as the search takes it, six decimals (a tenth of a metre). */
export function areaText(points: readonly LonLat[]): string {
  return points.map((p) => `${p.lon.toFixed(6)},${p.lat.toFixed(6)}`).join(";");
}

/** The reverse; null for anything that is not at least three points on the globe. */
export function areaPoints(text: string): LonLat[] | null {
  const points = text.split(";").map((pair) => {
    const [lon, lat, ...rest] = pair.split(",").map(Number);
    return rest.length === 0 && lon !== undefined && lat !== undefined ? { lon, lat } : null;
  });
  const ok = (p: LonLat | null): p is LonLat =>
    p !== null && Number.isFinite(p.lon) && Number.isFinite(p.lat) && Math.abs(p.lon) <= 180 && Math.abs(p.lat) <= 90;
  return points.length >= 3 && points.every(ok) ? points : null;
}
