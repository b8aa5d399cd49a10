"""The file that i-PI loads: see `posterion_client.ipi`."""

from posterion_client.ipi._driver import PosterionDriver

__all__ = ["PosterionDriver"]

# How i-PI finds the class, and calls it.
__DRIVER_NAME__ = "posterion"
__DRIVER_CLASS__ = "PosterionDriver"
