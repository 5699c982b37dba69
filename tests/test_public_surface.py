"""Every name that programs were promised is where they look for it."""

import importlib
import inspect
import json
import tomllib
from pathlib import Path

import pytest

import snorky

ROOT = Path(__file__).parent.parent

SURFACE = """
snorky ServiceRegistry __version__ version
snorky.asgi ASGIClient ASGICometClient ASGIHandshake SnorkyASGI
snorky.backend SnorkyBackend SnorkyError SnorkyHTTPTransport
snorky.backend.django authorize_subscription publish_deltas subscribable
snorky.brokers Broker BrokerUnavailable Entry Log Position PositionLost Retention
snorky.brokers.memory MemoryBroker
snorky.brokers.postgres PostgresBroker
snorky.brokers.redis RedisBroker
snorky.client Client
snorky.identity Authenticated Handshake Refused origin_allowed
snorky.identity.jwt JWTAuthenticator
snorky.identity.web WebApplicationAuthenticator
snorky.limits Limits
snorky.log snorky_log
snorky.request_handlers.comet CometClient SnorkyCometHandler
snorky.request_handlers.http BackendHTTPHandler HTTPClient LiveHandler MetricsHandler \
 ReadyHandler
snorky.request_handlers.socketio SnorkySocketIOHandler SocketIOClient SocketIOHandler \
 SocketIOHandshake SocketIOServer
snorky.request_handlers.sockjs SnorkySockJSHandler SockJSClient
snorky.request_handlers.websocket SnorkyWebSocketHandler WebSocketClient
snorky.service_registry ServiceRegistry
snorky.services.base InvalidMessage RPCError RPCService Request Service format_call \
 rpc_asynchronous rpc_command
snorky.services.chat ChatBackend ChatService
snorky.services.cursors CursorsService
snorky.services.datasync BadQuery BroadcastDealer DataSyncBackend DataSyncService Dealer \
 DeletionDelta Delta FilterDealer InsertionDelta SimpleDealer Subscription SubscriptionItem \
 UpdateDelta filter_matches
snorky.services.datasync.backend DataSyncBackend
snorky.services.datasync.dealers BadQuery BroadcastDealer Dealer FilterDealer SimpleDealer \
 filter_matches
snorky.services.datasync.delta DeletionDelta Delta InsertionDelta UpdateDelta
snorky.services.datasync.frontend DataSyncService
snorky.services.datasync.subscription Subscription SubscriptionItem
snorky.services.events BadPath EventsBackend EventsService Part Receiver
snorky.services.identity FirstMessageRegistry IdentityBackend IdentityService
snorky.services.messaging MessagingService
snorky.services.pubsub ChannelOptions Conflate History PubSubBackend PubSubService
snorky.testing FakeClient async_call call
snorky.testing.brokers BrokerContract
snorky.testing.brokers.engine EngineContract
"""
PROMISED = [line.split() for line in SURFACE.strip().splitlines()]


def test_the_list_is_sorted_so_that_a_name_has_one_place() -> None:
    assert sorted(PROMISED) == PROMISED
    for _, *names in PROMISED:
        assert names == sorted(names)


@pytest.mark.parametrize(("module", "names"), [(module, names) for module, *names in PROMISED])
def test_the_promised_names_can_be_imported(module: str, names: list[str]) -> None:
    imported = importlib.import_module(module)

    missing = [name for name in names if not hasattr(imported, name)]
    assert missing == []
    for name in names:
        documented = getattr(imported, name)
        if inspect.isclass(documented) or inspect.isfunction(documented):
            assert documented.__module__.split(".")[0] == "snorky"


def test_the_package_itself_offers_exactly_its_promised_names() -> None:
    assert sorted(snorky.__all__) == PROMISED[0][1:]
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = snorky.Nothing


def test_star_import_gives_the_same_names() -> None:
    given: dict[str, object] = {}
    exec("from snorky import *", given)

    assert sorted(name for name in given if name != "__builtins__") == PROMISED[0][1:]


