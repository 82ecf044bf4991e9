/**
 * Watching a camera by WHEP (draft-ietf-wish-whep), without any framework.
 *
 * One `WhepViewer` is one wish to see one stream. It asks the hub for a session, offers SDP, renews the lease, counts decoded
 * frames, and comes back with growing pauses when anything breaks, until `stop()`. What it shows is what is *decoded*: a
 * connection that says “connected” but brings no frame for 3 s is `late`, never `live`.
 */
export type TileState = "idle" | "connecting" | "live" | "late" | "dead";

/** What a viewer knows now. `code` names the reason when `dead`; `lateS` is the age of the last decoded frame. */
export interface ViewerReport {
  state: TileState;
  code: string;
  framesDecoded: number;
  lateS: number;
  firstFrameMs: number | null;
  width: number;
  height: number;
  retryInS: number;
}

export interface WhepSession {
  id: string;
  whep_url: string;
  token: string;
  lease_s: number;
  ice_servers: { urls: string[]; username?: string | null; credential?: string | null }[];
}

/** The hub, as far as a viewer needs it. Rejections carry a `code` where the hub gave one. */
export interface WhepHub {
  open(): Promise<WhepSession>;
  renew(sessionId: string): Promise<unknown>;
  close(sessionId: string): Promise<unknown>;
}

export const LATE_AFTER_MS = 3000;
const POLL_MS = 500;
const FIRST_FRAME_WITHIN_MS = 12_000;
const RECONNECT_AFTER_LATE_MS = 12_000;
/** With a TURN server its candidates are worth waiting for; without, the hub learns our address from our first check. */
const GATHER_WITH_SERVERS_MS = 1500;
const GATHER_ALONE_MS = 100;
/** Refusals that will not change by asking again soon. */
const SLOW_CODES = /^(consent\.|permission\.|purpose\.|session\.|camera\.unknown)/;

/** Pause before attempt `n` (from 1): 1, 2, 4, 8, 16, 30, 30 … s, ± 20 %; a lasting refusal waits 30 s at once. */
export function backoffMs(n: number, code: string, random: number): number {
  const base = SLOW_CODES.test(code) ? 30_000 : Math.min(30_000, 1000 * 2 ** (n - 1));
  return Math.round(base * (0.8 + 0.4 * random));
}

/** The state that a count of decoded frames stands for: pure, so that it can be tested. */
export function judge(
  now: number,
  startedAt: number,
  lastFrameAt: number | null,
): { state: "connecting" | "live" | "late"; reconnect: boolean } {
  if (lastFrameAt === null) return { state: "connecting", reconnect: now - startedAt > FIRST_FRAME_WITHIN_MS };
  const age = now - lastFrameAt;
  if (age <= LATE_AFTER_MS) return { state: "live", reconnect: false };
  return { state: "late", reconnect: age > RECONNECT_AFTER_LATE_MS };
}

export class WhepViewer {
  private readonly hub: WhepHub;
  private readonly video: HTMLVideoElement;
  private readonly tell: (report: ViewerReport) => void;
  private peer: RTCPeerConnection | null = null;
  private session: WhepSession | null = null;
  private resource: string | null = null;
  private timers: ReturnType<typeof setTimeout>[] = [];
  private generation = 0;
  private attempt = 0;
  private startedAt = 0;
  private lastFrameAt: number | null = null;
  private report: ViewerReport = {
    state: "idle",
    code: "",
    framesDecoded: 0,
    lateS: 0,
    firstFrameMs: null,
    width: 0,
    height: 0,
    retryInS: 0,
  };

  constructor(hub: WhepHub, video: HTMLVideoElement, tell: (report: ViewerReport) => void) {
    this.hub = hub;
    this.video = video;
    this.tell = tell;
  }

  /** Begins (or begins again, at once). */
  start(): void {
    this.attempt = 0;
    void this.connect();
  }

  /** Ends for good: peer closed, session given back. Safe to call twice. */
  stop(): void {
    this.generation += 1;
    this.release();
    this.say({ state: "idle", code: "", lateS: 0, retryInS: 0 });
  }

  private say(change: Partial<ViewerReport>): void {
    this.report = { ...this.report, ...change };
    this.tell(this.report);
  }

  private async connect(): Promise<void> {
    const generation = ++this.generation;
    this.release();
    this.attempt += 1;
    this.startedAt = performance.now();
    this.lastFrameAt = null;
    this.say({ state: "connecting", framesDecoded: 0, lateS: 0, firstFrameMs: null, retryInS: 0 });
    try {
      const session = await this.hub.open();
      if (generation !== this.generation) {
        await this.hub.close(session.id).catch(() => undefined);
        return;
      }
      this.session = session;
      this.keepLease(session, generation);
      await this.negotiate(session, generation);
      if (generation === this.generation) this.watch(generation);
    } catch (error) {
      // Boundary: whatever went wrong with this attempt is shown as its reason, and tried again.
      if (generation === this.generation) this.fail(codeOf(error));
    }
  }

