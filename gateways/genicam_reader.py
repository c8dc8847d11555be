"""A GigE Vision or USB3 Vision camera in its process: one thread receives frames, another binds them to parts.

Hardware trigger: every frame is received and bound by counters (`gateways.trigger_binding`). Software trigger: each question fires
one exposure, and its frame is known by its number (`gateways.software_binding`); after one that did not come, or that nobody asked
for, the acquisition is started anew.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

import cv2

from gateways.aravis import BAYER_8, RGB_8, AravisCamera, AravisError, RawFrame
from gateways.camera_child import Send
from gateways.camera_wire import Answer, Ask, Failure, Told, Triggered
from gateways.frame_queue import WAITING_FRAMES, Connected, FrameQueue
from gateways.picture_encoding import encoded, refuse_size
from gateways.picture_source import CaptureFailed, TooLate, refuse_late
from gateways.software_binding import Fits, SoftwareBinding, Stray
from gateways.stream_clock import StreamClock
from gateways.stream_watch import SILENT_TRIGGERS, StreamWatch
from gateways.trigger_binding import Bound, TriggerBinding, Unbound
from gateways.wanted_parts import WantedParts
from schemas.patience import pause_s
from schemas.plant import Camera, GenicamSource

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_PAUSE_S = 5.0
LOOK_EVERY_S = 0.01
CHECK_EVERY_S = 1.0
"""How often a silent camera is asked whether it is there: without a trigger, silence is normal."""
QUIET_S = 0.2
"""A camera that was stopped has sent what it had when no frame came for so long."""
DRAIN_AT_MOST_S = 1.0


class _Shown(NamedTuple):
    frame: RawFrame
    exposed_s: float


class _StreamDead(Exception):
    """Triggers have no frames, although the camera answers."""


class GenicamReader:
    """One camera; see `gateways.camera_child.Reader`."""

    def __init__(self, *, camera: Camera, source: GenicamSource, send: Send) -> None:
        self._camera = camera
        self._source = source
        self._send = send
        self._device: AravisCamera | None = None
        self._away = "it is being connected"
        self._questions: queue.SimpleQueue[Triggered | Ask] = queue.SimpleQueue()
        self._frames: FrameQueue[_Shown] = FrameQueue()
        self._exposures: SoftwareBinding[_Shown] = SoftwareBinding()
        self._binding: TriggerBinding[_Shown] = TriggerBinding(window_s=source.window_ms / 1000)
        self._wanted: WantedParts[Bound[_Shown] | Unbound] = WantedParts()
        answers_within_ms = source.timeout_ms if source.trigger == "software" else source.window_ms
        self._watch = StreamWatch(answers_within_s=answers_within_ms / 1000)

    def start(self) -> None:
        """Begins to connect."""
        work = self._bind if self._source.trigger == "hardware" else self._fire
        for loop in (self._receive, work):
            threading.Thread(target=loop, name=loop.__name__, daemon=True).start()

    def triggered(self, trigger: Triggered) -> None:
        """Takes note of a trigger: one of the wire's, for the gateway fires where somebody asks."""
        if self._source.trigger == "hardware":
            self._questions.put(trigger)

    def ask(self, ask: Ask) -> None:
        """Takes a question."""
        self._questions.put(ask)

    # --- the connection ----------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        for attempt in itertools.count(1):
            began_s = time.monotonic()
            try:
                self._receive_once()
            except AravisError as error:
                self._away = str(error)
                self._send(Told(what="camera_away", detail=f"{self._source.device}: {error}"))
            except _StreamDead as error:
                self._away = str(error)
                self._send(Told(what="camera_stalled", detail=f"{self._source.device}: {error}"))
            lived = time.monotonic() - began_s > LONGEST_PAUSE_S
            time.sleep(pause_s(1 if lived else attempt, longest_s=LONGEST_PAUSE_S))

    def _receive_once(self) -> None:
        device = AravisCamera(self._source.device)
        try:
            self._configure(device)
            device.start()
            clock = StreamClock()
            self._watch.begun()
            self._frames.begin()
            self._device = device
            checked_s = time.monotonic()
            while True:
                frame = device.next_frame(within_s=0.1)
                if self._watch.is_dead(now_s=time.monotonic()):
                    raise _StreamDead(
                        f"{SILENT_TRIGGERS} triggers in a row without a frame, although the camera answers: its stream does not "
                        "come here (address, firewall, cable), or the trigger does not reach it"
                    )
                if frame is not None:
                    self._watch.frame(received_s=frame.received_s)
                    exposed_s = clock.exposed_s(stamp_s=frame.stamp_s, received_s=frame.received_s)
                    if not self._frames.put(_Shown(frame, exposed_s)):
                        self._send(Told(what="camera_frame_lost", detail=f"{WAITING_FRAMES} frames wait already"))
                    checked_s = frame.received_s
                elif time.monotonic() - checked_s > CHECK_EVERY_S:
                    device.check()
                    checked_s = time.monotonic()
        finally:
            self._device = None
            device.close()

    def _configure(self, device: AravisCamera) -> None:
        source = self._source
        if source.pixel_format is not None:
            device.send_as(source.pixel_format)
        if source.exposure_time_us is not None:
            device.expose_for(source.exposure_time_us)
        if source.gain_db is not None:
            device.amplify(source.gain_db)
        device.trigger_by("Software" if source.trigger == "software" else source.trigger_source)

    # --- hardware trigger --------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        synchronised = False
        while True:
            self._take_frame()
            while not self._questions.empty():
                self._note(self._questions.get())
            for outcome in self._binding.outcomes(now_s=time.monotonic()):
                number = self._wanted.settled(outcome.part, outcome)
                if number is not None:
                    self._tell(number, outcome)
            if synchronised and not self._binding.synchronised:
                self._send(Told(what="camera_out_of_step", detail=self._binding.lost_because))
            synchronised = self._binding.synchronised

    def _note(self, message: Triggered | Ask) -> None:
        count, seen_s = message.trigger_count, message.seen_s
        if isinstance(message, Triggered):
            # no pair with a frame may be made of a trigger that was noticed late: it would look like that of another part
            timely = message.fresh and seen_s - message.at_s <= self._source.window_ms / 1000
            part = self._wanted.triggered(trigger_count=count, seen_s=seen_s, wanted=message.wanted)
            self._binding.trigger(part, trigger_count=count, seen_s=seen_s if timely else None)
            if timely:
                self._watch.triggered(seen_s=seen_s)
            return
        try:
            outcome = self._wanted.asked(message.number, trigger_count=count, seen_s=seen_s)
        except LookupError as error:
            self._fail(message.number, str(error))
            return
        if outcome is not None:
            self._tell(message.number, outcome)

    def _tell(self, number: int, outcome: Bound[_Shown] | Unbound) -> None:
        if isinstance(outcome, Bound):
            self._answer(number, outcome.shown)
        else:
            self._fail(number, outcome.why)

    def _take_frame(self) -> None:
        event = self._frames.get(within_s=LOOK_EVERY_S)
        if event is None:
            return
        if isinstance(event, Connected):
            self._binding.restart("the camera was connected anew")
            return
        whole = event if event.frame.pixels is not None else None
        if whole is None:
            self._send(
                Told(what="camera_frame_damaged", detail=f"frame id {event.frame.frame_id}: {event.frame.damage}")
            )
        self._binding.frame(event.frame.frame_id, whole, exposed_s=event.exposed_s)

    # --- software trigger --------------------------------------------------------------------------------------------

    def _fire(self) -> None:
        while True:
            ask = self._questions.get()
            assert isinstance(ask, Ask), "a trigger is noted where a wire exposes"
            try:
                self._answer(ask.number, self._exposed_for(ask))
            except TooLate as error:
                self._fail(ask.number, str(error), too_late=True)
            except (CaptureFailed, AravisError) as error:
                self._fail(ask.number, str(error))

    def _exposed_for(self, ask: Ask) -> _Shown:
        device = self._device
        ends_s = ask.at_s + self._source.timeout_ms / 1000
        if device is None:
            raise CaptureFailed(f"the camera is away: {self._away}")
        refuse_late(ask.at_s, within_ms=self._source.expose_within_ms, setting="expose_within_ms")
        self._take_strays()
        if not self._exposures.in_step:
            self._begin_anew(device)
            refuse_late(ask.at_s, within_ms=self._source.expose_within_ms, setting="expose_within_ms")
        fired_s = time.monotonic()
        self._watch.triggered(seen_s=fired_s)
        self._exposures.fired(at_s=fired_s)
        device.fire()
        while (left_s := ends_s - time.monotonic()) > 0:
            event = self._frames.get(within_s=left_s)
            if event is None:
                break
            found = self._bound(event)
            if isinstance(found, Fits):
                shown: _Shown = found.shown
                return shown
            if found is not None and found.ends_it:
                raise CaptureFailed(f"{found.why}; no picture of it is another part's")
        self._exposures.gave_up(f"no frame within {self._source.timeout_ms} ms of TriggerSoftware")
        raise CaptureFailed(self._exposures.out_of_step_because)

    def _bound(self, event: _Shown | Connected) -> Fits[_Shown] | Stray | None:
        """What the binding says to a frame; strays are told."""
        if isinstance(event, Connected):
            self._exposures.begun()
            return None
        found = self._exposures.frame(event.frame.frame_id, event, exposed_s=event.exposed_s)
        if isinstance(found, Stray):
            self._send(Told(what="camera_frame_stray", detail=found.why))
        return found

    def _take_strays(self) -> None:
        """Frames that came since the last firing was answered are nobody's."""
        while (event := self._frames.get(within_s=0)) is not None:
            self._bound(event)

    def _begin_anew(self, device: AravisCamera) -> None:
        """A new acquisition, once nothing of the one before comes any more."""
        device.stop()
        drained_s = time.monotonic() + DRAIN_AT_MOST_S
        while time.monotonic() < drained_s:
            event = self._frames.get(within_s=QUIET_S)
            if event is None:
                break
            self._bound(event)
        device.start()
        self._exposures.begun()

    # --- answers -----------------------------------------------------------------------------------------------------

    def _answer(self, number: int, shown: _Shown) -> None:
        frame = shown.frame
        taken_at_ns = time.time_ns() - int(1e9 * (time.monotonic() - shown.exposed_s))
        try:
            if frame.pixels is None:
                raise CaptureFailed(f"frame id {frame.frame_id} arrived damaged: {frame.damage}")
            refuse_size(frame.pixels.shape[1], frame.pixels.shape[0], camera=self._camera)
            image = encoded(_viewable(frame), camera=self._camera, jpeg_quality=self._source.jpeg_quality)
        except CaptureFailed as error:
            self._fail(number, str(error))
            return
        self._send(Answer(number=number, image=image, captured_at_ns=taken_at_ns))

    def _fail(self, number: int, why: str, *, too_late: bool = False) -> None:
        self._send(Failure(number=number, why=f"{self._source.device}: {why}", too_late=too_late))


def _viewable(frame: RawFrame) -> NDArray[np.uint8]:
    """uint8 [H, W] grey or [H, W, 3] BGR."""
    assert frame.pixels is not None
    if frame.pixel_format in BAYER_8:
        code: int = getattr(cv2, f"COLOR_Bayer{BAYER_8[frame.pixel_format]}2BGR")
        return cv2.cvtColor(frame.pixels, code)  # type: ignore[no-any-return]
    return frame.pixels[..., ::-1] if frame.pixel_format == RGB_8 else frame.pixels
