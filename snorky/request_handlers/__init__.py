"""The edges on Tornado: ways for clients and trusted servers to reach the services."""
