"""What codes mean to the person at the box, and what to do about them."""

SENTENCES = {
    "enrolment.code_malformed": "This is no enrolment code. One stands on the hub's page: Agents, New code.",
    "enrolment.code_invalid": "The hub does not know this code. Ask for a new one (hub's page, Agents, New code).",
    "enrolment.code_expired": "It has run out: codes are good for ten minutes. Ask for a new one (hub's page, Agents, New code).",
    "enrolment.code_used": "This code has already been used. Ask for a new one (hub's page, Agents, New code).",
    "enrolment.key_known": "The hub already knows this box's key. Enrol with another --data folder.",
    "enrolment.proof_invalid": "The hub could not check this box's key. Enrol with another --data folder.",
    "enrolment.too_many": "Too many attempts from here. Wait a few minutes.",
    "enrolment.already": "This data folder is enrolled already. To start anew, use another --data folder.",
    "enrolment.missing": "This box is not enrolled yet. Run: qianshao-edge enroll --hub URL --code CODE",
    "enrolment.hub_url_invalid": "The hub's address should look like https://hub.example.org",
    "hub.unreachable": "The hub cannot be reached. Check the address (its page should open there in a browser) and the network.",
    "hub.answer_invalid": "What answers there is not a hub of this kind. Check the address: the one its page is opened at.",
    "hub.in_trouble": "The hub has trouble of its own. Try again in a few minutes.",
    "agent.already_running": "An agent already runs on this data folder.",
    "camera.unknown": "No such camera here. `qianshao-edge status` lists them.",
    "device.address_invalid": "An address looks like 192.168.1.64 or 192.168.1.64:8000",
    "device.no_password": "No password came. Type it when asked, or pass it with --password-stdin.",
    "device.unknown": "No such device here. `qianshao-edge device list` lists them.",
    "onvif.auth_failed": "The camera refuses this user name or password. Run `qianshao-edge device add` again.",
    "onvif.unreachable": "Nothing answers at this address. Is the camera on, and is this its ONVIF port? The agent keeps trying.",
    "onvif.bad_answer": "Is it on, is this its ONVIF port, and is ONVIF switched on in its settings?",
    "onvif.no_profile": "The camera offers no H.264 or H.265 stream. Choose one of them in its settings.",
    "onvif.bad_address": "An address looks like 192.168.1.64 or 192.168.1.64:8000",
    "device.not_asked": "It has not been asked yet.",
    "auth_failed": "The camera refuses this user name or password. Run `qianshao-edge device add` again.",
    "camera_offline": "The camera is away. Is it on, and in this network? The agent keeps trying.",
    "stream_stalled": "The camera has stopped sending. The agent keeps trying.",
    "stream_error": "The camera sends something that cannot be read. The agent keeps trying.",
    "disk_full": "The disk is full: nothing is recorded.",
    "slow_storage": "The disk is too slow: parts are not recorded.",
    "spool.full": "Too much waits for the hub: no more clips are cut until it is reachable.",
    "uplink.connected": "connected",
    "uplink.lost": "The hub was lost. What is sealed waits here; the agent keeps trying.",
    "uplink.unreachable": "The hub's message server cannot be reached. What is sealed waits here; the agent keeps trying.",
    "spool.newer": "A newer version of this program has used this folder. Update, then try again.",
    "spool.unreadable": "The data folder's database cannot be read.",
    "detector.loading": "The detector is being loaded; recording does not wait for it.",
    "detector.no_weights": "Detection is off: no weights. Recording and live go on. Name a folder with QIANSHAO_WEIGHTS.",
    "identity.unreadable": "The identity file of this data folder cannot be read.",
}


def in_words(code: str) -> str:
    """A code with its sentence, where there is one."""
    sentence = SENTENCES.get(code)
    return code if sentence is None else f"{sentence} [{code}]"
