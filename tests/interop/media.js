// Media beside the channel, in a browser: what its fake camera and microphone give, and what it is
// shown and played by the other side.
//
// media(connection, options, tell): options are sends, receives, wants (true or not) and codec ("VP8",
// "H264").
// It returns the commands that go with it, by their names.

"use strict";

globalThis.media = async function (connection, { sends, wants, codec }, tell) {
  const videos = [];
  connection.ontrack = ({ track }) => {
    const stream = new MediaStream([track]);
    if (track.kind === "video") videos.push(watch(stream, tell));
    else listenTo(stream, tell);
  };
  const own = []; // senders and their tracks
  const commands = {
    look: ({ dark }) => videos.forEach((look) => look(dark)),
    mute: ({ how }) => Promise.all(own.map(([sender, track]) => {
      track.enabled = how !== "disabled";
      return sender.replaceTrack(how === "nothing" ? null : track);
    })),
    more: () => connection.addTransceiver(red(), { direction: "sendonly" }),
    want: () => connection.addTransceiver("video", { direction: "recvonly" }),
    turn: ({ at, direction }) => { connection.getTransceivers()[at].direction = direction; },
    stop: ({ at }) => connection.getTransceivers()[at].stop(),
  };
  if (wants) connection.addTransceiver("video", { direction: "recvonly" });
  if (!sends) return commands;
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { width: 640, height: 480 },
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  for (const track of stream.getTracks()) {
    const { sender } = connection.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    own.push([sender, track]);
    if (track.kind === "video" && codec) {
      const { codecs } = RTCRtpSender.getCapabilities("video");
      const first = codecs.filter(({ mimeType }) => mimeType === `video/${codec}`);
      const rest = codecs.filter(({ mimeType }) => mimeType !== `video/${codec}`);
      connection.getTransceivers().find((t) => t.sender === sender)
        .setCodecPreferences([...first, ...rest]);
    }
  }
  return commands;
};

// A second camera: all red, and half as large.
function red() {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: 320, height: 240 });
  const drawing = canvas.getContext("2d");
  let bright = false; // what stays the same gives no frames
  setInterval(() => {
    bright = !bright;
    drawing.fillStyle = bright ? "#f00" : "#e00";
    drawing.fillRect(0, 0, 320, 240);
  }, 50);
  return canvas.captureStream().getVideoTracks()[0];
}

// Tells "picture" once: its size, and the colours in the middle of eight bars. What Chromium draws
// before the first real picture is black. What is returned has it told again: the next that is dark,
// as "dark", or is not.
function watch(stream, tell) {
  const video = document.createElement("video");
  video.muted = true;
  video.srcObject = stream;
  const look = (dark) => video.requestVideoFrameCallback(() => {
    const canvas = document.createElement("canvas");
    const { videoWidth: width, videoHeight: height } = video;
    Object.assign(canvas, { width, height });
    const drawing = canvas.getContext("2d");
    drawing.drawImage(video, 0, 0);
    const colours = [...Array(8).keys()].map((bar) =>
      [...drawing.getImageData((2 * bar + 1) * width / 16, height / 3, 1, 1).data.slice(0, 3)]);
    if (dark === colours.flat().every((value) => value < 8)) {
      tell({ event: dark ? "dark" : "picture", width, height, colours });
    } else look(dark);
  });
  look(false);
  document.body.append(video); // one that is not in the page may not be drawn
  video.play();
  return look;
}

// Tells "tone" once there is sound: its strongest frequency.
function listenTo(stream, tell) {
  const context = new AudioContext({ sampleRate: 48000 });
  const analyser = new AnalyserNode(context, { fftSize: 8192 });
  context.createMediaStreamSource(stream).connect(analyser);
  const player = document.createElement("audio"); // Chromium feeds no graph that nobody plays
  player.muted = true;
  player.srcObject = stream;
  player.play();
  const levels = new Float32Array(analyser.frequencyBinCount);
  const look = setInterval(() => {
    analyser.getFloatFrequencyData(levels);
    const loudest = levels.indexOf(Math.max(...levels));
    if (levels[loudest] < -40) return; // dB
    clearInterval(look);
    tell({ event: "tone", hertz: loudest * context.sampleRate / analyser.fftSize });
  }, 100);
}
