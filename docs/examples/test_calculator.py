import pytest
from calculator import CalculatorService

from snorky.services.base import RPCError
from snorky.testing import FakeClient, call


def test_it_adds():
    calculator = CalculatorService("calculator")
    assert call(calculator, FakeClient(), "sum", number1=1, number2=2) == 3


def test_it_refuses_what_has_no_logarithm():
    calculator = CalculatorService("calculator")
    with pytest.raises(RPCError, match="Only positive numbers"):
        call(calculator, FakeClient(), "log", number=-1)
