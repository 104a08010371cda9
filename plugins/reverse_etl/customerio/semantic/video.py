"""The 17 video events; positions and lengths in seconds, bitrates in kbit/s. The schema requires no property.

Source: vendor OpenAPI of 2025 (components `video_playback_started` to `video_quality_updated`). `Playing` events are
heartbeats. `Video Quality Updated` is in the schemas but not in the vendor's list of names.
"""

from __future__ import annotations

from typing import Annotated

from reverse_etl.customerio.semantic.checks import (
    AdType,
    Boolean,
    Count,
    JsonObject,
    LoadType,
    Moment,
    Percent,
    Text,
    Texts,
)
from reverse_etl.customerio.semantic.record import Event


class _Player(Event):
    session_id: Text = None
    ad_asset_id: Text = None
    ad_pod_id: Text = None
    ad_type: AdType = None
    position: Count = None
    total_length: Count = None
    bitrate: Count = None
    framerate: Count = None
    video_player: Text = None
    sound: Percent = None
    full_screen: Boolean = None
    ad_enabled: Boolean = None
    quality: Text = None
    livestream: Boolean = None


class _Playback(_Player):
    content_asset_id: Text = None
    content_pod_id: Text = None


class _Content(Event):
    session_id: Text = None
    asset_id: Text = None
    pod_id: Text = None
    program: Text = None
    title: Text = None
    description: Text = None
    season: Text = None
    position: Count = None
    total_length: Count = None
    genre: Text = None
    publisher: Text = None
    channel: Text = None
    full_episode: Boolean = None
    livestream: Boolean = None
    airdate: Moment = None
    bitrate: Count = None
    framerate: Count = None
    keywords: Texts = None


class _Ad(Event):
    session_id: Text = None
    asset_id: Text = None
    pod_id: Text = None
    pod_position: Count = None
    pod_length: Count = None
    type: AdType = None
    title: Text = None
    position: Count = None
    total_length: Count = None
    publisher: Text = None
    load_type: LoadType = None
    content: JsonObject = None
    quartile: Count = None


class VideoPlaybackStarted(_Player):
    event = "Video Playback Started"
    content_asset_ids: Texts = None
    content_pod_ids: Texts = None


class VideoPlaybackInterrupted(_Playback):
    event = "Video Playback Interrupted"
    method: Text = None


class VideoQualityUpdated(Event):
    event = "Video Quality Updated"
    bitrate: Count = None
    framerate: Count = None
    startup_time: Annotated[Count, "properties.startupTime"] = None
    dropped_frames: Annotated[Count, "properties.droppedFrames"] = None


class VideoPlaybackPaused(_Playback):
    event = "Video Playback Paused"


class VideoPlaybackBufferStarted(_Playback):
    event = "Video Playback Buffer Started"


class VideoPlaybackBufferCompleted(_Playback):
    event = "Video Playback Buffer Completed"


class VideoPlaybackSeekStarted(_Playback):
    event = "Video Playback Seek Started"


class VideoPlaybackSeekCompleted(_Playback):
    event = "Video Playback Seek Completed"


class VideoPlaybackResumed(_Playback):
    event = "Video Playback Resumed"


class VideoPlaybackCompleted(_Playback):
    event = "Video Playback Completed"


class VideoPlaybackExited(_Playback):
    event = "Video Playback Exited"


class VideoContentStarted(_Content):
    event = "Video Content Started"


class VideoContentPlaying(_Content):
    event = "Video Content Playing"


class VideoContentCompleted(_Content):
    event = "Video Content Completed"


class VideoAdStarted(_Ad):
    event = "Video Ad Started"


class VideoAdPlaying(_Ad):
    event = "Video Ad Playing"


class VideoAdCompleted(_Ad):
    event = "Video Ad Completed"
