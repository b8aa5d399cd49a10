"""From a published sample set to predictions on a device."""
