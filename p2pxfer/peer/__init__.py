"""One WebRTC connection and its channel. Only here is aiortc known. Never signals by itself."""
