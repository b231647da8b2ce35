"""What the CUDA driver says of itself and of the cards that this process may use, without any CUDA package."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_DRIVER = "libcuda.so.1"
_NO_DEVICE = 100
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU that CUDA_VISIBLE_DEVICES lets this process see."""

    name: str
    total_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CudaDriver:
    """The driver and its cards, in CUDA's order."""

    cuda_version: tuple[int, int] | None
    """The newest CUDA that it runs."""
    cards: tuple[Card, ...]
    problem: str | None = None


def read_driver(library: str = _DRIVER) -> CudaDriver:
    """Asks the driver. This starts CUDA in the process, which a fork does not survive."""
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return CudaDriver(None, (), f"there is no CUDA driver: {library} cannot be loaded")
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    newest = (version.value // 1000, version.value % 1000 // 10)
    code = cuda.cuInit(0)
    if code == _NO_DEVICE:
        return CudaDriver(newest, (), "the CUDA driver sees no GPU (is CUDA_VISIBLE_DEVICES empty?)")
    if code != 0:
        return CudaDriver(newest, (), f"the CUDA driver does not start: {_error_text(cuda, code)}")
    count = ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    cards = tuple(_card(cuda, number) for number in range(count.value))
    return CudaDriver(newest, cards, None if cards else "the CUDA driver sees no GPU")


def free_bytes(gpu: int, library: str = _DRIVER) -> int:
    """Memory of a card that nobody holds at this moment. Raises OSError when the driver does not say."""
    cuda = ctypes.CDLL(library)
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()

    def call(name: str, *arguments: object) -> None:
        code = getattr(cuda, name)(*arguments)
        if code != 0:
            raise OSError(f"{name}: {_error_text(cuda, code)}")

    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), gpu)
    # The context that the CUDA runtime of onnxruntime and FAISS uses as well.
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    try:
        call("cuCtxPushCurrent_v2", context)
        try:
            call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        finally:
            call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
    finally:
        cuda.cuDevicePrimaryCtxRelease_v2(device)
    return free.value


def _card(cuda: ctypes.CDLL, number: int) -> Card:
    device = ctypes.c_int()
    cuda.cuDeviceGet(ctypes.byref(device), number)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    total = ctypes.c_size_t()
    cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
    parts = []
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        parts.append(value.value)
    return Card(name.value.decode(errors="replace"), total.value, (parts[0], parts[1]))


def _error_text(cuda: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(code, ctypes.byref(text))
    return f"{text.value.decode(errors='replace')} (error {code})" if text.value else f"error {code}"