  private async negotiate(session: WhepSession, generation: number): Promise<void> {
    const peer = new RTCPeerConnection({ iceServers: session.ice_servers.map(iceServer) });
    this.peer = peer;
    const transceiver = peer.addTransceiver("video", { direction: "recvonly" });
    preferH264(transceiver);
    peer.ontrack = (event): void => {
      this.video.srcObject = event.streams[0] ?? new MediaStream([event.track]);
      void this.video.play().catch(() => undefined); // autoplay of a muted video; a refusal shows as no frames
    };
    peer.onconnectionstatechange = (): void => {
      if (generation === this.generation && peer.connectionState === "failed") this.fail("live.connection_failed");
    };
    await peer.setLocalDescription(await peer.createOffer());
    await gathered(peer, session.ice_servers.length > 0 ? GATHER_WITH_SERVERS_MS : GATHER_ALONE_MS);
    const url = new URL(session.whep_url, location.href);
    const reply = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${session.token}` },
      body: peer.localDescription?.sdp ?? "",
    });
    if (!reply.ok) throw new WhepRefused(await refusalCode(reply));
    const place = reply.headers.get("Location");
    if (generation !== this.generation) return;
    this.resource = place ? new URL(place, url).href : url.href;
    await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
  }

  private keepLease(session: WhepSession, generation: number): void {
    const every = Math.max(1000, (session.lease_s * 1000) / 2);
    const renew = (): void => {
      if (generation !== this.generation) return;
      this.hub.renew(session.id).then(
        () => this.later(renew, every),
        (error: unknown) => {
          if (generation === this.generation) this.fail(codeOf(error));
        },
      );
    };
    this.later(renew, every);
  }

  /**
   * Twice a second. The clock runs whether or not statistics come: a browser that answers none (or refuses) for a connection that the
   * other side has ended must not leave the last picture green.
   */
  private watch(generation: number): void {
    let asking = false;
    const look = (): void => {
      const peer = this.peer;
      if (generation !== this.generation || !peer) return;
      if (!asking) {
        asking = true;
        videoStats(peer).then(
          (stats) => {
            asking = false;
            if (generation === this.generation) this.count(stats);
          },
          () => {
            asking = false; // no statistics: no new frame is known of
          },
        );
      }
      this.weigh();
      if (generation === this.generation) this.later(look, POLL_MS);
    };
    look();
  }

  private count(stats: { framesDecoded: number; width: number; height: number }): void {
    if (stats.framesDecoded <= this.report.framesDecoded) return;
    const now = performance.now();
    const first = this.lastFrameAt === null ? Math.round(now - this.startedAt) : this.report.firstFrameMs;
    this.lastFrameAt = now;
    this.attempt = 0;
    this.report = { ...this.report, ...stats, firstFrameMs: first };
  }

  private weigh(): void {
    const now = performance.now();
    const verdict = judge(now, this.startedAt, this.lastFrameAt);
    const lateS = this.lastFrameAt === null ? 0 : Math.floor((now - this.lastFrameAt) / 1000);
    this.say({ state: verdict.state, lateS, code: verdict.state === "live" ? "" : this.report.code });
    if (verdict.reconnect) this.fail(this.lastFrameAt === null ? "live.no_frames" : "live.stalled");
  }

  private fail(code: string): void {
    const generation = ++this.generation;
    this.release();
    const pause = backoffMs(Math.max(1, this.attempt), code, Math.random());
    this.say({ state: "dead", code, retryInS: Math.ceil(pause / 1000) });
    this.later(() => {
      if (generation === this.generation) void this.connect();
    }, pause);
  }

  private later(act: () => void, ms: number): void {
    this.timers.push(setTimeout(act, ms));
    if (this.timers.length > 64) this.timers.splice(0, 32);
  }

  private release(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = [];
    this.peer?.close();
    this.peer = null;
    this.video.srcObject = null; // a frozen last frame must not pass for a live one
    const { session, resource } = this;
    this.session = null;
    this.resource = null;
    if (!session) return;
    // Both are only politeness: the lease ends the session anyway.
    if (resource) {
      void fetch(resource, {
        method: "DELETE",
        headers: { Authorization: `Bearer ${session.token}` },
        keepalive: true,
      }).catch(() => undefined);
    }
    void this.hub.close(session.id).catch(() => undefined);
  }
}

/** The hub's WHEP endpoint said no. */
export class WhepRefused extends Error {
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

function codeOf(error: unknown): string {
  if (typeof error === "object" && error !== null && "code" in error && typeof error.code === "string") {
    return error.code;
  }
  return "live.connection_failed";
}

async function refusalCode(reply: Response): Promise<string> {
  try {
    const body = (await reply.json()) as { code?: unknown };
    if (typeof body.code === "string") return body.code;
  } catch {
    // not a problem body: the status is all there is
  }
  return `http.${reply.status}`;
}

function iceServer(server: WhepSession["ice_servers"][number]): RTCIceServer {
  const out: RTCIceServer = { urls: server.urls };
  if (server.username) out.username = server.username;
  if (server.credential) out.credential = server.credential;
  return out;
}

function preferH264(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const wanted = codecs.filter((codec) => codec.mimeType.toLowerCase() === "video/h264");
  const helpers = codecs.filter((codec) => /\/(rtx|red|ulpfec)$/i.test(codec.mimeType));
  if (wanted.length > 0) transceiver.setCodecPreferences([...wanted, ...helpers]);
}

/** Resolves when all ICE candidates are in the description, or after `mostMs` with those that are. */
function gathered(peer: RTCPeerConnection, mostMs: number): Promise<void> {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, mostMs);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState === "complete") {
        clearTimeout(timer);
        resolve();
      }
    });
  });
}

async function videoStats(peer: RTCPeerConnection): Promise<{ framesDecoded: number; width: number; height: number }> {
  const out = { framesDecoded: 0, width: 0, height: 0 };
  for (const entry of (await peer.getStats()).values() as Iterable<Record<string, unknown>>) {
    if (entry.type === "inbound-rtp" && entry.kind === "video") {
      out.framesDecoded = Number(entry.framesDecoded ?? 0);
      out.width = Number(entry.frameWidth ?? 0);
      out.height = Number(entry.frameHeight ?? 0);
    }
  }
  return out;
}
