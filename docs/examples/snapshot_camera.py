"""A camera for those who have none: serves one picture to everyone who asks. Needs nothing but Python.

    python snapshot_camera.py PICTURE.jpg 8088

and http://127.0.0.1:8088/snapshot shows it. Replace the file, and the next one who asks gets the new picture.
"""

import argparse
import mimetypes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main():
    options = argparse.ArgumentParser(description="Serves one picture over HTTP on this machine.")
    options.add_argument("picture", type=Path, help="JPEG, PNG or BMP file")
    options.add_argument("port", type=int)
    given = options.parse_args()
    given.picture.read_bytes()  # a file that is not there is said now, not at the first trigger

    class Snapshot(BaseHTTPRequestHandler):
        """Every path is the picture, read anew."""

        def do_GET(self):
            try:
                picture = given.picture.read_bytes()
            except OSError as error:
                self.send_error(503, str(error))
                return
            self.send_response(200)
            self.send_header("Content-Type", mimetypes.guess_type(given.picture)[0] or "application/octet-stream")
            self.send_header("Content-Length", str(len(picture)))
            self.end_headers()
            self.wfile.write(picture)

        def log_message(self, *_):
            """Several pictures a second: no line for each."""

    print(f"http://127.0.0.1:{given.port}/snapshot shows {given.picture}; Ctrl-C ends it", flush=True)
    try:
        ThreadingHTTPServer(("127.0.0.1", given.port), Snapshot).serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
