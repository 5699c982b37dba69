"""What every broker promises: pip install pytest pytest-asyncio, then
pytest -o asyncio_mode=auto test_my_broker.py"""

from collections.abc import AsyncIterator

import pytest

from snorky.brokers.memory import MemoryBroker as MyBroker
from snorky.testing.brokers import BrokerContract


class TestMyBroker(BrokerContract):
    @pytest.fixture
    async def joined(self) -> AsyncIterator[tuple[MyBroker, MyBroker]]:
        """Two brokers of one Snorky, as two processes have them; MyBroker has but one process."""
        broker = MyBroker()
        await broker.start()
        yield broker, broker
        await broker.stop()
