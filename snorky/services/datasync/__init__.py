"""DataSync: views in browsers that stay equal to queries on the application's database."""

from snorky.deltas import DeletionDelta, Delta, InsertionDelta, Reset, UpdateDelta
from snorky.services.datasync.backend import DataSyncBackend
from snorky.services.datasync.dealers import (
    BadQuery,
    BroadcastDealer,
    Dealer,
    FilterDealer,
    RefetchDealer,
    SimpleDealer,
    filter_matches,
)
from snorky.services.datasync.frontend import DataSyncService
from snorky.services.datasync.subscription import Subscription, SubscriptionItem

__all__ = [
    "BadQuery",
    "BroadcastDealer",
    "DataSyncBackend",
    "DataSyncService",
    "Dealer",
    "DeletionDelta",
    "Delta",
    "FilterDealer",
    "InsertionDelta",
    "RefetchDealer",
    "Reset",
    "SimpleDealer",
    "Subscription",
    "SubscriptionItem",
    "UpdateDelta",
    "filter_matches",
]
