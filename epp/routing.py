"""What the configuration amounts to while the picker runs, and how another one takes its place.

A changed file is loaded beside the configuration in force. If it is right, the next request is
decided by it; those that run finish as they began. Plugins whose type, name and parameters are the
same go on with what they know. If it is wrong, everything stays as it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path
from typing import Any

from epp.config.explain import explain, parameters
from epp.config.findings import ConfigError, Severity
from epp.config.load import LoadedConfig, load_config
from epp.core.endpoint import Endpoint
from epp.core.errors import StartError
from epp.core.plugin import REGISTRY, EndpointListener, Handle, PluginType
from epp.core.probe import Probe
from epp.core.request import InferenceRequest, RequestBody
from epp.datastore.store import Datastore
from epp.director import Director
from epp.filewatch import FileStates, changes, file_states
from epp.flags.options import Options
from epp.following import ResponseHooks
from epp.hooks import RequestHooks
from epp.own.limits import limited
from epp.own.loading import OwnPluginError, files_in, load_own
from epp.parsing import ParserChoice
from epp.scheduling.scheduler import Scheduler
from epp.settings import config_text
from epp.telemetry import logs

logger = logging.getLogger("setup")


class Routing:
    """The configuration in force and the director that decides by it.

    ``changed`` are called after each change, with this.

    Raises:
        StartError: the first configuration cannot be used.
    """

    def __init__(self, options: Options, datastore: Datastore, handle: Handle) -> None:
        self.changed: list[Callable[[Routing], None]] = []
        self._options = options
        self._datastore = datastore
        self._handle = handle
        self._own_files: FileStates = ()
        self._catalogue: Mapping[str, PluginType] = {}
        self._at_start = file_states(self._watched())
        self.config = self._load(None)
        self.director = self._direct(self.config)
        for listener in self.config.endpoint_listeners:
            self._listen(listener)
        handle.probe.config_loaded(True)

    async def follow(self) -> None:
        """Take over what changes in the files of the configuration, until cancelled."""
        async for _ in self._changes():
            self.reload()

    def reload(self) -> None:
        """Load the configuration again; one that is wrong changes nothing."""
        before, started = self.config, self._handle.clock.now()
        try:
            config = self._load(before)
            director = self._direct(config)
        except (Exception, SystemExit) as error:
            # A user's plugin may raise anything while it is made, and must not end the picker.
            text = str(error) if isinstance(error, StartError) else repr(error)
            self._handle.probe.config_loaded(False)
            logs.error(logger, "The configuration is wrong: the one before stays", error=text)
            return
        if config.discovery is not before.discovery:
            logs.warn(logger, "Another discovery takes effect with the next start only")
        self._warm(config)
        self._swap(config, director)
        self._handle.probe.config_loaded(True)
        logs.log(
            logger,
            0,
            "Took over the configuration",
            seconds=round(self._handle.clock.now() - started, 4),
            diff=_diff(before, config),
        )

    def describe_config(self) -> dict[str, Any]:
        """The effective configuration, for people who debug."""
        return {
            "effective": explain(self.config, comments=True),
            "findings": [str(finding) for finding in self.config.findings],
        }

    def describe_plugins(self) -> list[dict[str, Any]]:
        """Every plugin with its parameters and its state, as it describes itself."""
        return [
            {
                "name": entry.plugin.name,
                "type": entry.declared.name,
                "stability": entry.declared.stability,
                "origin": entry.declared.origin or "built in",
                "addedBecause": entry.origin,
                "parameters": parameters(entry.params),
                "state": _state_of(entry.plugin.describe),
            }
            for entry in self.config.entries.values()
        ]

    def _load(self, before: LoadedConfig | None) -> LoadedConfig:
        text, name = config_text(self._options)
        try:
            config = load_config(
                text,
                name,
                self._handle,
                os.environ,
                catalogue=self._types(),
                allow_experimental=self._options.allow_experimental_plugins,
                before=before,
            )
        except (ConfigError, OwnPluginError) as error:
            raise StartError(str(error)) from None
        for finding in config.findings:
            report = logger.warning if finding.severity is Severity.WARNING else logger.info
            report(str(finding))
        if before is None:
            for notice in config.environment_notices:
                logger.info(notice)
            logs.log(logger, 0, "Loaded configuration", source=name)
        return config

    def _types(self) -> Mapping[str, PluginType]:
        """The plugin types there are; own ones are the same as before if no file has changed.

        Raises:
            OwnPluginError: a file is wrong.
        """
        options = self._options
        states = file_states(files_in(options.plugin_dir))
        if not self._catalogue or states != self._own_files:
            self._catalogue = limited(
                load_own(options.plugin_dir, REGISTRY),
                options.plugin_budget_seconds,
                options.plugin_hard_limit_seconds,
            )
            self._own_files = states
        return self._catalogue

    def _direct(self, config: LoadedConfig) -> Director:
        options = self._options
        return make_director(
            config,
            self._datastore,
            self._handle,
            honour_subset=not options.disable_endpoint_subset_filter,
            emit_scores=options.emit_endpoint_scores,
        )

    def _warm(self, config: LoadedConfig) -> None:
        """Schedule once, so that what is built at its first use is there; nobody counts that."""
        endpoints = self._datastore.candidates()
        if not endpoints:
            return
        probe = Probe()
        profiles = [plan.build(probe) for plan in config.profiles]
        request = InferenceRequest(
            request_id="warm-up", headers={}, body=RequestBody(model="", prompt="")
        )
        with suppress(Exception):
            Scheduler(config.scheduler.handler, profiles, probe).schedule(request, endpoints)

    def _swap(self, config: LoadedConfig, director: Director) -> None:
        old, new = self.config.endpoint_listeners, config.endpoint_listeners
        for listener in _without(new, old):
            self._listen(listener)
        self.config = config
        self.director = director
        for callback in self.changed:
            callback(self)
        for listener in _without(old, new):
            self._datastore.unsubscribe(added=_ignore, removed=listener.endpoint_removed)

    def _listen(self, listener: EndpointListener) -> None:
        self._datastore.subscribe(added=_ignore, removed=listener.endpoint_removed)

    def _changes(self) -> AsyncIterator[None]:
        return changes(self._watched, since=self._at_start, settle=True)

    def _watched(self) -> list[Path]:
        config = [Path(self._options.config_file)] if self._options.config_file else []
        return [*config, *files_in(self._options.plugin_dir)]


def make_director(
    config: LoadedConfig,
    datastore: Datastore,
    handle: Handle,
    *,
    honour_subset: bool = True,
    emit_scores: bool = False,
) -> Director:
    """A director that decides as the configuration says."""
    probe, plugins = handle.probe, config.plugins
    return Director(
        parsing=ParserChoice(config.parsers),
        scheduler=config.scheduler,
        datastore=datastore,
        hooks=RequestHooks(plugins, config.producers, config.saturation, probe),
        responses=ResponseHooks(plugins, probe),
        probe=probe,
        random=handle.random,
        honour_subset=honour_subset,
        emit_scores=emit_scores,
    )


def _without(
    listeners: Sequence[EndpointListener], others: Sequence[EndpointListener]
) -> list[EndpointListener]:
    return [one for one in listeners if not any(one is other for other in others)]


def _state_of(describe: Callable[[], Any]) -> Any:
    try:
        return dict(describe())
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _diff(before: LoadedConfig, after: LoadedConfig) -> list[str]:
    """The lines of the effective configuration that went (-) and came (+)."""
    old, new = (explain(config, comments=False).splitlines() for config in (before, after))
    lines = list(unified_diff(old, new, lineterm="", n=1))[2:]
    return [line for line in lines if not line.startswith("@@")]


def _ignore(_endpoint: Endpoint) -> None:
    """Nothing to do."""