def test_there_is_one_version() -> None:
    """pyproject.toml has it from the package; npm wants its own copy, in its own spelling."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = json.loads((ROOT / "client" / "package.json").read_text(encoding="utf-8"))

    assert snorky.version == snorky.__version__
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "snorky.version"}
    assert package["version"] == snorky.version.replace(".dev", "-dev.")


@pytest.mark.parametrize(
    ("module", "name", "parameters"),
    [
        ("snorky", "ServiceRegistry", ["services"]),
        ("snorky", "ServiceRegistry.process_message_from", ["client", "msg"]),
        ("snorky", "ServiceRegistry.process_message_raw", ["client", "text"]),
        ("snorky", "ServiceRegistry.register_service", ["service"]),
        ("snorky", "ServiceRegistry.unregister_service", ["service"]),
        ("snorky", "ServiceRegistry.client_connected", ["client"]),
        ("snorky", "ServiceRegistry.client_disconnected", ["client"]),
        ("snorky.client", "Client.send", ["msg"]),
        ("snorky.services.base", "Service", ["name"]),
        ("snorky.services.base", "Service.process_message_from", ["client", "msg"]),
        ("snorky.services.base", "Service.send_message_to", ["client", "msg"]),
        ("snorky.services.base", "Service.client_connected", ["client"]),
        ("snorky.services.base", "Service.client_disconnected", ["client"]),
        ("snorky.services.base", "RPCService", ["name"]),
        ("snorky.services.base", "RPCService.process_request", ["request"]),
        ("snorky.services.base", "Request", ["service", "client", "msg"]),
        ("snorky.services.base", "Request.reply", ["data"]),
        ("snorky.services.base", "Request.error", ["message"]),
        ("snorky.services.base", "Request.format_call", []),
        ("snorky.services.base", "format_call", ["command", "params"]),
        ("snorky.services.pubsub", "PubSubService", ["name"]),
        ("snorky.services.pubsub", "PubSubService.can_publish", ["client", "channel"]),
        ("snorky.services.pubsub", "PubSubService.can_subscribe", ["client", "channel"]),
        ("snorky.services.pubsub", "PubSubService.do_publish", ["channel", "message"]),
        ("snorky.services.pubsub", "PubSubBackend", ["name", "frontend"]),
        (
            "snorky.request_handlers.websocket",
            "SnorkyWebSocketHandler.get_route",
            ["service_registry", "path", "options"],
        ),
        (
            "snorky.request_handlers.http",
            "BackendHTTPHandler.initialize",
            ["service_registry", "api_key"],
        ),
        ("snorky.request_handlers.http", "BackendHTTPHandler.check_api_key", ["api_key"]),
        (
            "snorky.request_handlers.sockjs",
            "SnorkySockJSHandler.get_routes",
            ["service_registry", "path"],
        ),
        ("snorky.request_handlers.sockjs", "SnorkySockJSHandler.on_open", ["info"]),
        ("snorky.request_handlers.sockjs", "SnorkySockJSHandler.on_message", ["message"]),
        ("snorky.request_handlers.sockjs", "SnorkySockJSHandler.on_close", []),
        ("snorky.request_handlers.sockjs", "SnorkySockJSHandler.send", ["message"]),
        ("snorky.request_handlers.sockjs", "SnorkySockJSHandler.close", []),
        ("snorky.services.messaging", "MessagingService", ["name"]),
        ("snorky.services.messaging", "MessagingService.is_name_allowed", ["client", "name"]),
        ("snorky.services.chat", "ChatService", ["name"]),
        ("snorky.services.chat", "ChatService.check_identity", ["client"]),
        ("snorky.services.chat", "ChatService.get_time", []),
        ("snorky.services.cursors", "CursorsService", ["name"]),
        ("snorky.services.cursors", "CursorsService.check_identity", ["client"]),
        ("snorky.services.cursors", "CursorsService.check_new_cursor_allowed", ["client"]),
        ("snorky.services.datasync", "DataSyncService", ["name", "dealers"]),
        ("snorky.services.datasync", "DataSyncService.register_dealer", ["dealer"]),
        ("snorky.services.datasync", "DataSyncService.unregister_dealer", ["dealer"]),
        (
            "snorky.services.datasync",
            "DataSyncBackend",
            ["name", "frontend", "timeout_interval", "timeout_factory"],
        ),
        ("snorky.services.datasync", "Dealer.add_subscription_item", ["item"]),
        ("snorky.services.datasync", "Dealer.remove_subscription_item", ["item"]),
        ("snorky.services.datasync", "Dealer.get_subscription_items_for_model", ["model"]),
        ("snorky.services.datasync", "Dealer.deliver_delta", ["delta"]),
        ("snorky.services.datasync", "SimpleDealer.get_key_for_model", ["model"]),
        ("snorky.services.datasync", "filter_matches", ["row", "filter"]),
        ("snorky.services.datasync", "InsertionDelta", ["model", "data"]),
        ("snorky.services.datasync", "UpdateDelta", ["model", "new_data", "old_data"]),
        ("snorky.services.datasync", "DeletionDelta", ["model", "data"]),
        (
            "snorky.services.datasync",
            "SubscriptionItem",
            ["dealer_name", "query", "subscription"],
        ),
        ("snorky.services.datasync", "Subscription", ["items", "service"]),
        ("snorky.services.datasync", "Subscription.deliver_delta", ["delta"]),
        ("snorky.backend", "SnorkyHTTPTransport", ["url", "key"]),
        ("snorky.backend", "SnorkyHTTPTransport.send", ["message", "json"]),
        ("snorky.backend", "SnorkyBackend", ["transport", "json"]),
        ("snorky.backend", "SnorkyBackend.call", ["service", "command", "params"]),
        ("snorky.backend", "SnorkyBackend.send", ["message"]),
        ("snorky.backend.django", "publish_deltas", ["deltas"]),
        ("snorky.backend.django", "authorize_subscription", ["items"]),
        ("snorky.backend.django", "subscribable", ["model"]),
    ],
)
def test_parameters_keep_their_names_and_their_order(
    module: str, name: str, parameters: list[str]
) -> None:
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    signature = [p for p in inspect.signature(found).parameters.values() if p.name != "self"]

    assert [parameter.name for parameter in signature][: len(parameters)] == parameters
    for added in signature[len(parameters) :]:
        assert added.default is not added.empty, f"old programs do not give {added.name}"
