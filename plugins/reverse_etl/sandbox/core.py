"""The sandbox as one object: settings, API state, faults and counts, and what the admin interface does with them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reverse_etl.errors import ConfigurationError
from reverse_etl.sandbox.customerio.api import CustomerIoApi
from reverse_etl.sandbox.exchange import Api
from reverse_etl.sandbox.faults import FaultBook, FaultRule
from reverse_etl.sandbox.iterable.api import IterableApi
from reverse_etl.sandbox.persistence import load_state, save_state
from reverse_etl.sandbox.settings import Settings, checked
from reverse_etl.sandbox.stats import Stats


class Sandbox:
    """One emulated Iterable project beside one emulated Customer.io workspace.

    `state_file`, if given, is read here when it exists, and written by `save`. Raises ConfigurationError when it
    cannot be used.
    """

    def __init__(self, settings: Settings | None = None, state_file: Path | None = None) -> None:
        self._start_settings = settings or Settings()
        self._state_file = state_file
        self.settings = self._start_settings
        self.iterable = IterableApi(self.settings)
        self.customerio = CustomerIoApi(self.settings)
        self.apis: tuple[Api[Any], ...] = (self.iterable, self.customerio)
        self.faults = FaultBook()
        self.stats = Stats()
        if state_file is not None:
            _check_folder(state_file)
            if state_file.exists():
                load_state(self.iterable.state, self.customerio, state_file)

    def change_settings(self, patch: dict[str, object]) -> None:
        """Change some settings; raises ConfigurationError that names wrong ones, and then changes none."""
        before = self.settings.model_dump()
        inner = patch.get("customerio")
        if isinstance(inner, dict):
            patch = {**patch, "customerio": {**before["customerio"], **inner}}
        self._use(checked(Settings, {**before, **patch}))

    def replace_faults(self, rules: Iterable[object]) -> None:
        """Put these fault rules in force; raises ConfigurationError that names a wrong one, and then changes none."""
        built = []
        for number, rule in enumerate(rules):
            try:
                built.append(checked(FaultRule, rule))
            except ConfigurationError as error:
                raise ConfigurationError(f"rule {number}: {error}") from None
        self.faults.replace(built)

    def reset(self) -> None:
        """Empty the state and the counts, clear the faults, and take the settings of the start again."""
        self.iterable.state.clear()
        self.customerio.clear()
        self.faults.replace([])
        self.stats.reset()
        self._use(self._start_settings)

    def save(self) -> Path:
        """Write the state to its file; raises ConfigurationError when there is none or it cannot be written."""
        if self._state_file is None:
            raise ConfigurationError("the sandbox was started without --state, so there is no file to save to")
        save_state(self.iterable.state, self.customerio, self._state_file)
        return self._state_file

    @property
    def has_state_file(self) -> bool:
        """Whether there is a file to save to."""
        return self._state_file is not None

    def as_stats(self) -> dict[str, object]:
        """Return what is stored and what was requested, as counts."""
        return {**self.iterable.counts(), **self.stats.as_dict()}

    def _use(self, settings: Settings) -> None:
        self.settings = settings
        self.iterable.configure(settings)
        self.customerio.configure(settings)


def _check_folder(state_file: Path) -> None:
    """Refuse early what would fail only at the end, when there is a state to lose."""
    if not state_file.parent.is_dir():
        raise ConfigurationError(f"--state {state_file}: the folder {state_file.parent} does not exist; create it")
