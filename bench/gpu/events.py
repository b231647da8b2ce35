"""Time on a GPU's own clock, by CUDA events on the stream that the stages share."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns


class Stopwatch:
    """Times what runs between two moments: by events on a stream, or by the wall where there is no stream."""

    def __init__(self, gpu: int | None, stream: int | None) -> None:
        self.us = 0.0
        self._stream = ctypes.c_void_p(stream) if stream is not None else None
        if gpu is None or stream is None:
            return
        self._cuda = ctypes.CDLL("libcuda.so.1")
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(device), gpu)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._events = (ctypes.c_void_p(), ctypes.c_void_p())
        for event in self._events:
            self._call("cuEventCreate", ctypes.byref(event), 0)

    @property
    def on_device(self) -> bool:
        return self._stream is not None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sets `us` when it ends."""
        if self._stream is None:
            start_ns = perf_counter_ns()
            yield
            self.us = (perf_counter_ns() - start_ns) / 1000
            return
        before, after = self._events
        self._call("cuEventRecord", before, self._stream)
        yield
        self._call("cuEventRecord", after, self._stream)
        self._call("cuEventSynchronize", after)
        milliseconds = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(milliseconds), before, after)
        self.us = milliseconds.value * 1000

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name} failed with error {code}")
