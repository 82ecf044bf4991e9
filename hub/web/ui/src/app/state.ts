import type { CameraState } from "@/api/types";

export type Tone = "ok" | "late" | "bad" | "off";

/** Green live, amber late, red alarm, grey off: the only use of these colours. */
export function tone(state: CameraState): Tone {
  if (state === "live") return "ok";
  if (state === "late") return "late";
  if (state === "auth_failed") return "bad";
  return "off";
}

/** Words for vocabulary pickers, in the order a witness would look for them. */
export const CLASSES = [
  "person",
  "bicycle",
  "motorcycle",
  "car",
  "bus",
  "truck",
  "cow",
  "horse",
  "sheep",
  "dog",
  "cat",
  "bird",
] as const;
export const COLOURS = [
  "black",
  "grey",
  "white",
  "red",
  "orange",
  "yellow",
  "green",
  "blue",
  "purple",
  "pink",
  "brown",
] as const;
export const CATEGORIES = [
  "theft_home",
  "theft_vehicle",
  "theft_livestock",
  "robbery",
  "traffic_accident",
  "lost_property",
  "stray_livestock",
  "damage",
  "other",
] as const;
export const CONSENT_PURPOSES = ["emergency", "theft_loss", "traffic", "alarms"] as const;
export const ROLES = ["resident", "monitor", "investigator", "supervisor", "auditor", "admin"] as const;

/** What a colour term looks like, for swatches only. */
export const SWATCH: Record<(typeof COLOURS)[number], string> = {
  black: "#1b1b1b",
  grey: "#8b8f92",
  white: "#fafafa",
  red: "#c92a2a",
  orange: "#e8760c",
  yellow: "#eec416",
  green: "#2f8f46",
  blue: "#2563b8",
  purple: "#7b3fa8",
  pink: "#e285ad",
  brown: "#7a4e2d",
};
