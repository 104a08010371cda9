"""E-mail, live chat, experiments and delivery reports.

Source: vendor OpenAPI of 2025 (components `email_event_*`, `live_chat_*`, `experiment_viewed`, `report_*`); the names
of the e-mail and chat events are those of its list. `email_id` is the only property they require. The schema of
`Report Content Event` requires `activityType` but defines `actionType`, which is the one that is sent.
"""

from __future__ import annotations

from typing import Annotated, Literal

from reverse_etl.customerio.semantic.checks import Count, Identifier, Text, Whole, one_of
from reverse_etl.customerio.semantic.record import Event

METRICS = ("delivered", "clicked", "converted", "opened")
ACTIONS = ("viewed_content", "clicked_content")


class _Email(Event):
    email_id: Identifier
    email_subject: Text = None
    campaign_id: Text = None
    campaign_name: Text = None
    email: Annotated[Text, "context.traits.email"] = None


class _SeenEmail(_Email):
    ip: Annotated[Text, "context.traits.ip"] = None
    user_agent: Annotated[Text, "context.traits.user_agent"] = None


class EmailDelivered(_Email):
    event = "Email Delivered"


class EmailBounced(_Email):
    event = "Email Bounced"


class EmailOpened(_SeenEmail):
    event = "Email Opened"


class EmailMarkedAsSpam(_SeenEmail):
    event = "Email Marked as Spam"


class EmailLinkClicked(_SeenEmail):
    event = "Email Link Clicked"
    link_id: Text = None
    link_url: Text = None


class EmailUnsubscribed(_SeenEmail):
    event = "Email Unsubscribed"
    list_id: Text = None
    list_name: Text = None


class _LiveChat(Event):
    agent_id: Text = None
    agent_name: Text = None
    agent_username: Text = None
    conversation_id: Text = None
    conversation_duration: Count = None
    message_id: Text = None


class LiveChatConversationStarted(_LiveChat):
    event = "Live Chat Conversation Started"


class LiveChatConversationEnded(_LiveChat):
    event = "Live Chat Conversation Ended"


class LiveChatMessageSent(_LiveChat):
    event = "Live Chat Message Sent"


class LiveChatMessageReceived(_LiveChat):
    event = "Live Chat Message Received"


class ExperimentViewed(Event):
    event = "Experiment Viewed"
    experiment_id: Text = None
    experiment_name: Text = None
    variation_id: Text = None
    variation_name: Text = None


class ReportDeliveryEvent(Event):
    event = "Report Delivery Event"
    delivery_id: Annotated[Identifier, "properties.deliveryId"]
    metric: Annotated[Literal["delivered", "clicked", "converted", "opened"], one_of(*METRICS)]
    recipient: Text = None
    reason: Text = None
    action_value: Annotated[Text, "properties.actionValue"] = None
    href: Text = None


class ReportContentEvent(Event):
    event = "Report Content Event"
    action_type: Annotated[Literal["viewed_content", "clicked_content"], one_of(*ACTIONS), "properties.actionType"]
    content_id: Annotated[Whole, "properties.contentId"] = None
    template_id: Annotated[Whole, "properties.templateId"] = None
