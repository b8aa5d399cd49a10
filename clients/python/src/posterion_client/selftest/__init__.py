"""Certifies that an MD code and its adapter mean what the service says."""

from posterion_client.selftest._certificate import Certificate, Check
from posterion_client.selftest._code import Job, MDCode, Service, Trace

__all__ = ["Certificate", "Check", "Job", "MDCode", "Service", "Trace"]
