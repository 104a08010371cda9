"""The seven events of a mobile app's life.

Source: vendor OpenAPI of 2025, components `app_installed` to `app_crashed`.
"""

from __future__ import annotations

from reverse_etl.customerio.semantic.checks import Boolean, Text
from reverse_etl.customerio.semantic.record import Event


class _Versioned(Event):
    version: Text = None
    build: Text = None


class ApplicationInstalled(_Versioned):
    event = "Application Installed"


class ApplicationUpdated(_Versioned):
    event = "Application Updated"
    previous_version: Text = None
    previous_build: Text = None


class ApplicationOpened(_Versioned):
    event = "Application Opened"
    from_background: Boolean = None
    url: Text = None


class ApplicationBackgrounded(Event):
    event = "Application Backgrounded"


class ApplicationForegrounded(Event):
    event = "Application Foregrounded"


class ApplicationUninstalled(Event):
    event = "Application Uninstalled"


class ApplicationCrashed(Event):
    event = "Application Crashed"
