/** Short names for the API's shapes. All come from the hub's OpenAPI document (`npm run api`). */
import type { components, paths } from "./schema";

type S = components["schemas"];

export type AgentView = S["AgentView"];
export type AlarmView = S["AlarmView"];
export type AnalyticsWish = S["AnalyticsWish"];
export type Box = S["Box"];
export type CameraAdopt = S["CameraAdopt"];
export type CameraPatch = S["CameraPatch"];
export type CameraState = S["CameraHealth"]["state"];
export type CameraTimeline = S["CameraTimeline"];
export type CameraView = S["CameraView"];
export type ClipView = S["ClipView"];
export type ClockReading = S["ClockReading"];
export type CodeCreated = S["CodeCreated"];
export type CodeView = S["CodeView"];
export type ColourShare = S["ColourShare"];
export type Consent = S["Consent"];
export type ConsentAsk = S["ConsentAsk"];
export type Histogram = S["Histogram"];
export type Hours = S["Hours"];
export type IncidentNew = S["IncidentNew"];
export type IncidentPatch = S["IncidentPatch"];
export type IncidentView = S["IncidentView"];
export type LedgerEntryView = S["LedgerEntryView"];
export type LedgerVerdict = S["LedgerVerdict"];
export type LiveSession = S["LiveSession"];
export type MissingSpan = S["MissingSpan"];
export type ObjectClass = S["SightingHit"]["object_class"];
export type Colour = S["ColourShare"]["colour"];
export type Permission = S["SessionView"]["permissions"][number];
export type PlayView = S["PlayView"];
export type Position = S["Position"];
export type ProposedLink = S["ProposedLink"];
export type ProposedLinks = S["ProposedLinks"];
export type PurposeAsk = S["PurposeAsk"];
export type PurposeView = S["PurposeView"];
export type Reason = S["Reason"];
export type Role = S["UserView"]["role"];
export type SealVerdict = S["SealVerdict"];
export type SearchPage = S["SearchPage"];
export type SessionView = S["SessionView"];
export type SightingDetail = S["SightingDetail"];
export type SightingHit = S["SightingHit"];
/** What a player shows: the clip `clip_id`, for the sighting `id` (a `SightingHit` is one), or as a whole where no sighting has that id. */
export type Playable = Pick<SightingHit, "id" | "camera_name" | "start_at" | "clip_id" | "picture_url"> & {
  object_class: ObjectClass | null;
  best_box: Box | null;
  clock?: SightingHit["clock"];
};
export type SnapshotView = S["SnapshotView"];
export type StreamInfo = S["StreamInfo"];
export type StreamName = LiveSession["stream"];
export type TrajectoryPoint = S["TrajectoryPoint"];
export type UserCreated = S["UserCreated"];
export type UserNew = S["UserNew"];
export type UserPatch = S["UserPatch"];
export type UserView = S["UserView"];
export type Zone = S["Zone"];

/** The search filters as the API takes them: `area` is "lon,lat;lon,lat;…". */
export interface SearchQuery {
  from_at: string;
  to_at: string;
  camera_ids?: string[];
  classes?: ObjectClass[];
  colours?: Colour[];
  area?: string;
  zone?: string;
  min_duration_ms?: number;
  min_score?: number;
  q?: string;
}

/** What the ledger can be asked for by name. */
export type LedgerAction = NonNullable<NonNullable<paths["/api/v1/ledger"]["get"]["parameters"]["query"]>["action"]>;
