"""The trainer job: from labelled frames to a published sample set."""
