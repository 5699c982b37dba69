"""A service whose methods clients call."""

import math

from snorky import ServiceRegistry
from snorky.services.base import RPCError, RPCService, rpc_command


class CalculatorService(RPCService):
    @rpc_command
    def sum(self, req, number1, number2):
        return number1 + number2

    @rpc_command
    def log(self, req, number, base=2.718):
        if number <= 0:
            raise RPCError("Only positive numbers have a logarithm")
        return math.log(number, base)


frontend = ServiceRegistry([CalculatorService("calculator")])
