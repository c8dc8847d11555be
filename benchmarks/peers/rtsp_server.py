"""An RTSP server that is not ours: GStreamer's, for the tests and the benchmark. Runs under the system's Python, which has its bindings.

`/usr/bin/python3 rtsp_server.py --port 8554 --launch "( videotestsrc ! x264enc ! rtph264pay name=pay0 )" [--user U --password P]`
serves the pipeline at `/main` and prints a line once it listens. Each client has a pipeline of its own.
"""

from __future__ import annotations

import argparse

PACKAGES = (
    "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
"""What has to be installed for it (Debian)."""


def main() -> None:
    """Serves until it is killed."""
    import gi  # noqa: PLC0415 - the tests read PACKAGES with another Python

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: PLC0415

    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--launch", required=True)
    parser.add_argument("--user")
    parser.add_argument("--password")
    options = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(options.launch)
    if options.user:
        viewer = GstRtspServer.RTSPToken()
        viewer.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(options.user, options.password), viewer)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string("viewer, media.factory.access=true, media.factory.construct=true")[0]
        )
    server.get_mount_points().add_factory("/main", factory)
    if not server.attach(None):
        raise SystemExit(f"port {options.port} cannot be had")
    print("listening", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
