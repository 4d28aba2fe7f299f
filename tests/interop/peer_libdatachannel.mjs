// libdatachannel, as node-datachannel binds it.

import { RTCPeerConnection } from "node-datachannel/polyfill";
import { run } from "./node.mjs";

run(RTCPeerConnection, { iceServers: [] });
