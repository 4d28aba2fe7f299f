// What every peer program written in JavaScript does, in a browser as in Node: commands in, events
// out, one JSON object each. README.md beside this file says which there are.
//
// drive({ RTCPeerConnection, configuration, highWater, tell, sha256, media }) returns what takes a
// command.
//   highWater         bytes that may be queued before sending waits
//   tell(event)       hands an event to the harness
//   media(connection, options, tell)    adds and takes tracks; see media.js
//   sha256(parts)     a promise of the hexadecimal digest of all parts, Uint8Arrays, in their order

"use strict";

globalThis.drive = function ({
  RTCPeerConnection, configuration, highWater, tell, sha256, media,
}) {
  let connection, channel, beside;
  let described = false; // candidates wait for the description they belong to
  const early = [];
  let arrived = []; // messages that no "expect" has taken yet
  let wanted = null;

  const seconds = () => performance.now() / 1000;

  function listen(opened) {
    channel = opened;
    channel.binaryType = "arraybuffer";
    channel.bufferedAmountLowThreshold = highWater / 2;
    channel.onmessage = ({ data }) => {
      if (typeof data === "string") {
        tell({ event: "text", text: data });
        return;
      }
      const bytes = data instanceof ArrayBuffer
        ? new Uint8Array(data)
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      arrived.push([seconds(), bytes]);
      enough();
    };
    channel.onclose = () => tell({ event: "closed" });
    const open = () => tell({
      event: "open",
      label: channel.label,
      protocol: channel.protocol,
      ordered: channel.ordered,
    });
    if (channel.readyState === "open") open();
    else channel.onopen = open;
  }

  function enough() {
    if (wanted === null || arrived.length < wanted) return;
    const taken = arrived.slice(0, wanted);
    arrived = arrived.slice(wanted);
    wanted = null;
    report("received", taken);
  }

  async function report(event, messages) {
    const parts = [];
    let bytes = 0;
    for (const [, message] of messages) {
      const length = new Uint8Array(4);
      new DataView(length.buffer).setUint32(0, message.length);
      parts.push(length, message);
      bytes += message.length;
    }
    const took = messages[messages.length - 1][0] - messages[0][0];
    tell({ event, count: messages.length, bytes, seconds: took, sha256: await sha256(parts) });
  }

  async function room() {
    while (channel.bufferedAmount > highWater && channel.readyState === "open") {
      await new Promise((resolve) => {
        channel.onbufferedamountlow = resolve;
        channel.bufferedAmountLow?.once(resolve); // as werift calls it
        setTimeout(resolve, 100);
      });
    }
  }

  async function send({ count, size, vary = false }) {
    const noise = new Uint8Array(size + 4096);
    for (let at = 0; at < noise.length; at += 65536) {
      globalThis.crypto.getRandomValues(noise.subarray(at, at + 65536));
    }
    const sent = [];
    for (let i = 0; i < count; i++) {
      const length = vary ? 1 + (i * 7919) % size : size;
      const message = noise.slice(i % 4096, i % 4096 + length);
      if (length >= 4) new DataView(message.buffer).setUint32(0, i);
      if (channel.bufferedAmount > highWater) await room();
      channel.send(message);
      sent.push([seconds(), message]);
    }
    await report("sent", sent);
  }

  async function start({ offerer, channel: options = {}, media: wanted }) {
    connection = new RTCPeerConnection(configuration);
    connection.onicecandidate = ({ candidate }) => {
      if (candidate && candidate.candidate) {
        tell({ kind: "candidate", candidate: candidate.candidate.replace(/^a=/, "") });
      } else {
        tell({ kind: "end" });
      }
    };
    connection.onconnectionstatechange = () =>
      tell({ event: "state", state: connection.connectionState });
    connection.ondatachannel = (event) => listen(event.channel);
    if (wanted) beside = await media(connection, wanted, tell);
    if (offerer) {
      const { label = "p2pxfer", ...init } = options;
      listen(connection.createDataChannel(label, init));
      await describe(await connection.createOffer());
    }
  }

  async function describe(description) {
    await connection.setLocalDescription(description);
    const { type, sdp } = connection.localDescription;
    tell({ kind: "description", type, sdp });
  }

  async function candidate(text) {
    if (!described) early.push(text);
    else await connection.addIceCandidate({ candidate: text, sdpMid: "0", sdpMLineIndex: 0 });
  }

  async function description({ type, sdp }) {
    await connection.setRemoteDescription({ type, sdp });
    described = true;
    for (const text of early.splice(0)) await candidate(text);
    if (type === "offer") await describe(await connection.createAnswer());
  }

  async function obey(command) {
    if (command.kind === "description") await description(command);
    else if (command.kind === "candidate") await candidate(command.candidate);
    else if (command.kind === "end") return;
    else if (command.do === "start") await start(command);
    else if (command.do === "offer") await describe(await connection.createOffer());
    else if (command.do === "send") await send(command);
    else if (command.do === "text") channel.send(command.text);
    else if (command.do === "close") channel.close();
    else if (command.do === "hangup") connection.close();
    else if (command.do === "another") connection.createDataChannel(command.label);
    else if (command.do === "expect") {
      wanted = command.count;
      enough();
    } else if (beside && beside[command.do]) await beside[command.do](command);
    else throw new Error(`no such command: ${JSON.stringify(command)}`);
  }

  let before = Promise.resolve(); // signals and commands are obeyed in turn, sending goes on beside
  return (command) => {
    const now = before.then(() => obey(command));
    before = (command.do === "send" ? before : now).catch(() => {});
    return now.catch((error) => tell({ event: "error", error: String(error) }));
  };
};
