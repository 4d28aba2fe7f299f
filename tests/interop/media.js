// Media beside the channel, in a browser: what its fake camera and microphone give, and what it is
// shown and played by the other side.
//
// media(connection, options, tell): options are sends, receives (true or not) and codec ("VP8", "H264").

"use strict";

globalThis.media = async function (connection, { sends, codec }, tell) {
  connection.ontrack = ({ track }) =>
    (track.kind === "video" ? watch : listenTo)(new MediaStream([track]), tell);
  if (!sends) return;
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { width: 640, height: 480 },
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  for (const track of stream.getTracks()) {
    const { sender } = connection.addTransceiver(track, { direction: "sendonly", streams: [stream] });
    if (track.kind === "video" && codec) {
      const { codecs } = RTCRtpSender.getCapabilities("video");
      const first = codecs.filter(({ mimeType }) => mimeType === `video/${codec}`);
      const rest = codecs.filter(({ mimeType }) => mimeType !== `video/${codec}`);
      connection.getTransceivers().find((t) => t.sender === sender)
        .setCodecPreferences([...first, ...rest]);
    }
  }
};

// Tells "picture" once: its size, and the colours in the middle of eight bars. What Chromium draws
// before the first real picture is black.
function watch(stream, tell) {
  const video = document.createElement("video");
  video.muted = true;
  video.srcObject = stream;
  video.requestVideoFrameCallback(function look() {
    const canvas = document.createElement("canvas");
    const { videoWidth: width, videoHeight: height } = video;
    Object.assign(canvas, { width, height });
    const drawing = canvas.getContext("2d");
    drawing.drawImage(video, 0, 0);
    const colours = [...Array(8).keys()].map((bar) =>
      [...drawing.getImageData((2 * bar + 1) * width / 16, height / 3, 1, 1).data.slice(0, 3)]);
    if (colours.flat().some((value) => value > 0)) tell({ event: "picture", width, height, colours });
    else video.requestVideoFrameCallback(look);
  });
  document.body.append(video); // one that is not in the page may not be drawn
  video.play();
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
