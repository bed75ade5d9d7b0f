"""One simulated model server: its adapters, slots, KV cache and metrics; no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from uuid import NAMESPACE_URL, uuid5

import msgspec

from epp.core.clock import Clock
from epp.simulator.answers import Heading, Usage
from epp.simulator.errors import ApiError
from epp.simulator.failures import injected_failure
from epp.simulator.families import Family
from epp.simulator.generation import Generation, Job, Sleep
from epp.simulator.kvcache import KVCache, Reservation, block_hashes
from epp.simulator.latency import LatencyModel
from epp.simulator.metrics import Gauges, Metrics, fake_page
from epp.simulator.options import Mode, Options
from epp.simulator.requests import GenerationRequest, validate
from epp.simulator.slots import Slots
from epp.simulator.text import FinishReason, Text, echo, invent


class Identity(msgspec.Struct, frozen=True):
    """Who answers: goes into response headers where it is known."""

    port: int
    pod_name: str = ""
    namespace: str = ""

    def headers(self) -> dict[str, str]:
        """The headers of every generated answer."""
        headers = {}
        if self.pod_name:
            headers["x-inference-pod"] = self.pod_name
            headers["x-inference-port"] = str(self.port)
        if self.namespace:
            headers["x-inference-namespace"] = self.namespace
        return headers


class ModelServer:
    """The state behind one port."""

    def __init__(
        self,
        options: Options,
        identity: Identity,
        *,
        seed: int,
        clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.options = options
        self.identity = identity
        self.loras = {lora.name: lora.path for lora in options.lora_modules}
        self.is_sleeping = False
        self._clock = clock
        self._sleep = sleep
        self._id_prefix = f"{seed}-{identity.port}"
        self._random = Random(self._id_prefix)
        self._requests = 0
        self._latency = LatencyModel(options, self._random)
        self._cache = KVCache(options.kv_cache_size, options.block_size)
        self._metrics = Metrics(options)
        fake = options.fake_metrics
        self._fake_page = None if fake is None else fake_page(options, fake)
        self._slots = Slots(
            max_running=options.max_num_seqs,
            max_waiting=options.max_waiting_queue_length,
            max_loras=options.max_loras,
            on_lora_change=self._loras_changed,
        )
        self._loras_changed()

    def unix_seconds(self) -> int:
        """The time of day as answers carry it."""
        return int(self._clock.time_of_day().timestamp())

    def maybe_fail(self) -> None:
        """Refuse an unlucky request.

        Raises:
            ApiError: failure injection hit this one.
        """
        if self.options.failure_injection_rate:
            failure = injected_failure(self.options, self._random)
            if failure is not None:
                raise failure

    def accept(
        self, request: GenerationRequest, *, request_id: str = "", forces_threshold: bool = False
    ) -> Job:
        """Understand a request and decide what to answer.

        Raises:
            ApiError: it names an unknown model, or cannot be answered.
        """
        options, arrived_at = self.options, self._clock.now()
        lora = request.model if request.model in self.loras else None
        if lora is None and request.model not in options.aliases:
            raise ApiError(f"The model `{request.model}` does not exist.", status=404)
        prompt_tokens = request.prompt_tokens()
        validate(request, len(prompt_tokens), options.max_model_len)
        self._requests += 1
        return Job(
            request=request,
            id=request_id or str(uuid5(NAMESPACE_URL, f"{self._id_prefix}-{self._requests}")),
            created=self.unix_seconds(),
            lora=lora,
            prompt_tokens=prompt_tokens,
            text=self._write(request, len(prompt_tokens)),
            forces_cache_threshold=forces_threshold,
            arrived_at=arrived_at,
        )

    def heading(self, job: Job, prefix: str) -> Heading:
        """What the answer to a job begins with."""
        model = job.lora or self.options.aliases[0]
        return Heading(prefix + job.id, job.created, model, job.request.alternatives())

    @asynccontextmanager
    async def running(self, job: Job) -> AsyncIterator[Generation]:
        """Hold a slot and KV-cache blocks for a job, from its start until its answer is sent.

        Waits in the queue where no slot is free. A client that goes away counts as ``abort``.

        Raises:
            ApiError: the queue is full, or the prompt does not fit into the KV cache.
        """
        try:
            if await self._slots.take(job.lora):
                waited = self._clock.now() - job.arrived_at
                self._metrics.observe(Family.QUEUE_TIME, waited)
            reservation = None
            try:
                generation, reservation = self._start(job)
                yield generation
                generation.report()
            finally:
                if reservation is not None:
                    self._cache.finish(reservation)
                self._slots.give_back(job.lora)
        except (asyncio.CancelledError, ConnectionError):
            self._metrics.count_finished(FinishReason.ABORT)
            raise

    def fall_asleep(self) -> None:
        """Drop the KV cache; requests are still answered."""
        self.is_sleeping = True
        self._cache.sleep()

    def wake_up(self, tags: Sequence[str]) -> None:
        """End the sleep; the KV cache stays away when the tags are about something else."""
        self.is_sleeping = False
        if not tags or "kv_cache" in tags:
            self._cache.is_awake = True

    def metrics_page(self) -> bytes:
        """What ``/metrics`` answers."""
        if self._fake_page is not None:
            return self._fake_page
        usage = self._cache.usage_ratio
        return self._metrics.page(Gauges(self._slots.running, self._slots.waiting, usage))

    def _write(self, request: GenerationRequest, prompt_tokens: int) -> Text:
        if self.options.mode is Mode.ECHO:
            return echo(request.echoed_tokens(), request.limit)
        room = self.options.max_model_len - prompt_tokens
        is_endless = bool(request.ignore_eos)
        return invent(self._random, request.limit, room, ignore_eos=is_endless)

    def _start(self, job: Job) -> tuple[Generation, Reservation | None]:
        """Look up and store the prompt's blocks; the hits are those from before."""
        text, cached_tokens, reservation = job.text, 0, None
        if self.options.enable_kvcache:
            blocks = self._blocks(job)
            cached_tokens = self._cache.cached_tokens(blocks)
            if self._is_below_threshold(job, cached_tokens):
                text = Text((), FinishReason.CACHE_THRESHOLD)
            else:
                reservation = self._cache.start(blocks)
                self._metrics.prefix_queried_tokens += len(job.prompt_tokens)
                self._metrics.prefix_hit_tokens += cached_tokens
        if job.is_remote_decode and text is job.text:
            text = Text(text.tokens, FinishReason.REMOTE_DECODE)
        generation = Generation(
            job,
            text,
            cached_tokens=cached_tokens,
            latency=self._latency,
            slots=self._slots,
            metrics=self._metrics,
            clock=self._clock,
            sleep=self._sleep,
        )
        return generation, reservation

    def _blocks(self, job: Job) -> Sequence[bytes]:
        options = self.options
        return block_hashes(
            job.prompt_tokens,
            options.block_size,
            seed=options.hash_seed,
            model=job.lora or options.model,
        )

    def _is_below_threshold(self, job: Job, cached_tokens: int) -> bool:
        """Whether too little of the prompt is cached.

        Differs: measured before the prompt's own blocks are stored, else it would never be.
        """
        if job.forces_cache_threshold:
            return True
        threshold = job.request.cache_hit_threshold
        if threshold is None:
            threshold = self.options.global_cache_hit_threshold
        return cached_tokens < threshold * len(job.prompt_tokens)

    def _loras_changed(self) -> None:
        slots = self._slots
        now = self._clock.time_of_day().timestamp()
        self._metrics.loras_changed(slots.running_loras(), slots.waiting_loras(), now)


def usage_of(generation: Generation) -> Usage:
    """The token counts of an answer."""
    prompt, generated = len(generation.job.prompt_tokens), len(generation.tokens)
    return Usage(prompt, generated, prompt + generated)


def identities(options: Options, environment: Mapping[str, str]) -> list[Identity]:
    """Who is hosted: replicas are told apart by name, data-parallel ranks by port alone."""
    pod_name = environment.get("POD_NAME", "")
    namespace = environment.get("POD_NAMESPACE", "")
    ports = range(options.port, options.port + options.servers)
    if options.replicas == 1:
        return [Identity(port, pod_name, namespace) for port in ports]
    base = pod_name or "sim"
    return [Identity(port, f"{base}-{i}", namespace) for i, port in enumerate(ports)]
