/**
 * Every call to the hub, one function each. Paths, parameters and answers are checked against the OpenAPI document.
 * All throw `Problem`.
 */
import createClient, { type FetchResponse } from "openapi-fetch";
import { Problem, problemFrom } from "./problem";
import type { paths } from "./schema";
import type * as T from "./types";

let csrfToken = "";
/** Called by the session store with each new session. */
export function useCsrfToken(token: string): void {
  csrfToken = token;
}

const http = createClient<paths>({ baseUrl: "", querySerializer: { array: { style: "form", explode: true } } });
http.use({
  onRequest({ request }) {
    if (request.method !== "GET" && csrfToken) request.headers.set("X-CSRF-Token", csrfToken);
    return request;
  },
});

// biome-ignore lint/suspicious/noExplicitAny: openapi-fetch's own constraint; the answer type is inferred exactly.
type Media = any;
async function take<R extends FetchResponse<Media, Media, Media>>(call: Promise<R>): Promise<NonNullable<R["data"]>> {
  let reply: R;
  try {
    reply = await call;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "network.unreachable", error instanceof Error ? error.message : "");
  }
  if (!reply.response.ok) throw problemFrom(reply.response.status, reply.error);
  return reply.data as NonNullable<R["data"]>;
}

const P = "/api/v1";

