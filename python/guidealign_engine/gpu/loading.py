"""Puts a bundle's encoder, index and vectors on GPUs, as far as they fit, and says where each stage went."""

from __future__ import annotations

from guidealign_engine.bundle import Bundle
from guidealign_engine.config import RerankConfig, SearchConfig
from guidealign_engine.devices import Device, Spread, StageDevices
from guidealign_engine.gpu.driver import free_bytes
from guidealign_engine.gpu.encoder import CudaEncoder
from guidealign_engine.gpu.guard import CudaGuard
from guidealign_engine.gpu.index import GpuIndex, gpu_resources, stream_of
from guidealign_engine.gpu.libraries import load_libraries
from guidealign_engine.gpu.memory import vectors_fit
from guidealign_engine.gpu.rerank import GpuRerank
from guidealign_engine.gpu.sessions import Place, import_runtime
from guidealign_engine.gpu.stages import GpuStages
from guidealign_engine.index import CandidateIndex, import_faiss
from guidealign_engine.library import Library

_USUAL_K = 6


def load_gpu_stages(
    bundle: Bundle,
    library: Library,
    on_cpu: CandidateIndex,
    device: Device,
    *,
    spread: Spread,
    search: SearchConfig,
    rerank: RerankConfig,
) -> GpuStages:
    """The stages of a bundle on the GPUs of `device`, warmed up.

    Recording runs keeps other threads from allocating on the card, so engines are loaded before others of the process
    answer.

    Raises DeviceError when encoder or index cannot be there, naming sizes where there is too little memory.
    """
    load_libraries(int((getattr(import_runtime(), "cuda_version", "") or "0").split(".")[0]))
    faiss = import_faiss()
    first = device.gpus[0]
    guard = CudaGuard(str(device))
    with guard.turn():
        resources = gpu_resources(faiss, device.gpus)
        # One stream for all stages of one card: each finds what the one before wrote without the host waiting for it.
        place = Place("cuda", first, stream_of(faiss, resources[0], first))
        encoder = CudaEncoder.from_bundle(bundle, place=place)
        index = GpuIndex.from_bundle(
            bundle, library, on_cpu, device.gpus, resources=resources, spread=spread, config=search
        )
        exact, why_not = _exact_scores(library, rerank, place, device)
    notes = {"encode": "; ".join(encoder.notes), "rerank": why_not}
    stages = GpuStages(
        encoder=encoder,
        index=index,
        library=library,
        config=rerank,
        exact=exact,
        in_place=len(device.gpus) == 1,
        devices=StageDevices(
            encode=str(place),
            search=str(device),
            rerank=str(place) if exact else "cpu",
            notes={stage: note for stage, note in notes.items() if note},
        ),
        guard=guard,
    )
    stages.warm_up(max(search.pool_size, search.pool_per_k * _USUAL_K))
    return stages


def _exact_scores(library: Library, config: RerankConfig, place: Place, device: Device) -> tuple[GpuRerank | None, str]:
    """On the device, or None and the reason."""
    if len(device.gpus) > 1:
        return None, "candidates of several GPUs meet on the host"
    if not GpuRerank.computes(config):
        return None, f"fold {config.fold} is computed by the CPU core"
    size = library.vectors.nbytes + library.owners.nbytes * 4
    if not vectors_fit(size, free_bytes(place.number)):
        return None, f"the stored vectors, {size / 1e9:.2f} GB, do not fit beside the index"
    return GpuRerank(library, config, place), ""
