// werift: WebRTC in TypeScript alone.

import { RTCPeerConnection } from "werift";
import { run } from "./node.mjs";

const HIGH_WATER = 1 << 16; // each message that it has queued makes all the others dearer
run(RTCPeerConnection, { iceServers: [] }, HIGH_WATER);
