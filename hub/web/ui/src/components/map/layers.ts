/** Leaflet layers of the site: basemap, graticule, cameras with their sectors. Colours come from CSS, so themes just work. */
import L from "leaflet";
import type { CameraView } from "@/api/types";
import { tone } from "@/app/state";
import type { LonLat } from "@/media/geo";
import { sector } from "@/media/geo";

/** The pane of the basemap's names. */
export const LABELS = "qs-labels";

export const latLng = (at: LonLat): L.LatLngTuple => [at.lat, at.lon];

/** Plain squares with coordinates: what is there when a site has no basemap of its own. */
export const Graticule = L.GridLayer.extend({
  createTile(this: L.GridLayer, coords: L.Coords): HTMLElement {
    const tile = document.createElement("div");
    tile.className = "qs-graticule";
    const corner = L.CRS.EPSG3857.pointToLatLng(L.point(coords.x * 256, coords.y * 256), coords.z);
    tile.textContent = `${corner.lat.toFixed(4)}, ${corner.lng.toFixed(4)}`;
    return tile;
  },
}) as unknown as new (
  options?: L.GridLayerOptions,
) => L.GridLayer;

type Feature = GeoJSON.Feature<GeoJSON.Geometry, { kind?: string; name?: string } | null>;
const ORDER = ["field", "river", "building", "road", "label"];

/** The site's own map: fields below, then water, buildings, roads with an edge, names on top. */
export function basemapLayer(map: GeoJSON.FeatureCollection): L.LayerGroup {
  const group = L.layerGroup();
  const features = (map.features as Feature[])
    .filter((f) => ORDER.includes(f.properties?.kind ?? ""))
    .sort((a, b) => ORDER.indexOf(a.properties?.kind ?? "") - ORDER.indexOf(b.properties?.kind ?? ""));
  for (const feature of features) {
    const kind = feature.properties?.kind ?? "";
    if (feature.geometry.type === "Point") {
      label(feature.geometry.coordinates, feature.properties?.name ?? "", "qs-map-label").addTo(group);
      continue;
    }
    if (kind === "road") shape(feature, "qs-map-road-edge", 9).addTo(group);
    shape(feature, `qs-map-${kind}`, kind === "road" ? 6 : kind === "river" ? 10 : 1).addTo(group);
    const name = feature.properties?.name;
    if (name && feature.geometry.type === "LineString") {
      const middle = feature.geometry.coordinates[Math.floor(feature.geometry.coordinates.length / 2)];
      if (middle) label(middle, name, "qs-map-label small").addTo(group);
    }
  }
  return group;
}

function shape(feature: Feature, className: string, weight: number): L.GeoJSON {
  return L.geoJSON(feature, {
    interactive: false,
    style: { className, weight, lineCap: "round", lineJoin: "round", opacity: 1, fillOpacity: 1 },
  });
}
function label(at: GeoJSON.Position, name: string, className: string): L.Marker {
  return L.marker([at[1] ?? 0, at[0] ?? 0], {
    pane: LABELS,
    interactive: false,
    keyboard: false,
    icon: textIcon(className, name),
  });
}
/** An icon whose text is set as text: names come from people and are never HTML. */
export function textIcon(className: string, text: string): L.DivIcon {
  const element = document.createElement("span");
  element.textContent = text;
  return L.divIcon({ className, html: element, iconSize: [0, 0] });
}

/** A camera: its sector and a point with its state's shape and colour. */
export function cameraLayer(
  camera: CameraView,
  options: { selected: boolean; count: number | null; onClick: () => void },
): L.LayerGroup | null {
  if (!camera.position) return null;
  const group = L.layerGroup();
  const cls = `${tone(camera.health.state)}${options.selected ? " selected" : ""}`;
  if (camera.heading_deg !== null && camera.heading_deg !== undefined) {
    L.polygon(sector(camera.position, camera.heading_deg, camera.fov_deg, camera.range_m).map(latLng), {
      className: `qs-sector ${cls}`,
      weight: options.selected ? 2 : 1,
    })
      .on("click", options.onClick)
      .addTo(group);
  }
  const dot = document.createElement("span");
  if (options.count !== null) dot.textContent = options.count > 999 ? "999+" : String(options.count);
  const marker = L.marker(latLng(camera.position), {
    icon: L.divIcon({
      className: `qs-camera ${cls}${options.count === null ? "" : " counted"}`,
      html: dot,
      iconSize: options.count === null ? [18, 18] : [30, 24],
    }),
    title: camera.name,
    alt: camera.name,
    riseOnHover: true,
  }).on("click", options.onClick);
  const name = document.createElement("span");
  name.textContent = camera.name;
  marker.bindTooltip(name, { direction: "top", offset: [0, -10], permanent: options.selected, className: "qs-tip" });
  marker.addTo(group);
  return group;
}
