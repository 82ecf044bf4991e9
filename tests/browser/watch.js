// Runs inside the page (Playwright): signs in, opens a live session, watches over WHEP, measures.
async ({ camera, password, seconds }) => {
  const api = "/api/v1";
  const json = async (method, path, body, csrf) => {
    const response = await fetch(api + path, {
      method,
      headers: { "Content-Type": "application/json", ...(csrf ? { "X-CSRF-Token": csrf } : {}) },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${answer.code}`);
    return answer;
  };
  const { csrf_token: csrf } = await json("POST", "/session", { username: "jiankong", password });
  await json("PUT", "/session/purpose", { kind: "duty", note: "browser test" }, csrf);

  const asked = performance.now();
  const session = await json("POST", "/live/sessions", { camera_id: camera, stream: "sub" }, csrf);
  const opened = performance.now();
  const pc = new RTCPeerConnection({ iceServers: [] });
  pc.addTransceiver("video", { direction: "recvonly" });
  const video = document.createElement("video");
  video.muted = true;
  video.autoplay = true;
  video.playsInline = true;
  document.body.append(video);
  pc.ontrack = (event) => {
    video.srcObject = new MediaStream([event.track]);
    video.play();
  };
  const firstFrame = new Promise((resolve) => video.requestVideoFrameCallback(() => resolve(performance.now())));
  await pc.setLocalDescription(await pc.createOffer());
  const response = await fetch(session.whep_url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${session.token}` },
    body: pc.localDescription.sdp,
  });
  if (!response.ok) throw new Error(`whep: ${response.status} ${await response.text()}`);
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  const first = await Promise.race([firstFrame, new Promise((resolve) => setTimeout(() => resolve(null), 15000))]);
  const inbound = async () => [...(await pc.getStats()).values()].find((s) => s.type === "inbound-rtp") ?? {};
  const samples = [];
  for (let tick = 0; tick < seconds; tick++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const stats = await inbound();
    samples.push({ decoded: stats.framesDecoded, dropped: stats.framesDropped, lost: stats.packetsLost,
      freezes: stats.freezeCount, nacks: stats.nackCount, plis: stats.pliCount,
      delay_ms: Math.round((1000 * stats.jitterBufferDelay) / Math.max(1, stats.jitterBufferEmittedCount)) });
  }
  pc.close();
  return { first_frame_ms: first === null ? null : Math.round(first - asked), session_ms: Math.round(opened - asked),
    width: video.videoWidth, height: video.videoHeight, samples };
}