export const api = {
  // session
  session: () => take(http.GET(`${P}/session`)),
  signIn: (username: string, password: string) => take(http.POST(`${P}/session`, { body: { username, password } })),
  signOut: () => take(http.DELETE(`${P}/session`)),
  setPurpose: (body: T.PurposeAsk) => take(http.PUT(`${P}/session/purpose`, { body })),
  clearPurpose: () => take(http.DELETE(`${P}/session/purpose`)),
  patchOwn: (body: { locale?: "zh-CN" | "en"; password?: string; current_password?: string }) =>
    take(http.PATCH(`${P}/session/user`, { body })),

  // users
  users: () => take(http.GET(`${P}/users`)),
  createUser: (body: T.UserNew) => take(http.POST(`${P}/users`, { body })),
  patchUser: (user_id: string, body: T.UserPatch) =>
    take(http.PATCH(`${P}/users/{user_id}`, { params: { path: { user_id } }, body })),
  resetPassword: (user_id: string) =>
    take(http.POST(`${P}/users/{user_id}/password-reset`, { params: { path: { user_id } } })),

  // agents
  agents: () => take(http.GET(`${P}/agents`)),
  patchAgent: (agent_id: string, body: { name?: string; village?: string }) =>
    take(http.PATCH(`${P}/agents/{agent_id}`, { params: { path: { agent_id } }, body })),
  revokeAgent: (agent_id: string) => take(http.DELETE(`${P}/agents/{agent_id}`, { params: { path: { agent_id } } })),
  codes: () => take(http.GET(`${P}/enrolment-codes`)),
  createCode: (label: string, village: string) => take(http.POST(`${P}/enrolment-codes`, { body: { label, village } })),

  // cameras
  cameras: (adopted?: boolean) => take(http.GET(`${P}/cameras`, { params: { query: { adopted } } })),
  camera: (camera_id: string) => take(http.GET(`${P}/cameras/{camera_id}`, { params: { path: { camera_id } } })),
  patchCamera: (camera_id: string, body: T.CameraPatch) =>
    take(http.PATCH(`${P}/cameras/{camera_id}`, { params: { path: { camera_id } }, body })),
  adoptCamera: (camera_id: string, body: T.CameraAdopt) =>
    take(http.POST(`${P}/cameras/{camera_id}/adoption`, { params: { path: { camera_id } }, body })),
  retireCamera: (camera_id: string) =>
    take(http.DELETE(`${P}/cameras/{camera_id}`, { params: { path: { camera_id } } })),
  setConsent: (camera_id: string, body: T.ConsentAsk) =>
    take(http.PUT(`${P}/cameras/{camera_id}/consent`, { params: { path: { camera_id } }, body })),
  pause: (camera_id: string, until: string | null) =>
    take(http.POST(`${P}/cameras/{camera_id}/pause`, { params: { path: { camera_id } }, body: { until } })),
  resume: (camera_id: string) =>
    take(http.DELETE(`${P}/cameras/{camera_id}/pause`, { params: { path: { camera_id } } })),
  snapshot: (camera_id: string) =>
    take(http.POST(`${P}/cameras/{camera_id}/snapshot-view`, { params: { path: { camera_id } } })),
  timeline: (camera_id: string, from: string, to: string) =>
    take(http.GET(`${P}/cameras/{camera_id}/timeline`, { params: { path: { camera_id }, query: { from, to } } })),

  // search and clips
  search: (query: T.SearchQuery, cursor: string | null, signal?: AbortSignal) =>
    take(
      http.GET(`${P}/search/sightings`, {
        params: { query: { ...query, ...(cursor ? { cursor } : {}), limit: 40 } },
        signal,
      }),
    ),
  histogram: (query: T.SearchQuery, signal?: AbortSignal) =>
    take(http.GET(`${P}/search/histogram`, { params: { query }, signal })),
  sighting: (sighting_id: string, start_at: string) =>
    take(http.GET(`${P}/sightings/{sighting_id}`, { params: { path: { sighting_id }, query: { start_at } } })),
  clip: (clip_id: string) => take(http.GET(`${P}/clips/{clip_id}`, { params: { path: { clip_id } } })),
  clipSightings: (clip_id: string) =>
    take(http.GET(`${P}/clips/{clip_id}/sightings`, { params: { path: { clip_id } } })),
  play: (clip_id: string) => take(http.POST(`${P}/clips/{clip_id}/play`, { params: { path: { clip_id } } })),

  // live
  openLive: (camera_id: string, stream: T.StreamName) =>
    take(http.POST(`${P}/live/sessions`, { body: { camera_id, stream } })),
  renewLive: (session_id: string) =>
    take(http.POST(`${P}/live/sessions/{session_id}/lease`, { params: { path: { session_id } } })),
  closeLive: (session_id: string) =>
    take(http.DELETE(`${P}/live/sessions/{session_id}`, { params: { path: { session_id } } })),

  // incidents
  incidents: (status?: "open" | "closed", cursor?: string) =>
    take(
      http.GET(`${P}/incidents`, {
        params: { query: { limit: 50, ...(status ? { status } : {}), ...(cursor ? { cursor } : {}) } },
      }),
    ),
  createIncident: (body: T.IncidentNew) => take(http.POST(`${P}/incidents`, { body })),
  incident: (incident_id: string) =>
    take(http.GET(`${P}/incidents/{incident_id}`, { params: { path: { incident_id } } })),
  patchIncident: (incident_id: string, body: T.IncidentPatch) =>
    take(http.PATCH(`${P}/incidents/{incident_id}`, { params: { path: { incident_id } }, body })),
  links: (incident_id: string) =>
    take(http.GET(`${P}/incidents/{incident_id}/links`, { params: { path: { incident_id } } })),
  decideLink: (
    incident_id: string,
    target_kind: "clip" | "sighting",
    target_id: string,
    decision: "confirmed" | "rejected",
    start_at?: string,
  ) =>
    take(
      http.PUT(`${P}/incidents/{incident_id}/links/{target_kind}/{target_id}`, {
        params: { path: { incident_id, target_kind, target_id }, query: start_at ? { start_at } : {} },
        body: { decision },
      }),
    ),
  undoLink: (incident_id: string, target_kind: "clip" | "sighting", target_id: string) =>
    take(
      http.DELETE(`${P}/incidents/{incident_id}/links/{target_kind}/{target_id}`, {
        params: { path: { incident_id, target_kind, target_id } },
      }),
    ),

  // alarms, ledger, map
  alarms: (open_only: boolean) => take(http.GET(`${P}/alarms`, { params: { query: { open_only, limit: 50 } } })),
  acknowledge: (alarm_id: string) =>
    take(http.POST(`${P}/alarms/{alarm_id}/acknowledgement`, { params: { path: { alarm_id } } })),
  ledger: (query: { action?: T.LedgerAction; camera_id?: string; before_seq?: number }) =>
    take(http.GET(`${P}/ledger`, { params: { query: { ...query, limit: 50 } } })),
  verifyLedger: () => take(http.GET(`${P}/ledger/verification`)),
  basemap: async (): Promise<GeoJSON.FeatureCollection> =>
    (await take(http.GET(`${P}/basemap`))) as unknown as GeoJSON.FeatureCollection,
};
