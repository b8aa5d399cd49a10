"""Certifies that an MD code and its adapter mean what the service says."""

from posterion_client.selftest._code import Job, MDCode, Service, Trace

__all__ = ["Job", "MDCode", "Service", "Trace"]
