"""An internet of namespaces: hosts behind routers, and what is between these.

Nothing has a name outside of its own processes, so that runs beside one another never meet. The
internet is one switch, ``core``, which also is the machine that all servers run on. Packets to
addresses that nobody has vanish there, as they do elsewhere; a refusal would be an answer.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from tests.certificates import certificate
from tests.e2e.conftest import PATIENCE, Command, Machine
from tests.e2e.hosts import Host, Place

RENDEZVOUS, STUN, STUN_TOO, PROXY = "203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4"
RENDEZVOUS6, STUN6 = "2001:db8::1", "2001:db8::2"
NOWHERE = "203.0.113.254"  # where packets vanish
SECRET = "0123456789abcdef0123456789abcdef"
TURN_URLS = (
    f"turn:{STUN}",
    f"turn:{STUN}?transport=tcp",
    f"turns:{STUN}:443",
    f"turn:[{STUN6}]",
)

Kind = TypeVar("Kind", bound=Place)

# What comes unasked is dropped before it counts as a connection: else its port would be taken when
# a host behind wants it.
RULES = """
flush ruleset
table inet router {{
    set contacted {{ type ipv4_addr; flags dynamic; size 1024; }}
    map owners {{ type inet_service : ipv4_addr; flags dynamic; size 1024; }}
    chain back {{
        type nat hook prerouting priority dstnat
        iifname "wan" meta l4proto udp ip saddr @contacted {back}
    }}
    chain out {{
        type nat hook postrouting priority srcnat
        oifname "wan" meta nfproto ipv4 {how}
    }}
    chain in {{
        type filter hook input priority filter
        meta l4proto ipv6-icmp accept
        iifname "wan" ct state new drop
    }}
    chain through {{
        type filter hook forward priority filter
        {more}
        oifname "wan" meta l4proto udp update @contacted {{ ip daddr }}
        oifname "wan" meta l4proto udp update @owners {{ udp sport : ip saddr }}
        ct status dnat accept
        iifname "wan" ct state new drop
    }}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")  # what nginx keeps files of

UDP_BLOCKED = "meta l4proto udp drop"
WEB_ONLY = f'oifname "wan" ip daddr != {PROXY} meta l4proto tcp drop'  # but for the proxies


class Network(Place):
    """A place with a switch in it that others are plugged into."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets = 0
        self.ip("link add lan type bridge mcast_snooping 0", "link set lan up")
        forward = "echo 1 > net/ipv4/ip_forward; echo 1 > net/ipv6/conf/all/forwarding"
        subprocess.run([*self.inside, "sh", "-ec", forward], check=True, cwd="/proc/sys")

    def plug(self, place: Place, name: str, *commands: str) -> None:
        """Lay a cable to ``place``, where its end is called ``name``, and run ``ip`` there."""
        self._sockets += 1
        self.ip(
            f"link add s{self._sockets} type veth peer name {name} netns {place.pid}",
            f"link set s{self._sockets} master lan up",
        )
        place.ip(f"link set {name} up", *commands)


class Router(Network):
    """Translates for the hosts of its network, and lets in what they have asked for.

    Args:
        upstream: what it is plugged into.
        wan: its address there, with the length of the prefix.
        gateway: where it sends what it doesn't know.
        lan: the first three numbers of its network's addresses.
    """

    def __init__(self, upstream: Network, wan: str, gateway: str, lan: str) -> None:
        super().__init__()
        self.lan = lan
        upstream.plug(
            self,
            "wan",
            f"addr add {wan} dev wan",
            f"addr add {lan}.1/24 dev lan",
            *([vanishing("wan")] if gateway == NOWHERE else []),
            f"route add default via {gateway}",
        )

    def translate(self, kind: str, *rules: str) -> None:
        """Set up NAT anew. What is translated already stays so.

        Args:
            kind: in the words of RFC 4787 ``cone`` maps endpoint-independently and filters by
                address, ``restricted`` maps as that does and filters by address and port,
                ``symmetric`` does both by address and port.
            rules: more of them for what is forwarded, before the usual ones.
        """
        self.nft(
            RULES.format(
                how="masquerade fully-random" if kind == "symmetric" else "masquerade",
                back="dnat ip to udp dport map @owners" if kind == "cone" else "continue",
                more="\n".join(rules),
            )
        )

    def forget(self) -> None:
        """Lose all that was translated, as a router that is started again does."""
        subprocess.run([*self.inside, "conntrack", "-F"], check=True, capture_output=True)


def vanishing(interface: str) -> str:
    """The command that lets what is sent to `NOWHERE` vanish without a word."""
    return f"neigh add {NOWHERE} lladdr 02:00:00:00:00:fe dev {interface} nud permanent"


class Internet:
    """The core, its servers, and all that is plugged in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: list[Place] = []
        self.hosts: list[Machine] = []
        self._servers: list[subprocess.Popen[bytes]] = []
        self._routers = 0
        self.core = self._keep(Network())
        self.core.ip(
            *(f"addr add {own}/24 dev lan" for own in (RENDEZVOUS, STUN, STUN_TOO, PROXY)),
            *(f"addr add {own}/64 dev lan nodad" for own in (RENDEZVOUS6, STUN6)),
            vanishing("lan"),
            f"route add default via {NOWHERE}",
        )
        self.certificate, self.key = certificate(path, RENDEZVOUS, RENDEZVOUS6, STUN)
        (path / "core").mkdir()
        self.machine = Machine(path / "core", self.core.inside)
        self.hosts.append(self.machine)

    # What is plugged in

    def router(self, kind: str = "cone", *rules: str, double: bool = False) -> Router:
        """A router at the core; ``double``: it is behind another one, its provider's."""
        self._routers += 1
        number = self._routers
        wan, lan = f"203.0.113.{10 * number}/24", f"10.{number}.0"
        upstream, gateway = self.core, NOWHERE
        if double:
            carrier = self._keep(Router(upstream, wan, gateway, f"100.64.{number}"))
            carrier.translate("cone")
            upstream, wan, gateway = carrier, f"100.64.{number}.2/24", f"100.64.{number}.1"
        router = self._keep(Router(upstream, wan, gateway, lan))
        router.translate(kind, *rules)
        return router

    def give_ipv6(self, router: Router) -> None:
        """Let the hosts behind a router have addresses that need no translation."""
        number = router.lan.split(".")[1]
        router.ip(
            f"addr add 2001:db8::{number}0/64 dev wan nodad",
            f"addr add 2001:db8:{number}::1/64 dev lan nodad",
            f"route add default via {RENDEZVOUS6}",
        )
        self.core.ip(f"route add 2001:db8:{number}::/64 via 2001:db8::{number}0")

    def host(self, router: Router, name: str, *, v4: bool = True, v6: bool = False) -> Host:
        """A host behind a router, which knows the rendezvous."""
        place = self._keep(Place())
        number = len(self.hosts) + 1
        address, prefix = f"{router.lan}.{number}", f"2001:db8:{router.lan.split('.')[1]}:"
        commands = []
        if v4:
            commands += [f"addr add {address}/24 dev eth0", f"route add default via {router.lan}.1"]
        if v6:
            commands += [f"addr add {prefix}:{number}/64 dev eth0 nodad"]
            commands += [f"route add default via {prefix}:1"]
        router.plug(place, "eth0", *commands)
        host = Host(self.path / name, place, address)
        host.env["SSL_CERT_FILE"] = str(self.certificate)
        host.env["P2PXFER_RENDEZVOUS"] = f"http://{RENDEZVOUS}:8765"
        self.hosts.append(host)
        return host

    # Servers

    def serve(self, *words: str, host: str = RENDEZVOUS, servers: bool = True) -> Command:
        """A rendezvous, which names the STUN and TURN servers unless told not to."""
        secret = self.path / "secret"
        secret.touch(0o600)
        secret.write_text(SECRET)
        named = [f"--stun-url=stun:{STUN}", f"--stun-url=stun:[{STUN6}]"]
        named += [*(f"--turn-url={url}" for url in TURN_URLS), f"--turn-secret-file={secret}"]
        server = self.machine.run("serve", "--host", host, *(named if servers else []), *words)
        server.error_line(b"-r http")
        return server

    def turn(self) -> subprocess.Popen[bytes]:
        """A coturn that speaks UDP, TCP and TLS, and answers as RFC 5780 says."""
        words = ["turnserver", "-n", "--no-cli", "--realm", "test", "--log-file", "stdout"]
        words += ["--userdb", str(self.path / "turn.db"), "--pidfile", str(self.path / "turn.pid")]
        words += ["--use-auth-secret", "--static-auth-secret", SECRET, "--no-dtls"]
        words += ["--cert", str(self.certificate), "--pkey", str(self.key)]
        words += ["--tls-listening-port", "443", "-L", STUN, "-L", STUN_TOO, "-L", STUN6]
        words += ["--min-port", "50000", "--max-port", "50999"]
        return self._start(words, (STUN, 3478), (STUN, 443))

    def nginx(self) -> None:
        """A web server with TLS before the rendezvous on 127.0.0.1, as the README has it."""
        folder = self.path / "nginx"
        folder.mkdir()
        (folder / "nginx.conf").write_text(f"""
            daemon off; pid {folder}/pid; error_log {folder}/error.log; user root;
            master_process off;
            events {{}}
            http {{
                access_log off;
                {" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in TEMPORARY)}
                server {{
                    listen {RENDEZVOUS}:443 ssl; listen [{RENDEZVOUS6}]:443 ssl;
                    ssl_certificate {self.certificate}; ssl_certificate_key {self.key};
                    location / {{
                        proxy_pass http://127.0.0.1:8765;
                        proxy_http_version 1.1;
                        proxy_set_header Upgrade $http_upgrade;
                        proxy_set_header Connection "upgrade";
                        proxy_set_header Host $host;
                        proxy_set_header X-Forwarded-For $remote_addr;
                    }}
                }}
            }}
        """)
        words = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self._start(words, (RENDEZVOUS, 443))

    def web_proxy(self) -> str:
        """A web proxy; its URL."""
        settings = self.path / "tinyproxy.conf"
        settings.write_text(f"Listen {PROXY}\nPort 3128\nMaxClients 20\nDisableViaHeader Yes\n")
        self._start(["tinyproxy", "-d", "-c", str(settings)], (PROXY, 3128))
        return f"http://{PROXY}:3128"

    def socks_proxy(self) -> str:
        """A SOCKS proxy; its URL."""
        self._start(["microsocks", "-i", PROXY, "-p", "1080"], (PROXY, 1080))
        return f"socks5h://{PROXY}:1080"

    def close(self) -> None:
        """End everything."""
        for host in self.hosts:
            host.close()
        for server in self._servers:
            server.kill()
            server.wait()
        for place in reversed(self.places):
            place.close()

    def _keep(self, place: Kind) -> Kind:
        self.places.append(place)
        return place

    def _start(self, words: Sequence[str], *listening: tuple[str, int]) -> subprocess.Popen[bytes]:
        """Start a server at the core, and wait until it listens."""
        assert shutil.which(words[0]), f"{words[0]} is not installed: scripts/test does that"
        server = subprocess.Popen(
            [*self.core.inside, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._servers.append(server)
        late = time.monotonic() + PATIENCE
        for address, port in listening:
            ask = [*self.core.inside, "bash", "-c", f": </dev/tcp/{address}/{port}"]
            while subprocess.run(ask, capture_output=True, check=False).returncode:
                assert server.poll() is None, f"{words[0]} has ended"
                assert time.monotonic() < late, f"{words[0]} does not listen"
                time.sleep(0.05)
        return server
