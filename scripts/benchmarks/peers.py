"""The tools that others wrote, in an environment of their own, so that they don't mix with ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[2] / ".venv-bench"
PYTHON = HOME / "bin" / "python"
PACKAGES = (
    "aiortc>=1.16,<1.17",
    "uvloop>=0.22,<0.30",
    "pylibdatachannel>=0.2,<0.3",
    "magic-wormhole>=0.24,<0.30",
    "magic-wormhole-mailbox-server>=0.8,<1",
    "magic-wormhole-transit-relay>=0.5,<1",
)
COMMANDS = {
    "rsync": "rsync", "ssh": "openssh-client", "sshd": "openssh-server",
    "wormhole-william": "wormhole-william", "iperf3": "iperf3", "ip": "iproute2", "cc": "gcc",
    "chromium": "chromium",
}  # fmt: skip


def install() -> None:
    """Install what is missing; takes a minute, once."""
    missing = [package for name, package in COMMANDS.items() if not _found(name)]
    if missing:
        print("Installing", *missing, file=sys.stderr)
        for words in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", "-qq", *words], check=True, stdout=subprocess.DEVNULL)
    if not PYTHON.exists() or (HOME / "made-from").read_text() != str(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", HOME], check=True)
        subprocess.run([PYTHON, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (HOME / "made-from").write_text(str(PACKAGES))


def _found(name: str) -> bool:
    return shutil.which(name) is not None or Path("/usr/sbin", name).exists()
