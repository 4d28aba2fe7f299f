// How the driver runs under Node: commands come on standard input, events go to standard output.

import { createHash, webcrypto } from "node:crypto";
import { createInterface } from "node:readline";
import "./driver.js";

globalThis.crypto ??= webcrypto; // no global before Node 19

export function run(RTCPeerConnection, configuration, highWater = 1 << 20) {
  const hear = globalThis.drive({
    RTCPeerConnection,
    configuration,
    highWater,
    tell: (event) => process.stdout.write(JSON.stringify(event) + "\n"),
    sha256: async (parts) => {
      const digest = createHash("sha256");
      for (const part of parts) digest.update(part);
      return digest.digest("hex");
    },
  });
  createInterface({ input: process.stdin })
    .on("line", (line) => hear(JSON.parse(line)))
    .on("close", () => process.exit(0));
}
